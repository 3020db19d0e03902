//! Workflow commands of GitHub Actions: `::error file=..,line=..,col=..,title=..::message`.

use super::Report;
use crate::config::codes::Severity;

pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    for found in report.diagnostics {
        let command = match found.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let place = found.location(report.sources).map_or(String::new(), |(source, at)| {
            format!("file={},line={},col={},", property(&source.name), at.line, at.column)
        });
        let help = found.help.as_ref().map_or(String::new(), |help| format!("\n{help}"));
        let message = data(&format!("{}{help}", found.message));
        text += &format!("::{command} {place}title={}::{message}\n", found.code);
    }
    text
}

/// The escapes of a message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The escapes of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
