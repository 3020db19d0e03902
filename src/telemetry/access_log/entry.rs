use super::formats::{Format, push_combined, push_ecs, push_envoy};
use super::json::{push_number, push_string};
use crate::model::Reason;
use std::io::Write;
use std::net::IpAddr;

/// What one line says. Texts from clients may hold any bytes: they are cut and escaped.
///
/// Empty texts and absent numbers have no field in the line.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When the request arrived, in milliseconds since 1970 (UTC).
    pub unix_ms: u64,
    /// The listener's name.
    pub listener: &'a str,
    /// The client, behind trusted proxies.
    pub client: Option<IpAddr>,
    /// The method; cut at 32 bytes.
    pub method: &'a str,
    /// The host that was asked for; cut at 255 bytes.
    pub host: &'a [u8],
    /// The path; cut at its query, which never appears, and at 1 KiB.
    pub path: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// The service's name.
    pub service: &'a str,
    /// The cohort's name.
    pub cohort: &'a str,
    /// The variant's name.
    pub variant: &'a str,
    /// Why it got the variant.
    pub reason: Option<Reason>,
    /// The user's bucket.
    pub bucket: Option<u32>,
    /// The revision that decided.
    pub rev: &'a str,
    /// The status sent; 0 when none was.
    pub status: u16,
    /// Response flags, in Envoy's letters, such as `UF`.
    pub flags: &'a str,
    /// From the first byte of the request to the last of the response.
    pub duration_us: u64,
    /// From handing the request upstream to the end of the response's headers.
    pub upstream_us: Option<u64>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// How often the request was sent; written when it was more than once.
    pub attempts: u32,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The protocol, such as `HTTP/1.1`.
    pub protocol: &'a str,
    /// The request id; cut at 128 bytes.
    pub request_id: &'a [u8],
    /// The trace id of W3C Trace Context; cut at 32 bytes.
    pub trace_id: &'a [u8],
    /// The endpoint that answered.
    pub endpoint: &'a str,
    /// The client's own name for itself; cut at 256 bytes.
    pub user_agent: &'a [u8],
}

/// Formats lines. Keeps the text of the current second, which most lines share.
#[derive(Debug, Default)]
pub struct LineFormat {
    format: Format,
    second: u64,
    text: Vec<u8>,
}

/// The most bytes of a name from the file.
pub(super) const NAME_MAX: usize = 255;

impl Entry<'_> {
    /// Bytes that a usual line takes.
    pub(super) const BYTES_TYPICAL: usize = 768;
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Entry {
            unix_ms: 0,
            listener: "",
            client: None,
            method: "",
            host: b"",
            path: "",
            route: "",
            service: "",
            cohort: "",
            variant: "",
            reason: None,
            bucket: None,
            rev: "",
            status: 0,
            flags: "",
            duration_us: 0,
            upstream_us: None,
            bytes_in: 0,
            attempts: 1,
            bytes_out: 0,
            protocol: "",
            request_id: b"",
            trace_id: b"",
            endpoint: "",
            user_agent: b"",
        }
    }
}

impl LineFormat {
    /// Lines of this shape.
    pub fn new(format: Format) -> LineFormat {
        LineFormat { format, ..LineFormat::default() }
    }

    /// Appends the entry and a newline.
    pub fn write(&mut self, entry: &Entry<'_>, to: &mut Vec<u8>) {
        if self.format == Format::Combined {
            match entry.client {
                Some(client) => push_address(to, client),
                None => to.push(b'-'),
            }
        }
        self.time(entry.unix_ms, to);
        match self.format {
            Format::Ringway => push_ringway(entry, to),
            Format::Ecs => push_ecs(entry, to),
            Format::Envoy => push_envoy(entry, to),
            Format::Combined => push_combined(entry, to),
        }
    }

    /// Begins the line with the time, in UTC, with milliseconds where the shape has them.
    fn time(&mut self, unix_ms: u64, to: &mut Vec<u8>) {
        let second = unix_ms / 1_000;
        if self.text.is_empty() || second != self.second {
            let (begin, form) = self.format.opening();
            self.second = second;
            self.text.clear();
            self.text.extend_from_slice(begin.as_bytes());
            push_second(&mut self.text, second, form);
        }
        to.extend_from_slice(&self.text);
        let ms = (unix_ms % 1_000) as u32;
        let digit = |of: u32| b'0' + (of % 10) as u8;
        match self.format {
            Format::Combined => {}
            Format::Envoy => to.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']),
            Format::Ringway | Format::Ecs => {
                to.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z', b'"']);
            }
        }
    }
}

