//! D6 and R21 to R24: what HTTP/2 adds to the ways in which a request can be read twice (RFC 9113 §8).

use super::client::{Sender, ask, ask_with, begin, connect, finish, get, request, run};
use super::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, fields, frame};
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use http::{HeaderMap, Method, Request, Uri, Version};

fn of(uri: Uri, method: Method, lines: &[(&'static str, &str)]) -> Request<()> {
    let mut request = get("/", lines);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request
}

fn uri(scheme: &str, authority: &str, path: &str) -> Uri {
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().unwrap()
}

async fn status(sender: &mut Sender, request: Request<()>) -> u16 {
    let text = format!("{request:?}");
    ask(sender, request).await.unwrap_or_else(|error| panic!("{error}: {text}")).status
}

/// RFC 9113 §8.3.1, R22.
#[test]
fn host_and_authority_must_agree() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        for (authority, hosts, expected) in [
            ("shop", &[][..], 200),
            ("shop", &["shop"], 200),
            ("SHOP", &["shop"], 200),
            ("shop:81", &["shop:81"], 200),
            ("shop", &["evil"], 400),
            ("evil", &["shop"], 400),
            ("shop", &["shop:81"], 400),
            ("shop", &["shop", "shop"], 400),
            ("shop", &["shop", "evil"], 400),
            ("shop", &[""], 400),
            ("shop", &["a, b"], 400),
            ("user@shop", &[], 400),
            ("user:pass@shop", &["shop"], 400),
            ("shop:0", &[], 400),
            ("shop:99999", &[], 400),
            ("a..b", &[], 400),
        ] {
            let mut request = of(uri("http", authority, "/"), Method::GET, &[]);
            for host in hosts {
                request.headers_mut().append("host", host.parse().unwrap());
            }
            let before = upstream.count();
            assert_eq!(status(&mut sender, request).await, expected, "{authority} {hosts:?}");
            assert_eq!(upstream.count() - before, usize::from(expected == 200), "{authority} {hosts:?}");
            if expected == 200 {
                assert_eq!(upstream.last().header("host"), Some(authority));
            }
        }
    });
}

/// Targets that HTTP/2 lets pass and HTTP/1.1 has no words for.
#[test]
fn targets_are_checked_again() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        for (scheme, path, method, expected) in [
            ("ftp", "/", Method::GET, 400),
            ("http", "*", Method::GET, 400),
            ("http", "*", Method::OPTIONS, 204),
            ("http", "/a%2fb", Method::GET, 400),
            ("http", "/a%00", Method::GET, 400),
            ("http", "/..;/a", Method::GET, 400),
            ("http", "/", Method::TRACE, 405),
            ("https", "/", Method::GET, 200),
        ] {
            let got = status(&mut sender, of(uri(scheme, "shop", path), method.clone(), &[])).await;
            assert_eq!(got, expected, "{method} {scheme} {path}");
        }
        let long = format!("/{}", "a".repeat(8192));
        assert_eq!(status(&mut sender, get(&long, &[])).await, 414);
        let mut tunnel = of(Uri::from_static("shop:443"), Method::CONNECT, &[]);
        *tunnel.version_mut() = Version::HTTP_2;
        let (response, _stream) = begin(&mut sender, tunnel, false).await.unwrap();
        assert_eq!(response.await.unwrap().status(), 405);
        assert_eq!(status(&mut sender, get("//evil/../a", &[])).await, 200);
    });
    let targets: Vec<String> = upstream.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["/", "//a"]);
}

/// RFC 9113 §8.2.3, R23: crumbs are one cookie again, and each of them counts against the limit of fields (RFC 9110
/// §5.4; HTTP/2 "bomb").
#[test]
fn crumbs_are_joined_and_counted() {
    let upstream = Recording::echo();
    let proxy = Proxy::before_with(&upstream, "limits: { maxHeaderFields: 20 }");
    run(async {
        let mut sender = connect(proxy.address()).await;
        let lines = [("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d"), ("cookie", "e=f")];
        assert_eq!(status(&mut sender, get("/", &lines)).await, 200);
        assert_eq!(upstream.last().header("cookie"), Some("a=b; c=d; e=f"));
        let many = |name: &'static str, count: usize| get("/", &vec![(name, "a=b"); count]);
        for (request, expected) in
            [(many("cookie", 20), 200), (many("cookie", 21), 431), (many("x-a", 20), 200), (many("x-a", 21), 431)]
        {
            assert_eq!(status(&mut sender, request).await, expected);
        }
        // a block beyond 32 KiB
        let big = "a".repeat(33 * 1024);
        let answer = ask(&mut sender, get("/", &[("x-big", &big)])).await;
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 431), "{answer:?}");
    });
    assert_eq!(upstream.count(), 3);
}

