//! Standard output for data, standard error for talk.

use crate::model::grouped;
use clap::ValueEnum;
use std::io::{self, ErrorKind, Write};

/// How a command writes its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Writes data. A reader that has seen enough (`ringway schema | head -1`) is no error.
pub(super) fn print(data: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => {
            result.map_err(|error| io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
        }
    }
}

/// Writes JSON with a line break at its end.
pub(super) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(&format!("{value:#}\n"))
}

/// Says something to the person. Nobody hears when standard error is closed, which is no error either.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `1 test`, `2 tests`.
pub(super) fn counted(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {word}{plural}", grouped(count as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_its_word() {
        assert_eq!((counted(1, "test"), counted(0, "test")), ("1 test".to_owned(), "0 tests".to_owned()));
    }
}
