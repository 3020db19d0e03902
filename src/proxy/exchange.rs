use http::Version;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::tunnel::Tunnel;
use crate::upstream::{Deadline, Interim};

/// What a request and whoever drives its connection, or its stream, tell each other while it is answered.
pub(super) struct Exchange {
    /// The deadline of whatever is being waited for. Moved as the request goes.
    pub(super) deadline: Rc<Deadline>,
    /// Answers before the answer, which the client has not been sent yet.
    pub(super) interim: Interim,
    /// Set by a request whose answer switches protocols: what to do once that answer is out.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    /// Set by a request that is to end without an answer.
    pub(super) is_cut: Cell<bool>,
}

impl Exchange {
    /// One with this deadline.
    pub(super) fn new(deadline: Rc<Deadline>) -> Exchange {
        Exchange { deadline, interim: Interim::default(), tunnel: RefCell::new(None), is_cut: Cell::new(false) }
    }

    /// Where answers before the answer go; `None` for a client that knows of none (RFC 9110 §15.2).
    pub(super) fn interim_for(&self, version: Version) -> Option<&Interim> {
        (version != Version::HTTP_10).then_some(&self.interim)
    }

    /// Makes it ready for the next request.
    pub(super) fn clear(&self) {
        self.interim.borrow_mut().clear();
        self.tunnel.borrow_mut().take();
        self.is_cut.set(false);
        self.deadline.clear();
    }
}
