//! The families of what Ringway itself asks and tells others: notifiers, probes, and spans for a tracer.

use super::Facts;
use super::exposition::Kind::Counter;
use super::exposition::{Exposition, Family, family};

const NOTIFICATIONS: Family = family(
    Counter,
    "ringway_notifications_total",
    "Notes about rollouts by what became of them; failed ones were refused or given up, dropped ones gave way to newer ones.",
    &["notifier", "result"],
);
const PROBES: Family = family(
    Counter,
    "ringway_probes_total",
    "Requests of our own to the variant, by what came back; they are in no other family of requests.",
    &["service", "cohort", "variant", "result"],
);

const SPANS: Family = family(
    Counter,
    "ringway_spans_total",
    "Spans by what became of them; rejected ones the receiver did not want, failed ones it did not take, dropped ones had no room.",
    &["result"],
);

/// A process without notifiers, probes and a tracer has none of them.
pub(super) const OUTSIDE: [&Family; 3] = [&NOTIFICATIONS, &PROBES, &SPANS];

/// What became of the notes to one notifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifierFact {
    /// The notifier's name.
    pub notifier: String,
    /// Notes by result; a closed set.
    pub results: Vec<(&'static str, u64)>,
}

/// What came of the probes of one cohort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFact {
    /// The service's name.
    pub service: String,
    /// The cohort's name.
    pub cohort: String,
    /// The variant that is probed.
    pub variant: String,
    /// Probes by result; a closed set.
    pub results: Vec<(&'static str, u64)>,
}

/// The series of notifiers, probes and spans, as long as there is room up to `end`.
pub(super) fn expose_outside(to: &mut Exposition, facts: &Facts, end: usize) {
    facts.spans.iter().for_each(|(result, count)| to.count(&SPANS, &[result], *count));
    for NotifierFact { notifier, results } in &facts.notifiers {
        if to.series() + results.len() > end {
            return;
        }
        results.iter().for_each(|(result, count)| to.count(&NOTIFICATIONS, &[notifier, result], *count));
    }
    for ProbeFact { service, cohort, variant, results } in &facts.probes {
        if to.series() + results.len() > end {
            return;
        }
        results.iter().for_each(|(result, count)| to.count(&PROBES, &[service, cohort, variant, result], *count));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::health::Health;
    use super::super::super::recorder::Registry;
    use super::super::Metrics;
    use super::*;

    #[test]
    fn notifiers_and_probes_have_their_series_within_the_limit() {
        let metrics = Metrics::new(Registry::new(1, 600), Health::new(), None).unwrap();
        let results = vec![("delivered", 3), ("failed", 0)];
        let mut notifiers = vec![NotifierFact { notifier: "chat".to_owned(), results: results.clone() }];
        notifiers
            .extend((0..500).map(|number| NotifierFact { notifier: number.to_string(), results: results.clone() }));
        let [service, cohort, variant] = ["shop", "beta", "canary"].map(str::to_owned);
        let probes = vec![ProbeFact { service, cohort, variant, results: vec![("passed", 7)] }];
        metrics.state(Facts {
            notifiers: notifiers[..1].to_vec(),
            probes: probes.clone(),
            spans: vec![("dropped", 9)],
            ..Facts::default()
        });
        let text = |metrics: &Metrics| String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            r#"ringway_notifications_total{notifier="chat",result="delivered"} 3"#,
            r#"ringway_notifications_total{notifier="chat",result="failed"} 0"#,
            r#"ringway_probes_total{service="shop",cohort="beta",variant="canary",result="passed"} 7"#,
            r#"ringway_spans_total{result="dropped"} 9"#,
        ] {
            assert!(text(&metrics).contains(line), "{line}");
        }
        metrics.state(Facts { notifiers, probes, ..Facts::default() });
        let series = text(&metrics).lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 600, "{series}");
    }
}
