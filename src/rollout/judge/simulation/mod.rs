//! Rollouts on paper: synthetic traffic, a fault, and whoever judges it, second by second, from a seed.
//!
//! Here false alarms and reaction are measured, for the judge and for the threshold rules that others use. The same
//! world, plan and seed give the same run. It is simpler than a real rollout: requests count in the second in which
//! they begin, a step ends when its hold is over and nothing is frozen, and there is one cohort.

#[cfg(test)]
mod loaded;
mod summary;
#[cfg(test)]
mod tests;
mod threshold;
mod traffic;

pub use summary::{Summary, upper_bound};
pub use threshold::ThresholdRule;
pub use traffic::Traffic;

use super::history::History;
use super::latency::Thresholds;
use super::reading::{Decision, Gate};
use super::rules::{JudgeRules, OnHarm};
use super::{Judge, StepStart};
use threshold::Watch;

/// Seconds of ordinary traffic before a rollout, from which thresholds are frozen.
pub const WARM_S: u64 = 60;

/// Beyond so many times its hold a frozen step ends the run.
const HOLD_TIMES_MAX: u64 = 4;

/// Traffic and users of one cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Requests per second, on average.
    pub requests_per_s: f64,
    /// Users; their activity is heavy-tailed (Pareto, 1.3, cut at 1,000 times the least).
    pub users: u32,
    /// Chance of a request to fail, on average.
    pub error_rate: f64,
    /// How far requests per second and error rate swing around their averages, 0 to 1.
    pub swing: f64,
    /// How long a swing takes, in seconds.
    pub swing_s: f64,
    /// Both variants fail more for a while.
    pub outage: Option<Outage>,
    /// Part of the users whose every request fails.
    pub broken_users: f64,
    /// Such a user tries again every so many seconds.
    pub retry_s: f64,
    /// Part of the users who wait five times as long as others.
    pub slow_users: f64,
    /// Half of the answers take less, in microseconds.
    pub median_us: f64,
    /// Standard deviation of the logarithm of latency.
    pub spread: f64,
    /// How many of the successful requests bring each outcome of the rules, in their order (0 to 1); 0 for one that is not
    /// known, which then says nothing. At most 8.
    pub outcomes: Vec<f64>,
    /// The machine that both variants run on is busy.
    pub load: Option<Load>,
    /// What is wrong with the canary.
    pub fault: Fault,
}

/// Some seconds are slow for everybody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// In which second of the rollout it begins.
    pub from_s: u64,
    /// Part of the seconds that are slow (0 to 1).
    pub seconds: f64,
    /// How much longer all answers of such a second take, on average, in microseconds.
    pub by_us: u64,
}

/// A shared dependency fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// In which second of the rollout it begins.
    pub from_s: u64,
    /// How long it lasts, in seconds.
    pub for_s: u64,
    /// Chance of a request to fail meanwhile, on top.
    pub error_rate: f64,
}

/// What is wrong with the canary; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// Seconds of the rollout before it begins.
    pub from_s: u64,
    /// Chance of a request to fail, on top of the base rate.
    pub errors: f64,
    /// Part of the requests that are slower.
    pub slow_share: f64,
    /// By so many microseconds.
    pub slow_by_us: u64,
    /// All answers take this many times as long, less 1.
    pub slower_by: f64,
}

/// Steps: the canary's share (0 to 1) and how long it is held, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps(pub Vec<(f64, u64)>);

/// Who decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// The judge, by these rules; its number of steps is that of the plan.
    Judge(JudgeRules),
    /// A rule as others have it.
    Threshold(ThresholdRule),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last step was over.
    Promoted,
    /// Taken back, by this gate if the judge did it.
    RolledBack(Option<Gate>),
    /// Stopped for a person to look at, by this gate.
    Paused(Option<Gate>),
    /// Frozen for too long.
    Held,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// Seconds from the beginning of the fault (or of the rollout, without one) to its end.
    pub seconds: u64,
    /// Requests that the canary got in that time.
    pub canary_requests: u64,
    /// Of those, how many met the fault: failed, or slower by it.
    pub harmed: u64,
}

