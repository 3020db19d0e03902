//! Heads, bodies and trailers of requests (RFC 9113 §8).

use super::code::PROTOCOL;
use super::*;

type Field = (&'static [u8], &'static [u8]);

const GOOD: [Field; 4] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"shop"), (b":path", b"/")];
/// The library ends the connection where the stream would do.
const NAMES: &str = "the library takes a name or a value that cannot be one for a broken header block, and ends the \
                     connection with PROTOCOL_ERROR; what else is asked on it has to be asked again";

pub fn rows() -> Vec<Row> {
    [names(), connection_fields(), pseudo_fields(), targets(), lengths(), trailers(), tunnels()]
        .into_iter()
        .flatten()
        .collect()
}

fn asked(section: &'static str, what: &'static str, head: &[Field]) -> Row {
    row(section, what).send(headers(WHOLE, 1, fields(head)))
}

/// A head with one more field.
fn with(section: &'static str, what: &'static str, more: &[Field]) -> Row {
    asked(section, what, &[&GOOD[..], more].concat())
}

/// A head without a field, or with another one in its place.
fn but(section: &'static str, what: &'static str, name: &'static [u8], value: Option<&'static [u8]>) -> Row {
    let head = GOOD.into_iter().filter_map(|(known, old)| match value {
        _ if known != name => Some((known, old)),
        value => Some((known, value?)),
    });
    asked(section, what, &head.collect::<Vec<_>>())
}

fn names() -> Vec<Row> {
    let broken = |what, field: Field| with("8.2.1", what, &[field]).either(1, &[PROTOCOL]).deviates(NAMES);
    vec![
        broken("a name in upper case", (b"X-Test", b"ok")),
        broken("a name with one letter in upper case", (b"x-tesT", b"ok")),
        broken("a name with a space", (b"x test", b"ok")),
        broken("a name with a colon", (b"x:test", b"ok")),
        broken("an empty name", (b"", b"ok")),
        broken("a name beyond ASCII", (b"x-\xc3\xa4", b"ok")),
        broken("a value with a line feed", (b"x-test", b"a\nb")),
        broken("a value with a carriage return", (b"x-test", b"a\rb")),
        broken("a value with NUL", (b"x-test", b"a\0b")),
        with("8.2.1", "a value that is empty", &[(b"x-test", b"")]).status(1, 200),
        with("8.2.1", "a value beyond ASCII", &[(b"x-test", b"\xc3\xa4")]).status(1, 200),
        with("8.2.1", "a value with a space at its end", &[(b"x-test", b"a ")]).status(1, 200),
        with("8.2.3", "crumbs of a cookie", &[(b"cookie", b"a=b"), (b"cookie", b"c=d")]).status(1, 200),
        with("8.2", "a name that comes twice", &[(b"x-test", b"1"), (b"x-test", b"2")]).status(1, 200),
    ]
}

fn connection_fields() -> Vec<Row> {
    let refused = |what, field: Field| with("8.2.2", what, &[field]).stream(1, &[PROTOCOL]);
    vec![
        refused("connection", (b"connection", b"keep-alive")),
        refused("keep-alive", (b"keep-alive", b"timeout=5")),
        refused("proxy-connection", (b"proxy-connection", b"keep-alive")),
        refused("transfer-encoding", (b"transfer-encoding", b"chunked")),
        refused("upgrade", (b"upgrade", b"h2c")),
        refused("te of more than trailers", (b"te", b"trailers, deflate;q=0.5")),
        refused("te without trailers", (b"te", b"gzip")),
        with("8.2.2", "te: trailers", &[(b"te", b"trailers")]).status(1, 200),
    ]
}

