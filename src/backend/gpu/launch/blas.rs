//! Products by cuBLAS, row-major.

use cudarc::cublas::sys::{cublasMath_t, cublasOperation_t, cublasSetMathMode};
use cudarc::cublas::{Gemm as _, GemmConfig, StridedBatchedConfig};

use super::card::Lane;
use super::grid::holds;
use super::memory::{Part, PartMut};
use crate::error::Result;

/// C = A·B, or C += A·B; all row-major f32.
#[derive(Debug, Clone, Copy)]
pub struct Gemm {
    /// Rows of A and C.
    pub rows: usize,
    /// Columns of B and C.
    pub cols: usize,
    /// Columns of A, rows of B.
    pub depth: usize,
    /// A is stored as its transpose, `(depth, rows)`.
    pub a_transposed: bool,
    /// Values from one stored row of A to the next.
    pub lda: usize,
    /// The same of B.
    pub ldb: usize,
    /// The same of C.
    pub ldc: usize,
    /// Adds to what C holds.
    pub accumulate: bool,
}

/// Several products of one shape; values from one factor to the next, 0 where all share it.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// How many.
    pub n: usize,
    /// From one A to the next.
    pub stride_a: usize,
    /// From one B to the next.
    pub stride_b: usize,
    /// From one C to the next.
    pub stride_c: usize,
}

impl Gemm {
    /// A plain product of whole matrices.
    pub fn new(rows: usize, cols: usize, depth: usize) -> Self {
        let (lda, ldb, ldc) = (depth, cols, cols);
        Self { rows, cols, depth, a_transposed: false, lda, ldb, ldc, accumulate: false }
    }

    /// Aᵀ·B, A stored as `(depth, rows)`, added to C.
    pub fn add_transposed(rows: usize, cols: usize, depth: usize) -> Self {
        Self { a_transposed: true, lda: rows, accumulate: true, ..Self::new(rows, cols, depth) }
    }

    /// What cuBLAS, which has columns first, calls it: Cᵀ = Bᵀ·Aᵀ.
    fn config(&self) -> GemmConfig<f32> {
        let int = |n: usize| i32::try_from(n).expect("extents were checked");
        let operation = match self.a_transposed {
            true => cublasOperation_t::CUBLAS_OP_T,
            false => cublasOperation_t::CUBLAS_OP_N,
        };
        GemmConfig {
            transa: cublasOperation_t::CUBLAS_OP_N,
            transb: operation,
            m: int(self.cols),
            n: int(self.rows),
            k: int(self.depth),
            alpha: 1.0,
            lda: int(self.ldb),
            ldb: int(self.lda),
            beta: if self.accumulate { 1.0 } else { 0.0 },
            ldc: int(self.ldc),
        }
    }

    fn check(&self, (a, b, c): (usize, usize, usize), batch: Batch) -> Result<()> {
        let reach = |rows: usize, cols: usize, stride: usize| (rows - 1) * stride + cols;
        let last = batch.n - 1;
        let (a_rows, a_cols) = match self.a_transposed {
            true => (self.depth, self.rows),
            false => (self.rows, self.depth),
        };
        for extent in [self.lda, self.ldb, self.ldc, self.rows] {
            holds("sgemm", "an extent of 32 bits", i32::MAX as usize, &[extent])?;
        }
        holds("sgemm", "A", a, &[last * batch.stride_a + reach(a_rows, a_cols, self.lda)])?;
        holds("sgemm", "B", b, &[last * batch.stride_b + reach(self.depth, self.cols, self.ldb)])?;
        holds("sgemm", "C", c, &[last * batch.stride_c + reach(self.rows, self.cols, self.ldc)])
    }
}

impl Lane {
    /// One product.
    /// # Errors
    /// `Error::Device`; `Error::Shape` for a factor that is too short.
    pub fn gemm(
        &self,
        gemm: Gemm,
        a: &Part<'_, f32>,
        b: &Part<'_, f32>,
        c: &mut PartMut<'_, f32>,
    ) -> Result<()> {
        let one = Batch { n: 1, stride_a: 0, stride_b: 0, stride_c: 0 };
        self.gemm_batch(gemm, one, a, b, c)
    }

    /// Products of one shape, one after the other or all at once.
    /// # Errors
    /// As [`Lane::gemm`].
    pub fn gemm_batch(
        &self,
        gemm: Gemm,
        batch: Batch,
        a: &Part<'_, f32>,
        b: &Part<'_, f32>,
        c: &mut PartMut<'_, f32>,
    ) -> Result<()> {
        if gemm.rows == 0 || gemm.cols == 0 || batch.n == 0 {
            return Ok(());
        }
        if gemm.depth == 0 {
            return if gemm.accumulate { Ok(()) } else { self.zero(c) };
        }
        gemm.check((a.len(), b.len(), c.len()), batch)?;
        let config = gemm.config();
        let (stride_a, stride_b, stride_c) =
            (batch.stride_b as i64, batch.stride_a as i64, batch.stride_c as i64);
        // SAFETY: operands are swapped as cuBLAS has columns first, and were checked to hold all
        // that (rows, cols, depth, strides) reach; C is borrowed alone, so nothing aliases it.
        let done = unsafe {
            if batch.n == 1 {
                self.blas.gemm(config, b, a, c)
            } else {
                let batch_size = i32::try_from(batch.n).expect("a few folds");
                let gemm = config;
                let config =
                    StridedBatchedConfig { gemm, batch_size, stride_a, stride_b, stride_c };
                self.blas.gemm_strided_batched(config, b, a, c)
            }
        };
        done.map_err(|e| self.card.blas_error("sgemm", e))
    }

    /// Products from here on may round their factors to TF32 (10 bits), or may not.
    /// # Errors
    /// `Error::Device`.
    pub fn allow_tf32(&self, allowed: bool) -> Result<()> {
        let mode = match allowed {
            true => cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH,
            false => cublasMath_t::CUBLAS_DEFAULT_MATH,
        };
        // SAFETY: the handle is this lane's own and alive.
        let done = unsafe { cublasSetMathMode(*self.blas.handle(), mode) };
        done.result().map_err(|e| self.card.blas_error("math mode", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_checked_to_their_last_value() {
        let one = Batch { n: 1, stride_a: 0, stride_b: 0, stride_c: 0 };
        let gemm = Gemm::new(3, 5, 2);
        gemm.check((6, 10, 15), one).unwrap();
        for short in [(5, 10, 15), (6, 9, 15), (6, 10, 14)] {
            assert!(gemm.check(short, one).is_err(), "{short:?}");
        }
        let three = Batch { n: 3, stride_a: 0, stride_b: 10, stride_c: 15 };
        gemm.check((6, 30, 45), three).unwrap();
        assert!(gemm.check((6, 29, 45), three).is_err());
        // C may have rows of other values between its own.
        let strided = Gemm { ldc: 20, ..gemm };
        strided.check((6, 10, 45), one).unwrap();
        assert!(strided.check((6, 10, 44), one).is_err());
        // More than 2^31 values in all, fewer in each extent.
        let wide = Gemm::add_transposed(40_000, 95_556, 64);
        wide.check((40_000 * 64, 95_556 * 64, 40_000 * 95_556), one).unwrap();
        assert!(Gemm::new(1, 1 << 32, 1).check((1, 1 << 32, 1 << 32), one).is_err());
    }
}
