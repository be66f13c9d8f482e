use super::*;

const UPPER: FactorShape = FactorShape { n_rows: None, layout: Layout::Strips };

fn grid(n: usize) -> Vec<f64> {
    (0..n).map(|a| 10f64.powf(6.0 * a as f64 / (n - 1) as f64)).collect()
}

/// ‖b(a)‖ with F = 1 and z = 1, through the basis.
fn rebuilt(basis: &AlphaBasis, a: usize) -> f64 {
    let mut vectors = Vec::new();
    let mut at = 0;
    for (components, slots) in &basis.groups {
        for _ in slots.clone() {
            vectors.push((components.clone(), &basis.scales[at..at + components.len()]));
            at += components.len();
        }
    }
    let dot = |j: usize, s: usize| -> f64 {
        if vectors[j].0 != vectors[s].0 {
            return 0.0; // F = 1: groups do not mix
        }
        vectors[j].1.iter().zip(vectors[s].1).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let combined = |i: usize, k: usize| -> f64 {
        let weight = |i: usize, slot: usize| f64::from(basis.combine.get(i, slot));
        let slots = 0..vectors.len();
        slots
            .clone()
            .flat_map(|j| slots.clone().map(move |s| (j, s)))
            .map(|(j, s)| weight(i, j) * weight(k, s) * dot(j, s))
            .sum()
    };
    let form = match basis.form {
        Form::Path => dot(a, a),
        Form::Squares => combined(a, a),
        Form::Pairs => {
            let n = basis.combine.rows();
            let pairs = (0..n).flat_map(|j| (0..n).map(move |s| (j, s)));
            let weight = |j: usize| basis.coefficients[j][a];
            pairs.map(|(j, s)| weight(j) * weight(s) * combined(j, s)).sum()
        }
    };
    basis.norms[a] * form.sqrt()
}

fn fitted(eigvals: &[f64], weights: &[f64], alphas: &[f64], tolerance: f64) -> AlphaBasis {
    let groups = AlphaGroups::new(eigvals, eigvals, UPPER, alphas, tolerance).unwrap();
    let mut basis = AlphaBasis::default();
    basis.fit(&groups, weights).unwrap();
    basis
}

#[test]
fn the_basis_rebuilds_the_norm_of_the_path_for_every_alpha() {
    for (m, n_alphas) in [(1, 20), (127, 20), (128, 3), (197, 24), (197, 25), (600, 20)] {
        let alphas = grid(n_alphas);
        let last = (m.max(2) - 1) as f64;
        let eigvals: Vec<f64> = (0..m).map(|i| 10f64.powf(6.0 - 8.0 * i as f64 / last)).collect();
        for tolerance in [0.0, 1e-3, 1e-5, 1e-6] {
            let basis = fitted(&eigvals, &vec![1.0; m], &alphas, tolerance);
            assert!(basis.truncation <= tolerance);
            let form = match () {
                () if tolerance == 0.0 || m < FEW_COMPONENTS => Form::Path,
                () if n_alphas <= 24 => Form::Squares,
                () => Form::Pairs,
            };
            assert_eq!(basis.form, form);
            for (a, alpha) in alphas.iter().enumerate() {
                let exact = eigvals.iter().map(|l| (l + alpha).powi(-2)).sum::<f64>().sqrt();
                // f32 scales and pair weights: a rounding each over n_slots² terms of which
                // few are large, and half the tolerance's square of what is left out.
                let bound = tolerance + f64::from(f32::EPSILON) * 4.0 * basis.n_slots() as f64;
                assert!((rebuilt(&basis, a) / exact - 1.0).abs() < bound, "{m} {tolerance}");
            }
        }
    }
}

#[test]
fn weights_over_many_decades_and_zeros_are_represented_too() {
    let (m, alphas) = (300, grid(13));
    let eigvals: Vec<f64> = (0..m).map(|i| 10f64.powf(7.0 - i as f64 / 25.0)).collect();
    let weights: Vec<f64> =
        (0..m).map(|i| if i % 7 == 0 { 0.0 } else { eigvals[i] * (1 + i % 5) as f64 }).collect();
    let basis = fitted(&eigvals, &weights, &alphas, 1e-5);
    assert!(basis.truncation <= 1e-5 && basis.form == Form::Squares);
    let nothing = fitted(&eigvals, &vec![0.0; m], &alphas, 1e-5);
    assert!(nothing.form == Form::Path, "a block of dead voxels");
}

#[test]
fn a_hundred_alphas_need_hardly_more_vectors_than_twenty() {
    let eigvals: Vec<f64> = (0..400).map(|i| 10f64.powf(5.0 - i as f64 / 80.0)).collect();
    let fit = |n| fitted(&eigvals, &eigvals, &grid(n), 1e-4);
    let (twenty, hundred) = (fit(20), fit(100));
    assert!(hundred.n_slots() <= twenty.n_slots() + twenty.n_slots() / 4);
    assert!(hundred.combine.rows() <= 20, "{}", hundred.combine.rows());
    assert!(hundred.truncation <= 1e-4);
}

#[test]
fn groups_take_less_work_than_one_basis_for_all() {
    let eigvals: Vec<f64> = (0..1000).map(|i| 10f64.powf(5.0 - i as f64 / 200.0)).collect();
    let groups = AlphaGroups::new(&eigvals, &eigvals, UPPER, &grid(20), 1e-5).unwrap();
    assert!(groups.groups.len() > 3);
    let borders: Vec<usize> = groups.groups.iter().map(|g| g.components.start).collect();
    assert!(borders.iter().all(|b| b % STRIP == 0), "{borders:?}");
    assert_eq!(groups.groups.last().unwrap().components.end, 1000);
}
