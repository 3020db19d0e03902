//! Values with units, as they are written in the file: `30s`, `1MiB`, `0.01`, `10`.

use ipnet::{IpNet, Ipv4Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::model;

/// A span of time: digits and a unit, `ms`, `s`, `m`, `h` or `d`. At most 365 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

/// A number of bytes: digits and a unit, `B`, `KiB`, `MiB` or `GiB` (`KB`, `MB`, `GB` by thousands).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A weight, see [`model::Weight`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub model::Weight);

/// A share of 100, with at most four decimals (one bucket is 0.0001 %). Held as a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub model::Weight);

/// A rate with its sign, such as `0.1%`. Held in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u32);

/// A comparison with a number, such as `< 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub number: f64,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Rate {
    /// As a share of 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl Threshold {
    /// True when a number is as it should be; never for what is not a number.
    pub fn holds(self, number: f64) -> bool {
        match self.comparison {
            Comparison::Below => number < self.number,
            Comparison::AtMost => number <= self.number,
            Comparison::Above => number > self.number,
            Comparison::AtLeast => number >= self.number,
            Comparison::Equal => number == self.number,
            Comparison::Unequal => !number.is_nan() && number != self.number,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
            Comparison::Equal => "==",
            Comparison::Unequal => "!=",
        };
        write!(f, "{sign} {}", self.number)
    }
}

/// HTTP status codes: one (`204`), or a range with both ends (`200-299`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

/// How many leading bits an IPv4 address has in front when it is written as IPv6.
const MAPPED_PREFIX_BITS: u8 = (Ipv6Addr::BITS - u32::BITS) as u8;

/// A network as addresses are compared with it: IPv4 where it is IPv4 in the clothes of IPv6
/// (`::ffff:10.0.0.0/104`), as addresses of clients are.
pub fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let bits = v6.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    let mapped = v6.addr().to_ipv4_mapped().zip(bits).and_then(|(v4, bits)| Ipv4Net::new(v4, bits).ok());
    mapped.map_or(network, IpNet::V4)
}

/// Reads networks, each as addresses are compared with it.
pub(in crate::config) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let networks = Vec::<IpNet>::deserialize(from)?;
    Ok(networks.into_iter().map(unmapped).collect())
}

const DURATION_HELP: &str = "a duration is digits and a unit, such as 500ms, 30s, 5m, 1h or 7d";
const SIZE_HELP: &str = "a size is digits and a unit, such as 512B, 64KiB, 1MiB or 2GiB";
const RATE_HELP: &str = "a rate is a percentage with its sign, at most four decimals, such as 0.1% or 99.9%";
const THRESHOLD_HELP: &str = "a threshold is a comparison and a number, such as \"< 2\" or \">= 0.99\"";
const STATUS_HELP: &str = "a status is a code from 100 to 599 such as 204, or a range such as 200-299";
const PERCENT_HELP: &str = "a percentage is a number from 0 to 100 with at most four decimals, such as 10 or 0.01";

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text).ok_or(DURATION_HELP)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(DURATION_HELP.to_owned()),
        };
        match number.checked_mul(milliseconds) {
            Some(total) if total <= 365 * 86_400_000 => Ok(Duration(std::time::Duration::from_millis(total))),
            _ => Err("a duration is at most 365d".to_owned()),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text).ok_or(SIZE_HELP)?;
        let bytes: u64 = match unit {
            "B" => 1,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(SIZE_HELP.to_owned()),
        };
        number.checked_mul(bytes).map(Size).ok_or_else(|| "a size is at most 16777215TiB".to_owned())
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Weight).map_err(|error: model::WeightError| error.to_string())
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share: model::Weight = text.parse().map_err(|_| PERCENT_HELP.to_owned())?;
        let is_whole_buckets = share.micros().is_multiple_of(100);
        if share > model::Weight::HUNDRED || !is_whole_buckets {
            return Err(PERCENT_HELP.to_owned());
        }
        Ok(Percent(share))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').ok_or(RATE_HELP)?;
        let percent: Percent = number.parse().map_err(|_| RATE_HELP.to_owned())?;
        u32::try_from(percent.0.micros() / 100).map(Rate).map_err(|_| RATE_HELP.to_owned())
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use Comparison::{Above, AtLeast, AtMost, Below, Equal, Unequal};
        // the longer ones first: `<` is the beginning of `<=`
        let signs = [("<=", AtMost), (">=", AtLeast), ("==", Equal), ("!=", Unequal), ("<", Below), (">", Above)];
        for (sign, comparison) in signs {
            let Some(number) = text.trim().strip_prefix(sign) else { continue };
            return match number.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Threshold { comparison, number }),
                _ => Err(THRESHOLD_HELP.to_owned()),
            };
        }
        Err(THRESHOLD_HELP.to_owned())
    }
}

