//! From bytes to a request (RFC 9112 §2 to §6). Whatever can be read in two ways is refused, and its connection with it.

use bytes::{Buf, BytesMut};
use http::{HeaderValue, Method, StatusCode, Uri, Version};
use std::mem::MaybeUninit;

use crate::proxy::arrived::Arrived;
use crate::routing::snapshot::ListenerLimits;
use crate::upstream::Fields;
use crate::upstream::http1::{
    Chunk, Framing, HeadText, Malformed, content_length, header_name, is_chunked, keeps_alive,
};

/// What the head of a request says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// How the body ends.
    pub(super) framing: Framing,
    /// The client would send another request on this connection.
    pub(super) keeps_alive: bool,
}

/// Why bytes are no request. The connection ends with it: nobody knows where the next one would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Garbled {
    /// Not HTTP/1.x, or not in one way only.
    Malformed,
    /// A longer head, or more fields, than the listener allows.
    TooLarge,
    /// A longer target than the listener allows.
    TargetTooLong,
}

/// Fields for which there is room without asking for memory; more of them are refused unless the listener allows more.
const FIELDS_USUAL: usize = 100;
/// Fields that a request gets on its way through the map, at most: there is room for them from the start.
const FIELDS_ADDED: usize = 2;
/// What a request line has besides its target, and a little: no method that is served is longer.
const REQUEST_LINE_REST: usize = 64;
/// Empty lines that may stand before a request (RFC 9112 §2.2).
const EMPTY_LINES_MAX: usize = 2;

impl Garbled {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Garbled::Malformed => StatusCode::BAD_REQUEST,
            Garbled::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Garbled::TargetTooLong => StatusCode::URI_TOO_LONG,
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Garbled::Malformed => "this is not an HTTP/1.1 request",
            Garbled::TooLarge => "the header is too large",
            Garbled::TargetTooLong => "the request target is too long",
        }
    }
}

impl From<Malformed> for Garbled {
    fn from(_: Malformed) -> Garbled {
        Garbled::Malformed
    }
}

/// Takes the head of a request out of what was read, into `arrived`; `None` while it is not complete. `looked_at` is
/// where the caller keeps how much of it was looked at before.
pub(super) fn take(
    read: &mut BytesMut,
    looked_at: &mut usize,
    limits: &ListenerLimits,
    arrived: &mut Arrived,
) -> Result<Option<Manner>, Garbled> {
    skip_empty_lines(read)?;
    // only a line break can complete a head: one that comes byte by byte is not parsed with each
    let has_new_line = memchr::memchr(b'\n', read.get(*looked_at..).unwrap_or_default()).is_some();
    *looked_at = read.len();
    let parsed = if has_new_line { parse(read, limits, arrived)? } else { None };
    let Some((bytes, asks)) = parsed else { return too_long(read, limits).map_or(Ok(None), Err) };
    read.advance(bytes);
    *looked_at = 0;
    manner(arrived, asks).map(Some)
}

/// What is wrong with the begin of a head, however it goes on.
fn too_long(read: &[u8], limits: &ListenerLimits) -> Option<Garbled> {
    if read.len() > limits.target_bytes + REQUEST_LINE_REST && memchr::memchr(b'\n', read).is_none() {
        return Some(Garbled::TargetTooLong);
    }
    (read.len() > limits.header_bytes).then_some(Garbled::TooLarge)
}

fn skip_empty_lines(read: &mut BytesMut) -> Result<(), Garbled> {
    let mut lines = 0;
    while read.starts_with(b"\r\n") {
        lines += 1;
        if lines > EMPTY_LINES_MAX {
            return Err(Garbled::Malformed);
        }
        let _ = read.split_to(2);
    }
    match read.as_ref() {
        // httparse would skip as many as there are, and line feeds alone
        [b'\n', ..] | [b'\r', _, ..] => Err(Garbled::Malformed),
        _ => Ok(()),
    }
}

/// Understands a head, and says how many bytes it has; `None` while it is not complete.
fn parse(read: &[u8], limits: &ListenerLimits, arrived: &mut Arrived) -> Result<Option<(usize, Asks)>, Garbled> {
    if limits.header_fields <= FIELDS_USUAL {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
        parse_in(read, limits, &mut fields[..limits.header_fields], arrived)
    } else {
        parse_in(read, limits, &mut vec![MaybeUninit::uninit(); limits.header_fields], arrived)
    }
}

fn parse_in<'b>(
    read: &'b [u8],
    limits: &ListenerLimits,
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
    arrived: &mut Arrived,
) -> Result<Option<(usize, Asks)>, Garbled> {
    let mut request = httparse::Request::new(&mut []);
    let bytes = match request.parse_with_uninit_headers(read, fields) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Garbled::TooLarge),
        Err(_) => return Err(Garbled::Malformed),
    };
    if bytes > limits.header_bytes {
        return Err(Garbled::TooLarge);
    }
    let (head, target) = (&read[..bytes], request.path.unwrap_or_default());
    if has_bare_feed(head, &request) || target.contains('#') {
        return Err(Garbled::Malformed);
    }
    let text = HeadText::of(head);
    let parts = &mut arrived.head;
    parts.method = Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| Garbled::Malformed)?;
    parts.version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    parts.uri = Uri::from_maybe_shared(text.part(target.as_bytes())).map_err(|_| Garbled::Malformed)?;
    parts.headers.clear();
    parts.headers.reserve(request.headers.len() + FIELDS_ADDED);
    arrived.fields = Fields::default();
    let mut asks = Asks::default();
    for field in request.headers.iter() {
        let (name, known) = header_name(field.name.as_bytes())?;
        if known == Fields::CONNECTION && asks.note(field.value) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(text.part(field.value)).map_err(|_| Garbled::Malformed)?;
        arrived.fields = arrived.fields.and(known);
        parts.headers.append(name, value);
    }
    Ok(Some((bytes, asks)))
}

