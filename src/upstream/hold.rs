use std::cell::Cell;
use std::rc::Rc;
use tokio::time::Instant;

use super::Deadline;

/// What one body holds: bytes that were taken from one end and not by the other.
#[derive(Debug)]
pub struct Hold {
    deadline: Rc<Deadline>,
    bytes: Cell<usize>,
    since: Cell<Instant>,
}

impl Hold {
    /// Nothing yet. `deadline`: of the request.
    pub fn new(deadline: Rc<Deadline>, now: Instant) -> Hold {
        Hold { deadline, bytes: Cell::new(0), since: Cell::new(now) }
    }

    /// So many bytes were handed over or may lie in between, at most.
    pub fn handed(&self, bytes: usize, now: Instant) {
        self.bytes.set(bytes);
        self.since.set(now);
    }

    /// The other end has taken all of it.
    pub fn taken(&self) {
        self.bytes.set(0);
    }

    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Since when.
    pub fn since(&self) -> Instant {
        self.since.get()
    }

    /// Its request has to end, and learns it now: [`Deadline::is_expired`].
    pub fn cut(&self, now: Instant) {
        self.deadline.expire(now);
    }

    /// Its request has been told to end.
    pub fn is_cut(&self) -> bool {
        self.deadline.is_expired()
    }
}
