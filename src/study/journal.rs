//! The journal of a subject's finished tiles, so that a killed run goes on where it was.
//!
//! One line per tile: `HASH TILE`. TILE is JSON and holds a hash of the tile's data; HASH is over
//! TILE and the owner of the journal. A line is written when the tile's data are on the disk and
//! is then synced itself, so that neither a kill nor a power cut leaves a line without its data.
//! Damage that comes later is found by the hashes when the run goes on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::input::read_bytes;
use crate::io::output::{sync_data, sync_folder, write_bytes};
use crate::ridge::edges::AlphaEdges;

/// A finished tile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// Its first column in the subject's files.
    pub start: usize,
    /// The column after its last.
    pub end: usize,
    /// Voxels that could not be fitted.
    pub n_constant: usize,
    /// Voxels with NaN or infinities.
    pub n_not_finite: usize,
    /// One entry per model.
    pub models: Vec<TileModel>,
    /// blake3 of its data in all files, hexadecimal. Empty for what a merge copied, which is copied
    /// again after a kill.
    pub data: String,
}

/// What a tile adds to one model's counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TileModel {
    /// Voxels at the ends of the alpha grid.
    pub edges: AlphaEdges,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest share of a path outside the alpha basis.
    pub basis_error: f64,
}

/// What of an earlier run's journal is not believed: its tiles are done again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// Lines that were cut or changed, or that are another run's.
    pub n_lines: usize,
    /// Voxels whose data are not those that were written.
    pub n_voxels: usize,
}

impl Damage {
    /// The damage in words; nothing if there is none.
    pub fn note(&self) -> Option<String> {
        let lines = (self.n_lines > 0).then(|| match self.n_lines {
            1 => "1 line of the journal is damaged".to_owned(),
            n => format!("{n} lines of the journal are damaged"),
        });
        let data = (self.n_voxels > 0)
            .then(|| format!("the data of {} voxels are not what was written", self.n_voxels));
        let parts: Vec<String> = lines.into_iter().chain(data).collect();
        (!parts.is_empty()).then(|| format!("{}: these tiles are done again", parts.join(", ")))
    }
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    key: [u8; 32],
    state: Mutex<(File, Vec<Tile>)>,
}

impl Journal {
    /// Opens the journal at `path`, or starts it there.
    ///
    /// `owner`: whose tiles these are; lines of another owner do not count. `is_whole`: whether a
    /// tile's data on the disk have the hash that its line says. Lines that do not count are
    /// removed from the file.
    /// # Errors
    /// `Error::Read`, `Error::Write`.
    pub fn open(
        path: &Path,
        owner: &str,
        n_voxels: usize,
        is_whole: &(dyn Fn(&Tile) -> bool + Sync),
    ) -> Result<(Self, Damage)> {
        let key = *blake3::hash(owner.as_bytes()).as_bytes();
        let bytes = match read_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let (mut tiles, mut damage) = (Vec::<Tile>::new(), Damage::default());
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let is_new = |tile: &Tile| {
                let is_apart = |other: &Tile| tile.end <= other.start || other.end <= tile.start;
                tile.start < tile.end && tile.end <= n_voxels && tiles.iter().all(is_apart)
            };
            match parse(&key, line).filter(is_new) {
                Some(tile) => tiles.push(tile),
                None => damage.n_lines += 1,
            }
        }
        let whole: Vec<bool> = tiles.par_iter().map(is_whole).collect();
        let mut whole = whole.into_iter();
        tiles.retain(|tile| {
            let is_whole = whole.next() == Some(true);
            damage.n_voxels += if is_whole { 0 } else { tile.end - tile.start };
            is_whole
        });
        let is_cut = bytes.last().is_some_and(|&byte| byte != b'\n');
        if is_cut || damage != Damage::default() {
            let kept: String = tiles.iter().map(|tile| line(&key, tile)).collect();
            write_bytes(path, kept.as_bytes())?;
        }
        let fail = |source| Error::Write { path: path.to_owned(), source };
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(fail)?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        Ok((Self { path: path.to_owned(), key, state: Mutex::new((file, tiles)) }, damage))
    }

    /// Notes a tile whose data are on the disk.
    /// # Errors
    /// `Error::Write`.
    pub fn add(&self, tile: Tile) -> Result<()> {
        let mut state = self.lock();
        let text = line(&self.key, &tile);
        state
            .0
            .write_all(text.as_bytes())
            .and_then(|()| sync_data(&state.0))
            .map_err(|source| Error::Write { path: self.path.clone(), source })?;
        state.1.push(tile);
        Ok(())
    }

    /// What `cut` makes of the gaps between the tiles that are done. These stay as they are,
    /// whatever width they were done with.
    pub fn missing_tiles(
        &self,
        n_voxels: usize,
        cut: impl Fn(usize) -> Vec<Range<usize>>,
    ) -> Vec<Range<usize>> {
        gaps(self.lock().1.iter().map(|tile| (tile.start, tile.end)).collect(), n_voxels, cut)
    }

    /// All tiles.
    pub fn into_tiles(self) -> Vec<Tile> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).1
    }

    fn lock(&self) -> MutexGuard<'_, (File, Vec<Tile>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(key: &[u8; 32], tile: &Tile) -> String {
    let text = serde_json::to_string(tile).unwrap_or_default();
    format!("{} {text}\n", blake3::keyed_hash(key, text.as_bytes()).to_hex())
}

