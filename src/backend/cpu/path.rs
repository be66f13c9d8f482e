//! The ridge path of one fold on one panel of voxels: every alpha's validation score.
//!
//! With z and t in the fold's components, prediction b(a) = z/(λ + a) has, over the validation
//! rows, covariance b·t with the BOLD and variance ‖F b‖². Numerators of all alphas are one
//! product; denominators come from the images of the alpha basis (`backend::basis`). Nothing of size
//! rows × voxels is formed: images F(uⱼ/w ∘ z) live for some tens of rows at a time, in the
//! second-level cache, until they have been combined and squared.

use std::ops::Range;

use pulp::Arch;

use super::combine::{
    Combined, FEW_ROWS, Few, add_pairs, add_squared, add_squares, combine, n_few, n_pairs,
    pair_order,
};
use crate::backend::basis::{AlphaBasis, Form};
use crate::backend::rotation::{FoldPath, PathSettings, Rotation, Scorer};
use crate::product::amx;
use crate::product::amx::{Chunk, Digits, SIDE, Unit};
use crate::product::multiply::{Out, Part, multiply, multiply_all, multiply_split, sized_chunks};
use crate::product::packed::{Layout, Packed, STRIP};
use crate::product::panels::{PANEL, PanelRow};
use crate::product::vectorized::vectorized;

/// Rows and columns from which sixteen digits of the factor are enough; what they leave out is less
/// than the alpha basis leaves out.
const LONG: usize = 512;

/// Rows of images that are made at a time: whole strips of the factor.
fn rows_at_once(form: Form, layout: Layout) -> usize {
    match (form, layout) {
        (Form::Path | Form::Squares, Layout::Strips) => 4 * STRIP,
        (Form::Pairs, Layout::Strips) => 2 * STRIP,
        (_, Layout::Chunks) => SIDE,
    }
}

/// Buffers of the path, reused from panel to panel; grown, never shrunk.
#[derive(Debug, Default)]
pub struct PathScratch {
    products: Vec<PanelRow>,
    numerators: Vec<PanelRow>,
    offsets: Vec<PanelRow>,
    scaled: Vec<PanelRow>,
    /// The same for products in chunks: whole chunks a slot.
    split: Vec<Chunk>,
    images: Vec<PanelRow>,
    few: Vec<Few>,
    pairs: Vec<PanelRow>,
    squares: Vec<PanelRow>,
    /// `(n_alphas, n_pairs)`: from inner products to squared norms; `Form::Pairs` alone.
    pair_weights: Packed,
}

impl PathScratch {
    /// What all panels of a block share.
    pub fn load(&mut self, basis: &AlphaBasis) {
        if basis.form != Form::Pairs {
            return;
        }
        let (n, n_alphas) = (basis.combine.rows(), basis.norms.len());
        let pairs: Vec<(usize, usize)> = pair_order(n).collect();
        self.pair_weights.fill(Layout::best(n_alphas), n_alphas, pairs.len(), |a, pair| {
            let (j, s) = pairs[pair];
            match (j, s) {
                _ if j > s || s >= n => 0.0,
                _ if j == s => basis.coefficients[j][a].powi(2) as f32,
                _ => (2.0 * basis.coefficients[j][a] * basis.coefficients[s][a]) as f32,
            }
        });
    }
}

/// `data` with at least `len` rows; what it held is kept, new rows are zero.
pub fn sized(data: &mut Vec<PanelRow>, len: usize) -> &mut [PanelRow] {
    if data.len() < len {
        data.resize(len, [0.0; PANEL]);
    }
    &mut data[..len]
}

/// What one fold knows of a panel's voxels, as f64 moments of their validation rows.
#[derive(Debug, Clone, Copy)]
pub struct FoldBold {
    /// Σ(y − ȳ)² over the validation rows; 0 for a voxel that is not scored.
    pub val_square: [f64; PANEL],
    /// Mean over the validation rows minus mean over the training rows.
    pub delta: [f64; PANEL],
}

/// Adds one fold's scores to `sums` `(n_alphas)`.
///
/// `z`, `t`: `(n_components)` rows of the panel. `scratch` has loaded the basis. A prediction without variance scores 0 (it says
/// nothing); a voxel whose validation rows do not vary adds nothing.
#[allow(clippy::too_many_arguments)]
pub fn add_fold_scores(
    rotation: &Rotation,
    path: &FoldPath,
    basis: &AlphaBasis,
    settings: &PathSettings,
    z: &[PanelRow],
    t: &[PanelRow],
    bold: &FoldBold,
    scratch: &mut PathScratch,
    sums: &mut [[f64; PANEL]],
    arch: Arch,
) {
    let m = rotation.n_components;
    let n_alphas = settings.alphas.len();
    if m == 0 {
        add_scores_of_nothing(rotation, settings, bold, sums);
        return;
    }
    let products = sized(&mut scratch.products, m);
    multiply_rows(arch, z, t, products);
    multiply_all(arch, &path.inverses, products, sized(&mut scratch.numerators, n_alphas));
    let offsets = sized(&mut scratch.offsets, n_alphas);
    if let Some(inverses) = &path.offsets {
        multiply_all(arch, inverses, z, offsets);
    }
    path_squares(rotation, basis, z, scratch, n_alphas, arch);
    add_scores(arch, rotation, basis, settings, bold, scratch, sums);
}

