//! Rollouts as stories: steps, harm, clocks.

#![cfg(test)]

mod people;

use crate::model::Weight;
use crate::rollout::command::{Answer, Command, Refusal};
use crate::rollout::effect::{Effect, EventKind};
use crate::rollout::input::{Happened, Verdict};
use crate::rollout::plan::{Action, NoEvidence, Scope, Shift};
use crate::rollout::split::Split;
use crate::rollout::stage::{Stage, plan};
use crate::rollout::state::{Phase, State};
use std::time::Duration;

pub(super) fn refused(answer: &Answer) -> &Refusal {
    match answer {
        Answer::Refused(_, refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// A person sets a share until further notice.
fn set(cohort: &str, variant: &str, share: u64) -> Command {
    let (cohort, variant) = (cohort.to_owned(), variant.to_owned());
    Command::SetWeight { cohort, variant, share: Weight::whole(share), lasts: None }
}

pub(super) fn is_done(answer: &Answer) -> bool {
    matches!(answer, Answer::Done(_))
}

pub(super) fn edit(stage: &mut Stage, cohort: &str, share: u64) {
    let place = stage.plan.file.iter_mut().find(|(name, _)| name == cohort).unwrap();
    place.1 = Split::between("canary", Weight::whole(share), "stable");
    stage.happens(Happened::Tick);
}

pub(super) fn shift_of(stage: &mut Stage, at: usize) -> &mut Shift {
    match &mut stage.plan.rollout.as_mut().unwrap().steps[at].action {
        Action::Shift(shift) => shift,
        Action::Approve(_) => panic!("an approval"),
    }
}

#[test]
fn a_good_version_goes_through_all_rings() {
    let mut stage = Stage::new();
    assert_eq!(
        (stage.phase(), stage.share("staff"), stage.share("beta")),
        (Phase::Progressing, "50".into(), "0".into())
    );
    stage.complete_step();
    assert_eq!((stage.share("beta"), stage.share("everyone")), ("10".into(), "0".into()));
    stage.complete_step();
    stage.complete_step();
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::AwaitingApproval, "50".into()));
    stage.open_windows.clear();
    assert!(is_done(&stage.ask(Command::Approve)));
    assert_eq!((stage.phase(), stage.share("everyone")), (Phase::AwaitingWindow, "0".into()));
    stage.open_windows.push("nights".to_owned());
    stage.pass(1);
    assert_eq!((stage.phase(), stage.share("everyone")), (Phase::Progressing, "25".into()));
    stage.until(Phase::Promoted);
    assert_eq!((stage.share("everyone"), stage.share("staff")), ("100".into(), "50".into()));
    assert_eq!(stage.said(EventKind::Promoted), "promoted shop v42: all steps are done");
}

#[test]
fn silence_is_not_evidence() {
    let mut stage = Stage::new();
    stage.see("staff", 31);
    stage.pass(59);
    assert_eq!((stage.phase(), stage.state.why.as_str()), (Phase::Progressing, "staff 50 %: 59s of 1m"));
    stage.pass(5_000);
    assert_eq!((stage.phase(), stage.state.why.as_str()), (Phase::Holding, "31 of 100 requests"));
    stage.readings.clear();
    stage.pass(1);
    assert_eq!(stage.state.why, "nothing was seen of staff yet");
    assert_eq!(stage.share("beta"), "0");
}

#[test]
fn after_the_longest_hold_the_file_decides() {
    for (no_evidence, phase, staff, beta) in [
        (NoEvidence::Hold, Phase::Holding, "50", "0"),
        (NoEvidence::Advance, Phase::Progressing, "50", "10"),
        (NoEvidence::Rollback, Phase::RolledBack, "0", "0"),
    ] {
        let mut plan = plan();
        let rollout = plan.rollout.as_mut().unwrap();
        (rollout.max_hold, rollout.no_evidence) = (Some(Duration::from_secs(100)), no_evidence);
        let mut stage = Stage::of(plan);
        stage.pass(101);
        assert_eq!((stage.phase(), stage.share("staff"), stage.share("beta")), (phase, staff.into(), beta.into()));
        assert_eq!(stage.count(EventKind::NoEvidence), 1);
    }
}

#[test]
fn growing_evidence_stops_the_ramp_and_a_dead_source_neither_promotes_nor_rolls_back() {
    let mut stage = Stage::new();
    stage.see("staff", 1_000);
    stage.judge("staff", Verdict::Frozen);
    stage.pass(100);
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::Holding, "50".into()));
    assert_eq!(stage.state.why, "staff: errors: evidence 5.2 of 20");
    assert!(matches!(refused(&stage.ask(Command::Promote)), Refusal::Frozen(_)));
    stage.judge("staff", Verdict::Unknown);
    stage.pass(100);
    assert_eq!((stage.phase(), stage.share("staff"), stage.share("beta")), (Phase::Holding, "50".into(), "0".into()));
    stage.judge("staff", Verdict::Clear);
    stage.pass(1);
    assert_eq!(stage.share("beta"), "10");
    // a ring that is behind can still stop the next one
    stage.judge("staff", Verdict::Frozen);
    stage.see("beta", 1_000);
    stage.pass(100);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Holding, "10".into()));
}

