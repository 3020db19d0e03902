//! How far a long command is, on one line of standard error that is drawn again and again; only on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::model::grouped;

/// The line is drawn at most this often.
const EVERY: Duration = Duration::from_millis(200);

/// A line that tells how far it is.
pub(super) struct Progress {
    is_shown: bool,
    drawn: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { is_shown: stderr().is_terminal(), drawn: None }
    }

    /// So much is done; `of` is how much there is, where that is known.
    pub(super) fn tell(&mut self, what: &str, done: u64, of: Option<u64>) {
        if !self.is_shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        // nobody hears when standard error is closed, which is no error
        let _ = write!(stderr(), "\r\u{1b}[K{}", line(what, done, of));
        let _ = stderr().flush();
    }

    /// The line goes away.
    pub(super) fn end(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr(), "\r\u{1b}[K");
            let _ = stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(what: &str, done: u64, of: Option<u64>) -> String {
    match of {
        Some(of) => format!("{what}: {} of {} ({} %)", grouped(done), grouped(of), done * 100 / of.max(1)),
        None => format!("{what}: {}", grouped(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(line("healthy", 1_500, Some(2_000)), "healthy: 1,500 of 2,000 (75 %)");
        assert_eq!(line("lines", 12_000, None), "lines: 12,000");
    }
}
