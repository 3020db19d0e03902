//! The configuration as a tree of texts: what YAML says, before it means anything.
//!
//! Scalars keep their text as written, so that no digit of a weight is lost and `NO` stays a country.

use super::place::{Place, Step};
use super::source::Span;

/// A value in the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A text; `is_plain` when it stands there without quotes.
    Scalar { text: String, is_plain: bool },
    /// A list.
    Seq(Vec<Node>),
    /// Keys and values in the order of the text; no key twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

/// A value that was looked up, with its key where it has one.
#[derive(Clone, Copy)]
pub(crate) struct Found<'n> {
    pub(crate) key: Option<Span>,
    pub(crate) node: &'n Node,
}

impl Node {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Scalar { is_plain: false, .. } => "a text",
            Kind::Scalar { text, .. } if is_null(text) => "nothing",
            Kind::Scalar { text, .. } if is_boolean(text) => "a boolean",
            Kind::Scalar { text, .. } if is_number(text) => "a number",
            Kind::Scalar { .. } => "a text",
        }
    }

    /// How many values it holds, itself included.
    pub(crate) fn count(&self) -> usize {
        1 + self.children().map(Node::count).sum::<usize>()
    }

    /// How many levels it has, itself included.
    pub(crate) fn height(&self) -> usize {
        1 + self.children().map(Node::height).max().unwrap_or(0)
    }

    /// The value at a place, or the nearest one above it.
    pub(crate) fn nearest(&self, place: &Place) -> Found<'_> {
        let mut found = Found { key: None, node: self };
        for step in place.steps() {
            match found.node.child(step) {
                Some(child) => found = child,
                None => break,
            }
        }
        found
    }

    /// Takes the value at a place away; false when there is none.
    pub(crate) fn remove(&mut self, place: &Place) -> bool {
        let Some((last, path)) = place.steps().split_last() else { return false };
        let mut node = self;
        for step in path {
            let Some(child) = node.child_mut(step) else { return false };
            node = child;
        }
        match (&mut node.kind, last) {
            (Kind::Map(entries), Step::Key(key)) => match entries.iter().position(|entry| entry.key == *key) {
                Some(at) => {
                    entries.remove(at);
                    true
                }
                None => false,
            },
            (Kind::Seq(items), Step::Index(at)) if *at < items.len() => {
                items.remove(*at);
                true
            }
            _ => false,
        }
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match &self.kind {
            Kind::Scalar { .. } => Box::new(std::iter::empty()),
            Kind::Seq(items) => Box::new(items.iter()),
            Kind::Map(entries) => Box::new(entries.iter().map(|entry| &entry.value)),
        }
    }

    fn child(&self, step: &Step) -> Option<Found<'_>> {
        match (&self.kind, step) {
            (Kind::Map(entries), Step::Key(key)) => entries
                .iter()
                .find(|entry| entry.key == *key)
                .map(|entry| Found { key: Some(entry.key_span), node: &entry.value }),
            (Kind::Seq(items), Step::Index(at)) => items.get(*at).map(|node| Found { key: None, node }),
            _ => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (&mut self.kind, step) {
            (Kind::Map(entries), Step::Key(key)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
            }
            (Kind::Seq(items), Step::Index(at)) => items.get_mut(*at),
            _ => None,
        }
    }
}

/// True for the plain texts that stand for nothing.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// True for the plain texts that any YAML 1.2 reader takes for a boolean.
pub(crate) fn is_boolean(text: &str) -> bool {
    matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE")
}

/// True for decimal numbers.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()) && digits.parse::<f64>().is_ok()
}