fn pseudo_fields() -> Vec<Row> {
    let refused = |what, field: Field| with("8.3", what, &[field]).stream(1, &[PROTOCOL]);
    let late = [(&b"x-test"[..], &b"ok"[..])].into_iter().chain(GOOD).collect::<Vec<_>>();
    vec![
        with("8.3", "one that nobody knows", &[(b":test", b"ok")]).either(1, &[PROTOCOL]).deviates(NAMES),
        refused("one of answers", (b":status", b"200")),
        asked("8.3", "after an ordinary field", &late).stream(1, &[PROTOCOL]),
        refused("a second :method", (b":method", b"GET")),
        refused("a second :scheme", (b":scheme", b"http")),
        refused("a second :path", (b":path", b"/")),
        refused("a second :authority", (b":authority", b"shop")),
        refused(":protocol of a request that is not CONNECT", (b":protocol", b"websocket")),
        but("8.3.1", "no :method", b":method", None).stream(1, &[PROTOCOL]),
        but("8.3.1", "no :scheme", b":scheme", None).stream(1, &[PROTOCOL]),
        but("8.3.1", "no :path", b":path", None).either(1, &[PROTOCOL]),
        but("8.3.1", "no :authority, and no Host", b":authority", None).status(1, 400),
        asked("8.3.1", "Host instead of :authority", &[GOOD[0], GOOD[1], GOOD[3], (b"host", b"shop")]).status(1, 200),
        with("8.3.1", "Host beside :authority", &[(b"host", b"shop")]).status(1, 200),
        with("8.3.1", "Host that differs from :authority", &[(b"host", b"evil")]).status(1, 400),
        row("8.3", "nothing but ordinary fields")
            .send(headers(WHOLE, 1, fields(&[(b"x-test", b"ok")])))
            .stream(1, &[PROTOCOL]),
    ]
}

fn targets() -> Vec<Row> {
    vec![
        but("8.3.1", "an empty :path", b":path", Some(b"")).stream(1, &[PROTOCOL]),
        but("8.3.1", ":path without a slash", b":path", Some(b"a")).either(1, &[PROTOCOL]),
        but("8.3.1", ":path with a space", b":path", Some(b"/a b")).either(1, &[PROTOCOL]),
        but("8.3.1", ":path that is a whole URI", b":path", Some(b"http://shop/")).either(1, &[PROTOCOL]),
        but("8.3.1", ":path * of GET", b":path", Some(b"*")).status(1, 400),
        but("8.3.1", "an empty :authority", b":authority", Some(b"")).either(1, &[PROTOCOL]),
        but("8.3.1", ":authority with a user", b":authority", Some(b"me@shop")).status(1, 400),
        but("8.3.1", "an empty :method", b":method", Some(b"")).either(1, &[PROTOCOL]).deviates(NAMES),
        but("8.3.1", ":method with a space", b":method", Some(b"GET /")).either(1, &[PROTOCOL]).deviates(NAMES),
        but("8.3.1", "an empty :scheme", b":scheme", Some(b"")).status(1, 400),
        but("8.3.1", ":scheme of another protocol", b":scheme", Some(b"ftp")).status(1, 400),
        but("8.3.1", ":method that nobody knows", b":method", Some(b"BREW")).status(1, 200),
    ]
}

