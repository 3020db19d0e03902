use super::Report;
use crate::config::codes::Severity;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::Source;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

/// The widest a report gets, in columns; long lines are cut around what is underlined.
const WIDTH: usize = 120;

pub(super) fn render(report: &Report<'_>, has_colour: bool) -> String {
    let renderer = if has_colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    let mut text = String::new();
    for found in report.diagnostics {
        text += &renderer.render(&[group(report.sources, found)]);
        text += "\n\n";
    }
    text += &summary(report);
    text
}

fn group<'r>(sources: &'r [Source], found: &'r Diagnostic) -> Group<'r> {
    let level = match found.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(found.message.as_str()).id(found.code.to_string()));
    let spans = found.span.iter().chain(found.related.iter().map(|label| &label.span));
    let mut shown: Vec<usize> = Vec::new();
    for source in spans.map(|span| span.source) {
        if !shown.contains(&source) {
            shown.push(source);
            group = group.elements(snippet(sources, source, found));
        }
    }
    match &found.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// The lines of one source from the first to the last that the diagnostic is about: enough to show it, and cheap
/// however large the file is.
fn snippet<'r>(sources: &'r [Source], index: usize, found: &'r Diagnostic) -> Option<Snippet<'r, Annotation<'r>>> {
    let source = sources.get(index)?;
    let primary = found.span.map(|span| (span, AnnotationKind::Primary, None));
    let related = found.related.iter().map(|label| (label.span, AnnotationKind::Context, Some(label.text.as_str())));
    let marks: Vec<_> = primary.into_iter().chain(related).filter(|(span, ..)| span.source == index).collect();
    let line_start = |at: usize| source.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |at: usize| source.text[at..].find(['\n', '\r']).map_or(source.text.len(), |newline| at + newline);
    let starts = marks.iter().map(|(span, ..)| source.boundary(span.start));
    let (first, last) = (line_start(starts.clone().min()?), line_end(starts.max()?));
    let lines = Snippet::source(&source.text[first..last]).line_start(source.position(first).line);
    let annotations = marks.into_iter().map(|(span, kind, label)| {
        let start = source.boundary(span.start);
        let end = source.boundary(span.end).min(line_end(start)).max(start);
        kind.span(start - first..end - first).label(label)
    });
    Some(lines.path(source.name.as_str()).annotations(annotations))
}

fn summary(report: &Report<'_>) -> String {
    let counted = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        count => Some(format!("{count} {word}s")),
    };
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let counts: Vec<String> = [counted(errors, "error"), counted(warnings, "warning")].into_iter().flatten().collect();
    if counts.is_empty() {
        return String::new();
    }
    let first = report.diagnostics.iter().min_by_key(|found| found.severity());
    let more = first.map_or(String::new(), |found| format!("; `ringway check --explain {}` says more", found.code));
    format!("{}{more}\n", counts.join(", "))
}
