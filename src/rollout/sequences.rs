//! All sequences of commands and events up to a bounded length, enumerated and not sampled.

#![cfg(test)]

use std::time::Duration;

use super::command::{Answer, Command};
use super::effect::Effect;
use super::engine::step;
use super::input::{Happened, Verdict};
use super::stage::{Stage, plan};
use super::state::{Phase, State};
use crate::model::Weight;

/// How many inputs follow each other, from each beginning: 14 to the power of this many sequences.
const DEPTH: usize = 3;

/// What can come next.
#[derive(Clone, Debug)]
enum Next {
    Ask(Command),
    Seconds(u64),
    Judge(Verdict),
    NewId,
    Edit,
}

fn all() -> Vec<Next> {
    let set = |share| Command::SetWeight {
        cohort: "beta".to_owned(),
        variant: "canary".to_owned(),
        share: Weight::whole(share),
        lasts: Some(Duration::from_secs(30)),
    };
    vec![
        Next::Ask(Command::Promote),
        Next::Ask(Command::PromoteFull),
        Next::Ask(Command::Pause),
        Next::Ask(Command::Resume),
        Next::Ask(Command::Rollback { cohort: None, is_gradual: false }),
        Next::Ask(Command::Rollback { cohort: Some("staff".to_owned()), is_gradual: true }),
        Next::Ask(Command::Retry),
        Next::Ask(Command::Approve),
        Next::Ask(Command::Skip),
        Next::Ask(set(20)),
        Next::Seconds(61),
        Next::Judge(Verdict::Harm),
        Next::NewId,
        Next::Edit,
    ]
}

#[test]
fn every_short_sequence_keeps_the_promises() {
    for phase in [Phase::Progressing, Phase::AwaitingApproval, Phase::Promoted] {
        let mut seen = 0;
        let mut begin = || {
            let mut stage = Stage::new();
            stage.until(phase);
            stage
        };
        explore(&mut vec![], &mut begin, &mut seen);
        assert_eq!(seen, (1..=DEPTH).map(|depth| all().len().pow(depth as u32)).sum::<usize>());
    }
}

/// Plays each sequence on from the stage that `play` gives.
fn explore(sequence: &mut Vec<Next>, play: &mut dyn FnMut() -> Stage, seen: &mut usize) {
    if sequence.len() == DEPTH {
        return;
    }
    for next in all() {
        let mut stage = play();
        let before = stage.state.clone();
        take(&mut stage, &next);
        sequence.push(next.clone());
        check(&before, &mut stage, &next, sequence);
        *seen += 1;
        let (plan, state, readings) = (stage.plan.clone(), stage.state.clone(), stage.readings.clone());
        let now = stage.now;
        let mut again = || {
            let mut stage = Stage::before(plan.clone());
            (stage.state, stage.readings, stage.now) = (state.clone(), readings.clone(), now);
            stage
        };
        explore(sequence, &mut again, seen);
        sequence.pop();
    }
}

fn take(stage: &mut Stage, next: &Next) {
    match next {
        Next::Ask(command) => drop(stage.ask(command.clone())),
        Next::Seconds(seconds) => {
            for cohort in ["staff", "beta", "everyone"] {
                stage.see(cohort, 500);
            }
            // as many as the engine counts at once
            (0..seconds.div_ceil(5)).for_each(|_| stage.leap(5_000, 5_000));
        }
        Next::Judge(verdict) => {
            stage.judge("staff", *verdict);
            stage.pass(1);
        }
        Next::NewId => {
            let mut new = plan();
            new.rollout.as_mut().unwrap().id = "v43".to_owned();
            stage.plan.rollout = new.rollout;
            stage.pass(1);
        }
        Next::Edit => {
            stage.plan.file[1].1 = super::split::Split::between("canary", Weight::whole(7), "stable");
            stage.pass(1);
        }
    }
}

fn check(before: &State, stage: &mut Stage, next: &Next, sequence: &[Next]) {
    let state = stage.state.clone();
    let share = |state: &State, cohort: &str| state.in_force[cohort].of("canary");
    if let Next::Ask(command) = next {
        let is_refused = stage.effects.iter().any(|effect| matches!(effect, Effect::Answer(Answer::Refused(..))));
        if is_refused {
            // what would have been due anyway is still done
            let (ticked, _) = step(&stage.plan, before.clone(), &stage.input(Happened::Tick));
            assert_eq!(state, ticked, "a refusal changes nothing: {sequence:?}");
        }
        let is_safe = matches!(command, Command::Rollback { .. } | Command::Pause);
        for cohort in state.in_force.keys().filter(|_| is_safe) {
            assert!(share(&state, cohort) <= share(before, cohort), "{command:?} raised {cohort}: {sequence:?}");
        }
        if let Command::Rollback { cohort: None, .. } = command {
            assert!(!is_refused, "{sequence:?}");
            assert!(state.in_force.keys().all(|cohort| share(&state, cohort).is_zero()), "{sequence:?}");
        }
        check_idempotence(stage, command, is_refused, sequence);
    }
    if state.phase == Phase::RolledBack && !matches!(next, Next::Ask(Command::Retry | Command::Resume) | Next::NewId) {
        let back = &state.rollout.as_ref().unwrap().taken_back;
        assert!(back.keys().all(|cohort| share(&state, cohort) <= share(before, cohort)), "{sequence:?}");
    }
}

/// Asking twice for what is a state, and not a step, is asking once.
fn check_idempotence(stage: &Stage, command: &Command, is_refused: bool, sequence: &[Next]) {
    let is_step = matches!(command, Command::Promote | Command::Skip | Command::Retry);
    if is_step || is_refused {
        return;
    }
    let actor = super::command::Actor { name: "alice".to_owned(), groups: vec!["release-managers".to_owned()] };
    let input = stage.input(Happened::Asked { actor, reason: String::new(), command: command.clone() });
    let (again, effects) = step(&stage.plan, stage.state.clone(), &input);
    assert_eq!(again.in_force, stage.state.in_force, "{sequence:?}");
    assert_eq!(again.phase, stage.state.phase, "{sequence:?}");
    assert!(!effects.contains(&Effect::Persist), "{sequence:?}: {effects:?}");
}
