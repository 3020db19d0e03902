//! A finished request as a span of OpenTelemetry, kind server.
//!
//! Attributes are those of its conventions for HTTP servers and for feature flags, where there is one; others begin with
//! `ringway.`. All of it is written in one go into one piece of memory.

use super::super::access_log::Entry;
use super::super::protobuf::{Message, length_of, varint_length};
use super::{Begun, Encoded, TEXT_BYTES_MAX};
use crate::model::{Outcome, is_deceiving};
use std::borrow::Cow;
use std::io::Write;
use std::net::Ipv6Addr;

/// Bytes that a usual span takes.
const BYTES_TYPICAL: usize = 1_024;

/// Fields of `Span`.
mod span {
    pub(super) const TRACE_ID: u64 = 1;
    pub(super) const SPAN_ID: u64 = 2;
    pub(super) const PARENT_SPAN_ID: u64 = 4;
    pub(super) const NAME: u64 = 5;
    pub(super) const KIND: u64 = 6;
    pub(super) const START: u64 = 7;
    pub(super) const END: u64 = 8;
    pub(super) const ATTRIBUTES: u64 = 9;
    pub(super) const LINKS: u64 = 13;
    pub(super) const STATUS: u64 = 15;
    pub(super) const FLAGS: u64 = 16;
}

const KIND_SERVER: u64 = 2;
const STATUS_ERROR: u64 = 2;
/// It is known whether the parent is in another process.
const HAS_IS_REMOTE: u32 = 0x100;
/// It is.
const IS_REMOTE: u32 = 0x200;

/// Methods that have their own names in the conventions; any other is a stranger's text.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A finished request as a message `Span`.
pub(super) fn span(entry: &Entry<'_>, begun: &Begun, outcome: Outcome) -> Encoded {
    let mut message = Message(Vec::with_capacity(BYTES_TYPICAL));
    message.bytes(span::TRACE_ID, &begun.trace.to_be_bytes());
    message.bytes(span::SPAN_ID, &begun.span.to_be_bytes());
    if let Some(parent) = begun.parent {
        message.bytes(span::PARENT_SPAN_ID, &parent.to_be_bytes());
    }
    let remote = if begun.parent.is_some() { HAS_IS_REMOTE | IS_REMOTE } else { HAS_IS_REMOTE };
    message.fixed32(span::FLAGS, u32::from(begun.flags) | remote);
    name(&mut message, entry);
    message.unsigned(span::KIND, KIND_SERVER);
    message.fixed64(span::START, begun.unix_ns);
    message.fixed64(span::END, begun.unix_ns.saturating_add(entry.duration_us.saturating_mul(1_000)));
    request(&mut message, entry, begun);
    answer(&mut message, entry, outcome);
    flag(&mut message, entry);
    own(&mut message, entry);
    if let Some(link) = begun.link {
        let mut linked = Message::default();
        linked.bytes(1, &link.trace.to_be_bytes());
        linked.bytes(2, &link.span.to_be_bytes());
        linked.fixed32(6, u32::from(link.flags) | HAS_IS_REMOTE | IS_REMOTE);
        message.message(span::LINKS, &linked);
    }
    message.0
}

/// Few names, for whatever clients ask: paths are no part of them.
fn name(message: &mut Message, entry: &Entry<'_>) {
    let method = if METHODS.contains(&entry.method) { entry.method } else { "HTTP" };
    match entry.service {
        "" => message.text(span::NAME, method),
        service => {
            message.begin(span::NAME, method.len() + 1 + service.len());
            [method, " ", service].iter().for_each(|part| message.0.extend(part.as_bytes()));
        }
    }
}

fn request(message: &mut Message, entry: &Entry<'_>, begun: &Begun) {
    match METHODS.contains(&entry.method) {
        true => text(message, "http.request.method", entry.method),
        false => {
            text(message, "http.request.method", "_OTHER");
            text(message, "http.request.method_original", &foreign(entry.method.as_bytes(), 32));
        }
    }
    text(message, "url.scheme", if begun.is_https { "https" } else { "http" });
    let path = entry.path.split(['?', '#']).next().unwrap_or_default();
    text(message, "url.path", &foreign(path.as_bytes(), TEXT_BYTES_MAX));
    let host = foreign(entry.host, 255);
    let (address, port) = address_and_port(&host);
    text(message, "server.address", address);
    if let Some(port) = port {
        number(message, "server.port", u64::from(port));
    }
    text(message, "network.protocol.version", entry.protocol.strip_prefix("HTTP/").unwrap_or_default());
    if let Some(client) = entry.client {
        shown(message, "client.address", client);
    }
    text(message, "user_agent.original", &foreign(entry.user_agent, 256));
    number(message, "http.request.body.size", entry.bytes_in);
}

