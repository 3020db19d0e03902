//! YAML text to a [`Node`]. Knows nothing of what the keys mean.
//!
//! Bounded: a hostile text costs at most [`NODES_MAX`] nodes and [`DEPTH_MAX`] levels, aliases included.

use super::codes::Code;
use super::diagnostic::Diagnostic;
use super::source::{Source, Span};
use super::tree::{Entry, Kind, Node};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};
use std::collections::HashMap;

/// The most values of one source, those that aliases repeat included.
pub(super) const NODES_MAX: usize = 200_000;

/// The deepest nesting of lists and maps.
pub(super) const DEPTH_MAX: usize = 64;

/// Reads one source; `index` is its position among the sources. The tree is `None` when the syntax is broken;
/// what can be passed over (a key twice, a tag) is reported and left out.
pub(crate) fn parse(source: &Source, index: usize) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder {
        source,
        index,
        stack: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let root = match builder.read() {
        Ok(root) => root,
        Err(fatal) => {
            builder.problems.push(*fatal);
            None
        }
    };
    (root, builder.problems)
}

type Fatal = Box<Diagnostic>;

struct Builder<'s> {
    source: &'s Source,
    index: usize,
    /// The lists and maps that are open.
    stack: Vec<Frame>,
    root: Option<Node>,
    /// The anchored values that are complete.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Diagnostic>,
}

struct Frame {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map { entries: Vec<Entry>, keys: HashMap<String, Span>, key: Option<(String, Span)> },
}