/// RFC 9113 §8.2.2, R23: `te: trailers` is all that is left of TE.
#[test]
fn trailers_and_bodies_pass_whatever_the_method() {
    let upstream = Recording::start(|exchange| {
        let body = exchange.body().to_vec();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
        let body = if body.is_empty() { b"none".to_vec() } else { body };
        exchange.send([format!("{head}{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\nx-sum: 9\r\n\r\n"].concat());
    });
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT, Method::OPTIONS] {
            let lines = [("te", "trailers"), ("trailer", "x-sum")];
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "7".parse().unwrap());
            trailers.insert("x-ringway-cohort", "staff".parse().unwrap());
            let asked = request(method.clone(), "/", &lines);
            let answer = ask_with(&mut sender, asked, b"abc", Some(trailers)).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "abc"), "{method}");
            assert_eq!(answer.trailers["x-sum"], "9");
            let seen = upstream.last();
            assert_eq!((seen.trailer("x-sum"), seen.trailer("x-ringway-cohort")), (Some("7"), None), "{method}");
            assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("te")));
            assert_eq!((seen.header("transfer-encoding"), seen.header("content-length")), (Some("chunked"), None));
        }
        let sized = request(Method::GET, "/", &[("content-length", "3")]);
        assert_eq!(ask_with(&mut sender, sized, b"abc", None).await.unwrap().text(), "abc");
        assert_eq!(upstream.last().header("content-length"), Some("3"));
        assert_eq!(ask(&mut sender, get("/", &[])).await.unwrap().text(), "none");
        assert_eq!(upstream.last().header("transfer-encoding"), None);
    });
}

/// RFC 9113 §8.1.1, R24: a length that is not that of the data makes a request malformed; nobody must take it for whole.
#[test]
fn a_length_that_is_not_the_datas_is_no_request() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        for (length, body) in [("5", "abc"), ("2", "abc"), ("0", "abc")] {
            let asked = request(Method::POST, "/", &[("content-length", length)]);
            let answer = ask_with(&mut sender, asked, body.as_bytes(), None).await;
            assert!(answer.as_ref().map_or(true, |answer| answer.status == 400), "{length}: {answer:?}");
        }
        // the connection goes on
        assert_eq!(status(&mut sender, get("/", &[])).await, 200);
    });
    assert!(upstream.seen().iter().all(|seen| seen.method == "GET" || !seen.is_complete), "{:?}", upstream.seen());
}

/// RFC 9110 §8.6: a length that is right in its first line, and says something else to who reads the second one; and one
/// that is nothing, which some take for a number.
#[test]
fn a_length_is_said_once() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    for lengths in
        [&["5", "0"][..], &["5", "5"], &["5", "6"], &["5", ""], &["", "5"], &["5, 5"], &["+5"], &["0x5"], &["5 "]]
    {
        let fields_of = lengths.iter().map(|length| (&b"content-length"[..], length.as_bytes()));
        let head: Vec<_> = with(b":method", b"POST").into_iter().chain(fields_of).collect();
        let mut client = Frames::connect(proxy.address());
        client.send(frame(HEADERS, END_HEADERS, 1, &fields(&head))).send(frame(DATA, END_STREAM, 1, b"hello"));
        let end = client.end_of(1);
        let is_refused = end.as_ref().is_none_or(|end| end.kind != HEADERS || end.payload[0] == 0x80 | 12);
        assert!(is_refused, "{lengths:?}: {end:?}");
        assert_eq!(upstream.byte_count(), 0, "{lengths:?}");
    }
    let mut client = Frames::connect(proxy.address());
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&good_and(&[(b"content-length", b"")]))));
    assert!(client.end_of(1).is_none_or(|end| end.kind != HEADERS || end.payload[0] == 0x80 | 12));
    assert_eq!(upstream.byte_count(), 0);
}

type Field = (&'static [u8], &'static [u8]);