/// A server span is an error when the server is to blame, not for a 4xx.
fn answer(message: &mut Message, entry: &Entry<'_>, outcome: Outcome) {
    if entry.status != 0 {
        number(message, "http.response.status_code", u64::from(entry.status));
    }
    number(message, "http.response.body.size", entry.bytes_out);
    if entry.status < 500 && !matches!(outcome, Outcome::Error | Outcome::Internal) {
        return;
    }
    match (entry.status, entry.flags) {
        // the answer broke off
        (0..500, "") => text(message, "error.type", "_OTHER"),
        (0..500, flags) => text(message, "error.type", flags),
        (status, _) => shown(message, "error.type", status),
    }
    let mut status = Message::default();
    status.unsigned(3, STATUS_ERROR);
    message.message(span::STATUS, &status);
}

/// Which version the user got is the value of a flag by the name of the service.
fn flag(message: &mut Message, entry: &Entry<'_>) {
    let Some(reason) = entry.reason else { return };
    text(message, "feature_flag.key", entry.service);
    text(message, "feature_flag.provider.name", "ringway");
    text(message, "feature_flag.result.variant", entry.variant);
    text(message, "feature_flag.result.reason", reason.as_flag_reason());
    text(message, "feature_flag.version", entry.rev);
    text(message, "ringway.cohort", entry.cohort);
    text(message, "ringway.reason", reason.as_str());
    if let Some(bucket) = entry.bucket {
        number(message, "ringway.bucket", u64::from(bucket));
    }
}

fn own(message: &mut Message, entry: &Entry<'_>) {
    text(message, "ringway.listener", entry.listener);
    text(message, "ringway.route", entry.route);
    text(message, "ringway.endpoint", entry.endpoint);
    text(message, "ringway.flags", entry.flags);
    text(message, "ringway.request_id", &foreign(entry.request_id, 128));
    if let Some(upstream_us) = entry.upstream_us {
        number(message, "ringway.upstream_us", upstream_us);
    }
    if entry.attempts > 1 {
        number(message, "ringway.attempts", u64::from(entry.attempts));
    }
}

/// Of whatever bytes a client sent: at most so many, and none that deceive who reads them.
fn foreign(bytes: &[u8], most: usize) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]);
    if !text.chars().any(is_deceiving) {
        return text;
    }
    Cow::Owned(text.chars().map(|character| if is_deceiving(character) { '\u{fffd}' } else { character }).collect())
}

/// The two parts of a `Host`.
fn address_and_port(host: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.rsplit_once(':').map(|(address, port)| (address, port.parse())) {
        Some((address, Ok(port))) => (address, Some(port)),
        _ => (host, None),
    }
}

/// An attribute; an empty text is none.
fn text(message: &mut Message, key: &str, value: &str) {
    if !value.is_empty() {
        message.begin(span::ATTRIBUTES, length_of(key.len()) + length_of(length_of(value.len())));
        message.text(1, key);
        message.begin(2, length_of(value.len()));
        message.text(1, value);
    }
}

fn number(message: &mut Message, key: &str, value: u64) {
    let value_length = 1 + varint_length(value);
    message.begin(span::ATTRIBUTES, length_of(key.len()) + length_of(value_length));
    message.text(1, key);
    message.begin(2, value_length);
    message.unsigned(3, value);
}

/// A short text that something is shown as.
fn shown(message: &mut Message, key: &str, value: impl std::fmt::Display) {
    let mut room = [0; 64];
    let mut rest = &mut room[..];
    if write!(rest, "{value}").is_ok() {
        let left = rest.len();
        text(message, key, std::str::from_utf8(&room[..64 - left]).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
