//! Left factors of products, in the order in which the product reads them.

use std::ops::Range;

/// Rows of a strip: with two 512-bit registers of voxels, 24 sums stay in registers.
pub const STRIP: usize = 12;

/// A matrix `(rows, depth)` cut into strips of [`STRIP`] rows; within a strip, one column after the
/// other. The last strip is filled up with zero rows.
///
/// What a fold multiplies every voxel by (eigenvectors, triangular factors) is packed once, when
/// the problem is prepared, instead of once a product.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Packed {
    rows: usize,
    depth: usize,
    data: Vec<[f32; STRIP]>,
}

impl Packed {
    /// `value(row, column)` for every cell.
    pub fn from_fn(rows: usize, depth: usize, value: impl FnMut(usize, usize) -> f32) -> Self {
        let mut packed = Self::default();
        packed.fill(rows, depth, value);
        packed
    }

    /// As [`Packed::from_fn`], into the memory that is there.
    pub fn fill(&mut self, rows: usize, depth: usize, mut value: impl FnMut(usize, usize) -> f32) {
        (self.rows, self.depth) = (rows, depth);
        self.data.resize(rows.div_ceil(STRIP) * depth, [0.0; STRIP]);
        for (s, strip) in self.data.chunks_exact_mut(depth.max(1)).enumerate() {
            let first = s * STRIP;
            for (k, column) in strip.iter_mut().enumerate() {
                for (i, cell) in column.iter_mut().enumerate() {
                    *cell = if first + i < rows { value(first + i, k) } else { 0.0 };
                }
            }
        }
    }

    /// The transpose of some rows of a row-major `(_, cols)` matrix: row i of the product is
    /// column i of `data`.
    pub fn fill_transposed(&mut self, data: &[f32], cols: usize) {
        let depth = data.len().checked_div(cols).unwrap_or(0);
        (self.rows, self.depth) = (cols, depth);
        self.data.resize(cols.div_ceil(STRIP) * depth, [0.0; STRIP]);
        for (s, strip) in self.data.chunks_exact_mut(depth.max(1)).enumerate() {
            let first = s * STRIP;
            let live = STRIP.min(cols - first);
            for (row, column) in data.chunks_exact(cols).zip(strip) {
                column[..live].copy_from_slice(&row[first..first + live]);
                column[live..].fill(0.0);
            }
        }
    }

    /// Rows, without those that fill up the last strip.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Strips.
    pub fn n_strips(&self) -> usize {
        self.rows.div_ceil(STRIP)
    }

    /// Some columns of one strip.
    pub fn strip(&self, strip: usize, columns: Range<usize>) -> &[[f32; STRIP]] {
        &self.data[strip * self.depth..(strip + 1) * self.depth][columns]
    }

    /// All cells, row by row.
    pub fn to_rows(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.depth];
        for (first, strip) in (0..).step_by(STRIP).zip(self.data.chunks_exact(self.depth.max(1))) {
            let live = STRIP.min(self.rows - first);
            for (k, column) in strip.iter().enumerate() {
                for (i, &cell) in column[..live].iter().enumerate() {
                    out[(first + i) * self.depth + k] = cell;
                }
            }
        }
        out
    }

    /// One cell.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        self.data[row / STRIP * self.depth + column][row % STRIP]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_where_they_belong_and_the_last_strip_ends_in_zeros() {
        for (rows, depth) in [(1, 1), (11, 3), (12, 5), (13, 2), (25, 7), (0, 4), (4, 0)] {
            let value = |i: usize, k: usize| (i * 100 + k) as f32 + 1.0;
            let packed = Packed::from_fn(rows, depth, value);
            assert_eq!((packed.rows(), packed.depth()), (rows, depth));
            for i in 0..rows {
                for k in 0..depth {
                    assert_eq!(packed.get(i, k), value(i, k));
                }
            }
            for i in rows..packed.n_strips() * STRIP {
                assert!((0..depth).all(|k| packed.get(i, k) == 0.0));
            }
            let by_rows: Vec<f32> =
                (0..rows).flat_map(|i| (0..depth).map(move |k| value(i, k))).collect();
            assert_eq!(packed.to_rows(), by_rows);
            let row_major: Vec<f32> =
                (0..depth).flat_map(|k| (0..rows).map(move |i| value(i, k))).collect();
            let mut transposed = Packed::from_fn(40, 9, |_, _| 7.0);
            transposed.fill_transposed(&row_major, rows);
            if rows > 0 {
                assert_eq!(transposed, packed);
            }
        }
    }
}
