//! `requestHeaders` and `responseHeaders`: names that are ours or another hop's, and values with variables.

use super::problems::Problems;
use super::texts::check_header_value;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, HeaderEdits};
use crate::config::template::{self, Piece, Variable};
use std::collections::HashMap;

/// Fields of one hop, fields that frame a message, and those that the proxy writes itself.
const OURS: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that an intermediary passes on as they are (RFC 9110 §10.2.1, §11.6.1, §11.6.2).
const UNTOUCHABLE: [&str; 3] = ["allow", "authorization", "www-authenticate"];

/// What is edited, as far as the rules differ.
#[derive(Clone, Copy)]
pub(super) struct Subject<'f> {
    pub(super) file: &'f File,
    /// Every request has a variant where these edits apply.
    pub(super) has_assignment: bool,
}

/// Checks the edits of both directions of a route, a cohort or a variant.
pub(super) fn check(
    request: Option<&HeaderEdits>,
    response: Option<&HeaderEdits>,
    subject: Subject<'_>,
    place: &Place,
    problems: &mut Problems<'_>,
) {
    for (edits, key) in [(request, "requestHeaders"), (response, "responseHeaders")] {
        if let Some(edits) = edits {
            check_edits(edits, subject, &place.key(key), problems);
        }
    }
}

fn check_edits(edits: &HeaderEdits, subject: Subject<'_>, place: &Place, problems: &mut Problems<'_>) {
    if edits.names().next().is_none() {
        let last = problems.at_key(Code::EmptyEdits, place, "these edits change nothing");
        last.help("add one of `set`, `add` and `remove`, or remove the key");
    }
    let mut seen: HashMap<String, Place> = HashMap::new();
    for (lines, key) in [(&edits.set, "set"), (&edits.add, "add")] {
        for (name, value) in lines {
            let place = place.key(key).key(name.as_str());
            check_name(name, &place, true, &mut seen, problems);
            check_value(name, value, subject, &place, problems);
        }
    }
    for (index, name) in edits.remove.iter().enumerate() {
        check_name(name, &place.key("remove").index(index), false, &mut seen, problems);
    }
}

fn check_name(name: &str, place: &Place, is_key: bool, seen: &mut HashMap<String, Place>, problems: &mut Problems<'_>) {
    let lower = name.to_ascii_lowercase();
    let plain = lower.replace('_', "-");
    let is_ours = OURS.contains(&plain.as_str())
        || plain == "via"
        || plain.starts_with("x-ringway-")
        || plain.starts_with("x-forwarded-");
    let found = if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        let help = "header names are letters, digits and `-`, such as x-plan";
        Some((Code::BadHeaderName, format!("`{name}` is not a header name"), help))
    } else if is_ours {
        let help = match plain.as_str() {
            "host" => "write `rewrite: { hostname: .. }`",
            _ => "choose another name, such as x-plan",
        };
        Some((Code::ForbiddenHeader, format!("the header `{name}` is set by ringway itself"), help))
    } else if UNTOUCHABLE.contains(&plain.as_str()) {
        let help = "remove the line; a proxy passes this header on as it is (RFC 9110)";
        Some((Code::ForbiddenHeader, format!("the header `{name}` may not be changed on the way"), help))
    } else {
        None
    };
    if let Some((code, message, help)) = found {
        let last = if is_key { problems.at_key(code, place, message) } else { problems.at(code, place, message) };
        last.help(help);
    } else if let Some(first) = seen.get(&lower) {
        let message = format!("the header `{name}` is edited twice");
        let last = match is_key {
            true => problems.at_key(Code::HeaderEditedTwice, place, message),
            false => problems.at(Code::HeaderEditedTwice, place, message),
        };
        last.also(first, "the other one").help("keep one of them; which comes first would be a guess");
    }
    seen.entry(lower).or_insert_with(|| place.clone());
}

fn check_value(name: &str, value: &str, subject: Subject<'_>, place: &Place, problems: &mut Problems<'_>) {
    let pieces = match template::parse(value) {
        Ok(pieces) => pieces,
        Err(error) => {
            problems.at(Code::UnknownVariable, place, error.to_string()).help(error.help());
            return;
        }
    };
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Variable(_) => "x",
        })
        .collect();
    if text.is_empty() {
        let last = problems.at(Code::BadHeaderValue, place, "the value is empty");
        last.help("write a value, or put the header under `remove`");
    } else {
        check_header_value(&text, place, problems);
    }
    let has_star = text.split(',').any(|member| member.trim() == "*");
    if name.eq_ignore_ascii_case("vary") && has_star {
        let last = problems.at(Code::VaryStar, place, "`Vary: *` may not come from a proxy (RFC 9110 §12.5.5)");
        last.help("name the headers that matter, such as Cookie, or write `cache: private`");
    }
    for piece in &pieces {
        let Piece::Variable(variable) = piece else { continue };
        if variable.needs_assignment() && !subject.has_assignment {
            let message = format!("`${{{}}}` is not known: a redirect has no cohort and no variant", variable.as_str());
            let last = problems.at(Code::VariableWithoutValue, place, message);
            last.help("remove it, or give the route a `service`");
        }
        if *variable == Variable::GeoCountry && subject.file.geo.is_none() {
            let last = problems.at(Code::GeoWithoutSource, place, "`${geo.country}` needs a source of places");
            last.help("add `geo: { mmdb: GeoLite2-City.mmdb }` or `geo: { header: cf-ipcountry }`");
        }
    }
}
