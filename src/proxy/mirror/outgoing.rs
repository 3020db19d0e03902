//! The request that a copy is sent as. It is made while the user's own is about to be sent, and completed when there is
//! a connection for it.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header, request};
use std::net::SocketAddr;

use crate::proxy::additions::Additions;
use crate::proxy::edit;
use crate::proxy::forward::Decision;
use crate::proxy::headers::{HopByHop, X_REQUEST_ID, X_RINGWAY_VARIANT};
use crate::proxy::send::over_http2;
use crate::routing::forged::X_RINGWAY_MIRROR;
use crate::routing::mirror::Mirror;
use crate::routing::request::Destination;
use crate::upstream::http1::push_field;
use crate::upstream::{Alpn, Fields};

/// A copied request, but for its body.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    /// The client's, which endpoints may be spoken to by as well.
    pub(super) version: Version,
    /// For endpoints that are told of clients by the PROXY protocol.
    pub(super) client: SocketAddr,
    form: Form,
}

/// The header fields.
enum Form {
    /// As lines of HTTP/1.1, but for those of the body. A map would cost several times as much, to be written once.
    Written {
        lines: Vec<u8>,
        /// The user's request says how long its body is, which may be nothing.
        has_length: bool,
    },
    /// As a map, where there may be HTTP/2, or something is still to be edited.
    Mapped { headers: HeaderMap, authority: Option<HeaderValue>, takes_trailers: bool },
}

/// An [`Outgoing`] with all that has to be known of its connection.
pub(super) struct Addressed {
    pub(super) head: request::Parts,
    /// The fields that the head has.
    pub(super) fields: Fields,
    /// Those that stand nowhere else.
    pub(super) lines: Vec<u8>,
}

/// The id by which both requests are found in logs.
pub(super) enum RequestId {
    /// We gave it.
    Made([u8; 36]),
    /// It came with the request.
    Came(HeaderValue),
    /// There is none.
    Absent,
}

/// What the user's own request says that its copy does not: the mirror has its own, or the connection has.
const LEFT_OUT: [HeaderName; 4] = [header::HOST, header::TRAILER, header::TRANSFER_ENCODING, X_RINGWAY_VARIANT];
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
/// Bytes that are counted for a header field beside its name and value.
const FIELD_BYTES: usize = 64;

