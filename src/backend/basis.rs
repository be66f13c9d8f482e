//! A few vectors that span the ridge path over every alpha.
//!
//! b(a) = z/(λ + a) is smooth in a: over the whole grid the vectors w/(λ + a), where w is the size
//! each component really has in the denominator (√diag M · rms z), span a space of numerical rank
//! about 10. With D̂ their rows scaled to length 1 and D̂ = U S Vᵀ, every denominator ‖F b(a)‖ is
//! a quadratic form in the inner products of F(vⱼ/w ∘ z), j < rank.

use faer::Mat;

use crate::error::{Error, Result};

/// Vectors and coefficients of the path in the basis.
#[derive(Debug, Clone)]
pub struct AlphaBasis {
    /// Number of vectors.
    pub rank: usize,
    /// `(rank, n_components)`: multiply z by these.
    pub scales: Vec<f32>,
    /// `(n_alphas, n_pairs)`: weights of the inner products (j ≤ s, row by row of the upper
    /// triangle) in the squared norm, off-diagonal ones doubled. Empty when `direct`.
    pub pair_weights: Vec<f32>,
    /// `(n_alphas)`: ‖F b‖ is this times the root of the quadratic form.
    pub norms: Vec<f64>,
    /// The basis is the path itself: one vector an alpha, no inner products between them.
    pub direct: bool,
    /// Largest share of a row of D̂ that the basis leaves out.
    pub truncation: f64,
}

/// Components below which the path itself is used: it is cheap there, and errors of a few
/// components do not average out.
const FEW_COMPONENTS: usize = 128;

/// Weights below this share of the largest count as this share: a component that seems to vanish
/// may still matter to a single voxel.
const WEIGHT_FLOOR: f64 = 1e-7;

/// The smallest basis in which every row of D̂ is represented to within `tolerance`.
///
/// `eigvals`, `weights`: `(n_components)`; `alphas` > 0. A tolerance of 0, or a basis that would
/// need as many vectors as there are alphas, gives the path itself.
/// # Errors
/// `Error::Numerical` if the singular value decomposition does not converge.
pub fn alpha_basis(
    eigvals: &[f64],
    weights: &[f64],
    alphas: &[f64],
    tolerance: f64,
) -> Result<AlphaBasis> {
    let (m, n_alphas) = (eigvals.len(), alphas.len());
    let largest = weights.iter().fold(0.0_f64, |a, &b| a.max(b));
    if tolerance <= 0.0 || largest == 0.0 || n_alphas < 3 || m < FEW_COMPONENTS {
        return Ok(direct(eigvals, alphas));
    }
    let weights: Vec<f64> = weights.iter().map(|w| w.max(largest * WEIGHT_FLOOR)).collect();
    let mut norms = vec![0.0; n_alphas];
    let mut path = Mat::<f64>::zeros(m, n_alphas);
    for (a, &alpha) in alphas.iter().enumerate() {
        let column: Vec<f64> =
            weights.iter().zip(eigvals).map(|(w, lambda)| w / (lambda + alpha)).collect();
        let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        norms[a] = norm;
        for (i, x) in column.iter().enumerate() {
            path[(i, a)] = x / norm;
        }
    }
    // path (m × A) = V S Uᵀ
    let svd = path.thin_svd().map_err(|e| Error::Numerical {
        what: format!("singular values of the alpha path ({m} components, {n_alphas} alphas)"),
        problem: format!("{e:?}"),
    })?;
    let n_values = m.min(n_alphas);
    let coefficient = |a: usize, j: usize| svd.V()[(a, j)] * svd.S()[j];
    let tail = |rank: usize| {
        (0..n_alphas)
            .map(|a| (rank..n_values).map(|j| coefficient(a, j).powi(2)).sum::<f64>().sqrt())
            .fold(0.0, f64::max)
    };
    let Some(rank) = (1..n_values).find(|&r| tail(r) <= tolerance) else {
        return Ok(direct(eigvals, alphas));
    };
    let mut scales = vec![0f32; rank * m];
    for j in 0..rank {
        for i in 0..m {
            scales[j * m + i] = (svd.U()[(i, j)] / weights[i]) as f32;
        }
    }
    let mut pair_weights = Vec::with_capacity(n_alphas * rank * (rank + 1) / 2);
    for a in 0..n_alphas {
        for j in 0..rank {
            for s in j..rank {
                let twice = if s == j { 1.0 } else { 2.0 };
                pair_weights.push((coefficient(a, j) * coefficient(a, s) * twice) as f32);
            }
        }
    }
    Ok(AlphaBasis { rank, scales, pair_weights, norms, direct: false, truncation: tail(rank) })
}

