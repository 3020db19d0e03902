//! Values of the API as people read them.

use serde_json::Value;

use crate::model::{grouped, printable};

/// The text of a value, safe to be shown; empty when it is none.
pub(super) fn word(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default()).into_owned()
}

/// The entries of a list; none when it is none.
pub(super) fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A share of 1 in percent with so many places, or a dash.
pub(super) fn share(value: &Value, places: usize) -> String {
    value.as_f64().map_or_else(dash, |share| format!("{:.places$} %", share * 100.0))
}

/// A percentage as it was written: `10 %`, `0.5 %`.
pub(super) fn weight(value: &Value) -> String {
    value.as_f64().map_or_else(dash, |weight| format!("{weight} %"))
}

/// Milliseconds, in steps that a person tells apart.
pub(super) fn milliseconds(value: &Value) -> String {
    match value.as_f64() {
        None => dash(),
        Some(time) if time < 10.0 => format!("{time:.1}ms"),
        Some(time) if time < 10_000.0 => format!("{time:.0}ms"),
        Some(time) => format!("{:.1}s", time / 1_000.0),
    }
}

/// A count, with commas.
pub(super) fn count(value: &Value) -> String {
    value.as_u64().map_or_else(dash, grouped)
}

/// `40s`, `12m`, `3h05m`, `2d04h`.
pub(super) fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `2026-11-21 15:04:05`, in the time zone of this machine.
pub(super) fn moment(unix_ms: &Value) -> String {
    let found = unix_ms.as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let zoned = found.map(|at| at.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(dash, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// What stands where there is nothing.
pub(super) fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_have_their_unit() {
        assert_eq!((share(&json!(0.101), 1), share(&Value::Null, 1)), ("10.1 %".into(), "–".into()));
        assert_eq!((weight(&json!(10.0)), weight(&json!(0.5))), ("10 %".into(), "0.5 %".into()));
        assert_eq!((milliseconds(&json!(1.26)), milliseconds(&json!(118.4))), ("1.3ms".into(), "118ms".into()));
        assert_eq!(milliseconds(&json!(12_340.0)), "12.3s");
        let times = [59, 720, 11_100, 187_200].map(elapsed);
        assert_eq!(times, ["59s", "12m", "3h05m", "2d04h"]);
        assert_eq!(word(&json!("a\u{202e}b")), "a\\u{202e}b");
    }
}
