//! A source of BOLD whose reads fail: which tiles are kept.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ndarray::Array2;
use voxelcast::backend::device::Device;
use voxelcast::backend::{Block, PathSettings, Space};
use voxelcast::error::{Error, Result};
use voxelcast::matrix::StoryDesign;
use voxelcast::ridge::{ModelSpec, Route, prepare};
use voxelcast::solve::tiles::{BoldSource, SolvedTile, TileRun, TileSink, run_tiles, tiles};

use super::workbench::{normal, seeded};

/// Columns of noise; read number `fails_at` ends in an error of the disk.
struct Failing {
    bold: Array2<f32>,
    n_reads: AtomicUsize,
    fails_at: usize,
}

impl Failing {
    fn read(&self, voxels: std::ops::Range<usize>, out: &mut [f32]) -> Result<()> {
        if self.n_reads.fetch_add(1, Ordering::Relaxed) == self.fails_at {
            let source = std::io::Error::from_raw_os_error(5); // EIO
            return Err(Error::Read { path: "bold.npy".into(), source });
        }
        let rows = self.bold.rows();
        for (out, row) in out.chunks_exact_mut(voxels.len()).zip(rows) {
            out.iter_mut().zip(voxels.clone()).for_each(|(out, v)| *out = row[v]);
        }
        Ok(())
    }
}

impl BoldSource for Failing {
    fn n_voxels(&self) -> usize {
        self.bold.ncols()
    }
    fn read_train(&self, _: usize, voxels: std::ops::Range<usize>, out: &mut [f32]) -> Result<()> {
        self.read(voxels, out)
    }
    fn read_test(&self, _: usize, voxels: std::ops::Range<usize>, out: &mut [f32]) -> Result<()> {
        self.read(voxels, out)
    }
}

/// The first voxel and the CV scores of each tile.
#[derive(Default)]
struct Kept(Mutex<Vec<(usize, Vec<f32>)>>);

impl TileSink for Kept {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let scores = tile.models[0].cv_scores.clone();
        self.0.lock().expect("no thread panics").push((tile.voxels.start, scores));
        Ok(())
    }
}

#[test]
fn a_read_that_fails_ends_the_run_and_leaves_whole_tiles_only() {
    const N_ROWS: usize = 20;
    let rng = &mut seeded(805);
    let mut design = || StoryDesign::Dense(normal(rng, N_ROWS, 3));
    let space = Space {
        delays: vec![0],
        n_features: 3,
        train: (0..4).map(|_| design()).collect(),
        test: vec![design()],
        ..Space::default()
    };
    let spec =
        ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: false, bands: None };
    let blocks = (0..4).map(|fold| Block { fold, n_rows: N_ROWS }).collect();
    let settings = PathSettings::new(vec![1.0, 10.0, 100.0]);
    let (problem, _) =
        prepare(vec![space], &[spec], blocks, vec![N_ROWS], 4, settings).expect("valid");
    let bold = normal(&mut seeded(806), N_ROWS, 2048);
    let parts = tiles(2048, 512, 512, 1);
    let solve = |fails_at: usize| {
        let source = Failing { bold: bold.clone(), n_reads: AtomicUsize::new(0), fails_at };
        let (kept, cancel) = (Kept::default(), AtomicBool::new(false));
        let run = TileRun {
            device: &Device::Cpu,
            n_threads: 1,
            cancel: &cancel,
            progress: &|_| {},
            note: &|_| {},
            other: None,
        };
        let ended = run_tiles(&problem, &source, &kept, &parts, &run);
        (ended, kept.0.into_inner().expect("no thread panics"))
    };
    let (ended, whole) = solve(usize::MAX);
    assert!(ended.is_ok() && whole.len() == 4);
    for fails_at in 0..20 {
        let (ended, kept) = solve(fails_at);
        let error = ended.expect_err("the read failed");
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("cannot read bold.npy"), "{error}");
        // Four training blocks and a test block a tile.
        assert_eq!(kept, whole[..fails_at / 5], "read {fails_at}");
    }
}
