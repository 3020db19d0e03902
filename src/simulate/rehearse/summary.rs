use std::collections::BTreeMap;

use super::{End, Run};
use crate::rollout::judge::simulation::upper_bound;

/// Many runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// In the order of their seeds.
    pub runs: Vec<Run>,
}

/// The middle and the 95th percentile of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Half of the runs have less.
    pub median: u64,
    /// 19 of 20 have less.
    pub p95: u64,
}

impl Summary {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many ended so.
    pub fn count(&self, end: End) -> u64 {
        self.of(end).count() as u64
    }

    /// Part of the runs that were taken back.
    pub fn rollback_rate(&self) -> f64 {
        self.count(End::RolledBack) as f64 / self.len().max(1) as f64
    }

    /// The upper 95 % bound of that.
    pub fn rollback_rate_at_most(&self) -> f64 {
        upper_bound(self.count(End::RolledBack), self.len())
    }

    /// Something of the runs that ended so; `None` when none did.
    pub fn spread(&self, end: End, of: impl Fn(&Run) -> u64) -> Option<Spread> {
        spread(self.of(end).map(of).collect())
    }

    /// Something of the runs in which harm was noticed: taken back, or stopped for a person. `None` when there are none.
    pub fn spread_of_noticed(&self, of: impl Fn(&Run) -> u64) -> Option<Spread> {
        spread(self.of(End::RolledBack).chain(self.of(End::Paused)).map(of).collect())
    }

    /// How often something was named by the runs that were taken back or paused.
    pub fn counts<'s>(&'s self, of: impl Fn(&'s Run) -> Option<&'s str>) -> BTreeMap<&'s str, u64> {
        let mut counts = BTreeMap::new();
        for name in self.of(End::RolledBack).chain(self.of(End::Paused)).filter_map(of) {
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    fn of(&self, end: End) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.end == end)
    }
}

/// The median and the 95th percentile; `None` of nothing.
fn spread(mut values: Vec<u64>) -> Option<Spread> {
    values.sort_unstable();
    let at = |level: f64| {
        let rank = (level * values.len() as f64).ceil().max(1.0) as usize;
        values.get(rank - 1).copied()
    };
    Some(Spread { median: at(0.5)?, p95: at(0.95)? })
}
