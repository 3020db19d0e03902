//! D11: who may say where a request came from. What we say is always there, and always ours.

use crate::support::recording::{Recording, Seen};
use crate::support::server::Proxy;

/// The trusted peer is 127.0.0.9; everybody else speaks for himself.
const YAML: &str = "
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32, 10.0.0.0/8] }]
geo: { header: cf-ipcountry }
services:
  shop:
    hashOn: [{ header: x-user-id }, clientIP]
    variants:
      stable: { weight: 100, endpoints: [$stable] }
      canary: { weight: 0, endpoints: [$stable] }
    cohorts:
      - { name: nordic, when: { geo: { countries: [NO] } }, weights: { canary: 100 } }
      - { name: staff, when: { header: { name: x-employee, exact: \"1\" } }, weights: { canary: 100 } }
      - { name: office, when: { clientIP: [192.0.2.0/24] }, weights: { canary: 100 } }
";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Story {
    proxy: Proxy,
    upstream: Recording,
}

impl Story {
    fn begin() -> Story {
        let upstream = Recording::echo();
        let proxy = Proxy::start(YAML, &[("stable", upstream.address)]);
        Story { proxy, upstream }
    }

    /// What the service sees of a request with these lines.
    fn sends(&self, is_trusted: bool, lines: &str) -> Seen {
        let mut client = if is_trusted { self.proxy.connect_trusted() } else { self.proxy.connect() };
        client.send(format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\n{lines}\r\n"));
        assert_eq!(client.response().status, 200, "{lines}");
        self.upstream.last()
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.as_bytes()[14] == b'4'
}

/// Lines that say where a request came from, the name to look for, and what the service sees of it from a peer that
/// is not trusted and from one that is. `None`: nothing.
const ORIGINS: [(&str, &str, Option<&str>, Option<&str>); 18] = [
    ("", "x-forwarded-for", Some("127.0.0.1"), Some("127.0.0.9")),
    ("x-forwarded-for: 192.0.2.7\r\n", "x-forwarded-for", Some("127.0.0.1"), Some("192.0.2.7, 127.0.0.9")),
    (
        "X-FORWARDED-FOR: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n",
        "x-forwarded-for",
        Some("127.0.0.1"),
        Some("1.1.1.1, 2.2.2.2, 127.0.0.9"),
    ),
    ("x-forwarded-for: junk\r\n", "x-forwarded-for", Some("127.0.0.1"), Some("junk, 127.0.0.9")),
    ("", "x-forwarded-proto", Some("http"), Some("http")),
    ("x-forwarded-proto: https\r\n", "x-forwarded-proto", Some("http"), Some("https")),
    ("", "x-forwarded-host", Some("shop.example.com"), Some("shop.example.com")),
    ("x-forwarded-host: evil\r\n", "x-forwarded-host", Some("shop.example.com"), Some("evil")),
    ("x-forwarded-port: 1\r\n", "x-forwarded-port", None, Some("1")),
    ("x-forwarded-prefix: /a\r\n", "x-forwarded-prefix", None, Some("/a")),
    ("x-forwarded-server: a\r\n", "x-forwarded-server", None, Some("a")),
    ("x-real-ip: 192.0.2.7\r\n", "x-real-ip", None, Some("192.0.2.7")),
    ("forwarded: for=192.0.2.7\r\n", "forwarded", None, Some("for=192.0.2.7")),
    ("cf-ipcountry: NO\r\n", "cf-ipcountry", None, Some("NO")),
    ("x-ringway-cohort: nordic\r\n", "x-ringway-cohort", Some("everyone"), Some("everyone")),
    ("X-Ringway-Variant: canary\r\nx-ringway-variant: canary\r\n", "x-ringway-variant", Some("stable"), Some("stable")),
    ("x-ringway-service: other\r\n", "x-ringway-service", Some("shop"), Some("shop")),
    ("x-ringway-anything: x\r\n", "x-ringway-anything", None, None),
];

#[test]
fn origins_are_believed_from_trusted_peers_only() {
    let story = Story::begin();
    for (lines, name, untrusted, trusted) in ORIGINS {
        let seen = story.sends(false, lines);
        assert_eq!(seen.header(name), untrusted, "{lines} from nobody in particular");
        let seen = story.sends(true, lines);
        // the country decides about the cohort, which is not what these lines are about
        assert_eq!(seen.header(name), trusted, "{lines} from a trusted peer");
    }
}

/// What is believed decides about the cohort, and what is not does not.
#[test]
fn cohorts_follow_what_is_believed() {
    let story = Story::begin();
    for (lines, untrusted, trusted) in [
        ("", "everyone", "everyone"),
        ("cf-ipcountry: NO\r\n", "everyone", "nordic"),
        ("cf_ipcountry: NO\r\n", "everyone", "everyone"),
        ("cf.ipcountry: NO\r\n", "everyone", "everyone"),
        ("x-employee: 1\r\n", "staff", "staff"),
        ("x_employee: 1\r\n", "everyone", "everyone"),
        ("x-forwarded-for: 192.0.2.7\r\n", "everyone", "office"),
        ("x_forwarded_for: 192.0.2.7\r\n", "everyone", "everyone"),
        ("x-forwarded-for: 192.0.2.7, 10.0.0.1\r\n", "everyone", "office"),
        // the entry right of the forged one was written by somebody we do not trust
        ("x-forwarded-for: 192.0.2.7, 198.51.100.1\r\n", "everyone", "everyone"),
        ("x-forwarded-for: 192.0.2.7\r\nx-forwarded-for: 198.51.100.1\r\n", "everyone", "everyone"),
        ("x-forwarded-for: 198.51.100.1\r\nx-forwarded-for: 192.0.2.7\r\n", "everyone", "office"),
        ("x-real-ip: 192.0.2.7\r\n", "everyone", "everyone"),
        ("forwarded: for=192.0.2.7\r\n", "everyone", "everyone"),
        ("x-ringway-cohort: staff\r\n", "everyone", "everyone"),
    ] {
        assert_eq!(story.sends(false, lines).header("x-ringway-cohort"), Some(untrusted), "{lines} untrusted");
        assert_eq!(story.sends(true, lines).header("x-ringway-cohort"), Some(trusted), "{lines} trusted");
    }
}

/// R1: a `Connection` header cannot take away what we add, nor what rules look at (CVE-2024-45410).
#[test]
fn connection_cannot_name_what_we_add() {
    let story = Story::begin();
    let tokens = [
        "x-forwarded-for, X-Forwarded-Proto, x-forwarded-host",
        "X-Ringway-Cohort, x-ringway-variant, x-ringway-service",
        "via, traceparent, x-request-id",
        "X-Employee, host, authorization, cookie, content-length",
        "close, X-FORWARDED-FOR,X-RINGWAY-COHORT , , \"x-employee\"",
    ];
    for tokens in tokens {
        let lines = format!(
            "connection: {tokens}\r\nx-employee: 1\r\nauthorization: Bearer a\r\ncookie: a=b\r\n\
             x-forwarded-for: 6.6.6.6\r\ntraceparent: {TRACE}\r\n"
        );
        let seen = story.sends(false, &lines);
        let expected = [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example.com"),
            ("x-ringway-service", "shop"),
            ("x-ringway-cohort", "staff"),
            ("x-ringway-variant", "canary"),
            ("x-employee", "1"),
            ("authorization", "Bearer a"),
            ("cookie", "a=b"),
            ("traceparent", TRACE),
            ("host", "shop.example.com"),
        ];
        for (name, value) in expected {
            assert_eq!(seen.header(name), Some(value), "{tokens}");
        }
        assert!(seen.header("via").is_some() && seen.header("x-request-id").is_some(), "{tokens}");
        assert_eq!(seen.header("connection"), None, "{tokens}");
    }
}

/// Other spellings, which many services read as the same name, do not get past us.
#[test]
fn aliases_of_names_that_count_are_removed() {
    let story = Story::begin();
    let names = [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "x-ringway-cohort",
        "x-ringway-variant",
        "x-ringway-service",
        "x-request-id",
        "content-length",
        "transfer-encoding",
        "x-user-id",
        "x-employee",
        "cf-ipcountry",
        "set-cookie",
        "cache-control",
        "content-type",
    ];
    let mut tried = 0;
    for name in names {
        for separator in ["_", "."] {
            for alias in [
                name.replace('-', separator),
                name.replacen('-', separator, 1),
                name.replace('-', separator).to_uppercase(),
            ] {
                for is_trusted in [false, true] {
                    let seen = story.sends(is_trusted, &format!("{alias}: 1\r\n"));
                    assert!(seen.all(&alias).is_empty(), "{alias} reaches the service");
                    tried += 1;
                }
            }
        }
    }
    // names that nobody relies on are nobody's business
    assert_eq!(story.sends(false, "x_other: 1\r\nx.other: 2\r\n").header("x_other"), Some("1"));
    println!("{tried} aliases");
}

/// RFC 9110 §6.5.1: trailers must not say what only headers may.
#[test]
fn trailers_say_nothing_about_origin_or_framing() {
    let story = Story::begin();
    let kept = ["x-checksum", "grpc-status", "server-timing"];
    let dropped = [
        "x-forwarded-for",
        "X-Forwarded-Host",
        "x-real-ip",
        "forwarded",
        "x-ringway-cohort",
        "X-Ringway-Variant",
        "x_ringway_cohort",
        "x.forwarded.for",
        "x-request-id",
        "traceparent",
        "content-length",
        "transfer-encoding",
        "host",
        "authorization",
        "cookie",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "via",
        "keep-alive",
        "proxy-connection",
        "expect",
        "set-cookie",
        // rules of the file look at headers of these names
        "x-user-id",
        "X-Employee",
        "x_employee",
        "cf-ipcountry",
    ];
    let lines: String = kept.iter().chain(&dropped).map(|name| format!("{name}: 1\r\n")).collect();
    let names = [&kept[..], &dropped].concat().join(", ");
    let mut client = story.proxy.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\ntrailer: {names}\r\n\r\n1\r\na\r\n0\r\n{lines}\r\n"
    ));
    assert_eq!(client.response().status, 200);
    let seen = story.upstream.last();
    let came: Vec<&str> = seen.trailers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(came, kept);
    assert_eq!(seen.header("trailer"), Some(kept.join(", ").as_str()));
    assert_eq!(seen.header("x-ringway-cohort"), Some("everyone"));
}

/// W3C Trace Context §3.2, and the request id: what is valid is passed on, what is not is replaced.
#[test]
fn trace_context_and_request_id_are_valid_whatever_comes() {
    let story = Story::begin();
    let contexts = [
        (format!("traceparent: {TRACE}\r\ntracestate: a=1\r\n"), true),
        ("traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n".into(), false),
        (format!("traceparent: {}\r\n", TRACE.to_uppercase()), false),
        (format!("traceparent: {TRACE}\r\ntraceparent: {TRACE}\r\ntracestate: a=1\r\n"), false),
        ("traceparent: <script>alert(1)</script>\r\n".into(), false),
        (format!("traceparent: {TRACE}-extra\r\n"), false),
        (String::new(), false),
    ];
    for (lines, is_kept) in &contexts {
        for is_trusted in [false, true] {
            let seen = story.sends(is_trusted, lines);
            let context = seen.header("traceparent").unwrap();
            assert_eq!((context == TRACE, context.len()), (*is_kept, 55), "{lines}");
            assert_eq!(seen.header("tracestate").is_some(), *is_kept, "{lines}");
        }
    }
    let long = "a".repeat(129);
    for (id, is_good) in [("abc-123", true), ("", false), ("two words", false), (&long, false), ("\u{e9}", false)] {
        let lines = format!("x-request-id: {id}\r\n");
        assert!(is_uuid(story.sends(false, &lines).header("x-request-id").unwrap()), "{id}");
        let trusted = story.sends(true, &lines);
        let got = trusted.header("x-request-id").unwrap();
        assert!(if is_good { got == id } else { is_uuid(got) }, "{id}: {got}");
    }
    let ids: std::collections::HashSet<_> =
        (0..50).map(|_| story.sends(false, "").header("x-request-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 50);
}
