//! What services do that they should not.

use std::iter::repeat_with;
use std::time::Duration;

use crate::service::Wire;
use Sees::{Broken, Either, Late, Refused, Whole};

/// A way to answer badly.
pub struct Behaviour {
    pub name: &'static str,
    pub asked: &'static str,
    /// Answers a request whose head was read; true when the connection goes on.
    pub does: fn(&mut Wire) -> bool,
    pub sees: Sees,
}

/// What the client must get to see.
#[derive(Clone, Copy, Debug)]
pub enum Sees {
    /// A whole answer with this status and body.
    Whole(u16, &'static str),
    /// 502.
    Refused,
    /// 504.
    Late,
    /// 502 or 504, or an answer that visibly breaks off; one that fails at once may break off before its head.
    Broken,
    /// A whole answer with status 200 and this body, or 502.
    Either(&'static str),
}

const TICK: Duration = Duration::from_millis(20);
/// A body that is larger than what waits in the buffers of all who pass it on.
pub const BODY_BYTES: usize = 300_000;
pub const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";

const fn get(name: &'static str, sees: Sees, does: fn(&mut Wire) -> bool) -> Behaviour {
    Behaviour { name, asked: "GET", does, sees }
}

const fn other(asked: &'static str, name: &'static str, sees: Sees, does: fn(&mut Wire) -> bool) -> Behaviour {
    Behaviour { name, asked, does, sees }
}

/// Says this, and closes.
fn close(wire: &mut Wire, said: impl AsRef<[u8]>) -> bool {
    wire.send(said);
    false
}

/// Says this, and breaks the connection.
fn reset(wire: &mut Wire, said: impl AsRef<[u8]>) -> bool {
    wire.send(said);
    wire.reset();
    false
}

/// Says this, and goes on as if all were well.
fn go_on(wire: &mut Wire, said: impl AsRef<[u8]>) -> bool {
    wire.send(said)
}

/// Says this, and nothing more.
fn stall(wire: &mut Wire, said: impl AsRef<[u8]>) -> bool {
    wire.send(said);
    wire.wait_for_end();
    false
}

fn with_fields(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 4\r\n\r\nfine")
}

fn chunked(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
}

/// How a connection ends at each stage of an answer.
pub const ENDS: &[Behaviour] = &[
    get("closes without an answer", Refused, |wire| close(wire, "")),
    get("resets without an answer", Refused, |wire| reset(wire, "")),
    get("closes in the status line", Refused, |wire| close(wire, "HTTP/1.1 2")),
    get("resets in the status line", Refused, |wire| reset(wire, "HTTP/1.1 2")),
    get("closes in the headers", Refused, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-le")),
    get("resets in the headers", Refused, |wire| reset(wire, "HTTP/1.1 200 OK\r\ncontent-le")),
    get("closes before the body", Broken, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")),
    get("closes in the body", Broken, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine")),
    get("resets in the body", Broken, |wire| reset(wire, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine")),
    get("closes in a chunk", Broken, |wire| close(wire, chunked("9\r\nfine"))),
    get("closes between chunks", Broken, |wire| close(wire, chunked("4\r\nfine\r\n"))),
    get("resets between chunks", Broken, |wire| reset(wire, chunked("4\r\nfine\r\n"))),
    get("closes before the last empty line", Broken, |wire| close(wire, chunked("4\r\nfine\r\n0\r\n"))),
    get("closes in the trailers", Broken, |wire| close(wire, chunked("4\r\nfine\r\n0\r\nx-sum: 1"))),
    other("POST", "closes while the body comes", Refused, |wire| {
        wire.exactly(1000);
        close(wire, "")
    }),
    other("POST", "resets while the body comes", Refused, |wire| {
        wire.exactly(1000);
        reset(wire, "")
    }),
    other("POST", "answers before the body is read", Either("fine"), |wire| {
        wire.send(with_fields(""));
        wire.exactly(BODY_BYTES).is_some()
    }),
    other("POST", "refuses before the body is read", Whole(413, "big!"), |wire| {
        wire.send("HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbig!");
        wire.wait_for_end();
        false
    }),
];

/// More than was promised: what is left over must never be the answer to the next request.
pub const LEFTOVERS: &[Behaviour] = &[
    get("a second answer after the body", Whole(200, "fine"), |wire| go_on(wire, with_fields("") + POISON)),
    get("a second answer after the chunks", Whole(200, "fine"), |wire| {
        go_on(wire, chunked("4\r\nfine\r\n0\r\n\r\n") + POISON)
    }),
    get("a body with 204", Whole(204, ""), |wire| go_on(wire, format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}"))),
    get("a body with 304", Whole(304, ""), |wire| go_on(wire, format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}"))),
    other("HEAD", "a body with HEAD", Whole(200, ""), |wire| go_on(wire, with_fields("") + POISON)),
    get("a body longer than its length", Whole(200, "fi"), |wire| {
        go_on(wire, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nfine")
    }),
    get("two answers in two packets", Whole(200, "fine"), |wire| {
        wire.send(with_fields(""));
        go_on(wire, POISON)
    }),
    get("garbage after the body", Whole(200, "fine"), |wire| go_on(wire, with_fields("") + "\0\u{7f}\r\n\r\n")),
    get("a length and chunks", Refused, |wire| {
        let fields = "transfer-encoding: chunked\r\ncontent-length: 31\r\n";
        go_on(wire, format!("HTTP/1.1 200 OK\r\n{fields}\r\n4\r\nfine\r\n0\r\n\r\n{POISON}"))
    }),
    get("early hints, then two answers", Whole(200, "fine"), |wire| {
        go_on(wire, format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{}{POISON}", with_fields("")))
    }),
];

/// Answers that are not HTTP, or nearly.
pub const MALFORMED: &[Behaviour] = &[
    get("a word for a status", Refused, |wire| close(wire, "HTTP/1.1 abc OK\r\n\r\n")),
    get("a status of four digits", Refused, |wire| close(wire, "HTTP/1.1 2000 OK\r\n\r\n")),
    get("a status of zero", Refused, |wire| close(wire, "HTTP/1.1 000 OK\r\n\r\n")),
    get("another protocol", Refused, |wire| close(wire, "SSH-2.0-OpenSSH_9.9\r\n")),
    get("HTTP/2 in words", Refused, |wire| close(wire, "HTTP/2.0 200 OK\r\n\r\n")),
    get("HTTP/0.9", Refused, |wire| close(wire, "<html>fine</html>")),
    get("a megabyte without a line end", Refused, |wire| close(wire, vec![b'a'; 1 << 20])),
    get("a status text of 100 KB", Refused, |wire| {
        close(wire, format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(100_000)))
    }),
    get("a folded header", Refused, |wire| close(wire, with_fields("x-a: b\r\n  c\r\n"))),
    get("a header without a colon", Refused, |wire| close(wire, with_fields("x-a\r\n"))),
    get("a header without a name", Refused, |wire| close(wire, with_fields(": b\r\n"))),
    get("a blank in a header's name", Refused, |wire| close(wire, with_fields("x a: b\r\n"))),
    get("a NUL in a header", Refused, |wire| close(wire, with_fields("x-a: b\0c\r\n"))),
    get("a bare CR in a header", Refused, |wire| close(wire, with_fields("x-a: b\rc\r\n"))),
    get("1,000 headers", Refused, |wire| close(wire, with_fields(&"x-a: b\r\n".repeat(1000)))),
    get("a header of 1 MB", Refused, |wire| close(wire, with_fields(&format!("x-a: {}\r\n", "b".repeat(1 << 20))))),
    get("a negative length", Refused, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nfine")),
    get("a signed length", Refused, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nfine")),
    get("a length in words", Refused, |wire| close(wire, "HTTP/1.1 200 OK\r\ncontent-length: four\r\n\r\nfine")),
    get("a length beyond 64 bits", Refused, |wire| {
        close(wire, "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551620\r\n\r\nfine")
    }),
    get("two lengths", Refused, |wire| close(wire, with_fields("content-length: 2\r\n"))),
    get("the same length twice", Either("fine"), |wire| close(wire, with_fields("content-length: 4\r\n"))),
    get("a chunk size in words", Broken, |wire| close(wire, chunked("four\r\nfine\r\n0\r\n\r\n"))),
    get("a negative chunk size", Broken, |wire| close(wire, chunked("-4\r\nfine\r\n0\r\n\r\n"))),
    get("a chunk size beyond 64 bits", Broken, |wire| close(wire, chunked("1ffffffffffffffff\r\nfine"))),
    get("a chunk longer than its size", Broken, |wire| close(wire, chunked("2\r\nfine\r\n0\r\n\r\n"))),
    get("endless chunk extensions", Broken, |wire| close(wire, chunked(&format!("4;{}", "a".repeat(1 << 20))))),
    get("endless trailers", Broken, |wire| close(wire, chunked(&format!("0\r\nx-a: {}", "a".repeat(1 << 20))))),
    get("an unknown coding", Refused, |wire| {
        close(wire, "HTTP/1.1 200 OK\r\ntransfer-encoding: rot13\r\ncontent-length: 4\r\n\r\nfine")
    }),
    get("a coding beside chunks", Refused, |wire| {
        close(wire, "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n")
    }),
    get("chunks in HTTP/1.0", Refused, |wire| {
        close(wire, chunked("4\r\nfine\r\n0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"))
    }),
    get("101 that nobody asked for", Refused, |wire| close(wire, "HTTP/1.1 101 Switching Protocols\r\n\r\n")),
    get("101 to a WebSocket that nobody asked for", Refused, |wire| {
        let fields = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        close(wire, format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n{POISON}"))
    }),
];

/// Odd, but to be understood.
pub const ODD: &[Behaviour] = &[
    get("HTTP/1.0 until the close", Whole(200, "fine"), |wire| close(wire, "HTTP/1.0 200 OK\r\n\r\nfine")),
    get("HTTP/1.0 with keep-alive", Whole(200, "fine"), |wire| {
        go_on(wire, "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 4\r\n\r\nfine")
    }),
    get("HTTP/1.0 that goes on without keep-alive", Whole(200, "fine"), |wire| {
        go_on(wire, "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nfine")
    }),
    get("plain text called gzip", Whole(200, "fine"), |wire| go_on(wire, with_fields("content-encoding: gzip\r\n"))),
    get("a length named as hop-by-hop", Whole(200, "fine"), |wire| {
        go_on(wire, with_fields("connection: content-length\r\n"))
    }),
    get("early hints", Whole(200, "fine"), |wire| {
        go_on(wire, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_owned() + &with_fields(""))
    }),
    get("100 informational answers", Either("fine"), |wire| {
        go_on(wire, "HTTP/1.1 102 Processing\r\n\r\n".repeat(100) + &with_fields(""))
    }),
    get("no status text", Whole(200, "fine"), |wire| go_on(wire, "HTTP/1.1 200\r\ncontent-length: 4\r\n\r\nfine")),
    get("every byte on its own", Whole(200, "fine"), |wire| with_fields("").bytes().all(|byte| wire.send([byte]))),
];

/// Time is what they take.
pub const SLOW: &[Behaviour] = &[
    get("never answers", Late, |wire| stall(wire, "")),
    get("stops in the status line", Late, |wire| stall(wire, "HTTP/1.1 2")),
    get("stops in the headers", Late, |wire| stall(wire, "HTTP/1.1 200 OK\r\nx-a: b")),
    get("stops in the body", Broken, |wire| stall(wire, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine")),
    get("stops between chunks", Broken, |wire| stall(wire, chunked("4\r\nfine\r\n"))),
    get("headers drop by drop", Late, |wire| {
        wire.send("HTTP/1.1 200 OK\r\nx-a: ");
        wire.drip(TICK, repeat_with(|| b"a".to_vec()));
        false
    }),
    get("endless informational answers", Broken, |wire| {
        wire.drip(TICK, repeat_with(|| b"HTTP/1.1 102 Processing\r\n\r\n".to_vec()));
        false
    }),
    get("a flood of informational answers", Broken, |wire| {
        while wire.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(100)) {}
        false
    }),
    get("a body drop by drop", Whole(200, "fine"), |wire| {
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n");
        wire.drip(TICK, "fine".bytes().map(|byte| vec![byte]));
        true
    }),
    other("POST", "never reads the body", Broken, |wire| stall(wire, "")),
];
