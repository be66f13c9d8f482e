//! A symmetric matrix as Q T Qᵀ with T tridiagonal: ridge at any alpha in O(n) a voxel.
//!
//! Eigenvectors cost about 9·n³ flops, of which reducing to T is 4/3·n³. Where few voxels are
//! solved, T is enough: (G + a)⁻¹ = Q (T + a)⁻¹ Qᵀ, and Q stays a product of reflections.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::tridiag::{tridiag_in_place, tridiag_in_place_scratch};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as q_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_q,
    apply_block_householder_sequence_transpose_on_the_left_in_place_scratch as q_transposed_scratch,
    apply_block_householder_sequence_transpose_on_the_left_in_place_with_conj as apply_q_transposed,
};
use faer::linalg::qr::no_pivoting::factor::recommended_block_size;
use faer::{Conj, Mat, MatMut, MatRef, Par};

use crate::error::{Error, Result};

/// Q T Qᵀ of a symmetric matrix.
#[derive(Debug)]
pub struct Tridiagonal {
    /// `(n)` diagonal of T.
    pub diagonal: Vec<f64>,
    /// `(n − 1)` beside it.
    pub beside: Vec<f64>,
    /// `(n, n)`: reflections below the diagonal.
    reflections: Mat<f64>,
    /// `(block, n − 1)`: their block factors.
    blocks: Mat<f64>,
}

impl Tridiagonal {
    /// Of a matrix whose lower triangle is read; 4/3·n³ flops, half of them bound by memory.
    /// # Errors
    /// `Error::Numerical` if the matrix is not finite.
    pub fn new(mut symmetric: Mat<f64>, par: Par) -> Result<Self> {
        let n = symmetric.nrows();
        let block = recommended_block_size::<f64>(n, n).max(1);
        let mut blocks = Mat::zeros(block, n.saturating_sub(1));
        let scratch = tridiag_in_place_scratch::<f64>(n, par, Default::default());
        let mut memory = MemBuffer::new(scratch);
        let stack = MemStack::new(&mut memory);
        tridiag_in_place(symmetric.as_mut(), blocks.as_mut(), par, stack, Default::default());
        let diagonal: Vec<f64> = (0..n).map(|i| symmetric[(i, i)]).collect();
        let beside: Vec<f64> = (1..n).map(|i| symmetric[(i, i - 1)]).collect();
        if diagonal.iter().chain(&beside).any(|value| !value.is_finite()) {
            return Err(Error::Numerical {
                what: format!("tridiagonal form of a Gram matrix ({n} × {n})"),
                problem: "not finite".into(),
            });
        }
        Ok(Self { diagonal, beside, reflections: symmetric, blocks })
    }

    /// Rows of the matrix.
    pub fn n(&self) -> usize {
        self.diagonal.len()
    }

