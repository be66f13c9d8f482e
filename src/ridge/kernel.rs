//! The dual route: kernels between rows, for designs with more columns than rows.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use super::conditioning::Conditioning;
use super::spectrum::{Eigen, eigen, packed};
use crate::backend::{Block, FullFit, PathSettings, Rotate, Rotation};
use crate::error::Result;
use crate::matrix::StoryDesign;

/// X Xᵀ of a delayed design, rows of all `rows` blocks against rows of all `columns` blocks.
///
/// The kernel of delayed rows is a sum of shifted copies of the un-delayed kernel:
/// K[(s,i),(t,j)] = Σ_d K₀[(s,i−d),(t,j−d)], where both rows exist. K₀ of sparse blocks runs over
/// shared words only. f64; 2·n²·d flops dense, shared by all delays.
pub fn kernel(rows: &[&StoryDesign], columns: &[&StoryDesign], delays: &[i64]) -> Mat<f64> {
    let n_columns: usize = columns.iter().map(|x| x.n_trs()).sum();
    let n_rows: usize = rows.iter().map(|x| x.n_trs()).sum();
    let postings = Postings::new(columns);
    let panels: Vec<Vec<f64>> = rows
        .par_iter()
        .map(|x| {
            let base = base_panel(x, columns, postings.as_ref(), n_columns);
            delayed_panel(&base, x.n_trs(), columns, n_columns, delays)
        })
        .collect();
    let mut out = Mat::<f64>::zeros(n_rows, n_columns);
    let mut first = 0;
    for panel in panels {
        for (i, row) in panel.chunks_exact(n_columns.max(1)).enumerate() {
            for (j, &value) in row.iter().enumerate() {
                out[(first + i, j)] = value;
            }
        }
        first += panel.len() / n_columns.max(1);
    }
    out
}

/// Rows of every sparse block that hold a word, so that a kernel row visits shared words only.
struct Postings {
    /// Per column of the design: (kernel column, value).
    entries: Vec<Vec<(u32, f32)>>,
}

impl Postings {
    /// `None` if any block is dense.
    fn new(columns: &[&StoryDesign]) -> Option<Self> {
        let mut entries: Vec<Vec<(u32, f32)>> = Vec::new();
        let mut first = 0;
        for design in columns {
            let StoryDesign::Sparse { rows, .. } = design else { return None };
            entries.resize(rows.n_cols, Vec::new());
            for t in 0..design.n_trs() {
                for e in rows.indptr[t]..rows.indptr[t + 1] {
                    entries[rows.indices[e] as usize].push(((first + t) as u32, rows.values[e]));
                }
            }
            first += design.n_trs();
        }
        Some(Self { entries })
    }
}

/// Un-delayed kernel of one block against all columns, `(n, n_columns)` row-major.
fn base_panel(
    x: &StoryDesign,
    columns: &[&StoryDesign],
    postings: Option<&Postings>,
    n_columns: usize,
) -> Vec<f64> {
    let n = x.n_trs();
    let mut panel = vec![0f64; n * n_columns];
    if let (StoryDesign::Sparse { rows, center }, Some(postings)) = (x, postings) {
        for (t, out) in panel.chunks_exact_mut(n_columns).enumerate() {
            for e in rows.indptr[t]..rows.indptr[t + 1] {
                let value = f64::from(rows.values[e]);
                for &(column, other) in &postings.entries[rows.indices[e] as usize] {
                    out[column as usize] += value * f64::from(other);
                }
            }
        }
        // x = s − 1c', y = u − 1e': x·y = s·u − s·e − c·u + c·e.
        let mut first = 0;
        for design in columns {
            let StoryDesign::Sparse { rows: other, center: other_center } = design else {
                continue;
            };
            let dot = |r: &crate::matrix::SparseRows, t: usize, c: &[f32]| -> f64 {
                let entries = r.indptr[t]..r.indptr[t + 1];
                entries.map(|e| f64::from(r.values[e]) * f64::from(c[r.indices[e] as usize])).sum()
            };
            let both: f64 =
                center.iter().zip(other_center).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            let right: Vec<f64> =
                (0..design.n_trs()).map(|j| both - dot(other, j, center)).collect();
            for (t, out) in panel.chunks_exact_mut(n_columns).enumerate() {
                let left = dot(rows, t, other_center);
                for (o, r) in out[first..].iter_mut().zip(&right) {
                    *o += r - left;
                }
            }
            first += design.n_trs();
        }
        return panel;
    }
    let left = doubled(x);
    let mut first = 0;
    for design in columns {
        let right = doubled(design);
        let mut block = Mat::<f64>::zeros(n, right.nrows());
        matmul(block.as_mut(), Accum::Replace, left.as_ref(), right.transpose(), 1.0, Par::Seq);
        for t in 0..n {
            for j in 0..right.nrows() {
                panel[t * n_columns + first + j] = block[(t, j)];
            }
        }
        first += right.nrows();
    }
    panel
}

