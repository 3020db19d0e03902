//! How the bodies of HTTP/1.1 end (RFC 9112 §6 and §7), in both directions. Whatever can be read in two ways is refused.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::upstream::Fields;

/// How the end of a body is told, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(Chunk),
    /// Whatever comes until the other end closes.
    UntilClose,
}

/// Where in the chunks the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
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
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// All of it was given.
    End,
    /// More bytes are needed.
    Starved,
}

/// The message is not HTTP, or not in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Bytes of a message's head, and of all trailers.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a line that says a chunk's length; what it says beyond that is dropped, so a little must do.
const CHUNK_LINE_MAX: usize = 1024;

/// The one length that a message says, if it says one. Saying it twice is not saying it once.
pub(crate) fn content_length(headers: &HeaderMap, fields: Fields) -> Result<Option<u64>, Malformed> {
    if !fields.has(Fields::CONTENT_LENGTH) {
        return Ok(None);
    }
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
pub(crate) fn is_chunked(version: Version, headers: &HeaderMap, fields: Fields) -> Result<bool, Malformed> {
    if !fields.has(Fields::TRANSFER_ENCODING) {
        return Ok(false);
    }
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(line) = lines.next() else { return Ok(false) };
    let is_plain = line.as_bytes().eq_ignore_ascii_case(b"chunked") && lines.next().is_none();
    if is_plain && version == Version::HTTP_11 { Ok(true) } else { Err(Malformed) }
}

impl Framing {
    /// True when nothing of the body is to come.
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunk::Done))
    }

    /// Takes the next piece of the body out of what was read.
    pub(crate) fn take_piece(&mut self, read: &mut BytesMut) -> Result<Piece, Malformed> {
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
        // httparse takes a line feed alone for the end of a line, and of all of them
        httparse::Status::Complete((length, _)) if has_bare_feed(&read[..length]) => return Err(Malformed),
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

/// True when a line feed stands without a return before it: some take it for the end of a line, and some do not.
fn has_bare_feed(lines: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            "0\r\n\n",
            "0\r\nx: 1\n\r\n",
            "0\r\nx: 1\r\n\n",
        ] {
            assert!(pieces(text, 7).is_err(), "{text:?}");
        }
        assert!(pieces(&format!("5;{}\r\n", "x".repeat(2000)), 100).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
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
