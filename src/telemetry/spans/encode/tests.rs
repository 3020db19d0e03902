//! Spans as the receivers' own code reads them.

#![cfg(test)]

use super::super::Remote;
use super::*;
use crate::model::Reason;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message as _;
use std::collections::BTreeMap;

fn begun() -> Begun {
    Begun { trace: 1 << 127, span: 2, parent: None, link: None, flags: 1, unix_ns: 1_000_000_007, is_https: true }
}

fn read(entry: &Entry<'_>, begun: &Begun, outcome: Outcome) -> (Span, BTreeMap<String, String>) {
    let read = Span::decode(&*span(entry, begun, outcome)).unwrap();
    let shown = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let all: Vec<_> = read.attributes.clone();
    let count = all.len();
    let map: BTreeMap<_, _> = all.into_iter().map(|kv| (kv.key, shown(kv.value.unwrap().value.unwrap()))).collect();
    assert_eq!(map.len(), count, "each attribute once");
    (read, map)
}

#[test]
fn a_request_is_told_in_the_words_of_the_conventions() {
    let entry = Entry {
        listener: "public",
        client: Some("2001:db8::1".parse().unwrap()),
        method: "GET",
        host: b"shop.example.com:8443",
        path: "/cart",
        route: "routes[0]",
        service: "shop",
        cohort: "beta",
        variant: "canary",
        reason: Some(Reason::Split),
        bucket: Some(0),
        rev: "3f9c21",
        status: 200,
        duration_us: 1_500,
        upstream_us: Some(1_200),
        attempts: 2,
        bytes_in: 3,
        bytes_out: 300,
        protocol: "HTTP/2",
        request_id: b"a1b2",
        endpoint: "127.0.0.1:3002",
        user_agent: b"curl/8",
        ..Entry::default()
    };
    let (span, attributes) = read(&entry, &begun(), Outcome::Success);
    assert_eq!((span.name.as_str(), span.kind), ("GET shop", 2));
    assert_eq!((span.trace_id[0], span.trace_id.len(), span.span_id), (0x80, 16, 2_u64.to_be_bytes().to_vec()));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_000_000_007, 1_001_500_007));
    assert_eq!((span.flags, span.status, span.links.len(), span.parent_span_id.len()), (0x101, None, 0, 0));
    let expected = [
        ("client.address", "2001:db8::1"),
        ("feature_flag.key", "shop"),
        ("feature_flag.provider.name", "ringway"),
        ("feature_flag.result.reason", "split"),
        ("feature_flag.result.variant", "canary"),
        ("feature_flag.version", "3f9c21"),
        ("http.request.body.size", "3"),
        ("http.request.method", "GET"),
        ("http.response.body.size", "300"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "2"),
        ("ringway.attempts", "2"),
        ("ringway.bucket", "0"),
        ("ringway.cohort", "beta"),
        ("ringway.endpoint", "127.0.0.1:3002"),
        ("ringway.listener", "public"),
        ("ringway.reason", "split"),
        ("ringway.request_id", "a1b2"),
        ("ringway.route", "routes[0]"),
        ("ringway.upstream_us", "1200"),
        ("server.address", "shop.example.com"),
        ("server.port", "8443"),
        ("url.path", "/cart"),
        ("url.scheme", "https"),
        ("user_agent.original", "curl/8"),
    ];
    assert_eq!(attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn the_server_is_to_blame_for_5xx_and_for_answers_that_break_off() {
    for (status, flags, outcome, error) in [
        (200, "", Outcome::Success, None),
        (404, "NR", Outcome::Rejected, None),
        (0, "DC", Outcome::Cancelled, None),
        (503, "UF", Outcome::Error, Some("503")),
        (200, "UC", Outcome::Error, Some("UC")),
        (0, "", Outcome::Error, Some("_OTHER")),
        (500, "", Outcome::Internal, Some("500")),
    ] {
        let entry = Entry { status, flags, method: "POST", ..Entry::default() };
        let (span, attributes) = read(&entry, &begun(), outcome);
        assert_eq!(attributes.get("error.type").map(String::as_str), error, "{status} {flags}");
        assert_eq!(span.status.map(|status| status.code), error.map(|_| 2), "{status} {flags}");
        assert_eq!((span.name.as_str(), attributes.contains_key("http.response.status_code")), ("POST", status != 0));
        assert!(!attributes.keys().any(|key| key.starts_with("feature_flag.")), "there is no service");
    }
}

#[test]
fn the_caller_is_the_parent_or_linked() {
    let parent = Begun { parent: Some(9), flags: 3, ..begun() };
    let (span, _) = read(&Entry::default(), &parent, Outcome::Success);
    assert_eq!((span.parent_span_id, span.flags), (9_u64.to_be_bytes().to_vec(), 0x303));
    let linked = Begun { link: Some(Remote { trace: 5, span: 6, flags: 1 }), ..begun() };
    let (span, _) = read(&Entry::default(), &linked, Outcome::Success);
    let link = &span.links[0];
    assert_eq!((&link.trace_id[15], &link.span_id[7], link.flags), (&5, &6, 0x301));
    assert!(span.parent_span_id.is_empty());
}

#[test]
fn hosts_have_an_address_and_perhaps_a_port() {
    for (host, expected) in [
        ("a.example", ("a.example", None)),
        ("a.example:80", ("a.example", Some(80))),
        ("[2001:db8::1]:8443", ("2001:db8::1", Some(8443))),
        ("[::1]", ("::1", None)),
        ("a:99999", ("a:99999", None)),
        ("", ("", None)),
    ] {
        assert_eq!(address_and_port(host), expected, "{host}");
    }
}

proptest! {
    /// Whatever clients send, a receiver can read the span, and it stays small.
    #[test]
    fn texts_of_clients_are_cut_and_harmless(
        bytes in proptest::collection::vec(any::<u8>(), 0..3_000),
        path in ".{0,2000}",
        method in "[A-Z\u{1b}]{0,40}",
    ) {
        let entry = Entry { method: &method, host: &bytes, user_agent: &bytes, request_id: &bytes, path: &path, ..Entry::default() };
        let (span, attributes) = read(&entry, &begun(), Outcome::Success);
        prop_assert!(span.encoded_len() < super::super::BYTES_MAX);
        for (key, value) in attributes {
            prop_assert!(!value.chars().any(crate::model::is_deceiving), "{}: {:?}", key, value);
        }
    }
}