const GOOD: [Field; 4] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop"), (b":path", b"/")];

fn good_and(more: &[Field]) -> Vec<Field> {
    [&GOOD[..], more].concat()
}

fn without(name: &[u8]) -> Vec<Field> {
    GOOD.into_iter().filter(|(known, _)| *known != name).collect()
}

fn with(name: &'static [u8], value: &'static [u8]) -> Vec<Field> {
    GOOD.into_iter().map(|(known, old)| (known, if known == name { value } else { old })).collect()
}

/// Tricks of H2.TE, H2.CL and request splitting that have been told in public: what would be a line, a request or a frame of
/// its own in HTTP/1.1.
fn told_in_public() -> Vec<Vec<Field>> {
    const FIELDS: [Field; 26] = [
        (b"transfer-encoding", b"identity"),
        (b"transfer-encoding ", b"chunked"),
        (b" transfer-encoding", b"chunked"),
        (b"transfer-encoding:", b"chunked"),
        (b"transfer-encoding: chunked\r\nx", b"1"),
        (b"transfer-encoding\0", b"chunked"),
        (b"transfer-encoding\n", b"chunked"),
        (b"x-a", b"1\r2"),
        (b"x-a", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n"),
        (b"x-a", b"1\r\ntransfer-encoding: chunked"),
        (b"x-a\rx-b", b"1"),
        (b"x-a\nx-b", b"1"),
        (b"x-a\0", b"1"),
        (b"x-\xc3\xa4", b"1"),
        (b"cookie", b"a=b\r\nx-b: 2"),
        (b"host", b"shop\r\nx-b: 2"),
        (b"host", b"evil"),
        (b"content-length", b"+0"),
        (b"content-length", b"-0"),
        (b"content-length", b"0, 0"),
        (b"content-length", b"0x0"),
        (b"content-length", b"0 0"),
        (b"content-length", b"18446744073709551616"),
        (b"te", b"trailers, chunked"),
        (b"te", b"chunked"),
        (b"connection", b"transfer-encoding"),
    ];
    const PSEUDO: [Field; 21] = [
        (b":path", b"/\r\n"),
        (b":path", b"/a\nb"),
        (b":path", b"/a\0"),
        (b":path", b"/a\tb"),
        (b":path", b"/a\x7f"),
        (b":path", b"/\xff"),
        (b":path", b"//shop\\evil"),
        (b":path", b"*"),
        (b":method", b"GE T"),
        (b":method", b"GET\t"),
        (b":method", b"GET\0"),
        (b":method", b"GET\r\n"),
        (b":authority", b"shop evil"),
        (b":authority", b"shop,evil"),
        (b":authority", b"shop\0"),
        (b":authority", b"shop:80:80"),
        (b":authority", b"shop@evil"),
        (b":authority", b"shop#evil"),
        (b":authority", b"shop?evil"),
        (b":scheme", b"http://evil/?"),
        (b":scheme", b"ht tp"),
    ];
    let fields = FIELDS.iter().map(|field| good_and(&[*field]));
    fields.chain(PSEUDO.iter().map(|(name, value)| with(name, value))).collect()
}

/// RFC 9113 §8.2 and §8.3, R21: heads that no library would send.
#[test]
fn malformed_heads_are_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let heads: Vec<Vec<Field>> = vec![
        good_and(&[(b"X-Upper", b"1")]),
        good_and(&[(b"connection", b"close")]),
        good_and(&[(b"keep-alive", b"1")]),
        good_and(&[(b"proxy-connection", b"close")]),
        good_and(&[(b"transfer-encoding", b"chunked")]),
        good_and(&[(b"upgrade", b"websocket")]),
        good_and(&[(b"te", b"gzip")]),
        good_and(&[(b"x-a", b"1\r\nx-b: 2")]),
        good_and(&[(b"x-a", b"1\x002")]),
        good_and(&[(b"x-a", b"1\n2")]),
        good_and(&[(b"x a", b"1")]),
        good_and(&[(b"x:a", b"1")]),
        good_and(&[(b"", b"1")]),
        good_and(&[(b"x-a\r\nx-b", b"1")]),
        good_and(&[(b":path", b"/b")]),
        good_and(&[(b":authority", b"evil")]),
        good_and(&[(b":method", b"POST")]),
        good_and(&[(b":unknown", b"1")]),
        good_and(&[(b":status", b"200")]),
        good_and(&[(b"x-a", b"1"), (b":path", b"/late")]),
        good_and(&[(b":protocol", b"websocket")]),
        good_and(&[(b"content-length", b"5"), (b"content-length", b"6")]),
        good_and(&[(b"content-length", b"-1")]),
        without(b":method"),
        without(b":path"),
        without(b":scheme"),
        without(b":authority"),
        with(b":path", b""),
        with(b":path", b"a"),
        with(b":path", b"http://shop/"),
        with(b":path", b"/a b"),
        with(b":path", b"/ HTTP/1.1\r\nx-b: 2\r\n\r\nGET /smuggled"),
        with(b":method", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET"),
        with(b":method", b""),
        with(b":authority", b"shop\r\nx-b: 1"),
        with(b":authority", b"shop/a"),
        with(b":authority", b""),
        with(b":scheme", b"http\r\n"),
        with(b":scheme", b""),
    ];
    let heads = [heads, told_in_public()].concat();
    for head in &heads {
        let mut client = Frames::connect(proxy.address());
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(head)));
        let text: Vec<_> = head
            .iter()
            .map(|(name, value)| (name.escape_ascii().to_string(), value.escape_ascii().to_string()))
            .collect();
        match client.end_of(1) {
            // an indexed `:status` of the static table: 400 is 12, 404 is 13 (RFC 7541, appendix A)
            Some(end) if end.kind == HEADERS => assert_eq!(end.payload[0], 0x80 | 12, "{text:?}"),
            Some(end) => assert!([RST_STREAM, GOAWAY].contains(&end.kind), "{text:?}"),
            None => {}
        }
        assert_eq!(upstream.byte_count(), 0, "{text:?}");
    }
    println!("{} heads", heads.len());
    // and a good one passes
    let mut client = Frames::connect(proxy.address());
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&GOOD)));
    assert_eq!(client.end_of(1).map(|end| (end.kind, end.payload[0])), Some((HEADERS, 0x80 | 8)));
}

