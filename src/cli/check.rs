use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::io::IsTerminal;

use super::Exit;
use super::check_power::{self, Power};
use super::out::{counted, print, say};
use super::prepared::{ConfigPath, assemble_path};
use crate::config::render::{Format, Report, TestCounts, explain, wants_colour};
use crate::config::{Code, ConfigErrors, Diagnostic, Severity};
use crate::control::leftover_warnings;
use crate::routing::prepare::{Prepared, count};
use crate::routing::unix_seconds;

/// Tell everything that is wrong with a file, and run its tests.
///
/// Looks at the file and the files that it names, and at nothing else: no sockets, no DNS, no writes. Where a `stateDir`
/// can be read, it also says what is left over of releases, and what each step can see at the traffic that was last seen.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// How the result is written; the exit code is the same
    #[arg(short, long, default_value = "text", value_name = "FORMAT", value_parser = formats())]
    output: Format,
    /// Say what a code such as RW0110 means, with a wrong and a right example
    #[arg(long, value_name = "CODE")]
    explain: Option<Code>,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    power: Power,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["text", "json", "github", "sarif"]).try_map(|text| text.parse::<Format>())
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        if let Some(code) = self.explain {
            print(&explain(code))?;
            return Ok(Exit::Yes);
        }
        let (mut checked, tests) = check(&self.config);
        let mut steps = Vec::new();
        if let Ok(prepared) = &mut checked {
            let left_over = leftover_warnings(&prepared.loaded, unix_seconds() * 1_000);
            prepared.loaded.warnings.extend(left_over);
            steps = self.power.sights(&prepared.loaded)?;
        }
        let has_colour = wants_colour(std::io::stdout().is_terminal());
        let report = match &checked {
            Ok(prepared) => Report { tests, steps: &steps, ..Report::from(&prepared.loaded) },
            Err(errors) => Report { tests, ..Report::from(errors) },
        };
        print(&report.render(self.output, has_colour))?;
        let Ok(prepared) = &checked else { return Ok(Exit::No) };
        if self.output == Format::Text {
            print(&format!("{} is valid: {}\n", self.config.path().display(), summary(prepared, tests)))?;
            print(&check_power::text(&steps))?;
        }
        let is_warning = |found: &Diagnostic| found.severity() == Severity::Warning;
        if self.deny_warnings && prepared.loaded.warnings.iter().any(is_warning) {
            say("there are warnings, and --deny-warnings refuses them");
            return Ok(Exit::No);
        }
        Ok(Exit::Yes)
    }
}

fn check(config: &ConfigPath) -> (Result<Prepared, ConfigErrors>, TestCounts) {
    match assemble_path(&config.path()) {
        Ok(prepared) => {
            let verdicts = prepared.verdicts();
            (prepared.judged(&verdicts), count(&verdicts))
        }
        Err(errors) => (Err(errors), TestCounts::default()),
    }
}

/// `2 services, 3 cohorts, 4 tests passed (rev 3f9c21)`
fn summary(prepared: &Prepared, tests: TestCounts) -> String {
    let services = &prepared.snapshot.services;
    let cohorts = services.iter().map(|service| service.cohorts.len()).sum();
    let (services, cohorts) = (counted(services.len(), "service"), counted(cohorts, "cohort"));
    format!("{services}, {cohorts}, {} passed (rev {})", counted(tests.passed, "test"), prepared.snapshot.rev)
}
