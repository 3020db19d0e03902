//! What gRPC says about time and failure: `grpc-timeout`, and answers that are all trailers (the gRPC protocol over
//! HTTP/2, "Requests" and "Responses").

use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

use super::error::ProxyError;
use crate::model::FallbackCause;
use crate::routing::request::Refused;

/// True for gRPC in any form.
pub(super) fn is_grpc(lines: &HeaderMap) -> bool {
    lines.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// True for gRPC whose client reads the status in trailers; gRPC-Web has it in the body.
pub(super) fn is_native(lines: &HeaderMap) -> bool {
    let rest = lines.get(header::CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
}

/// Writes why a request was not answered by its variant into the head of an answer that has nothing else.
pub(super) fn push_failure(lines: &mut HeaderMap, error: ProxyError) {
    lines.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    lines.insert("grpc-status", HeaderValue::from(status(error)));
    lines.insert("grpc-message", HeaderValue::from_static(error.reason()));
}

/// The code of a failure (the gRPC documents, "Status codes and their use in gRPC").
fn status(error: ProxyError) -> u16 {
    const CANCELLED: u16 = 1;
    const UNKNOWN: u16 = 2;
    const DEADLINE_EXCEEDED: u16 = 4;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match error {
        ProxyError::AnswerTimeout => DEADLINE_EXCEEDED,
        ProxyError::ClientTimeout | ProxyError::ClientAborted => CANCELLED,
        ProxyError::RateLimited(_)
        | ProxyError::BodyTooLarge
        | ProxyError::NoEndpoint(FallbackCause::Limit)
        | ProxyError::Refused(Refused::TooManyFields { .. }) => RESOURCE_EXHAUSTED,
        ProxyError::NoRoute => UNIMPLEMENTED,
        ProxyError::Injected(status) => match status {
            400 => INTERNAL,
            401 => 16,
            403 => 7,
            404 => UNIMPLEMENTED,
            429 | 502..=504 => UNAVAILABLE,
            _ => UNKNOWN,
        },
        ProxyError::Misdirected | ProxyError::Refused(_) | ProxyError::Loop | ProxyError::BadAnswer => INTERNAL,
        ProxyError::NoEndpoint(_) | ProxyError::Exhausted | ProxyError::Reset | ProxyError::Overloaded => UNAVAILABLE,
    }
}

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
