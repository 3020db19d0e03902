//! Notes to servers that answer, refuse, and are slow.

#![cfg(test)]

use super::line::WAITING_MAX;
use super::*;
use crate::config::{Source, load_texts};
use crate::control::outside::testing::{Server, outside, until};
use crate::rollout::effect::EventKind;
use delivery::Patience;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn event(kind: EventKind) -> Event {
    Event {
        kind,
        unix_ms: 1_700_000_000_000,
        service: "shop".to_owned(),
        rollout: Some("v42".to_owned()),
        cohort: Some("asia".to_owned()),
        actor: None,
        reason: None,
        sentence: "rolled back shop/asia 25 % → 0 %: errors 2.3 % against stable <0.07 %>".to_owned(),
        numbers: vec![("gate".to_owned(), "errors".to_owned())],
        runbook: Some("https://wiki.example.com/shop".to_owned()),
    }
}

/// A file with four notifiers that lead to a server, and its folder.
fn four(server: &Server, notify: &str) -> (tempfile::TempDir, File, References) {
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/hook");
    for (name, text) in
        [("hook.url", url.as_str()), ("base.url", &server.url("/")), ("key", "R0UT1NG"), ("secret", "pepper")]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "
listeners: [{{ address: 127.0.0.1:8080 }}]
stateDir: state
outbound: {{ allow: [127.0.0.0/8] }}
notifiers:
  - {{ name: chat, slack: {{ urlFile: hook.url }} }}
  - {{ name: own, webhook: {{ urlFile: hook.url, secretFile: secret }} }}
  - {{ name: night, pagerduty: {{ keyFile: key, urlFile: hook.url }} }}
  - {{ name: alerts, alertmanager: {{ urlFile: base.url }} }}
services:
  shop:
    variants:
      stable: {{ weight: 1, endpoints: ['127.0.0.1:3001'] }}
      canary: {{ weight: 0, endpoints: ['127.0.0.1:3002'] }}
    rollout: {{ id: v42, to: canary, {notify} steps: [{{ cohort: everyone, ramp: [1, 100], hold: 1m }}] }}
"
    );
    let source = Source { name: "a.yaml".to_owned(), text, base: folder.path().to_owned() };
    let file = load_texts(vec![source]).unwrap_or_else(|errors| panic!("{errors}")).file;
    let (references, problems) = References::load(&file);
    assert_eq!(problems, []);
    (folder, file, references)
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn each_kind_of_notifier_is_told_in_its_own_words() {
    let server = Server::with(&[OK]).await;
    let (_folder, file, references) = four(&server, "");
    let mut notifiers = Notifiers::default();
    notifiers.follow(&file, &references);
    notifiers.tell(&event(EventKind::RolledBack));
    until(|| server.seen().len() == 4).await;
    let seen = server.seen();
    let of =
        |mark: &str| seen.iter().find(|request| request.contains(mark)).unwrap_or_else(|| panic!("{mark}: {seen:?}"));

    let chat = body(of("rotating_light"));
    let expected = ":rotating_light: rolled back shop/asia 25 % → 0 %: errors 2.3 % against stable &lt;0.07 %&gt; \
                    (<https://wiki.example.com/shop|runbook>)";
    assert_eq!(chat["text"], expected);

    let own = of("ringway.notification/v1");
    for header in ["webhook-id: ", "webhook-timestamp: ", "webhook-signature: v1,"] {
        assert!(own.contains(header), "{header}: {own}");
    }
    let own = body(own);
    assert_eq!((&own["kind"], &own["cohort"]), (&Value::from("rolled-back"), &Value::from("asia")));
    assert_eq!((&own["numbers"]["gate"], &own["time"]), (&Value::from("errors"), &Value::from("2023-11-14T22:13:20Z")));

    let night = body(of("R0UT1NG"));
    assert_eq!((&night["event_action"], &night["dedup_key"]), (&Value::from("trigger"), &Value::from("ringway/shop")));
    assert_eq!(night["payload"]["severity"], "critical");
    assert_eq!(night["links"][0]["href"], "https://wiki.example.com/shop");

    let alerts = of("RingwayRollout");
    assert!(alerts.starts_with("POST /api/v2/alerts HTTP/1.1"), "{alerts}");
    let alert = &body(alerts)[0];
    assert_eq!(alert["labels"]["severity"], "critical");
    assert_eq!(alert["annotations"]["runbook_url"], "https://wiki.example.com/shop");
    assert_eq!(alert["startsAt"], "2023-11-14T22:13:20Z");

    until(|| notifiers.facts().iter().all(|fact| fact.results[0] == ("delivered", 1))).await;
}

