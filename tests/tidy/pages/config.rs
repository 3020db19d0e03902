//! The page of the file format, from its JSON Schema.

use serde_json::Value;
use std::fmt::Write;

/// Types of other crates, described better than by their own schema.
const FOREIGN: [(&str, &str); 1] = [("IpNet", "network such as `10.0.0.0/8`")];

/// One section for each type of the schema, the whole file first, then in the order in which they are met.
pub fn page(generated: &str, schema: &Value) -> String {
    let mut page = format!(
        "# The file\n\n{generated}\n\nEvery key that a configuration may have. `ringway schema` prints the same as a JSON \
         Schema, for editors. Unknown\nand repeated keys are errors. Durations are written as `500ms`, `30s`, `10m`, `1h`; \
         sizes as `64KiB`, `1MiB`.\nPaths start from the folder of the file that names them.\n"
    );
    let definitions = schema["$defs"].as_object().unwrap();
    let mut waiting = vec!["File".to_owned()];
    let mut done = Vec::new();
    while let Some(name) = waiting.pop() {
        if done.contains(&name) {
            continue;
        }
        let definition = if name == "File" { schema } else { &definitions[&name] };
        section(&mut page, &name, definition);
        let mut met = Vec::new();
        references(definition, name == "File", &mut met);
        waiting.extend(met.into_iter().rev());
        done.push(name);
    }
    page
}

fn section(page: &mut String, name: &str, definition: &Value) {
    writeln!(page, "\n## {name}\n\n{}", text(definition)).unwrap();
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(properties) = definition["properties"].as_object() {
        rows(page, properties.iter().map(|(key, value)| (key.as_str(), value)), &required);
    }
    let choices = definition["oneOf"].as_array().into_iter().chain(definition["anyOf"].as_array()).flatten();
    let choices: Vec<&Value> = choices.collect();
    if choices.is_empty() {
        return;
    }
    writeln!(page, "\nOne of:\n\n| value | type | meaning |\n| --- | --- | --- |").unwrap();
    for choice in choices {
        let keyed = choice["properties"].as_object().and_then(|keys| keys.iter().next());
        let (value, kind) = match keyed {
            Some((key, inner)) => (format!("`{key}:`"), kind(inner)),
            None => (word(choice), String::new()),
        };
        writeln!(page, "| {value} | {kind} | {} |", text(choice)).unwrap();
    }
}

fn rows<'v>(page: &mut String, properties: impl Iterator<Item = (&'v str, &'v Value)>, required: &[&str]) {
    writeln!(page, "\n| key | type | meaning |\n| --- | --- | --- |").unwrap();
    for (key, value) in properties {
        let must = if required.contains(&key) { " **Required.**" } else { "" };
        writeln!(page, "| `{key}` | {} | {}{must} |", kind(value), text(value)).unwrap();
    }
}

/// A value that is a word: `const`, or the words of an `enum`.
fn word(choice: &Value) -> String {
    let words: Vec<String> = match (&choice["const"], &choice["enum"]) {
        (Value::String(word), _) => vec![format!("`{word}`")],
        (_, Value::Array(words)) => words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect(),
        _ => vec![kind(choice)],
    };
    words.join(", ")
}

fn kind(value: &Value) -> String {
    if let Some(name) = value["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        if let Some((_, known)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
            return (*known).to_owned();
        }
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for alternatives in [&value["anyOf"], &value["oneOf"], &value["allOf"]] {
        if let Some(alternatives) = alternatives.as_array() {
            let kinds: Vec<String> = alternatives.iter().map(kind).filter(|kind| kind != "null").collect();
            return kinds.join(" or ");
        }
    }
    let names: Vec<&str> = match &value["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => vec!["any"],
    };
    match names.as_slice() {
        ["array"] if value["items"].is_object() => format!("list of {}", kind(&value["items"])),
        ["array"] => "list of numbers".to_owned(),
        ["object"] if value["additionalProperties"].is_object() => {
            format!("map of {}", kind(&value["additionalProperties"]))
        }
        names => names.join(" or "),
    }
}

fn text(value: &Value) -> String {
    value["description"].as_str().unwrap_or("").replace('\n', " ").replace('|', "\\|")
}

fn references(value: &Value, is_whole: bool, met: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner.as_str().filter(|_| key == "$ref") {
                    Some(path) => {
                        let name =
                            path.rsplit('/').next().filter(|name| FOREIGN.iter().all(|(known, _)| known != name));
                        met.extend(name.map(str::to_owned));
                    }
                    None if is_whole && key == "$defs" => {}
                    None => references(inner, false, met),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|inner| references(inner, false, met)),
        _ => {}
    }
}
