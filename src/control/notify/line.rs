//! The notes that wait for one notifier, and the task that delivers them in their order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

use super::delivery::{Patience, Verdict, pause, verdict};
use super::note::Note;
use super::recipient::Recipient;
use crate::control::outside::Outside;

/// Notes that may wait for one notifier; beyond, the oldest goes.
pub(super) const WAITING_MAX: usize = 256;

/// Notes on their way to one notifier.
pub(super) struct Line {
    state: Mutex<State>,
    woken: Notify,
    patience: Patience,
}

struct State {
    recipient: Recipient,
    outside: Outside,
    waiting: VecDeque<Waiting>,
    counts: Counts,
    is_closed: bool,
}

struct Waiting {
    note: Note,
    since: Instant,
}

/// What became of notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    /// Refused, or given up.
    pub(super) failed: u64,
    /// Gave way to newer ones.
    pub(super) dropped: u64,
}

impl Line {
    /// A line with a task that delivers what comes.
    pub(super) fn open(recipient: Recipient, outside: Outside) -> Arc<Line> {
        Line::open_with(recipient, outside, Patience::default())
    }

    pub(super) fn open_with(recipient: Recipient, outside: Outside, patience: Patience) -> Arc<Line> {
        let (waiting, counts) = (VecDeque::new(), Counts::default());
        let state = Mutex::new(State { recipient, outside, waiting, counts, is_closed: false });
        let line = Arc::new(Line { state, woken: Notify::new(), patience });
        tokio::spawn(deliver_all(Arc::clone(&line)));
        line
    }

    /// Notes go there from now on, those that wait too.
    pub(super) fn lead_to(&self, recipient: Recipient, outside: Outside) {
        self.with(|state| (state.recipient, state.outside) = (recipient, outside));
    }

    /// Adds a note. Never waits.
    pub(super) fn push(&self, note: Note) {
        self.with(|state| {
            if !state.recipient.wants(&note) {
                return;
            }
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.pop_front();
                state.counts.dropped += 1;
            }
            state.waiting.push_back(Waiting { note, since: Instant::now() });
        });
        self.woken.notify_one();
    }

    /// Nothing comes any more: the task ends when it has delivered what waits.
    pub(super) fn close(&self) {
        self.with(|state| state.is_closed = true);
        self.woken.notify_one();
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|state| state.counts)
    }

    /// The next note; `None` when there will be none.
    async fn next(&self) -> Option<Waiting> {
        loop {
            let (next, is_closed) = self.with(|state| (state.waiting.pop_front(), state.is_closed));
            if next.is_some() || is_closed {
                return next;
            }
            self.woken.notified().await;
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn deliver_all(line: Arc<Line>) {
    while let Some(waiting) = line.next().await {
        let is_delivered = deliver(&line, &waiting).await;
        line.with(|state| match is_delivered {
            Some(true) => state.counts.delivered += 1,
            Some(false) => state.counts.failed += 1,
            None => {}
        });
    }
}

/// Tries until it goes well, or there is no sense in it; says whether it was delivered. `None`: the notifier has become
/// one that is not told such things.
async fn deliver(line: &Line, waiting: &Waiting) -> Option<bool> {
    let mut attempts = 0;
    loop {
        let (recipient, outside) = line.with(|state| (state.recipient.clone(), state.outside.clone()));
        let ask = recipient.ask(&waiting.note, unix_ms())?;
        let (notifier, event) = (recipient.name.as_str(), waiting.note.kind);
        attempts += 1;
        let wait = match verdict(&outside.ask(ask).await) {
            Verdict::Delivered => {
                tracing::debug!(notifier, event, attempts, "told");
                return Some(true);
            }
            Verdict::Refused { why } => {
                tracing::error!(notifier, event, why, "not told; `ringway notify test` tries the notifier");
                return Some(false);
            }
            Verdict::Again { why, .. } if waiting.since.elapsed() >= line.patience.give_up_after => {
                tracing::error!(notifier, event, attempts, why, "not told, and given up; it stands in the audit log");
                return Some(false);
            }
            Verdict::Again { why, not_before } => {
                if attempts == 1 {
                    tracing::warn!(notifier, event, why, "not told yet; it is tried again");
                }
                pause(&line.patience, attempts, fastrand::f64()).max(not_before)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
