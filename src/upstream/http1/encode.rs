//! From a request to bytes (RFC 9112 §3).

use http::{HeaderMap, Method, header, request};

use super::pending::{BodyForm, push_field, push_fields};
use crate::upstream::Fields;

/// The form of a body that the request's own fields say; they were made so that there is just one.
pub(super) fn body_form(head: &request::Parts, fields: Fields, has_body: bool) -> BodyForm {
    if !has_body {
        return BodyForm::Empty;
    }
    if !fields.has(Fields::CONTENT_LENGTH) {
        return BodyForm::Chunked;
    }
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    length.map_or(BodyForm::Chunked, BodyForm::Length)
}

/// Writes the head of a request. `added` writes further lines.
pub(super) fn push_head(
    front: &mut Vec<u8>,
    head: &request::Parts,
    added: &dyn Fn(&mut Vec<u8>),
    fields: Fields,
    form: BodyForm,
) {
    front.extend_from_slice(head.method.as_str().as_bytes());
    front.push(b' ');
    front.extend_from_slice(head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).as_bytes());
    front.extend_from_slice(b" HTTP/1.1\r\n");
    if fields.has(Fields::COOKIE) {
        push_with_one_cookie(front, &head.headers);
    } else {
        push_fields(front, &head.headers);
    }
    added(front);
    let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
    if form == BodyForm::Empty && expects_body && !fields.has(Fields::CONTENT_LENGTH) {
        // RFC 9110 §8.6: said outright, where a body would be usual
        front.extend_from_slice(b"content-length: 0\r\n");
    }
    front.extend_from_slice(b"\r\n");
}

/// Writes fields with all crumbs of the cookie on one line (RFC 9113 §8.2.3). Here and not before: by header compression
/// a few bytes may have become many crumbs.
fn push_with_one_cookie(front: &mut Vec<u8>, fields: &HeaderMap) {
    let mut is_within = false;
    for (name, value) in fields {
        let is_crumb = *name == header::COOKIE;
        if is_crumb && is_within {
            front.truncate(front.len() - b"\r\n".len());
            front.extend_from_slice(b"; ");
            front.extend_from_slice(value.as_bytes());
            front.extend_from_slice(b"\r\n");
        } else {
            push_field(front, name, value.as_bytes());
        }
        is_within = is_crumb;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: Method, target: &str, fields: &[(&'static str, &'static str)]) -> String {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        let mut front = Vec::new();
        let added = |front: &mut Vec<u8>| front.extend_from_slice(b"via: 1.1 x\r\n");
        push_head(&mut front, &head, &added, Fields::of(&head.headers), BodyForm::Empty);
        String::from_utf8(front).unwrap()
    }

    #[test]
    fn a_head_is_written_as_it_is() {
        let text = written(Method::GET, "/a?b=c", &[("host", "a"), ("x", "1"), ("x", "2")]);
        assert_eq!(text, "GET /a?b=c HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\nvia: 1.1 x\r\n\r\n");
        let text = written(Method::GET, "/", &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        assert_eq!(text, "GET / HTTP/1.1\r\ncookie: a=1; b=2; c=3\r\nx: 1\r\nvia: 1.1 x\r\n\r\n");
        let text = written(Method::POST, "/", &[("host", "a")]);
        assert_eq!(text, "POST / HTTP/1.1\r\nhost: a\r\nvia: 1.1 x\r\ncontent-length: 0\r\n\r\n");
        let text = written(Method::POST, "/", &[("content-length", "0")]);
        assert_eq!(text, "POST / HTTP/1.1\r\ncontent-length: 0\r\nvia: 1.1 x\r\n\r\n");
    }
}
