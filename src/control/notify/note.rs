//! What is told, before it is put into the words of a receiver.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rollout::effect::{Event, EventKind};

/// The longest text of a note, in characters.
const TEXT_MAX: usize = 2_000;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    /// The same in each attempt to deliver it.
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) call: Call,
    pub(crate) unix_ms: u64,
    pub(crate) service: String,
    pub(crate) rollout: Option<String>,
    pub(crate) cohort: Option<String>,
    pub(crate) actor: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) sentence: String,
    pub(crate) numbers: Vec<(String, String)>,
    pub(crate) runbook: Option<String>,
}

/// What an event means to whoever is on call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Somebody should come: the engine has acted on harm, or waits with harm on its hands.
    Critical,
    /// Somebody should look.
    Warning,
    /// Somebody has acted, or there is nothing left to act on.
    Over,
    /// It is news, and calls nobody.
    News,
}

impl Note {
    pub(super) fn of(event: &Event) -> Note {
        Note {
            id: id(),
            kind: event.kind.as_str(),
            call: call(event),
            unix_ms: event.unix_ms,
            service: event.service.clone(),
            rollout: event.rollout.clone(),
            cohort: event.cohort.clone(),
            actor: event.actor.as_deref().map(cut),
            reason: event.reason.as_deref().map(cut),
            sentence: cut(&event.sentence),
            numbers: event.numbers.clone(),
            runbook: event.runbook.clone(),
        }
    }

    /// Notes that try a notifier: what it calls people for is taken back at once.
    pub(crate) fn trials() -> [Note; 2] {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let note = |call, sentence: &str| Note {
            id: id(),
            kind: "test",
            call,
            unix_ms,
            service: "ringway-test".to_owned(),
            rollout: None,
            cohort: None,
            actor: None,
            reason: None,
            sentence: sentence.to_owned(),
            numbers: Vec::new(),
            runbook: None,
        };
        let text = "this is a test of ringway: rollouts will be told here, and there is nothing to do";
        [note(Call::Warning, text), note(Call::Over, "the test of ringway is over")]
    }

    /// `rolled back shop/asia 25 % → 0 %: errors 2.3 % against .. (by anna: too slow)`
    pub(super) fn text(&self) -> String {
        match (&self.actor, &self.reason) {
            (Some(actor), Some(reason)) => format!("{} (by {actor}: {reason})", self.sentence),
            (Some(actor), None) => format!("{} (by {actor})", self.sentence),
            (None, Some(reason)) => format!("{} ({reason})", self.sentence),
            (None, None) => self.sentence.clone(),
        }
    }

    /// When, as RFC 3339 has it.
    pub(super) fn time(&self) -> String {
        timestamp(self.unix_ms)
    }
}

/// A moment as RFC 3339 has it.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or_default().to_string()
}

fn call(event: &Event) -> Call {
    match event.kind {
        EventKind::RolledBack if event.actor.is_some() => Call::Over,
        EventKind::RolledBack | EventKind::Harm => Call::Critical,
        EventKind::NoEvidence | EventKind::Starved | EventKind::TooLong => Call::Warning,
        EventKind::Started
        | EventKind::Promoted
        | EventKind::PromotedByPerson
        | EventKind::Resumed
        | EventKind::Retried
        | EventKind::Skipped
        | EventKind::Superseded
        | EventKind::Removed => Call::Over,
        EventKind::StepBegan
        | EventKind::StepPassed
        | EventKind::Holding
        | EventKind::AwaitingApproval
        | EventKind::Approved
        | EventKind::AwaitingWindow
        | EventKind::FurtherBack
        | EventKind::Paused
        | EventKind::EditIgnored
        | EventKind::PlanChanged
        | EventKind::WeightSet
        | EventKind::WeightEnded
        | EventKind::ReloadApplied
        | EventKind::ReloadRejected
        | EventKind::Drain
        | EventKind::LogLevel
        | EventKind::EndpointDrained
        | EventKind::EndpointReady => Call::News,
    }
}

/// 128 random bits: who receives a note twice knows it by them.
fn id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
