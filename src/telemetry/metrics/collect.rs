use super::super::access_log::LogCounters;
use super::super::health::Health;
use super::super::recorder::{CODE_OTHER, ConnectionRefused, OTHER, Registry, Slot, SlotNames, SlotSum, UserCount};
use super::exposition::{DURATION_BOUNDS, Exposition, OVERHEAD_BOUNDS};
use super::fold::{Fold, SLOT_SERIES_MAX, is_outcome_shown, slot_series};
use super::mirror::{MIRRORED, expose_mirror};
use super::outside::{OUTSIDE, expose_outside};
use super::rollouts::{ROLLED_OUT, expose_durable, expose_leftovers, expose_rollout};
use super::*;
use crate::model::{FallbackCause, InjectedKind, Outcome, Reason, RetryResult};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Codes with which Ringway answers before it knows the service; their series exist from the start.
const UNROUTED_CODES: [u16; 7] = [400, 404, 408, 414, 421, 429, 431];

/// The most certificates that are told of.
const CERTIFICATES_MAX: usize = 100;

/// Below this, `maxSeries` leaves no room for what every process exposes.
const SERIES_MIN: usize = 500;

/// Makes the families of everything that is recorded.
pub(super) struct RecorderCollector {
    recorder: Arc<Registry>,
    health: Arc<Health>,
    log: LogCounters,
    facts: Arc<ArcSwap<Facts>>,
    fold: Mutex<Fold>,
    descs: Vec<Desc>,
}

/// A collector that is asked for text by the registry, and for protobuf directly.
pub(super) struct Shared(pub(super) Arc<RecorderCollector>);

impl RecorderCollector {
    pub(super) fn new(
        recorder: Arc<Registry>,
        health: Arc<Health>,
        log: LogCounters,
        facts: Arc<ArcSwap<Facts>>,
    ) -> Result<RecorderCollector, prometheus::Error> {
        let descs = RECORDED
            .iter()
            .chain(&MIRRORED)
            .chain(&ROLLED_OUT)
            .chain(&OUTSIDE)
            .map(|family| family.desc())
            .collect::<Result<_, _>>()?;
        Ok(RecorderCollector { recorder, health, log, facts, fold: Mutex::default(), descs })
    }

    /// What does not depend on the configuration's names.
    fn expose_process(&self, to: &mut Exposition, facts: &Facts) {
        let totals = self.recorder.totals();
        to.histogram(&OVERHEAD, &[], &OVERHEAD_BOUNDS, &totals.overhead);
        to.gauge(&DOWNSTREAM, &[], totals.downstream_opened.saturating_sub(totals.downstream_closed) as f64);
        to.count(&DOWNSTREAM_TOTAL, &[], totals.downstream_opened);
        for (why, count) in ConnectionRefused::ALL.iter().zip(totals.downstream_refused) {
            to.count(&DOWNSTREAM_REFUSED, &[why.as_str()], count);
        }
        to.count(&UPSTREAM_TOTAL, &[], totals.upstream_opened);
        to.count(&PANICS, &[], totals.panics);
        to.gauge(&OVERLOAD, &[], f64::from(self.health.overload().stage() as u8));
        let mut unrouted: BTreeMap<u16, u64> = UNROUTED_CODES.map(|code| (code, 0)).into();
        unrouted.extend(totals.unrouted);
        for (code, count) in unrouted {
            to.count(&UNROUTED, &[&code_label(code)], count);
        }
        let reloads = self.health.reloads();
        to.gauge(&RELOAD_SUCCESSFUL, &[], f64::from(u8::from(reloads.applied > 0 && reloads.problem.is_none())));
        to.gauge(&RELOAD_TIMESTAMP, &[], reloads.applied_unix_seconds as f64);
        to.count(&RELOADS, &["applied"], reloads.applied);
        to.count(&RELOADS, &["rejected"], reloads.rejected);
        if !facts.rev.is_empty() {
            to.gauge(&CONFIG_INFO, &[&facts.rev], 1.0);
        }
        to.gauge(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        to.count(&LOG_DROPPED, &[], self.log.dropped());
    }

    /// The slots, in the order in which their names came, as long as there is room; the rest as one.
    fn expose_slots(&self, to: &mut Exposition, facts: &Facts, room: usize) {
        let mut fold = self.fold.lock().unwrap_or_else(PoisonError::into_inner);
        let end = to.series() + room.saturating_sub(SLOT_SERIES_MAX);
        for known in self.recorder.slots() {
            if known.slot == Slot::OTHER || fold.folded().contains(&known.slot) {
                continue;
            }
            let mut sum = self.recorder.sum(known.slot);
            fold.limit_codes(known.slot, known.expected_reason, &mut sum);
            if to.series() + slot_series(&sum) > end {
                fold.fold(known.slot);
            } else {
                expose_slot(to, &known, &sum, facts.weights.get(&known.slot));
            }
        }
        to.count(&FOLDED, &[], fold.folded().len() as u64 + self.recorder.refused());
        if fold.folded().is_empty() && self.recorder.refused() == 0 {
            return;
        }
        let mut other = self.recorder.sum(Slot::OTHER);
        fold.folded().iter().for_each(|slot| other.merge(&self.recorder.sum(*slot)));
        fold.limit_codes(Slot::OTHER, Reason::Split, &mut other);
        let names = SlotNames {
            slot: Slot::OTHER,
            service: OTHER.into(),
            cohort: OTHER.into(),
            variant: OTHER.into(),
            expected_reason: Reason::Split,
        };
        expose_slot(to, &names, &other, None);
    }
}

impl Collector for Shared {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.expose(Exposition::default()).into_parts().0
    }
}

