use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many bytes may be kept at the same time by those who share it.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    bytes: usize,
}

/// Keeps what passes by, up to a limit, without ever making it wait.
///
/// Pieces are copied: a piece that is only referred to keeps the whole buffer that it was read into, so that a body
/// in pieces of one byte would cost thousands of times its length, and the reader could not use its buffer again.
#[derive(Debug)]
pub struct Tee {
    kept: RefCell<Kept>,
}

#[derive(Debug)]
struct Kept {
    bytes: BytesMut,
    held: Held,
    bytes_max: usize,
    end: Option<Result<(), Lost>>,
}

/// Why a body was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is longer than the limit.
    TooLong,
    /// The budget is spent.
    NoRoom,
    /// It has not ended.
    Unfinished,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Takes a part of it, if there is as much left.
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        let mut held = self.nothing();
        held.grow(bytes).then_some(held)
    }

    fn nothing(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes more of the budget; false when there is not as much left.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.budget.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        self.bytes += if taken.is_ok() { bytes } else { 0 };
        taken.is_ok()
    }

    /// Unites two parts.
    pub fn join(&mut self, mut other: Held) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Relaxed);
    }
}

impl Tee {
    /// Keeps up to `bytes_max` bytes of a body of which at least `expected` bytes are known to come.
    pub fn new(budget: &Budget, bytes_max: usize, expected: u64) -> Tee {
        let end = (expected > bytes_max as u64).then_some(Err(Lost::TooLong));
        Tee { kept: RefCell::new(Kept { bytes: BytesMut::new(), held: budget.nothing(), bytes_max, end }) }
    }

    /// A piece passes by.
    pub fn push(&self, piece: &[u8]) {
        let mut kept = self.kept.borrow_mut();
        if kept.end.is_some() {
            return;
        }
        let lost = if kept.bytes.len() + piece.len() > kept.bytes_max {
            Lost::TooLong
        } else if !kept.held.grow(piece.len()) {
            Lost::NoRoom
        } else {
            return kept.bytes.extend_from_slice(piece);
        };
        kept.end = Some(Err(lost));
        // what was kept is of no use any more
        kept.bytes = BytesMut::new();
        kept.held = kept.held.budget.nothing();
    }

    /// The last piece has passed.
    pub fn complete(&self) {
        self.kept.borrow_mut().end.get_or_insert(Ok(()));
    }

    /// Takes out what was kept, with its part of the budget.
    pub fn take(&self) -> Result<(Bytes, Held), Lost> {
        let mut kept = self.kept.borrow_mut();
        kept.end.unwrap_or(Err(Lost::Unfinished))?;
        kept.end = Some(Err(Lost::Unfinished));
        let nothing = kept.held.budget.nothing();
        Ok((std::mem::take(&mut kept.bytes).freeze(), std::mem::replace(&mut kept.held, nothing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &Budget) -> usize {
        budget.left.load(Relaxed)
    }

    #[test]
    fn a_body_within_the_limit_is_kept_as_a_whole() {
        let budget = Budget::new(100);
        let tee = Tee::new(&budget, 10, 0);
        tee.push(b"01234");
        assert_eq!(tee.take().unwrap_err(), Lost::Unfinished);
        tee.push(b"56789");
        tee.complete();
        let (bytes, held) = tee.take().unwrap();
        assert_eq!((&bytes[..], left(&budget)), (&b"0123456789"[..], 90));
        drop(held);
        assert_eq!(left(&budget), 100);
    }

    #[test]
    fn what_is_not_kept_holds_nothing() {
        let budget = Budget::new(8);
        let long = Tee::new(&budget, 4, 0);
        long.push(b"0123");
        long.push(b"4");
        long.complete();
        assert_eq!((long.take().unwrap_err(), left(&budget)), (Lost::TooLong, 8));
        let known = Tee::new(&budget, 4, 5);
        known.push(b"0");
        assert_eq!((known.take().unwrap_err(), left(&budget)), (Lost::TooLong, 8));
        let hungry = Tee::new(&budget, 100, 0);
        hungry.push(b"01234567");
        hungry.push(b"8");
        hungry.complete();
        assert_eq!((hungry.take().unwrap_err(), left(&budget)), (Lost::NoRoom, 8));
    }

    #[test]
    fn parts_of_a_budget_unite_and_return() {
        let budget = Budget::new(10);
        let (mut one, other) = (budget.hold(3).unwrap(), budget.hold(4).unwrap());
        assert!(budget.hold(4).is_none() && !one.grow(4));
        one.join(other);
        assert_eq!(left(&budget), 3);
        drop(one);
        assert_eq!(left(&budget), 10);
    }
}