impl FromStr for StatusRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |text: &str| text.parse::<u16>().ok().filter(|code| (100..600).contains(code));
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first <= last => Ok(StatusRange(first, last)),
            _ => Err(STATUS_HELP.to_owned()),
        }
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit))
}

/// Reads a value from its text as it stands in the file, so that no digit of a number is lost on the way.
struct Parsed<T> {
    expected: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! value {
    ($type:ident, $expected:expr, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Parsed { expected: $expected, value: std::marker::PhantomData })
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

value!(Duration, DURATION_HELP, {
    "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$",
    "description": "Digits and a unit: 500ms, 30s, 5m, 1h, 7d."
});
value!(Size, SIZE_HELP, {
    "type": "string", "pattern": "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)$",
    "description": "Digits and a unit: 512B, 64KiB, 1MiB, 2GiB."
});
value!(Weight, "a weight, such as 5 or 0.01", {
    "type": "number", "minimum": 0, "maximum": 1_000_000,
    "description": "Share = weight / sum of weights; at most six decimals."
});
value!(Percent, PERCENT_HELP, {
    "type": "number", "minimum": 0, "maximum": 100,
    "description": "A share of 100 with at most four decimals."
});
value!(Rate, RATE_HELP, {
    "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$",
    "description": "A percentage with its sign, at most four decimals: 0.1%, 99.9%."
});
value!(Threshold, THRESHOLD_HELP, {
    "type": "string", "pattern": "^ *(<=|>=|==|!=|<|>) *-?[0-9.eE+-]+ *$",
    "description": "A comparison and a number: < 2, >= 0.99."
});

value!(StatusRange, STATUS_HELP, {
    "type": ["string", "integer"], "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
    "description": "A status code or a range: 204, 200-299."
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let ms = |text: &str| text.parse::<Duration>().map(|d| d.0.as_millis());
        assert_eq!((ms("500ms"), ms("30s"), ms("1h")), (Ok(500), Ok(30_000), Ok(3_600_000)));
        for text in ["30", "s", "", "1.5s", "-1s", "1 s", "30S"] {
            assert_eq!(ms(text), Err(DURATION_HELP.to_owned()), "{text}");
        }
        assert_eq!(ms("366d"), Err("a duration is at most 365d".to_owned()));
        assert_eq!(ms("99999999999999d"), Err("a duration is at most 365d".to_owned()));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!("64KiB".parse::<Size>(), Ok(Size(65_536)));
        assert_eq!("64KB".parse::<Size>(), Ok(Size(64_000)));
        assert!("64".parse::<Size>().is_err());
        assert!("99999999999GiB".parse::<Size>().is_err());
    }

    #[test]
    fn a_network_of_ipv4_is_one_however_it_is_written() {
        for (text, network) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:a00:1/128", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::/95", "2001:db8::/95"),
            ("::/0", "::/0"),
            ("2001:db8::/104", "2001:db8::/104"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(unmapped(text.parse().unwrap()).to_string(), network, "{text}");
        }
    }

    #[test]
    fn a_percentage_is_a_whole_number_of_buckets() {
        assert!("0.0001".parse::<Percent>().is_ok());
        for text in ["0.00001", "100.1", "-1", "10%"] {
            assert_eq!(text.parse::<Percent>(), Err(PERCENT_HELP.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_rate_has_its_sign_and_a_threshold_its_comparison() {
        assert_eq!("0.1%".parse(), Ok(Rate(1_000)));
        assert_eq!("100%".parse(), Ok(Rate(1_000_000)));
        for text in ["0.1", "101%", "-1%", "%", "0.00001%"] {
            assert_eq!(text.parse::<Rate>(), Err(RATE_HELP.to_owned()), "{text}");
        }
        let below: Threshold = "< 2".parse().unwrap();
        assert!(below.holds(1.9) && !below.holds(2.0) && !below.holds(f64::NAN));
        assert!(">=0.99".parse::<Threshold>().unwrap().holds(0.99));
        assert!(!"!= 0".parse::<Threshold>().unwrap().holds(f64::NAN));
        for text in ["2", "< x", "", "=< 2", "< inf"] {
            assert_eq!(text.parse::<Threshold>(), Err(THRESHOLD_HELP.to_owned()), "{text}");
        }
    }

    #[test]
    fn statuses_are_codes_or_ranges() {
        assert_eq!("204".parse(), Ok(StatusRange(204, 204)));
        assert_eq!("200-299".parse(), Ok(StatusRange(200, 299)));
        for text in ["", "99", "600", "299-200", "200-", "2xx", "200-299-300"] {
            assert_eq!(text.parse::<StatusRange>(), Err(STATUS_HELP.to_owned()), "{text}");
        }
    }
}
