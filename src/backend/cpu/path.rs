//! The ridge path of one fold on one block of voxels: every alpha's validation score.
//!
//! With z and t in the fold's components, prediction b(a) = z/(λ + a) has, over the validation
//! rows, covariance b·t with the BOLD and variance ‖F b‖². Numerators of all alphas are one
//! product; denominators come from the inner products of the alpha basis (`backend::basis`).
//! Nothing of size rows × voxels is formed.

use pulp::{Arch, Simd, WithSimd};

use super::gemm::{Rows, gemm, upper_gemm};
use crate::backend::basis::AlphaBasis;
use crate::backend::problem::{Factor, PathSettings, Rotation, Scorer};

/// Buffers of the path, reused from fold to fold; grown, never shrunk.
#[derive(Debug, Default)]
pub struct PathScratch {
    products: Vec<f32>,
    inverses: Vec<f32>,
    numerators: Vec<f32>,
    offsets: Vec<f32>,
    scaled: Vec<f32>,
    images: Vec<f32>,
    pairs: Vec<f32>,
    squares: Vec<f32>,
}

/// `data` with at least `len` values; what it held is kept, new values are zero.
pub fn sized(data: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if data.len() < len {
        data.resize(len, 0.0);
    }
    &mut data[..len]
}

/// What one fold knows of the voxels in a block, as f64 moments of their validation rows.
#[derive(Debug, Clone, Copy)]
pub struct FoldBold<'a> {
    /// `(width)` Σ(y − ȳ)² over the validation rows.
    pub val_square: &'a [f64],
    /// `(width)` mean over the validation rows minus mean over the training rows.
    pub delta: &'a [f64],
}

/// Adds one fold's scores to `sums` `(n_alphas, width)`.
///
/// `z`, `t`: `(n_components, width)`. A prediction without variance scores 0 (it says nothing);
/// a voxel whose validation rows do not vary adds nothing, `has_variance` says which.
#[allow(clippy::too_many_arguments)]
pub fn add_fold_scores(
    rotation: &Rotation,
    basis: &AlphaBasis,
    settings: &PathSettings,
    z: &[f32],
    t: &[f32],
    width: usize,
    bold: FoldBold<'_>,
    scratch: &mut PathScratch,
    sums: &mut [f64],
    arch: Arch,
) {
    let m = rotation.n_components;
    let n_alphas = settings.alphas.len();
    if m == 0 {
        add_scores_of_nothing(rotation, settings, bold, sums);
        return;
    }
    let PathScratch { products, inverses, numerators, offsets, scaled, images, pairs, squares } =
        scratch;

    let products = sized(products, m * width);
    arch.dispatch(|| {
        for ((p, &z), &t) in products.iter_mut().zip(z).zip(t) {
            *p = z * t;
        }
    });
    let inverses = sized(inverses, n_alphas * m);
    for (row, alpha) in inverses.chunks_exact_mut(m).zip(&settings.alphas) {
        for (d, lambda) in row.iter_mut().zip(&rotation.eigvals) {
            *d = (1.0 / (lambda + alpha)) as f32;
        }
    }
    let numerators = sized(numerators, n_alphas * width);
    let shape = (n_alphas, width, width);
    gemm(numerators, shape, false, Rows::new(inverses, n_alphas, m), Rows::new(products, m, width));

    let with_offset = settings.scorer == Scorer::R2;
    let offsets = sized(offsets, n_alphas * width);
    if with_offset {
        for (row, alpha) in inverses.chunks_exact_mut(m).zip(&settings.alphas) {
            for ((d, lambda), &delta) in row.iter_mut().zip(&rotation.eigvals).zip(&rotation.delta)
            {
                *d = (f64::from(delta) / (lambda + alpha)) as f32;
            }
        }
        gemm(offsets, shape, false, Rows::new(inverses, n_alphas, m), Rows::new(z, m, width));
    }

    let squares = sized(squares, n_alphas * width);
    path_squares(rotation, basis, settings, z, width, scaled, images, pairs, squares, arch);

    for (a, norm) in basis.norms.iter().enumerate() {
        let row = a * width..(a + 1) * width;
        let values = numerators[row.clone()].iter().zip(&squares[row.clone()]);
        let voxels = bold.val_square.iter().zip(bold.delta).zip(&offsets[row.clone()]);
        for (((&numerator, &square), ((&val_square, &delta), &offset)), sum) in
            values.zip(voxels).zip(&mut sums[row])
        {
            if val_square <= 0.0 {
                continue;
            }
            let pred_square = (norm * norm) * f64::from(square.max(0.0));
            let numerator = f64::from(numerator);
            *sum += match settings.scorer {
                Scorer::Correlation if pred_square <= 0.0 => 0.0,
                Scorer::Correlation => numerator / (pred_square * val_square).sqrt(),
                Scorer::R2 => {
                    let shift = delta - f64::from(offset);
                    let residual = val_square - 2.0 * numerator
                        + pred_square
                        + rotation.n_val as f64 * shift * shift;
                    1.0 - residual / val_square
                }
            };
        }
    }
}

