//! f32 products of a packed left factor with panels of 32 voxels.
//!
//! Everything that is done to a voxel is a product of a matrix that all voxels share with a column
//! of their own. So the shared factor is packed once ([`Packed`]) and BOLD travels in *panels*: 32
//! voxels side by side, row after row, `[[f32; 32]]`. A panel's rows lie in the first-level cache
//! while strips of the left factor stream by; 12 × 32 sums stay in registers (AVX-512; 6 × 16 with
//! AVX2). There is no packing of outputs or of right factors between the stages of the solver.
//! `docs/performance.md` has what this wins over a general product.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::amx::{self, Chunk, Digits, SIDE, Unit};
use super::packed::{Layout, Packed, STRIP};
use super::panels::{PANEL, PanelRow, PanelRows};

/// Depth of a product between two visits to its sums: a panel's 256 rows take 32 KiB.
const DEPTH: usize = 256;

/// The same where right factors are split: 16 panels' rows take 1.2 MB, of which four products
/// read two thirds.
const SPLIT_DEPTH: usize = 384;

/// Panels that are split together.
const SPLIT_PANELS: usize = 16;

/// Where a product goes: row i starts at `i · stride`, `live` of its 32 voxels exist.
pub struct Out<'a> {
    /// From the first row on.
    pub data: &'a mut [f32],
    /// Distance of two rows.
    pub stride: usize,
    /// Voxels of the panel that are written.
    pub live: usize,
}

impl<'a> Out<'a> {
    /// A panel.
    pub fn panel(panel: &'a mut [PanelRow]) -> Self {
        Self { data: panel.as_flattened_mut(), stride: PANEL, live: PANEL }
    }
}

/// Which part of the left factor takes part.
#[derive(Debug, Clone)]
pub struct Part {
    /// Strips, by number.
    pub strips: Range<usize>,
    /// Columns.
    pub columns: Range<usize>,
    /// The factor is upper triangular: columns below the diagonal are skipped.
    pub upper: bool,
}

/// `out` = or += `left[part] · right`.
///
/// `right`: one row for each of the part's columns. Rows of `out` begin with the part's first
/// strip; rows beyond those of `left` are not written. 2·rows·columns·32 flops, f32 sums in the
/// order of the columns.
pub fn multiply(
    arch: Arch,
    left: &Packed,
    part: Part,
    right: &[PanelRow],
    out: Out<'_>,
    add: bool,
) {
    assert_eq!(part.columns.len(), right.len(), "a row of the panel for every column");
    if left.layout() == Layout::Strips {
        arch.dispatch(Multiply { left, part, right, out, add });
        return;
    }
    let (digits, n) = (Digits::of_terms(left.terms()), part.columns.len());
    SPLIT.with_borrow_mut(|split| {
        let split = sized_chunks(split, (part.columns.start % SIDE + n).div_ceil(SIDE));
        amx::split_rows(arch, right, part.columns.start % SIDE, split);
        multiply_split(&Unit::new(), left, part, split, digits, out, add);
    });
}

thread_local! {
    /// Right factors of one product.
    static SPLIT: RefCell<Vec<Chunk>> = const { RefCell::new(Vec::new()) };
}

/// At least `n` chunks.
pub fn sized_chunks(chunks: &mut Vec<Chunk>, n: usize) -> &mut [Chunk] {
    if chunks.len() < n {
        chunks.resize(n, amx::ZEROS);
    }
    &mut chunks[..n]
}

/// As [`multiply`] for a left factor in chunks and a right factor that is split: all chunks that
/// the part's columns touch.
pub fn multiply_split(
    unit: &Unit,
    left: &Packed,
    part: Part,
    right: &[Chunk],
    digits: Digits,
    out: Out<'_>,
    add: bool,
) {
    let Part { strips, columns, upper } = part;
    let chunks = columns.start / SIDE..columns.end.div_ceil(SIDE);
    let Out { data, stride, live } = out;
    for (n, s) in strips.enumerate() {
        let start = if upper { s.clamp(chunks.start, chunks.end) } else { chunks.start };
        let strip = left.chunks(s, start..chunks.end);
        let right = &right[start - chunks.start..];
        let rows = SIDE.min(left.rows() - s * SIDE);
        let out = &mut data[n * SIDE * stride..];
        if rows == SIDE && live == PANEL {
            unit.multiply(strip, right, digits, (out, stride), add);
            continue;
        }
        let mut whole = [[0f32; PANEL]; SIDE];
        unit.multiply(strip, right, digits, (whole.as_flattened_mut(), PANEL), false);
        put_live(&whole[..rows], out, (stride, live), add);
    }
}

