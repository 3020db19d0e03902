use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::place::Place;
use crate::config::source::Span;
use crate::config::tree::Node;

/// What the rules find.
pub(super) struct Problems<'f> {
    tree: &'f Node,
    spans: &'f dyn Fn(&Place) -> Span,
    found: Vec<(Place, Diagnostic)>,
}

/// The problem that was found last, to say more about it.
pub(super) struct Last<'p, 'f>(&'p mut Problems<'f>);

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

    pub(super) fn into_found(self) -> Vec<(Place, Diagnostic)> {
        self.found
    }

    fn key_span(&self, place: &Place) -> Span {
        self.tree.nearest(place).key.unwrap_or_else(|| (self.spans)(place))
    }

    fn push(&mut self, code: Code, place: &Place, span: Span, message: String) -> Last<'_, 'f> {
        self.found.push((place.clone(), Diagnostic::new(code, message).at(span)));
        Last(self)
    }
}

impl Last<'_, '_> {
    /// What to type next.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        if let Some((_, last)) = self.0.found.last_mut() {
            last.help = Some(help.into());
        }
        self
    }

    /// Another place that belongs to it; its key is shown where it has one.
    pub(super) fn also(self, place: &Place, text: &str) -> Self {
        let span = self.0.key_span(place);
        if let Some((_, last)) = self.0.found.last_mut() {
            *last = last.clone().related(span, text);
        }
        self
    }
}
