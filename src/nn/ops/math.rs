//! exp and Φ that compilers turn into wide registers. Use inside a `WithSimd` body.

/// eˣ to 2 units in the last place for −87 ≤ x ≤ 88; below, 0: no subnormal numbers, which are slow.
///
/// x = n·ln 2 + r, |r| ≤ ln 2 / 2, and the Taylor polynomial of eʳ up to r⁷.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4; // 11 bits: n · LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2²³ leaves no place for a fraction: the sum's last bits are the whole number.
    const ROUND: f32 = 12_582_912.0;
    let too_small = x < -87.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = r.mul_add(p, c);
    }
    let power = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32).wrapping_add(127);
    let power = if too_small { 0.0 } else { f32::from_bits((power as u32) << 23) };
    p * power
}

/// Φ(x), the normal distribution's share below x, to 2e-7 of the smaller of Φ and 1 − Φ.
///
/// erfc by Chebyshev's fit [Press et al., Numerical Recipes, 2nd ed., §6.2, erfcc].
#[inline(always)]
pub fn normal_share(x: f32) -> f32 {
    const FIT: [f32; 9] = [
        -0.822_152_3,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.5, 1.0);
    let mut p = 0.170_872_77;
    for c in FIT {
        p = t.mul_add(p, c);
    }
    let tail = 0.5 * t * exp(z.mul_add(-z, p));
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// The normal density.
#[inline(always)]
pub fn normal_density(x: f32) -> f32 {
    0.398_942_3 * exp(-0.5 * x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exp() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0 + 0.001_7;
            let x = x.clamp(-87.0, 88.0);
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}) off by {error}");
        }
        assert_eq!((exp(-1e30), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(exp(0.0), 1.0);
    }

    /// ∫ of the density by Simpson's rule in f64.
    fn share(x: f64) -> f64 {
        let n = 2000;
        let h = x.abs() / f64::from(n);
        let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let sum: f64 = (0..=n)
            .map(|i| {
                let weight = match i {
                    0 => 1.0,
                    i if i == n => 1.0,
                    i if i % 2 == 1 => 4.0,
                    _ => 2.0,
                };
                weight * density(f64::from(i) * h)
            })
            .sum();
        0.5 + x.signum() * sum * h / 3.0
    }

    #[test]
    fn the_normal_share_is_the_integral_of_the_density() {
        for i in -400..=400 {
            let x = i as f32 / 80.0;
            let error = (f64::from(normal_share(x)) - share(f64::from(x))).abs();
            assert!(error < 2e-7, "at {x} off by {error}");
        }
        assert_eq!(normal_share(9.0), 1.0);
        assert!(normal_share(-9.0) < 1e-18);
    }
}
