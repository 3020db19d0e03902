//! Keeps what the judges have seen, once a second and on a thread of its own: a disk that hangs delays no decision.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::{Rollouts, is_watched};
use crate::control::journal::judge_file::{self, Kept};
use crate::control::journal::traffic_file::{self, Known};

/// What is to be written.
enum Note {
    Judges(Vec<Kept>),
    Traffic(Known),
}

/// The way to the thread that writes.
#[derive(Default)]
pub(super) struct Checkpoint {
    /// `None` without a `stateDir`.
    to: Option<SyncSender<Note>>,
    /// Of the process before this one, until its judges go on here.
    pub(super) found: Vec<Kept>,
    last: Vec<Kept>,
}

impl Checkpoint {
    /// Reads what is kept in a folder, and keeps more there from now on.
    pub(super) fn begin(folder: &Path) -> Checkpoint {
        let found = judge_file::read(folder).unwrap_or_else(|error| {
            tracing::warn!(%error, "what the judges had seen was not kept: evidence of steps begins anew");
            Vec::new()
        });
        // one waits while one is written; more are not needed, as the latest holds all
        let (to, from) = sync_channel(1);
        let folder = folder.to_owned();
        let spawned = std::thread::Builder::new().name("judge".into()).spawn(move || keep(&from, &folder));
        if let Err(error) = &spawned {
            tracing::warn!(%error, "what the judges see is not kept");
        }
        Checkpoint { to: spawned.is_ok().then_some(to), found, last: Vec::new() }
    }

    fn send(&mut self, kept: Vec<Kept>) {
        let Some(to) = &self.to else { return };
        // the clock alone is not worth a write
        let seen = |kept: &Kept| (kept.serial, kept.words.get(1..).map(<[u64]>::to_vec));
        if kept.len() == self.last.len() && kept.iter().map(seen).eq(self.last.iter().map(seen)) {
            return;
        }
        match to.try_send(Note::Judges(kept.clone())) {
            Ok(()) => self.last = kept,
            // the disk is slow: the next second is tried again
            Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => self.to = None,
        }
    }

    /// Keeps what is known of the traffic. What finds no room is kept the next time.
    pub(super) fn note(&self, known: Known) {
        if let Some(to) = &self.to {
            let _ = to.try_send(Note::Traffic(known));
        }
    }
}

fn keep(from: &Receiver<Note>, folder: &Path) {
    let mut could = true;
    for note in from {
        let written = match note {
            Note::Judges(kept) => judge_file::write(folder, &kept),
            Note::Traffic(known) => traffic_file::write(folder, &known),
        };
        match &written {
            Err(error) if could => tracing::warn!(%error, "what the judges see is not kept: a restart would forget it"),
            Ok(()) if !could => tracing::info!("what the judges see is kept again"),
            Ok(()) | Err(_) => {}
        }
        could = written.is_ok();
    }
}

impl Rollouts {
    /// Keeps what the judges have seen.
    pub(super) fn keep_evidence(&mut self) {
        if self.checkpoint.to.is_none() || self.awaited.is_some() {
            return;
        }
        let is_looked_at = |(service, cohort): &(String, String)| {
            self.states.get(service).is_some_and(|state| is_watched(state, cohort))
        };
        let watched = self.watching.iter().filter(|(key, _)| is_looked_at(key));
        let now = self.began.elapsed();
        let kept = watched.map(|((service, cohort), watching)| watching.save(service, cohort, now)).collect();
        self.checkpoint.send(kept);
    }
}
