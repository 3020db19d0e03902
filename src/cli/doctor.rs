//! `ringway doctor`: what stands in the way of this machine, and what to do about it.

mod machine;
mod network;

use serde_json::{Value, json};
use std::time::Duration;

use super::Exit;
use super::door::{AdminDoor, find_telemetry};
use super::out::{Output, print, print_json};
use crate::config::render::{Format, Report};
use crate::config::values;
use crate::model::printable;
use crate::routing::prepare::Prepared;

/// Look for what stands in the way: file, state, doors, listeners, endpoints, certificates, limits, clock.
///
/// Nothing is changed. Exit code 0 all is well, 1 there is a problem.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: AdminDoor,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    /// How long each door or endpoint may take
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    timeout: values::Duration,
}

/// What came of looking at one thing.
#[derive(Debug, PartialEq)]
pub(super) struct Finding {
    name: &'static str,
    verdict: Verdict,
    text: String,
    /// What to do; empty where nothing is to be done.
    help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It does not apply, or cannot be seen from here.
    Skipped,
    Problem,
}

impl Finding {
    fn good(name: &'static str, text: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Good, text: text.into(), help: String::new() }
    }

    fn skipped(name: &'static str, text: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Skipped, text: text.into(), help: String::new() }
    }

    fn problem(name: &'static str, text: impl Into<String>, help: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Problem, text: text.into(), help: help.into() }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let findings = self.look()?;
        let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
        match self.output {
            Output::Text => print(&text(&findings, problems))?,
            Output::Json => print_json(&of_all(&findings, problems))?,
        }
        Ok(if problems == 0 { Exit::Yes } else { Exit::No })
    }

    fn look(&self) -> anyhow::Result<Vec<Finding>> {
        let patience = self.timeout.0;
        let path = self.door.config().path();
        let checked = super::prepared::assemble_path(&path).and_then(|prepared| {
            let verdicts = prepared.verdicts();
            prepared.judged(&verdicts)
        });
        let admin = self.door.find()?.address;
        let telemetry = find_telemetry(None, self.door.config()).address;
        let (is_running, doors) = network::doors(&admin, telemetry, patience);

        let mut findings = vec![match &checked {
            Ok(prepared) => of_file(&path.display().to_string(), prepared),
            Err(errors) => {
                let report = Report::from(errors).render(Format::Text, false);
                let first = report.lines().next().unwrap_or_default().to_owned();
                Finding::problem("file", first, "`ringway check` shows all errors with their lines")
            }
        }];
        findings.push(machine::mount(&path));
        findings.extend(doors);
        if let Ok(prepared) = &checked {
            findings.extend(of_prepared(prepared, is_running, patience));
        }
        findings.push(machine::descriptors());
        findings.push(machine::clock(&path));
        Ok(findings)
    }
}

fn of_file(path: &str, prepared: &Prepared) -> Finding {
    let warnings = super::out::counted(prepared.loaded.warnings.len(), "warning");
    Finding::good("file", format!("{path} is valid, with {warnings} (rev {})", prepared.loaded.rev))
}

fn of_prepared(prepared: &Prepared, is_running: bool, patience: Duration) -> Vec<Finding> {
    let file = &prepared.loaded.file;
    let mut findings = machine::state(file.state_dir.as_deref(), is_running);
    findings.extend(network::listeners(file, is_running, patience));
    findings.push(network::endpoints(file, patience));
    findings.extend(machine::certificates(file));
    findings
}

fn text(findings: &[Finding], problems: usize) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { name, verdict, text: found, help } in findings {
        let mark = match verdict {
            Verdict::Good => "✔",
            Verdict::Skipped => "–",
            Verdict::Problem => "✗",
        };
        text.push_str(&format!("{mark} {name:width$}  {}\n", printable(found)));
        if !help.is_empty() {
            text.push_str(&format!("  {:width$}  → {}\n", "", printable(help)));
        }
    }
    match problems {
        0 => text.push_str("\nno problem found\n"),
        count => text.push_str(&format!("\n{} found\n", super::out::counted(count, "problem"))),
    }
    text
}

fn of_all(findings: &[Finding], problems: usize) -> Value {
    let checks = findings.iter().map(|Finding { name, verdict, text, help }| {
        let verdict = match verdict {
            Verdict::Good => "good",
            Verdict::Skipped => "skipped",
            Verdict::Problem => "problem",
        };
        json!({ "name": name, "verdict": verdict, "text": text, "help": (!help.is_empty()).then_some(help) })
    });
    json!({ "schema": "ringway.doctor/v1", "ok": problems == 0, "checks": checks.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stands_with_what_to_do() {
        let findings =
            [Finding::good("file", "is valid"), Finding::problem("descriptors", "only 64", "raise it\u{1b}[2J")];
        let text = text(&findings, 1);
        assert_eq!(
            text,
            "✔ file         is valid\n✗ descriptors  only 64\n               → raise it\\u{1b}[2J\n\n1 problem found\n"
        );
        let value = of_all(&findings, 1);
        assert_eq!((&value["ok"], &value["checks"][1]["verdict"]), (&false.into(), &"problem".into()));
    }
}