fn parse(key: &[u8; 32], line: &[u8]) -> Option<Tile> {
    let (hash, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let is_own = blake3::keyed_hash(key, text.as_bytes()).to_hex().as_str() == hash;
    is_own.then(|| serde_json::from_str(text).ok())?
}

fn gaps(
    mut done: Vec<(usize, usize)>,
    n_voxels: usize,
    cut: impl Fn(usize) -> Vec<Range<usize>>,
) -> Vec<Range<usize>> {
    done.sort_unstable();
    done.push((n_voxels, n_voxels));
    let (mut missing, mut first) = (Vec::new(), 0);
    for (start, end) in done {
        let gap = cut(start.saturating_sub(first));
        missing.extend(gap.into_iter().map(|tile| first + tile.start..first + tile.end));
        first = first.max(end);
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::solve::tiles::tiles;

    fn tile(start: usize, end: usize) -> Tile {
        let model =
            TileModel { edges: AlphaEdges::default(), basis_rank: 17, basis_error: 0.1 + 0.2 };
        let models = vec![model; 2];
        Tile { start, end, n_constant: 1, n_not_finite: 2, models, data: "ab12".into() }
    }

    const N: usize = 50;

    fn open(path: &Path, owner: &str) -> (Vec<Tile>, Damage) {
        let (journal, damage) = Journal::open(path, owner, N, &|_| true).unwrap();
        (journal.into_tiles(), damage)
    }

    /// A journal of four tiles of 10 voxels, the first at voxel 10 so that all lines are of one
    /// length, and its path.
    fn written() -> (tempfile::TempDir, PathBuf, Vec<Tile>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiles.jsonl");
        let tiles: Vec<Tile> = (1..5).map(|i| tile(10 * i, 10 * i + 10)).collect();
        let (journal, damage) = Journal::open(&path, "me", N, &|_| true).unwrap();
        assert_eq!(damage, Damage::default());
        tiles.iter().for_each(|tile| journal.add(tile.clone()).unwrap());
        (folder, path, tiles)
    }

    #[test]
    fn tiles_come_back_to_the_last_digit() {
        let (_folder, path, tiles) = written();
        assert_eq!(open(&path, "me"), (tiles, Damage::default()));
    }

    #[test]
    fn any_changed_byte_of_a_line_costs_that_tile_alone() {
        let (_folder, path, tiles) = written();
        let whole = fs::read(&path).unwrap();
        let n_line = whole.len() / 4;
        for at in n_line..2 * n_line - 1 {
            let mut bytes = whole.clone();
            // A digit becomes another digit.
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let (found, damage) = open(&path, "me");
            assert_eq!(found, [tiles[0].clone(), tiles[2].clone(), tiles[3].clone()], "byte {at}");
            let n_lines = damage.n_lines;
            assert!(n_lines >= 1 && damage.n_voxels == 0, "byte {at}: {damage:?}");
            // What did not count is gone: the next run has nothing to say.
            assert_eq!(open(&path, "me"), (found, Damage::default()));
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_a_tile_that_is_not_done() {
        let (_folder, path, tiles) = written();
        let whole = fs::read(&path).unwrap();
        let n_line = whole.len() / 4;
        for cut in 3 * n_line + 1..4 * n_line - 1 {
            fs::write(&path, &whole[..cut]).unwrap();
            let (journal, damage) = Journal::open(&path, "me", N, &|_| true).unwrap();
            assert_eq!(damage, Damage { n_lines: 1, n_voxels: 0 });
            journal.add(tiles[3].clone()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
        // Without its newline the line is whole.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(open(&path, "me"), (tiles, Damage::default()));
    }

    #[test]
    fn lines_of_others_and_impossible_lines_do_not_count() {
        let (_folder, path, _) = written();
        let whole = fs::read_to_string(&path).unwrap();
        let (found, damage) = open(&path, "you");
        assert!(found.is_empty() && damage.n_lines == 4);
        let key = *blake3::hash(b"me").as_bytes();
        for foreign in [
            "{\"start\":0,\"end\":10}\n".to_owned(),
            "\0\0\0\0\n".to_owned(),
            line(&key, &tile(30, 30)),
            line(&key, &tile(30, 51)),
            line(&key, &tile(25, 35)),
            whole.clone(),
        ] {
            fs::write(&path, format!("{whole}{foreign}")).unwrap();
            let (found, damage) = open(&path, "me");
            assert_eq!(found.len(), 4);
            assert_eq!(damage.n_lines, foreign.lines().count(), "{foreign}");
        }
        fs::write(&path, b"\xff\xfe \n").unwrap();
        assert_eq!(open(&path, "me").1.n_lines, 1);
    }

    #[test]
    fn tiles_whose_data_changed_are_missing_again() {
        let (_folder, path, _) = written();
        let (journal, damage) = Journal::open(&path, "me", N, &|tile| tile.start != 20).unwrap();
        assert_eq!(damage, Damage { n_lines: 0, n_voxels: 10 });
        assert_eq!(journal.missing_tiles(N, |n| tiles(n, N, 1, 1)), [0..10, 20..30]);
        let note = damage.note().unwrap();
        assert_eq!(
            note,
            "the data of 10 voxels are not what was written: these tiles are done again"
        );
        let both = Damage { n_lines: 2, n_voxels: 5 }.note().unwrap();
        assert!(both.starts_with("2 lines of the journal are damaged, the data of 5"), "{both}");
        assert_eq!(Damage::default().note(), None);
    }

    #[test]
    fn what_is_done_stays_done_when_tiles_get_another_width() {
        let cut = |width| move |len| tiles(len, width, 2, 1);
        assert_eq!(gaps(vec![], 10, cut(4)), [0..2, 2..6, 6..10]);
        assert_eq!(gaps(vec![(4, 8), (0, 2)], 10, cut(8)), [2..4, 8..10]);
        assert!(gaps(vec![(0, 10)], 10, cut(4)).is_empty());
        assert_eq!(gaps(vec![(6, 10)], 10, cut(4)), [0..2, 2..6]);
    }
}
