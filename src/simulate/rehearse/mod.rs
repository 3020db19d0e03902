//! A plan against made-up traffic, many times over: how often would a healthy release be taken back, how soon a bad one?
//!
//! The same file, traffic and seed give the same run. What is left out: users do not come and go, a request counts in the
//! second in which it begins, and all cohorts have the same habits.

mod report;
mod summary;

pub use report::{Column, Report};
pub use summary::{Spread, Summary};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;

use super::inject::Injection;
use super::paper::{Paper, Past};
use super::silent_gates;
use crate::config::schema::Service;
use crate::rollout::judge::simulation::{Fault, Outage, Traffic, WARM_S, World};
use crate::rollout::judge::{Decision, History, LatencyRules, Thresholds};
use crate::rollout::plan::{Plan, Rollout};
use crate::rollout::state::Phase;

/// How long a promoted version is watched on when something is wrong with it, in seconds.
const BAKE_S: u64 = 600;

/// A run ends when it takes so many times as long as the plan has to.
const TIMES_MAX: u64 = 4;

/// And not before this, in seconds.
const RUN_S_MIN: u64 = 3_600;

/// What is rehearsed.
pub struct Rehearsal {
    /// The plan of the service.
    pub plan: Plan,
    /// The service as the file has it.
    pub service: Service,
    /// Its cohorts, with their parts of the traffic, 0 to 1.
    pub parts: Vec<(String, f64)>,
    /// The habits of all traffic; `requests_per_s` and `users` are of the whole service.
    pub world: World,
    /// Part of the runs with an outage of both variants, 0 to 1.
    pub outages: f64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All steps were done.
    Promoted,
    /// Taken back.
    RolledBack,
    /// Stopped for a person.
    Paused,
    /// It still waited when the run was over.
    Held,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub end: End,
    /// Seconds from the beginning of the rollout to its end.
    pub seconds: u64,
    /// Seconds since the fault began, if there was one.
    pub fault_seconds: u64,
    /// Requests that the new version got since then, in all cohorts.
    pub canary_requests: u64,
    /// Of those, how many met the fault.
    pub harmed: u64,
    /// Users who got the new version since then.
    pub users: u64,
    /// The cohort that was hurt.
    pub cohort: Option<String>,
    /// The gate that said so.
    pub gate: Option<&'static str>,
    /// How it ended, in words.
    pub sentence: String,
}

/// The traffic of one cohort.
struct CohortTraffic {
    name: String,
    traffic: Traffic,
}

impl Rehearsal {
    /// The rollout that is rehearsed; `None` when the service has none.
    pub fn rollout(&self) -> Option<&Rollout> {
        self.plan.rollout.as_ref()
    }

