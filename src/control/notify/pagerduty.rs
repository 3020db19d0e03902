//! PagerDuty, Events API v2: one incident a service, triggered by harm and resolved by whoever acts on it.

use serde_json::{Map, Value, json};

use super::note::{Call, Note};

/// Where events go when the file does not say.
pub(super) const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// The longest summary that is taken.
const SUMMARY_CHARACTERS_MAX: usize = 1_024;

/// `None` for news, which call nobody.
pub(super) fn body(note: &Note, key: &str) -> Option<Value> {
    let severity = match note.call {
        Call::Critical => "critical",
        Call::Warning => "warning",
        Call::Over => {
            return Some(json!({ "routing_key": key, "event_action": "resolve", "dedup_key": dedup_key(note) }));
        }
        Call::News => return None,
    };
    let mut details: Map<String, Value> =
        note.numbers.iter().map(|(name, number)| (name.clone(), Value::from(number.as_str()))).collect();
    for (name, value) in [("rollout", &note.rollout), ("cohort", &note.cohort)] {
        if let Some(value) = value {
            details.insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    let links: Vec<Value> = note.runbook.iter().map(|link| json!({ "href": link, "text": "runbook" })).collect();
    Some(json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key(note),
        "client": "Ringway",
        "links": links,
        "payload": {
            "summary": note.text().chars().take(SUMMARY_CHARACTERS_MAX).collect::<String>(),
            "source": note.service,
            "severity": severity,
            "timestamp": note.time(),
            "component": note.service,
            "class": note.kind,
            "custom_details": details,
        },
    }))
}

/// One for a service, whichever process tells: replicas that see the same open one incident.
fn dedup_key(note: &Note) -> String {
    format!("ringway/{}", note.service)
}