impl Default for World {
    fn default() -> Self {
        World {
            requests_per_s: 500.0,
            users: 20_000,
            error_rate: 0.002,
            swing: 0.0,
            swing_s: 3_600.0,
            outage: None,
            broken_users: 0.0,
            retry_s: 5.0,
            slow_users: 0.0,
            median_us: 40_000.0,
            spread: 0.6,
            outcomes: Vec::new(),
            load: None,
            fault: Fault::default(),
        }
    }
}

impl Fault {
    /// Whether anything is wrong.
    pub fn is_any(&self) -> bool {
        self.errors > 0.0 || (self.slow_share > 0.0 && self.slow_by_us > 0) || self.slower_by > 0.0
    }
}

/// Runs one rollout.
pub fn run(world: &World, steps: &Steps, policy: &Policy, seed: u64) -> Run {
    let mut traffic = Traffic::new(world, seed);
    for at_s in 0..WARM_S {
        traffic.second(at_s, 0.0, None, 0, false);
    }
    let mut judging = match policy {
        Policy::Judge(rules) => {
            let rules = JudgeRules { steps: steps.0.len() as u32, ..rules.clone() };
            Judging::Judge(Box::new(Judge::new(rules)))
        }
        Policy::Threshold(rule) => Judging::Watch(Watch::new(*rule)),
    };
    let (mut now, mut met) = (WARM_S, Run { end: End::Promoted, seconds: 0, canary_requests: 0, harmed: 0 });
    for (share, hold_s) in &steps.0 {
        judging.begin_step(now, &traffic);
        let mut held_s = 0;
        loop {
            let since_fault = (now - WARM_S).checked_sub(world.fault.from_s);
            let (thresholds, epoch) = judging.counting();
            traffic.second(now, *share, thresholds.as_ref(), epoch, since_fault.is_some());
            now += 1;
            held_s += 1;
            if since_fault.is_some() {
                met.seconds += 1;
                met.canary_requests += traffic.tick.canary.errors.of;
                met.harmed += traffic.harmed;
            }
            let decision = judging.look(&traffic);
            if let Decided::End(end) = decision {
                return Run { end, ..met };
            }
            if held_s >= *hold_s && decision == Decided::Clear {
                break;
            }
            if held_s >= hold_s * HOLD_TIMES_MAX {
                return Run { end: End::Held, ..met };
            }
        }
    }
    met
}

enum Judging {
    Judge(Box<Judge>),
    Watch(Watch),
}

#[derive(PartialEq)]
enum Decided {
    Clear,
    Frozen,
    End(End),
}

impl Judging {
    fn begin_step(&mut self, at_s: u64, traffic: &Traffic) {
        let Judging::Judge(judge) = self else { return };
        let rules = judge.rules.latency;
        let thresholds = rules.and_then(|rules| Thresholds::freeze(traffic.histogram(), &rules));
        let past = History { errors: traffic.stable_errors };
        judge.begin_step(StepStart { at_s, thresholds, past: Some(past), has_control: true });
    }

    /// What counts as slow, and since when users count.
    fn counting(&self) -> (Option<Thresholds>, u64) {
        match self {
            Judging::Judge(judge) => (judge.thresholds, judge.epoch()),
            Judging::Watch(_) => (None, 0),
        }
    }

    fn look(&mut self, traffic: &Traffic) -> Decided {
        match self {
            Judging::Judge(judge) => {
                let reading = judge.tick(&traffic.tick);
                let gate = || reading.loudest().map(|gate| gate.gate);
                match reading.decision {
                    Decision::Harm(OnHarm::Rollback) => Decided::End(End::RolledBack(gate())),
                    Decision::Harm(OnHarm::Pause) => Decided::End(End::Paused(gate())),
                    Decision::Frozen => Decided::Frozen,
                    Decision::Clear => Decided::Clear,
                }
            }
            Judging::Watch(watch) => match watch.look(&traffic.tick, traffic.p99_sample()) {
                true => Decided::End(End::RolledBack(None)),
                false if watch.is_failing() => Decided::Frozen,
                false => Decided::Clear,
            },
        }
    }
}
