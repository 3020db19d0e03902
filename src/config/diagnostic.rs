use super::codes::{Code, Severity};
use super::source::{Position, Source, Span};
use crate::model::printable;
use std::borrow::Cow;
use std::fmt;

/// One thing that is wrong, or looks wrong, with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which rule; its severity follows from it.
    pub code: Code,
    /// What is wrong, lower-case, on one line, safe for a terminal; so are the other texts.
    pub message: String,
    /// Where; `None` when it is about no place in particular.
    pub span: Option<Span>,
    /// What to type next.
    pub help: Option<String>,
    /// Other places that belong to it.
    pub related: Vec<Label>,
}

/// Another place of a diagnostic, with what is to be seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be seen.
    pub text: String,
}

/// Why a configuration is refused: everything that was found, the warnings included, in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct ConfigErrors {
    /// The texts that the spans point into.
    pub sources: Vec<Source>,
    /// At least one of them is an error.
    pub diagnostics: Vec<Diagnostic>,
}

impl Diagnostic {
    /// A diagnostic about no place in particular.
    pub fn new(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, message: one_line(message.into()), span: None, help: None, related: Vec::new() }
    }

    /// Error, warning or note.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// True when the configuration cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity() == Severity::Error
    }

    /// The same, at a place.
    pub fn at(mut self, span: Span) -> Diagnostic {
        self.span = Some(span);
        self
    }

    /// The same, with what to type next.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(one_line(help.into()));
        self
    }

    /// The same, with another place.
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.related.push(Label { span, text: one_line(text.into()) });
        self
    }

    /// The source and the position where it begins.
    pub fn location<'s>(&self, sources: &'s [Source]) -> Option<(&'s Source, Position)> {
        let span = self.span?;
        let source = sources.get(span.source)?;
        Some((source, source.position(span.start)))
    }
}

impl fmt::Display for ConfigErrors {
    /// The first error with its place, and how many more there are: one line for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        let Some(first) = errors.next() else { return f.write_str("no errors") };
        if let Some((source, at)) = first.location(&self.sources) {
            write!(f, "{}:{}:{}: ", source.name, at.line, at.column)?;
        }
        write!(f, "{}: {}", first.code, first.message)?;
        match errors.count() {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// What stands in a file, and is quoted in a text about it, must not steer a terminal, a log or a build's annotations.
fn one_line(text: String) -> String {
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    }
}

/// Puts diagnostics into the order of the text, and cuts repetitions.
pub(crate) fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by_key(|found| (found.span, found.code));
    diagnostics.dedup();
}
