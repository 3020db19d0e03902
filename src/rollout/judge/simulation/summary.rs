use super::{End, Policy, Run, Steps, World, run};
use crate::rollout::judge::reading::Gate;
use crate::rollout::judge::special::ln_gamma;

/// Many runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The runs that ended by a rollback.
    pub rolled_back: Vec<Run>,
    /// How many there were.
    pub runs: u64,
    /// How many were paused for a person.
    pub paused: u64,
    /// How many stayed frozen until they were over.
    pub held: u64,
    /// Requests that met the fault, over all runs, whatever their end.
    pub harmed: u64,
    /// Which gates took back or paused, and how often.
    pub gates: Vec<(Gate, u64)>,
}

impl Summary {
    /// Runs rollouts with the seeds `from` to `from + runs − 1`; a world for each seed.
    pub fn of(world: impl Fn(u64) -> World, steps: &Steps, policy: &Policy, from: u64, runs: u64) -> Summary {
        let mut summary = Summary::default();
        (from..from + runs).for_each(|seed| summary.add(run(&world(seed), steps, policy, seed)));
        summary
    }

    /// Adds one run.
    pub fn add(&mut self, run: Run) {
        self.runs += 1;
        self.harmed += run.harmed;
        let gate = match run.end {
            End::RolledBack(gate) => {
                self.rolled_back.push(run);
                gate
            }
            End::Paused(gate) => {
                self.paused += 1;
                gate
            }
            End::Held => {
                self.held += 1;
                None
            }
            End::Promoted => None,
        };
        let Some(gate) = gate else { return };
        match self.gates.iter_mut().find(|(known, _)| *known == gate) {
            Some((_, count)) => *count += 1,
            None => self.gates.push((gate, 1)),
        }
    }

    /// Part of the runs that were rolled back.
    pub fn rate(&self) -> f64 {
        self.rolled_back.len() as f64 / self.runs.max(1) as f64
    }

    /// The upper 95 % bound of that.
    pub fn rate_at_most(&self) -> f64 {
        upper_bound(self.rolled_back.len() as u64, self.runs)
    }

    /// A quantile over all runs of something; runs that were not rolled back count as infinite.
    pub fn quantile(&self, level: f64, of: impl Fn(&Run) -> u64) -> Option<u64> {
        let mut values: Vec<u64> = self.rolled_back.iter().map(of).collect();
        values.sort_unstable();
        let rank = (level * self.runs as f64).ceil().max(1.0) as usize;
        values.get(rank - 1).copied()
    }

    /// Requests that met the fault, a run.
    pub fn harmed_mean(&self) -> f64 {
        self.harmed as f64 / self.runs.max(1) as f64
    }
}

/// The one-sided upper 95 % bound of a rate of which `events` of `runs` were seen (Clopper and Pearson, 1934).
pub fn upper_bound(events: u64, runs: u64) -> f64 {
    if events >= runs {
        return 1.0;
    }
    let n = runs as f64;
    let at_most = |p: f64| -> f64 {
        let ln_choose = |k: f64| ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
        (0..=events).map(|k| k as f64).map(|k| (ln_choose(k) + k * p.ln() + (n - k) * (-p).ln_1p()).exp()).sum()
    };
    let (mut low, mut high) = (1e-12, 1.0 - 1e-12);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_tables() {
        assert!((upper_bound(0, 10_000) - 0.000_299_5).abs() < 1e-6);
        assert!((upper_bound(5, 100) - 0.1022).abs() < 1e-3);
        assert_eq!(upper_bound(3, 3), 1.0);
    }

    #[test]
    fn quantiles_count_runs_without_a_rollback_as_infinite() {
        let mut summary = Summary::default();
        for (seconds, end) in [(5, End::RolledBack(None)), (7, End::RolledBack(Some(Gate::Errors))), (9, End::Promoted)]
        {
            summary.add(Run { end, seconds, canary_requests: 1, harmed: 2 });
        }
        assert_eq!(summary.quantile(0.5, |run| run.seconds), Some(7));
        assert_eq!(summary.quantile(0.95, |run| run.seconds), None);
        assert_eq!((summary.runs, summary.harmed, summary.gates.clone()), (3, 6, vec![(Gate::Errors, 1)]));
    }
}