vectorized! {
    /// Scores from numerators and squared norms, onto `sums`.
    fn add_scores<'a>(
        rotation: &'a Rotation,
        basis: &'a AlphaBasis,
        settings: &'a PathSettings,
        bold: &'a FoldBold,
        scratch: &'a PathScratch,
        sums: &'a mut [[f64; PANEL]],
    ) {
        let PathScratch { numerators, offsets, squares, .. } = scratch;
        for (a, sums) in sums.iter_mut().enumerate() {
            let (numerators, squares, offsets) = (&numerators[a], &squares[a], &offsets[a]);
            let norm_square = basis.norms[a] * basis.norms[a];
            for v in 0..PANEL {
                let val_square = bold.val_square[v];
                let pred_square = norm_square * f64::from(squares[v].max(0.0));
                let numerator = f64::from(numerators[v]);
                let shift = bold.delta[v] - f64::from(offsets[v]);
                sums[v] += fold_score(
                    settings.scorer,
                    (numerator, pred_square, val_square),
                    (rotation.n_val as f64, shift),
                );
            }
        }
    }
}

/// One voxel's score at one alpha, over `n_val` validation rows: from b·t, ‖F b‖² and Σ(y − ȳ)²,
/// and for r2 from ȳ_val − ȳ_train − δ·b.
#[inline(always)]
pub fn fold_score(
    scorer: Scorer,
    (numerator, pred_square, val_square): (f64, f64, f64),
    (n_val, shift): (f64, f64),
) -> f64 {
    match scorer {
        Scorer::Correlation => {
            let product = pred_square * val_square;
            if product > 0.0 { numerator / product.sqrt() } else { 0.0 }
        }
        Scorer::R2 => {
            let residual = val_square - 2.0 * numerator + pred_square + n_val * shift * shift;
            if val_square > 0.0 { 1.0 - residual / val_square } else { 0.0 }
        }
    }
}

/// A training design without any variance predicts the training mean: correlation 0.
fn add_scores_of_nothing(
    rotation: &Rotation,
    settings: &PathSettings,
    bold: &FoldBold,
    sums: &mut [[f64; PANEL]],
) {
    if settings.scorer == Scorer::Correlation {
        return;
    }
    for row in sums {
        for ((sum, val_square), delta) in row.iter_mut().zip(bold.val_square).zip(bold.delta) {
            if val_square > 0.0 {
                *sum -= rotation.n_val as f64 * delta * delta / val_square;
            }
        }
    }
}

/// Squared norms of F b(a), divided by `basis.norms[a]²`, into `scratch.squares` `(n_alphas)`.
fn path_squares(
    rotation: &Rotation,
    basis: &AlphaBasis,
    z: &[PanelRow],
    scratch: &mut PathScratch,
    n_alphas: usize,
    arch: Arch,
) {
    let n_slots = basis.n_slots();
    let PathScratch { scaled, split, images, few, pairs, squares, pair_weights, .. } = scratch;
    let scaled = sized(scaled, basis.scales.len());
    scale(arch, basis, z, scaled);
    let layout = rotation.factor.layout();
    let unit = (layout == Layout::Chunks).then(|| {
        split_slots(basis, scaled, split, arch);
        Unit::new()
    });
    let n_out = basis.combine.rows();
    let sums = match basis.form {
        Form::Path | Form::Squares => sized(squares, n_alphas),
        Form::Pairs => sized(pairs, n_pairs(n_out)),
    };
    let rows = rows_at_once(basis.form, layout);
    sums.fill([0.0; PANEL]);
    // Combinations that fill up the last block of pairs stay zero.
    few.clear();
    few.resize(if basis.form == Form::Pairs { n_few(n_out) } else { 0 }, [[0.0; PANEL]; FEW_ROWS]);

    let n_rows = rotation.factor.rows();
    let mut first_row = 0;
    while first_row < n_rows {
        // Groups whose components reach down to these rows: all of them, unless F is triangular.
        let first_group = match rotation.upper {
            false => 0,
            true => basis.groups.partition_point(|(components, _)| components.end <= first_row),
        };
        let mut end = (first_row + rows).min(n_rows);
        if rotation.upper {
            end = end.min(basis.groups[first_group].0.end);
        }
        let slots = basis.groups[first_group].1.start..n_slots;
        let images = sized(images, (end - first_row) * slots.len());
        let slots_of = (&*scaled, &split[..], unit.as_ref());
        multiply_groups(rotation, basis, first_group, first_row..end, slots_of, images, arch);
        let from = Combined { combine: &basis.combine, images, slots };
        match basis.form {
            Form::Path => add_squares(arch, images, n_slots, sums),
            Form::Squares => add_squared(arch, from, sums),
            Form::Pairs => {
                combine(arch, from, few);
                add_pairs(arch, few, end - first_row, sums);
            }
        }
        first_row = end;
    }
    if basis.form == Form::Pairs {
        let pairs = &pairs[..n_pairs(n_out)];
        multiply_all(arch, pair_weights, pairs, sized(squares, n_alphas));
    }
}

