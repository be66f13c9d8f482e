//! Memory of matrices and designs, from shapes alone, before anything is allocated.

use super::models::ModelPlan;
use crate::ridge::Route;
use crate::ridge::route::{Cost, Sizes};

/// Matrices and designs of some models, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrices {
    /// While they are prepared: the most.
    pub setup: f64,
    /// Until the last tile.
    pub held: f64,
}

impl Matrices {
    /// Of models that are prepared together: designs and Gram matrices of each space once, what a
    /// model keeps for each, and what the largest eigenproblems take.
    ///
    /// Models of single delays are prepared after the others are let go: the larger of both.
    pub fn of(models: &[ModelPlan]) -> Self {
        let own = models.iter().position(|model| model.is_profile).unwrap_or(models.len());
        let (own, profile) = (Self::of_pass(&models[..own]), Self::of_pass(&models[own..]));
        Self { setup: own.setup.max(profile.setup), held: own.held.max(profile.held) }
    }

    fn of_pass(models: &[ModelPlan]) -> Self {
        let mut sums = Matrices { setup: 0.0, held: 0.0 };
        let mut most_work = 0f64;
        for (index, model) in models.iter().enumerate() {
            let cost = Cost::of(model.route, model.sizes);
            sums.held += cost.kept_bytes + model.search_bytes;
            let mut work = cost.bytes - cost.kept_bytes;
            let union = union_of(models, model);
            if model.route == Route::Gram && width(model) * union == model.n_coefs {
                // Its folds' Gram matrices are the space's.
                work -= model.sizes.n_folds as f64 * square_bytes(model.n_coefs);
            }
            most_work = most_work.max(work);
            if is_first(models, index) {
                sums.held += designs_bytes(model, rows(model.sizes));
                // Products by difference of delays come before their sums.
                let columns = (width(model) * union, width(model));
                let grams = model.sizes.n_folds as f64 * square_bytes(columns.0);
                let is_gram = models.iter().any(|m| m.design == model.design && on_gram(m));
                let products = 2.0 * union as f64 * square_bytes(columns.1);
                sums.setup += if is_gram { grams + products } else { 0.0 };
            }
        }
        sums.setup += sums.held + most_work;
        sums
    }
}

pub(super) fn square_bytes(columns: usize) -> f64 {
    columns as f64 * columns as f64 * size_of::<f64>() as f64
}

/// Columns of a model's design at one delay; a share of those that stand once, if there are any.
pub(super) fn width(model: &ModelPlan) -> usize {
    model.n_coefs.div_ceil(model.delays.len().max(1))
}

pub(super) fn rows(sizes: Sizes) -> usize {
    sizes.n_rows + sizes.n_test
}

pub(super) fn on_gram(model: &ModelPlan) -> bool {
    model.route == Route::Gram
}

pub(super) fn is_first(models: &[ModelPlan], index: usize) -> bool {
    models[index].is_stacked || models[..index].iter().all(|m| m.design != models[index].design)
}

/// Different delays of all models of a model's space; 1 where delays are columns of the design.
pub(super) fn union_of(models: &[ModelPlan], model: &ModelPlan) -> usize {
    let of_space = models.iter().filter(|m| m.design == model.design);
    let delays: std::collections::BTreeSet<i64> =
        of_space.flat_map(|m| m.delays.iter().copied()).collect();
    delays.len()
}

/// f32 rows of a space's design; delayed where delays cross stories.
pub(super) fn designs_bytes(model: &ModelPlan, n_rows: usize) -> f64 {
    let columns = if model.is_stacked { model.n_coefs } else { width(model) };
    n_rows as f64 * columns as f64 * size_of::<f32>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 rows of a design.
    fn design(n_columns: f64) -> f64 {
        1100.0 * n_columns * 4.0
    }

    #[test]
    fn one_model_holds_its_design_and_what_its_route_keeps() {
        let one = ModelPlan::of_width(0, 100, 1);
        let cost = Cost::of(one.route, one.sizes);
        let Matrices { setup, held } = Matrices::of(std::slice::from_ref(&one));
        assert_eq!(held, design(100.0) + cost.kept_bytes);
        // Two products by difference of delays, five Gram matrices, and the eigenproblems' work
        // without the Gram matrices that are the space's.
        let square = 100.0 * 100.0 * 8.0;
        let work = cost.bytes - cost.kept_bytes - 5.0 * square;
        assert_eq!(setup, held + 7.0 * square + work);
        assert_eq!(Matrices::of(&[]), Matrices { setup: 0.0, held: 0.0 });
    }

    #[test]
    fn models_of_one_space_share_its_design() {
        let (lagged, plain, other) = (
            ModelPlan::of_width(0, 100, 4),
            ModelPlan::of_width(0, 100, 1),
            ModelPlan::of_width(1, 100, 1),
        );
        let held = |models: &[ModelPlan]| Matrices::of(models).held;
        let apart = held(std::slice::from_ref(&lagged)) + held(std::slice::from_ref(&plain));
        assert_eq!(held(&[lagged.clone(), plain]), apart - design(100.0));
        assert_eq!(held(&[lagged.clone(), other]), apart);
        // Delays that cross stories are columns of a design of the model's own.
        let stacked = ModelPlan { is_stacked: true, ..lagged.clone() };
        assert_eq!(held(&[stacked]), held(&[lagged]) + design(300.0));
    }

    #[test]
    fn other_routes_make_no_gram_matrices_of_columns() {
        let gram = ModelPlan::of_width(0, 2000, 1);
        let dual = ModelPlan { route: Route::Dual, ..gram.clone() };
        let cost = Cost::of(Route::Dual, dual.sizes);
        let Matrices { setup, held } = Matrices::of(&[dual]);
        assert_eq!(setup, held + cost.bytes - cost.kept_bytes);
        assert!(setup < Matrices::of(&[gram]).setup);
    }

    #[test]
    fn single_delays_take_the_place_of_the_other_models() {
        let own = ModelPlan::of_width(0, 100, 4);
        let single = ModelPlan { is_profile: true, ..ModelPlan::of_width(0, 300, 1) };
        let of = |models: &[ModelPlan]| Matrices::of(models);
        let (a, b) = (of(std::slice::from_ref(&own)), of(&[single.clone(), single.clone()]));
        let both = of(&[own, single.clone(), single]);
        let wanted = Matrices { setup: a.setup.max(b.setup), held: a.held.max(b.held) };
        assert_eq!(both, wanted);
    }

    #[test]
    fn points_of_a_search_are_held_where_they_are_kept() {
        let model = ModelPlan::of_width(0, 10, 1);
        let search = ModelPlan { search_bytes: 1e6, ..model.clone() };
        assert_eq!(Matrices::of(&[search]).held, Matrices::of(&[model]).held + 1e6);
    }
}