impl Builder<'_> {
    fn read(&mut self) -> Result<Option<Node>, Fatal> {
        self.refuse_control_characters()?;
        let options = granit_parser::options! {
            emit_comments: false,
            disallow_directives: true,
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
        };
        let mut documents = 0;
        for next in Parser::new_from_str_with_options(&self.source.text, options) {
            let (event, span) = next.map_err(|error| self.syntax(&error))?;
            let span = self.span(&span);
            if let Event::DocumentStart(..) = event {
                documents += 1;
                if documents > 1 {
                    let found = Diagnostic::new(Code::SeveralDocuments, "a second document begins here").at(span);
                    return Err(Box::new(found.help("keep one document in a file; use a directory for several files")));
                }
            }
            self.accept(event, span)?;
        }
        let is_empty = self.root.as_ref().is_none_or(|root| root.describe() == "nothing");
        if is_empty {
            let found = Diagnostic::new(Code::EmptyFile, "the file has no content").at(self.at(0, 0));
            return Err(Box::new(found.help("`ringway init` writes a file to start from")));
        }
        Ok(self.root.take())
    }

    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let is_plain = style == ScalarStyle::Plain;
                let node = Node { span, kind: Kind::Scalar { text: text.into_owned(), is_plain } };
                self.complete(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.open(span, anchor, Content::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.open(span, anchor, Content::Map { entries: Vec::new(), keys: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.repeat(id, span),
            _ => Ok(()),
        }
    }

    fn open(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), Fatal> {
        self.refuse_depth(1, span)?;
        self.stack.push(Frame { start: span.start, anchor, content });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Fatal> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let kind = match frame.content {
            Content::Seq(items) => Kind::Seq(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        let written = self.source.slice(self.at(frame.start, span.end)).trim_end().len();
        self.complete(Node { span: self.at(frame.start, frame.start + written), kind }, frame.anchor)
    }

    /// An alias stands for a copy of what its anchor names. The copy counts, so that a few lines cannot
    /// grow into billions of values.
    fn repeat(&mut self, id: usize, span: Span) -> Result<(), Fatal> {
        let Some(anchored) = self.anchors.get(&id) else {
            let found = Diagnostic::new(Code::BadAlias, "the alias stands inside of what it names").at(span);
            return Err(Box::new(found));
        };
        let (count, height) = (anchored.count(), anchored.height());
        self.refuse_depth(height.saturating_sub(1), span)?;
        self.refuse_count(count, span)?;
        let node = self.anchors.get(&id).cloned();
        node.map_or(Ok(()), |node| self.push(node))
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Fatal> {
        self.refuse_count(1, node.span)?;
        if anchor != 0 {
            self.refuse_count(node.count(), node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.push(node)
    }

    fn push(&mut self, node: Node) -> Result<(), Fatal> {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::Seq(items)) => items.push(node),
            Some(Content::Map { entries, keys, key }) => match key.take() {
                None => *key = Some(key_of(node)?),
                Some((text, key_span)) if text == "<<" => {
                    let found = Diagnostic::new(Code::MergeKey, "merge keys (`<<`) are not part of YAML 1.2");
                    self.problems.push(found.at(key_span).help("write the keys out, or alias whole values"));
                }
                Some((text, key_span)) => match keys.get(&text) {
                    Some(first) => {
                        let found = Diagnostic::new(Code::DuplicateKey, format!("the key `{text}` stands here twice"));
                        let found = found.at(key_span).related(*first, "first here");
                        self.problems.push(found.help("remove one of the two"));
                    }
                    None => {
                        keys.insert(text.clone(), key_span);
                        entries.push(Entry { key: text, key_span, value: node });
                    }
                },
            },
        }
        Ok(())
    }

    fn refuse_control_characters(&self) -> Result<(), Fatal> {
        let is_forbidden = |c: char| (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || c == '\u{feff}';
        let text = self.source.text.strip_prefix('\u{feff}').unwrap_or(&self.source.text);
        let skipped = self.source.text.len() - text.len();
        match text.char_indices().find(|(_, c)| is_forbidden(*c)) {
            None => Ok(()),
            Some((at, c)) => {
                let message = format!("a control character (U+{:04X}) cannot stand in the file", u32::from(c));
                let span = self.at(at + skipped, at + skipped + c.len_utf8());
                Err(Box::new(Diagnostic::new(Code::ControlCharacter, message).at(span).help("remove it")))
            }
        }
    }

    fn refuse_tag(&mut self, has_tag: bool, span: Span) {
        if has_tag {
            let found = Diagnostic::new(Code::YamlTag, "YAML tags (`!name`) have no meaning here").at(span);
            self.problems.push(found.help("remove the tag; put a text in quotes to keep it a text"));
        }
    }

    fn refuse_depth(&self, more: usize, span: Span) -> Result<(), Fatal> {
        if self.stack.len() + more <= DEPTH_MAX {
            return Ok(());
        }
        Err(Box::new(too_deep(span)))
    }

    fn refuse_count(&mut self, more: usize, span: Span) -> Result<(), Fatal> {
        self.nodes += more;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let message = format!("the file holds more than {NODES_MAX} values, those that aliases repeat included");
        Err(Box::new(Diagnostic::new(Code::TooManyValues, message).at(span)))
    }

    fn syntax(&self, error: &ScanError) -> Fatal {
        let start = error.marker().byte_offset().unwrap_or_else(|| self.byte_of(error.marker().index()));
        let start = start.min(self.source.text.len());
        let width = self.source.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let span = self.at(start, start + width);
        let found = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(span),
            ErrorKind::UnknownAnchor => {
                Diagnostic::new(Code::BadAlias, "the alias names an anchor that does not stand before it").at(span)
            }
            ErrorKind::DirectiveDisallowed => {
                Diagnostic::new(Code::Syntax, "YAML directives (`%`) have no meaning here").at(span)
            }
            _ if self.is_tab_to_blame(start) => {
                let found = Diagnostic::new(Code::Tab, "a tab cannot indent YAML").at(self.tab_of_line(start));
                found.help("indent with spaces")
            }
            _ => {
                let found = Diagnostic::new(Code::Syntax, format!("this is not YAML: {}", error.info())).at(span);
                found.help("look at the indentation, the quotes and the brackets on this line and the one before")
            }
        };
        Box::new(found)
    }

    /// True when the line of an error, or the one before, begins with white space that holds a tab.
    fn is_tab_to_blame(&self, at: usize) -> bool {
        self.tab_of_line(at).end > 0
    }

    fn tab_of_line(&self, at: usize) -> Span {
        let text = &self.source.text;
        let mut end = at.min(text.len());
        for _ in 0..2 {
            let start = text.get(..end).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
            let line = text.get(start..).unwrap_or("");
            let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
            if let Some(tab) = line[..indent].find('\t') {
                return self.at(start + tab, start + tab + 1);
            }
            end = start.saturating_sub(1);
        }
        self.at(0, 0)
    }

    fn byte_of(&self, character: usize) -> usize {
        self.source.text.char_indices().nth(character).map_or(self.source.text.len(), |(at, _)| at)
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        match span.byte_range() {
            Some(range) => self.at(range.start, range.end),
            None => self.at(self.byte_of(span.start.index()), self.byte_of(span.end.index())),
        }
    }

    fn at(&self, start: usize, end: usize) -> Span {
        Span { source: self.index, start, end: end.max(start) }
    }
}

fn key_of(node: Node) -> Result<(String, Span), Fatal> {
    match node.kind {
        Kind::Scalar { text, .. } => Ok((text, node.span)),
        _ => Err(Box::new(Diagnostic::new(Code::Syntax, "a key must be a text, not a list or a map").at(node.span))),
    }
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::new(Code::TooDeep, format!("lists and maps are nested deeper than {DEPTH_MAX} levels")).at(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        parse(&Source::new("a.yaml", text), 0).1.iter().map(|found| found.code.to_string()).collect()
    }

    #[test]
    fn scalars_keep_their_text() {
        let (root, problems) = parse(&Source::new("a.yaml", "a: 1.10\nb: \"NO\"\nc: [NO, 0.000001]\n"), 0);
        assert!(problems.is_empty());
        let Kind::Map(entries) = root.unwrap().kind else { panic!() };
        let scalar = |text: &str, is_plain| Kind::Scalar { text: text.to_owned(), is_plain };
        assert_eq!(entries[0].value.kind, scalar("1.10", true));
        assert_eq!(entries[1].value.kind, scalar("NO", false));
        let Kind::Seq(items) = &entries[2].value.kind else { panic!() };
        assert_eq!((&items[0].kind, &items[1].kind), (&scalar("NO", true), &scalar("0.000001", true)));
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert_eq!(codes(&bomb), ["RW0011"]);
        assert_eq!(codes("a: &a [*a]\n"), ["RW0012"]);
        assert_eq!(codes("a: &a [1]\nb: *a\n"), [""; 0]);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("a: {}{}\n", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(codes(&nested(63)), [""; 0]);
        assert_eq!(codes(&nested(65)), ["RW0010"]);
        assert_eq!(codes(&nested(100_000)), ["RW0010"]);
    }
}
