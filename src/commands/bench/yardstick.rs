//! What this machine can do: the best f32 XᵀY, and products that stay in cache.

use std::ops::Range;
use std::sync::Barrier;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{Array2, s};
use pulp::Arch;
use rayon::prelude::*;

use super::dense::multiply;
use crate::backend::cpu::xty::{add_xty, pack_in};
use crate::matrix::StoryDesign;
use crate::product::multiply::multiply_all;
use crate::product::packed::{Layout, Packed};
use crate::product::panels::{PANEL, PanelRow, PanelRows, n_panels};

/// One way to take XᵀY with this program's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One general product, shared by the threads.
    Whole,
    /// General products on tiles of voxels, each on one thread, summed over blocks of rows.
    Tiles {
        /// Voxels of a tile.
        width: usize,
        /// Rows of a block.
        rows: usize,
    },
    /// The solver's own product on tiles of voxels; BOLD is put into panels on the way.
    Own {
        /// Voxels of a tile.
        width: usize,
    },
}

const FORMS: [Form; 6] = [
    Form::Whole,
    Form::Tiles { width: 2048, rows: 1024 },
    Form::Tiles { width: 4096, rows: usize::MAX },
    Form::Own { width: 512 },
    Form::Own { width: 1024 },
    Form::Own { width: 4096 },
];

/// Rows of the blocks that [`Form::Own`] takes.
const OWN_ROWS: usize = 512;

/// Voxels a thread, on which the form is chosen.
const TRIAL_VOXELS: usize = 4096;
/// Repeats of the whole product, unless `ENOUGH_S` is over.
const REPEATS: usize = 5;
const ENOUGH_S: f64 = 20.0;

/// The best of several f32 XᵀY, multiplied in f32 units, of all of `x` `(n, p)` and `y` `(n, V)`: seconds and the form.
///
/// Every form is tried on some voxels, the quickest is repeated on all. A tile's sums stay a tile,
/// as the solver keeps them.
pub fn best_xty(x: &Array2<f32>, y: &Array2<f32>, n_threads: usize) -> (f64, Form) {
    let mut product = Xty::new(x, y, n_threads);
    let trial = y.ncols().min(TRIAL_VOXELS * n_threads);
    let mut best = (f64::MAX, Form::Whole);
    for form in FORMS {
        // The first touches the memory and wakes the threads.
        let seconds = (0..3).map(|_| product.time(form, trial)).fold(f64::MAX, f64::min);
        if seconds < best.0 {
            best = (seconds, form);
        }
    }
    let whole = trial == y.ncols();
    let (clock, mut seconds) = (Instant::now(), if whole { best.0 } else { f64::MAX });
    for _ in 0..REPEATS {
        seconds = seconds.min(product.time(best.1, y.ncols()));
        if clock.elapsed().as_secs_f64() > ENOUGH_S {
            break;
        }
    }
    (seconds, best.1)
}

/// What the forms work on.
struct Xty<'a> {
    x: &'a Array2<f32>,
    y: &'a Array2<f32>,
    /// Rows of x as the solver keeps them.
    blocks: Vec<(Range<usize>, StoryDesign)>,
    n_threads: usize,
    /// `(p, V)`, tile by tile; a tile of panels may be wider than its voxels.
    out: Vec<f32>,
}

impl<'a> Xty<'a> {
    fn new(x: &'a Array2<f32>, y: &'a Array2<f32>, n_threads: usize) -> Self {
        let n = x.nrows();
        let cut = |start: usize| {
            let rows = start..(start + OWN_ROWS).min(n);
            (rows.clone(), StoryDesign::Dense(x.slice(s![rows, ..]).to_owned()))
        };
        let blocks = (0..n).step_by(OWN_ROWS).map(cut).collect();
        let room = x.ncols() * (y.ncols().next_multiple_of(PANEL) + 4096);
        Self { x, y, blocks, n_threads, out: vec![0.0; room] }
    }