fn doubled(design: &StoryDesign) -> Mat<f64> {
    let x = design.to_dense();
    Mat::from_fn(x.nrows(), x.ncols(), |t, f| f64::from(x[(t, f)]))
}

fn delayed_panel(
    base: &[f64],
    n: usize,
    columns: &[&StoryDesign],
    n_columns: usize,
    delays: &[i64],
) -> Vec<f64> {
    let mut out = vec![0f64; base.len()];
    for &delay in delays {
        for t in super::super::backend::cpu::xty::delayed_rows(n, delay) {
            let from = &base[(t as i64 - delay) as usize * n_columns..][..n_columns];
            let to = &mut out[t * n_columns..(t + 1) * n_columns];
            let mut first = 0;
            for design in columns {
                let n_block = design.n_trs();
                for j in super::super::backend::cpu::xty::delayed_rows(n_block, delay) {
                    to[first + j] += from[(first as i64 + j as i64 - delay) as usize];
                }
                first += n_block;
            }
        }
    }
    out
}

/// One fold of a dual model from the kernel of all training rows.
///
/// U, Λ of the centred training kernel; P = centred validation kernel · U, so that predictions
/// are P z/(λ + a). `n_coefs`: columns of the delayed design. About 9·n³ flops in f64.
/// # Errors
/// `Error::Numerical` from the eigenproblem.
pub fn dual_rotation(
    all: MatRef<'_, f64>,
    blocks: &[Block],
    fold: usize,
    n_coefs: usize,
    settings: &PathSettings,
    par: Par,
) -> Result<(Rotation, Conditioning)> {
    let fit_intercept = settings.fit_intercept;
    let (mut train_rows, mut val_rows) = (Vec::new(), Vec::new());
    let mut row = 0;
    for block in blocks {
        let rows = if block.fold == fold { &mut val_rows } else { &mut train_rows };
        rows.extend(row..row + block.n_rows);
        row += block.n_rows;
    }
    let (n_train, n_val) = (train_rows.len(), val_rows.len());
    let pick =
        |rows: &[usize]| Mat::from_fn(rows.len(), n_train, |i, j| all[(rows[i], train_rows[j])]);
    let mut train = pick(&train_rows);
    let mut val = pick(&val_rows);
    let largest = val.col_iter().flat_map(|col| col.iter().copied()).fold(0.0, abs_max);
    if fit_intercept {
        let (means, grand) = column_means(train.as_ref());
        center_kernel(&mut val, &means, grand);
        center_kernel(&mut train, &means, grand);
    }
    let Eigen { vectors, values } = eigen(train.as_ref(), par, "a training kernel")?;
    drop(train);
    let m = values.len();
    // The kernel of centred rows has a zero eigenvalue of its own.
    let sizes = (n_train, n_coefs.min(n_train - usize::from(fit_intercept)));
    let conditioning = Conditioning::squared(&values, &[], sizes, &settings.alphas);
    let mut p = Mat::<f64>::zeros(n_val, m);
    matmul(p.as_mut(), Accum::Replace, val.as_ref(), vectors.as_ref(), 1.0, par);
    let mut delta = vec![0f32; m];
    let mut factor_norms = vec![0f64; m];
    for j in 0..m {
        let column = p.col_as_slice_mut(j);
        let mean = column.iter().sum::<f64>() / n_val as f64;
        column.iter_mut().for_each(|x| *x -= mean);
        delta[j] = mean as f32;
        factor_norms[j] = column.iter().map(|x| x * x).sum::<f64>().sqrt();
    }
    // Validation rows that are all alike: what is left of them is rounding.
    let rounding = 8.0 * f64::EPSILON * n_train as f64 * (n_val as f64).sqrt() * largest;
    if factor_norms.iter().all(|&norm| norm <= rounding) {
        p.fill(0.0);
        factor_norms.fill(0.0);
    }
    let rotation = Rotation {
        n_components: m,
        rotate: Rotate::Dual { u: packed(vectors.transpose()), p: packed(p.transpose()) },
        eigvals: values,
        factor: packed(p.as_ref()),
        upper: false,
        factor_norms,
        delta,
        n_train,
        n_val,
    };
    Ok((rotation, conditioning))
}

