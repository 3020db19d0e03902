//! Diagnostics as people and tools read them. The exit code is the same in every format.

mod github;
mod json;
mod sarif;
mod text;

use super::codes::{Code, Severity};
use super::diagnostic::{ConfigErrors, Diagnostic};
use super::load::Loaded;
use super::source::Source;
use std::str::FromStr;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: the text with what is underlined in it.
    #[default]
    Text,
    /// `ringway.check/v1`.
    Json,
    /// Annotations of GitHub Actions.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// The result of a check.
#[derive(Clone, Copy, Debug)]
pub struct Report<'r> {
    /// The texts that the diagnostics point into.
    pub sources: &'r [Source],
    /// What was found.
    pub diagnostics: &'r [Diagnostic],
    /// How many tests of the file passed and failed.
    pub tests: TestCounts,
    /// What the steps of rollouts can see.
    pub steps: &'r [StepSight],
}

/// What a step of a rollout can see before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSight {
    /// The service.
    pub service: String,
    /// The step's number in the file, from 1.
    pub number: usize,
    /// The cohort.
    pub cohort: String,
    /// Percent of it.
    pub share: f64,
    /// How long it lasts at least, in seconds.
    pub hold_seconds: u64,
    /// Requests of the cohort per second and the error rate (0 to 1), where they are known.
    pub traffic: Option<(f64, f64)>,
    /// In plain words.
    pub text: String,
}

/// How many tests of a file passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
}

impl Report<'_> {
    /// True when the configuration can be used.
    pub fn is_valid(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error) && self.tests.failed == 0
    }

    /// The whole report, with a line break at its end. Colour is for terminals, and for text only.
    pub fn render(&self, format: Format, has_colour: bool) -> String {
        match format {
            Format::Text => text::render(self, has_colour),
            Format::Json => json::render(self),
            Format::Github => github::render(self),
            Format::Sarif => sarif::render(self),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.severity() == severity).count()
    }
}

impl<'r> From<&'r ConfigErrors> for Report<'r> {
    fn from(errors: &'r ConfigErrors) -> Report<'r> {
        let failed = errors.diagnostics.iter().filter(|found| found.code == Code::TestFailed).count();
        let tests = TestCounts { passed: 0, failed };
        Report { sources: &errors.sources, diagnostics: &errors.diagnostics, tests, steps: &[] }
    }
}

impl<'r> From<&'r Loaded> for Report<'r> {
    fn from(loaded: &'r Loaded) -> Report<'r> {
        Report { sources: &loaded.sources, diagnostics: &loaded.warnings, tests: TestCounts::default(), steps: &[] }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "github" => Ok(Format::Github),
            "sarif" => Ok(Format::Sarif),
            other => Err(format!("there is no format `{other}`: use text, json, github or sarif")),
        }
    }
}

/// What a person reads for `check --explain CODE`.
pub fn explain(code: Code) -> String {
    format!("{code} ({}): {}\n\n{}\n", code.severity().as_str(), code.title(), code.explanation())
}

/// True when output to a terminal may be coloured (see <https://no-color.org>).
pub fn wants_colour(is_terminal: bool) -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !is_off && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::super::load::load_texts;
    use super::*;

    fn errors(text: &str) -> ConfigErrors {
        load_texts(vec![Source::new("ring.yaml", text)]).unwrap_err()
    }

    const TYPO: &str = "listeners: [{ address: 127.0.0.1:8080 }]\nservices:\n  shop:\n    fallback: stabel\n    \
                        variants: { stable: { endpoints: [127.0.0.1:3001] } }\n";

    #[test]
    fn text_shows_the_line_and_what_to_type() {
        let errors = errors(TYPO);
        let text = Report::from(&errors).render(Format::Text, false);
        let expected = [
            "error[RW0108]: `fallback` names the variant `stabel`, which does not exist",
            " --> ring.yaml:4:15",
            "4 |     fallback: stabel",
            "  |               ^^^^^^",
            "  = help: did you mean `stable`?",
            "1 error; `ringway check --explain RW0108` says more",
        ];
        for line in expected {
            assert!(text.contains(line), "no `{line}` in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(Report::from(&errors).render(Format::Text, true).contains('\u{1b}'));
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let value: serde_json::Value =
            serde_json::from_str(&Report::from(&errors(TYPO)).render(Format::Json, true)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "schema": "ringway.check/v1",
                "valid": false,
                "diagnostics": [{
                    "code": "RW0108", "severity": "error", "file": "ring.yaml", "line": 4, "column": 15,
                    "message": "`fallback` names the variant `stabel`, which does not exist",
                    "help": "did you mean `stable`?"
                }],
                "tests": { "passed": 0, "failed": 0 },
                "power": []
            })
        );
    }

    #[test]
    fn github_lines_cannot_be_broken_out_of() {
        let text = TYPO.replace("stabel", "\"x%0A\\n::error::y\"");
        let github = Report::from(&errors(&text)).render(Format::Github, false);
        assert_eq!(github.lines().count(), 1);
        assert!(github.starts_with("::error file=ring.yaml,line=4,col=15,title=RW0108::"), "{github}");
        assert!(github.contains("x%250A\\n::error::y"), "{github}");
    }

    #[test]
    fn sarif_names_the_rule_and_the_region() {
        let value: serde_json::Value =
            serde_json::from_str(&Report::from(&errors(TYPO)).render(Format::Sarif, false)).unwrap();
        let run = &value["runs"][0];
        assert_eq!(value["version"], "2.1.0");
        assert_eq!(run["results"][0]["ruleId"], "RW0108");
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "RW0108");
        let region = &run["results"][0]["locations"][0]["physicalLocation"]["region"];
        assert_eq!((&region["startLine"], &region["startColumn"]), (&4.into(), &15.into()));
        assert_eq!(region["endColumn"], 21);
    }

    #[test]
    fn control_characters_of_the_file_do_not_reach_the_terminal() {
        let text = TYPO.replace("stabel", "\"\\e[2Jx\"");
        let shown = Report::from(&errors(&text)).render(Format::Text, false);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