#[test]
fn only_the_hurt_ring_is_taken_back_and_it_stays_so() {
    let mut stage = Stage::new();
    stage.complete_step();
    stage.judge("beta", Verdict::Harm);
    stage.pass(1);
    assert_eq!(
        (stage.phase(), stage.share("beta"), stage.share("staff")),
        (Phase::RolledBack, "0".into(), "50".into())
    );
    assert_eq!(
        stage.said(EventKind::RolledBack),
        "rolled back shop/beta 10 % → 0 %: errors 2.3 % against stable 0.07 %, n = 4,118, evidence 31 of 20"
    );
    stage.judge("beta", Verdict::Clear);
    stage.pass(1_000);
    edit(&mut stage, "beta", 20);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::RolledBack, "0".into()));
    assert_eq!(stage.count(EventKind::EditIgnored), 1);
    assert_eq!(refused(&stage.ask(Command::Promote)), &Refusal::RolledBack);
    let raise = |share| set("beta", "canary", share);
    assert_eq!(refused(&stage.ask(raise(5))), &Refusal::RolledBack);
    // the others may go on, without it
    assert!(is_done(&stage.ask(Command::Resume)));
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::AwaitingApproval, "0".into()));
    stage.until(Phase::Promoted);
    assert_eq!((stage.share("beta"), stage.share("everyone")), ("0".into(), "100".into()));
    assert_eq!(stage.said(EventKind::Promoted), "promoted shop v42: all steps are done, but for beta");
}

#[test]
fn a_retry_begins_with_the_ring_that_was_taken_back() {
    let mut stage = Stage::new();
    stage.complete_step();
    stage.complete_step();
    stage.judge("beta", Verdict::Harm);
    stage.pass(1);
    assert_eq!(stage.count(EventKind::RolledBack), 1);
    assert!(is_done(&stage.ask(Command::Retry)));
    assert_eq!(
        (stage.phase(), stage.share("beta"), stage.share("staff")),
        (Phase::Progressing, "10".into(), "50".into())
    );
    stage.rollback(None);
    stage.ask(Command::Retry);
    assert_eq!((stage.share("beta"), stage.share("staff")), ("0".into(), "50".into()));
}

#[test]
fn harm_in_one_ring_takes_all_back_when_the_file_says_so() {
    let mut plan = plan();
    plan.rollout.as_mut().unwrap().on_harm.scope = Scope::Rollout;
    let mut stage = Stage::of(plan);
    stage.complete_step();
    stage.judge("beta", Verdict::Harm);
    stage.pass(1);
    assert_eq!((stage.share("beta"), stage.share("staff")), ("0".into(), "0".into()));
    assert!(
        stage.said(EventKind::RolledBack).starts_with("rolled back shop (staff 50 % → 0 %, beta 10 % → 0 %): errors")
    );
    assert_eq!(refused(&stage.ask(Command::Resume)), &Refusal::RolledBack);
}

#[test]
fn nothing_blocks_the_way_back() {
    for phase in [
        Phase::Progressing,
        Phase::Holding,
        Phase::Paused,
        Phase::AwaitingApproval,
        Phase::AwaitingWindow,
        Phase::Promoted,
    ] {
        let mut stage = Stage::new();
        if phase == Phase::AwaitingWindow {
            stage.until(Phase::AwaitingApproval);
            stage.open_windows.clear();
            stage.ask(Command::Approve);
        } else if phase == Phase::Paused {
            stage.ask(Command::Pause);
        } else if phase == Phase::Holding {
            stage.pass(70);
        } else {
            stage.until(phase);
        }
        assert_eq!(stage.phase(), phase);
        stage.open_windows.clear();
        stage.can_persist = false;
        stage.judge("staff", Verdict::Harm);
        stage.pass(1);
        assert_eq!((stage.phase(), stage.share("staff")), (Phase::RolledBack, "0".into()), "{phase}");
        // the share falls before anything is written
        let falls =
            stage.effects.iter().position(|e| matches!(e, Effect::SetWeights { cohort, .. } if cohort == "staff"));
        let persists = stage.effects.iter().position(|e| *e == Effect::Persist);
        assert!(falls.unwrap() < persists.unwrap());
    }
}

#[test]
fn a_share_rises_only_after_it_is_written_and_not_while_it_cannot_be() {
    let mut stage = Stage::new();
    let rises = stage.effects.iter().position(|e| matches!(e, Effect::SetWeights { cohort, .. } if cohort == "staff"));
    assert!(stage.effects.iter().position(|e| *e == Effect::Persist).unwrap() < rises.unwrap());
    stage.can_persist = false;
    stage.complete_step();
    assert_eq!((stage.share("beta"), stage.state.why.as_str()), ("0".into(), "the state cannot be written"));
    assert_eq!(refused(&stage.ask(Command::Promote)), &Refusal::CannotPersist);
}

