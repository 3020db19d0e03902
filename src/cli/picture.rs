//! What is drawn again and again in the same place of a terminal; elsewhere nothing is.

use std::io::{self, IsTerminal, Write};

/// A terminal that shows a picture. The cursor stays where people expect it, so nothing is left behind by Ctrl-C.
pub(super) struct Picture {
    is_live: bool,
    /// Lines of the picture that is there now.
    drawn: usize,
}

/// Columns and rows of a terminal that does not tell.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

impl Picture {
    /// On standard output, if it is a terminal that can.
    pub(super) fn new() -> Picture {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Picture { is_live: io::stdout().is_terminal() && !is_dumb, drawn: 0 }
    }

    /// Pictures are drawn, not lines written.
    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    /// Draws in the place of the last picture. What does not fit is cut.
    pub(super) fn draw(&mut self, text: &str) -> io::Result<()> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| (size.ws_col, size.ws_row));
        let (columns, rows) = size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(SIZE_DEFAULT);
        let (columns, rows) = (usize::from(columns), usize::from(rows).saturating_sub(1));
        let drawn = framed(text, self.drawn.min(rows), columns, rows);
        self.drawn = text.lines().count().min(rows);
        let mut stdout = io::stdout().lock();
        stdout.write_all(drawn.as_bytes())?;
        stdout.flush()
    }
}

/// The text with what moves the cursor up before it, and clears what was there.
fn framed(text: &str, above: usize, columns: usize, rows: usize) -> String {
    let mut drawn = if above == 0 { "\r".to_owned() } else { format!("\r\x1b[{above}A") };
    for line in text.lines().take(rows) {
        drawn.extend(line.chars().take(columns));
        drawn.push_str("\x1b[K\n");
    }
    drawn.push_str("\x1b[J");
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_takes_the_place_of_the_last_one_and_is_cut() {
        assert_eq!(framed("one\ntwo\nthree", 0, 3, 2), "\rone\x1b[K\ntwo\x1b[K\n\x1b[J");
        assert_eq!(framed("one", 2, 80, 24), "\r\x1b[2Aone\x1b[K\n\x1b[J");
    }
}
