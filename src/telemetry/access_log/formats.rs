//! Lines for readers of other programs' logs: the same facts, in their shape. What a shape has no place for is left out.

use super::entry::{Entry, NAME_MAX, number, push_address, text, without_query};
use super::json::push_number;
use crate::model::Reason;

/// The shape of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Our own JSON: all there is.
    #[default]
    Ringway,
    /// JSON by the Elastic Common Schema 8.11, with dotted names; what is ours stands below `labels.`.
    Ecs,
    /// Envoy's default text format.
    Envoy,
    /// The combined log format of web servers.
    Combined,
}

/// The version of the schema that names are of.
const ECS_VERSION: &str = "8.11.0";

impl Format {
    /// How the time of a line begins, and what `strftime` makes of a second.
    pub(super) fn opening(self) -> (&'static str, &'static str) {
        match self {
            Format::Ringway => ("{\"ts\":\"", "%Y-%m-%dT%H:%M:%S"),
            Format::Ecs => ("{\"@timestamp\":\"", "%Y-%m-%dT%H:%M:%S"),
            Format::Envoy => ("[", "%Y-%m-%dT%H:%M:%S"),
            Format::Combined => (" - - [", "%d/%b/%Y:%H:%M:%S +0000"),
        }
    }
}

/// The rest of a line of [`Format::Ecs`], after its time.
pub(super) fn push_ecs(entry: &Entry<'_>, to: &mut Vec<u8>) {
    text(to, b",\"ecs.version\":", ECS_VERSION.as_bytes(), NAME_MAX);
    to.extend_from_slice(
        b",\"event.kind\":\"event\",\"event.category\":[\"web\"],\"event.dataset\":\"ringway.access\"",
    );
    let outcome = match entry.status {
        0 => "unknown",
        500.. => "failure",
        _ => "success",
    };
    text(to, b",\"event.outcome\":", outcome.as_bytes(), NAME_MAX);
    number(to, b",\"event.duration\":", entry.duration_us.saturating_mul(1_000));
    if let Some(client) = entry.client {
        to.extend_from_slice(b",\"client.ip\":\"");
        push_address(to, client);
        to.push(b'"');
    }
    text(to, b",\"http.request.method\":", entry.method.as_bytes(), 32);
    number(to, b",\"http.request.body.bytes\":", entry.bytes_in);
    text(to, b",\"http.request.id\":", entry.request_id, 128);
    if entry.status > 0 {
        number(to, b",\"http.response.status_code\":", u64::from(entry.status));
    }
    number(to, b",\"http.response.body.bytes\":", entry.bytes_out);
    text(to, b",\"http.version\":", entry.protocol.trim_start_matches("HTTP/").as_bytes(), 16);
    text(to, b",\"url.domain\":", entry.host, 255);
    text(to, b",\"url.path\":", without_query(entry.path), 1024);
    text(to, b",\"user_agent.original\":", entry.user_agent, 256);
    text(to, b",\"trace.id\":", entry.trace_id, 32);
    text(to, b",\"service.name\":", entry.service.as_bytes(), NAME_MAX);
    text(to, b",\"destination.address\":", entry.endpoint.as_bytes(), NAME_MAX);
    text(to, b",\"labels.listener\":", entry.listener.as_bytes(), NAME_MAX);
    text(to, b",\"labels.route\":", entry.route.as_bytes(), NAME_MAX);
    text(to, b",\"labels.cohort\":", entry.cohort.as_bytes(), NAME_MAX);
    text(to, b",\"labels.variant\":", entry.variant.as_bytes(), NAME_MAX);
    text(to, b",\"labels.reason\":", entry.reason.map_or("", Reason::as_str).as_bytes(), NAME_MAX);
    text(to, b",\"labels.rev\":", entry.rev.as_bytes(), NAME_MAX);
    text(to, b",\"labels.flags\":", entry.flags.as_bytes(), 32);
    to.extend_from_slice(b"}\n");
}

/// The rest of a line of [`Format::Envoy`], after its time.
pub(super) fn push_envoy(entry: &Entry<'_>, to: &mut Vec<u8>) {
    to.extend_from_slice(b"] \"");
    push_request_line(entry, to);
    to.extend_from_slice(b"\" ");
    push_number(to, u64::from(entry.status));
    to.push(b' ');
    push_bare(to, entry.flags.as_bytes(), 32);
    for count in [entry.bytes_in, entry.bytes_out, entry.duration_us / 1_000] {
        to.push(b' ');
        push_number(to, count);
    }
    to.push(b' ');
    match entry.upstream_us {
        Some(time) => push_number(to, time / 1_000),
        None => to.push(b'-'),
    }
    to.extend_from_slice(b" \"");
    match entry.client {
        Some(client) => push_address(to, client),
        None => to.push(b'-'),
    }
    to.push(b'"');
    for (words, max) in
        [(entry.user_agent, 256), (entry.request_id, 128), (entry.host, 255), (entry.endpoint.as_bytes(), NAME_MAX)]
    {
        to.extend_from_slice(b" \"");
        push_bare(to, words, max);
        to.push(b'"');
    }
    to.push(b'\n');
}

