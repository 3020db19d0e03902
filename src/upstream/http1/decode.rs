//! From bytes to an answer (RFC 9112 §4 to §7). Whatever can be read in two ways is refused, and its connection with it.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, response};
use std::mem::MaybeUninit;

/// The head of an answer that is complete, and how its body ends.
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// The connection may serve another request after this answer.
    pub(super) keeps_alive: bool,
}

/// How the end of a body is told, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(Chunk),
    /// Whatever comes until the endpoint closes.
    UntilClose,
}

/// Where in the chunks the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// At the line that says how long the next chunk is.
    Size,
    /// In a chunk of which so many bytes are to come.
    Data(u64),
    /// At the line break behind a chunk.
    End,
    /// At the lines behind the last chunk.
    Trailers,
    /// Behind all of it.
    Done,
}

/// A piece of a body.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// All of it was given.
    End,
    /// More bytes are needed.
    Starved,
}

/// The answer is not HTTP, or not in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Header fields that an answer may have.
pub(super) const FIELDS_MAX: usize = 200;
/// Bytes of an answer's head, and of all trailers.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a line that says a chunk's length; what it says beyond that is dropped, so a little must do.
const CHUNK_LINE_MAX: usize = 1024;

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
    let start = read.as_ptr() as usize;
    let place = |bytes: &[u8]| (bytes.as_ptr() as usize - start, bytes.len());
    let mut places = smallvec::SmallVec::<[(HeaderName, (usize, usize)); 16]>::new();
    for field in answer.headers.iter() {
        places.push((HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?, place(field.value)));
    }
    let bytes = read.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len() + 2);
    for (name, (at, len)) in places {
        let value = HeaderValue::from_maybe_shared(bytes.slice(at..at + len)).map_err(|_| Malformed)?;
        headers.append(name, value);
    }
    let framing = framing(method, status, version, &mut headers)?;
    let keeps_alive = framing != Framing::UntilClose && keeps_alive(version, &headers);
    let (mut parts, ()) = http::Response::new(()).into_parts();
    (parts.status, parts.version, parts.headers) = (status, version, headers);
    Ok(Some(Head { parts, framing, keeps_alive }))
}

/// How the body ends (RFC 9112 §6.3).
fn framing(
    method: &Method,
    status: StatusCode,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<Framing, Malformed> {
    let length = content_length(headers)?;
    let is_chunked = is_chunked(version, headers)?;
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

/// The one length that an answer says, if it says one. Saying it twice is not saying it once.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let digits = line.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !is_number || lines.next().is_some() {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    text.parse().map(Some).map_err(|_| Malformed)
}

/// The only coding that is understood is `chunked`, once, in HTTP/1.1.
fn is_chunked(version: Version, headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(line) = lines.next() else { return Ok(false) };
    let is_plain = line.as_bytes().eq_ignore_ascii_case(b"chunked") && lines.next().is_none();
    if is_plain && version == Version::HTTP_11 { Ok(true) } else { Err(Malformed) }
}

fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
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

impl Framing {
    /// True when nothing of the body is to come.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunk::Done))
    }

    /// Takes the next piece of the body out of what was read.
    pub(super) fn take_piece(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        match self {
            Framing::Length(0) => Ok(Piece::End),
            _ if read.is_empty() && !self.is_done() => Ok(Piece::Starved),
            Framing::Length(rest) => {
                let data = split_up_to(read, *rest);
                *rest -= data.len() as u64;
                Ok(Piece::Data(data))
            }
            Framing::UntilClose => Ok(Piece::Data(std::mem::take(read).freeze())),
            Framing::Chunked(chunk) => chunk.take_piece(read),
        }
    }
}

impl Chunk {
    fn take_piece(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
        loop {
            match self {
                Chunk::Size => match take_line(read, CHUNK_LINE_MAX)? {
                    None => return Ok(Piece::Starved),
                    Some(line) => {
                        let size = chunk_size(&line)?;
                        *self = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                    }
                },
                Chunk::Data(_) if read.is_empty() => return Ok(Piece::Starved),
                Chunk::Data(rest) => {
                    let data = split_up_to(read, *rest);
                    *rest -= data.len() as u64;
                    if *rest == 0 {
                        *self = Chunk::End;
                    }
                    return Ok(Piece::Data(data));
                }
                Chunk::End => match read.as_ref() {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        *self = Chunk::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::Starved),
                    _ => return Err(Malformed),
                },
                Chunk::Trailers => {
                    let Some(trailers) = take_trailers(read)? else { return Ok(Piece::Starved) };
                    *self = Chunk::Done;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
                Chunk::Done => return Ok(Piece::End),
            }
        }
    }
}

