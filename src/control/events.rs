//! What happened, for those who look back and those who look on: the last events in memory.
//!
//! With a `stateDir` they outlive the process: they are the last lines of the audit log, and have its numbers.

use crate::rollout::effect::{Event, EventKind};
use crate::telemetry::tap::Passed;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events in memory; older ones go.
pub const EVENTS_MAX: usize = 10_000;
/// Bytes of their texts.
pub const EVENTS_BYTES_MAX: usize = 16 << 20;
/// Events that wait for somebody who looks on. Who is further behind has missed some.
const BEHIND_MAX: usize = 1_024;

/// The last events. Shared by the control thread, which tells them, and all who read.
#[derive(Debug)]
pub struct Events {
    past: Mutex<Past>,
    told: broadcast::Sender<Arc<PastEvent>>,
}

#[derive(Debug, Default)]
struct Past {
    events: VecDeque<Arc<PastEvent>>,
    bytes: usize,
    last_id: u64,
    folder: Option<PathBuf>,
}

/// An event with its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastEvent {
    /// Rises with each event; the number of the audit log's line.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The word of [`EventKind`].
    pub kind: String,
    /// The service; empty when it is about the whole process.
    pub service: String,
    /// The rollout's id.
    pub rollout: Option<String>,
    /// The cohort.
    pub cohort: Option<String>,
    /// Who did it; `None` is Ringway.
    pub actor: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// All of it in one sentence.
    pub sentence: String,
    /// The numbers behind it.
    pub numbers: Vec<(String, String)>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Failing requests behind a decision; only of events of this process.
    pub samples: Vec<Passed>,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked<'q> {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// Only those of this service.
    pub service: Option<&'q str>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Events {
    fn default() -> Events {
        Events { past: Mutex::default(), told: broadcast::channel(BEHIND_MAX).0 }
    }
}

impl Events {
    /// What the audit log of a folder holds, in the place of all that is known; `last_id` is its last line.
    pub(super) fn restore(&self, events: Vec<PastEvent>, last_id: u64, folder: &Path) {
        let mut past = self.past();
        *past = Past { last_id, folder: Some(folder.to_owned()), ..Past::default() };
        events.into_iter().for_each(|event| past.keep(Arc::new(event)));
    }

    /// Numbers begin here, where no audit log says how they go on: above those of the processes before this one.
    pub(super) fn begin(&self, unix_ms: u64) {
        let mut past = self.past();
        past.last_id = past.last_id.max(unix_ms);
    }

    /// Something happened.
    pub(super) fn push(&self, event: &Event, samples: Vec<Passed>) {
        let mut past = self.past();
        let event = Arc::new(PastEvent::of(past.last_id.saturating_add(1), event, samples));
        past.keep(Arc::clone(&event));
        // under the lock, so that whoever reads and then looks on misses nothing; nobody may be there
        let _ = self.told.send(event);
    }

    /// The latest ones, newest first.
    pub fn latest(&self, asked: &Asked<'_>) -> Vec<Arc<PastEvent>> {
        let past = self.past();
        let found = past.events.iter().rev().filter(|event| {
            asked.before.is_none_or(|before| event.id < before)
                && asked.service.is_none_or(|service| event.service == service)
        });
        found.take(asked.limit).cloned().collect()
    }

    /// The latest `most` of those after a number, oldest first.
    pub fn after(&self, id: u64, most: usize) -> Vec<Arc<PastEvent>> {
        let past = self.past();
        let mut found: Vec<_> =
            past.events.iter().rev().take_while(|event| event.id > id).take(most).cloned().collect();
        found.reverse();
        found
    }

