use http::{Method, Request, request};
use hyper::body::Incoming;

use super::extended;
use crate::upstream::{ClientBody, Fields};

/// A request as it came from a client, whatever protocol the client speaks.
pub(super) struct Arrived {
    /// The head, as it came.
    pub(super) head: request::Parts,
    /// The fields that the head has.
    pub(super) fields: Fields,
    /// The body, of which nothing was read yet.
    pub(super) body: ClientBody,
}

impl Arrived {
    /// Where a request can be read into.
    pub(super) fn nothing() -> Arrived {
        let (head, ()) = Request::new(()).into_parts();
        Arrived { head, fields: Fields::default(), body: ClientBody::Empty }
    }

    /// A request on an HTTP/2 stream.
    pub(super) fn of_http2(request: Request<Incoming>) -> Arrived {
        let (mut head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            extended::to_handshake(&mut head);
        }
        let fields = Fields::of(&head.headers);
        let body = if hyper::body::Body::is_end_stream(&body) { ClientBody::Empty } else { ClientBody::Http2(body) };
        Arrived { head, fields, body }
    }
}
