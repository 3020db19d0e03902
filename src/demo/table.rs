//! The figures: a row for each cohort and variant.

use super::percent;
use super::users::Crowd;
use crate::control::Handle;
use crate::model::{BUCKETS, Fault, Outcome, grouped};
use crate::routing::snapshot::{Cohort, Service};
use crate::telemetry::windows::{Quantiles, WindowStats, Windows};
use comfy_table::{CellAlignment, Table, presets};

/// What a variant does in a cohort.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cohort: String,
    pub(super) variant: String,
    /// It is the one that takes what others leave: the version of before.
    pub(super) is_remainder: bool,
    /// By the file, from 0 to 1.
    pub(super) asked: f64,
    /// Of the cohort's requests, from 0 to 1; `None` without requests.
    pub(super) actual: Option<f64>,
    pub(super) stats: WindowStats,
    /// Users who were served here last.
    pub(super) users: usize,
}

const HEADER: [&str; 11] =
    ["COHORT", "VARIANT", "ASKED", "ACTUAL", "RPS", "SUCCESS", "P50", "P95", "P99", "N", "USERS"];

/// All rows, over the last seconds.
pub(super) fn rows(handle: &Handle, crowd: &Crowd, last_seconds: u64) -> Vec<Row> {
    let snapshot = handle.snapshot();
    let has_one_service = snapshot.services.len() == 1;
    let mut rows = handle.with_windows(|windows| {
        let cohorts = snapshot.services.iter().flat_map(|service| service.cohorts.iter().map(move |of| (service, of)));
        cohorts.flat_map(|(service, cohort)| of_cohort(service, cohort, windows, last_seconds)).collect::<Vec<_>>()
    });
    let seen = crowd.seen();
    for row in &mut rows {
        row.users = seen.iter().flatten().filter(|at| at.cohort == row.cohort && at.variant == row.variant).count();
    }
    drop(seen);
    if !has_one_service {
        let services = snapshot.services.iter();
        let names = services.flat_map(|of| std::iter::repeat_n(&of.name, of.cohorts.len() * of.variants.len()));
        rows.iter_mut().zip(names).for_each(|(row, service)| row.cohort = format!("{service}/{}", row.cohort));
    }
    rows
}

fn of_cohort(service: &Service, cohort: &Cohort, windows: &Windows, last_seconds: u64) -> Vec<Row> {
    let stats: Vec<WindowStats> = cohort.slots.iter().map(|slot| windows.stats(*slot, last_seconds)).collect();
    let all: u64 = stats.iter().map(|stats| stats.requests).sum();
    let row = |(position, stats): (usize, WindowStats)| Row {
        cohort: cohort.name.to_string(),
        variant: service.variants[position].name.to_string(),
        is_remainder: position == service.remainder,
        asked: f64::from(cohort.layout.width_of(position)) / f64::from(BUCKETS),
        actual: (all > 0).then(|| stats.requests as f64 / all as f64),
        stats,
        users: 0,
    };
    stats.into_iter().enumerate().map(row).collect()
}

impl Row {
    /// Nothing is asked of it, and nothing comes.
    pub(super) fn is_idle(&self) -> bool {
        self.asked == 0.0 && self.stats.requests + self.stats.fallbacks == 0
    }

    /// The part of the requests that did not fail by the fault of variant or proxy; what a fallback had to serve
    /// counts against it. `None` without requests.
    fn success(&self) -> Option<f64> {
        let is_failure = |outcome: &&Outcome| matches!(outcome.fault(), Some(Fault::Upstream | Fault::Ours));
        let failed = Outcome::ALL.iter().filter(is_failure).map(|outcome| self.stats.outcomes[outcome.index()]);
        let failed = failed.sum::<u64>() + self.stats.fallbacks;
        let all = self.stats.requests + self.stats.fallbacks;
        (all > 0).then(|| 1.0 - failed as f64 / all as f64)
    }

    fn cells(&self, is_first: bool) -> [String; HEADER.len()] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let latency = |of: fn(&Quantiles) -> u64| or_dash(self.stats.latency.as_ref().map(|at| latency(of(at))));
        [
            if is_first { self.cohort.clone() } else { String::new() },
            self.variant.clone(),
            percent(self.asked),
            or_dash(self.actual.map(|share| format!("{:.1} %", share * 100.0))),
            format!("{:.1}", self.stats.rps),
            or_dash(self.success().map(success)),
            latency(|at| at.p50),
            latency(|at| at.p95),
            latency(|at| at.p99),
            grouped(self.stats.requests),
            self.users.to_string(),
        ]
    }
}

/// The header and a line for each row, with so many blanks between the columns.
pub(super) fn render(rows: &[Row], gap: u16) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    let mut last = None;
    for row in rows {
        let is_first = last.replace(&row.cohort) != Some(&row.cohort);
        table.add_row(row.cells(is_first));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, gap));
        if at > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn success(share: f64) -> String {
    // 99.999 % must not look like all of them
    let floored = (share * 10_000.0).floor() / 100.0;
    if floored >= 100.0 { "100 %".to_owned() } else { format!("{floored:.2} %") }
}

fn latency(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.1}ms", us as f64 / 1_000.0),
        10_000..10_000_000 => format!("{}ms", us / 1_000),
        10_000_000.. => format!("{:.1}s", us as f64 / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cohort: &str, variant: &str, requests: u64, errors: u64) -> Row {
        let mut stats = WindowStats { requests, rps: requests as f64 / 10.0, ..WindowStats::default() };
        stats.outcomes[Outcome::Error.index()] = errors;
        stats.latency = (requests > 0).then_some(Quantiles { p50: 18_400, p95: 41_000, p99: 1_234_000 });
        let (cohort, variant) = (cohort.to_owned(), variant.to_owned());
        let actual = (requests > 0).then_some(0.947);
        Row { cohort, variant, is_remainder: true, asked: 0.95, actual, stats, users: 190 }
    }

    #[test]
    fn a_table_fits_eighty_columns_and_names_a_cohort_once() {
        let rows = [row("everyone", "stable", 16_120, 1), row("everyone", "canary", 0, 0)];
        let lines = render(&rows, 1);
        assert_eq!(
            lines,
            [
                "COHORT   VARIANT ASKED ACTUAL    RPS SUCCESS  P50  P95    P99      N USERS",
                "everyone stable   95 % 94.7 % 1612.0 99.99 % 18ms 41ms 1234ms 16,120   190",
                "         canary   95 %      –    0.0       –    –    –      –      0   190",
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn success_is_never_rounded_up_and_a_fallback_counts_against_the_variant() {
        assert_eq!(success(1.0), "100 %");
        assert_eq!(success(0.999_999), "99.99 %");
        let mut row = row("everyone", "canary", 0, 0);
        assert_eq!(row.success(), None);
        row.stats.fallbacks = 3;
        assert_eq!(row.success(), Some(0.0));
        assert!(!row.is_idle());
    }

    #[test]
    fn figures_are_written_for_people() {
        let cases = [(900, "0.9ms"), (18_400, "18ms"), (12_300_000, "12.3s")];
        cases.iter().for_each(|(us, text)| assert_eq!(latency(*us), *text));
        assert_eq!((grouped(999), grouped(1_234_567)), ("999".to_owned(), "1,234,567".to_owned()));
    }
}
