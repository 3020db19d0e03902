//! What the business counts, of one slot and worker: who could have it, and who had it.

use super::add;
use super::watch::{WORDS, WatchedUsers, insert_word_bit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many outcomes of a service are told apart: one bit each.
pub const OUTCOMES_MAX: usize = 8;

/// Of which outcomes a request is a chance, and which of them came of it: a bit each, by their place in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeBits {
    /// It could have them.
    pub eligible: u8,
    /// It had them.
    pub happened: u8,
}

/// Successful requests that could have an outcome, and those that had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCount {
    /// They had it.
    pub events: u64,
    /// They could have it.
    pub of: u64,
}

/// Each outcome's cells are made by its first request: 25 KB.
#[derive(Debug, Default)]
pub(super) struct OutcomeCells([OnceLock<Box<OneOutcome>>; OUTCOMES_MAX]);

#[derive(Debug)]
struct OneOutcome {
    of: AtomicU64,
    events: AtomicU64,
    /// Groups that could have it, then those that had it.
    users: Box<[AtomicU64]>,
}

impl OutcomeCells {
    /// A successful request.
    pub(super) fn count(&self, bits: OutcomeBits, group: u32) {
        for (at, cells) in self.0.iter().enumerate().filter(|(at, _)| bits.eligible >> at & 1 == 1) {
            let cells = cells.get_or_init(Box::default);
            add(&cells.of, 1);
            insert_word_bit(&cells.users, 0, group);
            if bits.happened >> at & 1 == 1 {
                add(&cells.events, 1);
                insert_word_bit(&cells.users, WORDS, group);
            }
        }
    }

    /// Events are read first, so that there are never more of them than chances.
    pub(super) fn add_to(&self, sum: &mut [OutcomeCount; OUTCOMES_MAX]) {
        for (sum, cells) in sum.iter_mut().zip(&self.0) {
            if let Some(cells) = cells.get() {
                sum.events += cells.events.load(Relaxed);
                sum.of += cells.of.load(Relaxed);
            }
        }
    }

    pub(super) fn take(&self, tell: &mut impl FnMut(WatchedUsers, usize, u64)) {
        for (at, cells) in self.0.iter().enumerate() {
            let Some(cells) = cells.get() else { continue };
            // who had it first: so nobody is told to have had what they could not have
            for (set, from) in [(WatchedUsers::Happened(at), WORDS), (WatchedUsers::Eligible(at), 0)] {
                let words = cells.users.iter().skip(from).take(WORDS).enumerate();
                for (number, word) in words.filter(|(_, word)| word.load(Relaxed) != 0) {
                    tell(set, number, word.swap(0, Relaxed));
                }
            }
        }
    }
}

impl Default for OneOutcome {
    fn default() -> OneOutcome {
        let users = (0..2 * WORDS).map(|_| AtomicU64::new(0)).collect();
        OneOutcome { of: AtomicU64::new(0), events: AtomicU64::new(0), users }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_and_who_had_are_told_apart() {
        let cells = OutcomeCells::default();
        cells.count(OutcomeBits { eligible: 0b101, happened: 0b100 }, 7);
        cells.count(OutcomeBits { eligible: 0b001, happened: 0b010 }, 64);
        let mut sum = [OutcomeCount::default(); OUTCOMES_MAX];
        cells.add_to(&mut sum);
        let expected = [(0, 2), (0, 0), (1, 1)].map(|(events, of)| OutcomeCount { events, of });
        assert_eq!(sum[..3], expected);
        let mut met = Vec::new();
        cells.take(&mut |set, word, bits| met.push((set, word, bits)));
        let (could, had) = (WatchedUsers::Eligible, WatchedUsers::Happened);
        assert_eq!(met, [(could(0), 0, 1 << 7), (could(0), 1, 1), (had(2), 0, 1 << 7), (could(2), 0, 1 << 7)]);
        cells.take(&mut |_, _, _| panic!("they were taken"));
    }
}
