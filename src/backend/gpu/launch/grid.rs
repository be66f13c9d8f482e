//! From extents to grids, without overflow.

use crate::error::{Error, Result};

/// Threads of a block: four warps, voxels (or columns) side by side.
pub const BLOCK: u32 = 128;

/// Rows that one thread sums before the partial sums are added up.
pub const CHUNK_ROWS: usize = 64;

/// Chunks of rows; one even of no rows, so that partial sums are written.
pub fn n_chunks(n_rows: usize) -> usize {
    n_rows.div_ceil(CHUNK_ROWS).max(1)
}

/// Most blocks along y and z that a card takes.
const MOST_YZ: usize = 65_535;

/// A grid of blocks of [`BLOCK`] threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: (u32, u32, u32),
}

impl Grid {
    /// One thread for each of `n` along x.
    /// # Errors
    /// `Error::TooLarge` beyond 2³¹ − 1 blocks.
    pub fn over(n: usize) -> Result<Self> {
        Self::of_blocks(n.div_ceil(BLOCK as usize))
    }

    /// This many blocks along x.
    pub fn of_blocks(n: usize) -> Result<Self> {
        match u32::try_from(n) {
            Ok(blocks) if blocks <= i32::MAX as u32 => Ok(Self { blocks: (blocks, 1, 1) }),
            _ => Err(too_large("blocks along x", n, i32::MAX as usize)),
        }
    }

    /// One block along y for each of `n`; the kernel strides over more than a card takes.
    pub fn striding(self, n: usize) -> Self {
        let y = n.min(MOST_YZ) as u32;
        Self { blocks: (self.blocks.0, y, self.blocks.2) }
    }

    /// Exactly `y` and `z` blocks along the others.
    /// # Errors
    /// `Error::TooLarge` beyond 65,535.
    pub fn by(self, y: usize, z: usize) -> Result<Self> {
        match y.max(z) <= MOST_YZ {
            true => Ok(Self { blocks: (self.blocks.0, y as u32, z as u32) }),
            false => Err(too_large("blocks along y or z", y.max(z), MOST_YZ)),
        }
    }

    /// Nothing to launch.
    pub fn is_empty(self) -> bool {
        self.blocks.0 == 0 || self.blocks.1 == 0 || self.blocks.2 == 0
    }
}

fn too_large(what: &str, got: usize, most: usize) -> Error {
    Error::TooLarge {
        what: format!("a CUDA grid of {what}"),
        needed: got.to_string(),
        available: most.to_string(),
        hint: "use narrower tiles or shorter blocks of rows".into(),
    }
}

/// The product of extents.
/// # Errors
/// `Error::TooLarge` if it leaves 64 bits.
pub fn product(extents: &[usize]) -> Result<usize> {
    let found = extents.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
    found.ok_or_else(|| Error::TooLarge {
        what: format!("an array of {extents:?}"),
        needed: "more than 2^64 values".into(),
        available: "2^64".into(),
        hint: "use narrower tiles".into(),
    })
}

/// A buffer holds what a kernel reads or writes.
/// # Errors
/// `Error::Shape`.
pub fn holds(kernel: &str, name: &str, len: usize, extents: &[usize]) -> Result<()> {
    let needed = product(extents)?;
    match len >= needed {
        true => Ok(()),
        false => Err(Error::Shape {
            what: format!("CUDA kernel {kernel}, {name}"),
            expected: format!("{extents:?} = {needed} values"),
            got: len.to_string(),
            hint: "this is a bug in voxelcast".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_one_voxel_and_a_whole_brain_of_rows() {
        assert_eq!(Grid::over(1).unwrap().blocks, (1, 1, 1));
        assert_eq!(Grid::over(128).unwrap().blocks, (1, 1, 1));
        assert_eq!(Grid::over(129).unwrap().by(3, 2).unwrap().blocks, (2, 3, 2));
        assert!(Grid::over(0).unwrap().is_empty());
        assert_eq!(Grid::over(1).unwrap().striding(1 << 20).blocks.1, 65_535);
        assert_eq!(Grid::over(1).unwrap().by(65_536, 1).unwrap_err().exit_code(), 3);
        assert!(Grid::over(128 << 31).is_err());
    }

    #[test]
    fn extents_past_2_to_the_31_keep_every_bit() {
        // One subject: 34,786 rows of 95,556 voxels are 3.3e9 values.
        assert_eq!(product(&[34_786, 95_556]).unwrap(), 3_324_011_016);
        holds("k", "bold", 3_324_011_016, &[34_786, 95_556]).unwrap();
        assert!(holds("k", "bold", 3_324_011_015, &[34_786, 95_556]).is_err());
        assert!(product(&[usize::MAX, 2]).is_err());
        assert_eq!(n_chunks(0), 1);
        assert_eq!(n_chunks(65), 2);
    }
}
