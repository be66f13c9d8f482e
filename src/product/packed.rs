//! Left factors of products, in the order in which the product reads them.

use std::ops::Range;

use pulp::Arch;

use super::amx::{self, Chunk, SIDE};
use crate::product::vectorized::vectorized;

/// Rows of a strip: with two 512-bit registers of voxels, 24 sums stay in registers.
pub const STRIP: usize = 12;

/// Rows from which tiles pay for splitting the right factor.
const FEW_ROWS: usize = 40;

/// In which order the cells lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Strips of [`STRIP`] rows; within a strip, one column after the other.
    Strips,
    /// Strips of 32 rows; within a strip, chunks of 32 columns, for the units of [`amx`].
    Chunks,
}

impl Layout {
    /// The quickest here for a matrix of this many rows.
    pub fn best(rows: usize) -> Self {
        if rows >= FEW_ROWS && amx::is_available() { Self::Chunks } else { Self::Strips }
    }

    /// Bytes of a cell: an f32, or its three bf16.
    pub fn cell_bytes(self) -> usize {
        match self {
            Self::Strips => size_of::<f32>(),
            Self::Chunks => size_of::<Chunk>() / (SIDE * SIDE),
        }
    }

    /// Rows of a strip.
    pub fn strip(self) -> usize {
        match self {
            Self::Strips => STRIP,
            Self::Chunks => SIDE,
        }
    }
}

/// A matrix `(rows, depth)` cut into strips of rows. The last strip, and the last chunk of a strip,
/// are filled up with zeros. No digit of a cell is lost, whatever the layout.
///
/// What a fold multiplies every voxel by (eigenvectors, triangular factors) is packed once, when
/// the problem is prepared, instead of once a product.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Packed {
    rows: usize,
    depth: usize,
    terms: usize,
    cells: Cells,
}

#[derive(Debug, Clone, PartialEq)]
enum Cells {
    Strips(Vec<[f32; STRIP]>),
    Chunks(Vec<Chunk>),
}

impl Default for Cells {
    fn default() -> Self {
        Self::Strips(Vec::new())
    }
}

impl Packed {
    /// `value(row, column)` for every cell, in the layout that is best here.
    pub fn from_fn(rows: usize, depth: usize, value: impl FnMut(usize, usize) -> f32) -> Self {
        Self::from_fn_in(Layout::best(rows), rows, depth, value)
    }

    /// As [`Packed::from_fn`], in the layout given.
    pub fn from_fn_in(
        layout: Layout,
        rows: usize,
        depth: usize,
        value: impl FnMut(usize, usize) -> f32,
    ) -> Self {
        let mut packed = Self::default();
        packed.fill(layout, rows, depth, value);
        packed
    }

    /// As [`Packed::from_fn_in`], into the memory that is there.
    pub fn fill(
        &mut self,
        layout: Layout,
        rows: usize,
        depth: usize,
        mut value: impl FnMut(usize, usize) -> f32,
    ) {
        (self.rows, self.depth, self.terms) = (rows, depth, depth);
        let mut cell = |i: usize, k: usize| if i < rows && k < depth { value(i, k) } else { 0.0 };
        match self.cells(layout) {
            Cells::Strips(data) => {
                for (s, strip) in data.chunks_exact_mut(depth.max(1)).enumerate() {
                    for (k, column) in strip.iter_mut().enumerate() {
                        *column = std::array::from_fn(|i| cell(s * STRIP + i, k));
                    }
                }
            }
            Cells::Chunks(data) => {
                for (s, strip) in data.chunks_exact_mut(depth.div_ceil(SIDE).max(1)).enumerate() {
                    for (c, chunk) in strip.iter_mut().enumerate() {
                        *chunk = amx::left_chunk(|i, k| cell(s * SIDE + i, c * SIDE + k));
                    }
                }
            }
        }
    }