fn abs_max(most: f64, value: f64) -> f64 {
    most.max(value.abs())
}

/// The refit of a dual model; `test` holds the kernel of each test block against all training
/// rows.
/// # Errors
/// `Error::Numerical` from the eigenproblem.
pub fn dual_full(
    mut all: Mat<f64>,
    mut test: Vec<Mat<f64>>,
    x_means: Vec<f64>,
    fit_intercept: bool,
    par: Par,
) -> Result<FullFit> {
    if fit_intercept {
        let (means, grand) = column_means(all.as_ref());
        for kernel in &mut test {
            center_kernel(kernel, &means, grand);
        }
        center_kernel(&mut all, &means, grand);
    }
    let Eigen { vectors, values, .. } = eigen(all.as_ref(), par, "the kernel")?;
    Ok(FullFit {
        eigvals: values,
        into: packed(vectors.transpose()),
        back: packed(vectors.as_ref()),
        x_means,
        test_rows: test.iter().map(|kernel| packed(kernel.as_ref())).collect(),
    })
}

fn column_means(kernel: MatRef<'_, f64>) -> (Vec<f64>, f64) {
    let n = kernel.nrows().max(1) as f64;
    let means: Vec<f64> =
        (0..kernel.ncols()).map(|j| kernel.col(j).iter().sum::<f64>() / n).collect();
    let grand = means.iter().sum::<f64>() / means.len().max(1) as f64;
    (means, grand)
}

/// Rows against training rows, as if every feature had been centred by its training mean:
/// k(i,j) − mean_j' k(i,j') − mean_i' k(i',j) + mean.
fn center_kernel(kernel: &mut Mat<f64>, train_means: &[f64], grand: f64) {
    let n = train_means.len().max(1) as f64;
    let row_means: Vec<f64> = (0..kernel.nrows())
        .map(|i| (0..kernel.ncols()).map(|j| kernel[(i, j)]).sum::<f64>() / n)
        .collect();
    for (j, mean) in train_means.iter().enumerate() {
        for (value, row_mean) in kernel.col_as_slice_mut(j).iter_mut().zip(&row_means) {
            *value += grand - mean - row_mean;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_kernel_of_delayed_rows_is_a_sum_of_shifted_kernels() {
        let design = |n: usize, d: usize, seed: usize| {
            StoryDesign::Dense(Array2::from_shape_fn((n, d), |(t, f)| {
                ((t * 31 + f * 17 + seed * 7) % 13) as f32 - 6.0
            }))
        };
        for delays in [vec![0], vec![1, 2, 3, 4], vec![-1, 2]] {
            let blocks = [design(7, 3, 1), design(5, 3, 2), design(2, 3, 3)];
            let refs: Vec<&StoryDesign> = blocks.iter().collect();
            let found = kernel(&refs, &refs, &delays);
            let delayed: Vec<Vec<f64>> = blocks
                .iter()
                .flat_map(|block| {
                    let x = block.to_dense();
                    let n = x.nrows() as i64;
                    (0..n)
                        .map(|t| {
                            let at = |d: &i64| {
                                let u = t - d;
                                (0..3)
                                    .map(|f| {
                                        if (0..n).contains(&u) {
                                            f64::from(x[(u as usize, f)])
                                        } else {
                                            0.0
                                        }
                                    })
                                    .collect::<Vec<_>>()
                            };
                            delays.iter().flat_map(at).collect::<Vec<f64>>()
                        })
                        .collect::<Vec<_>>()
                })
                .collect();
            for (i, a) in delayed.iter().enumerate() {
                for (j, b) in delayed.iter().enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    assert_eq!(found[(i, j)], dot, "small integers: exact");
                }
            }
        }
    }
}
