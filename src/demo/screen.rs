//! Where the demo is shown: a picture that is drawn again in its place, or lines one after the other.

use crate::config::render::wants_colour;
use std::io::{self, IsTerminal, Write};

/// A terminal that shows a picture, or something that takes lines. Dropping it gives the cursor back.
pub(super) struct Screen {
    /// Lines of the picture that is there now. `None`: this is no terminal.
    drawn: Option<usize>,
    has_colour: bool,
}

/// How a line looks. Colour is never the only carrier of what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    #[default]
    Normal,
    Title,
    Quiet,
    Good,
    Bad,
    /// The new version.
    New,
}

/// A line and how it looks.
pub(super) type Line = (Look, String);

/// Columns and rows of a terminal that does not tell.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// No cursor, and the cursor again.
const BEGIN: &str = "\x1b[?25l";
const END: &str = "\x1b[?25h";

impl Screen {
    /// Standard output. `is_plain`: lines, even on a terminal.
    pub(super) fn new(is_plain: bool) -> io::Result<Screen> {
        let is_terminal = io::stdout().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_live = is_terminal && !is_plain && !is_dumb;
        let screen = Screen { drawn: is_live.then_some(0), has_colour: wants_colour(is_terminal) };
        if is_live {
            write(BEGIN)?;
        }
        Ok(screen)
    }

    /// True when pictures are drawn, not lines written.
    pub(super) fn is_live(&self) -> bool {
        self.drawn.is_some()
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| (size.ws_col, size.ws_row));
        size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(SIZE_DEFAULT)
    }

    /// Draws a picture in the place of the last one. What does not fit is cut, so that each line has one row.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let (columns, rows) = self.size();
        let rows = usize::from(rows);
        let Some(drawn) = &mut self.drawn else { return Ok(()) };
        // one row is for the cursor, below the picture
        let lines = &lines[..lines.len().min(rows.saturating_sub(1))];
        let mut text = match (*drawn).min(rows.saturating_sub(1)) {
            0 => "\r".to_owned(),
            above => format!("\r\x1b[{above}A"),
        };
        for (look, line) in lines {
            let line = line.chars().take(usize::from(columns)).collect();
            text += &painted(&(*look, line), self.has_colour);
            text += "\x1b[K\n";
        }
        *drawn = lines.len();
        write(&(text + "\x1b[J"))
    }

    /// Writes lines one after the other; on a terminal with a picture, in its place.
    pub(super) fn say(&mut self, lines: &[Line]) -> io::Result<()> {
        if self.is_live() {
            self.draw(&[])?;
        }
        let text: String = lines.iter().map(|line| painted(line, self.has_colour) + "\n").collect();
        write(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_live() {
            // a terminal that is gone needs no cursor
            let _ = write(END);
        }
    }
}

fn painted((look, text): &Line, has_colour: bool) -> String {
    let code = match look {
        Look::Normal => "",
        Look::Title => "1",
        Look::Quiet => "2",
        Look::Good => "32",
        Look::Bad => "31",
        Look::New => "36",
    };
    if code.is_empty() || !has_colour || text.is_empty() { text.clone() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        assert_eq!(painted(&(Look::Good, "yes".to_owned()), false), "yes");
        assert_eq!(painted(&(Look::Good, "yes".to_owned()), true), "\x1b[32myes\x1b[0m");
        assert_eq!(painted(&(Look::Normal, "yes".to_owned()), true), "yes");
    }
}
