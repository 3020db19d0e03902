//! From an answer to bytes (RFC 9112 §4 and §6).

use http::{StatusCode, Version, header, response};
use hyper::body::Body;

use crate::proxy::answer::AnswerBody;
use crate::proxy::date::Date;
use crate::upstream::Fields;
use crate::upstream::http1::{BodyForm, push_fields};

/// Room for the head of a usual answer.
const HEAD_BYTES_USUAL: usize = 512;

/// How the end of an answer's body is told to this client (RFC 9112 §6.3).
pub(super) fn form(
    head: &mut response::Parts,
    fields: Fields,
    body: &AnswerBody,
    is_head: bool,
    version: Version,
) -> BodyForm {
    let has_length = fields.has(Fields::CONTENT_LENGTH);
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        if has_length {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        return BodyForm::Empty;
    }
    if is_head || head.status == StatusCode::NOT_MODIFIED {
        return BodyForm::Empty;
    }
    if has_length {
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(length) = length {
            return BodyForm::Length(length);
        }
    }
    match version {
        _ if body.is_end_stream() => BodyForm::Length(0),
        Version::HTTP_11 => BodyForm::Chunked,
        _ => BodyForm::UntilClose,
    }
}

/// Writes the head of an answer.
pub(super) fn push_head(
    front: &mut Vec<u8>,
    head: &response::Parts,
    fields: Fields,
    form: BodyForm,
    version: Version,
    date: &Date,
) {
    front.reserve(HEAD_BYTES_USUAL);
    push_status(front, head.status, version);
    push_fields(front, &head.headers);
    match form {
        BodyForm::Chunked => front.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyForm::Length(0) if !fields.has(Fields::CONTENT_LENGTH) => {
            front.extend_from_slice(b"content-length: 0\r\n");
        }
        BodyForm::Length(_) | BodyForm::Empty | BodyForm::UntilClose => {}
    }
    // a message without a date gets that of its arrival (RFC 9110 §6.6.1)
    if !fields.has(Fields::DATE) && !head.status.is_informational() {
        push_date(front, date);
    }
    front.extend_from_slice(b"\r\n");
}

/// Writes an informational answer.
pub(super) fn push_interim(front: &mut Vec<u8>, head: &response::Parts) {
    push_status(front, head.status, Version::HTTP_11);
    push_fields(front, &head.headers);
    front.extend_from_slice(b"\r\n");
}

/// Writes an answer to bytes that are no request. Whoever meant to ask for a head (`is_head`) reads no body.
pub(super) fn push_refusal(front: &mut Vec<u8>, is_head: bool, status: StatusCode, reason: &str, date: &Date) {
    let text = if is_head { String::new() } else { format!("{} {reason}\n", status.as_u16()) };
    push_status(front, status, Version::HTTP_11);
    front.extend_from_slice(
        b"content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nconnection: close\r\n",
    );
    push_date(front, date);
    front.extend_from_slice(format!("content-length: {}\r\n\r\n{text}", text.len()).as_bytes());
}

fn push_status(front: &mut Vec<u8>, status: StatusCode, version: Version) {
    front.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    front.extend_from_slice(status.as_str().as_bytes());
    front.push(b' ');
    front.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    front.extend_from_slice(b"\r\n");
}

fn push_date(front: &mut Vec<u8>, date: &Date) {
    front.extend_from_slice(b"date: ");
    front.extend_from_slice(date.as_bytes());
    front.extend_from_slice(b"\r\n");
}
