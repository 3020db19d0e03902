//! A tree of values to YAML that people read: short values on one line, remarks as comments above what they are about.

use serde_json::Value;
use std::fmt::Write;

/// Values that fit into so many columns stand on one line.
const LINE_MAX: usize = 110;

/// A comment, and the place that it stands above, such as `services.shop`.
pub(super) struct Comment {
    pub(super) place: String,
    pub(super) text: String,
}

/// Writes a map as a file.
pub(super) fn write(value: &Value, comments: &[Comment]) -> String {
    let mut writer = Writer { out: String::new(), comments };
    writer.block(value, "", 0);
    writer.out
}

struct Writer<'c> {
    out: String,
    comments: &'c [Comment],
}

impl Writer<'_> {
    fn block(&mut self, value: &Value, place: &str, indent: usize) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    self.comment(&place, indent);
                    self.pad(indent);
                    let _ = write!(self.out, "{}:", scalar(key));
                    self.value(value, &place, indent + 2);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let place = format!("{place}[{at}]");
                    self.comment(&place, indent);
                    self.item(item, &place, indent);
                }
            }
            _ => {}
        }
    }

    fn item(&mut self, item: &Value, place: &str, indent: usize) {
        let start = self.out.len();
        self.pad(indent);
        self.out.push('-');
        let before = self.out.len();
        self.value(item, place, indent + 2);
        // the first key of a map stands beside its dash, unless a comment is above it
        if self.out[before..].starts_with('\n') {
            let rest = self.out[before + 1..].trim_start().to_owned();
            if rest.starts_with('#') {
                return;
            }
            self.out.truncate(start);
            self.pad(indent);
            let _ = write!(self.out, "- {rest}");
        }
    }

    fn value(&mut self, value: &Value, place: &str, indent: usize) {
        let has_comment_below = self
            .comments
            .iter()
            .any(|comment| comment.place.strip_prefix(place).is_some_and(|rest| rest.starts_with(['.', '['])));
        let line = inline(value);
        // the upper two levels are the outline of the file
        let is_outline = indent <= 4 && value.is_object() && !place.contains('[');
        if !has_comment_below && (value_is_scalar(value) || !is_outline && line.len() + indent <= LINE_MAX) {
            let _ = writeln!(self.out, " {line}");
        } else {
            self.out.push('\n');
            self.block(value, place, indent);
        }
    }

    fn comment(&mut self, place: &str, indent: usize) {
        for comment in self.comments.iter().filter(|comment| comment.place == place) {
            self.pad(indent);
            let _ = writeln!(self.out, "# {}", comment.text);
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }
}

fn value_is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar(key), inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text, in quotes unless it can only be read as itself.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let means_more = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_duration = text.len() < 12 && text.starts_with(|c: char| c.is_ascii_digit()) && {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        digits.len() < text.len()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !text.ends_with(['e', 'o', 'x'])
    };
    if is_word && !means_more.contains(&text.to_ascii_lowercase().as_str()) || is_duration {
        text.to_owned()
    } else {
        // JSON's texts are texts of YAML
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_values_stand_on_a_line_and_comments_above_theirs() {
        let value = json!({ "services": { "shop": { "hashOn": ["clientIP", { "cookie": "yes" }], "variants": {
            "stable": { "weight": 1, "endpoints": ["a:80"] } }, "list": [{ "a": { "b": "1" } }] } } });
        let comments = [Comment { place: "services.shop.list[0].a".into(), text: "why".into() }];
        let expected = "services:\n  shop:\n    hashOn: [clientIP, { cookie: \"yes\" }]\n    variants: { stable: { \
                        weight: 1, endpoints: [\"a:80\"] } }\n    list:\n      -\n        # why\n        a: { b: \"1\" }\n";
        assert_eq!(write(&value, &comments), expected);
    }

    #[test]
    fn texts_stay_texts() {
        for (text, written) in [
            ("v1.2", "v1.2"),
            ("10", "\"10\""),
            ("10s", "10s"),
            ("1e3", "\"1e3\""),
            ("No", "\"No\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("^\\d+$", "\"^\\\\d+$\""),
            ("a\n# b", "\"a\\n# b\""),
        ] {
            assert_eq!(scalar(text), written, "{text}");
        }
    }
}
