use serde_json::{Map, Number, Value};

use super::compare::{HIDDEN, PLACES_MAX, cut, is_secret};
use crate::model::{JsonPath, JsonStep, Places};
use crate::telemetry::mirror::DifferentPlace;

/// How two bodies differ.
pub(super) enum Differences {
    /// At these places; at most [`PLACES_MAX`], none when they say the same.
    Places(Vec<DifferentPlace>),
    /// One of them is no JSON, or is nested too deeply: more than 127 levels.
    NotJson,
}

/// A walk through two documents side by side.
struct Walk {
    /// Where it stands, as a path.
    at: String,
    /// The walk is below a name whose values nobody may read.
    is_secret: bool,
    found: Vec<DifferentPlace>,
}

/// Compares two documents by what they say: order of members and white space do not count, nor does `1.0` for `1`.
pub(super) fn differ(primary: &[u8], mirror: &[u8], ignored: &[JsonPath]) -> Differences {
    let (Ok(primary), Ok(mirror)) = (serde_json::from_slice::<Value>(primary), serde_json::from_slice::<Value>(mirror))
    else {
        return Differences::NotJson;
    };
    let mut walk = Walk { at: "$".to_owned(), is_secret: false, found: Vec::new() };
    walk.compare(Some(&primary), Some(&mirror), &Places::root(ignored));
    Differences::Places(walk.found)
}

impl Walk {
    fn compare(&mut self, primary: Option<&Value>, mirror: Option<&Value>, places: &Places<'_>) {
        match (primary, mirror) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => self.compare_members(one, other, places),
            (Some(Value::Array(one)), Some(Value::Array(other))) => self.compare_elements(one, other, places),
            (Some(Value::Number(one)), Some(Value::Number(other))) if is_same_number(one, other) => {}
            (one, other) if one == other => {}
            (one, other) => {
                let shown = |value: Option<&Value>| {
                    value.map(|value| if self.is_secret { HIDDEN.to_owned() } else { shown(value) })
                };
                let place = DifferentPlace { place: cut_place(&self.at), primary: shown(one), mirror: shown(other) };
                self.found.push(place);
            }
        }
    }

    fn compare_members(&mut self, one: &Map<String, Value>, other: &Map<String, Value>, places: &Places<'_>) {
        let added = other.keys().filter(|name| !one.contains_key(*name));
        for name in one.keys().chain(added) {
            self.step(JsonStep::Name(name), one.get(name), other.get(name), places);
        }
    }

    fn compare_elements(&mut self, one: &[Value], other: &[Value], places: &Places<'_>) {
        for index in 0..one.len().max(other.len()) {
            self.step(JsonStep::Index(index), one.get(index), other.get(index), places);
        }
    }

    fn step(&mut self, step: JsonStep<'_>, one: Option<&Value>, other: Option<&Value>, places: &Places<'_>) {
        if self.found.len() >= PLACES_MAX {
            return;
        }
        let Some(places) = places.after(step) else { return };
        let (length, was_secret) = (self.at.len(), self.is_secret);
        match step {
            JsonStep::Name(name) => {
                self.is_secret |= is_secret(name);
                push_name(&mut self.at, name);
            }
            JsonStep::Index(index) => self.at.push_str(&format!("[{index}]")),
        }
        self.compare(one, other, &places);
        self.at.truncate(length);
        self.is_secret = was_secret;
    }
}

fn is_same_number(one: &Number, other: &Number) -> bool {
    let is_whole = |number: &Number| number.is_i64() || number.is_u64();
    // whole numbers above 2^53 have no exact fraction: they are compared as they are
    one == other || (!(is_whole(one) && is_whole(other)) && one.as_f64() == other.as_f64())
}

fn push_name(at: &mut String, name: &str) {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if is_plain {
        at.push('.');
        at.push_str(&cut(name));
    } else {
        at.push_str(&format!("['{}']", cut(name).replace('\\', "\\\\").replace('\'', "\\'")));
    }
}

