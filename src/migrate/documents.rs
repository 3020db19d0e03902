//! YAML of others: documents to values. Every scalar is a text, as Kubernetes takes `"10"` and `10` in the same places.

use crate::config::{Source, foreign};
use serde_json::Value;

/// The most documents of all texts.
const DOCUMENTS_MAX: usize = 1_000;

/// The objects in the texts, those of a `List` one by one.
pub(super) fn of(sources: &[Source]) -> Result<Vec<Value>, String> {
    let mut documents = Vec::new();
    for source in sources {
        for (line, text) in split(&source.text) {
            let part = Source::new(source.name.clone(), text);
            let value = foreign(&part).map_err(|error| format!("{error} (in the document at line {line})"))?;
            match value.get("items").and_then(Value::as_array) {
                Some(items) if text_of(&value, "/kind").ends_with("List") => documents.extend(items.iter().cloned()),
                _ => documents.push(value),
            }
            if documents.len() > DOCUMENTS_MAX {
                return Err(format!("more than {DOCUMENTS_MAX} documents: migrate them in parts"));
            }
        }
    }
    Ok(documents)
}

/// The documents of a text that have content, with the line where each begins.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (at, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            documents.push((at + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let has_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.retain(|(_, document)| document.lines().any(has_content));
    documents
}

/// The text at a JSON pointer, or an empty one.
pub(super) fn text_of<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(super) fn list_of<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The keys and texts of the map at a JSON pointer.
pub(super) fn pairs_of<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = (&'v str, &'v Value)> {
    value.pointer(pointer).and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// `Ingress shop` for messages.
pub(super) fn origin_of(value: &Value) -> String {
    format!("{} {}", text_of(value, "/kind"), text_of(value, "/metadata/name")).trim().to_owned()
}

/// The address of a Kubernetes service as the name service of the cluster knows it.
pub(super) fn endpoint(service: &str, namespace: &str, port: u64) -> String {
    if namespace.is_empty() { format!("{service}:{port}") } else { format!("{service}.{namespace}:{port}") }
}