    /// `rows` rows of `cols` cells, the next one `stride` cells further in `data`.
    pub fn fill_rows(
        &mut self,
        layout: Layout,
        (data, stride): (&[f32], usize),
        (rows, cols): (usize, usize),
        arch: Arch,
    ) {
        (self.rows, self.depth, self.terms) = (rows, cols, cols);
        if rows == 0 || cols == 0 {
            self.fill(layout, rows, cols, |_, _| 0.0);
            return;
        }
        let row = |i: usize| &data[i * stride..][..cols];
        match self.cells(layout) {
            Cells::Strips(strips) => {
                for (s, strip) in strips.chunks_exact_mut(cols).enumerate() {
                    // A row that is not there is a strip's first one, times nothing.
                    let live = STRIP.min(rows - s * STRIP);
                    let from: [&[f32]; STRIP] =
                        std::array::from_fn(|i| row(s * STRIP + if i < live { i } else { 0 }));
                    for (k, column) in strip.iter_mut().enumerate() {
                        *column = std::array::from_fn(|i| if i < live { from[i][k] } else { 0.0 });
                    }
                }
            }
            Cells::Chunks(chunks) => {
                split_rows(arch, data, stride, rows, cols, chunks);
            }
        }
    }

    /// The transpose of some rows of a row-major `(_, cols)` matrix: row i of the product is
    /// column i of `data`.
    pub fn fill_transposed(&mut self, layout: Layout, data: &[f32], cols: usize, arch: Arch) {
        let depth = data.len().checked_div(cols).unwrap_or(0);
        (self.rows, self.depth, self.terms) = (cols, depth, depth);
        match self.cells(layout) {
            Cells::Strips(strips) => {
                for (s, strip) in strips.chunks_exact_mut(depth.max(1)).enumerate() {
                    let first = s * STRIP;
                    let live = STRIP.min(cols - first);
                    for (row, column) in data.chunks_exact(cols).zip(strip) {
                        column[..live].copy_from_slice(&row[first..first + live]);
                        column[live..].fill(0.0);
                    }
                }
            }
            Cells::Chunks(chunks) => split_columns(arch, data, cols, chunks),
        }
    }

    /// The cells of a matrix of this size, to be written.
    fn cells(&mut self, layout: Layout) -> &mut Cells {
        let n_strips = self.rows.div_ceil(layout.strip());
        match (layout, &mut self.cells) {
            (Layout::Strips, Cells::Strips(_)) | (Layout::Chunks, Cells::Chunks(_)) => {}
            (Layout::Strips, cells) => *cells = Cells::Strips(Vec::new()),
            (Layout::Chunks, cells) => *cells = Cells::Chunks(Vec::new()),
        }
        match &mut self.cells {
            Cells::Strips(data) => data.resize(n_strips * self.depth, [0.0; STRIP]),
            Cells::Chunks(data) => data.resize(n_strips * self.depth.div_ceil(SIDE), amx::ZEROS),
        }
        &mut self.cells
    }

    /// The order of the cells.
    pub fn layout(&self) -> Layout {
        match self.cells {
            Cells::Strips(_) => Layout::Strips,
            Cells::Chunks(_) => Layout::Chunks,
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

    /// Terms of the sums that products with this matrix are part of: its depth, unless it is a part
    /// of something longer.
    pub fn terms(&self) -> usize {
        self.terms
    }

    /// It is a part of a matrix of this depth.
    pub fn set_terms(&mut self, terms: usize) {
        self.terms = terms;
    }

    /// Strips.
    pub fn n_strips(&self) -> usize {
        self.rows.div_ceil(self.layout().strip())
    }

    /// Some columns of one strip.
    /// # Panics
    /// If the cells lie in chunks.
    pub fn strip(&self, strip: usize, columns: Range<usize>) -> &[[f32; STRIP]] {
        let Cells::Strips(data) = &self.cells else { panic!("a strip of chunks") };
        &data[strip * self.depth..(strip + 1) * self.depth][columns]
    }

    /// Some chunks of one strip.
    /// # Panics
    /// If the cells lie in strips of columns.
    pub fn chunks(&self, strip: usize, chunks: Range<usize>) -> &[Chunk] {
        let Cells::Chunks(data) = &self.cells else { panic!("chunks of a strip of columns") };
        let n = self.depth.div_ceil(SIDE);
        &data[strip * n..(strip + 1) * n][chunks]
    }

    /// All cells, row by row.
    pub fn to_rows(&self) -> Vec<f32> {
        let row = |i: usize| (0..self.depth).map(move |k| self.get(i, k));
        (0..self.rows).flat_map(row).collect()
    }

    /// One cell.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        match &self.cells {
            Cells::Strips(data) => data[row / STRIP * self.depth + column][row % STRIP],
            Cells::Chunks(data) => {
                let chunk = row / SIDE * self.depth.div_ceil(SIDE) + column / SIDE;
                amx::left_value(&data[chunk], row % SIDE, column % SIDE)
            }
        }
    }
}

