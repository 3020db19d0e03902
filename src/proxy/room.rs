//! Which bodies make room when the process is out of memory: those that hold most of it, whether they move or not.
//!
//! An answer holds what was taken from its endpoint and not by its client, an upload what was taken from its client and
//! not by its endpoint. Short ones are not worth looking at.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::rc::{Rc, Weak};
use tokio::time::Instant;

use crate::upstream::{Deadline, Hold};

/// The bodies of a worker that hold something.
#[derive(Default)]
pub(super) struct Holds {
    entries: RefCell<Vec<Weak<Hold>>>,
    /// So many entries are looked through for those that have ended.
    clean_at: Cell<usize>,
}

/// Bytes of a body from which on it is looked at.
pub(super) const HOLDS_FROM: u64 = 16 * 1024;
/// What the library keeps of an answer at most (`max_send_buf_size`), beside the piece that is handed over.
pub(super) const BUFFERED_MAX: u64 = 128 * 1024;
/// One of so many bytes that are held is given up at a time: the next look shows whether that was enough.
const SHARE: usize = 8;
/// Entries that are not worth looking through.
const ENTRIES_FREE: usize = 64;

impl Holds {
    /// A body that holds something from now on.
    pub(super) fn begin(&self, deadline: Rc<Deadline>, now: Instant) -> Rc<Hold> {
        let hold = Rc::new(Hold::new(deadline, now));
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.clean_at.get().max(ENTRIES_FREE) {
            entries.retain(|hold| hold.strong_count() > 0);
            self.clean_at.set(entries.len() * 2);
        }
        entries.push(Rc::downgrade(&hold));
        hold
    }

    /// Breaks off requests, those first whose bodies hold the most and of these those that have done so for longest,
    /// until a share of what all hold is free. Says how many.
    pub(super) fn make_room(&self, now: Instant) -> usize {
        let mut held: Vec<Rc<Hold>> = self.entries.borrow().iter().filter_map(Weak::upgrade).collect();
        held.retain(|hold| hold.bytes() > 0 && !hold.is_cut());
        held.sort_by_key(|hold| (Reverse(hold.bytes()), hold.since()));
        let mut wanted = held.iter().map(|hold| hold.bytes()).sum::<usize>() / SHARE;
        let mut count = 0;
        for hold in held {
            hold.cut(now);
            count += 1;
            match wanted.checked_sub(hold.bytes()) {
                None | Some(0) => break,
                Some(left) => wanted = left,
            }
        }
        count
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
                hold.handed(*size, start + Duration::from_secs(number));
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
        all.iter().for_each(|hold| hold.handed(1000, now));
        assert_eq!(holds.make_room(now), 80 / SHARE);
        drop(all);
        for _ in 0..1000 {
            holds.begin(Rc::default(), now);
            assert!(holds.entries.borrow().len() <= 161);
        }
        assert_eq!(holds.make_room(now), 0);
    }
}