#[tokio::test]
async fn who_acts_ends_the_call_and_news_call_nobody() {
    let server = Server::with(&[OK]).await;
    let (_folder, file, references) = four(&server, "notify: [night, alerts],");
    let mut notifiers = Notifiers::default();
    notifiers.follow(&file, &references);
    notifiers.tell(&event(EventKind::AwaitingApproval));
    notifiers.tell(&Event { actor: Some("anna".to_owned()), ..event(EventKind::RolledBack) });
    until(|| server.seen().len() == 2).await;
    let seen = server.seen();
    let night = seen.iter().find(|request| request.contains("R0UT1NG")).unwrap();
    assert_eq!(body(night)["event_action"], "resolve");
    let alerts = body(seen.iter().find(|request| request.contains("RingwayRollout")).unwrap());
    let severities: Vec<_> = alerts.as_array().unwrap().iter().map(|alert| &alert["labels"]["severity"]).collect();
    assert_eq!(severities, ["critical", "warning"]);
    let ends: jiff::Timestamp = alerts[0]["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends <= jiff::Timestamp::now(), "{ends}");
}

#[tokio::test]
async fn a_rollout_chooses_who_is_told_also_after_it_was_removed() {
    let server = Server::with(&[OK]).await;
    let (_folder, mut file, references) = four(&server, "notify: [chat],");
    let mut notifiers = Notifiers::default();
    notifiers.follow(&file, &references);
    file.services["shop"].rollout = None;
    notifiers.follow(&file, &references);
    notifiers.tell(&event(EventKind::Removed));
    until(|| server.seen().len() == 1).await;
    assert!(server.seen()[0].contains("\"text\""));
    let told: Vec<u64> = notifiers.facts().iter().map(|fact| fact.results[0].1).collect();
    assert!(told.iter().sum::<u64>() <= 1, "{told:?}");
}

fn chat(server: &Server) -> (tempfile::TempDir, Recipient) {
    let (folder, file, references) = four(server, "");
    (folder, Recipient::of(&file.notifiers[1], &references).unwrap())
}

const SHORT: Patience = Patience {
    first: Duration::from_millis(1),
    most: Duration::from_millis(2),
    give_up_after: Duration::from_secs(60),
};

#[tokio::test]
async fn what_fails_is_tried_again_as_the_same_note() {
    let busy = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";
    let server = Server::with(&[busy, "", OK]).await;
    let (_folder, recipient) = chat(&server);
    let line = Line::open_with(recipient, outside(&["127.0.0.0/8"]), SHORT);
    line.push(Note::of(&event(EventKind::Promoted)));
    until(|| line.counts().delivered == 1).await;
    let ids: Vec<String> = server
        .seen()
        .iter()
        .map(|request| request.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn what_is_refused_or_too_old_is_given_up() {
    let gone = Server::with(&["HTTP/1.1 404 No\r\ncontent-length: 10\r\n\r\nno_service"]).await;
    let (_folder, recipient) = chat(&gone);
    let line = Line::open_with(recipient, outside(&["127.0.0.0/8"]), SHORT);
    line.push(Note::of(&event(EventKind::Promoted)));
    until(|| line.counts().failed == 1).await;
    assert_eq!(gone.seen().len(), 1);

    let busy = Server::with(&["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"]).await;
    let (_folder, recipient) = chat(&busy);
    let patience = Patience { give_up_after: Duration::ZERO, ..SHORT };
    let line = Line::open_with(recipient, outside(&["127.0.0.0/8"]), patience);
    line.push(Note::of(&event(EventKind::Promoted)));
    until(|| line.counts().failed == 1).await;
}

#[tokio::test]
async fn the_oldest_notes_go_when_too_many_wait_and_a_closed_line_delivers_the_rest() {
    let server = Server::with(&[OK]).await;
    let (_folder, recipient) = chat(&server);
    let line = Line::open_with(recipient, outside(&["127.0.0.0/8"]), SHORT);
    // its task has not run yet
    for _ in 0..WAITING_MAX + 7 {
        line.push(Note::of(&event(EventKind::Promoted)));
    }
    assert_eq!(line.counts().dropped, 7);
    line.close();
    until(|| line.counts().delivered == WAITING_MAX as u64).await;
}
