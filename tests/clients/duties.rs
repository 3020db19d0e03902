//! What RFC 9110 and RFC 9112 ask of an intermediary, row by row of the table R1 to R26. Rows that have a file of their
//! own: R5, R7 (ordinary), R12, R13, R19 (framing), R16, R17 (hosts), R21 to R24 (http2), R25 (upgrades); R14, R15 and
//! R20 are about the service's side.

use crate::support::raw::Response;
use crate::support::recording::Recording;
use crate::support::server::Proxy;

/// RFC 9110 §7.6.1.
#[test]
fn r1_fields_of_a_connection_end_with_it() {
    let upstream = Recording::start(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nconnection: X-Hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
             proxy-connection: keep-alive\r\nupgrade: h2c\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n",
        );
    });
    let proxy = Proxy::before(&upstream);
    let response = proxy.ask(
        "GET / HTTP/1.1\r\nHost: shop\r\nConnection: Keep-Alive, X-Hop\r\nCONNECTION: x-other\r\nx-hop: 1\r\n\
         X-OTHER: 1\r\nKeep-Alive: 300\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nx-kept: 1\r\n\r\n",
    );
    let seen = upstream.last();
    for name in ["connection", "x-hop", "x-other", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(seen.header(name), None, "{name} reaches the service");
        assert_eq!(response.header(name), None, "{name} reaches the client");
    }
    assert_eq!((seen.header("x-kept"), response.header("x-kept")), (Some("1"), Some("1")));
}

/// RFC 9110 §7.6.3.
#[test]
fn r2_a_request_is_signed_and_a_loop_is_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    proxy.get("/", "");
    let mine = upstream.last().header("via").unwrap().to_owned();
    assert!(mine.starts_with("1.1 ringway-"), "{mine}");
    proxy.get("/", "via: 1.0 fred, 1.1 p.example.net\r\n");
    assert_eq!(upstream.last().all("via"), ["1.0 fred, 1.1 p.example.net", &mine]);
    for via in [mine.clone(), format!("1.0 fred, {mine} , 1.1 other"), format!("1.0 a\r\nVIA: {mine}")] {
        let response = proxy.get("/", &format!("via: {via}\r\n"));
        assert_eq!((response.status, upstream.count()), (508, 2), "{via}");
    }
    // another Ringway is not a loop
    assert_eq!(proxy.get("/", "via: 1.1 ringway-00000000, 1.1 ringway\r\n").status, 200);
}

/// RFC 9110 §7.6.2.
#[test]
fn r3_max_forwards_is_counted_down() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let options =
        |target: &str, lines: &str| proxy.ask(format!("OPTIONS {target} HTTP/1.1\r\nhost: shop\r\n{lines}\r\n"));
    let last_hop = options("/", "max-forwards: 0\r\n");
    assert_eq!((last_hop.status, last_hop.header("allow").is_some()), (204, true));
    assert_eq!(options("*", "").status, 204);
    assert_eq!(upstream.count(), 0);
    options("/", "max-forwards: 5\r\n");
    assert_eq!(upstream.last().header("max-forwards"), Some("4"));
    // for other methods it means nothing, and what is no number is left alone
    proxy.get("/", "max-forwards: 0\r\n");
    assert_eq!(upstream.last().header("max-forwards"), Some("0"));
    options("/", "max-forwards: many\r\n");
    assert_eq!(upstream.last().header("max-forwards"), Some("many"));
}

/// RFC 9110 §9.2.2.
#[test]
fn r4_what_may_have_been_done_is_not_done_again() {
    let upstream = Recording::start(|exchange| {
        if exchange.seen.target == "/first" {
            exchange.ok("");
        } else {
            exchange.close();
        }
    });
    let proxy = Proxy::before(&upstream);
    // the second request goes out on the connection of the first one, and is never answered
    proxy.get("/first", "");
    let response = proxy.ask("POST /once HTTP/1.1\r\nhost: shop\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(response.status, 502);
    let posts = upstream.seen().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!((posts, upstream.connections()), (1, 1));
}

/// RFC 9110 §15.2, to clients of HTTP/1.1; those of 1.0 do not know them. HTTP/2: `http2::ordinary`.
#[test]
fn r6_informational_answers_are_passed_on() {
    let upstream = Recording::start(|exchange| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x\r\nx: y\r\n\r\n";
        let informational = format!("HTTP/1.1 100 Continue\r\n\r\n{hints}HTTP/1.1 102 Processing\r\n\r\n");
        exchange.send(format!("{informational}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    for _ in 0..3 {
        let response = client.send("GET / HTTP/1.1\r\nhost: shop\r\n\r\n").response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!((response.informational.as_slice(), response.header("link")), (&[103, 102][..], None));
    }
    let old = proxy.ask("GET / HTTP/1.0\r\nhost: shop\r\n\r\n");
    assert_eq!((old.status, old.informational.len()), (200, 0));
    assert_eq!(upstream.connections(), 1);
}

/// RFC 8297: of use only when they come before the answer does.
#[test]
fn r6_early_hints_are_early() {
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x\r\nx: y\r\n\r\n");
        if exchange.seen.target == "/never" {
            exchange.wait_for_close();
        }
    });
    let proxy = Proxy::before(&upstream);
    let mut client = proxy.connect();
    client.send("GET /never HTTP/1.1\r\nhost: shop\r\n\r\n");
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&client.bytes(hints.len())), hints);
}

