//! Everything in a tree that does not fit the schema, not just the first thing.
//!
//! Decoding stops at the first mismatch. So that all are found, each is recorded, its node is taken out of the
//! tree, and what is left is decoded again.

use super::codes::Code;
use super::decode::{DecodeError, Mismatch, decode};
use super::diagnostic::Diagnostic;
use super::place::{Place, Step};
use super::schema::File;
use super::source::Span;
use super::suggest::{closest, listed};
use super::tree::{Found, Kind, Node};

/// The most mismatches that are reported at once.
pub(super) const MISMATCHES_MAX: usize = 100;

/// What is left of a tree that fits, with what did not.
#[derive(Default)]
pub(crate) struct Shaped {
    pub(crate) file: File,
    pub(crate) problems: Vec<Diagnostic>,
    /// The places that were taken out. Later rules keep quiet about what lies above them.
    pub(crate) pruned: Vec<Place>,
}

/// Decodes a tree, taking out of it what does not fit.
pub(crate) fn shape(root: &mut Node) -> Shaped {
    let mut shaped = Shaped::default();
    let mut misspelt: Vec<(Place, &'static str)> = Vec::new();
    loop {
        let error = match decode::<File>(root) {
            Ok(file) => {
                shaped.file = file;
                return shaped;
            }
            Err(error) => error,
        };
        let place = error.place.clone().unwrap_or_default();
        if !follows_from_earlier(&error.mismatch, &place, &shaped.pruned, &misspelt) {
            if let Mismatch::UnknownKey { key, expected } = &error.mismatch
                && let Some(meant) = closest(key, expected.iter().copied())
            {
                misspelt.push((place.parent(), meant));
            }
            shaped.problems.push(describe(root, &error, &place));
        }
        let is_left = root.remove(&place);
        shaped.pruned.push(place);
        if shaped.problems.len() >= MISMATCHES_MAX || !is_left {
            return shaped;
        }
    }
}

/// The span to show for a place: its value, or its key when the value is long or empty.
pub(crate) fn span_at(root: &Node, place: &Place, sources_line_end: impl Fn(Span) -> usize) -> Span {
    let Found { key, node } = root.nearest(place);
    let line_end = sources_line_end(node.span);
    let is_short = node.span.end <= line_end && node.span.end > node.span.start;
    match key {
        _ if is_short => node.span,
        Some(key) => key,
        None => Span { end: line_end.max(node.span.start), ..node.span },
    }
}

/// True when an error is just the shadow of one that was reported before.
fn follows_from_earlier(
    mismatch: &Mismatch,
    place: &Place,
    pruned: &[Place],
    misspelt: &[(Place, &'static str)],
) -> bool {
    match mismatch {
        Mismatch::MissingKey(key) => {
            pruned.contains(&place.key(*key)) || misspelt.iter().any(|(map, meant)| map == place && meant == key)
        }
        _ => pruned.iter().any(|gone| gone.is_below(place)),
    }
}

fn describe(root: &Node, error: &DecodeError, place: &Place) -> Diagnostic {
    let name = place.steps().iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let is_item = matches!(place.steps().last(), Some(Step::Index(_)));
    let name = name.map(|name| if is_item { format!("an item of `{name}`") } else { format!("`{name}`") });
    let found = root.nearest(place);
    let at_key = found.key.unwrap_or(found.node.span);
    let at_value = if found.node.span.start < found.node.span.end { found.node.span } else { at_key };
    match &error.mismatch {
        Mismatch::UnknownKey { key, expected } => unknown_key(key, expected).at(at_key),
        Mismatch::UnknownChoice { key, expected } => {
            let at = first_key(found.node).unwrap_or(at_value);
            unknown_key(key, expected).at(at)
        }
        Mismatch::UnknownValue { value, expected } => {
            let found = Diagnostic::new(Code::UnknownValue, format!("`{value}` is not one of the values")).at(at_value);
            found.help(suggestion(value, expected))
        }
        Mismatch::MissingKey(key) => {
            let whose = name.map_or(String::new(), |name| format!(" of {name}"));
            let at = if found.key.is_some() { at_key } else { first_key(found.node).unwrap_or(at_value) };
            Diagnostic::new(Code::MissingKey, format!("the key `{key}`{whose} is missing")).at(at)
        }
        Mismatch::WrongType { expected, found } => {
            let whose = name.map_or(String::new(), |name| format!("{name}: "));
            let message = format!("{whose}expected {}, found {found}", plainly(expected));
            let diagnostic = Diagnostic::new(Code::WrongType, message).at(at_value);
            match (plainly(expected), *found) {
                ("a list", "a text" | "a number") => diagnostic.help("a list of one is written `[value]`"),
                ("a choice", _) => diagnostic.help("write a map with one key, the choice"),
                ("a list", "a map") => diagnostic.help("begin each item of a list with `- `"),
                (expected, "a text") if expected.contains("number") => {
                    diagnostic.help("write the number without quotes")
                }
                _ => diagnostic,
            }
        }
        Mismatch::NotOneKey { keys, expected } => {
            let message = match keys {
                0 => "exactly one key is needed here, and there is none".to_owned(),
                keys => format!("exactly one key is allowed here, and there are {keys}"),
            };
            let found = Diagnostic::new(Code::NotOneKey, message).at(first_key(found.node).unwrap_or(at_value));
            match expected.contains(&"all") {
                true => found.help("to combine conditions write `all: [{ .. }, { .. }]` or `any: [{ .. }, { .. }]`"),
                false => found.help(format!("one of {}", listed(expected.iter().copied()))),
            }
        }
        Mismatch::NoValue => {
            let whose = name.unwrap_or_else(|| "this".to_owned());
            let found = Diagnostic::new(Code::NoValue, format!("{whose} has no value")).at(at_key);
            found.help("give it a value, or remove the key")
        }
        Mismatch::Unquoted(text) => {
            let found = Diagnostic::new(Code::Unquoted, format!("`{text}` is a boolean, and a text is expected"));
            found.at(at_value).help(format!("put it in quotes: \"{text}\""))
        }
        Mismatch::NotBoolean(text) => {
            let found = Diagnostic::new(Code::NotBoolean, format!("`{text}` is not a boolean")).at(at_value);
            found.help("write `true` or `false`, without quotes")
        }
        Mismatch::Invalid(message) => invalid(message, found.node).at(at_value),
    }
}

fn unknown_key(key: &str, expected: &[&str]) -> Diagnostic {
    let found = Diagnostic::new(Code::UnknownKey, format!("there is no key `{key}` here"));
    found.help(suggestion(key, expected))
}

fn suggestion(given: &str, expected: &[&str]) -> String {
    match closest(given, expected.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("one of {}", listed(expected.iter().copied())),
    }
}

/// Library texts in our words, with what to type.
fn invalid(message: &str, node: &Node) -> Diagnostic {
    let text = match &node.kind {
        Kind::Scalar { text, .. } => text.as_str(),
        _ => "",
    };
    let (message, help) = match message {
        "invalid socket address syntax" => (
            format!("`{text}` is not an IP address with a port"),
            Some("write it like 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080"),
        ),
        "invalid IP address syntax" if text.contains('/') || text.parse::<std::net::IpAddr>().is_ok() => {
            (format!("`{text}` is not a network"), Some("write it like 10.0.0.0/8, 192.0.2.7/32 or 2001:db8::/32"))
        }
        "invalid IP address syntax" => {
            (format!("`{text}` is not an IP address or network"), Some("write it like 10.0.0.0/8 or 2001:db8::/32"))
        }
        other => match other.split_once(", such as ") {
            Some((rule, examples)) => {
                return Diagnostic::new(Code::InvalidValue, format!("`{text}` does not fit: {rule}"))
                    .help(format!("write it like {examples}"));
            }
            None => (other.to_owned(), None),
        },
    };
    let found = Diagnostic::new(Code::InvalidValue, message);
    match help {
        Some(help) => found.help(help),
        None => found,
    }
}

/// Type names of the implementation, in words of the file.
fn plainly(expected: &str) -> &str {
    match expected {
        "a string" | "a borrowed string" | "path string" | "a string key" => "a text",
        "a sequence" => "a list",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        other if other.starts_with("struct ") => "a map",
        other if other.starts_with("enum ") => "a choice",
        other => other,
    }
}

fn first_key(node: &Node) -> Option<Span> {
    match &node.kind {
        Kind::Map(entries) => entries.first().map(|entry| entry.key_span),
        _ => None,
    }
}