    /// Voxels of a tile: every thread has one.
    fn width(&self, wanted: usize, n_voxels: usize) -> usize {
        wanted.min(n_voxels.div_ceil(self.n_threads).next_multiple_of(PANEL))
    }

    /// Seconds of XᵀY for the first `n_voxels` voxels.
    fn time(&mut self, form: Form, n_voxels: usize) -> f64 {
        let (n, p) = self.x.dim();
        let v = self.y.ncols();
        let x = self.x.as_slice().expect("designs are row-major");
        let y = self.y.as_slice().expect("BOLD is row-major");
        let clock = Instant::now();
        match form {
            Form::Whole => {
                let x = MatRef::from_row_major_slice(x, n, p);
                let y = MatRef::from_row_major_slice_with_stride(y, n, n_voxels, v);
                let out =
                    MatMut::from_row_major_slice_mut(&mut self.out[..p * n_voxels], p, n_voxels);
                matmul(out, Accum::Replace, x.transpose(), y, 1.0, Par::rayon(self.n_threads));
            }
            Form::Tiles { width, rows } => {
                let (width, rows) = (self.width(width, n_voxels), rows.min(n));
                let tiles = self.out[..p * n_voxels].par_chunks_mut(p * width).with_max_len(1);
                tiles.enumerate().for_each(|(i, out)| {
                    let w = out.len() / p;
                    for start in (0..n).step_by(rows) {
                        let len = rows.min(n - start);
                        let x = MatRef::from_row_major_slice(&x[start * p..][..len * p], len, p);
                        let y = &y[start * v + i * width..];
                        let y = MatRef::from_row_major_slice_with_stride(y, len, w, v);
                        multiply(out, (p, w, w), start > 0, x.transpose(), y);
                    }
                });
            }
            Form::Own { width } => {
                let width = self.width(width, n_voxels);
                let tiles = self.out.par_chunks_mut(p * width).with_max_len(1);
                let blocks = &self.blocks;
                tiles.take(n_voxels.div_ceil(width)).enumerate().for_each(|(i, out)| {
                    let w = width.min(n_voxels - i * width);
                    let (out, _) = out[..n_panels(w) * p * PANEL].as_chunks_mut::<PANEL>();
                    out.fill([0.0; PANEL]);
                    own_xty(blocks, y, v, i * width..i * width + w, out);
                });
            }
        }
        clock.elapsed().as_secs_f64()
    }
}

/// XᵀY of some voxels by the solver's product, added to `out`.
fn own_xty(
    blocks: &[(Range<usize>, StoryDesign)],
    y: &[f32],
    n_voxels: usize,
    voxels: Range<usize>,
    out: &mut [PanelRow],
) {
    let (arch, mut packed) = (Arch::new(), Packed::default());
    let mut panels: Vec<PanelRow> = Vec::new();
    for (rows, design) in blocks {
        let len = rows.len();
        panels.resize(n_panels(voxels.len()) * len, [0.0; PANEL]);
        for (t, row) in rows.clone().enumerate() {
            let row = &y[row * n_voxels..][voxels.clone()];
            for (panel, from) in row.chunks(PANEL).enumerate() {
                panels[panel * len + t][..from.len()].copy_from_slice(from);
            }
        }
        let rows = PanelRows::whole(&panels[..n_panels(voxels.len()) * len], len);
        pack_in(Layout::Strips, design, &mut packed, arch);
        add_xty(design, &packed, &[0], rows, out, arch);
    }
}

