use std::net::IpAddr;

use crate::model::push_printable;
use crate::routing::view::RequestView;

/// One step of an explanation: what was looked at, whether it held, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The kind of step: `client`, `route`, `user key`, `cohort`, `condition` and so on.
    pub kind: &'static str,
    /// Whether it held, for what can hold.
    pub holds: Option<bool>,
    /// What was seen, on one line, safe for a terminal.
    pub text: String,
    /// What it was made of.
    pub parts: Vec<Step>,
}

/// The most characters of a line of an explanation.
const LINE_CHARS_MAX: usize = 200;
/// The most characters of a value that is shown.
const VALUE_CHARS_MAX: usize = 60;

impl Step {
    pub(super) fn new(kind: &'static str, text: impl AsRef<str>) -> Step {
        Step { kind, holds: None, text: clean(text.as_ref()), parts: Vec::new() }
    }

    pub(super) fn holds(mut self, holds: bool) -> Step {
        self.holds = Some(holds);
        self
    }

    pub(super) fn parts(mut self, parts: Vec<Step>) -> Step {
        self.parts = parts;
        self
    }
}

/// The step that finds out who the client is.
pub(super) fn client(view: &RequestView<'_>, peer: IpAddr) -> Step {
    let ip = view.client_ip();
    let how = match (view.client.peer_trusted, ip == peer.to_canonical()) {
        (false, _) => "the peer, which is not a trusted proxy".to_owned(),
        (true, true) => "the peer, a trusted proxy that names nobody before it".to_owned(),
        (true, false) => format!("named by x-forwarded-for from {peer}, a trusted proxy"),
    };
    Step::new("client", format!("{ip}: {how}"))
}

/// A text on one line, safe for a terminal; a long one is cut.
pub fn clean(text: &str) -> String {
    cut(text, LINE_CHARS_MAX)
}

/// A value between quotes, short, and safe for a terminal.
pub fn quoted(value: &[u8]) -> String {
    format!("\"{}\"", cut(&String::from_utf8_lossy(value), VALUE_CHARS_MAX))
}

fn cut(text: &str, chars_max: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(4 * chars_max));
    for (at, character) in text.chars().enumerate() {
        if at == chars_max {
            cleaned.push('…');
            break;
        }
        push_printable(&mut cleaned, character);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_harmless() {
        for (value, shown) in [
            (&b"u-1"[..], "\"u-1\""),
            (b"\x1b[2J", "\"\\u{1b}[2J\""),
            (b"a\r\nb", "\"a\\r\\nb\""),
            (b"\xff", "\"\u{fffd}\""),
            ("\u{202e}x".as_bytes(), "\"\\u{202e}x\""),
            ("你好".as_bytes(), "\"你好\""),
        ] {
            assert_eq!(quoted(value), shown);
        }
        assert_eq!(quoted(&[b'a'; 1000]).chars().count(), VALUE_CHARS_MAX + 3);
    }
}
