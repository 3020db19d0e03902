//! From a request to bytes (RFC 9112 §3 and §7).

use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, header, request};
use std::io::Write;

/// What of a request waits to be written: its head and framing, and one piece of its body behind it.
#[derive(Default)]
pub(super) struct Pending {
    front: Vec<u8>,
    written: usize,
    body: Bytes,
    /// Written behind the body.
    back: &'static [u8],
}

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// There is none.
    Empty,
    /// So many bytes are to come.
    Length(u64),
    /// As many chunks as there are pieces.
    Chunked,
}

/// A front that once had to be larger than this does not stay so.
const FRONT_BYTES_KEPT: usize = 4096;

impl BodyForm {
    /// The form that a request's own fields say; they were made so that there is just one.
    pub(super) fn of(head: &request::Parts, has_body: bool) -> BodyForm {
        if !has_body {
            return BodyForm::Empty;
        }
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.map_or(BodyForm::Chunked, BodyForm::Length)
    }
}

impl Pending {
    /// Writes the head of a request.
    pub(super) fn push_head(&mut self, head: &request::Parts, form: BodyForm) {
        let front = &mut self.front;
        front.extend_from_slice(head.method.as_str().as_bytes());
        front.push(b' ');
        front.extend_from_slice(head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).as_bytes());
        front.extend_from_slice(b" HTTP/1.1\r\n");
        push_fields(front, &head.headers);
        let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
        if form == BodyForm::Empty && expects_body && !head.headers.contains_key(header::CONTENT_LENGTH) {
            // RFC 9110 §8.6: said outright, where a body would be usual
            front.extend_from_slice(b"content-length: 0\r\n");
        }
        front.extend_from_slice(b"\r\n");
    }

    /// Takes a piece of the body. Only when everything before was written.
    pub(super) fn push_data(&mut self, data: Bytes, form: BodyForm) {
        if form == BodyForm::Chunked && !data.is_empty() {
            // writing to memory does not fail
            let _ = write!(self.front, "{:x}\r\n", data.len());
            self.back = b"\r\n";
        }
        self.body = data;
    }

    /// Ends a chunked body.
    pub(super) fn push_end(&mut self, trailers: Option<&HeaderMap>) {
        self.front.extend_from_slice(b"0\r\n");
        if let Some(trailers) = trailers {
            push_fields(&mut self.front, trailers);
        }
        self.front.extend_from_slice(b"\r\n");
    }

    /// True when a piece of the body waits, so that the next one has to.
    pub(super) fn has_body(&self) -> bool {
        !self.body.is_empty() || !self.back.is_empty()
    }

    /// True when all was written.
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty() && self.body.is_empty() && self.back.is_empty()
    }

    /// What is to be written now, in order.
    pub(super) fn slices(&self) -> [&[u8]; 3] {
        [&self.front[self.written..], &self.body, self.back]
    }

    /// So many bytes of it were written.
    pub(super) fn advance(&mut self, mut count: usize) {
        let of_front = count.min(self.front.len() - self.written);
        self.written += of_front;
        count -= of_front;
        if self.written == self.front.len() {
            self.front.clear();
            self.written = 0;
            if self.front.capacity() > FRONT_BYTES_KEPT {
                self.front = Vec::new();
            }
        }
        let of_body = count.min(self.body.len());
        self.body.advance(of_body);
        count -= of_body;
        if self.body.is_empty() {
            self.body = Bytes::new();
        }
        self.back = &self.back[count.min(self.back.len())..];
    }
}

fn push_fields(to: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
        to.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, target: &str, fields: &[(&'static str, &'static str)]) -> request::Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn drain(pending: &mut Pending, step: usize) -> String {
        let mut all = Vec::new();
        while !pending.is_empty() {
            let slices = pending.slices().concat();
            let count = step.min(slices.len());
            all.extend_from_slice(&slices[..count]);
            pending.advance(count);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_head_is_written_as_it_is() {
        let mut pending = Pending::default();
        pending.push_head(&head(Method::GET, "/a?b=c", &[("host", "a"), ("x", "1"), ("x", "2")]), BodyForm::Empty);
        assert_eq!(drain(&mut pending, 3), "GET /a?b=c HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\n\r\n");
        pending.push_head(&head(Method::POST, "/", &[("host", "a")]), BodyForm::Empty);
        assert_eq!(drain(&mut pending, 100), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    }

    #[test]
    fn chunks_are_framed_however_they_are_written() {
        for step in 1..30 {
            let mut pending = Pending::default();
            pending.push_data(Bytes::from_static(b"hello world, hello"), BodyForm::Chunked);
            let mut all = drain(&mut pending, step);
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", "9".parse().unwrap());
            pending.push_end(Some(&trailers));
            all += &drain(&mut pending, step);
            assert_eq!(all, "12\r\nhello world, hello\r\n0\r\nx-sum: 9\r\n\r\n");
        }
    }
}
