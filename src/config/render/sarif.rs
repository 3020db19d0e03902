//! SARIF 2.1.0 (OASIS), the part of it that code scanners read.

use super::Report;
use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::Span;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn render(report: &Report<'_>) -> String {
    let codes: BTreeSet<Code> = report.diagnostics.iter().map(|found| found.code).collect();
    let rules: Vec<Value> = codes.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = report.diagnostics.iter().map(|found| result(report, found)).collect();
    let driver = json!({
        "name": "ringway",
        "version": env!("CARGO_PKG_VERSION"),
        "rules": rules,
    });
    let value = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
    });
    format!("{value:#}\n")
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.to_string(),
        "shortDescription": { "text": code.title() },
        "fullDescription": { "text": code.explanation() },
        "defaultConfiguration": { "level": code.severity().as_str() },
    })
}

fn result(report: &Report<'_>, found: &Diagnostic) -> Value {
    let help = found.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
    let locations: Vec<Value> = found.span.and_then(|span| location(report, span)).into_iter().collect();
    let related: Vec<Value> = found
        .related
        .iter()
        .filter_map(|label| {
            let mut value = location(report, label.span)?;
            value["message"] = json!({ "text": label.text });
            Some(value)
        })
        .collect();
    json!({
        "ruleId": found.code.to_string(),
        "level": found.severity().as_str(),
        "message": { "text": format!("{}{help}", found.message) },
        "locations": locations,
        "relatedLocations": related,
    })
}

fn location(report: &Report<'_>, span: Span) -> Option<Value> {
    let source = report.sources.get(span.source)?;
    let (start, end) = (source.position(span.start), source.position(span.end));
    Some(json!({
        "physicalLocation": {
            "artifactLocation": { "uri": source.name },
            "region": {
                "startLine": start.line, "startColumn": start.column,
                "endLine": end.line, "endColumn": end.column,
            },
        },
    }))
}
