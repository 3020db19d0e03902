//! What gRPC says about time: `grpc-timeout` (the gRPC protocol over HTTP/2, "Requests").

use http::HeaderMap;
use std::time::Duration;

/// The longest wait for an answer's head: what the route says, zero for no limit, or what the client says if that is
/// shorter. The client's word goes on to the service as it came.
pub(super) fn bounded(wait: Duration, lines: &HeaderMap) -> Duration {
    let asked = lines.get("grpc-timeout").and_then(|value| parse(value.as_bytes()));
    match asked {
        Some(asked) if wait.is_zero() || asked < wait => asked,
        Some(_) | None => wait,
    }
}

/// At most eight digits and a unit. `None` for anything else, and for no time at all.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let time = match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    };
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_shorter_of_both() {
        let ms = Duration::from_millis;
        for (route, asked, expected) in [
            (0, "100m", ms(100)),
            (30_000, "2S", ms(2000)),
            (1000, "1H", ms(1000)),
            (1000, "99999999n", Duration::from_nanos(99_999_999)),
            (1000, "1M", ms(1000)),
            (1000, "500000u", ms(500)),
            (1000, "", ms(1000)),
            (1000, "m", ms(1000)),
            (1000, "-1m", ms(1000)),
            (1000, "1.5S", ms(1000)),
            (1000, "123456789m", ms(1000)),
            (1000, "5s", ms(1000)),
            (0, "0m", ms(0)),
            (0, "99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            let mut lines = HeaderMap::new();
            lines.insert("grpc-timeout", HeaderValue::from_static(asked));
            assert_eq!(bounded(ms(route), &lines), expected, "{asked}");
        }
        assert_eq!(bounded(ms(7), &HeaderMap::new()), ms(7));
    }
}