    fn basis(&self) -> MatRef<'_, f64> {
        let n = self.n().saturating_sub(1);
        self.reflections.submatrix(self.n() - n, 0, n, n)
    }

    /// Qᵀ x in place of x `(n, _)`; 2·n² flops a column.
    pub fn enter(&self, x: MatMut<'_, f64>, par: Par) {
        let Some(n) = self.n().checked_sub(1).filter(|&n| n > 0) else { return };
        let scratch = q_transposed_scratch::<f64>(n, self.blocks.nrows(), x.ncols());
        let mut memory = MemBuffer::new(scratch);
        let (x, stack) = (x.subrows_mut(1, n), MemStack::new(&mut memory));
        apply_q_transposed(self.basis(), self.blocks.as_ref(), Conj::No, x, par, stack);
    }

    /// Q x in place of x `(n, _)`; 2·n² flops a column.
    pub fn leave(&self, x: MatMut<'_, f64>, par: Par) {
        let Some(n) = self.n().checked_sub(1).filter(|&n| n > 0) else { return };
        let scratch = q_scratch::<f64>(n, self.blocks.nrows(), x.ncols());
        let mut memory = MemBuffer::new(scratch);
        let (x, stack) = (x.subrows_mut(1, n), MemStack::new(&mut memory));
        apply_q(self.basis(), self.blocks.as_ref(), Conj::No, x, par, stack);
    }

    /// `(T + alphas)⁻¹ z` for `W` voxels side by side, each with its own alpha; LDLᵀ without
    /// pivots, stable for T + alpha positive definite. `pivots` is scratch.
    #[inline(always)]
    pub fn solve<const W: usize>(
        &self,
        alphas: &[f64; W],
        z: &[[f64; W]],
        out: &mut [[f64; W]],
        pivots: &mut Vec<[f64; W]>,
    ) {
        pivots.clear();
        let (mut inverse, mut last) = ([0.0; W], [0.0; W]);
        for (i, (row, out)) in z.iter().zip(&mut *out).enumerate() {
            let beside = if i > 0 { self.beside[i - 1] } else { 0.0 };
            for v in 0..W {
                let ratio = beside * inverse[v];
                inverse[v] = 1.0 / (self.diagonal[i] + alphas[v] - beside * ratio);
                last[v] = row[v] - ratio * last[v];
                out[v] = last[v] * inverse[v];
            }
            pivots.push(inverse);
        }
        let mut next = [0.0; W];
        for (i, (out, pivot)) in out.iter_mut().zip(pivots.iter()).enumerate().rev() {
            let beside = self.beside.get(i).copied().unwrap_or(0.0);
            for v in 0..W {
                out[v] -= beside * pivot[v] * next[v];
            }
            next = *out;
        }
    }

    /// Largest and smallest eigenvalue, each to about 1e-6 of the largest.
    pub fn extremes(&self) -> (f64, f64) {
        let beside = |i: usize| self.beside.get(i).map_or(0.0, |value| value.abs());
        let radius = |i: usize| beside(i) + i.checked_sub(1).map_or(0.0, beside);
        let rows = || self.diagonal.iter().enumerate();
        let high = rows().map(|(i, d)| d + radius(i)).fold(f64::MIN, f64::max);
        let low = rows().map(|(i, d)| d - radius(i)).fold(f64::MAX, f64::min);
        // Where the number of eigenvalues below x first reaches `count`.
        let reach = |count: usize| {
            let (mut from, mut to) = (low, high);
            for _ in 0..24 {
                let middle = 0.5 * (from + to);
                if self.n_below(middle) >= count { to = middle } else { from = middle }
            }
            to
        };
        (reach(self.n()), reach(1))
    }

    /// Eigenvalues below x: negative pivots of T − x (Sylvester).
    fn n_below(&self, x: f64) -> usize {
        let mut pivot = 1.0;
        let mut count = 0;
        for (i, diagonal) in self.diagonal.iter().enumerate() {
            let beside = if i > 0 { self.beside[i - 1] } else { 0.0 };
            pivot = diagonal - x - beside * beside / pivot;
            if pivot == 0.0 {
                pivot = -f64::MIN_POSITIVE.sqrt();
            }
            count += usize::from(pivot < 0.0);
        }
        count
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        (self.n() + self.blocks.nrows()) * self.n() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(n: usize) -> Mat<f64> {
        let wave = |i: usize, k: usize| ((i * 37 + k * 61 + i * k) % 101) as f64 / 50.0 - 1.0;
        let x = Mat::from_fn(n + 40, n, wave);
        x.transpose() * &x
    }

    #[test]
    fn solutions_leave_no_residual_at_any_alpha() {
        for n in [1, 2, 3, 31, 64, 130] {
            let gram = gram(n);
            let form = Tridiagonal::new(gram.clone(), Par::Seq).unwrap();
            let right = Mat::from_fn(n, 2, |i, v| ((i * 7 + v * 3) % 11) as f64 - 4.5);
            let mut x = right.clone();
            form.enter(x.as_mut(), Par::Seq);
            let z: Vec<[f64; 2]> = (0..n).map(|i| [x[(i, 0)], x[(i, 1)]]).collect();
            let (alphas, mut out) = ([0.5, 300.0], vec![[0.0; 2]; n]);
            form.solve(&alphas, &z, &mut out, &mut Vec::new());
            let mut w = Mat::from_fn(n, 2, |i, v| out[i][v]);
            form.leave(w.as_mut(), Par::Seq);
            let size = gram.norm_l2();
            for v in 0..2 {
                for i in 0..n {
                    let product: f64 = (0..n).map(|k| gram[(i, k)] * w[(k, v)]).sum();
                    let residual = product + alphas[v] * w[(i, v)] - right[(i, v)];
                    let bound = 8.0 * n as f64 * f64::EPSILON * size * w.norm_l2();
                    assert!(residual.abs() <= bound, "{n}: {residual} > {bound}");
                }
            }
        }
    }

    #[test]
    fn extremes_are_those_of_the_eigenvalues() {
        for n in [1, 2, 33, 90] {
            let gram = gram(n);
            let values = gram.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
            let (most, least) = Tridiagonal::new(gram, Par::Seq).unwrap().extremes();
            let bound = 1e-6 * values[n - 1];
            assert!((most - values[n - 1]).abs() <= bound, "{n}: {most}");
            assert!((least - values[0]).abs() <= bound, "{n}: {least}");
        }
    }

    #[test]
    fn a_matrix_that_is_not_finite_is_refused() {
        let bad = Mat::from_fn(3, 3, |_, _| f64::NAN);
        assert_eq!(Tridiagonal::new(bad, Par::Seq).unwrap_err().exit_code(), 1);
    }
}
