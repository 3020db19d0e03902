//! What is found between two answers, and what is kept of it.

use serde_json::Value;

use super::{Seen, answer, mirrored};
use crate::story::Story;

const JSON: &str = "content-type: application/json";
const GZIP: &str = "content-type: application/json\r\ncontent-encoding: gzip";

const IGNORING: &str = ", ignore: { jsonPaths: [$.time, \"$.items[*].id\"], headers: [x-build] }";
const SECRETS: &str = ", headers: [set-cookie, authorization]";

/// A line of an answer's head, and its body.
type Answered = (&'static str, &'static str);

/// What stable and canary answer, what the mirror compares, the kind that differs, and
/// the places.
const PAIRS: [(Answered, Answered, &str, &str, &str); 9] = [
    (("date: 1", "a"), ("date: 2", "a"), "", "", ""),
    (("vary: a", ""), ("vary: b", ""), "", "headers", "header vary: a | b"),
    (("vary: a", "1"), ("vary: b", "2"), ", compare: [status]", "", ""),
    (("x-build: 1", "1"), ("x-build: 2", "1"), IGNORING, "", ""),
    (
        (JSON, r#"{"time":1,"items":[{"id":1,"price":5}]}"#),
        (JSON, r#"{ "items": [{ "price": 5.0, "id": 2 }] }"#),
        IGNORING,
        "",
        "",
    ),
    (
        (JSON, r#"{"time":1,"items":[{"id":1,"price":5}]}"#),
        (JSON, r#"{"time":2,"items":[{"id":2,"price":6}]}"#),
        IGNORING,
        "body",
        "$.items[0].price: 5 | 6",
    ),
    // compressed bodies are compared as they are
    ((GZIP, r#"{"time":1}"#), (GZIP, r#"{"time":2}"#), IGNORING, "body", "byte 8: 10 bytes | 10 bytes"),
    (("set-cookie: hush1", ""), ("set-cookie: hush2", ""), "", "", ""),
    (
        ("set-cookie: hush1\r\nauthorization: hush1", ""),
        ("set-cookie: hush2\r\nauthorization: hush2", ""),
        SECRETS,
        "headers",
        "header authorization: (hidden) | (hidden); header set-cookie: (hidden) | (hidden)",
    ),
];

#[test]
fn differences_are_found_counted_and_kept() {
    for (stable, canary, mirror, kind, places) in PAIRS {
        let seen = Seen::default();
        let service =
            |(line, body): (&'static str, &'static str)| seen.answering(move |_| answer(&format!("{line}\r\n"), body));
        let (stable, canary) = (service(stable), service(canary));
        let story = Story::begin(&mirrored(&stable, &canary, 0, mirror));
        assert!(story.client().get("/a?secret=1", "authorization: hush\r\n").is_ok());
        let result = if kind.is_empty() { "same" } else { "different" };
        story.expect_copies(result, 1.0);
        let page = story.mirror();
        assert_eq!((&page["schema"], &page["requests"][result]), (&"ringway.mirror/v1".into(), &1.into()));
        assert_eq!(told(&page), places);
        assert!(!page.to_string().contains("hush") && !page.to_string().contains("secret="), "{page}");
        let counted = |labels: &[(&str, &str)]| story.metrics().sum("ringway_mirror_differences_total", labels);
        let expected = if kind.is_empty() { 0.0 } else { 1.0 };
        assert_eq!((counted(&[]), counted(&[("kind", kind)])), (expected, expected));
        let Some(last) = page["last"].get(0) else { continue };
        assert_eq!(last["kinds"], serde_json::json!([kind]));
        let about = (&last["path"], &last["primary"]["variant"], last["requestId"].as_str().unwrap().len());
        assert_eq!(about, (&"/a".into(), &"stable".into(), 36));
    }
}

/// The places of the last difference.
fn told(page: &Value) -> String {
    let places = page["last"].get(0).and_then(|last| last["places"].as_array()).cloned().unwrap_or_default();
    let text = |place: &Value, key: &str| place[key].as_str().unwrap_or("-").to_owned();
    let told = |at: &Value| format!("{}: {} | {}", text(at, "place"), text(at, "primary"), text(at, "mirror"));
    places.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_status_that_differs_is_found_also_without_bodies() {
    let seen = Seen::default();
    let stable = seen.answering(|_| "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned());
    let canary = seen.answering(|_| "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\n".to_owned());
    let story = Story::begin(&mirrored(&stable, &canary, 0, ""));
    assert_eq!(story.client().ask("HEAD", "/", "", "").status, 200);
    story.expect_copies("different", 1.0);
    assert_eq!(told(&story.mirror()), "status: 200 | 404");
}

#[test]
fn long_answers_are_compared_but_for_their_bodies() {
    let body = |size: usize| answer("", &"a".repeat(size));
    for (stable, canary) in [(70_000, 70_000), (10, 70_000), (70_000, 10)] {
        let seen = Seen::default();
        let (stable, canary) = (seen.answering(move |_| body(stable)), seen.answering(move |_| body(canary)));
        let story = Story::begin(&mirrored(&stable, &canary, 0, ""));
        assert!(story.client().get("/", "").is_ok());
        story.expect_copies("same", 1.0);
        assert_eq!(story.metrics().sum("ringway_mirror_bodies_uncompared_total", &[("cause", "too_large")]), 1.0);
    }
}