fn lengths() -> Vec<Row> {
    let post = |what, length: &'static [u8], frames: &[Vec<u8>]| {
        let head = headers(END_HEADERS, 1, [POST, &fields(&[(b"content-length", length)])].concat());
        row("8.1.1", what).send([head, frames.concat()].concat())
    };
    let end = |text: &[u8]| data(END_STREAM, 1, text);
    let sized = |what, length: &'static [u8]| with("8.1.1", what, &[(b"content-length", length)]);
    vec![
        post("less than was said", b"5", &[end(b"test")]).stream(1, &[PROTOCOL]),
        post("more than was said", b"1", &[end(b"test")]).stream(1, &[PROTOCOL]),
        post("less, in several frames", b"9", &[data(0, 1, b"test"), end(b"test")]).stream(1, &[PROTOCOL]),
        post("more, in several frames", b"7", &[data(0, 1, b"test"), end(b"test")]).stream(1, &[PROTOCOL]),
        post("less, and trailers", b"5", &[data(0, 1, b"test"), headers(WHOLE, 1, fields(&[(b"x-a", b"1")]))])
            .stream(1, &[PROTOCOL]),
        post("some, of nothing that was said", b"0", &[end(b"x")]).stream(1, &[PROTOCOL]),
        post("as was said", b"8", &[data(0, 1, b"test"), end(b"test")]).status(1, 200),
        post("as was said, and an empty frame", b"4", &[data(0, 1, b"test"), end(b"")]).status(1, 200),
        post("as was said, padding aside", b"4", &[data(END_STREAM | PADDED, 1, b"\x03test\0\0\0")]).status(1, 200),
        sized("some was said, and nothing comes", b"5").stream(1, &[PROTOCOL]),
        sized("nothing was said, and nothing comes", b"0").status(1, 200),
        sized("a length that is none", b"+5").stream(1, &[PROTOCOL]),
        sized("a length that is negative", b"-1").stream(1, &[PROTOCOL]),
        sized("a length beyond all numbers", b"18446744073709551616").stream(1, &[PROTOCOL]),
        with("8.1.1", "two lengths", &[(b"content-length", b"0"), (b"content-length", b"1")]).stream(1, &[PROTOCOL]),
    ]
}

fn trailers() -> Vec<Row> {
    let ended = |what, flags: u8, field: Field| {
        let frames = [post(1), data(0, 1, b"test"), headers(flags, 1, fields(&[field]))];
        row("8.1", what).send(frames.concat())
    };
    vec![
        ended("trailers", WHOLE, (b"x-test", b"ok")).status(1, 200),
        row("8.1", "trailers without a body")
            .send([post(1), headers(WHOLE, 1, fields(&[(b"x-a", b"1")]))].concat())
            .status(1, 200),
        row("8.1", "empty trailers").send([post(1), headers(WHOLE, 1, b"")].concat()).status(1, 200),
        ended("a second HEADERS that does not end the stream", END_HEADERS, (b"x-test", b"ok")).stream(1, &[PROTOCOL]),
        row("8.1", "a body after it")
            .send([post(1), headers(END_HEADERS, 1, POST), data(END_STREAM, 1, b"test")].concat())
            .stream(1, &[PROTOCOL]),
        ended("a pseudo-field that does not end the stream", END_HEADERS, (b":method", b"POST")).stream(1, &[PROTOCOL]),
        ended("a pseudo-field", WHOLE, (b":method", b"POST"))
            .status(1, 200)
            .deviates("the library drops pseudo-fields of trailers, and tells nobody; no service gets to see them"),
        ended("a pseudo-field that nobody knows", WHOLE, (b":test", b"ok")).either(1, &[PROTOCOL]).deviates(NAMES),
        ended("connection in trailers", WHOLE, (b"connection", b"close")).stream(1, &[PROTOCOL]),
        ended("upper case in trailers", WHOLE, (b"X-Test", b"ok")).either(1, &[PROTOCOL]).deviates(NAMES),
    ]
}

/// RFC 9113 §8.5, RFC 8441.
fn tunnels() -> Vec<Row> {
    let connect = |what, more: &[Field]| {
        let head = [&[(&b":method"[..], &b"CONNECT"[..]), (b":authority", b"shop:443")], more].concat();
        asked("8.5", what, &head)
    };
    let path: Field = (b":path", b"/");
    let scheme: Field = (b":scheme", b"http");
    vec![
        connect("CONNECT", &[]).status(1, 405),
        connect("CONNECT with :path", &[path]).stream(1, &[PROTOCOL]),
        connect("CONNECT with :scheme", &[scheme]).stream(1, &[PROTOCOL]),
        connect("extended CONNECT without :path", &[scheme, (b":protocol", b"websocket")]).stream(1, &[PROTOCOL]),
        connect("extended CONNECT without :scheme", &[path, (b":protocol", b"websocket")]).stream(1, &[PROTOCOL]),
    ]
}