/// Rows of sums to where they belong, `live` of each.
#[inline(always)]
fn put_live(rows: &[PanelRow], out: &mut [f32], (stride, live): (usize, usize), add: bool) {
    for (i, row) in rows.iter().enumerate() {
        for (out, &value) in out[i * stride..][..live].iter_mut().zip(row) {
            *out = if add { *out + value } else { value };
        }
    }
}

/// `out` (a panel of `left.rows()` rows) = `left · right`.
pub fn multiply_all(arch: Arch, left: &Packed, right: &[PanelRow], out: &mut [PanelRow]) {
    multiply_panels(arch, left, right, out, 1);
}

/// The same for `n` panels one after the other.
pub fn multiply_panels(
    arch: Arch,
    left: &Packed,
    right: &[PanelRow],
    out: &mut [PanelRow],
    n: usize,
) {
    let (rows, depth) = (left.rows(), left.depth());
    if depth == 0 {
        out.fill([0.0; PANEL]);
    }
    let right = PanelRows::whole(&right[..n * depth], depth);
    multiply_columns(arch, left, 0..depth, right, (&mut out[..n * rows], rows, 0), false);
}

/// `out` = or += some columns of `left` times panels of as many rows.
///
/// `out`: its panels, the rows of one, and the row at which `left`'s begin. Columns are taken in
/// steps, so that what is read again and again stays in the second-level cache: that part of the
/// left factor or, where it is in chunks, of 16 panels.
pub fn multiply_columns(
    arch: Arch,
    left: &Packed,
    columns: Range<usize>,
    right: PanelRows<'_>,
    (out, stride, at): (&mut [PanelRow], usize, usize),
    add: bool,
) {
    assert_eq!(columns.len(), right.n_rows, "a row of the panels for every column");
    let (rows, strips) = (left.rows(), 0..left.n_strips());
    let (step, digits) = match left.layout() {
        Layout::Strips => (DEPTH, Digits::All),
        Layout::Chunks => (SPLIT_DEPTH, Digits::of_terms(left.terms())),
    };
    for start in columns.clone().step_by(step) {
        let own = start..(start + step).min(columns.end);
        let add = add || start > columns.start;
        let right =
            |panel: usize| &right.panel(panel)[start - columns.start..own.end - columns.start];
        if left.layout() == Layout::Strips {
            for (p, out) in out.chunks_exact_mut(stride.max(1)).enumerate() {
                let part = Part { strips: strips.clone(), columns: own.clone(), upper: false };
                multiply(arch, left, part, right(p), Out::panel(&mut out[at..at + rows]), add);
            }
            continue;
        }
        SPLIT.with_borrow_mut(|split| {
            let first = own.start % SIDE;
            let n_chunks = (first + own.len()).div_ceil(SIDE);
            let unit = Unit::new();
            for (group, out) in out.chunks_mut(SPLIT_PANELS * stride).enumerate() {
                let split = sized_chunks(split, n_chunks * (out.len() / stride));
                for (p, split) in split.chunks_exact_mut(n_chunks).enumerate() {
                    amx::split_rows(arch, right(group * SPLIT_PANELS + p), first, split);
                }
                for s in strips.clone() {
                    let panels = out.chunks_exact_mut(stride);
                    for (out, split) in panels.zip(split.chunks_exact(n_chunks)) {
                        let part = Part { strips: s..s + 1, columns: own.clone(), upper: false };
                        let out = Out::panel(&mut out[at + s * SIDE..at + rows]);
                        multiply_split(&unit, left, part, split, digits, out, add);
                    }
                }
            }
        });
    }
}

struct Multiply<'a> {
    left: &'a Packed,
    part: Part,
    right: &'a [PanelRow],
    out: Out<'a>,
    add: bool,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, part, right, out, add } = self;
        let Part { strips, columns, upper } = part;
        let Out { data, stride, live } = out;
        for (n, s) in strips.enumerate() {
            let first = s * STRIP;
            let start = if upper { first.clamp(columns.start, columns.end) } else { columns.start };
            let strip = left.strip(s, start..columns.end);
            let right = &right[start - columns.start..];
            let rows = STRIP.min(left.rows() - first);
            let out = &mut data[n * STRIP * stride..];
            if rows == STRIP && live == PANEL {
                tile(simd, strip, right, out, stride, add);
                continue;
            }
            let mut whole = [[0f32; PANEL]; STRIP];
            tile(simd, strip, right, whole.as_flattened_mut(), PANEL, false);
            put_live(&whole[..rows], out, (stride, live), add);
        }
    }
}

/// 12 rows × 32 voxels.
#[inline(always)]
fn tile<S: Simd>(
    simd: S,
    left: &[[f32; STRIP]],
    right: &[PanelRow],
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    if S::F32_LANES >= 16 {
        registers::<S, 12, 2>(simd, left, right, (0, 0), out, stride, add);
    } else {
        for row in [0, 6] {
            for column in (0..PANEL / S::F32_LANES).step_by(2) {
                registers::<S, 6, 2>(simd, left, right, (row, column), out, stride, add);
            }
        }
    }
}

