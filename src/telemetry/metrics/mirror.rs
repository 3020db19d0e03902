//! The families of mirrors.

use super::super::mirror::{DifferenceKind, MirrorRecord, MirrorResult, Uncompared};
use super::exposition::Kind::{Counter, Histogram};
use super::exposition::{DURATION_BOUNDS, Exposition, Family, family, histogram_series};

const REQUESTS: Family = family(
    Counter,
    "ringway_mirror_requests_total",
    "Requests copied to the variant, by what came of the copy.",
    &["service", "variant", "result"],
);
const DIFFERENCES: Family = family(
    Counter,
    "ringway_mirror_differences_total",
    "Answers of the variant to copies that differ from those that users got, by the part that differs.",
    &["service", "variant", "kind"],
);
const UNCOMPARED: Family = family(
    Counter,
    "ringway_mirror_bodies_uncompared_total",
    "Bodies of answers to copies that were not compared, by the reason.",
    &["service", "variant", "cause"],
);
const DURATION: Family = family(
    Histogram,
    "ringway_mirror_duration_seconds",
    "Time from sending a copied request to the head of its answer: of the user's request, and of the copy.",
    &["service", "variant", "side"],
);

/// The families of mirrors: a process without one has none of them.
pub(super) const MIRRORED: [&Family; 4] = [&REQUESTS, &DIFFERENCES, &UNCOMPARED, &DURATION];

/// The series of one mirror, as long as there is room up to `end`.
pub(super) fn expose_mirror(to: &mut Exposition, record: &MirrorRecord, end: usize) {
    let counts = MirrorResult::ALL.len() + DifferenceKind::ALL.len() + Uncompared::ALL.len();
    if to.series() + counts + 2 * histogram_series(&DURATION_BOUNDS) > end {
        return;
    }
    let (service, variant) = (record.service(), record.variant());
    for result in MirrorResult::ALL {
        to.count(&REQUESTS, &[service, variant, result.as_str()], record.results(result));
    }
    for kind in DifferenceKind::ALL {
        to.count(&DIFFERENCES, &[service, variant, kind.as_str()], record.differences(kind));
    }
    for why in Uncompared::ALL {
        to.count(&UNCOMPARED, &[service, variant, why.as_str()], record.uncompared(why));
    }
    let (primary, mirror) = record.latencies();
    to.histogram(&DURATION, &[service, variant, "primary"], &DURATION_BOUNDS, &primary);
    to.histogram(&DURATION, &[service, variant, "mirror"], &DURATION_BOUNDS, &mirror);
}

#[cfg(test)]
mod tests {
    use super::super::super::health::Health;
    use super::super::super::recorder::Registry;
    use super::super::Metrics;
    use super::*;

    fn text(registry: &std::sync::Arc<Registry>) -> String {
        let metrics = Metrics::new(registry.clone(), Health::new(), None).unwrap();
        String::from_utf8(metrics.text().unwrap()).unwrap()
    }

    #[test]
    fn a_mirror_has_all_its_series_from_the_start_and_counts() {
        let registry = Registry::new(1, 10_000);
        assert!(!text(&registry).contains("ringway_mirror"));
        let record = registry.mirror("shop", "canary");
        let series = |text: &str| text.lines().filter(|line| line.starts_with("ringway_mirror")).count();
        assert_eq!(series(&text(&registry)), 12 + 2 * 17);
        record.differ(&[DifferenceKind::Body]);
        record.worker().record(3_000, 30_000);
        let text = text(&registry);
        let names = r#"service="shop",variant="canary""#;
        for line in [
            format!(r#"ringway_mirror_requests_total{{{names},result="different"}} 1"#),
            format!(r#"ringway_mirror_requests_total{{{names},result="dropped"}} 0"#),
            format!(r#"ringway_mirror_differences_total{{{names},kind="body"}} 1"#),
            format!(r#"ringway_mirror_duration_seconds_bucket{{{names},side="primary",le="0.005"}} 1"#),
            format!(r#"ringway_mirror_duration_seconds_bucket{{{names},side="mirror",le="0.025"}} 0"#),
        ] {
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }

    #[test]
    fn mirrors_beyond_the_cap_are_left_out() {
        let registry = Registry::new(1, 600);
        for number in 0..200 {
            registry.mirror(&number.to_string(), "canary");
        }
        let text = text(&registry);
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 600 && text.contains("ringway_mirror"), "{series}");
    }
}
