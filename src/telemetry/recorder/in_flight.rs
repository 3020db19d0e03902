//! Watched requests that have not ended: a request that hangs is heard of before anybody gives it up.
//!
//! The worker writes a cell when a request begins and frees it when it ends; the control thread looks once a second for
//! those that have been there too long, and marks what it has counted, so that nothing is counted twice. A cell's state is
//! one word, so a mark can only hit the request that was looked at.

use super::Slot;
use super::watch::group_of_user;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;

/// Requests of one worker that are followed at the same time. One that finds no room is counted when it ends.
pub const IN_FLIGHT_MAX: usize = 4_096;

/// Cells that a request looks at for a free one.
const LOOKS: usize = 8;

/// The requests of one worker. 64 KB from the first watch on that knows what is slow.
#[derive(Debug)]
pub(super) struct InFlight {
    born: Instant,
    cells: OnceLock<Box<[Cell]>>,
    next: AtomicUsize,
}

/// A request that is followed, by its cell.
#[derive(Debug, PartialEq, Eq)]
pub struct Tracked(u32);

#[derive(Debug, Default)]
struct Cell {
    /// 0: free. Else twice the microsecond at which it began, plus 1 once it was counted.
    state: AtomicU64,
    /// The slot, and the group of the user.
    who: AtomicU64,
}

impl InFlight {
    pub(super) fn new(born: Instant) -> InFlight {
        InFlight { born, cells: OnceLock::new(), next: AtomicUsize::new(0) }
    }

    /// For the control thread, before anybody is told to follow requests.
    pub(super) fn make_room(&self) {
        self.cells.get_or_init(|| (0..IN_FLIGHT_MAX).map(|_| Cell::default()).collect());
    }

    pub(super) fn begin(&self, slot: Slot, user: Option<u64>, started: Instant) -> Option<Tracked> {
        let cells = self.cells.get()?;
        let first = self.next.load(Relaxed);
        let at = (first..first + LOOKS).map(|at| at % IN_FLIGHT_MAX);
        let at = at.into_iter().find(|at| cells.get(*at).is_some_and(|cell| cell.state.load(Relaxed) == 0))?;
        self.next.store(at + 1, Relaxed);
        let cell = cells.get(at)?;
        cell.who.store(u64::from(slot.0) << 32 | u64::from(group_of_user(user)), Relaxed);
        cell.state.store(self.since(started).max(1) << 1, Release);
        Some(Tracked(at as u32))
    }

    /// True when it was counted meanwhile.
    pub(super) fn end(&self, Tracked(at): Tracked) -> bool {
        let cell = self.cells.get().and_then(|cells| cells.get(at as usize));
        cell.is_some_and(|cell| cell.state.swap(0, AcqRel) & 1 == 1)
    }

    pub(super) fn take_overdue(&self, slot: Slot, longer_than_us: u64, tell: &mut impl FnMut(u32)) {
        let began_before = self.since(Instant::now()).saturating_sub(longer_than_us);
        for cell in self.cells.get().into_iter().flatten() {
            let state = cell.state.load(Acquire);
            if state == 0 || state & 1 == 1 || state >> 1 >= began_before {
                continue;
            }
            let who = cell.who.load(Relaxed);
            // fails when that request has ended, and the cell may be another's
            let is_ours = who >> 32 == u64::from(slot.0);
            if is_ours && cell.state.compare_exchange(state, state | 1, AcqRel, Relaxed).is_ok() {
                tell(who as u32);
            }
        }
    }

    fn since(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.born).as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn overdue(of: &InFlight, slot: Slot, us: u64) -> usize {
        let mut found = 0;
        of.take_overdue(slot, us, &mut |_| found += 1);
        found
    }

    #[test]
    fn a_request_that_hangs_is_told_once_and_only_to_its_own() {
        let born = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let of = InFlight::new(born);
        let (canary, stable) = (Slot(3), Slot(4));
        assert_eq!(of.begin(canary, Some(1), born), None, "nobody wants to know");
        of.make_room();
        let hanging = of.begin(canary, Some(1), born + Duration::from_secs(20)).unwrap();
        let quick = of.begin(canary, None, Instant::now()).unwrap();
        let later = of.begin(stable, Some(7), born + Duration::from_secs(50)).unwrap();
        assert_eq!((overdue(&of, canary, 30_000_000), overdue(&of, stable, 30_000_000)), (1, 0));
        assert_eq!(overdue(&of, canary, 30_000_000), 0, "once");
        assert_eq!([hanging, quick, later].map(|tracked| of.end(tracked)), [true, false, false]);
        assert_eq!((overdue(&of, canary, 0), overdue(&of, stable, 0)), (0, 0), "they have ended");
    }

    #[test]
    fn there_is_room_for_so_many_and_it_comes_back() {
        let of = InFlight::new(Instant::now());
        of.make_room();
        let mut tracked: Vec<Tracked> =
            (0..IN_FLIGHT_MAX).map(|_| of.begin(Slot(1), None, Instant::now()).unwrap()).collect();
        assert_eq!(of.begin(Slot(1), None, Instant::now()), None);
        of.end(tracked.remove(LOOKS - 1));
        assert!(of.begin(Slot(1), None, Instant::now()).is_some());
    }
}