impl Outgoing {
    /// Copies a head that is about to be sent. `lines` is where to write, if that is how it is done.
    pub(super) fn new(
        (mirror, decision): (&Mirror, &Decision<'_>),
        (head, additions): (&request::Parts, &Additions<'_>),
        (destination, client): (&Destination, SocketAddr),
        asked: HopByHop,
        lines: impl FnOnce() -> Vec<u8>,
    ) -> Option<Outgoing> {
        let target = destination.target.as_ref().unwrap_or(&head.uri).path_and_query().cloned()?;
        let is_http1 = mirror.upstream.spec().alpn(head.version) == Alpn::Http1;
        let form = if is_http1 && decision.told.is_none() {
            let mut lines = lines();
            let has_length = write(&mut lines, mirror, (head, additions), destination.authority.as_ref(), asked);
            Form::Written { lines, has_length }
        } else {
            let headers = map(mirror, decision, head, additions);
            Form::Mapped { headers, authority: destination.authority.clone(), takes_trailers: asked.takes_trailers }
        };
        Some(Outgoing { method: head.method.clone(), target, version: head.version, client, form })
    }

    /// What it is counted as in the budget, in bytes.
    pub(super) fn size(&self) -> usize {
        let of_fields = match &self.form {
            Form::Written { lines, .. } => lines.capacity(),
            Form::Mapped { headers, .. } => size(headers),
        };
        self.target.as_str().len() + of_fields
    }

    /// Takes the buffer out, when the copy is not sent.
    pub(super) fn take_lines(&mut self) -> Vec<u8> {
        match &mut self.form {
            Form::Written { lines, .. } => std::mem::take(lines),
            Form::Mapped { .. } => Vec::new(),
        }
    }

    /// Completes the head for a connection, with a body of `length` bytes if there is one. The fields are taken out.
    pub(super) fn address(&mut self, mirror: &Mirror, length: Option<usize>, is_http2: bool) -> Option<Addressed> {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.method.clone();
        let target = self.target.clone();
        match &mut self.form {
            Form::Written { lines, has_length } => {
                let (lines, has_length) = (std::mem::take(lines), *has_length);
                head.uri = Uri::from(target);
                let length = length.or(has_length.then_some(0));
                let fields = length.map_or(Fields::default(), |length| {
                    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                    Fields::CONTENT_LENGTH
                });
                Some(Addressed { head, fields, lines })
            }
            Form::Mapped { headers, authority, takes_trailers } => {
                let (mut headers, takes_trailers) = (std::mem::take(headers), *takes_trailers);
                if let Some(length) = length {
                    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                }
                if takes_trailers {
                    headers.insert(header::TE, HeaderValue::from_static("trailers"));
                }
                if is_http2 {
                    head.version = Version::HTTP_2;
                    let scheme = mirror.upstream.spec().scheme();
                    head.uri = over_http2(&mut headers, authority.as_ref(), target, scheme)?;
                } else {
                    head.uri = Uri::from(target);
                    headers.insert(header::HOST, authority.take().unwrap_or(HeaderValue::from_static("")));
                    if takes_trailers {
                        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
                    }
                }
                let fields = Fields::of(&headers);
                head.headers = headers;
                Some(Addressed { head, fields, lines: Vec::new() })
            }
        }
    }
}

#[cfg(test)]
impl Outgoing {
    /// A request without header fields.
    pub(super) fn to(method: Method, target: PathAndQuery) -> Outgoing {
        let form = Form::Written { lines: Vec::new(), has_length: false };
        Outgoing { method, target, version: Version::HTTP_11, client: SocketAddr::from(([127, 0, 0, 1], 1)), form }
    }
}

impl RequestId {
    /// The one that a request goes out with.
    pub(super) fn of(head: &request::Parts, additions: &Additions<'_>) -> RequestId {
        match additions.request_id {
            Some(made) => RequestId::Made(made),
            None => head.headers.get(X_REQUEST_ID).cloned().map_or(RequestId::Absent, RequestId::Came),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        let bytes = match self {
            RequestId::Made(made) => made,
            RequestId::Came(came) => came.as_bytes(),
            RequestId::Absent => &[],
        };
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// What a head is counted as in the budget.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len()).sum()
}

/// What the copy has of us: as the user's request, but for what the mirror's variant has of its own.
fn own<'r>(mirror: &'r Mirror, additions: &Additions<'r>) -> Additions<'r> {
    let [service, cohort, _] = additions.decided;
    Additions { set: &mirror.set_headers, decided: [service, cohort, &mirror.header], ..additions.clone() }
}

/// True for fields of the user's request that the copy does not have.
fn is_left_out(mirror: &Mirror, name: &HeaderName) -> bool {
    LEFT_OUT.contains(name)
        || mirror.set_headers.iter().any(|(set, _)| set == name)
        || (mirror.strips_credentials && CREDENTIALS.contains(name))
}

/// Writes all but the fields of the body; true when the user's request says how long that is.
fn write(
    lines: &mut Vec<u8>,
    mirror: &Mirror,
    (head, additions): (&request::Parts, &Additions<'_>),
    authority: Option<&HeaderValue>,
    asked: HopByHop,
) -> bool {
    let mut has_length = false;
    push_field(lines, &header::HOST, authority.map_or(b"", HeaderValue::as_bytes));
    for (name, value) in &head.headers {
        if *name == header::CONTENT_LENGTH {
            has_length = true;
        } else if !is_left_out(mirror, name) {
            push_field(lines, name, value.as_bytes());
        }
    }
    own(mirror, additions).write_to(lines);
    push_field(lines, &X_RINGWAY_MIRROR, b"1");
    if asked.takes_trailers {
        lines.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    has_length
}

/// The same as a map, with the edits of the file, and without what depends on the connection.
fn map(mirror: &Mirror, decision: &Decision<'_>, head: &request::Parts, additions: &Additions<'_>) -> HeaderMap {
    let mut headers = head.headers.clone();
    for name in LEFT_OUT.iter().chain(mirror.set_headers.iter().map(|(name, _)| name)) {
        headers.remove(name);
    }
    own(mirror, additions).insert_into(&mut headers);
    edit::copy(&mut headers, decision, mirror.to);
    headers.insert(X_RINGWAY_MIRROR, HeaderValue::from_static("1"));
    if mirror.strips_credentials {
        CREDENTIALS.iter().for_each(|name| drop(headers.remove(name)));
    }
    headers
}
