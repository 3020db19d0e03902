//! Lines of access logs, as five programs write them. What a log does not hold stays unknown; nothing is guessed here.

mod json;
mod text;

use http::HeaderMap;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest line that is read; a longer one counts as one that cannot be.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Ringway's JSON.
    Ringway,
    /// Envoy's default format.
    Envoy,
    /// Caddy's JSON.
    Caddy,
    /// Traefik's JSON, and its common format.
    Traefik,
    /// The combined or common format of Apache and nginx.
    Combined,
}

/// One request of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// How it was written.
    pub format: Format,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The client.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: String,
    /// The host, with a port if it was written.
    pub host: Option<String>,
    /// Path and query.
    pub target: String,
    /// The status; 0 when none was sent.
    pub status: u16,
    /// How long it took, in microseconds.
    pub latency_us: Option<u64>,
    /// The header fields that the log holds.
    pub headers: HeaderMap,
    /// The client went away.
    pub is_aborted: bool,
    /// What Ringway decided then: service, cohort, bucket.
    pub decided: Option<Decided>,
}

/// What an earlier Ringway decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// The service.
    pub service: String,
    /// The cohort.
    pub cohort: String,
    /// The user's bucket.
    pub bucket: Option<u32>,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 5] = [Format::Ringway, Format::Envoy, Format::Caddy, Format::Traefik, Format::Combined];

    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Ringway => "ringway",
            Format::Envoy => "envoy",
            Format::Caddy => "caddy",
            Format::Traefik => "traefik",
            Format::Combined => "combined",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let found = Format::ALL.into_iter().find(|format| format.as_str() == text);
        let known = || Format::ALL.map(Format::as_str).join(", ");
        found.ok_or_else(|| format!("a format is one of {}", known()))
    }
}

impl Line {
    /// Reads a line; without a format, that of its first characters.
    ///
    /// # Errors
    /// It is not such a line; why, in words.
    pub fn parse(line: &str, format: Option<Format>) -> Result<Line, String> {
        let line = line.trim();
        match (format, line.as_bytes().first()) {
            (_, None) => Err("it is empty".to_owned()),
            (Some(Format::Ringway | Format::Caddy) | None, Some(b'{')) => json::parse(line, format),
            (Some(Format::Traefik), Some(b'{')) => json::parse(line, format),
            (Some(Format::Ringway | Format::Caddy), _) => Err("it is no JSON object".to_owned()),
            (Some(Format::Envoy), _) | (None, Some(b'[')) => text::envoy(line),
            (Some(format @ (Format::Traefik | Format::Combined)), _) => text::common(line, format),
            (None, _) => text::common(line, Format::Combined),
        }
    }

    /// Whether the version that answered is to blame, whichever it was.
    pub fn is_error(&self) -> bool {
        self.status >= 500 || (self.status == 0 && !self.is_aborted)
    }
}

/// What can be said of a line before its parts are known.
fn empty(format: Format, unix_ms: u64) -> Line {
    Line {
        format,
        unix_ms,
        client: None,
        method: "GET".to_owned(),
        host: None,
        target: "/".to_owned(),
        status: 0,
        latency_us: None,
        headers: HeaderMap::new(),
        is_aborted: false,
        decided: None,
    }
}

/// `192.0.2.7`, `192.0.2.7:4711`, `[2001:db8::1]:4711`; the first of a list.
fn address(text: &str) -> Option<IpAddr> {
    let first = text.split(',').next()?.trim();
    let bare = first.trim_start_matches('[').trim_end_matches(']');
    let by_socket = || first.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(by_socket)
}

/// Seconds, from a float, as microseconds; what is no time is none.
fn micros(amount: f64, per_unit: f64) -> Option<u64> {
    let us = amount * per_unit;
    (us.is_finite() && us >= 0.0).then_some(us.min(1e15) as u64)
}

mod tests;