/// The rest of a line of [`Format::Ringway`], after its time.
fn push_ringway(entry: &Entry<'_>, to: &mut Vec<u8>) {
    text(to, b",\"listener\":", entry.listener.as_bytes(), NAME_MAX);
    if let Some(client) = entry.client {
        to.extend_from_slice(b",\"client\":\"");
        push_address(to, client);
        to.push(b'"');
    }
    text(to, b",\"method\":", entry.method.as_bytes(), 32);
    text(to, b",\"host\":", entry.host, 255);
    text(to, b",\"path\":", without_query(entry.path), 1024);
    text(to, b",\"route\":", entry.route.as_bytes(), NAME_MAX);
    text(to, b",\"service\":", entry.service.as_bytes(), NAME_MAX);
    text(to, b",\"cohort\":", entry.cohort.as_bytes(), NAME_MAX);
    text(to, b",\"variant\":", entry.variant.as_bytes(), NAME_MAX);
    text(to, b",\"reason\":", entry.reason.map_or("", Reason::as_str).as_bytes(), NAME_MAX);
    if let Some(bucket) = entry.bucket {
        number(to, b",\"bucket\":", u64::from(bucket));
    }
    text(to, b",\"rev\":", entry.rev.as_bytes(), NAME_MAX);
    number(to, b",\"status\":", u64::from(entry.status));
    text(to, b",\"flags\":", entry.flags.as_bytes(), 32);
    number(to, b",\"duration_us\":", entry.duration_us);
    if let Some(upstream_us) = entry.upstream_us {
        number(to, b",\"upstream_us\":", upstream_us);
    }
    if entry.attempts > 1 {
        number(to, b",\"attempts\":", u64::from(entry.attempts));
    }
    number(to, b",\"bytes_in\":", entry.bytes_in);
    number(to, b",\"bytes_out\":", entry.bytes_out);
    text(to, b",\"protocol\":", entry.protocol.as_bytes(), 16);
    text(to, b",\"request_id\":", entry.request_id, 128);
    text(to, b",\"trace_id\":", entry.trace_id, 32);
    text(to, b",\"endpoint\":", entry.endpoint.as_bytes(), NAME_MAX);
    text(to, b",\"user_agent\":", entry.user_agent, 256);
    to.extend_from_slice(b"}\n");
}

pub(super) fn text(to: &mut Vec<u8>, key: &[u8], value: &[u8], max: usize) {
    if !value.is_empty() {
        to.extend_from_slice(key);
        push_string(to, value, max);
    }
}

pub(super) fn number(to: &mut Vec<u8>, key: &[u8], value: u64) {
    to.extend_from_slice(key);
    push_number(to, value);
}

pub(super) fn without_query(path: &str) -> &[u8] {
    let path = path.as_bytes();
    &path[..memchr::memchr2(b'?', b'#', path).unwrap_or(path.len())]
}

pub(super) fn push_address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    to.push(b'.');
                }
                push_number(to, u64::from(octet));
            }
        }
        // Writing to a vector cannot fail.
        IpAddr::V6(address) => drop(write!(to, "{address}")),
    }
}

