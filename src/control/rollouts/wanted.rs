//! What the engine wants of all services in one turn, sorted by when it is done.

use crate::rollout::command::Answer;
use crate::rollout::effect::{Effect, Event, Source};
use crate::rollout::split::Split;
use crate::routing::{Ruled, WeightSource};

/// Other weights for a cohort; `None` are those of the file.
pub(super) struct Change {
    pub(super) service: String,
    pub(super) cohort: String,
    pub(super) ruled: Option<Ruled>,
}

/// What all services want in one turn.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) falls: Vec<Change>,
    pub(super) persist: bool,
    pub(super) rises: Vec<Change>,
    pub(super) starts: Vec<(String, Effect)>,
    pub(super) events: Vec<Event>,
    /// For notifiers.
    pub(super) told: Vec<Event>,
    pub(super) answer: Option<Answer>,
}

impl Wanted {
    /// Sorts the effects of a service.
    pub(super) fn add(&mut self, service: &str, effects: Vec<Effect>) {
        let must_persist = effects.contains(&Effect::Persist);
        let mut has_persisted = false;
        for effect in effects {
            match effect {
                Effect::SetWeights { cohort, split, source } => {
                    let change = Change { service: service.to_owned(), cohort, ruled: ruled(&split, source) };
                    if !must_persist || !has_persisted {
                        self.falls.push(change);
                    } else {
                        self.rises.push(change);
                    }
                }
                Effect::Persist => has_persisted = true,
                Effect::StartStep { .. } => self.starts.push((service.to_owned(), effect)),
                Effect::Record(event) => self.events.push(event),
                Effect::Notify(event) => self.told.push(event),
                Effect::Answer(answer) => self.answer = Some(answer),
            }
        }
        self.persist |= has_persisted;
    }
}

fn ruled(split: &Split, source: Source) -> Option<Ruled> {
    let source = match source {
        Source::File => return None,
        Source::Step { number, of } => WeightSource::Step { number, of },
        Source::Rollback => WeightSource::Rollback,
        Source::Person { actor, .. } => WeightSource::Person { actor },
    };
    let weights = split.shares().map(|(variant, weight)| (variant.to_owned(), weight)).collect();
    Some(Ruled { weights, source })
}