/// GFLOP/s of f32 products on all threads at once, each with its own: the best of general products
/// of several sizes and of the solver's product on one panel, whatever units it takes.
pub fn peak_f32(n_threads: usize) -> f64 {
    let general = |size: usize| {
        let (a, b) = (vec![0.5f32; size * size], vec![0.25f32; size * size]);
        let mut out = vec![0f32; size * size];
        move || {
            let a = MatRef::from_row_major_slice(&a, size, size);
            let b = MatRef::from_row_major_slice(&b, size, size);
            multiply(&mut out, (size, size, size), false, a, b);
        }
    };
    let own = |size: usize| {
        let (arch, mut left) = (Arch::new(), Packed::from_fn(size, size, |_, _| 0.5));
        // With the digits that long sums have.
        left.set_terms(usize::MAX);
        let right = vec![[0.25f32; PANEL]; size];
        let mut out = vec![[0f32; PANEL]; size];
        move || (0..size / PANEL).for_each(|_| multiply_all(arch, &left, &right, &mut out))
    };
    let general = [384, 512, 1024].map(|size| rate(n_threads, size, general));
    let own = [256, 512].map(|size| rate(n_threads, size, own));
    general.into_iter().chain(own).fold(0.0, f64::max)
}

/// GFLOP/s of f64 products, as `peak_f32`.
pub fn peak_f64(n_threads: usize) -> f64 {
    let product = |size: usize| {
        let (a, b) = (Mat::from_fn(size, size, |_, _| 0.5), Mat::from_fn(size, size, |_, _| 0.25));
        let mut out = Mat::<f64>::zeros(size, size);
        move || matmul(out.as_mut(), Accum::Replace, a.as_ref(), b.as_ref(), 1.0, Par::Seq)
    };
    [384, 512, 768].map(|size| rate(n_threads, size, product)).into_iter().fold(0.0, f64::max)
}

/// GFLOP/s over all threads of a square product, the best of seven rounds.
fn rate<F: FnMut() + Send>(n_threads: usize, size: usize, make: impl Fn(usize) -> F + Sync) -> f64 {
    const ROUNDS: usize = 7;
    let barrier = Barrier::new(n_threads);
    let rounds = || {
        let mut product = make(size);
        product();
        let mut seconds = [0f64; ROUNDS];
        for seconds in &mut seconds {
            barrier.wait();
            let clock = Instant::now();
            product();
            *seconds = clock.elapsed().as_secs_f64();
        }
        seconds
    };
    let by_thread: Vec<[f64; ROUNDS]> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(rounds)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a product does not panic")).collect()
    });
    // A round is as long as its slowest thread.
    let slowest = |round: usize| by_thread.iter().map(|s| s[round]).fold(0.0, f64::max);
    let best = (0..ROUNDS).map(slowest).fold(f64::MAX, f64::min);
    n_threads as f64 * 2.0 * (size as f64).powi(3) / best / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_same_product() {
        let (n, p, v) = (50, 7, 70);
        let x = Array2::from_shape_fn((n, p), |(i, j)| ((i * 31 + j * 7) % 11) as f32 - 5.0);
        let y = Array2::from_shape_fn((n, v), |(i, j)| ((i * 17 + j * 3) % 13) as f32 - 6.0);
        let expected = x.t().dot(&y);
        let mut product = Xty::new(&x, &y, 2);
        for form in FORMS.into_iter().chain([Form::Tiles { width: 5, rows: 16 }]) {
            for n_voxels in [v, 9] {
                product.out.fill(7.0);
                product.time(form, n_voxels);
                for row in 0..p {
                    for voxel in 0..n_voxels {
                        let at = match form {
                            Form::Whole => row * n_voxels + voxel,
                            Form::Tiles { width, .. } => {
                                let width = product.width(width, n_voxels);
                                let tile = voxel / width;
                                let w = width.min(n_voxels - tile * width);
                                p * tile * width + row * w + voxel % width
                            }
                            // Panel by panel, tile borders are panel borders.
                            Form::Own { .. } => (voxel / PANEL * p + row) * PANEL + voxel % PANEL,
                        };
                        assert_eq!(product.out[at], expected[(row, voxel)], "{form:?}");
                    }
                }
            }
        }
        assert!(best_xty(&x, &y, 2).0 > 0.0);
    }
}
