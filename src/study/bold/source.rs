//! A subject's BOLD as the tiles read it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::solve::tiles::BoldSource;
use crate::study::inputs::Subject;
use crate::study::split::Split;

/// Blocks are the split's units: those to train on in their order, then those of the test in theirs.
pub struct SubjectSource<'a> {
    /// Open files.
    pub subject: &'a Subject,
    /// Which units.
    pub split: &'a Split,
    /// Bytes that were read so far, in f32.
    pub n_bytes: AtomicU64,
}

impl SubjectSource<'_> {
    fn read(&self, unit: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.n_bytes.fetch_add(size_of_val(out) as u64, Ordering::Relaxed);
        self.subject.read(unit, voxels, out)
    }
}

impl BoldSource for SubjectSource<'_> {
    fn n_voxels(&self) -> usize {
        self.subject.n_voxels
    }

    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.read(self.split.train[block], voxels, out)
    }

    fn read_test(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.read(self.split.test[block], voxels, out)
    }

    fn expect_train(&self, block: usize, voxels: Range<usize>) {
        self.subject.expect(self.split.train[block], voxels);
    }
}
