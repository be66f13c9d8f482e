//! Variance partitioning: unique and shared parts from the R² of every subset of spaces.

/// R² of each part, from the R² of each subset's model: `r2[s]` for the subset whose bits are s, 0
/// for the empty one. Both have 2^k entries.
///
/// Part s is what exactly the spaces of s explain, shared by all of them and by no other:
/// Σ over t ⊆ s of (−1)^(|t| + 1) R²(t ∪ rest), the rest being all spaces outside s. For two spaces:
/// R²(AB) − R²(B), R²(AB) − R²(A), R²(A) + R²(B) − R²(AB). All parts add up to R² of the full model.
/// A part can be negative: R² of held-out rows is no measure of sets. de Heer, Huth, Griffiths,
/// Gallant, Theunissen 2017 (J. Neurosci. 37: 6539).
pub fn parts(r2: &[f64]) -> Vec<f64> {
    let all = r2.len().saturating_sub(1);
    let part = |s: usize| -> f64 {
        let rest = all & !s;
        let subsets = (0..r2.len()).filter(|t| t & !s == 0);
        let term = |t: usize| if t.count_ones() % 2 == 1 { r2[t | rest] } else { -r2[t | rest] };
        if s == 0 { 0.0 } else { subsets.map(term).sum() }
    };
    (0..r2.len()).map(part).collect()
}

/// r² with the sign of r.
pub fn signed_r2(r: f32) -> f64 {
    f64::from(r) * f64::from(r).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spaces_have_the_textbook_parts() {
        let found = parts(&[0.0, 0.30, 0.25, 0.40]);
        for (got, wanted) in found.iter().zip([0.0, 0.15, 0.10, 0.15]) {
            assert!((got - wanted).abs() < 1e-15);
        }
    }

    #[test]
    fn parts_of_sets_are_found_again() {
        // A measure of the 15 regions of four sets; R² of a subset is the measure of its union.
        let regions: Vec<f64> = (0..16).map(|s| f64::from(s * s % 7 + s)).collect();
        let union = |subset: usize| (1..16).filter(|s| s & subset != 0).map(|s| regions[s]).sum();
        for k in 1..=4 {
            // Regions of the first k sets: those that differ in the others only are one.
            let merged = |s: usize| -> f64 {
                (0..16).filter(|r| r & ((1 << k) - 1) == s).map(|r| regions[r]).sum()
            };
            let r2: Vec<f64> = (0..1 << k).map(union).collect();
            let found = parts(&r2);
            assert!((1..1 << k).all(|s| (found[s] - merged(s)).abs() < 1e-9), "{k}");
            assert!((found.iter().sum::<f64>() - r2[r2.len() - 1]).abs() < 1e-9);
        }
    }
}
