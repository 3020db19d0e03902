//! What was rehearsed, as a table and as a document.

use serde_json::{Value, json};
use std::fmt::Write;

use super::{End, Rehearsal, Run, Spread, Summary};
use crate::model::{grouped, percent};

/// Runs under one name.
pub struct Column {
    /// `healthy`, or the fault as it was typed.
    pub name: String,
    /// Something was broken, so that a rollback is what should happen.
    pub is_broken: bool,
    /// The runs.
    pub summary: Summary,
}

/// All that was rehearsed.
pub struct Report<'r> {
    /// What was rehearsed.
    pub rehearsal: &'r Rehearsal,
    /// The first seed.
    pub seed: u64,
    /// Healthy, then broken.
    pub columns: Vec<Column>,
}

type Row = (&'static str, fn(&Column) -> String);

const ROWS: [Row; 11] = [
    ("promoted", |column| of(column, End::Promoted)),
    ("rolled back", rolled_back),
    ("paused for a person", |column| of(column, End::Paused)),
    ("still waiting", |column| of(column, End::Held)),
    ("time to promote", |column| time(column.summary.spread(End::Promoted, |run| run.seconds))),
    ("time to rollback or pause", |column| broken(column, time, |run| run.fault_seconds)),
    ("canary requests until then", |column| broken(column, number, |run| run.canary_requests)),
    ("of them, met the fault", |column| broken(column, number, |run| run.harmed)),
    ("users who got the canary", |column| broken(column, number, |run| run.users)),
    ("by cohort", |column| names(column, |run| run.cohort.as_deref())),
    ("by gate", |column| names(column, |run| run.gate)),
];

impl Report<'_> {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = self.head();
        let first = ROWS.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let cells: Vec<Vec<String>> = self
            .columns
            .iter()
            .map(|column| {
                std::iter::once(column.name.clone()).chain(ROWS.iter().map(|(_, cell)| cell(column))).collect()
            })
            .collect();
        let width = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let names = std::iter::once("").chain(ROWS.iter().map(|(name, _)| *name));
        for (at, name) in names.enumerate() {
            let mut line = format!("{name:first$}");
            for column in &cells {
                let _ = write!(line, "  {:width$}", column[at], width = width(column));
            }
            text += line.trim_end();
            text.push('\n');
        }
        for column in &self.columns {
            let ended = |run: &&Run| matches!(run.end, End::RolledBack | End::Paused);
            if let Some(run) = column.summary.runs.iter().find(ended) {
                let _ = writeln!(text, "\nseed {}: {}", run.seed, run.sentence);
            }
        }
        let silent = self.rehearsal.silent_gates();
        if !silent.is_empty() {
            let _ = writeln!(text, "\nnot rehearsed, as if these gates passed: {}", silent.join("; "));
        }
        text
    }

    fn head(&self) -> String {
        let world = &self.rehearsal.world;
        let id = self.rehearsal.rollout().map_or("", |rollout| rollout.id.as_str());
        let parts = self.rehearsal.parts.iter().map(|(name, part)| format!("{name} {}", percent(*part)));
        format!(
            "{} {id}: {} requests/s, {} users, {} errors, latency p50 {} ms, p99 {} ms ({})\n\n",
            self.rehearsal.plan.service,
            world.requests_per_s,
            grouped(world.users.into()),
            percent(world.error_rate),
            (world.median_us / 1e3).round(),
            (p99_us(world.median_us, world.spread) / 1e3).round(),
            parts.collect::<Vec<_>>().join(", "),
        )
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let world = &self.rehearsal.world;
        let part = |(name, part): &(String, f64)| json!({ "name": name, "part": part });
        json!({
            "schema": "ringway.rehearse/v1",
            "service": self.rehearsal.plan.service,
            "rollout": self.rehearsal.rollout().map(|rollout| rollout.id.as_str()),
            "seed": self.seed,
            "traffic": {
                "requestsPerSecond": world.requests_per_s,
                "users": world.users,
                "errorRate": world.error_rate,
                "swing": world.swing,
                "brokenUsers": world.broken_users,
                "outages": self.rehearsal.outages,
                "outcomes": world.outcomes,
                "p50Ms": world.median_us / 1e3,
                "p99Ms": p99_us(world.median_us, world.spread) / 1e3,
                "cohorts": self.rehearsal.parts.iter().map(part).collect::<Vec<_>>(),
            },
            "notRehearsed": self.rehearsal.silent_gates(),
            "results": self.columns.iter().map(column_json).collect::<Vec<_>>(),
        })
    }
}

/// The 99th percentile of a log-normal latency.
fn p99_us(median_us: f64, spread: f64) -> f64 {
    median_us * (spread * super::super::Z99).exp()
}

fn column_json(column: &Column) -> Value {
    let summary = &column.summary;
    let spread = |spread: Option<Spread>| spread.map(|spread| json!({ "median": spread.median, "p95": spread.p95 }));
    let back = |of: fn(&Run) -> u64| spread(summary.spread(End::RolledBack, of));
    let example = summary.runs.iter().find(|run| run.end == End::RolledBack);
    json!({
        "name": column.name,
        "broken": column.is_broken,
        "runs": summary.len(),
        "promoted": summary.count(End::Promoted),
        "rolledBack": summary.count(End::RolledBack),
        "paused": summary.count(End::Paused),
        "waiting": summary.count(End::Held),
        "rollbackRate": { "value": summary.rollback_rate(), "atMost": summary.rollback_rate_at_most() },
        "secondsToPromote": spread(summary.spread(End::Promoted, |run| run.seconds)),
        "secondsToNotice": spread(summary.spread_of_noticed(|run| run.fault_seconds)).filter(|_| column.is_broken),
        "secondsToRollback": back(|run| run.fault_seconds).filter(|_| column.is_broken),
        "canaryRequests": back(|run| run.canary_requests).filter(|_| column.is_broken),
        "harmedRequests": back(|run| run.harmed).filter(|_| column.is_broken),
        "users": back(|run| run.users).filter(|_| column.is_broken),
        "cohorts": summary.counts(|run| run.cohort.as_deref()),
        "gates": summary.counts(|run| run.gate),
        "example": example.map(|run| json!({ "seed": run.seed, "sentence": run.sentence })),
    })
}

fn of(column: &Column, end: End) -> String {
    format!("{} of {}", grouped(column.summary.count(end)), grouped(column.summary.len()))
}

fn rolled_back(column: &Column) -> String {
    let count = of(column, End::RolledBack);
    match column.is_broken {
        true => count,
        false => format!("{count} (at most {})", percent(rounded(column.summary.rollback_rate_at_most()))),
    }
}

/// Only what is broken has a time of its beginning.
fn broken(column: &Column, show: fn(Option<Spread>) -> String, of: fn(&Run) -> u64) -> String {
    if column.is_broken { show(column.summary.spread_of_noticed(of)) } else { "–".to_owned() }
}

fn rounded(rate: f64) -> f64 {
    (rate * 1e4).round() / 1e4
}

fn time(spread: Option<Spread>) -> String {
    let shown = |seconds: u64| match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    };
    spread.map_or("–".to_owned(), |spread| format!("{} (p95 {})", shown(spread.median), shown(spread.p95)))
}

fn number(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), |spread| format!("{} (p95 {})", grouped(spread.median), grouped(spread.p95)))
}

fn names(column: &Column, of: impl for<'s> Fn(&'s Run) -> Option<&'s str>) -> String {
    let counts = column.summary.counts(of);
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {}", grouped(*count))).collect();
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}
