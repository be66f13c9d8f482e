//! Which voxels a shard has, and where its files are.

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};

/// Voxels that are never cut apart: results do not depend on where tiles end as long as tiles are
/// whole blocks (`PathSettings::block_voxels`).
pub const BLOCK_VOXELS: usize = 512;

/// Shards of a study, at most.
pub const MOST_SHARDS: usize = 100_000;

/// Shard `i` of `n`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardId {
    /// Which.
    pub i: usize,
    /// Of how many.
    pub n: usize,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.i, self.n)
    }
}

/// `i/N` with 1 ≤ i ≤ N.
/// # Errors
/// `Error::Usage`.
pub fn parse_shard(text: &str) -> Result<ShardId> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match numbers {
        Some((i, n)) if 1 <= i && i <= n && n <= MOST_SHARDS => Ok(ShardId { i, n }),
        _ => Err(Error::Usage {
            place: "--shard".into(),
            problem: format!("expected I/N with I from 1 to N, got {text:?}"),
            hint: "2/8 is the second of eight shards".into(),
        }),
    }
}

/// Every shard's voxels of every subject, `[shard][subject]`; most are empty.
///
/// The blocks of all subjects stand in one line, which is cut into `n_shards` parts that differ by
/// one block at most: a shard reads few subjects' files.
/// # Errors
/// `Error::Usage` for no shard, and for more shards than blocks.
pub fn cut(n_voxels: &[usize], n_shards: usize) -> Result<Vec<Vec<Range<usize>>>> {
    let n_blocks: usize = n_voxels.iter().map(|n| n.div_ceil(BLOCK_VOXELS)).sum();
    if n_shards == 0 || n_shards > n_blocks || n_shards > MOST_SHARDS {
        return Err(Error::Usage {
            place: "--shards".into(),
            problem: format!("expected 1 to {}, got {n_shards}", n_blocks.min(MOST_SHARDS)),
            hint: format!(
                "the study has {n_blocks} blocks of {BLOCK_VOXELS} voxels, which are not cut apart"
            ),
        });
    }
    let border = |shard: usize| shard * n_blocks / n_shards;
    let of_shard = |shard: usize| {
        let mut first_block = 0;
        let of_subject = |&n: &usize| {
            let blocks = n.div_ceil(BLOCK_VOXELS);
            let inside = |block: usize| {
                (block.clamp(first_block, first_block + blocks) - first_block) * BLOCK_VOXELS
            };
            let voxels = inside(border(shard)).min(n)..inside(border(shard + 1)).min(n);
            first_block += blocks;
            voxels
        };
        n_voxels.iter().map(of_subject).collect()
    };
    Ok((0..n_shards).map(of_shard).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::PathSettings;

    #[test]
    fn shards_are_whole_blocks_of_the_solver() {
        assert_eq!(PathSettings::new(vec![1.0]).block_voxels, BLOCK_VOXELS);
    }

    #[test]
    fn every_voxel_is_in_one_shard_and_shards_are_even() {
        for n_voxels in [vec![1], vec![512, 513], vec![5000, 300, 1024, 4097]] {
            let n_blocks: usize = n_voxels.iter().map(|n: &usize| n.div_ceil(512)).sum();
            for n_shards in 1..=n_blocks {
                let shards = cut(&n_voxels, n_shards).unwrap();
                assert_eq!(shards.len(), n_shards);
                for (subject, &n) in n_voxels.iter().enumerate() {
                    let mut next = 0;
                    for part in shards.iter().map(|shard| &shard[subject]) {
                        if part.is_empty() {
                            continue;
                        }
                        assert_eq!((part.start, part.start % 512), (next, 0));
                        next = part.end;
                    }
                    assert_eq!(next, n, "{n_voxels:?} in {n_shards}");
                }
                let blocks = |shard: &Vec<Range<usize>>| {
                    shard.iter().map(|part| part.len().div_ceil(512)).sum::<usize>()
                };
                let sizes: Vec<usize> = shards.iter().map(blocks).collect();
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn more_shards_than_blocks_are_refused_with_both_numbers() {
        for n in [0, 4] {
            let error = cut(&[1000, 512], n).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("1 to 3") && text.contains("3 blocks of 512"), "{text}");
        }
    }

    #[test]
    fn a_shard_is_named_from_1_to_n() {
        assert_eq!(parse_shard("2/8").unwrap(), ShardId { i: 2, n: 8 });
        for bad in ["", "0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/2/3", "1/100001"] {
            assert_eq!(parse_shard(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
