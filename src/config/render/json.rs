//! `ringway.check/v1`.

use super::Report;
use serde_json::json;

pub(super) fn render(report: &Report<'_>) -> String {
    let diagnostics: Vec<serde_json::Value> = report
        .diagnostics
        .iter()
        .map(|found| {
            let location = found.location(report.sources);
            json!({
                "code": found.code.to_string(),
                "severity": found.severity().as_str(),
                "file": location.map(|(source, _)| &source.name),
                "line": location.map(|(_, at)| at.line),
                "column": location.map(|(_, at)| at.column),
                "message": found.message,
                "help": found.help,
            })
        })
        .collect();
    let power: Vec<serde_json::Value> = (report.steps.iter())
        .map(|step| {
            json!({
                "service": step.service,
                "step": step.number,
                "cohort": step.cohort,
                "share": step.share,
                "holdSeconds": step.hold_seconds,
                "requestsPerSecond": step.traffic.map(|(per_second, _)| per_second),
                "errorRate": step.traffic.map(|(_, error_rate)| error_rate),
                "text": step.text,
            })
        })
        .collect();
    let value = json!({
        "schema": "ringway.check/v1",
        "valid": report.is_valid(),
        "diagnostics": diagnostics,
        "tests": { "passed": report.tests.passed, "failed": report.tests.failed },
        "power": power,
    });
    format!("{value:#}\n")
}
