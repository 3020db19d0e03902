//! What happens to the process, as events for the audit log and the log.

use std::time::{SystemTime, UNIX_EPOCH};

use super::handle::By;
use super::outcome::{Cause, ReloadResult};
use crate::rollout::effect::{Event, EventKind};

/// Something that was done to the process. `by`: who did it; `None`: nobody asked.
pub fn event_of_process(kind: EventKind, sentence: String, by: Option<By>) -> Event {
    let (actor, reason) = by.map_or((None, None), |by| (Some(by.actor), Some(by.reason)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Event {
        kind,
        unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        service: String::new(),
        rollout: None,
        cohort: None,
        actor,
        reason: reason.filter(|reason| !reason.is_empty()),
        sentence,
        numbers: Vec::new(),
        runbook: None,
    }
}

/// What came of a reload; `None` when nothing did.
pub(super) fn of_reload(cause: Cause, by: Option<By>, result: &ReloadResult) -> Option<Event> {
    let (kind, sentence) = match result {
        ReloadResult::Applied(applied) => {
            let (rev, before, cause) = (&applied.rev, &applied.previous_rev, cause.as_str());
            (EventKind::ReloadApplied, format!("rev {rev} is in force instead of {before} ({cause})"))
        }
        ReloadResult::Rejected(rejected) => {
            (EventKind::ReloadRejected, format!("files were refused ({}): {rejected}", cause.as_str()))
        }
        ReloadResult::Unchanged { .. } => return None,
    };
    Some(event_of_process(kind, sentence, by))
}

pub(super) fn of_drain(by: Option<By>) -> Event {
    let sentence = "draining: no new connections, finishing what is in flight".to_owned();
    event_of_process(EventKind::Drain, sentence, by)
}
