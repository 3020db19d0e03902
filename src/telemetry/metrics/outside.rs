//! The families of what Ringway itself asks and tells others: notifiers and probes.

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

/// A process without notifiers and probes has none of them.
pub(super) const OUTSIDE: [&Family; 2] = [&NOTIFICATIONS, &PROBES];

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

/// The series of notifiers and probes, as long as there is room up to `end`.
pub(super) fn expose_outside(to: &mut Exposition, notifiers: &[NotifierFact], probes: &[ProbeFact], end: usize) {
    for NotifierFact { notifier, results } in notifiers {
        if to.series() + results.len() > end {
            return;
        }
        results.iter().for_each(|(result, count)| to.count(&NOTIFICATIONS, &[notifier, result], *count));
    }
    for ProbeFact { service, cohort, variant, results } in probes {
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
    use super::super::{Facts, Metrics};
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
        metrics.state(Facts { notifiers: notifiers[..1].to_vec(), probes: probes.clone(), ..Facts::default() });
        let text = |metrics: &Metrics| String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            r#"ringway_notifications_total{notifier="chat",result="delivered"} 3"#,
            r#"ringway_notifications_total{notifier="chat",result="failed"} 0"#,
            r#"ringway_probes_total{service="shop",cohort="beta",variant="canary",result="passed"} 7"#,
        ] {
            assert!(text(&metrics).contains(line), "{line}");
        }
        metrics.state(Facts { notifiers, probes, ..Facts::default() });
        let series = text(&metrics).lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 600, "{series}");
    }
}