/// A training design without any variance predicts the training mean: correlation 0.
fn add_scores_of_nothing(
    rotation: &Rotation,
    settings: &PathSettings,
    bold: FoldBold<'_>,
    sums: &mut [f64],
) {
    if settings.scorer == Scorer::Correlation {
        return;
    }
    let width = bold.val_square.len();
    for row in sums.chunks_exact_mut(width.max(1)).take(settings.alphas.len()) {
        for ((sum, &val_square), delta) in row.iter_mut().zip(bold.val_square).zip(bold.delta) {
            if val_square > 0.0 {
                *sum -= rotation.n_val as f64 * delta * delta / val_square;
            }
        }
    }
}

/// Squared norms of F b(a), divided by `basis.norms[a]²`: `(n_alphas, width)` into `squares`.
#[allow(clippy::too_many_arguments)]
fn path_squares(
    rotation: &Rotation,
    basis: &AlphaBasis,
    settings: &PathSettings,
    z: &[f32],
    width: usize,
    scaled: &mut Vec<f32>,
    images: &mut Vec<f32>,
    pairs: &mut Vec<f32>,
    squares: &mut [f32],
    arch: Arch,
) {
    let m = rotation.n_components;
    let rank = basis.rank;
    let n_rows = match &rotation.factor {
        Factor::Upper(_) => m,
        Factor::Rows(n_rows, _) => *n_rows,
    };
    let n_pairs = if basis.direct { rank } else { rank * (rank + 1) / 2 };
    let n_alphas = settings.alphas.len();
    for start in (0..width).step_by(settings.sub_voxels) {
        let live = settings.sub_voxels.min(width - start);
        let sub = live.next_multiple_of(LANES);
        let scaled = sized(scaled, m * rank * sub);
        arch.dispatch(|| scale_rows(z, width, start..start + live, &basis.scales, m, sub, scaled));
        let images = sized(images, n_rows * rank * sub);
        let right = Rows::new(scaled, m, rank * sub);
        match &rotation.factor {
            Factor::Upper(upper) => {
                upper_gemm(images, m, rank * sub, Rows::new(upper, m, m), right);
            }
            Factor::Rows(_, rows) => {
                let shape = (n_rows, rank * sub, rank * sub);
                gemm(images, shape, false, Rows::new(rows, n_rows, m), right);
            }
        }
        let pairs = sized(pairs, n_pairs * sub);
        arch.dispatch(InnerProducts {
            images,
            n_rows,
            rank,
            sub,
            diagonal: basis.direct,
            out: pairs,
        });
        for a in 0..n_alphas {
            let out = &mut squares[a * width + start..a * width + start + live];
            if basis.direct {
                out.copy_from_slice(&pairs[a * sub..a * sub + live]);
                continue;
            }
            let weights = &basis.pair_weights[a * n_pairs..(a + 1) * n_pairs];
            arch.dispatch(|| {
                out.fill(0.0);
                for (&weight, pair) in weights.iter().zip(pairs.chunks_exact(sub)) {
                    for (o, &p) in out.iter_mut().zip(pair) {
                        *o += weight * p;
                    }
                }
            });
        }
    }
}