/// The end of a path that is too long tells more than its beginning.
fn cut_place(place: &str) -> String {
    const PLACE_CHARS_MAX: usize = 160;
    match place.char_indices().rev().nth(PLACE_CHARS_MAX - 1) {
        Some((at, _)) if at > 0 => format!("…{}", &place[at..]),
        _ => place.to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::Array(elements) => format!("an array of {}", elements.len()),
        Value::String(text) => Value::String(cut(text)).to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) => cut(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(one: &str, other: &str, ignored: &[&str]) -> String {
        let ignored: Vec<JsonPath> = ignored.iter().map(|path| path.parse().unwrap()).collect();
        let Differences::Places(places) = differ(one.as_bytes(), other.as_bytes(), &ignored) else {
            return "not JSON".to_owned();
        };
        let side = |side: &Option<String>| side.clone().unwrap_or("-".to_owned());
        let place = |of: &DifferentPlace| format!("{}: {} | {}", of.place, side(&of.primary), side(&of.mirror));
        places.iter().map(place).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn documents_are_compared_by_what_they_say() {
        for (one, other, expected) in [
            ("1", "1.0", ""),
            ("1e2", "100", ""),
            ("9007199254740993", "9007199254740992", "$: 9007199254740993 | 9007199254740992"),
            ("-0", "0", ""),
            ("1", "\"1\"", "$: 1 | \"1\""),
            ("null", "{}", "$: null | an object of 0"),
            (r#"{"a":null}"#, "{}", "$.a: null | -"),
            ("{}", r#"{"a b":[1,2]}"#, "$['a b']: - | an array of 2"),
            ("[1,2,3]", "[1,3]", "$[1]: 2 | 3; $[2]: 3 | -"),
            (r#"{"a":[{"b":"x"}]}"#, r#"{"a":[{"b":"y"}]}"#, "$.a[0].b: \"x\" | \"y\""),
            (r#""A""#, r#""\u0041""#, ""),
            ("{", "{", "not JSON"),
            ("", "{}", "not JSON"),
            ("1e999", "1", "not JSON"),
        ] {
            assert_eq!(told(one, other, &[]), expected, "{one} {other}");
        }
    }

    #[test]
    fn ignored_places_may_differ_or_be_missing() {
        for (one, other, ignored, expected) in [
            (r#"{"time":1}"#, r#"{"time":2}"#, "$.time", ""),
            (r#"{"time":1}"#, "{}", "$.time", ""),
            ("[1,2,3]", "[1]", "$[*]", ""),
            (r#"{"a":{"id":1,"b":[{"id":2}]}}"#, r#"{"a":{"id":3,"b":[{"id":4}]}}"#, "$..id", ""),
            (r#"{"a":{"id":1}}"#, r#"{"a":{"id":2}}"#, "$.id", "$.a.id: 1 | 2"),
        ] {
            assert_eq!(told(one, other, &[ignored]), expected, "{one} {other} {ignored}");
        }
    }

    #[test]
    fn values_below_secret_names_are_hidden() {
        let (one, other) = (r#"{"auth_token":{"v":"hush"},"n":1}"#, r#"{"auth_token":{"v":"hush!"},"n":2}"#);
        assert_eq!(told(one, other, &[]), "$.auth_token.v: (hidden) | (hidden); $.n: 1 | 2");
    }

    #[test]
    fn hostile_documents_are_bounded() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(told(&deep, "[]", &[]), "not JSON");
        let wide = format!("[{}0]", "0,".repeat(30_000));
        let Differences::Places(places) = differ(wide.as_bytes(), b"[]", &[]) else { panic!("JSON") };
        assert_eq!(places.len(), PLACES_MAX);
        let name = "n".repeat(60_000);
        let long = told(&format!(r#"{{"{name}":{{"{name}":1}}}}"#), "{}", &[]);
        assert!(long.len() < 300, "{}", long.len());
    }

    proptest::proptest! {
        #[test]
        fn any_two_texts_are_compared_and_none_differs_from_itself(
            one in "[\\[\\]{}:,\"a0 .e-]{0,40}",
            other in "[\\[\\]{}:,\"a0 .e-]{0,40}",
        ) {
            let paths = ["$..a".parse().unwrap()];
            let _ = differ(one.as_bytes(), other.as_bytes(), &paths);
            if let Differences::Places(places) = differ(one.as_bytes(), one.as_bytes(), &[]) {
                proptest::prop_assert!(places.is_empty());
            }
        }
    }
}