/// Trailers are checked like heads (RFC 9113 §8.1). The h2 library lets pseudo-fields in them pass (a declared gap), but
/// nobody gets to see them.
#[test]
fn malformed_trailers_are_refused() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let send = |field: Field| {
        let mut client = Frames::connect(proxy.address());
        let head = with(b":method", b"POST");
        client.send(frame(HEADERS, END_HEADERS, 1, &fields(&head))).send(frame(DATA, 0, 1, b"abc"));
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&[field])));
        client.end_of(1)
    };
    let bad: [Field; 5] =
        [(b"X-Upper", b"1"), (b"connection", b"close"), (b"x-a", b"1\r\nb: 2"), (b"x a", b"1"), (b"te", b"gzip")];
    for field in bad {
        let end = send(field);
        let is_refused = end.as_ref().is_none_or(|end| end.kind != HEADERS || end.payload[0] == 0x80 | 12);
        assert!(is_refused, "{} {end:?}", field.0.escape_ascii());
    }
    assert!(upstream.seen().iter().all(|seen| !seen.is_complete));
    send((b":path", b"/b"));
    assert!(upstream.seen().iter().all(|seen| seen.target == "/" && seen.trailers.is_empty()));
}

/// What came as HTTP/2 is HTTP/1.1 to the letter when it reaches the service.
#[test]
fn requests_are_translated() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    run(async {
        let mut sender = connect(proxy.address()).await;
        let (response, _) = begin(&mut sender, get("/a?b=c", &[("x-a", "1"), ("x-a", "2")]), true).await.unwrap();
        let answer = finish(response.await.unwrap()).await.unwrap();
        assert_eq!(answer.status, 200);
        for name in ["connection", "transfer-encoding", "keep-alive"] {
            assert!(!answer.headers.contains_key(name));
        }
    });
    let seen = upstream.last();
    assert_eq!(
        (seen.version.as_str(), seen.target.as_str(), seen.header("host")),
        ("HTTP/1.1", "/a?b=c", Some("shop"))
    );
    assert_eq!(seen.all("x-a"), ["1", "2"]);
    assert!(seen.header("via").unwrap().starts_with("2.0 ringway-"));
    assert!(seen.headers.iter().all(|(name, _)| !name.starts_with(':')));
}
