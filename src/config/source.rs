use crate::model::printable;
use std::path::PathBuf;

/// A text of the configuration: one file, or what came by standard input.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name for people: the path as it was given, or `<stdin>`.
    pub name: String,
    /// What stands in it.
    pub text: String,
    /// The directory that relative paths in it start from.
    pub base: PathBuf,
}

/// A run of bytes in one of the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The position of the source.
    pub source: usize,
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A position for people: lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Source {
    /// A source from its name and text; relative paths start from the working directory.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: printable(&name.into()).into_owned(), text: text.into(), base: PathBuf::from(".") }
    }

    /// The position of a byte; one beyond the end counts as the end.
    pub fn position(&self, byte: usize) -> Position {
        let before = &self.text[..self.boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The text of a span, as far as it is there.
    pub fn slice(&self, span: Span) -> &str {
        let start = self.boundary(span.start);
        &self.text[start..self.boundary(span.end.max(start))]
    }

    /// The last start of a character at or before a byte.
    pub(crate) fn boundary(&self, byte: usize) -> usize {
        let mut at = byte.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("a.yaml", "a: 1\nname: 你好 x\n");
        let x = source.text.find('x').unwrap();
        assert_eq!(source.position(x), Position { line: 2, column: 10 });
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
    }
}
