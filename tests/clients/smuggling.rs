//! D5 once more, by name: the ways to hide a request in another that have been told in public, from CL.TE (2005) to
//! chunk extensions and `Expect` (2025). `framing` tries combinations at random; here each trick is a row.
//!
//! Every row is followed by `GET /smuggled` in the same bytes, where a proxy that was fooled finds or leaves it.

use crate::support::raw::{PATIENCE, Raw, eventually};
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use std::time::Duration;

/// A name, and what stands between `POST /first HTTP/1.1`, `Host: shop` and the end.
type Row = (&'static str, &'static [u8]);

/// Heads that are refused with 400, and their connections with them; nothing of them reaches the service.
const HEADS: &[Row] = &[
    ("CL.TE", b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG"),
    ("TE.CL", b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("TE.TE: another coding", b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: two lines", b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "TE.TE: a second line that nobody knows",
        b"transfer-encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n",
    ),
    ("TE.TE: a first line that nobody knows", b"transfer-encoding: cow\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: identity", b"transfer-encoding: identity\r\ncontent-length: 5\r\n\r\nhello"),
    ("TE.TE: a list that ends well", b"transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a list that ends badly", b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a list of nothing", b"transfer-encoding: ,\r\n\r\n0\r\n\r\n"),
    ("TE.TE: empty", b"transfer-encoding:\r\ncontent-length: 5\r\n\r\nhello"),
    ("TE.TE: a parameter", b"transfer-encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    ("TE.TE: quotes", b"transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("TE.TE: single quotes", b"transfer-encoding: 'chunked'\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a vertical tab", b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a form feed", b"transfer-encoding:\x0cchunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a NUL", b"transfer-encoding: chunked\0\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a space that is none", b"transfer-encoding:\xa0chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a byte order mark", b"\xef\xbb\xbftransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a letter that folds to k", b"transfer-encoding: chun\xe2\x84\xaaed\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a blank before the colon", b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a tab before the colon", b"transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a blank before the name", b"x: a\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: folded", b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: folded with a tab", b"transfer-encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: folded before the colon", b"transfer-encoding\r\n: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: behind a bare line feed", b"x: a\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: behind a bare return", b"x: a\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: ended by a bare return", b"transfer-encoding: chunked\r\rx: a\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a colon of the name", b"transfer-encoding:: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE: a semicolon", b"transfer-encoding; chunked\r\n\r\n0\r\n\r\n"),
    ("CL: a plus", b"content-length: +5\r\n\r\nhello"),
    ("CL: a minus", b"content-length: -5\r\n\r\nhello"),
    ("CL: minus nothing", b"content-length: -0\r\n\r\n"),
    ("CL: hexadecimal", b"content-length: 0x5\r\n\r\nhello"),
    ("CL: a fraction", b"content-length: 5.0\r\n\r\nhello"),
    ("CL: an exponent", b"content-length: 5e0\r\n\r\nhello"),
    ("CL: separators of thousands", b"content-length: 1_0\r\n\r\nhellohello"),
    ("CL: two numbers", b"content-length: 5 0\r\n\r\nhello"),
    ("CL: a list of one number", b"content-length: 5, 5\r\n\r\nhello"),
    ("CL: a list of two numbers", b"content-length: 5,0\r\n\r\nhello"),
    ("CL: a list with nothing", b"content-length: 5,\r\n\r\nhello"),
    ("CL: twice the same", b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
    ("CL: twice", b"content-length: 0\r\nContent-Length: 5\r\n\r\nhello"),
    ("CL: empty", b"content-length:\r\n\r\nhello"),
    ("CL: quotes", b"content-length: \"5\"\r\n\r\nhello"),
    ("CL: a parameter", b"content-length: 5;a\r\n\r\nhello"),
    ("CL: a vertical tab", b"content-length: \x0b5\r\n\r\nhello"),
    ("CL: a NUL", b"content-length: 5\0\r\n\r\nhello"),
    ("CL: digits of another script", b"content-length: \xd9\xa5\r\n\r\nhello"),
    ("CL: 2^64", b"content-length: 18446744073709551616\r\n\r\nhello"),
    ("CL: 2^64 + 5", b"content-length: 18446744073709551621\r\n\r\nhello"),
    ("CL: a blank before the colon", b"content-length : 5\r\n\r\nhello"),
    ("CL: folded", b"content-length: 5\r\n 0\r\n\r\nhello"),
    ("CL: folded away", b"x: a\r\n content-length: 5\r\n\r\nhello"),
    ("CL: behind a bare return", b"x: a\rcontent-length: 5\r\n\r\nhello"),
    ("a bare line feed ends the head", b"content-length: 5\r\n\nhello"),
    ("bare line feeds", b"content-length: 5\n\nhello"),
    ("a return too many", b"content-length: 5\r\r\n\r\nhello"),
    ("a name with a NUL", b"content\0-length: 5\r\n\r\nhello"),
    ("a line without a colon", b"content-length 5\r\n\r\nhello"),
    ("a request for a field", b"GET /smuggled HTTP/1.1\r\n\r\n"),
    ("a second host, folded", b"x: a\r\n host: evil\r\n\r\n"),
    ("an expectation of two hosts", b"expect: 100-continue\r\nhost: evil\r\ncontent-length: 5\r\n\r\nhello"),
];

/// First lines that are refused like that, each with a host and a body of 5 bytes behind it.
const LINES: &[&[u8]] = &[
    b" POST /first HTTP/1.1",
    b"\tPOST /first HTTP/1.1",
    b"\nPOST /first HTTP/1.1",
    b"\rPOST /first HTTP/1.1",
    b"\0POST /first HTTP/1.1",
    b"\x0bPOST /first HTTP/1.1",
    b"\xef\xbb\xbfPOST /first HTTP/1.1",
    b"POST  /first HTTP/1.1",
    b"POST\t/first HTTP/1.1",
    b"POST\x0b/first HTTP/1.1",
    b"POST /first  HTTP/1.1",
    b"POST /first\tHTTP/1.1",
    b"POST /first HTTP/1.1 ",
    b"POST /first HTTP/1.1\t",
    b"POST /first HTTP/1.1 HTTP/1.1",
    b"POST /first HTTP/1.1\rx: a",
    b"POST /first HTTP/1.1\0",
    b"POST /first HTTP/1.10",
    b"POST /first HTTP/01.1",
    b"POST /first HTTP/1.01",
    b"POST /first HTTP/1,1",
    b"POST /first HTTP/+1.1",
    b"POST /first HTTP/1",
    b"POST /first HTTP/3.0",
    b"POST /first http/1.1",
    b"POST /first XHTTP/1.1",
    b"POST /first\0 HTTP/1.1",
    b"POST /fi\x01rst HTTP/1.1",
    b"POST /fi\x7frst HTTP/1.1",
    b"POST /fi\rrst HTTP/1.1",
    b"PO\x01ST /first HTTP/1.1",
    b"PO(ST /first HTTP/1.1",
    b"POST: /first HTTP/1.1",
    b"POST",
    b"POST /first",
    b"/first HTTP/1.1",
];

/// Chunks behind a good head that break a rule. The head may have been passed on by then; but the request never ends,
/// and nothing behind it is a request.
const CHUNKS: &[Row] = &[
    ("a line feed ends the size", b"5\nhello\r\n0\r\n\r\n"),
    ("a return ends the size", b"5\rhello\r\n0\r\n\r\n"),
    ("a line feed ends an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    ("a line feed in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a line feed at once", b"5;\n\r\nhello\r\n0\r\n\r\n"),
    ("a return in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("an extension of 2 kB", b"5;L\r\nhello\r\n0\r\n\r\n"),
    ("a blank behind the size", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("a blank before an extension", b"5 ;a\r\nhello\r\n0\r\n\r\n"),
    ("a tab behind the size", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("a blank before the size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("a prefix", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    ("a NUL", b"5\0\r\nhello\r\n0\r\n\r\n"),
    ("no digit", b"g\r\nhello\r\n0\r\n\r\n"),
    ("no size", b"\r\nhello\r\n0\r\n\r\n"),
    ("an extension of nothing", b";a\r\nhello\r\n0\r\n\r\n"),
    ("2^64 + 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("2^32 times more", b"fffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
    ("2^63", b"8000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("twenty zeros", b"000000000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("two bytes too many", b"5\r\nhelloXY0\r\n\r\n"),
    ("two bytes for a line end", b"5\r\nhelloXY\r\n0\r\n\r\n"),
    ("a line feed behind the data", b"5\r\nhello\n0\r\n\r\n"),
    ("a return behind the data", b"5\r\nhello\r0\r\n\r\n"),
    ("nothing behind the data", b"5\r\nhello0\r\n\r\n"),
    ("one byte short", b"5\r\nhell\r\n0\r\n\r\n"),
    ("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("a line feed ends the last chunk", b"5\r\nhello\r\n0\n\r\n"),
    ("a line feed ends the trailers", b"5\r\nhello\r\n0\r\n\n"),
    ("line feeds end it all", b"5\r\nhello\r\n0\n\n"),
    ("a return ends the trailers", b"5\r\nhello\r\n0\r\n\rX"),
    ("a line feed ends a trailer", b"5\r\nhello\r\n0\r\nx: a\n\r\n"),
    ("line feeds end a trailer", b"5\r\nhello\r\n0\r\nx: a\n\n"),
    ("a return in a trailer", b"5\r\nhello\r\n0\r\nx: a\rb\r\n\r\n"),
    ("a folded trailer", b"5\r\nhello\r\n0\r\nx: a\r\n b\r\n\r\n"),
    ("a blank before a trailer", b"5\r\nhello\r\n0\r\n x: a\r\n\r\n"),
    ("a blank before a trailer's colon", b"5\r\nhello\r\n0\r\nx : a\r\n\r\n"),
    ("a request for a trailer", b"5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n"),
];

/// What is good, odd as it may look: one request, with this body, and the next one is the one that follows.
const GOOD: &[(&str, &[u8], &str)] = &[
    ("CL.0", b"POST /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 27\r\n\r\nGET /smuggled HTTP/1.1\r\nx: ", "GET /smuggled HTTP/1.1\r\nx: "),
    ("0.CL", b"GET /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 27\r\n\r\nGET /smuggled HTTP/1.1\r\nx: ", "GET /smuggled HTTP/1.1\r\nx: "),
    ("0.CL, OPTIONS", b"OPTIONS /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("0.CL, DELETE", b"DELETE /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("0.TE", b"GET /first HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("zeros", b"POST /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 05\r\n\r\nhello", "hello"),
    ("blanks and tabs", b"POST /first HTTP/1.1\r\nhost: shop\r\ncontent-length:\t 5 \t\r\n\r\nhello", "hello"),
    ("CHUNKED", b"POST /first HTTP/1.1\r\nhost: shop\r\nTRANSFER-ENCODING:CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("zeros in a size", b"POST /first HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", "hello"),
    ("extensions", b"POST /first HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n", "hello"),
    ("a length for a hop", b"POST /first HTTP/1.1\r\nhost: shop\r\nconnection: content-length\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("a coding for a hop", b"POST /first HTTP/1.1\r\nhost: shop\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("a host for a hop", b"POST /first HTTP/1.1\r\nhost: shop\r\nconnection: host, close-not\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("a length with another name", b"POST /first HTTP/1.1\r\nhost: shop\r\ncontent_length: 50\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("a coding with another name", b"POST /first HTTP/1.1\r\nhost: shop\r\ntransfer_encoding: chunked\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("trailers that frame", b"POST /first HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ncontent-length: 50\r\ntransfer-encoding: chunked\r\nhost: evil\r\n\r\n", "hello"),
    ("two empty lines", b"\r\n\r\nPOST /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    ("a length for nothing", b"GET /first HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n", ""),
];

const HEAD: &str = "POST /first HTTP/1.1\r\nhost: shop\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n";

/// Sends all of it, and gives the status of the first answer, once the connection was closed behind it.
fn only_answer(proxy: &Proxy, bytes: &[u8]) -> Result<Option<u16>, String> {
    let mut client = proxy.connect().with_patience(Duration::from_secs(5));
    client.send(bytes);
    let status = client.try_response_to("GET").ok().map(|answer| answer.status);
    let more = client.rest();
    if !more.is_empty() {
        return Err(format!("{status:?}, and then {}", more.escape_ascii()));
    }
    if client.is_closed() { Ok(status) } else { Err(format!("{status:?}, and the connection stays open")) }
}

/// All rows, each of which must be refused without a byte for the service.
fn all_are_refused(rows: impl Iterator<Item = (String, Vec<u8>)>) {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let (mut count, mut wrong) = (0, Vec::new());
    for (name, bytes) in rows {
        count += 1;
        match only_answer(&proxy, &bytes) {
            Ok(Some(400)) if upstream.byte_count() == 0 => {}
            told => wrong.push(format!("{name}: {told:?}, {} bytes for the service", upstream.byte_count())),
        }
    }
    println!("{count} rows");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    let bytes = |rest: &[u8]| [HEAD.as_bytes(), rest, SMUGGLED.as_bytes()].concat();
    all_are_refused(HEADS.iter().map(|(name, rest)| ((*name).to_owned(), bytes(rest))));
}

#[test]
fn first_lines_that_can_be_read_in_two_ways_are_refused() {
    let rest = format!("\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhello{SMUGGLED}");
    let row = |line: &&[u8]| (line.escape_ascii().to_string(), [line, rest.as_bytes()].concat());
    all_are_refused(LINES.iter().map(row));
}

#[test]
fn chunks_that_can_be_read_in_two_ways_end_the_connection() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let mut wrong = Vec::new();
    for (name, chunks) in CHUNKS {
        let chunks: String = chunks.iter().map(|byte| char::from(*byte)).collect();
        let chunks = chunks.replace('L', &"l".repeat(2000));
        let bytes = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}{SMUGGLED}");
        match only_answer(&proxy, bytes.as_bytes()) {
            Ok(None | Some(400)) => {}
            told => wrong.push(format!("{name}: {told:?}")),
        }
    }
    eventually("the end of all connections", || upstream.open() == 0);
    let whole: Vec<_> =
        upstream.seen().into_iter().filter(|seen| seen.is_complete || seen.target != "/first").collect();
    println!("{} rows", CHUNKS.len());
    assert!(wrong.is_empty() && whole.is_empty(), "{wrong:#?}, the service saw {whole:?}");
}

/// As one piece, and cut at each byte with a pause between: what is read depends on no packet.
#[test]
fn what_can_be_read_in_one_way_is_passed_on() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let (mut expected, mut client) = (Vec::new(), proxy.connect());
    for (name, bytes, body) in GOOD {
        client.send(bytes).send("GET /second HTTP/1.1\r\nhost: shop\r\n\r\n");
        let answers = [client.response(), client.response()].map(|answer| (answer.status, answer.text()));
        assert_eq!(answers, [(200, (*body).to_owned()), (200, String::new())], "{name}");
        expected.extend([("/first", *body), ("/second", "")]);
    }
    let seen = upstream.wait_for(expected.len());
    let seen: Vec<_> = seen.iter().map(|seen| (&*seen.target, String::from_utf8_lossy(&seen.body))).collect();
    assert_eq!(seen, expected.iter().map(|(target, body)| (*target, (*body).into())).collect::<Vec<_>>());
    for seen in upstream.seen() {
        assert_eq!((seen.header("host"), &*seen.trailers), (Some("shop"), &[][..]), "{seen:?}");
        assert!(seen.headers.iter().all(|(name, _)| !name.contains('_')), "{seen:?}");
    }
}

/// A pause wherever a head, a body or a chunk could be torn: what hides behind it is still a body, and no request.
#[test]
fn pauses_change_nothing() {
    let upstream = Recording::echo();
    let proxy = Proxy::before(&upstream);
    let hidden = "GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n";
    let length = hidden.len();
    let chunked = format!("{HEAD}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    for whole in [format!("{HEAD}content-length: {length}\r\n\r\n{hidden}"), chunked] {
        let body = whole.find("\r\n\r\n").unwrap() + 4;
        for at in [10, HEAD.len(), body - 2, body, body + 2, body + 20, whole.len() - 1] {
            let before = upstream.count();
            let mut client = proxy.connect();
            client.send(&whole[..at]);
            client = pause(client);
            client.send(&whole[at..]).send("GET /second HTTP/1.1\r\nhost: shop\r\n\r\n");
            assert_eq!((client.response().text(), client.response().text()), (hidden.to_owned(), String::new()));
            let targets: Vec<_> =
                upstream.wait_for(before + 2)[before..].iter().map(|seen| seen.target.clone()).collect();
            assert_eq!(targets, ["/first", "/second"], "cut at {at}");
        }
    }
}

/// Long enough for whoever reads to have read: an answer that does not come is waited for.
fn pause(client: Raw) -> Raw {
    let mut client = client.with_patience(Duration::from_millis(5));
    assert!(client.try_bytes(1).is_none(), "an answer before its request");
    client.with_patience(PATIENCE)
}

/// `Expect` (2025): whatever it says and whoever answers early, the body is a body, or the connection ends.
#[test]
fn expectations_hide_no_request() {
    // a service that answers before the body, as one does that wants none
    let upstream = Recording::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
    });
    let proxy = Proxy::before(&upstream);
    let body = "GET /smuggled HTTP/1.1\r\nhost: shop\r\n\r\n";
    for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
        for expect in [
            "100-continue",
            "100-CONTINUE",
            " 100-continue ",
            "100-continue, 100-continue",
            "y 100-continue",
            "100-continue\r\nexpect: y",
            "100",
            "",
            "\x0b100-continue",
        ] {
            for framing in [format!("content-length: {}", body.len()), "transfer-encoding: chunked".to_owned()] {
                let body = match framing.starts_with('t') {
                    true => format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
                    false => body.to_owned(),
                };
                let head = format!("{method} /first HTTP/1.1\r\nhost: shop\r\n{framing}\r\nexpect: {expect}\r\n\r\n");
                let mut client = proxy.connect();
                // at once, as who does not wait for a word does
                client.send(head).send(body).send("GET /second HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
                let first = client.response_to(method);
                assert!([200, 400, 417].contains(&first.status), "{method} {expect:?}: {first:?}");
                let second = client.try_response_to("GET");
                assert!(second.as_ref().map_or(true, |second| second.status == 200), "{method} {expect:?}: {second:?}");
                assert_eq!(client.rest(), b"", "{method} {expect:?}");
            }
        }
    }
    let seen = upstream.seen();
    assert!(seen.iter().all(|seen| seen.target != "/smuggled"), "{seen:?}");
    assert!(seen.len() > 20, "{} requests", seen.len());
}
