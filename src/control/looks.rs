//! How the difference that each gate sees went over time, for people who come late.
//!
//! Once a second the control thread notes what the gates had counted; the difference and its band are computed when somebody
//! asks. A gate keeps a bounded number of looks: when there are too many, every second one goes, so that the rest reach back
//! as far as the windows do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::rollouts::{BAND_ALPHA, RolloutView};
use crate::rollout::judge::{Band, Tally, difference_band};
use crate::telemetry::windows::REACH_SECONDS;

/// Looks of one gate.
const LOOKS_MAX: usize = 720;
/// Gates that are remembered; further ones take the place of those that were looked at longest ago.
const GATES_MAX: usize = 512;

/// What gates had counted, over time.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<OfGate, Series>);

/// Which gate: of which service, rollout and cohort, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfGate {
    /// The service.
    pub service: String,
    /// The rollout's id.
    pub rollout: String,
    /// The cohort; empty for a gate that is about all of the rollout.
    pub cohort: String,
    /// The gate's name.
    pub gate: String,
}

/// What a gate had counted at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    canary: Tally,
    stable: Tally,
    /// The largest difference that is no harm, if the gate has such a limit.
    pub limit: Option<f64>,
}

#[derive(Debug, Default)]
struct Series {
    /// The oldest first, at least `apart_ms` from each other.
    looks: VecDeque<Look>,
    apart_ms: u64,
    /// The last one of all.
    latest: Option<Look>,
}

impl Look {
    /// The new version's rate less that of what it replaces, and where it lies.
    pub fn difference(&self) -> (f64, Band) {
        (self.canary.rate() - self.stable.rate(), difference_band(self.canary, self.stable, BAND_ALPHA))
    }
}

impl Looks {
    /// Notes what all gates see now.
    pub(super) fn note(&mut self, views: &[Arc<RolloutView>], unix_ms: u64) {
        for view in views {
            for gate in view.gates.iter().filter(|gate| gate.compares()) {
                let key = OfGate {
                    service: view.service.clone(),
                    rollout: view.id.clone(),
                    cohort: gate.cohort.clone(),
                    gate: gate.gate.clone(),
                };
                let look = Look { unix_ms, canary: gate.canary, stable: gate.stable, limit: gate.limit };
                self.0.entry(key).or_default().push(look);
            }
        }
        let since = unix_ms.saturating_sub(REACH_SECONDS * 1_000);
        self.0.retain(|_, series| series.latest.is_some_and(|latest| latest.unix_ms >= since));
        while self.0.len() > GATES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, series)| series.latest.map(|look| look.unix_ms));
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.0.remove(&oldest);
        }
    }

    /// What a gate had counted since then, the oldest first, at most about `most` looks.
    pub fn of(&self, gate: &OfGate, since_unix_ms: u64, most: usize) -> Vec<Look> {
        let Some(series) = self.0.get(gate) else { return Vec::new() };
        let latest = series.latest.filter(|latest| series.looks.back() != Some(latest));
        let all: Vec<Look> = series.looks.iter().copied().chain(latest).collect();
        let all = &all[all.partition_point(|look| look.unix_ms < since_unix_ms)..];
        let every = all.len().div_ceil(most.max(1)).max(1);
        // counted from the last one, which is always there
        let mut looks: Vec<Look> = all.iter().rev().step_by(every).copied().collect();
        looks.reverse();
        looks
    }
}

impl Series {
    fn push(&mut self, look: Look) {
        // a gate that counts no more sees nothing new
        if self.latest.is_some_and(|latest| (latest.canary, latest.stable) == (look.canary, look.stable)) {
            return;
        }
        self.latest = Some(look);
        if self.looks.back().is_some_and(|last| look.unix_ms < last.unix_ms + self.apart_ms) {
            return;
        }
        self.looks.push_back(look);
        let since = look.unix_ms.saturating_sub(REACH_SECONDS * 1_000);
        while self.looks.front().is_some_and(|first| first.unix_ms < since) {
            self.looks.pop_front();
        }
        if self.looks.len() > LOOKS_MAX {
            let mut is_kept = false;
            self.looks.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.apart_ms = (2 * self.apart_ms).max(2_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::GateView;

    fn views(events: u64, of: u64) -> Vec<Arc<RolloutView>> {
        let gate = GateView {
            canary: Tally::new(events, of),
            stable: Tally::new(1, 10 * of),
            is_comparison: true,
            ..GateView::of_word("asia", "errors", "pass", String::new())
        };
        let view =
            RolloutView { service: "shop".into(), id: "v42".into(), gates: vec![gate], ..RolloutView::default() };
        vec![Arc::new(view)]
    }

    fn of_errors() -> OfGate {
        let [service, rollout, cohort, gate] = ["shop", "v42", "asia", "errors"].map(str::to_owned);
        OfGate { service, rollout, cohort, gate }
    }

    #[test]
    fn who_comes_after_the_rollback_sees_how_it_came_to_it() {
        let mut looks = Looks::default();
        for second in 1..=60 {
            looks.note(&views(second / 2, second), second * 1_000);
        }
        // rolled back: nothing more is counted
        for second in 61..=600 {
            looks.note(&views(30, 60), second * 1_000);
        }
        let found = looks.of(&of_errors(), 0, 1_000);
        assert_eq!((found.len(), found.last().map(|look| look.unix_ms)), (60, Some(60_000)));
        let (value, band) = found[59].difference();
        assert!(value > 0.49 && band.low > 0.2 && band.low < value && value < band.high, "{value} {band:?}");
        assert_eq!(looks.of(&of_errors(), 50_000, 1_000).len(), 11);
        let few = looks.of(&of_errors(), 0, 10);
        assert!(few.len() == 10 && few.last() == found.last(), "{}", few.len());
    }

    #[test]
    fn six_hours_take_no_more_room_than_some_minutes_and_reach_as_far() {
        let mut looks = Looks::default();
        for second in 1..=REACH_SECONDS {
            looks.note(&views(1, second), second * 1_000);
        }
        let found = looks.of(&of_errors(), 0, usize::MAX);
        assert!((LOOKS_MAX / 2..=LOOKS_MAX + 1).contains(&found.len()), "{}", found.len());
        assert_eq!((found[0].unix_ms, found[found.len() - 1].unix_ms), (1_000, REACH_SECONDS * 1_000));
        looks.note(&[], 3 * REACH_SECONDS * 1_000);
        assert!(looks.of(&of_errors(), 0, 10).is_empty(), "it is forgotten");
    }
}
