//! What is said about a request: to the client in short texts, to people in the access log, with Envoy's flags.

use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};

const YAML: &str = "
listeners: [{ address: 127.0.0.1:0, limits: { maxBodyBytes: 100B }, timeouts: { idle: 500ms } }]
telemetry: { address: 127.0.0.1:0, accessLog: { path: $dir/access.log } }
services:
  shop: { variants: { stable: { endpoints: [$stable] } } }
  slow: { variants: { stable: { endpoints: [$stable] } } }
  gone: { variants: { stable: { endpoints: [\"127.0.0.1:1\"] } } }
routes:
  - { name: shop, hostnames: [shop], service: shop }
  - { name: slow, hostnames: [slow], service: slow, timeouts: { request: 100ms } }
  - { name: gone, hostnames: [gone], service: gone }
";

/// Requests, with the status, the text, the flags and the outcome of each.
const CASES: [(&str, u16, &str, &str); 13] = [
    ("GET /a?secret HTTP/1.1\r\nhost: shop\r\n\r\n", 200, "", ""),
    ("GET / HTTP/1.1\r\n\r\n", 400, "the request has no host", "DPE"),
    (
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        400,
        "the request target and the host header name different hosts",
        "DPE",
    ),
    ("GET /%2f HTTP/1.1\r\nhost: shop\r\n\r\n", 400, "the path has an encoded slash", "DPE"),
    ("GET * HTTP/1.1\r\nhost: shop\r\n\r\n", 400, "the request target is not one that a proxy serves", "DPE"),
    ("TRACE / HTTP/1.1\r\nhost: shop\r\n\r\n", 405, "CONNECT and TRACE are not served", "DPE"),
    ("GET / HTTP/1.1\r\nhost: shop\r\nexpect: x\r\n\r\n", 417, "the expectation is not 100-continue", "DPE"),
    ("GET / HTTP/1.1\r\nhost: nobody\r\n\r\n", 404, "no route for this request", "NR"),
    ("GET / HTTP/1.1\r\nhost: gone\r\n\r\n", 503, "no endpoint of the service is reachable", "UF"),
    ("GET /hang HTTP/1.1\r\nhost: slow\r\n\r\n", 504, "the service took too long", "UT"),
    ("GET /reset HTTP/1.1\r\nhost: shop\r\n\r\n", 502, "the service closed the connection", "UC"),
    ("GET /junk HTTP/1.1\r\nhost: shop\r\n\r\n", 502, "the service sent an invalid answer", "UPE"),
    ("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: 9\r\n\r\nabc", 408, "the request body came too slowly", "SI"),
];

#[test]
fn each_local_answer_says_why_and_the_log_says_whose_fault() {
    let upstream = Recording::start(|exchange| match exchange.seen.target.as_str() {
        "/hang" => {
            exchange.wait_for_close();
            exchange.close();
        }
        "/reset" => exchange.reset(),
        "/junk" => {
            exchange.send("HTTP/9.9 yes\r\n\r\n");
            exchange.close();
        }
        _ => exchange.ok(""),
    });
    let setup = Setup { upstreams: vec![("stable", upstream.address)], ..Setup::default() };
    let proxy = Proxy::set_up(YAML, &setup);
    for (request, status, text, _) in CASES {
        let response = proxy.ask(request);
        let expected = if text.is_empty() { String::new() } else { format!("{status} {text}\n") };
        assert_eq!((response.status, response.text()), (status, expected), "{request}");
        if !text.is_empty() {
            assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
    }
    let mut head = proxy.connect();
    let response = head.send("HEAD / HTTP/1.1\r\nhost: nobody\r\n\r\n").response_to("HEAD");
    assert_eq!((response.status, response.header("content-length")), (404, Some("30")));
    let log = lines(&proxy, CASES.len() + 1);
    for ((request, status, _, flags), line) in CASES.iter().zip(&log) {
        let said = (line["status"].as_u64(), line["flags"].as_str().unwrap_or_default());
        assert_eq!(said, (Some(u64::from(*status)), *flags), "{request} {line}");
    }
    let (first, line) = (&upstream.seen()[0], &log[0]);
    assert_eq!((&line["path"], &line["route"], &line["variant"]), (&"/a".into(), &"shop".into(), &"stable".into()));
    assert_eq!(line["request_id"].as_str(), first.header("x-request-id"));
    assert_eq!(line["trace_id"].as_str(), first.header("traceparent").map(|context| &context[3..35]));
    assert_eq!(line["endpoint"], upstream.address.to_string());
}

/// The log once it has so many lines.
fn lines(proxy: &Proxy, count: usize) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    crate::support::raw::eventually("the access log", || {
        let text = std::fs::read_to_string(proxy.file("access.log")).unwrap_or_default();
        lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.len() >= count
    });
    lines
}

/// RFC 9110 §5.5 and D26: what a client sends cannot end a line of the log or begin a field.
#[test]
fn a_client_cannot_write_into_the_log() {
    let upstream = Recording::echo();
    let setup = Setup { upstreams: vec![("stable", upstream.address)], ..Setup::default() };
    let proxy = Proxy::set_up(YAML, &setup);
    let agents: [&[u8]; 4] = [b"\",\"level\":\"x", b"\x1b[31mred", b"\xff\xfe\xe2\x80\xae", &[b'a'; 20_000]];
    for agent in agents {
        let request = [b"GET / HTTP/1.1\r\nhost: shop\r\nuser-agent: ", agent, b"\r\n\r\n"].concat();
        // hyper refuses control characters by itself, before there is a request to log
        let status = proxy.ask(request).status;
        assert_eq!(status, if agent.contains(&0x1b) { 400 } else { 200 });
    }
    for line in lines(&proxy, 3) {
        assert!(line.get("level").is_none(), "{line}");
        assert!(line["user_agent"].as_str().unwrap().len() <= 4096);
    }
}

/// D26: every field that a client can fill, with everything that could end a line, begin a field, or deceive who reads it.
#[test]
fn no_field_of_a_client_deceives_who_reads_the_log() {
    let upstream = Recording::echo();
    let setup = Setup { upstreams: vec![("stable", upstream.address)], ..Setup::default() };
    let proxy = Proxy::set_up(YAML, &setup);
    // what lines have of themselves: of good requests, of refused ones
    let mut expected = 0;
    for request in [
        "GET / HTTP/1.1\r\nhost: shop\r\nuser-agent: a\r\n\r\n",
        "GET /%2f HTTP/1.1\r\nhost: shop\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        proxy.ask(request);
        expected += 1;
    }
    let keys = |line: &serde_json::Value| line.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    let known: std::collections::BTreeSet<String> = lines(&proxy, expected).iter().flat_map(keys).collect();
    let mut tried = 0;
    for payload in payloads() {
        for name in [
            "user-agent",
            "referer",
            "x-request-id",
            "traceparent",
            "tracestate",
            "x-forwarded-for",
            "cookie",
            "host",
            "grpc-status",
        ] {
            let host = if name == "host" { "" } else { "host: shop\r\n" };
            let head = format!("GET / HTTP/1.1\r\nconnection: close\r\n{host}{name}: ");
            proxy.ask([head.as_bytes(), payload, b"\r\n\r\n"].concat());
            tried += 1;
        }
        for (before, after) in [("GET /", ""), ("GET /?q=", ""), ("GET http://shop/", ""), ("", " /")] {
            let (before, after) = (before.as_bytes(), after.as_bytes());
            proxy.ask([before, payload, after, b" HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"].concat());
            tried += 1;
        }
    }
    proxy.ask([&b"GET / HTTP/1.1\r\nhost: shop\r\nuser-agent: "[..], &vec![b'a'; 1 << 20], b"\r\n\r\n"].concat());
    proxy.ask("GET /last HTTP/1.1\r\nhost: shop\r\n\r\n");
    crate::support::raw::eventually("the last line", || {
        std::fs::read_to_string(proxy.file("access.log")).unwrap().contains("\"/last\"")
    });
    let text = std::fs::read_to_string(proxy.file("access.log")).unwrap();
    let deceives = |character: &char| *character != '\n' && ringway::model::is_deceiving(*character);
    assert_eq!(text.chars().find(deceives), None);
    let read: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &read {
        let strange: Vec<String> = keys(line).into_iter().filter(|key| !known.contains(key)).collect();
        assert!(strange.is_empty(), "{strange:?}: {line}");
        assert!(line.to_string().len() < 40_000);
    }
    println!(
        "{} payloads in a field each, {} lines, each one JSON object with fields of ours alone",
        tried + 1,
        read.len()
    );
    assert!(read.len() >= 60, "{} of {tried} were logged", read.len());
}

/// What could end a line, begin a field, or be shown as something else than it is.
fn payloads() -> [&'static [u8]; 12] {
    [
        b"x\",\"level\":\"x",
        b"\"}\\n{\"status\":200}",
        b"\\\",\"a\":\"",
        b"\t\"}",
        "\u{202e}dekcolb".as_bytes(),
        "\u{9b}31mred\u{85}next".as_bytes(),
        "\u{feff}\u{2028}{}".as_bytes(),
        b"\xff\xfe\xc0\x80",
        b"%0d%0a%1b[31m",
        b"${jndi:ldap://x}",
        &[b'"'; 6_000],
        "\u{e0041}".as_bytes(),
    ]
}
