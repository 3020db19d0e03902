//! What a request tells tracers: whether there will be a span of it, and which context the service gets.

use http::{HeaderMap, request};
use std::time::{SystemTime, UNIX_EPOCH};

use super::connection::{Connection, Origin};
use super::headers::{self, TRACEPARENT, TRACESTATE};
use crate::telemetry::spans::{Remote, Traced, traceparent};
use crate::upstream::Fields;

/// Decides, once, what becomes of a request that has just come. Probes are no requests of users, and have no spans.
#[inline]
pub(super) fn decide(connection: &Connection, head: &request::Parts, fields: Fields) -> Traced {
    match connection.worker.shared.registry.spans().sampling() {
        None => Traced::Off,
        Some(_) if connection.origin == Origin::Ourselves => Traced::Off,
        Some(sampling) => {
            let given = if fields.has(Fields::TRACEPARENT) { given(&head.headers) } else { None };
            let is_trusted = connection.rules.is_proxy(connection.peer.ip());
            sampling.decide(given, is_trusted, || (unix_ns(), connection.is_secure()))
        }
    }
}

/// A trusted peer tells whether the client came by TLS.
pub(super) fn told_scheme(decided: &mut Traced, is_https: bool) {
    if let Traced::Sampled(begun) = decided {
        begun.is_https = is_https;
    }
}

/// The context for the service, unless the one that came stays. What is replaced is removed.
pub(super) fn context(decided: &Traced, headers: &mut HeaderMap, fields: Fields) -> Option<[u8; 55]> {
    let (text, continues) = match decided {
        Traced::Off | Traced::PassedOn => return headers::trace_context(headers, fields),
        Traced::Unsampled(trace) => (traceparent(*trace, fastrand::u64(1..), 0), false),
        Traced::Sampled(begun) => (traceparent(begun.trace, begun.span, begun.flags), begun.parent.is_some()),
    };
    if fields.has(Fields::TRACEPARENT) {
        headers.remove(TRACEPARENT);
    }
    if fields.has(Fields::TRACESTATE) && !continues {
        headers.remove(TRACESTATE);
    }
    Some(text)
}

/// What the caller told, if it is one thing, and valid.
fn given(headers: &HeaderMap) -> Option<Remote> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let first = lines.next()?;
    if lines.next().is_some() { None } else { Remote::read(first.as_bytes()) }
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
