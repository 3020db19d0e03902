use http::{Request, request};

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
}