vectorized! {
    /// Rows of a row-major matrix as rows of a left factor.
    fn split_rows<'a>(
        data: &'a [f32],
        stride: usize,
        rows: usize,
        cols: usize,
        chunks: &'a mut [Chunk],
    ) {
        for (s, strip) in chunks.chunks_exact_mut(cols.div_ceil(SIDE)).enumerate() {
            for (c, chunk) in strip.iter_mut().enumerate() {
                let row = |i: usize| &data[(s * SIDE + i) * stride..][..cols][c * SIDE..];
                if s * SIDE + SIDE <= rows && c * SIDE + SIDE <= cols {
                    amx::left_from_rows(|i| cells(row(i)), chunk);
                } else {
                    let there = |i: usize| s * SIDE + i < rows;
                    let row = |i: usize| if there(i) { some_cells(row(i)) } else { [0.0; SIDE] };
                    amx::left_from_rows(row, chunk);
                }
            }
        }
    }
}

/// The first 32 of a row that has as many.
#[inline(always)]
fn cells(row: &[f32]) -> [f32; SIDE] {
    let mut cells = [0.0; SIDE];
    cells.copy_from_slice(&row[..SIDE]);
    cells
}

/// The first 32 of a row, zeros behind its end.
fn some_cells(row: &[f32]) -> [f32; SIDE] {
    let mut cells = [0.0; SIDE];
    let live = SIDE.min(row.len());
    cells[..live].copy_from_slice(&row[..live]);
    cells
}

vectorized! {
    /// Columns of a row-major matrix as rows of a left factor.
    fn split_columns<'a>(data: &'a [f32], cols: usize, chunks: &'a mut [Chunk]) {
        let n_chunks = data.len().div_ceil((cols * SIDE).max(1)).max(1);
        for (s, strip) in chunks.chunks_exact_mut(n_chunks).enumerate() {
            let first = s * SIDE;
            let live = SIDE.min(cols - first);
            for (chunk, rows) in strip.iter_mut().zip(data.chunks((SIDE * cols).max(1))) {
                let column = |k: usize| &rows[k * cols..][..cols][first..];
                if live == SIDE && rows.len() == SIDE * cols {
                    amx::left_from_columns(|k| cells(column(k)), chunk);
                } else {
                    let there = |k: usize| k * cols < rows.len();
                    let column =
                        |k: usize| if there(k) { some_cells(column(k)) } else { [0.0; SIDE] };
                    amx::left_from_columns(column, chunk);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_where_they_belong_and_the_last_strip_ends_in_zeros() {
        for layout in [Layout::Strips, Layout::Chunks] {
            for (rows, depth) in [(1, 1), (11, 3), (12, 5), (13, 2), (33, 70), (0, 4), (4, 0)] {
                let value = |i: usize, k: usize| (i * 100 + k) as f32 + 1.1;
                let packed = Packed::from_fn_in(layout, rows, depth, value);
                assert_eq!((packed.rows(), packed.depth()), (rows, depth));
                for i in 0..rows {
                    for k in 0..depth {
                        assert_eq!(packed.get(i, k), value(i, k));
                    }
                }
                for i in rows..packed.n_strips() * layout.strip() {
                    assert!((0..depth).all(|k| packed.get(i, k) == 0.0));
                }
                let row_major: Vec<f32> =
                    (0..depth).flat_map(|k| (0..rows).map(move |i| value(i, k))).collect();
                let mut transposed = Packed::from_fn_in(layout, 40, 9, |_, _| 7.0);
                transposed.fill_transposed(layout, &row_major, rows, Arch::new());
                if rows > 0 {
                    assert_eq!(transposed, packed);
                }
                let mut other = Packed::from_fn_in(Layout::Strips, 3, 3, |_, _| 7.0);
                other.fill(layout, rows, depth, value);
                assert_eq!(other, packed);
                let by_rows: Vec<f32> =
                    (0..rows).flat_map(|i| (0..depth).map(move |k| value(i, k))).collect();
                assert_eq!(packed.to_rows(), by_rows);
                let stride = depth + 3;
                let apart: Vec<f32> =
                    (0..rows).flat_map(|i| (0..stride).map(move |k| value(i, k))).collect();
                other.fill_rows(layout, (&apart, stride), (rows, depth), Arch::new());
                assert_eq!(other, packed);
            }
        }
    }
}
