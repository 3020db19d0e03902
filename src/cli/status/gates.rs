//! What the judge says, as a table.

use serde_json::Value;
use std::collections::BTreeSet;

use crate::cli::grid::Grid;
use crate::cli::words::{dash, each, milliseconds, share, word};
use crate::model::grouped;

/// Eighths of a cell.
const EIGHTHS: [&str; 8] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// The gates of a rollout; with their cohort where there are several.
pub(super) fn gates(rollout: &Value) -> Grid {
    let cohorts: BTreeSet<String> = each(&rollout["gates"]).map(|gate| word(&gate["cohort"])).collect();
    let has_several = cohorts.iter().filter(|name| !name.is_empty()).count() > 1;
    let (from, to) = (word(&rollout["from"]).to_uppercase(), word(&rollout["to"]).to_uppercase());
    let header = ["GATE", &from, &to, "DIFFERENCE (95 %)", "EVIDENCE OF HARM", "VERDICT"];
    let mut grid = Grid::new(&header, &[]);
    for gate in each(&rollout["gates"]) {
        let name = word(&gate["name"]);
        let name = if has_several { of_cohort(gate) } else { name };
        let (stable, canary) = (rate(gate, "stable"), rate(gate, "canary"));
        let verdict = word(&gate["verdict"]);
        grid.row([name, stable, canary, difference(gate), evidence(gate), format!("{} {verdict}", mark(&verdict))]);
    }
    grid
}

/// Why gates say nothing, in words, a line each.
pub(super) fn why_unknown(rollout: &Value) -> Vec<String> {
    let unknown = each(&rollout["gates"]).filter(|gate| gate["verdict"] == "unknown" && gate["text"] != "");
    unknown.map(|gate| format!("? {}: {}", of_cohort(gate), word(&gate["text"]))).collect()
}

/// `beta/errors`; a gate that is about all of the rollout has its name alone.
fn of_cohort(gate: &Value) -> String {
    let (cohort, name) = (word(&gate["cohort"]), word(&gate["name"]));
    if cohort.is_empty() { name } else { format!("{cohort}/{name}") }
}

/// The part of what was counted that is bad, or slow; a dash when nothing was.
fn rate(gate: &Value, side: &str) -> String {
    let (tally, slow) = (&gate[side], &gate["slow"]);
    match tally["of"] == 0 {
        true => dash(),
        false if slow.is_object() => {
            // stable against its own past is measured by the canary's limit
            let than = if side == "stable" && gate["name"] != "collateral" { "stableMs" } else { "limitMs" };
            format!("{} >{}", share(&tally["rate"], 2), milliseconds(&slow[than]))
        }
        false => share(&tally["rate"], 2),
    }
}

/// In percentage points; of requests that are slow where latencies are compared.
fn difference(gate: &Value) -> String {
    let of = &gate["difference"];
    let points = |name: &str| of[name].as_f64().map(|value| value * 100.0);
    match (points("value"), points("low"), points("high")) {
        (Some(value), Some(low), Some(high)) => {
            let what = if gate["slow"].is_object() { " slow" } else { "" };
            format!("{value:+.2}pp{what} [{low:+.2}, {high:+.2}]")
        }
        _ => dash(),
    }
}

/// `▌ 1.3 of 20`: a full cell is harm.
fn evidence(gate: &Value) -> String {
    let (Some(evidence), Some(needed)) = (gate["evidence"].as_f64(), gate["needed"].as_f64()) else { return dash() };
    let part = if needed > 0.0 { (evidence / needed).clamp(0.0, 1.0) } else { 0.0 };
    let eighth = EIGHTHS[((part * 8.0) as usize).min(7)];
    let evidence = if evidence < 1_000.0 { format!("{evidence:.1}") } else { ">1000".to_owned() };
    format!("{eighth} {evidence} of {}", grouped(needed.round() as u64))
}

/// Words always stand beside it.
fn mark(verdict: &str) -> &'static str {
    match verdict {
        "pass" => "✔",
        "harm" => "✗",
        "waiting" => "…",
        _ => "?",
    }
}