    /// The number of the latest one; 0 for none.
    pub fn last_id(&self) -> u64 {
        self.past().events.back().map_or(0, |event| event.id)
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<Arc<PastEvent>> {
        self.past().events.iter().cloned().collect()
    }

    /// Events from now on.
    pub fn look_on(&self) -> broadcast::Receiver<Arc<PastEvent>> {
        self.told.subscribe()
    }

    /// Where the audit log is.
    pub fn folder(&self) -> Option<PathBuf> {
        self.past().folder.clone()
    }

    /// The last time that Ringway itself took a release back or stopped it for harm, unless somebody began anew since.
    pub fn decision(&self, service: &str, rollout: &str) -> Option<Arc<PastEvent>> {
        let past = self.past();
        let mut of_rollout = past.events.iter().rev().filter(|event| event.is_of(service, rollout));
        let found = of_rollout.find(|event| event.is_decision() || event.begins_anew())?;
        found.is_decision().then(|| Arc::clone(found))
    }

    /// The steps of the file that people left out of a rollout.
    pub fn skipped(&self, service: &str, rollout: &str) -> BTreeSet<usize> {
        let past = self.past();
        let since = past.events.iter().rev().filter(|event| event.is_of(service, rollout));
        let since = since.take_while(|event| !event.begins_anew());
        let skipped = since.filter(|event| event.kind == EventKind::Skipped.as_str());
        skipped.filter_map(|event| event.number("step")?.parse().ok()).collect()
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn keep(&mut self, event: Arc<PastEvent>) {
        self.last_id = self.last_id.max(event.id);
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX || self.bytes > EVENTS_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }
}

impl PastEvent {
    fn of(id: u64, event: &Event, samples: Vec<Passed>) -> PastEvent {
        PastEvent {
            id,
            unix_ms: event.unix_ms,
            kind: event.kind.as_str().to_owned(),
            service: event.service.clone(),
            rollout: event.rollout.clone(),
            cohort: event.cohort.clone(),
            actor: event.actor.clone(),
            reason: event.reason.clone(),
            sentence: event.sentence.clone(),
            numbers: event.numbers.clone(),
            runbook: event.runbook.clone(),
            samples,
        }
    }

    /// The number of this name.
    pub fn number(&self, name: &str) -> Option<&str> {
        self.numbers.iter().find(|(known, _)| known == name).map(|(_, number)| number.as_str())
    }

    /// True when it is about this rollout of this service.
    pub fn is_of(&self, service: &str, rollout: &str) -> bool {
        self.service == service && self.rollout.as_deref() == Some(rollout)
    }

    fn is_decision(&self) -> bool {
        let is_harm = [EventKind::RolledBack, EventKind::Harm].iter().any(|kind| kind.as_str() == self.kind);
        is_harm && self.actor.is_none()
    }

    fn begins_anew(&self) -> bool {
        [EventKind::Started, EventKind::Retried].iter().any(|kind| kind.as_str() == self.kind)
    }

    fn bytes(&self) -> usize {
        let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let numbers: usize = self.numbers.iter().map(|(name, number)| name.len() + number.len() + 48).sum();
        let samples: usize = self.samples.iter().map(|one| one.path.len() + 256).sum();
        let texts = [&self.rollout, &self.cohort, &self.actor, &self.reason, &self.runbook];
        let texts: usize = texts.into_iter().map(of).sum();
        size_of::<PastEvent>() + self.service.len() + self.sentence.len() + texts + numbers + samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::stage::Stage;

    fn told() -> (Events, Vec<Event>) {
        let mut stage = Stage::new();
        stage.complete_step();
        stage.rollback(None);
        let events = Events::default();
        stage.events.iter().for_each(|event| events.push(event, Vec::new()));
        (events, stage.events)
    }

    #[test]
    fn numbers_rise_and_the_newest_come_first() {
        let (events, told) = told();
        let latest = events.latest(&Asked { limit: 2, ..Asked::default() });
        assert_eq!((latest.len(), latest[0].id, latest[1].id), (2, told.len() as u64, told.len() as u64 - 1));
        assert_eq!(latest[0].sentence, told.last().unwrap().sentence);
        let before = events.latest(&Asked { before: Some(latest[1].id), limit: 100, ..Asked::default() });
        assert_eq!(before.len(), told.len() - 2);
        assert!(events.latest(&Asked { service: Some("other"), limit: 9, ..Asked::default() }).is_empty());
        let after = events.after(latest[1].id - 1, 100);
        assert_eq!(after.iter().map(|event| event.id).collect::<Vec<_>>(), [latest[1].id, latest[0].id]);
        assert_eq!(events.after(0, 1), [Arc::clone(&latest[0])], "of too many, the latest");
    }

    #[test]
    fn who_looks_on_hears_of_each() {
        let events = Events::default();
        let mut heard = events.look_on();
        let stage = Stage::new();
        events.push(&stage.events[0], Vec::new());
        assert_eq!(heard.try_recv().unwrap().id, 1);
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn a_rollback_by_a_person_is_no_decision_of_ours_and_a_retry_ends_one() {
        let (events, told) = told();
        let last = told.last().unwrap();
        let rollout = last.rollout.clone().unwrap();
        assert_eq!(last.actor.as_deref(), Some("alice"));
        assert_eq!(events.decision(&last.service, &rollout), None);
        events.push(&Event { actor: None, ..last.clone() }, vec![]);
        assert!(events.decision(&last.service, &rollout).is_some());
        events.push(&Event { kind: EventKind::Retried, ..last.clone() }, vec![]);
        assert_eq!(events.decision(&last.service, &rollout), None);
    }

    #[test]
    fn memory_is_bounded_by_count_and_by_bytes() {
        let events = Events::default();
        let event = Stage::new().events[0].clone();
        (0..EVENTS_MAX + 10).for_each(|_| events.push(&event, Vec::new()));
        assert_eq!((events.all().len(), events.all()[0].id), (EVENTS_MAX, 11));
        let large = Event { sentence: "x".repeat(EVENTS_BYTES_MAX / 2), ..event };
        (0..3).for_each(|_| events.push(&large, Vec::new()));
        assert_eq!(events.all().len(), 1);
    }

    #[test]
    fn what_was_written_goes_on_where_it_ended() {
        let (events, told) = told();
        let past = vec![PastEvent { id: 41, kind: "started".into(), ..PastEvent::default() }];
        events.restore(past, 42, Path::new("/state"));
        events.push(&told[0], Vec::new());
        assert_eq!(events.all().iter().map(|event| event.id).collect::<Vec<_>>(), [41, 43]);
        assert_eq!(events.folder().as_deref(), Some(Path::new("/state")));
    }
}
