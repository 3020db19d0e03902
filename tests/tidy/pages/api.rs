//! The page of the admin API, from the document that the door itself shows.

use serde_json::Value;
use std::fmt::Write;

/// One table of all pages, then the bodies that they take.
pub fn page(generated: &str, document: &Value) -> String {
    let mut page = format!(
        "# The admin API\n\n{generated}\n\nWhat can be asked at the admin door, and by whom. `GET /api/v1/openapi.json` \
         is the same as OpenAPI 3.1, with\nthe shapes of bodies. How to prove who you are: [sign in](../guides/sign-in.md).\n\n\
         Bodies are JSON in camelCase; times are Unix seconds (`..UnixSeconds`) or milliseconds (`unixMs`). Fields are added, \
         never\nrenamed. Whatever is refused is `application/problem+json` (RFC 9457), whose `detail` says what to do. Pages that \
         change\nsomething need `content-type: application/json`, take a `reason` for the audit log, and with `?dryRun=true` only \
         tell\nwhat they would do.\n\n| page | who may | what it does | answers |\n| --- | --- | --- | --- |\n"
    );
    let mut bodies = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let role = operation["x-ringway-role"].as_str().unwrap_or("everybody");
            let summary = operation["summary"].as_str().unwrap();
            let name = format!("{} {path}", method.to_uppercase());
            writeln!(page, "| `{name}` | {role} | {summary} | {} |", answer(document, operation)).unwrap();
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if !schema.is_null() {
                bodies.push((name, resolved(document, schema)));
            }
        }
    }
    page.push_str("\n## Bodies\n");
    for (name, schema) in bodies {
        writeln!(page, "\n`{name}`\n\n| field | meaning |\n| --- | --- |").unwrap();
        for (field, value) in schema["properties"].as_object().unwrap() {
            let text = value["description"].as_str().unwrap_or_default().replace('\n', " ");
            writeln!(page, "| `{field}` | {text} |").unwrap();
        }
    }
    page
}

fn answer(document: &Value, operation: &Value) -> String {
    let content = operation["responses"]["200"]["content"].as_object().unwrap();
    let (kind, body) = content.iter().next().unwrap();
    if kind != "application/json" {
        return format!("`{kind}`");
    }
    let schema = &resolved(document, &body["schema"])["properties"]["schema"];
    let named = schema["const"].as_str().map(|name| format!("`{name}`"));
    named
        .or_else(|| schema["description"].as_str().map(str::to_owned))
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(to) => document.pointer(to.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}
