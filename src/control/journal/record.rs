//! The shapes of the state file. They are a contract with the next version, so they stand apart from the engine's own.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Weight;
use crate::rollout::split::Split;
use crate::rollout::state::{
    ENDED_MAX, Ended, Given, PauseCause, Phase, Pin, Position, Session, State, TakenBack, Told,
};

/// Shares by variant, as texts, so that no digit is lost.
type Shares = BTreeMap<String, String>;

/// A service's state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Service {
    phase: String,
    why: String,
    rollout: Option<Rollout>,
    pins: BTreeMap<String, Pinned>,
    file: BTreeMap<String, Shares>,
    in_force: BTreeMap<String, Shares>,
    ended: Vec<Over>,
    without_share: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rollout {
    id: String,
    to: String,
    from: String,
    step: usize,
    begun: Option<String>,
    approved: bool,
    done: Vec<String>,
    given: BTreeMap<String, Share>,
    before: Option<Share>,
    taken_back: BTreeMap<String, Back>,
    pause: Option<String>,
    elapsed_ms: u64,
    step_elapsed_ms: u64,
    serials: BTreeMap<String, u64>,
    serial: u64,
    told: Said,
    ended_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Share {
    share: String,
    number: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Back {
    share: String,
    way: Vec<String>,
    elapsed_ms: u64,
    why: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pinned {
    shares: Shares,
    actor: String,
    reason: String,
    left_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    too_long: bool,
    no_evidence: bool,
    starved: bool,
    harm: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Over {
    id: String,
    phase: String,
    taken_back: Vec<String>,
    unix_ms: u64,
}

/// What of a record cannot be; says which.
type Result<T> = std::result::Result<T, String>;

impl Service {
    pub(super) fn of(state: &State) -> Service {
        Service {
            phase: state.phase.as_str().to_owned(),
            why: state.why.clone(),
            rollout: state.rollout.as_ref().map(Rollout::of),
            pins: state.pins.iter().map(|(cohort, pin)| (cohort.clone(), Pinned::of(pin))).collect(),
            file: state.file.iter().map(|(cohort, split)| (cohort.clone(), shares(split))).collect(),
            in_force: state.in_force.iter().map(|(cohort, split)| (cohort.clone(), shares(split))).collect(),
            ended: state.ended.iter().map(Over::of).collect(),
            without_share: state.without_share.clone(),
        }
    }

    pub(super) fn read(self) -> Result<State> {
        if self.ended.len() > ENDED_MAX {
            return Err(format!("more than {ENDED_MAX} rollouts that are over"));
        }
        let phase = phase(&self.phase)?;
        let rollout = self.rollout.map(Rollout::read).transpose()?;
        if rollout.is_none() != (phase == Phase::Idle) {
            return Err(format!("the phase is {phase}, which does not fit the rollout"));
        }
        Ok(State {
            phase,
            why: self.why,
            rollout,
            pins: each(self.pins, Pinned::read)?,
            file: each(self.file, split)?,
            in_force: each(self.in_force, split)?,
            ended: self.ended.into_iter().map(Over::read).collect::<Result<_>>()?,
            without_share: self.without_share,
            session: Session::default(),
        })
    }
}

impl Rollout {
    fn of(position: &Position) -> Rollout {
        Rollout {
            id: position.id.clone(),
            to: position.to.clone(),
            from: position.from.clone(),
            step: position.step,
            begun: position.begun.clone(),
            approved: position.is_approved,
            done: position.done.clone(),
            given: position.given.iter().map(|(cohort, given)| (cohort.clone(), Share::of(given))).collect(),
            before: position.before.as_ref().map(Share::of),
            taken_back: position.taken_back.iter().map(|(cohort, back)| (cohort.clone(), Back::of(back))).collect(),
            pause: position.pause.map(|cause| cause.as_str().to_owned()),
            elapsed_ms: millis(position.elapsed),
            step_elapsed_ms: millis(position.step_elapsed),
            serials: position.serials.clone(),
            serial: position.serial,
            told: Said {
                too_long: position.told.too_long,
                no_evidence: position.told.no_evidence,
                starved: position.told.starved,
                harm: position.told.harm,
            },
            ended_ms: position.ended_ms,
        }
    }

    fn read(self) -> Result<Position> {
        if self.step != self.done.len() {
            return Err(format!("step {} after {} that are done", self.step, self.done.len()));
        }
        if self.serials.values().any(|serial| *serial > self.serial) {
            return Err("a serial beyond the latest".to_owned());
        }
        let cause = |word: String| {
            let found = PauseCause::ALL.into_iter().find(|cause| cause.as_str() == word);
            found.ok_or_else(|| format!("the cause of a pause `{word}`"))
        };
        Ok(Position {
            id: self.id,
            to: self.to,
            from: self.from,
            step: self.step,
            begun: self.begun,
            is_approved: self.approved,
            done: self.done,
            given: each(self.given, Share::read)?,
            before: self.before.map(Share::read).transpose()?,
            taken_back: each(self.taken_back, Back::read)?,
            pause: self.pause.map(cause).transpose()?,
            elapsed: Duration::from_millis(self.elapsed_ms),
            step_elapsed: Duration::from_millis(self.step_elapsed_ms),
            serials: self.serials,
            serial: self.serial,
            told: Told {
                too_long: self.told.too_long,
                no_evidence: self.told.no_evidence,
                starved: self.told.starved,
                harm: self.told.harm,
            },
            ended_ms: self.ended_ms,
        })
    }
}

impl Share {
    fn of(given: &Given) -> Share {
        Share { share: given.share.to_string(), number: given.number }
    }

    fn read(self) -> Result<Given> {
        Ok(Given { share: share(&self.share)?, number: self.number })
    }
}

impl Back {
    fn of(back: &TakenBack) -> Back {
        Back {
            share: back.share.to_string(),
            way: back.way.iter().map(Weight::to_string).collect(),
            elapsed_ms: millis(back.elapsed),
            why: back.why.clone(),
        }
    }

    fn read(self) -> Result<TakenBack> {
        let way = self.way.iter().map(|text| share(text)).collect::<Result<Vec<_>>>()?;
        Ok(TakenBack {
            share: share(&self.share)?,
            way,
            elapsed: Duration::from_millis(self.elapsed_ms),
            why: self.why,
        })
    }
}

impl Pinned {
    fn of(pin: &Pin) -> Pinned {
        Pinned {
            shares: shares(&pin.split),
            actor: pin.actor.clone(),
            reason: pin.reason.clone(),
            left_ms: pin.left.map(millis),
        }
    }

    fn read(self) -> Result<Pin> {
        let left = self.left_ms.map(Duration::from_millis);
        Ok(Pin { split: split(self.shares)?, actor: self.actor, reason: self.reason, left })
    }
}

impl Over {
    fn of(ended: &Ended) -> Over {
        Over {
            id: ended.id.clone(),
            phase: ended.phase.as_str().to_owned(),
            taken_back: ended.taken_back.clone(),
            unix_ms: ended.unix_ms,
        }
    }

    fn read(self) -> Result<Ended> {
        Ok(Ended { id: self.id, phase: phase(&self.phase)?, taken_back: self.taken_back, unix_ms: self.unix_ms })
    }
}

fn shares(split: &Split) -> Shares {
    split.shares().map(|(variant, share)| (variant.to_owned(), share.to_string())).collect()
}

fn split(shares: Shares) -> Result<Split> {
    let parsed = shares.into_iter().map(|(variant, text)| Ok((variant, share(&text)?)));
    let parsed: Vec<(String, Weight)> = parsed.collect::<Result<_>>()?;
    Split::from_shares(parsed).ok_or_else(|| "shares that do not sum to 100".to_owned())
}

fn share(text: &str) -> Result<Weight> {
    let share: Weight = text.parse().map_err(|_| format!("the share `{text}`"))?;
    if share > Weight::HUNDRED { Err(format!("the share `{text}`")) } else { Ok(share) }
}

fn phase(word: &str) -> Result<Phase> {
    Phase::ALL.into_iter().find(|phase| phase.as_str() == word).ok_or_else(|| format!("the phase `{word}`"))
}

fn each<A, B>(map: BTreeMap<String, A>, read: impl Fn(A) -> Result<B>) -> Result<BTreeMap<String, B>> {
    map.into_iter().map(|(key, value)| Ok((key, read(value)?))).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
