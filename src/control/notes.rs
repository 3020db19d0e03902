//! Changes of the process that are no rollout's, as events for the audit log and the log.

use super::handle::By;
use super::outcome::{Cause, ReloadResult};
use crate::rollout::effect::{Event, EventKind};

/// Something that was changed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub kind: EventKind,
    /// The service that it is about; empty for the process.
    pub service: String,
    /// Who did it; `None`: nobody asked.
    pub by: Option<By>,
    /// The whole of it in one sentence.
    pub sentence: String,
}

impl Note {
    /// What came of a reload; `None` when nothing did.
    pub(super) fn of_reload(cause: Cause, by: Option<By>, result: &ReloadResult) -> Option<Note> {
        let why = match cause {
            Cause::Changed => "the files changed",
            Cause::Signal => "a signal asked for a reload",
            Cause::Asked => "a reload was asked for",
        };
        let (kind, sentence) = match result {
            ReloadResult::Applied(applied) => {
                let (rev, before) = (&applied.rev, &applied.previous_rev);
                (EventKind::ReloadApplied, format!("{why}: rev {rev} is in force (before: {before})"))
            }
            ReloadResult::Rejected(rejected) => (EventKind::ReloadRejected, format!("{why}, and rejected: {rejected}")),
            ReloadResult::Unchanged { .. } => return None,
        };
        Some(Note { kind, service: String::new(), by, sentence })
    }

    pub(super) fn of_drain(by: Option<By>) -> Note {
        let sentence = "the process drains: what is in flight is finished, then it ends".to_owned();
        Note { kind: EventKind::Drain, service: String::new(), by, sentence }
    }

    pub(super) fn event(self, unix_ms: u64) -> Event {
        let (actor, reason) = self.by.map_or((None, None), |by| (Some(by.actor), Some(by.reason)));
        Event {
            kind: self.kind,
            unix_ms,
            service: self.service,
            rollout: None,
            cohort: None,
            actor,
            reason: reason.filter(|reason| !reason.is_empty()),
            sentence: self.sentence,
            numbers: Vec::new(),
            runbook: None,
        }
    }
}