/// RFC 9110 §5.1 and §5.3.
#[test]
fn r8_unknown_fields_and_their_order_are_kept() {
    let upstream = Recording::start(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nx-new: 1\r\nset-cookie: b=2\r\nx-new: 2, 3\r\nset-cookie: c=3\r\n\
             content-length: 0\r\n\r\n",
        );
    });
    let proxy = Proxy::before(&upstream);
    let response =
        proxy.get("/", "x-new: 1\r\nx-empty:\r\nx-between: 1\r\nx-new: 2, 3\r\nX-New: \t4 \r\nx-latin: \u{e9}\r\n");
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2", "c=3"]);
    assert_eq!(response.all("x-new"), ["1", "2, 3"]);
    let seen = upstream.last();
    assert_eq!(seen.all("x-new"), ["1", "2, 3", "4"]);
    assert_eq!((seen.header("x-empty"), seen.header("x-latin")), (Some(""), Some("\u{c3}\u{a9}")));
}

/// RFC 9110 §5.5; the full table is in hosts and framing.
#[test]
fn r9_values_with_control_characters_are_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    for byte in (0..0x20_u8).chain([0x7f]).filter(|byte| ![b'\t', b'\n'].contains(byte)) {
        let request = [b"GET / HTTP/1.1\r\nhost: shop\r\nx: a", &[byte][..], b"b\r\n\r\n"].concat();
        assert_eq!(proxy.ask(request).status, 400, "{byte:#x}");
    }
    assert_eq!(upstream.byte_count(), 0);
}

/// RFC 9110 §11.6.2, §11.7, §10.2.1, §12.5.5.
#[test]
fn r10_what_is_between_the_two_ends_is_not_touched() {
    let kept = "www-authenticate: Basic realm=\"a\"\r\nallow: GET, PROPFIND\r\nvary: accept, cookie\r\n\
                server: shop/1\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\nage: 7\r\netag: W/\"a\"\r\n\
                content-encoding: gzip\r\ncache-control: no-transform\r\n";
    let answer = format!("HTTP/1.1 401 Who Are You\r\n{kept}content-length: 0\r\n\r\n");
    let upstream = Recording::bytes_always(answer);
    let proxy = Proxy::before(&upstream);
    let request = "authorization: Basic YTpi\r\nproxy-authorization: Basic YTpi\r\naccept-encoding: br;q=0.1\r\n\
                   cache-control: no-cache\r\nuser-agent: a (b)\r\n";
    let response = proxy.get("/", request);
    for (lines, got) in [(kept, &response.headers), (request, &upstream.last().headers)] {
        for line in lines.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(crate::support::raw::all(got, name), [value], "{name}");
        }
    }
}

/// RFC 9110 §13: conditions are for whoever has the resource.
#[test]
fn r11_conditions_and_ranges_pass() {
    let upstream = Recording::start(|exchange| {
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/10\r\naccept-ranges: bytes\r\n";
        exchange.send(format!("{head}content-length: 2\r\n\r\nab"));
    });
    let proxy = Proxy::before(&upstream);
    let lines = "if-none-match: \"a\"\r\nif-modified-since: Tue, 15 Nov 1994 08:12:31 GMT\r\nrange: bytes=0-1\r\nif-range: \"a\"\r\n";
    let response = proxy.get("/", lines);
    assert_eq!((response.status, response.header("content-range")), (206, Some("bytes 0-1/10")));
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        assert_eq!(upstream.last().header(name), Some(value));
    }
}

/// RFC 9112 §6.3 and §7: the plainest cases; thousands more are in framing.
#[test]
fn r12_r13_r19_the_textbook_cases_of_framing() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let post = |lines: &str| proxy.ask(format!("POST / HTTP/1.1\r\nhost: shop\r\n{lines}")).status;
    for refused in [
        "content-length: 5, 5\r\n\r\nhello",
        "content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "content-length: +5\r\n\r\nhello",
        "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: foo, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        // a length and chunks: §6.3 would allow to believe the chunks, but not everybody does
        "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    ] {
        assert_eq!(post(refused), 400, "{refused}");
    }
    assert_eq!(upstream.byte_count(), 0);
    // extensions are for this hop
    assert_eq!(post("transfer-encoding: chunked\r\n\r\n1;name=\"val\"\r\na\r\n0;x\r\n\r\n"), 200);
    assert!(!upstream.bytes().concat().windows(4).any(|bytes| bytes == b"name"));
}

/// RFC 9110 §2.5, RFC 9112 §2.3: each message has its sender's version.
#[test]
fn r18_the_version_is_our_own() {
    let upstream = Recording::bytes_always("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let proxy = Proxy::before(&upstream);
    let modern: Response = proxy.get("/", "");
    assert_eq!((modern.version.as_str(), modern.text().as_str()), ("HTTP/1.1", "ok"));
    proxy.ask("GET / HTTP/1.0\r\nhost: shop\r\n\r\n");
    assert!(upstream.seen().iter().all(|seen| seen.version == "HTTP/1.1"));
}

/// RFC 9110 §15.5.20: a service may say 421, and for a host that is not here there is 404.
#[test]
fn r26_misdirected_requests() {
    let upstream = Recording::bytes_always("HTTP/1.1 421 Misdirected Request\r\ncontent-length: 0\r\n\r\n");
    let proxy = Proxy::before(&upstream);
    assert_eq!(proxy.get("/", "").status, 421);
}
