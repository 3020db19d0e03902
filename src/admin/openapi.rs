//! `/api/v1/openapi.json`: the table of pages as OpenAPI 3.1.

use axum::Json;
use axum::http::Method;
use axum::routing::get;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::pages::{Answer, Kind, Page, ROOT};
use crate::config::schema::Role;

pub(super) fn pages() -> Vec<Page> {
    let serve = || get(|| async { Json(document()) });
    vec![Page::get("/openapi.json", Role::Viewer, "This document.", serve).for_everybody()]
}

/// The whole document, as OpenAPI 3.1. Bodies that are types of the code have their schemas; other answers have the name in `schema`.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: Map<String, Value> = Map::new();
    for page in super::pages::pages() {
        let place = paths.entry(format!("{ROOT}{}", page.path)).or_insert_with(|| json!({}));
        place[page.method.as_str().to_lowercase()] = operation(&page, &mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringway admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Who gets a new version, and what came of it. Fields are added, never renamed.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": super::session::COOKIE },
            },
        },
    })
}

fn operation(page: &Page, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": id(page),
        "summary": page.summary,
        "parameters": parameters(page),
        "responses": {
            "200": answer(page, generator),
            "default": { "description": "Why not.", "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
            } } },
        },
    });
    operation["x-ringway-role"] = page.role.map_or(Value::Null, |role| role.as_str().into());
    if page.role.is_none() {
        operation["security"] = json!([{}]);
    }
    if let Some(body) = page.body {
        let schema = body(generator);
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn answer(page: &Page, generator: &mut SchemaGenerator) -> Value {
    let (kind, schema) = match page.answer {
        Answer::Named(name) => {
            let schema =
                json!({ "type": "object", "required": ["schema"], "properties": { "schema": { "const": name } } });
            ("application/json", schema)
        }
        Answer::Shaped(shape) => ("application/json", shape(generator).to_value()),
        Answer::Events => ("text/event-stream", json!({ "type": "string" })),
    };
    json!({ "description": page.summary, "content": { kind: { "schema": schema } } })
}

fn parameters(page: &Page) -> Vec<Value> {
    let text = |name: &str, place: &str, means: &str| {
        json!({ "name": name, "in": place, "required": place == "path", "description": means,
            "schema": { "type": "string" } })
    };
    let in_path = page.path.split(['{', '}']).skip(1).step_by(2).map(|name| text(name, "path", "A name of the file."));
    let in_query = page.query.iter().map(|(name, means)| text(name, "query", means));
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    if page.kind == Kind::Changes {
        let means = "Only tell what would be done.";
        let schema = json!({ "type": "boolean", "default": false });
        all.push(json!({ "name": "dryRun", "in": "query", "required": false, "description": means, "schema": schema }));
        all.push(text("If-Match", "header", "The ETag that what is changed must still have; 412 when it has not."));
        all.push(text("x-ringway-csrf", "header", "What GET /session tells; needed with a session."));
    }
    all
}

/// `get-rollouts-service`.
fn id(page: &Page) -> String {
    let words = page.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = match page.method {
        Method::GET => "get",
        Method::DELETE => "delete",
        _ => "post",
    };
    [method].into_iter().chain(words).collect::<Vec<_>>().join("-")
}

/// RFC 9457; members are added to it by what is refused.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened, and what to do." },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_page_is_in_it_once() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let operations: usize = paths.values().map(|place| place.as_object().unwrap().len()).sum();
        let pages = super::super::pages::pages();
        assert_eq!(operations, pages.len(), "two pages with one method and path");
        let ids: BTreeSet<String> = pages.iter().map(id).collect();
        assert_eq!(ids.len(), pages.len(), "{ids:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        found.push(to.clone());
                    }
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut references = Vec::new();
        walk(&document, &mut references);
        assert!(!references.is_empty());
        for to in references {
            assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
    }
}
