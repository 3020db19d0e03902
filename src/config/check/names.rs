//! Names that people give: they become labels of metrics, cookies' parts and words of the command line.

use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use std::collections::HashMap;

const NAME_BYTES_MAX: usize = 63;

/// Names with a meaning of their own.
const RESERVED: [&str; 3] = ["__other__", "none", "-"];

/// Checks a name that is the value at a place.
pub(super) fn check_value(name: &str, what: &str, place: &Place, problems: &mut Problems<'_>) {
    check(name, what, place, false, problems);
}

/// Checks a name that is the key at a place.
pub(super) fn check_key(name: &str, what: &str, place: &Place, problems: &mut Problems<'_>) {
    check(name, what, place, true, problems);
}

/// Warns of names that differ only in case.
pub(super) fn check_similar<'n>(
    names: impl Iterator<Item = (&'n str, Place)>,
    what: &str,
    problems: &mut Problems<'_>,
) {
    let mut seen: HashMap<String, (&str, Place)> = HashMap::new();
    for (name, place) in names {
        match seen.get(&name.to_lowercase()) {
            Some((first, first_place)) if *first != name => {
                let message = format!("the {what}s `{first}` and `{name}` differ only in case");
                let last = problems.at_key(Code::SimilarNames, &place, message);
                last.also(first_place, "the other one").help("give one of them another name");
            }
            Some(_) => {}
            None => {
                seen.insert(name.to_lowercase(), (name, place));
            }
        }
    }
}

/// True for a name that a listener, service, variant, cohort or route can have: 1 to 63 letters and digits of ASCII,
/// `-`, `_` and `.`.
pub fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

fn check(name: &str, what: &str, place: &Place, is_key: bool, problems: &mut Problems<'_>) {
    let found = if !is_name(name) {
        Some((Code::BadName, format!("`{}` cannot be the name of a {what}", shortened(name))))
    } else if RESERVED.contains(&name) {
        Some((Code::ReservedName, format!("the name `{name}` is reserved")))
    } else {
        None
    };
    if let Some((code, message)) = found {
        let last = match is_key {
            true => problems.at_key(code, place, message),
            false => problems.at(code, place, message),
        };
        last.help("names are 1 to 63 of the letters a-z and A-Z, digits, `_`, `.` and `-`");
    }
}

fn shortened(name: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match name.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}