/// A second by a form of `strftime`, such as `2026-11-21T08:26:00`; years beyond 9999 are shown as the last second of 9999, the limit of RFC 3339.
fn push_second(to: &mut Vec<u8>, second: u64, form: &str) {
    const LAST: i64 = 253_402_207_200;
    let second = i64::try_from(second).unwrap_or(LAST).min(LAST);
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Writing to a vector cannot fail.
    drop(write!(to, "{}", time.to_zoned(jiff::tz::TimeZone::UTC).strftime(form)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(entry: &Entry<'_>) -> String {
        let mut to = Vec::new();
        LineFormat::default().write(entry, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn a_full_line_reads_like_this() {
        let entry = Entry {
            unix_ms: 1_795_249_560_007,
            listener: "public",
            client: Some("192.0.2.7".parse().unwrap()),
            method: "GET",
            host: b"shop.example.com",
            path: "/cart?token=secret#top",
            route: "shop",
            service: "shop",
            cohort: "beta",
            variant: "canary",
            reason: Some(Reason::Split),
            bucket: Some(161_139),
            rev: "3f9c21",
            status: 503,
            flags: "UF",
            duration_us: 21_034,
            upstream_us: Some(20_777),
            attempts: 1,
            bytes_in: 0,
            bytes_out: 512,
            protocol: "HTTP/1.1",
            request_id: b"a1b2",
            trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
            endpoint: "10.0.0.5:8080",
            user_agent: b"curl/8",
        };
        assert_eq!(
            line(&entry),
            concat!(
                r#"{"ts":"2026-11-21T08:26:00.007Z","listener":"public","client":"192.0.2.7","method":"GET","#,
                r#""host":"shop.example.com","path":"/cart","route":"shop","service":"shop","cohort":"beta","#,
                r#""variant":"canary","reason":"split","bucket":161139,"rev":"3f9c21","status":503,"flags":"UF","#,
                r#""duration_us":21034,"upstream_us":20777,"bytes_in":0,"bytes_out":512,"protocol":"HTTP/1.1","#,
                r#""request_id":"a1b2","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
                r#""endpoint":"10.0.0.5:8080","user_agent":"curl/8"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_with_nothing_known_is_still_one() {
        let parsed: serde_json::Value = serde_json::from_str(&line(&Entry::default())).unwrap();
        assert_eq!(parsed["ts"], "1970-01-01T00:00:00.000Z");
        assert_eq!((&parsed["status"], parsed.get("path")), (&serde_json::json!(0), None));
    }

    /// Quotes and control characters take six bytes each.
    #[test]
    fn a_line_with_a_megabyte_in_every_field_is_bounded() {
        for piece in ["\"", "\u{1}", "\u{202e}", "\n", "\",\"status\":1,\"x\":\""] {
            let text = piece.repeat((1 << 20) / piece.len());
            let bytes = text.as_bytes();
            let entry = Entry {
                listener: &text,
                method: &text,
                host: bytes,
                path: &text,
                route: &text,
                service: &text,
                cohort: &text,
                variant: &text,
                rev: &text,
                endpoint: &text,
                request_id: bytes,
                trace_id: bytes,
                user_agent: bytes,
                duration_us: u64::MAX,
                upstream_us: Some(u64::MAX),
                bytes_in: u64::MAX,
                bytes_out: u64::MAX,
                ..Entry::default()
            };
            let line = line(&entry);
            assert!(line.len() < 32 * 1024, "{piece:?}: {}", line.len());
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["status"], 0);
        }
    }

    #[test]
    fn the_second_is_kept_and_renewed() {
        let mut format = LineFormat::default();
        let mut stamp = |unix_ms| {
            let mut to = Vec::new();
            format.write(&Entry { unix_ms, ..Entry::default() }, &mut to);
            String::from_utf8(to).unwrap()[7..31].to_owned()
        };
        assert_eq!(stamp(999), "1970-01-01T00:00:00.999Z");
        assert_eq!(stamp(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(stamp(951_782_399_001), "2000-02-28T23:59:59.001Z");
        assert_eq!(stamp(u64::MAX).len(), 24);
    }

    proptest! {
        #[test]
        fn every_line_is_one_json_object(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000), text in any::<String>(), n in any::<u64>(),
            client in any::<IpAddr>(),
        ) {
            let entry = Entry {
                unix_ms: n, client: Some(client), method: &text, host: &bytes, path: &text, service: &text,
                bytes_out: n, request_id: &bytes, trace_id: &bytes, user_agent: &bytes, endpoint: &text,
                ..Entry::default()
            };
            let line = line(&entry);
            prop_assert_eq!(line.bytes().filter(|byte| *byte == b'\n').count(), 1);
            prop_assert!(line.len() < 12_000);
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&parsed["client"], &serde_json::json!(client.to_string()));
            prop_assert_eq!(parsed["bytes_out"].as_u64(), Some(n));
        }
    }
}