vectorized! {
    /// z ∘ t.
    fn multiply_rows<'a>(z: &'a [PanelRow], t: &'a [PanelRow], products: &'a mut [PanelRow]) {
        for ((product, z), t) in products.iter_mut().zip(z).zip(t) {
            *product = std::array::from_fn(|v| z[v] * t[v]);
        }
    }
}

vectorized! {
    /// uⱼ/w ∘ z for every slot: panels of the group's components, one after the other.
    fn scale<'a>(basis: &'a AlphaBasis, z: &'a [PanelRow], out: &'a mut [PanelRow]) {
        let mut at = 0;
        for (components, slots) in &basis.groups {
            let z = &z[components.clone()];
            for _ in slots.clone() {
                let scales = &basis.scales[at..at + z.len()];
                for ((out, z), scale) in out[at..].iter_mut().zip(z).zip(scales) {
                    *out = std::array::from_fn(|v| scale * z[v]);
                }
                at += z.len();
            }
        }
    }
}

/// The scaled z of every slot for products in chunks; groups begin at borders of chunks.
fn split_slots(basis: &AlphaBasis, scaled: &[PanelRow], split: &mut Vec<Chunk>, arch: Arch) {
    let n_chunks = |components: &Range<usize>| components.len().div_ceil(SIDE);
    let groups = || basis.groups.iter();
    let total = groups().map(|(components, slots)| slots.len() * n_chunks(components)).sum();
    let (mut scaled, mut split) = (scaled, sized_chunks(split, total));
    for (components, slots) in groups() {
        assert!(components.start.is_multiple_of(SIDE), "groups begin at borders of chunks");
        for _ in slots.clone() {
            let rows;
            (rows, scaled) = scaled.split_at(components.len());
            let (own, rest) = std::mem::take(&mut split).split_at_mut(n_chunks(components));
            amx::split_rows(arch, rows, 0, own);
            split = rest;
        }
    }
}

/// Some rows of F times the scaled z of every slot from `first_group` on: `(rows, n_active)`.
fn multiply_groups(
    rotation: &Rotation,
    basis: &AlphaBasis,
    first_group: usize,
    rows: Range<usize>,
    (scaled, split, unit): (&[PanelRow], &[Chunk], Option<&Unit>),
    images: &mut [PanelRow],
    arch: Arch,
) {
    let first_slot = basis.groups[first_group].1.start;
    let n_active = basis.n_slots() - first_slot;
    let size = |group: &(Range<usize>, Range<usize>)| group.0.len() * group.1.len();
    let mut at: usize = basis.groups[..first_group].iter().map(size).sum();
    let chunks_of =
        |group: &(Range<usize>, Range<usize>)| group.0.len().div_ceil(SIDE) * group.1.len();
    let mut chunk: usize = basis.groups[..first_group].iter().map(chunks_of).sum();
    // Squares over many rows average out what the last digits are off.
    let is_long = rotation.factor.rows().min(rotation.n_components) >= LONG;
    let digits = if is_long && basis.form != Form::Path { Digits::Sixteen } else { Digits::All };
    let layout = rotation.factor.layout();
    let strips = rows.start / layout.strip()..rows.end.div_ceil(layout.strip());
    for (components, slots) in &basis.groups[first_group..] {
        for slot in slots.clone() {
            let right = &scaled[at..at + components.len()];
            at += components.len();
            let n_chunks = components.len().div_ceil(SIDE);
            let part =
                Part { strips: strips.clone(), columns: components.clone(), upper: rotation.upper };
            let data = images[slot - first_slot..].as_flattened_mut();
            let out = Out { data, stride: n_active * PANEL, live: PANEL };
            match unit {
                None => multiply(arch, &rotation.factor, part, right, out, false),
                Some(unit) => {
                    let right = &split[chunk..chunk + n_chunks];
                    multiply_split(unit, &rotation.factor, part, right, digits, out, false);
                }
            }
            chunk += n_chunks;
        }
    }
}
