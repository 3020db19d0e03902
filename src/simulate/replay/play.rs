//! A rollout played with the requests of a log: the log's answers are those of both versions, but for what is injected.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Options;
use crate::config::schema::Bad;
use crate::control::plans::plan;
use crate::model::{Bucket, Reason};
use crate::rollout::effect::{Event, EventKind};
use crate::rollout::judge::{Counted, GroupSet, History, LatencyRules, Met, Side, Tally, Thresholds, Tick, Users};
use crate::rollout::state::Phase;
use crate::routing::explain::Placed;
use crate::routing::prepare::{Prepared, recompile};
use crate::routing::{Overlay, Ruled, Snapshot, WeightSource};
use crate::simulate::inject::Injection;
use crate::simulate::log::Line;
use crate::simulate::paper::{Paper, Past};
use crate::telemetry::Registry;
use crate::telemetry::recorder::{HISTOGRAM_BUCKETS, bucket_lowest_us, bucket_of};
use crate::upstream::Upstreams;

/// Seconds of the log before the rollout begins, from which it is known what is slow.
pub(super) const WARM_S: u64 = 60;

/// Seconds without a request after which the clock leaps to the next one: a log with a gap of a year is no year's work.
const IDLE_S_MAX: u64 = 3_600;

/// A rollout under way.
pub(super) struct Play<'p> {
    prepared: &'p Prepared,
    service: usize,
    variants: Pair<usize>,
    paper: Paper,
    has_begun: bool,
    /// Answers of the 4xx class are errors, as the file says.
    blames_rejected: bool,
    overlay: Overlay,
    registry: Arc<Registry>,
    /// With the weights of the rollout; `None` while they are those of the file.
    snapshot: Option<Snapshot>,
    injections: Vec<Injection>,
    random: fastrand::Rng,
    first_s: Option<u64>,
    now_s: u64,
    cohorts: BTreeMap<String, Seen>,
    /// What came of the fault.
    pub(super) toll: Toll,
}

/// What came of the fault until the version was taken away.
#[derive(Clone, Debug, Default)]
pub(super) struct Toll {
    /// In which second of the log it was met first.
    pub(super) since_s: Option<u64>,
    /// Requests that the new version got.
    pub(super) canary_requests: u64,
    /// Of those, how many met the fault.
    pub(super) harmed: u64,
    /// Groups of users that got the new version.
    pub(super) users: GroupSet,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pair<T> {
    canary: T,
    stable: T,
}

/// One second of a cohort, and what is known of its stable.
struct Seen {
    sides: Pair<Side>,
    met: Pair<Met>,
    counted: Counted,
    epoch: u64,
    stable_errors: Tally,
    latencies: Vec<u64>,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            sides: Pair { canary: Side::default(), stable: Side::default() },
            met: Pair { canary: Met::default(), stable: Met::default() },
            counted: Counted::default(),
            epoch: 0,
            stable_errors: Tally::default(),
            latencies: vec![0; HISTOGRAM_BUCKETS],
        }
    }
}

