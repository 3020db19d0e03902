//! Who is told about rollouts, beside the decisions and never in their way.
//!
//! ```text
//! effect Notify ─▶ a line for each notifier (bounded, the oldest goes first) ─▶ its task ─▶ outside
//! ```
//!
//! A line survives reloads; its task ends when the notifier has left the file and the line is empty. What was not
//! delivered when the process ends is not told by the next one: it stands in the audit log.

mod alertmanager;
mod delivery;
mod line;
mod note;
mod pagerduty;
mod recipient;
mod slack;
mod webhook;

#[cfg(test)]
mod tests;

pub(super) use delivery::{Patience, pause};
pub(crate) use delivery::{Verdict, verdict};
pub(crate) use note::Note;
pub(crate) use recipient::Recipient;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outside::Outside;
use crate::config::files::References;
use crate::config::schema::File;
use crate::rollout::effect::Event;
use crate::telemetry::metrics::NotifierFact;
use line::{Counts, Line};

/// All notifiers of the file.
#[derive(Default)]
pub(super) struct Notifiers {
    lines: BTreeMap<String, Arc<Line>>,
    /// By service: the names that its rollout chooses; `None` are all. Kept for the news that a rollout was removed.
    chosen: BTreeMap<String, Option<Vec<String>>>,
}

impl Notifiers {
    /// Other files are in force: notifiers come, go, and have other addresses. Must be called within a runtime when
    /// the file has notifiers.
    pub(super) fn follow(&mut self, file: &File, references: &References) {
        self.chosen.retain(|service, _| file.services.contains_key(service));
        for (name, service) in &file.services {
            if let Some(rollout) = &service.rollout {
                self.chosen.insert(name.clone(), rollout.notify.clone());
            }
        }
        let outside = Outside::new(file, references);
        let mut lines = BTreeMap::new();
        for notifier in &file.notifiers {
            let Some(recipient) = Recipient::of(notifier, references) else {
                tracing::error!(notifier = notifier.name, "a notifier has no address: it is told nothing");
                continue;
            };
            let line = match self.lines.remove(&notifier.name) {
                Some(known) => {
                    known.lead_to(recipient, outside.clone());
                    known
                }
                None => Line::open(recipient, outside.clone()),
            };
            lines.insert(notifier.name.clone(), line);
        }
        for gone in std::mem::replace(&mut self.lines, lines).into_values() {
            gone.close();
        }
    }

    /// Tells an event to those whom its rollout chooses. Returns at once, whatever becomes of them.
    pub(super) fn tell(&self, event: &Event) {
        let chosen = self.chosen.get(&event.service).and_then(Option::as_ref);
        let is_chosen = |name: &String| chosen.is_none_or(|chosen| chosen.contains(name));
        for (_, line) in self.lines.iter().filter(|(name, _)| is_chosen(name)) {
            line.push(Note::of(event));
        }
    }

    /// What metrics tell of notifiers.
    pub(super) fn facts(&self) -> Vec<NotifierFact> {
        let fact = |(name, line): (&String, &Arc<Line>)| {
            let Counts { delivered, failed, dropped } = line.counts();
            let results = vec![("delivered", delivered), ("failed", failed), ("dropped", dropped)];
            NotifierFact { notifier: name.clone(), results }
        };
        self.lines.iter().map(fact).collect()
    }
}

impl Drop for Notifiers {
    /// What waits is still delivered, as long as the process lives.
    fn drop(&mut self) {
        self.lines.values().for_each(|line| line.close());
    }
}
