//! Functions that the standard library does not have.

/// `ln Γ(x)` for x > 0, to about 1e-13 of its value.
///
/// Stirling's series (Abramowitz and Stegun, 6.1.41) from 12 upward; below by `Γ(x) = Γ(x + 1) / x`.
pub fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 12.0 {
        shift += x.ln();
        x += 1.0;
    }
    let (inverse, square) = (1.0 / x, 1.0 / (x * x));
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square
                        * (1.0 / 1260.0
                            - square * (1.0 / 1680.0 - square * (1.0 / 1188.0 - square * 691.0 / 360_360.0)))));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

/// `ln B(a, b)` for a, b > 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_of_gamma_is_that_of_factorials() {
        let mut factorial = 0.0;
        for n in 1..200u32 {
            assert!((ln_gamma(f64::from(n)) - factorial).abs() < 1e-10, "{n}");
            factorial += f64::from(n).ln();
        }
        assert!((ln_gamma(0.5) - std::f64::consts::PI.sqrt().ln()).abs() < 1e-12);
        assert!((ln_gamma(1e-3) - 6.907_178_885_383_853).abs() < 1e-11);
        assert!((ln_gamma(1e6) - 12_815_504.569_147_61).abs() < 1e-6);
    }

    #[test]
    fn the_logarithm_of_beta_is_that_of_small_ones() {
        assert!(ln_beta(1.0, 1.0).abs() < 1e-12);
        assert!((ln_beta(2.0, 3.0) - f64::ln(1.0 / 12.0)).abs() < 1e-12);
    }
}