fn direct(eigvals: &[f64], alphas: &[f64]) -> AlphaBasis {
    let mut scales = Vec::with_capacity(alphas.len() * eigvals.len());
    for alpha in alphas {
        // Scaled by alpha, so that a squared norm stays inside f32 for any grid.
        scales.extend(eigvals.iter().map(|lambda| (alpha / (lambda + alpha)) as f32));
    }
    AlphaBasis {
        rank: alphas.len(),
        scales,
        pair_weights: Vec::new(),
        norms: alphas.iter().map(|alpha| 1.0 / alpha).collect(),
        direct: true,
        truncation: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuilt(basis: &AlphaBasis, m: usize, a: usize) -> f64 {
        // ‖b(a)‖ with F = 1 and z = 1, through the basis.
        let mut form = 0.0;
        let mut pair = 0;
        for j in 0..basis.rank {
            for s in j..basis.rank {
                let dot: f64 = (0..m)
                    .map(|i| {
                        f64::from(basis.scales[j * m + i]) * f64::from(basis.scales[s * m + i])
                    })
                    .sum();
                if basis.direct {
                    if j == s && j == a {
                        form += dot;
                    }
                } else {
                    let n_pairs = basis.rank * (basis.rank + 1) / 2;
                    form += f64::from(basis.pair_weights[a * n_pairs + pair]) * dot;
                }
                pair += 1;
            }
        }
        basis.norms[a] * form.sqrt()
    }

    #[test]
    fn the_basis_rebuilds_the_norm_of_the_path_for_every_alpha() {
        let m = 197;
        let eigvals: Vec<f64> = (0..m).map(|i| 10f64.powf(-2.0 + 8.0 * i as f64 / 196.0)).collect();
        let alphas: Vec<f64> = (0..20).map(|a| 10f64.powf(6.0 * a as f64 / 19.0)).collect();
        for tolerance in [0.0, 1e-3, 1e-5] {
            let basis = alpha_basis(&eigvals, &vec![1.0; m], &alphas, tolerance).unwrap();
            assert!(basis.truncation <= tolerance);
            assert_eq!(basis.direct, tolerance == 0.0);
            for (a, alpha) in alphas.iter().enumerate() {
                let exact = eigvals.iter().map(|l| (l + alpha).powi(-2)).sum::<f64>().sqrt();
                // f32 scales and pair weights: a few roundings over rank² terms.
                let bound = tolerance + f64::from(f32::EPSILON) * 4.0 * (basis.rank as f64).powi(2);
                assert!((rebuilt(&basis, m, a) / exact - 1.0).abs() < bound);
            }
        }
    }

    #[test]
    fn a_hundred_alphas_need_hardly_more_vectors_than_ten() {
        let eigvals: Vec<f64> = (0..200).map(|i| 10f64.powf(i as f64 / 40.0)).collect();
        let grid = |n: usize| -> Vec<f64> {
            (0..n).map(|a| 10f64.powf(6.0 * a as f64 / (n - 1) as f64)).collect()
        };
        let rank = |n| alpha_basis(&eigvals, &[1.0; 200], &grid(n), 1e-4).unwrap().rank;
        assert!(rank(100) <= rank(20) + 1);
    }
}