fn split_up_to(read: &mut BytesMut, most: u64) -> Bytes {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(read.len());
    read.split_to(count).freeze()
}

/// A line without its `CR LF`; a bare `LF` does not end one.
fn take_line(read: &mut BytesMut, most: usize) -> Result<Option<BytesMut>, Malformed> {
    match memchr::memchr(b'\n', read) {
        Some(at) if at > 0 && at <= most && read[at - 1] == b'\r' => {
            let mut line = read.split_to(at + 1);
            line.truncate(at - 1);
            Ok(Some(line))
        }
        Some(_) => Err(Malformed),
        None if read.len() > most => Err(Malformed),
        None => Ok(None),
    }
}

/// The length in `1a;extension=value`: hexadecimal digits and nothing but an extension behind them.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_clean = line[digits..].first().is_none_or(|byte| *byte == b';') && !line.contains(&b'\r');
    if digits == 0 || digits > 15 || !is_clean {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

/// The fields behind the last chunk, up to and with the empty line; `None` while they are not complete.
fn take_trailers(read: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let (length, trailers) = match httparse::parse_headers(read, &mut fields).map_err(|_| Malformed)? {
        httparse::Status::Partial if read.len() > HEAD_BYTES_MAX => return Err(Malformed),
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete((length, fields)) => {
            let mut trailers = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
                trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Malformed)?);
            }
            (length, trailers)
        }
    };
    read.advance(length);
    Ok(Some(trailers))
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
        assert_eq!(head("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(Malformed));
        assert_eq!(head("SSH-2.0-OpenSSH\r\n"), Err(Malformed));
        assert_eq!(head("HTTP/1.1 200 OK\r\nx: "), Ok(None));
    }

    fn pieces(text: &str, step: usize) -> Result<(Vec<u8>, Option<HeaderMap>, usize), Malformed> {
        let (mut framing, mut read) = (Framing::Chunked(Chunk::Size), BytesMut::new());
        let (mut data, mut trailers) = (Vec::new(), None);
        let mut rest = text.as_bytes();
        loop {
            match framing.take_piece(&mut read)? {
                Piece::Data(bytes) => data.extend_from_slice(&bytes),
                Piece::Trailers(fields) => trailers = Some(fields),
                Piece::End => return Ok((data, trailers, read.len() + rest.len())),
                Piece::Starved if rest.is_empty() => return Err(Malformed),
                Piece::Starved => {
                    let count = step.min(rest.len());
                    read.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
            }
        }
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        for step in 1..40 {
            let (data, trailers, left) =
                pieces("5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\n\r\nNEXT", step).unwrap();
            assert_eq!((data.as_slice(), trailers, left), (&b"hello 0123456789"[..], None, 4));
            let (_, trailers, _) = pieces("1\r\nx\r\n0\r\nx-sum: 9\r\n\r\n", step).unwrap();
            assert_eq!(trailers.unwrap()["x-sum"], "9");
        }
    }

    #[test]
    fn chunks_that_two_could_read_differently_are_refused() {
        for text in [
            "5\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nbad name: 1\r\n\r\n",
        ] {
            assert!(pieces(text, 7).is_err(), "{text:?}");
        }
        assert!(pieces(&format!("5;{}\r\n", "x".repeat(2000)), 100).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = take_head(&mut BytesMut::from(&bytes[..]), &Method::GET);
            for mut framing in [Framing::Chunked(Chunk::Size), Framing::Length(7), Framing::UntilClose] {
                let mut read = BytesMut::from(&bytes[..]);
                for _ in 0..500 {
                    if matches!(framing.take_piece(&mut read), Err(_) | Ok(Piece::End | Piece::Starved)) {
                        break;
                    }
                }
            }
        }
    }
}
