//! What is left over of releases that are over, so that it does not pile up.

use std::time::Duration;

use super::plan::Plan;
use super::sentence;
use super::state::{Phase, State};

/// How long something may be left over when no rollout says it.
pub const EXPIRE_AFTER_DEFAULT: Duration = Duration::from_secs(14 * 86_400);

/// Something that can most likely be removed from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A rollout that ended long ago.
    Rollout {
        /// Its id.
        id: String,
        /// How it ended.
        phase: Phase,
        /// How long ago.
        age: Duration,
    },
    /// A variant that has had no share in any cohort for long.
    Variant {
        /// Its name.
        name: String,
        /// For how long.
        age: Duration,
    },
    /// An override that nobody has used for long.
    Override {
        /// For how long.
        age: Duration,
    },
}

/// What is left over of a service. `override_used_ms` is when its override was last believed, or when the process
/// began to look; `None` when it has none.
pub fn leftovers(plan: &Plan, state: &State, now_ms: u64, override_used_ms: Option<u64>) -> Vec<Leftover> {
    let most = plan.rollout.as_ref().map_or(EXPIRE_AFTER_DEFAULT, |rollout| rollout.expire_after);
    let age_of = |since: u64| Duration::from_millis(now_ms.saturating_sub(since));
    let mut found = Vec::new();
    if let Some(position) = &state.rollout
        && let Some(ended) = position.ended_ms
        && age_of(ended) >= most
    {
        found.push(Leftover::Rollout { id: position.id.clone(), phase: state.phase, age: age_of(ended) });
    }
    let is_awaited = |name: &str| {
        let rollout = plan.rollout.as_ref();
        rollout.is_some_and(|rollout| rollout.to == name) && state.phase.is_running()
    };
    for (name, since) in state.without_share.iter().filter(|(name, _)| !is_awaited(name)) {
        if age_of(*since) >= most {
            found.push(Leftover::Variant { name: name.clone(), age: age_of(*since) });
        }
    }
    if let Some(used) = override_used_ms.filter(|used| age_of(*used) >= most) {
        found.push(Leftover::Override { age: age_of(used) });
    }
    found
}

/// The kinds of leftovers, in metrics.
pub const KINDS: [&str; 3] = ["rollout", "variant", "override"];

impl Leftover {
    /// Its kind, one of [`KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Leftover::Rollout { .. } => KINDS[0],
            Leftover::Variant { .. } => KINDS[1],
            Leftover::Override { .. } => KINDS[2],
        }
    }

    /// What is left over of which service, and what to do.
    pub fn sentence(&self, service: &str) -> String {
        match self {
            Leftover::Rollout { id, phase, age } => format!(
                "the rollout {id} of {service} has been {phase} for {}; write its weights into the file and remove it",
                sentence::span(*age)
            ),
            Leftover::Variant { name, age } => format!(
                "the variant {name} of {service} has had no share for {}; remove it from the file",
                sentence::span(*age)
            ),
            Leftover::Override { age } => format!(
                "nobody has used the override of {service} for {}; remove it from the file",
                sentence::span(*age)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::stage::Stage;

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn what_is_over_is_named_after_a_fortnight() {
        let mut stage = Stage::new();
        stage.rollback(None);
        let ended = stage.unix_ms();
        let found = |days: u64| leftovers(&stage.plan, &stage.state, ended + days * DAY_MS, None);
        assert_eq!(found(13), []);
        let found: Vec<String> = found(15).iter().map(|one| one.sentence("shop")).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("the rollout v42 of shop has been rolled-back for 15d"), "{found:?}");
        assert!(found[1].starts_with("the variant canary of shop has had no share for 15d"), "{found:?}");
        let unused = leftovers(&stage.plan, &stage.state, ended + 20 * DAY_MS, Some(ended));
        assert!(unused.contains(&Leftover::Override { age: Duration::from_millis(20 * DAY_MS) }));
    }

    #[test]
    fn a_variant_that_a_running_rollout_will_need_is_no_leftover() {
        let mut stage = Stage::new();
        stage.ask(crate::rollout::command::Command::Pause);
        let later = stage.unix_ms() + 100 * DAY_MS;
        stage.state.without_share.insert("canary".to_owned(), stage.unix_ms());
        assert_eq!(leftovers(&stage.plan, &stage.state, later, None), []);
    }
}
