//! The families of rollouts.

use super::exposition::Kind::{Counter, Gauge};
use super::exposition::{Exposition, Family, family};

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

/// The families of rollouts: a process without one has none of them.
pub(super) const ROLLED_OUT: [&Family; 4] = [&PHASE, &STEP, &EVIDENCE, &VERDICTS];

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
    let series = fact.phases.len() + 1 + fact.evidence.len() + fact.verdicts.len();
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
    for (cohort, gate, verdict, count) in &fact.verdicts {
        to.count(&VERDICTS, &[&fact.service, cohort, gate, verdict], *count);
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
        metrics.state(Facts { rollouts: vec![fact], ..Facts::default() });
        let text = text();
        for line in [
            r#"ringway_rollout_phase{service="shop",phase="progressing"} 1"#,
            r#"ringway_rollout_phase{service="shop",phase="paused"} 0"#,
            r#"ringway_rollout_step{service="shop"} 2"#,
            r#"ringway_gate_evidence{service="shop",cohort="beta",gate="errors"} 1.5"#,
            r#"ringway_gate_verdicts_total{service="shop",cohort="beta",gate="errors",verdict="pass"} 7"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