/// The rest of a line of [`Format::Combined`], after its time. Where a request came from is not kept.
pub(super) fn push_combined(entry: &Entry<'_>, to: &mut Vec<u8>) {
    to.extend_from_slice(b"] \"");
    push_request_line(entry, to);
    to.extend_from_slice(b"\" ");
    push_number(to, u64::from(entry.status));
    to.push(b' ');
    push_number(to, entry.bytes_out);
    to.extend_from_slice(b" \"-\" \"");
    push_bare(to, entry.user_agent, 256);
    to.extend_from_slice(b"\"\n");
}

fn push_request_line(entry: &Entry<'_>, to: &mut Vec<u8>) {
    for (words, max) in [(entry.method.as_bytes(), 32), (without_query(entry.path), 1024)] {
        push_bare(to, words, max);
        to.push(b' ');
    }
    push_bare(to, entry.protocol.as_bytes(), 16);
}

/// Words within quotes, or `-`. What is not plain ASCII is written as `\xHH`, as web servers do, so that no byte of a
/// client ends a field or a line.
fn push_bare(to: &mut Vec<u8>, words: &[u8], max: usize) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if words.is_empty() {
        return to.push(b'-');
    }
    for byte in &words[..words.len().min(max)] {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                to.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
            }
            plain => to.push(*plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::LineFormat;
    use super::*;
    use crate::model::Reason;
    use proptest::prelude::*;

    fn line(format: Format, entry: &Entry<'_>) -> String {
        let mut to = Vec::new();
        LineFormat::new(format).write(entry, &mut to);
        String::from_utf8(to).unwrap()
    }

    fn entry() -> Entry<'static> {
        Entry {
            unix_ms: 1_795_249_560_007,
            listener: "public",
            client: Some("192.0.2.7".parse().unwrap()),
            method: "GET",
            host: b"shop.example.com",
            path: "/cart?secret=1",
            service: "shop",
            cohort: "beta",
            variant: "canary",
            reason: Some(Reason::Split),
            rev: "3f9c21",
            status: 503,
            flags: "UF",
            duration_us: 12_345,
            upstream_us: Some(11_999),
            bytes_in: 5,
            bytes_out: 17,
            protocol: "HTTP/1.1",
            request_id: b"r-1",
            trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
            endpoint: "10.0.0.1:80",
            user_agent: b"curl/8 \"x\"\n",
            ..Entry::default()
        }
    }

    #[test]
    fn lines_read_as_those_of_other_programs() {
        assert_eq!(
            line(Format::Envoy, &entry()),
            "[2026-11-21T08:26:00.007Z] \"GET /cart HTTP/1.1\" 503 UF 5 17 12 11 \"192.0.2.7\" \
             \"curl/8 \\x22x\\x22\\x0A\" \"r-1\" \"shop.example.com\" \"10.0.0.1:80\"\n"
        );
        assert_eq!(
            line(Format::Combined, &entry()),
            "192.0.2.7 - - [21/Nov/2026:08:26:00 +0000] \"GET /cart HTTP/1.1\" 503 17 \"-\" \"curl/8 \\x22x\\x22\\x0A\"\n"
        );
        let ecs: serde_json::Value = serde_json::from_str(&line(Format::Ecs, &entry())).unwrap();
        for (name, value) in [
            ("@timestamp", serde_json::json!("2026-11-21T08:26:00.007Z")),
            ("event.duration", 12_345_000.into()),
            ("event.outcome", "failure".into()),
            ("http.response.status_code", 503.into()),
            ("http.version", "1.1".into()),
            ("url.path", "/cart".into()),
            ("labels.cohort", "beta".into()),
            ("trace.id", "4bf92f3577b34da6a3ce929d0e0e4736".into()),
        ] {
            assert_eq!(ecs[name], value, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let nothing = Entry { unix_ms: 1_795_249_560_007, ..Entry::default() };
        assert_eq!(
            line(Format::Envoy, &nothing),
            "[2026-11-21T08:26:00.007Z] \"- - -\" 0 - 0 0 0 - \"-\" \"-\" \"-\" \"-\" \"-\"\n"
        );
        assert_eq!(line(Format::Combined, &nothing), "- - - [21/Nov/2026:08:26:00 +0000] \"- - -\" 0 0 \"-\" \"-\"\n");
    }

    proptest! {
        #[test]
        fn no_byte_of_a_client_ends_a_line_or_a_field(
            agent in proptest::collection::vec(any::<u8>(), 0..300),
            host in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let entry = Entry { user_agent: &agent, host: &host, ..entry() };
            let (envoy, combined) = (line(Format::Envoy, &entry), line(Format::Combined, &entry));
            prop_assert_eq!((envoy.matches('"').count(), combined.matches('"').count()), (12, 6));
            prop_assert!(envoy.is_ascii() && combined.is_ascii());
            prop_assert_eq!((envoy.matches('\n').count(), combined.matches('\n').count()), (1, 1));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line(Format::Ecs, &entry)).is_ok());
        }
    }
}
