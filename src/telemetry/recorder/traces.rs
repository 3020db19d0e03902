//! Which variant served which trace: for who counts outcomes and knows no user.
//!
//! A table with a place for each remainder of a trace's hash; who comes later takes the place. A cell is two words that
//! the worker writes one after the other, the second mixed with the first: a reader that meets two requests in one cell
//! finds neither, and there is no lock.

use super::Slot;
use super::watch::group_of_user;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests that one worker remembers, at most: 1 MiB from the first outcome on that is posted.
pub const TRACES: usize = 65_536;

/// The traces of one worker.
#[derive(Debug, Default)]
pub(super) struct Traces(OnceLock<Box<[Cell]>>);

#[derive(Debug, Default)]
struct Cell {
    /// The slot, and the group of the user.
    what: AtomicU64,
    /// The trace's hash, mixed with `what`.
    check: AtomicU64,
}

/// The hash of a trace id of W3C trace context: 32 hexadecimal digits, not all zero.
pub fn trace_hash(id: &[u8]) -> Option<u64> {
    let id = std::str::from_utf8(id).ok().filter(|id| id.len() == 32 && !id.starts_with('+'))?;
    let number = u128::from_str_radix(id, 16).ok().filter(|number| *number != 0)?;
    let mixed = (number as u64) ^ ((number >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Some(mixed ^ (mixed >> 29))
}

impl Traces {
    /// For the control thread, before anybody is told to remember.
    pub(super) fn make_room(&self) {
        self.0.get_or_init(|| (0..TRACES).map(|_| Cell::default()).collect());
    }

    pub(super) fn remember(&self, trace: u64, slot: Slot, user: Option<u64>) {
        let Some(cell) = self.cell(trace) else { return };
        let what = u64::from(slot.0) << 32 | u64::from(group_of_user(user));
        cell.what.store(what, Relaxed);
        cell.check.store(trace ^ what, Relaxed);
    }

    pub(super) fn find(&self, trace: u64) -> Option<(Slot, u32)> {
        let cell = self.cell(trace)?;
        let (check, what) = (cell.check.load(Relaxed), cell.what.load(Relaxed));
        (check ^ what == trace && (check, what) != (0, 0)).then_some((Slot((what >> 32) as u32), what as u32))
    }

    fn cell(&self, trace: u64) -> Option<&Cell> {
        self.0.get()?.get(trace as usize % TRACES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_later_takes_the_place_and_nobody_is_taken_for_another() {
        let traces = Traces::default();
        traces.remember(7, Slot(3), Some(1));
        assert_eq!(traces.find(7), None, "nobody wants to know");
        traces.make_room();
        let user = u64::MAX;
        traces.remember(7, Slot(3), Some(user));
        assert_eq!(traces.find(7), Some((Slot(3), group_of_user(Some(user)))));
        assert_eq!((traces.find(7 + TRACES as u64), traces.find(8), traces.find(0)), (None, None, None));
        traces.remember(7 + TRACES as u64, Slot(4), None);
        assert_eq!(traces.find(7), None);
        assert_eq!(traces.find(7 + TRACES as u64).unwrap().0, Slot(4));
    }

    #[test]
    fn only_trace_ids_have_a_hash() {
        assert!(trace_hash(b"4bf92f3577b34da6a3ce929d0e0e4736").is_some());
        assert_ne!(trace_hash(b"4bf92f3577b34da6a3ce929d0e0e4736"), trace_hash(b"4bf92f3577b34da6a3ce929d0e0e4737"));
        for id in ["", "00000000000000000000000000000000", "4bf92f35", "+bf92f3577b34da6a3ce929d0e0e4736", "é"] {
            assert_eq!(trace_hash(id.as_bytes()), None, "{id}");
        }
    }
}
