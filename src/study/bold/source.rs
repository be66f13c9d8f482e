//! A subject's BOLD as the tiles read it.

use std::ops::Range;

use crate::error::Result;
use crate::solve::tiles::BoldSource;
use crate::study::inputs::Subject;
use crate::study::split::Split;

/// Blocks are stories: the training stories in their order, then the test stories in theirs.
pub struct SubjectSource<'a> {
    /// Open files.
    pub subject: &'a Subject,
    /// Which stories.
    pub split: &'a Split,
}

impl SubjectSource<'_> {
    fn read(&self, story: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        self.subject.files[story].read(voxels, out)
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
        self.subject.files[self.split.train[block]].expect(voxels);
    }
}