#[test]
fn a_gradual_way_back_leaves_out_what_is_not_below() {
    let mut plan = plan();
    let way = [50u64, 25, 0].map(Weight::whole);
    plan.rollout.as_mut().unwrap().on_harm.gradual = way.to_vec();
    let mut stage = Stage::of(plan);
    stage.until(Phase::Promoted);
    stage.judge("everyone", Verdict::Harm);
    stage.pass(1);
    assert_eq!((stage.phase(), stage.share("everyone")), (Phase::RolledBack, "50".into()));
    stage.pass(30);
    assert_eq!(stage.share("everyone"), "25");
    stage.pass(30);
    assert_eq!(stage.share("everyone"), "0");
    // staff had 50: the first value is not below it
    stage.ask(Command::Rollback { cohort: Some("staff".to_owned()), is_gradual: true });
    assert_eq!(stage.share("staff"), "25");
    stage.rollback(Some("staff"));
    assert_eq!(stage.share("staff"), "0");
}

#[test]
fn clocks_that_leap_bring_no_step_nearer() {
    let mut stage = Stage::new();
    stage.see("staff", 1_000);
    stage.leap(86_400_000, 86_400_000);
    assert_eq!((stage.phase(), stage.state.why.as_str()), (Phase::Progressing, "staff 50 %: 5s of 1m"));
    stage.leap(0, -864_000_000);
    assert_eq!(stage.state.why, "staff 50 %: 5s of 1m");
    for _ in 0..100 {
        stage.leap(0, 3_600_000);
    }
    const YEAR_MS: i64 = 365 * 86_400_000;
    for leap in [YEAR_MS, -YEAR_MS, -YEAR_MS, YEAR_MS, 3_600_000, -3_600_000] {
        stage.leap(0, leap);
    }
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Progressing, "0".into()));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut stage = Stage::new();
    stage.see("staff", 1_000);
    stage.pass(50);
    stage.state.session = Default::default();
    stage.happens(Happened::Started);
    assert!(stage.effects.iter().any(|e| matches!(e, Effect::StartStep { is_resumed: true, serial: 1, .. })));
    let told = stage.effects.iter().filter(|e| matches!(e, Effect::SetWeights { .. })).count();
    assert_eq!((told, stage.share("staff")), (3, "50".into()));
    stage.pass(9);
    assert_eq!(stage.share("beta"), "0");
    stage.pass(1);
    assert_eq!(stage.share("beta"), "10");
}

#[test]
fn harm_that_only_pauses_asks_a_person() {
    let mut stage = Stage::new();
    stage.judge("staff", Verdict::PausingHarm);
    stage.pass(3);
    assert_eq!((stage.phase(), stage.share("staff"), stage.count(EventKind::Harm)), (Phase::Paused, "50".into(), 1));
    assert_eq!(refused(&stage.ask(Command::Resume)), &Refusal::Harm);
    assert!(is_done(&stage.ask(Command::Retry)));
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::Progressing, "50".into()));
    stage.pass(3);
    assert_eq!(stage.phase(), Phase::Progressing, "a new start of the judge has no old evidence");
}

#[test]
fn what_takes_too_long_is_stopped_once() {
    let mut plan = plan();
    plan.rollout.as_mut().unwrap().max_duration = Some(Duration::from_secs(200));
    let mut stage = Stage::of(plan);
    stage.pass(201);
    assert_eq!((stage.phase(), stage.state.why.as_str()), (Phase::Paused, "it takes longer than 3m 20s"));
    stage.ask(Command::Resume);
    stage.pass(500);
    assert_eq!((stage.phase(), stage.count(EventKind::TooLong)), (Phase::Holding, 1));
}

#[test]
fn a_holdback_stays_with_the_old_version() {
    let mut plan = plan();
    plan.rollout.as_mut().unwrap().holdback = Weight::whole(2);
    let mut stage = Stage::of(plan);
    stage.until(Phase::Promoted);
    assert_eq!((stage.share("everyone"), stage.share("staff")), ("98".into(), "50".into()));
}

#[test]
fn a_ring_that_gets_nothing_is_told_once() {
    let mut stage = Stage::new();
    stage.readings.get_mut("staff").unwrap().is_starved = true;
    stage.pass(10);
    assert_eq!(stage.count(EventKind::Starved), 1);
    assert_eq!(stage.said(EventKind::Starved), "shop/staff: canary has a share, and gets no requests");
}

#[test]
fn a_state_without_news_is_written_now_and_then_only() {
    let mut stage = Stage::new();
    let mut written = 0;
    for _ in 0..50 {
        stage.pass(1);
        written += stage.effects.iter().filter(|effect| **effect == Effect::Persist).count();
    }
    assert_eq!(written, 5);
    let mut idle = Stage::before(crate::rollout::plan::Plan { rollout: None, ..plan() });
    idle.happens(Happened::Started);
    idle.pass(100);
    assert_eq!(idle.effects, []);
    assert_eq!(idle.state.rollout, State::default().rollout);
}
