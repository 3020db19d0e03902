use serde_json::json;

use super::Exit;
use super::out::{Output, counted, print, print_json, say};
use super::prepared::ConfigPath;
use crate::routing::expect::Verdict;
use crate::routing::explain::clean;
use crate::routing::prepare::count;

/// Run the tests of a file.
///
/// Runs what stands under `tests:` in the file, one line for each test.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Some(prepared) = self.config.assemble_or_tell() else { return Ok(Exit::Input) };
        let verdicts = prepared.verdicts();
        let counts = count(&verdicts);
        match self.output {
            Output::Text => {
                print(&verdicts.iter().map(line).collect::<String>())?;
                let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
                say(&format!("{} passed{failed} (rev {})", counted(counts.passed, "test"), prepared.snapshot.rev));
            }
            Output::Json => print_json(&json!({
                "schema": "ringway.test/v1",
                "passed": counts.passed,
                "failed": counts.failed,
                "tests": verdicts.iter().map(as_json).collect::<Vec<_>>(),
                "rev": *prepared.snapshot.rev,
            }))?,
        }
        Ok(if counts.failed == 0 { Exit::Yes } else { Exit::No })
    }
}

fn line(verdict: &Verdict) -> String {
    let sign = if verdict.has_passed() { "✔ pass" } else { "✗ fail" };
    let mut text = format!("{sign}  {}\n", clean(&verdict.name));
    for failure in &verdict.failures {
        text += &format!("          {}: {}\n", failure.place, clean(&failure.message));
    }
    text
}

fn as_json(verdict: &Verdict) -> serde_json::Value {
    let failure = |failure: &crate::config::TestFailure| json!({ "place": failure.place.to_string(), "message": failure.message });
    json!({
        "name": verdict.name,
        "passed": verdict.has_passed(),
        "failures": verdict.failures.iter().map(failure).collect::<Vec<_>>(),
    })
}
