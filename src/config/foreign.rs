//! YAML that is not ours, by the same bounded reader.

use super::diagnostic::ConfigErrors;
use super::parse::parse;
use super::source::Source;
use super::tree::{Kind, Node, is_null};
use serde_json::{Map, Value};

/// Reads one document. Every scalar is a text but for a plain `null`.
///
/// # Errors
/// The syntax is broken, a key stands twice, or it is too large or too deep.
pub fn foreign(source: &Source) -> Result<Value, ConfigErrors> {
    match parse(source, 0) {
        (Some(node), problems) if problems.is_empty() => Ok(value(node)),
        (_, diagnostics) => Err(ConfigErrors { sources: vec![source.clone()], diagnostics }),
    }
}

/// As deep as the reader lets a tree be.
fn value(node: Node) -> Value {
    match node.kind {
        Kind::Scalar { text, is_plain: true } if is_null(&text) => Value::Null,
        Kind::Scalar { text, .. } => Value::String(text),
        Kind::Seq(items) => items.into_iter().map(value).collect(),
        Kind::Map(entries) => {
            Value::Object(entries.into_iter().map(|entry| (entry.key, value(entry.value))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_are_texts_and_faults_are_told() {
        let read = |text: &str| foreign(&Source::new("a.yaml", text));
        let expected = json!({ "a": "10", "b": ["true", null], "c": { "d": "null" } });
        assert_eq!(read("a: 10\nb: [true, ~]\nc: { d: 'null' }").unwrap(), expected);
        assert!(read("a: [").unwrap_err().to_string().starts_with("a.yaml:"));
        assert!(read("a: 1\na: 2").is_err());
    }
}
