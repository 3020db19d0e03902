//! The folder that outlives the process: taken, awaited from the process before, written, and handed on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use super::checkpoint::Checkpoint;
use super::{Rollouts, unix_ms};
use crate::config::schema::File;
use crate::control::events::EVENTS_MAX;
use crate::control::journal::audit::NOBODY;
use crate::control::journal::past::last_events;
use crate::control::journal::store::{Found, Store, StoreError};
use crate::control::journal::traffic_file;
use crate::control::plans::plans;
use crate::control::reload;
use crate::rollout::command::{Actor, Answer, Command};
use crate::rollout::input::Happened;
use crate::rollout::state::{Phase, State};

impl Rollouts {
    /// Takes the `stateDir` of a file, and reads where rollouts were. When another process hands over, that comes later:
    /// it holds the folder until it has.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written. A state that is damaged is told, and no error.
    pub fn open(file: &File, is_handed_over: bool) -> Result<Rollouts, StoreError> {
        let mut rollouts = Rollouts { plans: plans(file), ..Rollouts::default() };
        let has_rollout = rollouts.plans.values().any(|plan| plan.rollout.is_some());
        match &file.state_dir {
            None if has_rollout => {
                tracing::warn!("there is no stateDir: rollouts begin anew, and rollbacks are forgotten, at each start");
            }
            None => {}
            Some(folder) if is_handed_over => rollouts.awaited = Some(folder.clone()),
            Some(folder) => rollouts.take_folder(folder)?,
        }
        Ok(rollouts)
    }

    fn take_folder(&mut self, folder: &Path) -> Result<(), StoreError> {
        let opened = Store::open(folder, SystemTime::now())?;
        opened.problems.iter().for_each(|problem| tracing::error!(problem, "state of rollouts"));
        let is_good = matches!(opened.found, Found::Good(_));
        self.adopt(opened.found);
        self.past_events = last_events(folder, EVENTS_MAX);
        self.store = Some(opened.store);
        if is_good {
            // as it was read: tells whether it can be written
            self.write();
        }
        self.checkpoint = Checkpoint::begin(folder);
        self.notes.known = traffic_file::read(folder);
        Ok(())
    }

    /// What was written is what is known, but for what this process took back meanwhile.
    pub(super) fn adopt(&mut self, found: Found) {
        let states: BTreeMap<String, State> = match found {
            Found::Nothing => return,
            Found::Good(document) => document.services,
            Found::Older(document) => {
                let why = "the latest state was damaged; look where the rollout is, then type `resume`";
                document.services.into_iter().map(|(name, state)| (name, state.stopped(why))).collect()
            }
            Found::Lost => {
                let why = "the state was damaged or is missing; type `retry` to begin again";
                self.plans.iter().map(|(name, plan)| (name.clone(), State::lost(plan, why))).collect()
            }
        };
        for (name, state) in states {
            let own = self.states.get(&name).map(|own| own.phase);
            let was_back = self.adopted.insert(name.clone(), state.phase) == Some(Phase::RolledBack);
            if own != Some(Phase::RolledBack) || was_back {
                self.states.insert(name, state);
            }
        }
    }

    /// The process before this one has ended, or still holds the folder: until it goes, nothing rises here.
    pub(super) fn await_folder(&mut self, hands: &mut reload::State) {
        let Some(folder) = self.awaited.clone() else { return };
        match self.take_folder(&folder) {
            Ok(()) => {
                self.awaited = None;
                self.can_persist = true;
                let unwritten = std::mem::take(&mut self.unwritten);
                self.restore_past(hands);
                unwritten.iter().for_each(|event| hands.common.events.push(event, Vec::new()));
                self.append(unwritten);
                self.turn(hands, None, &Happened::Started);
            }
            Err(StoreError::Locked(_)) => {}
            Err(error) => tracing::error!(%error, "the state of rollouts was not handed over: nothing rises"),
        }
    }

    /// Events go on where those of the audit log ended.
    pub(super) fn restore_past(&mut self, hands: &reload::State) {
        let past = std::mem::take(&mut self.past_events);
        match &self.store {
            Some(store) => hands.common.events.restore(past, store.head().seq, store.folder()),
            None => hands.common.events.begin(unix_ms()),
        }
    }

    /// The process begins on a disk that cannot be written. So could the process before, perhaps: it may have taken back what
    /// the disk still says runs, and told who asked that it is done. Nobody knows, so it is taken back.
    pub(super) fn take_back_what_may_be_old(&mut self, hands: &mut reload::State) {
        if self.store.is_none() || self.can_persist {
            return;
        }
        let running = self.states.iter().filter(|(_, state)| state.phase.is_running()).map(|(name, _)| name.clone());
        for service in running.collect::<Vec<String>>() {
            let actor = Actor { name: NOBODY.to_owned(), groups: Vec::new() };
            let reason = "the state cannot be written, and the process before may have taken it back".to_owned();
            let command = Command::Rollback { cohort: None, is_gradual: false };
            self.turn(hands, Some(&service), &Happened::Asked { actor, reason, command });
        }
    }

    /// Whether what is decided is on the disk; `None` where there is no folder for it.
    pub(in crate::control) fn is_durable(&self) -> Option<bool> {
        self.store.is_some().then_some(self.can_persist)
    }

    /// The answer to who asked, who must know that a restart may undo what is done.
    pub(super) fn with_durability(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Done(text) if self.is_durable() == Some(false) => Answer::Done(format!(
                "{text}; not written yet, because the state cannot be written: what falls is in force, what rises waits. Look at \
                 the disk before anybody restarts this process"
            )),
            answer => answer,
        }
    }

    /// Another process goes on with them: the folder is free when this returns, and nothing moves here any more.
    pub(in crate::control) fn hand_over(&mut self, hands: &mut reload::State) {
        self.watching.values().for_each(|watching| watching.end(&hands.common.registry));
        *self = Rollouts { is_over: true, ..Rollouts::default() };
    }

    /// Writes the state of all services. What cannot be written is told once, and tried again each second.
    pub(super) fn write(&mut self) {
        let Some(store) = &mut self.store else { return };
        let written = store.save(unix_ms(), &self.states);
        match &written {
            Ok(()) if !self.can_persist => tracing::info!("the state of rollouts is written again"),
            Err(error) if self.can_persist => {
                tracing::error!(%error, "the state of rollouts cannot be written: nothing rises until it can");
            }
            Ok(()) | Err(_) => {}
        }
        self.can_persist = written.is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::journal::audit::Head;
    use crate::control::journal::state_file::Document;

    fn written(phase: Phase) -> Found {
        let services = BTreeMap::from([("shop".to_owned(), State { phase, ..State::default() })]);
        Found::Good(Document { saved_ms: 0, audit: Head::default(), services })
    }

    #[test]
    fn what_was_taken_back_here_stays_back_and_what_was_begun_again_there_goes_on() {
        use Phase::{Progressing, RolledBack};
        for (before, here, there, expected) in [
            (Progressing, Progressing, Progressing, Progressing),
            (Progressing, RolledBack, Progressing, RolledBack),
            (RolledBack, RolledBack, Progressing, Progressing),
            (RolledBack, RolledBack, RolledBack, RolledBack),
            (Progressing, Progressing, RolledBack, RolledBack),
        ] {
            let mut rollouts = Rollouts::default();
            rollouts.adopt(written(before));
            rollouts.states.get_mut("shop").unwrap().phase = here;
            rollouts.adopt(written(there));
            assert_eq!(rollouts.states["shop"].phase, expected, "{before:?} {here:?} {there:?}");
        }
    }
}
