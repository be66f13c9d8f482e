//! Values to pixels, and the ticks between them.

/// One axis: values `lo..hi` drawn from pixel `from` to pixel `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    lo: f64,
    hi: f64,
    from: f64,
    to: f64,
    is_log: bool,
}

/// The smallest and largest finite value; `None` without one.
pub fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((lo, hi)) => Some((f64::min(lo, v), f64::max(hi, v))),
    })
}

impl Scale {
    /// A linear axis over the values, with a little room on both sides; 0…1 without values.
    pub fn over(values: impl IntoIterator<Item = f64>) -> Self {
        let (lo, hi) = extent(values).unwrap_or((0.0, 1.0));
        let width = if hi > lo { hi - lo } else { (lo.abs() * 0.2).max(0.1) };
        let middle = if hi > lo { 0.0 } else { width / 2.0 };
        let room = 0.04 * width + middle;
        Self { lo: lo - room, hi: hi + room, from: 0.0, to: 1.0, is_log: false }
    }

    /// Exactly these ends.
    pub fn linear(lo: f64, hi: f64) -> Self {
        let hi = if hi > lo { hi } else { lo + 1.0 };
        Self { lo, hi, from: 0.0, to: 1.0, is_log: false }
    }

    /// Powers of ten; both ends must be positive.
    pub fn log(lo: f64, hi: f64) -> Self {
        let lo = if lo > 0.0 && lo.is_finite() { lo } else { 1.0 };
        let hi = if hi > lo && hi.is_finite() { hi } else { lo * 10.0 };
        Self { lo, hi, from: 0.0, to: 1.0, is_log: true }
    }

    /// The same axis on these pixels.
    pub fn at(self, from: f64, to: f64) -> Self {
        Self { from, to, ..self }
    }

    /// First and last value.
    pub fn ends(&self) -> (f64, f64) {
        (self.lo, self.hi)
    }

    /// First and last pixel.
    pub fn pixels(&self) -> (f64, f64) {
        (self.from, self.to)
    }

    /// The pixel of a value.
    pub fn pos(&self, value: f64) -> f64 {
        let share = match self.is_log {
            true => (value.max(f64::MIN_POSITIVE) / self.lo).ln() / (self.hi / self.lo).ln(),
            false => (value - self.lo) / (self.hi - self.lo),
        };
        self.from + share * (self.to - self.from)
    }

    /// Whether the value is on the axis.
    pub fn holds(&self, value: f64) -> bool {
        value >= self.lo && value <= self.hi
    }

    /// About `wanted` ticks with their labels.
    pub fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if self.is_log { self.log_ticks(wanted) } else { self.linear_ticks(wanted) }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let step = nice_step((self.hi - self.lo) / wanted.max(1) as f64);
        let first = (self.lo / step - 1e-9).ceil() as i64;
        let last = (self.hi / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|i| {
                let value = i as f64 * step;
                (value, label(value, step))
            })
            .collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let first = (self.lo.log10() - 1e-9).ceil() as i32;
        let last = (self.hi.log10() + 1e-9).floor() as i32;
        let every = ((last - first + 1).max(1) as usize).div_ceil(wanted.max(1)) as i32;
        (first..=last)
            .step_by(every.max(1) as usize)
            .map(|power| (10f64.powi(power), power_of_ten(power)))
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn nice_step(least: f64) -> f64 {
    if !(least.is_finite() && least > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// A tick's number, with the decimals that its step needs.
fn label(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    signed(&group(&format!("{value:.decimals$}")))
}

/// 10ⁿ.
pub fn power_of_ten(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = power.unsigned_abs().to_string();
    let raised: String = digits.bytes().map(|d| DIGITS[usize::from(d - b'0')]).collect();
    format!("10{}{raised}", if power < 0 { "⁻" } else { "" })
}

/// A true minus sign; no minus before zero.
pub fn signed(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.' | b',')) => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text.to_owned(),
    }
}

/// Commas between thousands.
pub fn group(text: &str) -> String {
    let digits = text.find('.').unwrap_or(text.len());
    let start = usize::from(text.starts_with('-'));
    let mut out = String::new();
    for (i, c) in text.char_indices() {
        if i > start && i < digits && (digits - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A count with commas.
pub fn count(n: usize) -> String {
    group(&n.to_string())
}

/// A score as tables show it: four decimals; a dash where there is none.
pub fn score(value: f64) -> String {
    match value.is_nan() {
        true => "–".to_owned(),
        false => signed(&format!("{value:.4}")),
    }
}

/// A score as sentences and legends show it: three decimals.
pub fn short(value: f64) -> String {
    match value.is_nan() {
        true => "–".to_owned(),
        false => signed(&format!("{value:.3}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |scale: Scale| scale.ticks(5).into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(Scale::linear(-0.12, 0.31)), ["−0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(Scale::linear(0.0, 9000.0)), ["0", "2,000", "4,000", "6,000", "8,000"]);
        assert_eq!(labels(Scale::log(1.0, 1e8)), ["10⁰", "10²", "10⁴", "10⁶", "10⁸"]);
        assert!(!labels(Scale::over([f64::NAN])).is_empty());
        assert!(!labels(Scale::over([0.25, 0.25])).is_empty());
    }

    #[test]
    fn values_lie_where_their_share_says() {
        let scale = Scale::linear(0.0, 4.0).at(100.0, 20.0);
        assert_eq!((scale.pos(0.0), scale.pos(1.0), scale.pos(4.0)), (100.0, 80.0, 20.0));
        let log = Scale::log(1.0, 100.0).at(0.0, 10.0);
        assert!((log.pos(10.0) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn numbers_have_true_minus_signs_and_commas() {
        assert_eq!(score(-0.00001), "0.0000");
        assert_eq!(score(-0.1234567), "−0.1235");
        assert_eq!(score(f64::NAN), "–");
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(group("-1234.5678"), "-1,234.5678");
    }
}
