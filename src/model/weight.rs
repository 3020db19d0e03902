use std::fmt;
use std::str::FromStr;

/// A share of a cohort: `share = weight / sum of weights`. Zero means none.
///
/// Held in millionths, so that decimal weights such as `0.01` are exact.
/// Range: 0 to 1,000,000 with at most six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

/// Why a text is not a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// Not a plain decimal number.
    #[error("a weight is a plain decimal number such as 5 or 0.01")]
    NotDecimal,
    /// A weight below zero.
    #[error("a weight cannot be negative")]
    Negative,
    /// More than six decimals.
    #[error("a weight has at most six decimals")]
    TooFine,
    /// Above the largest weight.
    #[error("a weight is at most 1000000")]
    TooLarge,
}

impl Weight {
    /// No share at all.
    pub const ZERO: Weight = Weight(0);
    /// One hundred: all of a cohort when weights are read as percentages.
    pub const HUNDRED: Weight = Weight(100_000_000);
    const PER_UNIT: u64 = 1_000_000;
    const MAX_UNITS: u64 = 1_000_000;

    /// A whole weight, saturating at the largest one.
    pub fn whole(units: u64) -> Weight {
        Weight(units.min(Self::MAX_UNITS) * Self::PER_UNIT)
    }

    /// A weight of so many millionths, saturating at the largest one.
    pub fn from_micros(micros: u64) -> Weight {
        Weight(micros.min(Self::MAX_UNITS * Self::PER_UNIT))
    }

    /// The weight in millionths.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// True when the weight gives no share.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The weight as a float, for showing and for metrics.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Self::PER_UNIT as f64
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Self, WeightError> {
        if let Some(rest) = text.strip_prefix('-') {
            return Err(match rest.parse::<Weight>() {
                Ok(_) => WeightError::Negative,
                Err(error) => error,
            });
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let has_empty_decimals = text.contains('.') && decimals.is_empty();
        if whole.is_empty() || has_empty_decimals || !digits(whole) || !digits(decimals) {
            return Err(WeightError::NotDecimal);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 6 {
            return Err(WeightError::TooFine);
        }
        let whole: u64 = whole.parse().map_err(|_| WeightError::TooLarge)?;
        if whole > Self::MAX_UNITS {
            return Err(WeightError::TooLarge);
        }
        let fraction: u64 = format!("{decimals:0<6}").parse().map_err(|_| WeightError::NotDecimal)?;
        let micros = whole * Self::PER_UNIT + fraction;
        if micros > Self::MAX_UNITS * Self::PER_UNIT {
            return Err(WeightError::TooLarge);
        }
        Ok(Weight(micros))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::PER_UNIT, self.0 % Self::PER_UNIT);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{fraction:06}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_print_as_written() {
        for (text, micros) in
            [("5", 5_000_000), ("0.01", 10_000), ("99.99", 99_990_000), ("0", 0), ("1000000", 1_000_000_000_000)]
        {
            let weight: Weight = text.parse().unwrap();
            assert_eq!((weight.micros(), weight.to_string().as_str()), (micros, text));
        }
        assert_eq!("1.50".parse::<Weight>().unwrap().to_string(), "1.5");
    }

    #[test]
    fn what_is_not_a_weight_says_why() {
        for (text, error) in [
            ("", WeightError::NotDecimal),
            ("five", WeightError::NotDecimal),
            ("1e3", WeightError::NotDecimal),
            (".5", WeightError::NotDecimal),
            ("5.", WeightError::NotDecimal),
            (".nan", WeightError::NotDecimal),
            ("-1", WeightError::Negative),
            ("-x", WeightError::NotDecimal),
            ("0.0000001", WeightError::TooFine),
            ("1000000.1", WeightError::TooLarge),
            ("99999999999999999999999", WeightError::TooLarge),
        ] {
            assert_eq!(text.parse::<Weight>(), Err(error), "{text}");
        }
    }
}