/// Voxels are padded to this many in a sub-tile: one 512-bit register, two 256-bit ones.
const LANES: usize = 16;

/// `out[i][j][v] = scales[j][i] · z[i][v]`, zero for the padding.
#[inline(always)]
fn scale_rows(
    z: &[f32],
    width: usize,
    voxels: std::ops::Range<usize>,
    scales: &[f32],
    m: usize,
    sub: usize,
    out: &mut [f32],
) {
    let rank = scales.len() / m;
    for (i, out) in out.chunks_exact_mut(rank * sub).enumerate() {
        let z = &z[i * width + voxels.start..i * width + voxels.end];
        for (j, out) in out.chunks_exact_mut(sub).enumerate() {
            let scale = scales[j * m + i];
            for (o, &z) in out.iter_mut().zip(z) {
                *o = scale * z;
            }
            out[z.len()..].fill(0.0);
        }
    }
}

/// Inner products over rows of every pair of the `rank` images of each voxel.
///
/// `images`: `(n_rows, rank, sub)`. `out`: `(n_pairs, sub)`, the upper triangle row by row, or
/// the diagonal alone. Sums in f32, one register a pair: n_rows terms.
struct InnerProducts<'a> {
    images: &'a [f32],
    n_rows: usize,
    rank: usize,
    sub: usize,
    diagonal: bool,
    out: &'a mut [f32],
}

impl WithSimd for InnerProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { images, n_rows, rank, sub, diagonal, out } = self;
        let at = PairAt { images, n_rows, stride: rank * sub, sub };
        for voxel in (0..sub).step_by(S::F32_LANES) {
            if diagonal {
                for j in 0..rank {
                    at.block::<S, 1, 1>(simd, voxel, (j, j), |_, _| j, out);
                }
                continue;
            }
            let index = |j: usize, s: usize| j * rank - j * j.saturating_sub(1) / 2 + (s - j);
            let mut j = 0;
            while j < rank {
                let rows = if rank - j >= 4 { 4 } else { 1 };
                let mut s = j;
                while s < rank {
                    let cols = if rank - s >= 4 { 4 } else { 1 };
                    match (rows, cols) {
                        (4, 4) => at.block::<S, 4, 4>(simd, voxel, (j, s), index, out),
                        (4, _) => at.block::<S, 4, 1>(simd, voxel, (j, s), index, out),
                        (_, 4) => at.block::<S, 1, 4>(simd, voxel, (j, s), index, out),
                        _ => at.block::<S, 1, 1>(simd, voxel, (j, s), index, out),
                    }
                    s += cols;
                }
                j += rows;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct PairAt<'a> {
    images: &'a [f32],
    n_rows: usize,
    stride: usize,
    sub: usize,
}

impl PairAt<'_> {
    /// The inner products of images j..j+J with s..s+C for the voxels of one register.
    #[inline(always)]
    fn block<S: Simd, const J: usize, const C: usize>(
        self,
        simd: S,
        voxel: usize,
        (j0, s0): (usize, usize),
        index: impl Fn(usize, usize) -> usize,
        out: &mut [f32],
    ) {
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); C]; J];
        for row in self.images.chunks_exact(self.stride).take(self.n_rows) {
            let load = |k: usize| {
                let at = k * self.sub + voxel;
                S::as_simd_f32s(&row[at..at + lanes]).0[0]
            };
            let right: [_; C] = std::array::from_fn(|c| load(s0 + c));
            for (j, sums) in sums.iter_mut().enumerate() {
                let left = load(j0 + j);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = simd.mul_add_f32s(left, right, *sum);
                }
            }
        }
        for (j, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                if s0 + c >= j0 + j {
                    let at = index(j0 + j, s0 + c) * self.sub + voxel;
                    S::as_mut_simd_f32s(&mut out[at..at + lanes]).0[0] = sum;
                }
            }
        }
    }
}
