//! A Prometheus Alertmanager, API v2: one alert a service and severity, which fires until somebody acts on it.

use serde_json::{Value, json};

use super::note::{Call, Note, timestamp};

/// How long an alert fires when nobody acts on it. Without an end, Alertmanager takes one of minutes.
const FIRES_FOR_MS: u64 = 24 * 3_600_000;

/// The page of alerts below a base URL.
pub(super) fn url(base: &str) -> String {
    let base = base.trim_end_matches('/');
    if base.ends_with("/api/v2/alerts") { base.to_owned() } else { format!("{base}/api/v2/alerts") }
}

/// `None` for news, which call nobody.
pub(super) fn body(note: &Note, now_unix_ms: u64) -> Option<Value> {
    let (severities, ends): (&[&str], u64) = match note.call {
        Call::Critical => (&["critical"], now_unix_ms + FIRES_FOR_MS),
        Call::Warning => (&["warning"], now_unix_ms + FIRES_FOR_MS),
        Call::Over => (&["critical", "warning"], now_unix_ms),
        Call::News => return None,
    };
    let alert = |severity: &&str| {
        // what tells alerts apart must be known again when they end: nothing of the step or cohort
        let labels = json!({ "alertname": "RingwayRollout", "service": note.service, "severity": severity });
        let mut annotations = json!({ "summary": note.text(), "kind": note.kind });
        for (name, value) in [("runbook_url", &note.runbook), ("rollout", &note.rollout), ("cohort", &note.cohort)] {
            if let Some(value) = value {
                annotations[name] = Value::from(value.as_str());
            }
        }
        json!({
            "labels": labels,
            "annotations": annotations,
            "startsAt": timestamp(note.unix_ms.min(ends)),
            "endsAt": timestamp(ends),
        })
    };
    Some(severities.iter().map(alert).collect())
}