    /// Runs the seeds from `from` on, by as many threads; `tell` hears how many are done.
    pub fn runs(
        &self,
        injections: &[Injection],
        from: u64,
        runs: u64,
        threads: usize,
        tell: &mut dyn FnMut(u64),
    ) -> Summary {
        let (next, (give, take)) = (AtomicU64::new(from), channel());
        let mut done = Vec::new();
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                let (next, give) = (&next, give.clone());
                scope.spawn(move || {
                    loop {
                        let seed = next.fetch_add(1, Relaxed);
                        if seed >= from.saturating_add(runs) || self.send_run(seed, injections, &give).is_none() {
                            return;
                        }
                    }
                });
            }
            drop(give);
            for run in take {
                done.push(run);
                tell(done.len() as u64);
            }
        });
        done.sort_by_key(|run: &Run| run.seed);
        Summary { runs: done }
    }

    fn send_run(&self, seed: u64, injections: &[Injection], to: &std::sync::mpsc::Sender<Run>) -> Option<()> {
        to.send(self.run(seed, injections)?).ok()
    }

    /// One run; `None` when the service has no rollout.
    pub fn run(&self, seed: u64, injections: &[Injection]) -> Option<Run> {
        let rollout = self.rollout()?;
        let mut cohorts = self.traffic(seed, rollout);
        for at_s in 0..WARM_S {
            cohorts.iter_mut().for_each(|cohort| cohort.traffic.second(at_s, 0.0, None, 0, false));
        }
        let mut paper = Paper::new(self.plan.clone(), &self.service, 0)?;
        paper.begin(&|cohort, latency| past(&cohorts, cohort, latency));
        let (most_s, mut baked_s) = (self.most_s(rollout), 0);
        let (mut fault_seconds, mut canary_requests, mut harmed) = (0, 0, 0);
        let end = loop {
            let (step, elapsed) = (paper.step(), std::time::Duration::from_secs(paper.elapsed_s()));
            for CohortTraffic { name, traffic } in &mut cohorts {
                let share = paper.share(name);
                let there = || injections.iter().filter(|fault| fault.is_there(name, step, elapsed));
                let fault = there().fold(Fault::default(), worse);
                let left: f64 = there().map(|fault| fault.outcomes).product();
                traffic.break_canary(fault);
                traffic.lose_outcomes(1.0 - left);
                let is_faulty = (fault.is_any() || left < 1.0) && share > 0.0;
                fault_seconds += u64::from(is_faulty && fault_seconds == 0);
                let (thresholds, epoch) = (paper.thresholds(name), paper.epoch(name));
                traffic.second(WARM_S + paper.elapsed_s(), share, thresholds.as_ref(), epoch, is_faulty);
                canary_requests += if is_faulty { traffic.tick.canary.errors.of } else { 0 };
                harmed += traffic.harmed;
            }
            fault_seconds += u64::from(fault_seconds > 0);
            let tick =
                |of: &str| cohorts.iter().find(|cohort| cohort.name == of).map(|cohort| cohort.traffic.tick.clone());
            paper.second(&mut { tick }, &|cohort, latency| past(&cohorts, cohort, latency));
            match paper.phase() {
                Phase::RolledBack => break End::RolledBack,
                Phase::Paused => break End::Paused,
                Phase::Promoted if injections.is_empty() || baked_s >= BAKE_S => break End::Promoted,
                Phase::Promoted => baked_s += 1,
                _ if paper.elapsed_s() >= most_s => break End::Held,
                _ => {}
            }
        };
        let cohort = hurt(&paper, rollout);
        Some(Run {
            seed,
            end,
            seconds: paper.elapsed_s() - baked_s,
            fault_seconds: fault_seconds.saturating_sub(1),
            canary_requests,
            harmed,
            users: cohorts.iter().map(|cohort| cohort.traffic.exposed).sum(),
            gate: cohort.as_ref().and_then(|name| Some(paper.reading(name)?.loudest()?.gate.as_str())),
            cohort,
            sentence: paper.why().to_owned(),
        })
    }

    /// Traffic of the cohorts that the rollout names.
    fn traffic(&self, seed: u64, rollout: &Rollout) -> Vec<CohortTraffic> {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let planned_s = planned_s(rollout).max(1);
        let outage =
            Outage { from_s: rng.u64(..planned_s), for_s: rng.u64(20..=120), error_rate: 0.02 + 0.5 * rng.f64() };
        let outage = (rng.f64() < self.outages).then_some(outage);
        let of = |(at, (name, part)): (usize, &(String, f64))| {
            let world = World {
                requests_per_s: self.world.requests_per_s * part,
                users: (f64::from(self.world.users) * part).max(1.0) as u32,
                outage,
                ..self.world.clone()
            };
            let traffic = Traffic::new(&world, seed.wrapping_mul(1_000_003).wrapping_add(at as u64));
            CohortTraffic { name: name.clone(), traffic }
        };
        self.parts.iter().filter(|(name, _)| rollout.rules(name)).enumerate().map(of).collect()
    }

    /// The gates of the rollout that say nothing here, each with the reason.
    pub fn silent_gates(&self) -> Vec<String> {
        let is_known = |at: usize| self.world.outcomes.get(at).is_some_and(|rate| *rate > 0.0);
        let name = |name: &str| format!("{name} (an outcome: --outcome {name}=5% says how many requests bring one)");
        silent_gates(&self.service, is_known, name)
    }

    fn most_s(&self, rollout: &Rollout) -> u64 {
        (TIMES_MAX * planned_s(rollout)).max(RUN_S_MIN)
    }
}

/// The least that the plan takes, in seconds.
fn planned_s(rollout: &Rollout) -> u64 {
    let shifts = rollout.steps.iter().filter_map(|step| step.shift());
    shifts.map(|shift| shift.hold.as_secs() + shift.warmup.as_secs()).sum()
}

/// Two faults at once.
fn worse(fault: Fault, more: &Injection) -> Fault {
    let is_slow = !more.plus.is_zero();
    Fault {
        from_s: 0,
        errors: (fault.errors + more.errors).min(1.0),
        slow_share: if is_slow { more.part } else { fault.slow_share },
        slow_by_us: if is_slow { more.plus.as_micros() as u64 } else { fault.slow_by_us },
        slower_by: (1.0 + fault.slower_by) * more.times - 1.0,
    }
}

fn past(cohorts: &[CohortTraffic], cohort: &str, latency: Option<&LatencyRules>) -> Past {
    let Some(found) = cohorts.iter().find(|known| known.name == cohort) else { return Past::default() };
    Past {
        thresholds: latency.and_then(|rules| Thresholds::freeze(found.traffic.histogram(), rules)),
        history: History { errors: found.traffic.stable_errors },
    }
}

/// The cohort that was taken back, or else that the judge would.
fn hurt(paper: &Paper, rollout: &Rollout) -> Option<String> {
    let is_harmed =
        |name: &str| paper.reading(name).is_some_and(|reading| matches!(reading.decision, Decision::Harm(_)));
    let harmed = rollout.cohorts().into_iter().find(|name| is_harmed(name));
    harmed.or_else(|| paper.taken_back().next()).map(str::to_owned)
}

mod tests;
