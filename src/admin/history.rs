//! Rollouts from their beginning to their end, from the events about them.

use crate::control::RolloutView;
use crate::control::events::PastEvent;
use crate::rollout::effect::EventKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most rollouts of one answer.
const ROLLOUTS_MAX: usize = 1_000;

/// A rollout from when it began, or began anew.
#[derive(Debug, Default, PartialEq)]
struct Told {
    service: String,
    id: String,
    outcome: Option<&'static str>,
    started_ms: u64,
    /// When a cohort last got another share.
    share_ms: u64,
    ended_ms: Option<u64>,
    cohort: Option<String>,
    sentence: String,
    detected_after_ms: Option<u64>,
    users: Option<u64>,
    actor: Option<String>,
}

/// What became of rollouts since then, the latest first. `events` are the oldest first.
pub(super) fn history(events: &[Arc<PastEvent>], now: &[Arc<RolloutView>], since_ms: u64) -> Vec<Value> {
    let mut told: Vec<Told> = Vec::new();
    for event in events {
        let Some(id) = event.rollout.as_deref() else { continue };
        let is_new = [EventKind::Started, EventKind::Retried].iter().any(|kind| kind.as_str() == event.kind);
        let open = told.iter().rposition(|one| one.service == event.service && one.id == id);
        match open {
            Some(at) if !is_new => told[at].go_on(event),
            // the beginning of what was already under way is not known any more
            _ => told.push(Told::begun(event, id, is_new)),
        }
    }
    let is_running = |one: &Told| {
        let view = now.iter().find(|view| view.service == one.service && view.id == one.id);
        view.is_some_and(|view| view.phase.is_running())
    };
    let wanted = |one: &&Told| one.ended_ms.unwrap_or(u64::MAX) >= since_ms;
    told.iter().rev().filter(wanted).filter_map(|one| one.to_json(is_running(one))).take(ROLLOUTS_MAX).collect()
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Told {
    fn begun(event: &PastEvent, id: &str, is_new: bool) -> Told {
        let mut told = Told {
            service: event.service.clone(),
            id: id.to_owned(),
            started_ms: event.unix_ms,
            share_ms: event.unix_ms,
            sentence: event.sentence.clone(),
            ..Told::default()
        };
        if !is_new {
            told.go_on(event);
        }
        told
    }

    fn go_on(&mut self, event: &PastEvent) {
        let is = |kind: EventKind| kind.as_str() == event.kind;
        if is(EventKind::StepBegan) {
            self.share_ms = event.unix_ms;
        }
        let outcome = match () {
            _ if is(EventKind::Promoted) => "promoted",
            _ if is(EventKind::RolledBack) => "rolled-back",
            _ if is(EventKind::Superseded) => "superseded",
            _ if is(EventKind::Removed) => "removed",
            _ => return,
        };
        // a rollout that was promoted or taken back, and then removed from the file, ended before
        if self.outcome.is_some() && outcome == "removed" {
            return;
        }
        self.outcome = Some(outcome);
        self.ended_ms = Some(event.unix_ms);
        self.sentence.clone_from(&event.sentence);
        self.cohort.clone_from(&event.cohort);
        self.actor.clone_from(&event.actor);
        self.users = event.number("users").and_then(|users| users.parse().ok());
        let is_found = outcome == "rolled-back" && event.actor.is_none();
        self.detected_after_ms = is_found.then(|| event.unix_ms.saturating_sub(self.share_ms));
    }

    /// Nothing of a rollout whose end nobody knows.
    fn to_json(&self, is_running: bool) -> Option<Value> {
        let outcome = self.outcome.or(is_running.then_some("running"))?;
        Some(json!({
            "service": self.service,
            "id": self.id,
            "outcome": outcome,
            "startedUnixMs": self.started_ms,
            "endedUnixMs": self.ended_ms,
            "cohort": self.cohort,
            "sentence": self.sentence,
            "timeToDetectSeconds": self.detected_after_ms.map(|ms| ms as f64 / 1_000.0),
            "usersExposed": self.users,
            "actor": self.actor,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, unix_ms: u64, actor: Option<&str>) -> Arc<PastEvent> {
        Arc::new(PastEvent {
            kind: kind.into(),
            unix_ms,
            service: "shop".into(),
            rollout: Some("v42".into()),
            actor: actor.map(str::to_owned),
            sentence: format!("{kind} at {unix_ms}"),
            numbers: vec![("users".into(), "312".into())],
            ..PastEvent::default()
        })
    }

    #[test]
    fn a_rollback_of_ours_tells_how_long_it_took_and_whom_it_met() {
        let events = [
            event("started", 1_000, None),
            event("step-began", 2_000, None),
            event("rolled-back", 32_500, None),
            event("removed", 90_000, None),
        ];
        let told = history(&events, &[], 0);
        assert_eq!(told.len(), 1);
        let one = &told[0];
        assert_eq!((&one["outcome"], &one["startedUnixMs"]), (&"rolled-back".into(), &1_000.into()));
        assert_eq!((&one["timeToDetectSeconds"], &one["usersExposed"]), (&30.5.into(), &312.into()));
        assert_eq!(one["endedUnixMs"], 32_500);
        assert!(history(&events, &[], 40_000).is_empty(), "it ended before");
    }

    #[test]
    fn a_retry_is_a_rollout_of_its_own_and_comes_first() {
        let events = [
            event("started", 1_000, None),
            event("rolled-back", 2_000, Some("anna")),
            event("retried", 3_000, Some("anna")),
            event("promoted", 4_000, None),
        ];
        let told = history(&events, &[], 0);
        let outcomes: Vec<_> = told.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["promoted", "rolled-back"]);
        assert_eq!((&told[1]["actor"], &told[1]["timeToDetectSeconds"]), (&"anna".into(), &Value::Null));
    }

    #[test]
    fn what_nobody_knows_the_end_of_is_left_out() {
        assert!(history(&[event("started", 1_000, None)], &[], 0).is_empty());
    }
}
