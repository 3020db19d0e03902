//! From bytes to an answer (RFC 9112 §4 to §6). Whatever can be read in two ways is refused, and its connection with it.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};
use std::mem::MaybeUninit;

use super::framing::{Chunk, Framing, HEAD_BYTES_MAX, Malformed, content_length, is_chunked};
use super::{HeadText, SpareMap, header_name};
use crate::upstream::Fields;

/// The head of an answer that is complete, and how its body ends.
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) fields: Fields,
    pub(super) framing: Framing,
    /// The connection may serve another request after this answer.
    pub(super) keeps_alive: bool,
}

/// Header fields that an answer may have.
pub(super) const FIELDS_MAX: usize = 200;
/// Takes the head of an answer to a request with `method` out of what was read; `None` while it is not complete.
pub(super) fn take_head(read: &mut BytesMut, method: &Method) -> Result<Option<Head>, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut answer, read, &mut fields);
    let length = match parsed.map_err(|_| Malformed)? {
        httparse::Status::Partial if read.len() >= HEAD_BYTES_MAX => return Err(Malformed),
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) if length > HEAD_BYTES_MAX => return Err(Malformed),
        httparse::Status::Complete(length) => length,
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let text = HeadText::of(&read[..length]);
    let mut headers = SpareMap::take();
    // one is added to many answers (`Cache-Control: private`)
    headers.reserve(answer.headers.len() + 1);
    let mut found = Fields::default();
    for field in answer.headers.iter() {
        let (name, known) = header_name(field.name.as_bytes())?;
        let value = HeaderValue::from_maybe_shared(text.part(field.value)).map_err(|_| Malformed)?;
        found = found.and(known);
        headers.append(name, value);
    }
    read.advance(length);
    let framing = framing(method, status, version, &headers, found)?;
    let keeps_alive = framing != Framing::UntilClose
        && !promises_a_body_that_it_cannot_have(status, &headers, found)?
        && keeps_alive(version, &headers, found);
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.version, parts.headers) = (status, version, headers);
    Ok(Some(Head { parts, fields: found, framing, keeps_alive }))
}

/// How the body ends (RFC 9112 §6.3).
fn framing(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    fields: Fields,
) -> Result<Framing, Malformed> {
    let length = content_length(headers, fields)?;
    let is_chunked = is_chunked(version, headers, fields)?;
    if is_chunked && length.is_some() {
        return Err(Malformed);
    }
    let has_none = status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if has_none || *method == Method::HEAD {
        return Ok(Framing::Length(0));
    }
    Ok(match (is_chunked, length) {
        (true, _) => Framing::Chunked(Chunk::Size),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    })
}

/// True for a 204 that says how its body ends (RFC 9112 §6.1, RFC 9110 §8.6). It has none; but whoever says so may send
/// one all the same, and it must not be the answer to the next request. Before the answer there is no telling what would
/// be its body and what the answer, so such an informational one is refused.
fn promises_a_body_that_it_cannot_have(
    status: StatusCode,
    headers: &HeaderMap,
    fields: Fields,
) -> Result<bool, Malformed> {
    let is_bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    if !is_bodiless || !(fields.has(Fields::CONTENT_LENGTH) || fields.has(Fields::TRANSFER_ENCODING)) {
        return Ok(false);
    }
    let promises = fields.has(Fields::TRANSFER_ENCODING) || content_length(headers, fields)? != Some(0);
    if promises && status.is_informational() { Err(Malformed) } else { Ok(promises) }
}

/// True when the connection may be used again after this message (RFC 9112 §9.3).
pub(crate) fn keeps_alive(version: Version, headers: &HeaderMap, fields: Fields) -> bool {
    if !fields.has(Fields::CONNECTION) {
        return version == Version::HTTP_11;
    }
    let mut tokens = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    match version {
        Version::HTTP_11 => !tokens.any(|token| token.eq_ignore_ascii_case(b"close")),
        _ => tokens.any(|token| token.eq_ignore_ascii_case(b"keep-alive")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<Option<(u16, Framing, bool)>, Malformed> {
        head_of(Method::GET, text)
    }

    fn head_of(method: Method, text: &str) -> Result<Option<(u16, Framing, bool)>, Malformed> {
        let head = take_head(&mut BytesMut::from(text), &method)?;
        Ok(head.map(|head| (head.parts.status.as_u16(), head.framing, head.keeps_alive)))
    }

    #[test]
    fn an_answer_ends_in_one_way() {
        let chunked = Framing::Chunked(Chunk::Size);
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", (200, Framing::Length(5), true)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", (200, chunked, true)),
            ("HTTP/1.1 200 OK\r\n\r\n", (200, Framing::UntilClose, false)),
            ("HTTP/1.1 204 No\r\n\r\n", (204, Framing::Length(0), true)),
            ("HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n", (304, Framing::Length(0), true)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close\r\n\r\n", (200, Framing::Length(5), false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", (200, Framing::Length(5), false)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n", (200, Framing::Length(5), true)),
        ] {
            assert_eq!(head(text), Ok(Some(expected)), "{text}");
        }
        // a body that there cannot be, and may come all the same
        for (fields, is_used_again) in [
            ("content-length: 0\r\n", true),
            ("content-length: 5\r\n", false),
            ("transfer-encoding: chunked\r\n", false),
        ] {
            let none = Ok(Some((204, Framing::Length(0), is_used_again)));
            assert_eq!(head(&format!("HTTP/1.1 204 No\r\n{fields}\r\n")), none, "{fields}");
        }
        let none = Ok(Some((200, Framing::Length(0), true)));
        assert_eq!(head_of(Method::HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"), none);
    }

    #[test]
    fn an_answer_that_could_end_in_two_ways_is_refused() {
        for fields in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: -5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: identity\r\n",
            "x: a\r\n folded\r\n",
            "x : a\r\n",
        ] {
            assert_eq!(head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")), Err(Malformed), "{fields}");
        }
        for interim in
            ["103 Hints\r\ncontent-length: 5", "100 Go\r\ntransfer-encoding: chunked", "101 S\r\ncontent-length: 5"]
        {
            assert_eq!(head(&format!("HTTP/1.1 {interim}\r\n\r\n")), Err(Malformed), "{interim}");
        }
        assert_eq!(head("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(Malformed));
        assert_eq!(head("SSH-2.0-OpenSSH\r\n"), Err(Malformed));
        assert_eq!(head("HTTP/1.1 200 OK\r\nx: "), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = take_head(&mut BytesMut::from(&bytes[..]), &Method::GET);
        }
    }
}