/// True when a line ends with a line feed alone: some take that for its end, and some do not (RFC 9112 §2.2). Nothing
/// but spaces and tabs stands between the parts that were parsed and the ends of their lines.
fn has_bare_feed(head: &[u8], request: &httparse::Request<'_, '_>) -> bool {
    let end_of = |part: &[u8]| (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize).wrapping_add(part.len());
    let ends_well = |field: &httparse::Header<'_>| {
        let colon = end_of(field.name.as_bytes());
        let mut end = if field.value.is_empty() { colon + 1 } else { end_of(field.value) };
        while matches!(head.get(end), Some(b' ' | b'\t')) {
            end += 1;
        }
        head.get(end) == Some(&b'\r')
    };
    let first_line = end_of(request.path.unwrap_or_default().as_bytes()) + " HTTP/1.1".len();
    let empty_line = head.len().saturating_sub(2);
    let has_returns = [first_line, empty_line].iter().all(|end| head.get(*end) == Some(&b'\r'));
    !has_returns || !request.headers.iter().all(ends_well)
}

/// What `Connection` says where it says what it nearly always says. Then it need not become a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asks {
    keep_alive: bool,
    close: bool,
}

impl Asks {
    /// Notes a line; false when it says something else.
    fn note(&mut self, line: &[u8]) -> bool {
        let (keep_alive, close) = (line.eq_ignore_ascii_case(b"keep-alive"), line.eq_ignore_ascii_case(b"close"));
        self.keep_alive |= keep_alive;
        self.close |= close;
        keep_alive || close
    }
}

fn manner(arrived: &Arrived, asks: Asks) -> Result<Manner, Garbled> {
    let (version, headers, fields) = (arrived.head.version, &arrived.head.headers, arrived.fields);
    let length = content_length(headers, fields)?;
    let framing = match (is_chunked(version, headers, fields)?, length) {
        (true, None) => Framing::Chunked(Chunk::Size),
        (false, length) => Framing::Length(length.unwrap_or(0)),
        (true, Some(_)) => return Err(Garbled::Malformed),
    };
    let keeps_alive = !asks.close && (keeps_alive(version, headers, fields) || asks.keep_alive);
    Ok(Manner { framing, keeps_alive })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take_all(text: &[u8]) -> Result<Option<Manner>, Garbled> {
        take(&mut BytesMut::from(text), &mut 0, &ListenerLimits::default(), &mut Arrived::nothing())
    }

    #[test]
    fn a_head_is_understood_however_it_comes() {
        let text = b"\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A:  1 \r\nx-a:\r\n\r\nhello";
        for step in 1..text.len() {
            let (mut read, mut looked_at, mut manner) = (BytesMut::new(), 0, None);
            let mut arrived = Arrived::nothing();
            for piece in text.chunks(step) {
                read.extend_from_slice(piece);
                manner = match manner {
                    None => take(&mut read, &mut looked_at, &ListenerLimits::default(), &mut arrived).unwrap(),
                    known => known,
                };
            }
            let Arrived { head, fields, .. } = arrived;
            assert_eq!((head.method.as_str(), head.uri.to_string().as_str()), ("POST", "/a?b"));
            let expected = Manner { framing: Framing::Length(5), keeps_alive: true };
            assert_eq!((manner, &read[..]), (Some(expected), &b"hello"[..]));
            let lines: Vec<&[u8]> = head.headers.get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(lines, [&b"1"[..], b""]);
            assert!(fields.has(Fields::CONTENT_LENGTH) && !fields.has(Fields::CONNECTION));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
            "GET / HTTP/1.1\r\nhost:\n\r\n",
            "GET / HTTP/1.1\r\nhost: a \t\n\r\n",
            "GET / HTTP/1.1\r\na: b\r\nhost: a\nc: d\r\n\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET /#a HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.2\r\n\r\n",
            "GET / HTTP/0.9\r\n\r\n",
            "GET /\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\n: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length:\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: ,chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(take_all(text.as_bytes()).err(), Some(Garbled::Malformed), "{text:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_as_soon_as_it_is() {
        let long = |bytes: usize| "x".repeat(bytes);
        for (text, refused) in [
            (format!("GET /{}", long(9000)), Garbled::TargetTooLong),
            (format!("GET / HTTP/1.1\r\na: {}", long(33_000)), Garbled::TooLarge),
            (format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", long(33_000)), Garbled::TooLarge),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)), Garbled::TooLarge),
        ] {
            assert_eq!(take_all(text.as_bytes()).err(), Some(refused));
        }
        assert!(take_all(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100)).as_bytes()).unwrap().is_some());
    }

    #[test]
    fn who_stays_is_told_by_version_and_connection() {
        for (text, stays) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nconnection: x, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nconnection: keep-alive, x\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nconnection: CLOSE\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nconnection: close\r\nconnection: keep-alive, x\r\n\r\n", false),
        ] {
            assert_eq!(take_all(text.as_bytes()).unwrap().unwrap().keeps_alive, stays, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), line in ".{0,80}") {
            let _ = take_all(&bytes);
            let _ = take_all(&[b"GET / HTTP/1.1\r\n", line.as_bytes(), b"\r\n", &bytes, b"\r\n\r\n"].concat());
        }
    }
}
