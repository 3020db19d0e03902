//! The families of rollouts.

use super::exposition::Kind::{Counter, Gauge};
use super::exposition::{Exposition, Family, family};
use super::facts::LeftoverFact;
use std::collections::BTreeMap;

const PHASE: Family = family(
    Gauge,
    "ringway_rollout_phase",
    "1 for the phase that the rollout of the service is in, 0 for the others.",
    &["service", "phase"],
);
const STEP: Family = family(
    Gauge,
    "ringway_rollout_step",
    "The step of the file that the rollout is at, from 1; as many as there are when all are done.",
    &["service"],
);
const EVIDENCE: Family = family(
    Gauge,
    "ringway_gate_evidence",
    "How many times likelier harm is than a healthy release, by gate.",
    &["service", "cohort", "gate"],
);
const VERDICTS: Family = family(
    Counter,
    "ringway_gate_verdicts_total",
    "Looks at a gate by its verdict, one a second.",
    &["service", "cohort", "gate", "verdict"],
);

const LEFTOVERS: Family = family(
    Gauge,
    "ringway_leftovers",
    "What is left over of releases that are over, and can most likely be removed from the file; `ringway check` names it.",
    &["service", "kind"],
);

const DURABLE: Family = family(
    Gauge,
    "ringway_rollout_state_durable",
    "1 while the state of rollouts is on the disk; 0 while it cannot be written: nothing rises, and a restart knows an older one.",
    &[],
);

/// The families of rollouts: a process without one has none of them.
pub(super) const ROLLED_OUT: [&Family; 6] = [&PHASE, &STEP, &EVIDENCE, &VERDICTS, &LEFTOVERS, &DURABLE];

/// Verdicts that each gate has a series for from its first look on: the first harm must be an increase, and not a series
/// that begins at 1.
const VERDICTS_FROM_THE_START: [&str; 4] = ["pass", "harm", "waiting", "unknown"];

/// Where the rollout of a service is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolloutFact {
    /// The service's name.
    pub service: String,
    /// All phases, and which one it is; a closed set.
    pub phases: Vec<(&'static str, bool)>,
    /// The step of the file.
    pub step: usize,
    /// Evidence by cohort and gate.
    pub evidence: Vec<(String, String, f64)>,
    /// Seconds by cohort, gate and verdict.
    pub verdicts: Vec<(String, String, &'static str, u64)>,
}

/// The series of one rollout, as long as there is room up to `end`.
pub(super) fn expose_rollout(to: &mut Exposition, fact: &RolloutFact, end: usize) {
    let verdicts = fact.verdicts_from_the_start();
    let series = fact.phases.len() + 1 + fact.evidence.len() + verdicts.len();
    if to.series() + series > end {
        return;
    }
    for (phase, is_it) in &fact.phases {
        to.gauge(&PHASE, &[&fact.service, phase], f64::from(u8::from(*is_it)));
    }
    to.gauge(&STEP, &[&fact.service], fact.step as f64);
    for (cohort, gate, evidence) in &fact.evidence {
        to.gauge(&EVIDENCE, &[&fact.service, cohort, gate], *evidence);
    }
    for ((cohort, gate, verdict), count) in verdicts {
        to.count(&VERDICTS, &[&fact.service, cohort, gate, verdict], count);
    }
}

impl RolloutFact {
    /// Counts by cohort, gate and verdict, with 0 for what a gate has not said yet.
    fn verdicts_from_the_start(&self) -> BTreeMap<(&str, &str, &str), u64> {
        let mut counts = BTreeMap::new();
        for (cohort, gate, verdict, count) in &self.verdicts {
            for unsaid in VERDICTS_FROM_THE_START {
                counts.entry((cohort.as_str(), gate.as_str(), unsaid)).or_insert(0);
            }
            *counts.entry((cohort.as_str(), gate.as_str(), *verdict)).or_insert(0) += count;
        }
        counts
    }
}

/// Whether the state is on the disk; nothing where there is no folder for it.
pub(super) fn expose_durable(to: &mut Exposition, is_durable: Option<bool>) {
    if let Some(is_durable) = is_durable {
        to.gauge(&DURABLE, &[], f64::from(u8::from(is_durable)));
    }
}

/// What is left over in a service, as long as there is room up to `end`.
pub(super) fn expose_leftovers(to: &mut Exposition, fact: &LeftoverFact, end: usize) {
    if to.series() + fact.counts.len() <= end {
        for (kind, count) in &fact.counts {
            to.gauge(&LEFTOVERS, &[&fact.service, kind], *count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::health::Health;
    use super::super::super::recorder::Registry;
    use super::super::{Facts, Metrics};
    use super::*;

    #[test]
    fn a_rollout_has_its_series_and_nothing_else_has() {
        let registry = Registry::new(1, 10_000);
        let metrics = Metrics::new(registry, Health::new(), None).unwrap();
        let text = || String::from_utf8(metrics.text().unwrap()).unwrap();
        assert!(!text().contains("ringway_rollout"));
        let fact = RolloutFact {
            service: "shop".to_owned(),
            phases: vec![("progressing", true), ("paused", false)],
            step: 2,
            evidence: vec![("beta".to_owned(), "errors".to_owned(), 1.5)],
            verdicts: vec![("beta".to_owned(), "errors".to_owned(), "pass", 7)],
        };
        let counts = [("rollout", 0), ("variant", 2), ("override", 0)];
        let leftovers = vec![LeftoverFact { service: "shop".to_owned(), counts }];
        metrics.state(Facts { rollouts: vec![fact], leftovers, state_durable: Some(false), ..Facts::default() });
        let text = text();
        for line in [
            r#"ringway_rollout_phase{service="shop",phase="progressing"} 1"#,
            r#"ringway_rollout_phase{service="shop",phase="paused"} 0"#,
            r#"ringway_rollout_step{service="shop"} 2"#,
            "ringway_rollout_state_durable 0",
            r#"ringway_leftovers{service="shop",kind="rollout"} 0"#,
            r#"ringway_leftovers{service="shop",kind="variant"} 2"#,
            r#"ringway_gate_evidence{service="shop",cohort="beta",gate="errors"} 1.5"#,
            r#"ringway_gate_verdicts_total{service="shop",cohort="beta",gate="errors",verdict="pass"} 7"#,
            r#"ringway_gate_verdicts_total{service="shop",cohort="beta",gate="errors",verdict="harm"} 0"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
