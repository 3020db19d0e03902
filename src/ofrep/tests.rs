//! The door from outside, in a process that serves.

#![cfg(test)]

use crate::routing::explain::{ImaginedRequest, place};
use crate::server::{Options, Running, start};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
admin: { address: 127.0.0.1:0 }
telemetry: { address: 127.0.0.1:0 }
ofrep: { address: 127.0.0.1:0 }
geo: { header: x-country }
services:
  shop:
    salt: shop-v42
    hashOn: [{ cookie: uid }, clientIP]
    variants:
      stable: { weight: 50, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 50, endpoints: ["127.0.0.1:2"] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, exact: "1" } }, weights: { canary: 100 } }
      - { name: norway, when: { geo: { countries: [NO] } }, weights: { stable: 100 } }
  pages:
    variants: { stable: { endpoints: ["127.0.0.1:3"] } }
  nets:
    variants:
      stable: { weight: 50, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 50, endpoints: ["127.0.0.1:2"] }
routes: [{ service: shop }, { matches: [{ path: { prefix: /about } }], service: pages }, { matches: [{ path: { prefix: /nets } }], service: nets }]
"#;

struct Story {
    running: Running,
    _dir: tempfile::TempDir,
}

impl Story {
    fn begin() -> Story {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringway.yaml");
        std::fs::write(&path, FILE).unwrap();
        let running = start(&Options { workers: Some(1), ..Options::new(path) }).unwrap();
        Story { running, _dir: dir }
    }

    /// The status, the head and the body of an answer.
    fn asks(&self, page: &str, head: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(self.running.ofrep.unwrap()).unwrap();
        let length = body.len();
        let request = format!(
            "POST /ofrep/v1/evaluate/flags{page} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{head}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), serde_json::from_str(body).unwrap_or_default())
    }

    fn flag(&self, page: &str, context: Value) -> (u16, Value) {
        let body = json!({ "context": context }).to_string();
        let (status, _, answer) = self.asks(page, "Content-Type: application/json\r\n", &body);
        (status, answer)
    }
}

#[test]
fn a_user_gets_what_the_edge_would_give() {
    let story = Story::begin();
    let (in_force, snapshot) = (story.running.handle().in_force(), story.running.snapshot());
    let mut seen = [0, 0];
    for user in 0..50 {
        let (status, flag) = story.flag("/shop", json!({ "targetingKey": format!("u-{user}") }));
        let cookie = HeaderValue::from_str(&format!("uid=u-{user}")).unwrap();
        let request = ImaginedRequest {
            method: Method::GET,
            url: "http://shop/".to_owned(),
            headers: HeaderMap::from_iter([(http::header::COOKIE, cookie)]),
            peer: "192.0.2.1".parse().unwrap(),
            listener: None,
        };
        let placed = place(&in_force.loaded.file, &snapshot, &request).unwrap();
        seen[placed.variant] += 1;
        let variant = &*snapshot.services[0].variants[placed.variant].name;
        let bucket = placed.bucket.number();
        let metadata =
            json!({ "cohort": "everyone", "rev": *snapshot.rev, "ringwayReason": "split", "bucket": bucket });
        let expected =
            json!({ "key": "shop", "reason": "SPLIT", "variant": variant, "value": variant, "metadata": metadata });
        assert_eq!((status, flag), (200, expected));
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn attributes_are_what_conditions_look_at() {
    let story = Story::begin();
    for (context, cohort, reason) in [
        (json!({ "x-employee": 1 }), "staff", "TARGETING_MATCH"),
        (json!({ "headers": { "X-Employee": "1" } }), "staff", "TARGETING_MATCH"),
        (json!({ "x-country": "NO" }), "norway", "TARGETING_MATCH"),
        (json!({ "cookies": { "uid": "u-1" }, "plan": ["pro"] }), "everyone", "SPLIT"),
        (json!({ "ip": "192.0.2.7" }), "everyone", "SPLIT"),
    ] {
        let (status, flag) = story.flag("/shop", context);
        assert_eq!(
            (status, &flag["metadata"]["cohort"], &flag["reason"]),
            (200, &cohort.into(), &reason.into()),
            "{flag}"
        );
    }
    assert_eq!(story.flag("/pages", json!({})).1["reason"], "STATIC");
    let by_ip = story.flag("/nets", json!({ "ip": "192.0.2.7", "targetingKey": "a" })).1;
    assert_eq!(by_ip, story.flag("/nets", json!({ "targetingKey": "192.0.2.7" })).1);
}

#[test]
fn who_cannot_be_answered_is_told_by_the_protocol() {
    let story = Story::begin();
    for (page, context, status, code) in [
        ("/shop", json!({}), 400, "TARGETING_KEY_MISSING"),
        ("/shop", json!({ "targetingKey": "a;b" }), 400, "INVALID_CONTEXT"),
        ("/shop", json!({ "ip": "here" }), 400, "INVALID_CONTEXT"),
        ("/shop", json!({ "host": "a/b" }), 400, "INVALID_CONTEXT"),
        ("/shop", json!("me"), 400, "PARSE_ERROR"),
        ("/nets", json!({ "targetingKey": "a" }), 400, "TARGETING_KEY_MISSING"),
        ("/gone", json!({ "targetingKey": "a" }), 404, "FLAG_NOT_FOUND"),
    ] {
        let (got, answer) = story.flag(page, context);
        assert_eq!((got, &answer["errorCode"]), (status, &code.into()), "{answer}");
    }
    let json = "Content-Type: application/json\r\n";
    assert_eq!(story.asks("/shop", "Content-Type: text/plain\r\n", "{}").0, 415);
    assert_eq!(story.asks("/shop", json, "{").2["errorCode"], "PARSE_ERROR");
    assert_eq!(story.asks("/shop", json, &" ".repeat(super::BODY_BYTES_MAX + 1)).0, 413);
}

#[test]
fn all_flags_have_a_tag_that_changes_with_them() {
    let story = Story::begin();
    let json = "Content-Type: application/json\r\n";
    let (status, head, answer) = story.asks("", json, r#"{"context":{"targetingKey":"u-1"}}"#);
    assert_eq!((status, answer["flags"].as_array().unwrap().len()), (200, 3));
    assert_eq!(answer["flags"][1]["variant"], "stable", "{answer}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again = format!("{json}If-None-Match: {etag}\r\n");
    assert_eq!(story.asks("", &again, r#"{"context":{"targetingKey":"u-1"}}"#).0, 304);
    assert_eq!(story.asks("", &again, r#"{"context":{"x-employee":"1"}}"#).0, 200);
}