impl RecorderCollector {
    /// Everything that is recorded, up to as many series as are allowed.
    pub(super) fn expose(&self, mut to: Exposition) -> Exposition {
        let facts = self.facts.load();
        let series_max = (self.recorder.max_series() as usize).max(SERIES_MIN) - OF_PROCESS.len();
        self.expose_process(&mut to, &facts);
        let mirrors = self.recorder.mirrors();
        mirrors.iter().for_each(|mirror| expose_mirror(&mut to, mirror, series_max / 2));
        facts.rollouts.iter().for_each(|rollout| expose_rollout(&mut to, rollout, series_max / 2));
        facts.leftovers.iter().for_each(|left| expose_leftovers(&mut to, left, series_max / 2));
        expose_durable(&mut to, facts.state_durable);
        expose_outside(&mut to, &facts, series_max / 2);
        let endpoint_states = facts.endpoints.iter().map(|fact| fact.state).collect::<std::collections::BTreeSet<_>>();
        expose_certificates(&mut to, &facts.certificates);
        // One for the count of what is folded, and one for each state of folded endpoints.
        let room = series_max.saturating_sub(to.series() + 1 + endpoint_states.len());
        self.expose_slots(&mut to, &facts, room);
        let end = series_max.saturating_sub(endpoint_states.len());
        expose_endpoints(&mut to, &facts.endpoints, end);
        expose_upstreams(&mut to, &facts.upstreams, series_max);
        to
    }
}

fn expose_slot(to: &mut Exposition, known: &SlotNames, sum: &SlotSum, weight: Option<&WeightFact>) {
    let (service, cohort, variant) = (&*known.service, &*known.cohort, &*known.variant);
    let names = [service, cohort, variant];
    for ((reason, code), count) in &sum.codes {
        to.count(&REQUESTS, &[service, cohort, variant, reason.as_str(), &code_label(*code)], *count);
    }
    for outcome in Outcome::ALL.into_iter().filter(|outcome| is_outcome_shown(*outcome, sum)) {
        let labels = [service, cohort, variant, outcome.as_str()];
        to.histogram(&DURATION, &labels, &DURATION_BOUNDS, &sum.latencies[outcome.index()]);
    }
    for cause in FallbackCause::ALL {
        to.count(&FALLBACK, &[service, cohort, variant, cause.as_str()], sum.fallbacks[cause.index()]);
    }
    for result in RetryResult::ALL {
        to.count(&RETRIES, &[service, cohort, variant, result.as_str()], sum.retries[result.index()]);
    }
    for kind in InjectedKind::ALL {
        to.count(&FAULTS_INJECTED, &[service, cohort, variant, kind.as_str()], sum.injected[kind.index()]);
    }
    to.gauge(&IN_FLIGHT, &names, sum.in_flight as f64);
    to.gauge(&USERS, &names, sum.users.as_ref().map_or(0, UserCount::estimate) as f64);
    to.gauge(&USERS_WITH_ERRORS, &names, sum.users_with_errors.as_ref().map_or(0, UserCount::estimate) as f64);
    if let Some(weight) = weight {
        to.gauge(&WEIGHT, &names, weight.in_force);
        to.gauge(&WEIGHT_CONFIGURED, &names, weight.configured);
    }
}

/// The first certificates of the file; a name that two of a listener have is that of the one that expires first.
fn expose_certificates(to: &mut Exposition, facts: &[CertificateFact]) {
    let mut earliest: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for fact in facts {
        let known = earliest.len() < CERTIFICATES_MAX || earliest.contains_key(&(&*fact.listener, &*fact.name));
        if known {
            let expires = earliest.entry((&fact.listener, &fact.name)).or_insert(fact.expires_unix_seconds);
            *expires = (*expires).min(fact.expires_unix_seconds);
        }
    }
    for ((listener, name), expires) in earliest {
        to.gauge(&CERTIFICATES, &[listener, name], expires as f64);
    }
}

/// Endpoints as long as there is room; the rest summed by state.
fn expose_endpoints(to: &mut Exposition, facts: &[EndpointFact], end: usize) {
    let mut folded: BTreeMap<&str, u64> = BTreeMap::new();
    for fact in facts {
        if to.series() < end {
            to.gauge(&ENDPOINTS, &[&fact.service, &fact.variant, fact.state], fact.count as f64);
        } else {
            *folded.entry(fact.state).or_default() += fact.count;
        }
    }
    for (state, count) in folded {
        to.gauge(&ENDPOINTS, &[OTHER, OTHER, state], count as f64);
    }
}

/// Variants as long as there is room. What is beyond it is left out: sums of them would tell nobody anything.
fn expose_upstreams(to: &mut Exposition, facts: &[UpstreamFact], end: usize) {
    for fact in facts {
        let families = [(&EJECTIONS, &fact.ejections), (&HEALTH_CHECKS, &fact.checks), (&IN_USE, &fact.in_use)];
        if to.series() + families.iter().map(|(_, values)| values.len()).sum::<usize>() > end {
            return;
        }
        for (family, values) in families {
            for (word, value) in values {
                let labels = [fact.service.as_str(), fact.variant.as_str(), word];
                match family.kind {
                    Counter => to.count(family, &labels, *value),
                    Gauge | Histogram => to.gauge(family, &labels, *value as f64),
                }
            }
        }
    }
}

fn code_label(code: u16) -> String {
    if code == CODE_OTHER { "other".to_owned() } else { code.to_string() }
}
