//! The grid of alphas, checked once.

use std::str::FromStr;

use crate::error::{Error, Result};

/// Weights of ‖w‖², positive, finite, strictly increasing.
#[derive(Debug, Clone, PartialEq)]
pub struct AlphaGrid(Vec<f64>);

/// More alphas than this are a mistake, not a grid.
const MAX_ALPHAS: usize = 10_000;

impl AlphaGrid {
    /// Checks a grid.
    /// # Errors
    /// `Error::Usage` (exit 2) for an empty grid, an alpha ≤ 0 or not finite, or one that is not
    /// larger than the one in front of it.
    pub fn new(alphas: Vec<f64>) -> Result<Self> {
        let fail = |problem: String, hint: &str| Error::Usage {
            place: "alphas".into(),
            problem,
            hint: hint.into(),
        };
        if alphas.is_empty() || alphas.len() > MAX_ALPHAS {
            let problem = format!("expected 1 to {MAX_ALPHAS} alphas, got {}", alphas.len());
            return Err(fail(problem, "give a list such as 1,10,100 or logspace(0,8,17)"));
        }
        if let Some((i, a)) = alphas.iter().enumerate().find(|(_, a)| !(a.is_finite() && **a > 0.0))
        {
            let problem =
                format!("expected positive finite numbers, got {a} at position {}", i + 1);
            return Err(fail(problem, "ridge without a penalty is not offered; use a small alpha"));
        }
        if let Some(i) = (1..alphas.len()).find(|&i| alphas[i] <= alphas[i - 1]) {
            let problem = format!(
                "expected an increasing grid, got {} after {} at position {}",
                alphas[i],
                alphas[i - 1],
                i + 1
            );
            return Err(fail(problem, "sort the alphas and give each once"));
        }
        Ok(Self(alphas))
    }

    /// 10^`from` … 10^`to`, `n` values evenly spaced in the exponent.
    /// # Errors
    /// As [`AlphaGrid::new`].
    pub fn logspace(from: f64, to: f64, n: usize) -> Result<Self> {
        let steps = n.saturating_sub(1).max(1) as f64;
        Self::new(
            (0..n.min(MAX_ALPHAS + 1))
                .map(|i| 10f64.powf(from + (to - from) * i as f64 / steps))
                .collect(),
        )
    }

    /// The grid in ridge_utils' convention: its alphas are √α of ours
    /// (HuthLab/encoding-model-scaling-laws: ridge_utils/ridge.py: S/(S² + a²)).
    pub fn from_huth(self) -> Self {
        Self(self.0.into_iter().map(|a| a * a).collect())
    }

    /// The values.
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

impl FromStr for AlphaGrid {
    type Err = Error;

    /// `logspace(FROM,TO,N)` (exponents of 10, as NumPy) or a comma-separated list.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |got: &str| Error::Usage {
            place: "alphas".into(),
            problem: format!("expected logspace(FROM,TO,N) or a list of numbers, got {got:?}"),
            hint: "for example logspace(0,8,17) or 1,10,100".into(),
        };
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| bad(part.trim()));
        let inner = text.trim().strip_prefix("logspace(").and_then(|t| t.strip_suffix(')'));
        let Some(inner) = inner else {
            return Self::new(text.split(',').map(number).collect::<Result<_>>()?);
        };
        let parts: Vec<&str> = inner.split(',').collect();
        let [from, to, n] = parts[..] else { return Err(bad(text)) };
        let n: usize = n.trim().parse().map_err(|_| bad(n.trim()))?;
        let (from, to) = (number(from)?, number(to)?);
        if n > 1 && to <= from {
            return Err(bad(text));
        }
        Self::logspace(from, to, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logspace_and_lists_are_read() {
        let grid: AlphaGrid = "logspace(0,6,20)".parse().unwrap();
        assert_eq!(grid.values().len(), 20);
        assert_eq!(grid.values()[0], 1.0);
        assert!((grid.values()[19] - 1e6).abs() < 1e-6);
        let grid: AlphaGrid = " 1, 10,100 ".parse().unwrap();
        assert_eq!(grid.values(), [1.0, 10.0, 100.0]);
        assert_eq!(grid.from_huth().values(), [1.0, 100.0, 10_000.0]);
        assert_eq!("logspace(2,2,1)".parse::<AlphaGrid>().unwrap().values(), [100.0]);
    }

    #[test]
    fn every_bad_grid_has_its_own_message_and_exit_code_2() {
        for (text, says) in [
            ("0,1", "positive finite numbers, got 0 at position 1"),
            ("1,-3", "positive finite numbers, got -3 at position 2"),
            ("1,nan", "positive finite numbers, got NaN"),
            ("1,inf", "positive finite numbers, got inf"),
            ("10,1", "increasing grid, got 1 after 10"),
            ("1,1", "increasing grid, got 1 after 1"),
            ("1,ten", "got \"ten\""),
            ("logspace(0,6)", "got \"logspace(0,6)\""),
            ("logspace(6,0,5)", "got \"logspace(6,0,5)\""),
            ("logspace(0,6,0)", "got 0"),
            ("logspace(0,6,999999999999)", "got 10001"),
            ("", "got \"\""),
        ] {
            let error = text.parse::<AlphaGrid>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }
}
