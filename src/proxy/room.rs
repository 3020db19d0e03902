//! Which answers make room when the process is out of memory: those that hold most of it, whether they move or not.
//!
//! An answer holds what was taken from its endpoint and not by its client. Short ones are not worth looking at.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::rc::{Rc, Weak};
use tokio::time::Instant;

use crate::upstream::Deadline;

/// The answers of a worker that hold something.
#[derive(Default)]
pub(super) struct Holds {
    entries: RefCell<Vec<Weak<Hold>>>,
    /// So many entries are looked through for those that have ended.
    clean_at: Cell<usize>,
}

/// What one answer holds.
pub(super) struct Hold {
    deadline: Rc<Deadline>,
    bytes: Cell<usize>,
    since: Cell<Instant>,
    is_cut: Cell<bool>,
}

/// Bytes of an answer from which on it is looked at.
pub(super) const HOLDS_FROM: u64 = 16 * 1024;
/// What the library keeps of an answer at most (`max_send_buf_size`), beside the piece that is handed over.
const BUFFERED_MAX: u64 = 128 * 1024;
/// One of so many bytes that are held is given up at a time: the next look shows whether that was enough.
const SHARE: usize = 8;
/// Entries that are not worth looking through.
const ENTRIES_FREE: usize = 64;

impl Holds {
    /// An answer that holds something from now on.
    pub(super) fn begin(&self, deadline: Rc<Deadline>, now: Instant) -> Rc<Hold> {
        let (bytes, since, is_cut) = (Cell::new(0), Cell::new(now), Cell::new(false));
        let hold = Rc::new(Hold { deadline, bytes, since, is_cut });
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.clean_at.get().max(ENTRIES_FREE) {
            entries.retain(|hold| hold.strong_count() > 0);
            self.clean_at.set(entries.len() * 2);
        }
        entries.push(Rc::downgrade(&hold));
        hold
    }

    /// Breaks off answers, those first that hold the most and of these those that have done so for longest, until a
    /// share of what all hold is free. Says how many.
    pub(super) fn make_room(&self, now: Instant) -> usize {
        let mut held: Vec<Rc<Hold>> = self.entries.borrow().iter().filter_map(Weak::upgrade).collect();
        held.retain(|hold| hold.bytes.get() > 0 && !hold.is_cut.get());
        held.sort_by_key(|hold| (Reverse(hold.bytes.get()), hold.since.get()));
        let mut wanted = held.iter().map(|hold| hold.bytes.get()).sum::<usize>() / SHARE;
        let mut count = 0;
        for hold in held {
            hold.is_cut.set(true);
            hold.deadline.expire(now);
            count += 1;
            match wanted.checked_sub(hold.bytes.get()) {
                None | Some(0) => break,
                Some(left) => wanted = left,
            }
        }
        count
    }
}

impl Hold {
    /// A piece was handed over. `so_far`: bytes of the answer, with it. `is_buffered`: the library may keep more.
    pub(super) fn handed(&self, piece: usize, so_far: u64, is_buffered: bool, now: Instant) {
        let before = if is_buffered { (so_far - piece as u64).min(BUFFERED_MAX) as usize } else { 0 };
        self.bytes.set(before + piece);
        self.since.set(now);
    }

    /// The client has taken it.
    pub(super) fn taken(&self) {
        self.bytes.set(0);
    }

    /// The answer has to end.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_holds_most_goes_first_and_who_holds_nothing_stays() {
        let holds = Holds::default();
        let start = Instant::now();
        let sizes = [20_000, 0, 60_000, 30_000, 60_000];
        let all: Vec<_> = sizes
            .iter()
            .zip(0..)
            .map(|(size, number)| {
                let hold = holds.begin(Rc::default(), start);
                hold.handed(*size, *size as u64, false, start + Duration::from_secs(number));
                hold
            })
            .collect();
        let cut = || all.iter().map(|hold| hold.is_cut()).collect::<Vec<_>>();
        assert_eq!(holds.make_room(start), 1);
        assert_eq!(cut(), [false, false, true, false, false], "the older one of the largest");
        all[4].taken();
        while holds.make_room(start) > 0 {}
        assert_eq!(cut(), [true, false, true, true, false]);
    }

    #[test]
    fn a_share_is_enough_at_a_time_and_those_that_ended_are_forgotten() {
        let holds = Holds::default();
        let now = Instant::now();
        let all: Vec<_> = (0..80).map(|_| holds.begin(Rc::default(), now)).collect();
        all.iter().for_each(|hold| hold.handed(1000, 200_000, true, now));
        assert_eq!(all[0].bytes.get(), 1000 + BUFFERED_MAX as usize);
        assert_eq!(holds.make_room(now), 80 / SHARE);
        drop(all);
        for _ in 0..1000 {
            holds.begin(Rc::default(), now);
            assert!(holds.entries.borrow().len() <= 161);
        }
        assert_eq!(holds.make_room(now), 0);
    }
}
