use crate::config::codes::Code;
use crate::config::diagnostic::{Diagnostic, Label};
use crate::config::place::Place;
use crate::config::source::Span;
use crate::config::tree::Node;

/// The most problems that are reported at once.
const PROBLEMS_MAX: usize = 1_000;

/// What the rules find.
pub(super) struct Problems<'f> {
    tree: &'f Node,
    spans: &'f dyn Fn(&Place) -> Span,
    found: Vec<(Place, Diagnostic)>,
}

/// The problem that was found last, to say more about it.
pub(super) struct Last<'p, 'f> {
    problems: &'p mut Problems<'f>,
    is_kept: bool,
}

impl<'f> Problems<'f> {
    pub(super) fn new(tree: &'f Node, spans: &'f dyn Fn(&Place) -> Span) -> Problems<'f> {
        Problems { tree, spans, found: Vec::new() }
    }

    /// A problem with the value at a place.
    pub(super) fn at(&mut self, code: Code, place: &Place, message: impl Into<String>) -> Last<'_, 'f> {
        let span = (self.spans)(place);
        self.push(code, place, span, message.into())
    }

    /// A problem with the key at a place.
    pub(super) fn at_key(&mut self, code: Code, place: &Place, message: impl Into<String>) -> Last<'_, 'f> {
        let span = self.key_span(place);
        self.push(code, place, span, message.into())
    }

    /// A problem with the file as a whole.
    pub(super) fn anywhere(&mut self, code: Code, message: impl Into<String>) -> Last<'_, 'f> {
        let span = Span { source: self.tree.span.source, ..Span::default() };
        self.push(code, &Place::root(), span, message.into())
    }

    pub(super) fn into_found(mut self) -> Vec<(Place, Diagnostic)> {
        if self.found.len() >= PROBLEMS_MAX {
            let message = format!("only the first {PROBLEMS_MAX} problems are shown");
            self.found.push((Place::root(), Diagnostic::new(Code::TooManyProblems, message)));
        }
        self.found
    }

    fn key_span(&self, place: &Place) -> Span {
        self.tree.nearest(place).key.unwrap_or_else(|| (self.spans)(place))
    }

    fn push(&mut self, code: Code, place: &Place, span: Span, message: String) -> Last<'_, 'f> {
        let is_kept = self.found.len() < PROBLEMS_MAX;
        if is_kept {
            self.found.push((place.clone(), Diagnostic::new(code, message).at(span)));
        }
        Last { problems: self, is_kept }
    }
}

impl Last<'_, '_> {
    /// What to type next.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(last) = self.last() {
            last.help = Some(help.into());
        }
        self
    }

    /// What to type next, for texts that take work: it is spent on problems that are shown alone.
    pub(super) fn help_with(self, help: impl FnOnce() -> String) -> Self {
        if self.is_kept { self.help(help()) } else { self }
    }

    /// Another place that belongs to it; its key is shown where it has one.
    pub(super) fn also(mut self, place: &Place, text: &str) -> Self {
        let span = self.problems.key_span(place);
        if let Some(last) = self.last() {
            last.related.push(Label { span, text: text.to_owned() });
        }
        self
    }

    fn last(&mut self) -> Option<&mut Diagnostic> {
        self.problems.found.last_mut().filter(|_| self.is_kept).map(|(_, last)| last)
    }
}