impl<'p> Play<'p> {
    pub(super) fn new(prepared: &'p Prepared, name: &str, options: &Options) -> Result<Play<'p>, String> {
        let written = prepared.loaded.file.services.get(name).ok_or_else(|| format!("there is no service `{name}`"))?;
        let none = || format!("{name} has no rollout to be played; write one under services.{name}");
        let paper = Paper::new(plan(name, written), written, 0).ok_or_else(none)?;
        let service = prepared.snapshot.services.iter().position(|known| *known.name == *name).ok_or_else(none)?;
        let place = |variant: &str| {
            let variants = &prepared.snapshot.services[service].variants;
            variants.iter().position(|known| *known.name == *variant).ok_or_else(none)
        };
        let variants = Pair { canary: place(&paper.rollout().to)?, stable: place(&paper.rollout().from)? };
        for fault in &options.injections {
            fault.fits(paper.rollout())?;
        }
        Ok(Play {
            prepared,
            service,
            variants,
            paper,
            has_begun: false,
            blames_rejected: written.rollout.as_ref().is_some_and(|rollout| {
                rollout.gates.errors.bad.as_ref().is_some_and(|bad| bad.contains(&Bad::Status4xx))
            }),
            overlay: Overlay::default(),
            registry: Registry::new(1, 0),
            snapshot: None,
            injections: options.injections.clone(),
            random: fastrand::Rng::with_seed(options.seed),
            first_s: None,
            now_s: 0,
            cohorts: BTreeMap::new(),
            toll: Toll::default(),
        })
    }

    /// The clock goes on to the time of a line. Lines that come late count in the current second.
    pub(super) fn until(&mut self, unix_ms: u64) {
        let to_s = unix_ms / 1_000;
        if self.first_s.is_none() {
            (self.first_s, self.now_s) = (Some(to_s), to_s);
        }
        let from_s = self.now_s;
        while self.now_s < to_s && self.now_s - from_s < IDLE_S_MAX {
            self.second_is_over();
            self.now_s += 1;
        }
        self.now_s = self.now_s.max(to_s);
    }

    /// The log has ended.
    pub(super) fn end(&mut self) {
        self.second_is_over();
    }

    fn second_is_over(&mut self) {
        let Play { paper, cohorts, .. } = self;
        if self.has_begun {
            let mut ticks: BTreeMap<String, Tick> = BTreeMap::new();
            for (name, seen) in cohorts.iter_mut() {
                ticks.insert(name.clone(), seen.take(paper.epoch(name), paper.share(name)));
            }
            // whom nobody asked for anything is there as well
            let mut tick = |cohort: &str| {
                let quiet = || Tick { canary_share: 0.0, ..Tick::default() };
                Some(ticks.remove(cohort).unwrap_or_else(quiet))
            };
            paper.second(&mut tick, &|cohort, latency| past(cohorts, cohort, latency));
        } else if self.first_s.is_some_and(|first_s| self.now_s - first_s >= WARM_S) {
            self.has_begun = true;
            cohorts.values_mut().for_each(|seen| drop(seen.take(0, 0.0)));
            paper.set_beginning(self.now_s * 1_000);
            paper.begin(&|cohort, latency| past(cohorts, cohort, latency));
        } else {
            return;
        }
        self.put_weights_in_force();
    }

    /// The weights that the engine wants, by the code that puts them in force in the proxy.
    fn put_weights_in_force(&mut self) {
        let service = &self.prepared.snapshot.services[self.service];
        let mut is_changed = false;
        for cohort in &service.cohorts {
            let Some(split) = self.paper.split(&cohort.name) else { continue };
            let weights = split.shares().map(|(variant, weight)| (variant.to_owned(), weight)).collect();
            let source = WeightSource::Step { number: self.paper.step(), of: self.paper.rollout().written };
            let is_held = self.paper.taken_back().any(|back| *back == *cohort.name);
            let ruled = Ruled { weights, source: if is_held { WeightSource::Rollback } else { source } };
            is_changed |= self.overlay.set(&service.name, &cohort.name, Some(ruled));
        }
        if is_changed {
            let (loaded, references) = (&self.prepared.loaded, &self.prepared.references);
            let compiled = recompile(loaded, references, &Upstreams::default(), &self.registry, &self.overlay);
            self.snapshot = compiled.ok().or(self.snapshot.take());
        }
    }

    /// A request of this second.
    pub(super) fn request(&mut self, placed: &Placed, line: &Line) {
        if placed.service != self.service || placed.reason == Reason::Override || line.is_aborted {
            return;
        }
        let snapshot = self.snapshot.as_ref().unwrap_or(&self.prepared.snapshot);
        let cohort = &snapshot.services[self.service].cohorts[placed.cohort];
        let (variant, _) = cohort.variant_of(placed.bucket);
        let is_canary = variant == self.variants.canary;
        if !is_canary && variant != self.variants.stable {
            return;
        }
        let is_rejected = self.blames_rejected && (400..500).contains(&line.status);
        let (mut is_error, mut latency_us) = (line.is_error() || is_rejected, line.latency_us);
        if is_canary && self.has_begun {
            self.break_answer(placed_name(self.prepared, placed), placed.bucket, &mut is_error, &mut latency_us);
        }
        let name = placed_name(self.prepared, placed);
        let thresholds = self.paper.thresholds(name);
        let seen = self.cohorts.entry(name.to_owned()).or_default();
        seen.add(is_canary, placed.bucket, is_error, latency_us, thresholds.as_ref());
    }

    /// What the fault does to an answer.
    fn break_answer(&mut self, cohort: &str, bucket: Bucket, is_error: &mut bool, latency_us: &mut Option<u64>) {
        let (step, elapsed) = (self.paper.step(), std::time::Duration::from_secs(self.paper.elapsed_s()));
        let (mut is_there, mut is_met) = (false, false);
        for fault in self.injections.iter().filter(|fault| fault.is_there(cohort, step, elapsed)) {
            is_there = true;
            let fails = self.random.f64() < fault.errors;
            let is_slower = !fault.plus.is_zero() && self.random.f64() < fault.part;
            is_met |= (fails && !*is_error) || is_slower || fault.times > 1.0;
            *is_error |= fails;
            let plus = if is_slower { fault.plus.as_micros() as u64 } else { 0 };
            *latency_us = latency_us.map(|us| ((us as f64 * fault.times) as u64).saturating_add(plus));
        }
        if is_there {
            self.toll.since_s.get_or_insert(self.now_s);
            self.toll.canary_requests += 1;
            self.toll.harmed += u64::from(is_met);
            self.toll.users.insert(GroupSet::group_of(bucket.number()));
        }
    }

    /// Where the rollout is.
    pub(super) fn phase(&self) -> Phase {
        self.paper.phase()
    }

    /// The same in words.
    pub(super) fn why(&self) -> &str {
        match self.has_begun {
            true => self.paper.why(),
            false => "the log is over before the rollout could begin: it warms up for a minute",
        }
    }

    /// Whether the log holds durations of what the service answered.
    pub(super) fn has_latencies(&self) -> bool {
        let has_some = |seen: &Seen| seen.latencies.iter().any(|count| *count > 0);
        self.cohorts.is_empty() || self.cohorts.values().any(has_some)
    }

    /// The service's name.
    pub(super) fn service(&self) -> &str {
        &self.prepared.snapshot.services[self.service].name
    }

    /// The rollout's id.
    pub(super) fn id(&self) -> &str {
        &self.paper.rollout().id
    }

    /// What happened.
    pub(super) fn events(&self) -> &[Event] {
        &self.paper.events
    }

    /// When the log's first second was, in milliseconds since 1970.
    pub(super) fn first_ms(&self) -> u64 {
        self.first_s.unwrap_or(0) * 1_000
    }

    /// Seconds from the fault to the first rollback or pause.
    pub(super) fn seconds_to_notice(&self) -> Option<u64> {
        let is_end = |event: &&Event| matches!(event.kind, EventKind::RolledBack | EventKind::Harm);
        let noticed_s = self.events().iter().find(is_end)?.unix_ms / 1_000;
        Some(noticed_s.saturating_sub(self.toll.since_s?))
    }
}

fn placed_name<'p>(prepared: &'p Prepared, placed: &Placed) -> &'p str {
    &prepared.snapshot.services[placed.service].cohorts[placed.cohort].name
}

