//! What this machine can do: the best f32 XᵀY, and products that stay in cache.

use std::sync::Barrier;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::Array2;
use rayon::prelude::*;

use crate::backend::cpu::gemm::{Rows, gemm};

/// One way to take XᵀY with this program's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One product, shared by the threads.
    Whole,
    /// Panels of voxels, each on one thread, summed over blocks of rows.
    Panels {
        /// Voxels of a panel.
        width: usize,
        /// Rows of a block.
        rows: usize,
    },
}

const FORMS: [Form; 5] = [
    Form::Whole,
    Form::Panels { width: 512, rows: usize::MAX },
    Form::Panels { width: 2048, rows: 1024 },
    Form::Panels { width: 4096, rows: 344 },
    Form::Panels { width: 4096, rows: usize::MAX },
];

/// Voxels a thread, on which the form is chosen.
const TRIAL_VOXELS: usize = 4096;
/// Repeats of the whole product, unless `ENOUGH_S` is over.
const REPEATS: usize = 5;
const ENOUGH_S: f64 = 20.0;

/// The best of several f32 XᵀY of all of `x` `(n, p)` and `y` `(n, V)`: seconds and the form.
///
/// Every form is tried on some voxels, the quickest is repeated on all. A panel's sums stay a
/// panel, as the solver keeps them.
pub fn best_xty(x: &Array2<f32>, y: &Array2<f32>, n_threads: usize) -> (f64, Form) {
    let mut out = vec![0f32; x.ncols() * y.ncols()];
    let trial = y.ncols().min(TRIAL_VOXELS * n_threads);
    let mut best = (f64::MAX, Form::Whole);
    for form in FORMS {
        // The first touches the memory and wakes the threads.
        let seconds = (0..3).map(|_| time_xty(form, x, y, trial, n_threads, &mut out));
        let seconds = seconds.fold(f64::MAX, f64::min);
        if seconds < best.0 {
            best = (seconds, form);
        }
    }
    if trial == y.ncols() {
        let again = (0..REPEATS).map(|_| time_xty(best.1, x, y, trial, n_threads, &mut out));
        return (again.fold(best.0, f64::min), best.1);
    }
    let (clock, mut seconds) = (Instant::now(), f64::MAX);
    for _ in 0..REPEATS {
        seconds = seconds.min(time_xty(best.1, x, y, y.ncols(), n_threads, &mut out));
        if clock.elapsed().as_secs_f64() > ENOUGH_S {
            break;
        }
    }
    (seconds, best.1)
}

/// Seconds of XᵀY for the first `n_voxels` voxels.
fn time_xty(
    form: Form,
    x: &Array2<f32>,
    y: &Array2<f32>,
    n_voxels: usize,
    n_threads: usize,
    out: &mut [f32],
) -> f64 {
    let (n, p) = x.dim();
    let v = y.ncols();
    let x = x.as_slice().expect("designs are row-major");
    let y = y.as_slice().expect("BOLD is row-major");
    let out = &mut out[..p * n_voxels];
    let clock = Instant::now();
    match form {
        Form::Whole => {
            let x = MatRef::from_row_major_slice(x, n, p);
            let y = MatRef::from_row_major_slice_with_stride(y, n, n_voxels, v);
            let out = MatMut::from_row_major_slice_mut(out, p, n_voxels);
            matmul(out, Accum::Replace, x.transpose(), y, 1.0, Par::rayon(n_threads));
        }
        Form::Panels { width, rows } => {
            let width = width.min(n_voxels.div_ceil(n_threads)).max(1);
            out.par_chunks_mut(p * width).with_max_len(1).enumerate().for_each(|(i, out)| {
                let w = out.len() / p;
                let rows = rows.min(n);
                for start in (0..n).step_by(rows) {
                    let len = rows.min(n - start);
                    let x = Rows::new(&x[start * p..], len, p).t();
                    let y = Rows::strided(&y[start * v + i * width..], len, w, v);
                    gemm(out, (p, w, w), start > 0, x, y);
                }
            });
        }
    }
    clock.elapsed().as_secs_f64()
}

/// GFLOP/s of f32 products on all threads at once, each with its own: the best of several sizes.
pub fn peak_f32(n_threads: usize) -> f64 {
    let product = |size: usize| {
        let (a, b) = (vec![0.5f32; size * size], vec![0.25f32; size * size]);
        let mut out = vec![0f32; size * size];
        move || {
            let (a, b) = (Rows::new(&a, size, size), Rows::new(&b, size, size));
            gemm(&mut out, (size, size, size), false, a, b);
        }
    };
    [384, 512, 1024].map(|size| rate(n_threads, size, product)).into_iter().fold(0.0, f64::max)
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
        let (n, p, v) = (50, 7, 23);
        let x = Array2::from_shape_fn((n, p), |(i, j)| ((i * 31 + j * 7) % 11) as f32 - 5.0);
        let y = Array2::from_shape_fn((n, v), |(i, j)| ((i * 17 + j * 3) % 13) as f32 - 6.0);
        let expected = x.t().dot(&y);
        for form in FORMS.into_iter().chain([Form::Panels { width: 5, rows: 16 }]) {
            for n_voxels in [v, 9] {
                let mut out = vec![7f32; p * v];
                time_xty(form, &x, &y, n_voxels, 2, &mut out);
                let width = match form {
                    Form::Whole => n_voxels,
                    Form::Panels { width, .. } => width.min(n_voxels.div_ceil(2)),
                };
                for (panel, out) in out[..p * n_voxels].chunks(p * width).enumerate() {
                    for (at, value) in out.iter().enumerate() {
                        let w = out.len() / p;
                        let (row, voxel) = (at / w, panel * width + at % w);
                        assert_eq!(*value, expected[(row, voxel)], "{form:?}");
                    }
                }
            }
        }
        assert!(best_xty(&x, &y, 2).0 > 0.0);
    }
}
