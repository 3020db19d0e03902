//! Slack's incoming webhooks, and what understands the same: Mattermost, Rocket.Chat, Discord's `/slack`.

use serde_json::{Value, json};

use super::note::Note;

pub(super) fn body(note: &Note) -> Value {
    let mark = match note.call {
        super::note::Call::Critical => ":rotating_light: ",
        super::note::Call::Warning => ":warning: ",
        super::note::Call::Over | super::note::Call::News => "",
    };
    let runbook = note.runbook.as_deref().map(|link| format!(" (<{}|runbook>)", link_text(link))).unwrap_or_default();
    json!({ "text": format!("{mark}{}{runbook}", escaped(&note.text())) })
}

/// Three characters begin what Slack does not take as text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A bar would end the address.
fn link_text(link: &str) -> String {
    escaped(link).replace('|', "%7C")
}