/// R rows × C registers, from row and register `at`.
#[inline(always)]
fn registers<S: Simd, const R: usize, const C: usize>(
    simd: S,
    left: &[[f32; STRIP]],
    right: &[PanelRow],
    at: (usize, usize),
    out: &mut [f32],
    stride: usize,
    add: bool,
) {
    let sums = sums_of::<S, R, C>(simd, left, right, at);
    for (i, sums) in sums.iter().enumerate() {
        let row = &mut out[(at.0 + i) * stride..][..PANEL];
        let row = S::as_mut_simd_f32s(row).0;
        for (c, &sum) in sums.iter().enumerate() {
            row[at.1 + c] = if add { simd.add_f32s(row[at.1 + c], sum) } else { sum };
        }
    }
}

/// Σ over columns of R rows × C registers, all of them in registers; from row and register `at`.
#[inline(always)]
pub fn sums_of<S: Simd, const R: usize, const C: usize>(
    simd: S,
    left: &[[f32; STRIP]],
    right: &[PanelRow],
    at: (usize, usize),
) -> [[S::f32s; C]; R] {
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for (left, right) in left.iter().zip(right) {
        let right = S::as_simd_f32s(right).0;
        let right: [S::f32s; C] = std::array::from_fn(|c| right[at.1 + c]);
        for (sums, &left) in sums.iter_mut().zip(&left[at.0..at.0 + R]) {
            let left = simd.splat_f32s(left);
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that this machine can multiply.
    fn layouts() -> impl Iterator<Item = Layout> {
        let chunks = amx::is_available().then_some(Layout::Chunks);
        chunks.into_iter().chain([Layout::Strips])
    }

    fn value(i: usize, j: usize, seed: usize) -> f32 {
        ((i * 37 + j * 101 + seed * 13) % 17) as f32 - 8.0
    }

    #[test]
    fn products_of_small_integers_are_exact_for_every_size() {
        let arch = Arch::new();
        let sizes = [(1, 1), (2, 5), (12, 32), (13, 31), (25, 300), (37, 513), (64, 64)];
        for (layout, (rows, depth)) in layouts().flat_map(|l| sizes.map(|size| (l, size))) {
            let left = Packed::from_fn_in(layout, rows, depth, |i, k| value(i, k, 1));
            let right: Vec<PanelRow> =
                (0..depth).map(|k| std::array::from_fn(|v| value(k, v, 2))).collect();
            let exact = |i: usize, v: usize, first: usize| -> f32 {
                (first..depth).map(|k| value(i, k, 1) * value(k, v, 2)).sum()
            };
            let mut out = vec![[7.0; PANEL]; rows];
            multiply_all(arch, &left, &right, &mut out);
            for (i, row) in out.iter().enumerate() {
                for (v, &got) in row.iter().enumerate() {
                    assert_eq!(got, exact(i, v, 0), "{rows} {depth} at {i}, {v}");
                }
            }
            // Wide rows, fewer voxels than a panel, added to what is there.
            let (stride, live) = (45, 19);
            let mut wide = vec![1.0; rows * stride];
            let part = Part { strips: 0..left.n_strips(), columns: 0..depth, upper: false };
            let to = Out { data: &mut wide, stride, live };
            multiply(arch, &left, part, &right, to, true);
            for (at, &got) in wide.iter().enumerate() {
                let (i, v) = (at / stride, at % stride);
                let expected = if v < live { 1.0 + exact(i, v, 0) } else { 1.0 };
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn an_upper_triangle_is_multiplied_in_parts() {
        let arch = Arch::new();
        for (layout, n) in layouts().flat_map(|l| [1, 12, 40, 61, 96].map(|n| (l, n))) {
            let cell = |i, k| if k < i { 0.0 } else { value(i, k, 3) };
            let upper = Packed::from_fn_in(layout, n, n, cell);
            let right: Vec<PanelRow> =
                (0..n).map(|k| std::array::from_fn(|v| value(k, v, 4))).collect();
            let mut whole = vec![[0.0; PANEL]; n];
            multiply_all(arch, &upper, &right, &mut whole);
            let mut parts = vec![[0.0; PANEL]; n];
            for columns in [0..n / 3, n / 3..n] {
                let strips = 0..columns.end.div_ceil(layout.strip());
                let part = Part { strips, columns: columns.clone(), upper: true };
                multiply(arch, &upper, part, &right[columns], Out::panel(&mut parts), true);
            }
            assert_eq!(parts, whole);
        }
    }
}