fn past(cohorts: &BTreeMap<String, Seen>, cohort: &str, latency: Option<&LatencyRules>) -> Past {
    let Some(seen) = cohorts.get(cohort) else { return Past::default() };
    let buckets = seen.latencies.iter().enumerate();
    let histogram = buckets.map(|(bucket, count)| (bucket_lowest_us(bucket + 1).saturating_sub(1), *count));
    Past {
        thresholds: latency.and_then(|rules| Thresholds::freeze(histogram, rules)),
        history: History { errors: seen.stable_errors },
    }
}

impl Seen {
    fn add(
        &mut self,
        is_canary: bool,
        bucket: Bucket,
        is_error: bool,
        latency_us: Option<u64>,
        thresholds: Option<&Thresholds>,
    ) {
        let group = GroupSet::group_of(bucket.number());
        if !is_canary {
            self.stable_errors.add(Tally::new(u64::from(is_error), 1));
            if let (false, Some(us)) = (is_error, latency_us) {
                self.latencies.iter_mut().skip(bucket_of(us)).take(1).for_each(|count| *count += 1);
            }
        }
        let (side, met) = match is_canary {
            true => (&mut self.sides.canary, &mut self.met.canary),
            false => (&mut self.sides.stable, &mut self.met.stable),
        };
        side.errors.add(Tally::new(u64::from(is_error), 1));
        met.seen.insert(group);
        if is_error {
            met.errors.insert(group);
            return;
        }
        let (Some(us), Some(thresholds)) = (latency_us, thresholds) else { return };
        met.timed.insert(group);
        let limits = if is_canary { &thresholds.canary_us } else { &thresholds.stable_us };
        for (at, limit) in limits.iter().enumerate() {
            let is_slow = us > *limit;
            side.slow[at].add(Tally::new(u64::from(is_slow), 1));
            if !is_canary {
                side.late[at].add(Tally::new(u64::from(us > thresholds.canary_us[at]), 1));
            }
            if is_slow {
                met.slow[at].insert(group);
            }
        }
    }

    /// The second that is over.
    fn take(&mut self, epoch: u64, canary_share: f64) -> Tick {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.counted.clear();
        }
        let mut sides = std::mem::take(&mut self.sides);
        if sides.canary.errors.of + sides.stable.errors.of == 0 {
            // the sets are large, and nobody is in them
            let quiet = || Side { users: Some(Users::default()), ..Side::default() };
            return Tick { at_s: 0, canary_share, canary: quiet(), stable: quiet() };
        }
        let (canary, stable) = self.counted.count(&self.met.canary, &self.met.stable);
        (sides.canary.users, sides.stable.users) = (Some(canary), Some(stable));
        self.met.canary.clear();
        self.met.stable.clear();
        Tick { at_s: 0, canary_share, canary: sides.canary, stable: sides.stable }
    }
}
