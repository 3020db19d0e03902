//! Rollouts as stories: what people edit and ask.

#![cfg(test)]

use super::{edit, is_done, refused, set, shift_of};
use crate::model::Weight;
use crate::rollout::command::{Answer, Command, Refusal};
use crate::rollout::effect::EventKind;
use crate::rollout::input::{Happened, Verdict};
use crate::rollout::ownership::shown;
use crate::rollout::stage::{Stage, plan, shift};
use crate::rollout::state::Phase;
use std::time::Duration;

#[test]
fn an_edit_of_a_number_wins_at_once() {
    let mut stage = Stage::new();
    stage.complete_step();
    edit(&mut stage, "beta", 3);
    assert_eq!((stage.phase(), stage.share("beta"), stage.share("staff")), (Phase::Superseded, "3".into(), "0".into()));
    assert!(stage.said(EventKind::Superseded).contains("the weights of beta were edited"));
    stage.judge("beta", Verdict::Harm);
    stage.pass(5);
    assert_eq!((stage.phase(), stage.share("beta"), stage.count(EventKind::Harm)), (Phase::Superseded, "3".into(), 1));
    stage.rollback(None);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::RolledBack, "0".into()));
}

#[test]
fn who_writes_the_outcome_into_the_file_has_not_overruled_it() {
    let mut stage = Stage::new();
    stage.until(Phase::Promoted);
    edit(&mut stage, "everyone", 100);
    assert_eq!(stage.phase(), Phase::Promoted);
    edit(&mut stage, "everyone", 90);
    assert_eq!((stage.phase(), stage.share("everyone")), (Phase::Superseded, "90".into()));
}

#[test]
fn a_new_id_is_a_new_rollout_and_an_old_one_stays_rolled_back() {
    let mut stage = Stage::new();
    stage.rollback(None);
    stage.plan.rollout.as_mut().unwrap().id = "v43".to_owned();
    stage.happens(Happened::Tick);
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::Progressing, "50".into()));
    stage.plan.rollout.as_mut().unwrap().id = "v42".to_owned();
    stage.happens(Happened::Tick);
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::RolledBack, "0".into()));
    stage.plan.rollout = None;
    stage.happens(Happened::Tick);
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::Idle, "0".into()));
    assert_eq!(refused(&stage.rollback(None)), &Refusal::NoRollout);
}

#[test]
fn an_edit_of_the_plan_keeps_the_place_unless_what_is_done_changed() {
    let mut stage = Stage::new();
    stage.complete_step();
    // ahead: taken as it is
    shift_of(&mut stage, 2).share = Weight::whole(40);
    stage.pass(1);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Progressing, "10".into()));
    // the step that is being done begins again
    shift_of(&mut stage, 1).share = Weight::whole(5);
    stage.pass(1);
    assert_eq!(
        (stage.phase(), stage.share("beta"), stage.count(EventKind::PlanChanged)),
        (Phase::Progressing, "5".into(), 1)
    );
    // behind: nobody can say where we are
    shift_of(&mut stage, 0).share = Weight::whole(60);
    stage.pass(1);
    assert_eq!((stage.phase(), stage.share("staff"), stage.share("beta")), (Phase::Paused, "50".into(), "5".into()));
    assert!(matches!(refused(&stage.ask(Command::Resume)), Refusal::PlanChanged(_)));
    shift_of(&mut stage, 0).share = Weight::whole(50);
    assert!(is_done(&stage.ask(Command::Resume)));
    shift_of(&mut stage, 0).share = Weight::whole(60);
    stage.pass(1);
    assert!(is_done(&stage.ask(Command::Retry)));
    assert_eq!(
        (stage.phase(), stage.share("staff"), stage.share("beta")),
        (Phase::Progressing, "60".into(), "0".into())
    );
}

#[test]
fn steps_that_are_added_to_a_promoted_plan_are_done() {
    let mut stage = Stage::new();
    stage.plan.rollout.as_mut().unwrap().steps.truncate(2);
    stage.until(Phase::Promoted);
    stage.plan.rollout.as_mut().unwrap().steps.push(shift(3, "beta", 100));
    stage.pass(1);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Progressing, "100".into()));
}

#[test]
fn a_share_that_a_person_set_lasts_as_long_as_they_said() {
    let mut stage = Stage::new();
    let set = Command::SetWeight {
        cohort: "staff".to_owned(),
        variant: "canary".to_owned(),
        share: Weight::whole(5),
        lasts: Some(Duration::from_secs(600)),
    };
    assert!(is_done(&stage.ask(set.clone())));
    assert_eq!(stage.share("staff"), "5");
    assert_eq!(shown(&stage.plan, &stage.state, "staff", "canary"), "5 % (set by alice, 10m more; the file says 0)");
    assert!(matches!(stage.ask(set), Answer::Unchanged(_)));
    stage.see("staff", 1_000);
    stage.pass(300);
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Holding, "0".into()));
    stage.pass(300);
    assert_eq!((stage.share("staff"), stage.share("beta")), ("50".into(), "10".into()));
    assert_eq!(shown(&stage.plan, &stage.state, "staff", "canary"), "50 % (rollout step 1/5; the file says 0)");
}

#[test]
fn weights_are_set_without_a_rollout_too() {
    let mut stage = Stage::of(crate::rollout::plan::Plan { rollout: None, ..plan() });
    assert_eq!((stage.phase(), stage.state.clone().rollout), (Phase::Idle, None));
    assert!(is_done(&stage.ask(set("beta", "canary", 10))));
    assert_eq!(stage.share("beta"), "10");
    assert!(matches!(refused(&stage.ask(set("asia", "canary", 10))), Refusal::UnknownCohort(_)));
    assert!(matches!(refused(&stage.ask(set("beta", "cannary", 10))), Refusal::UnknownVariant(_)));
    assert!(is_done(&stage.ask(set("beta", "stable", 100))));
    edit(&mut stage, "beta", 30);
    assert_eq!(stage.share("beta"), "30");
    // what is told as the way back is one
    assert!(is_done(&stage.ask(set("beta", "canary", 70))));
    assert!(is_done(&stage.ask(Command::Resume)));
    assert_eq!((stage.share("beta"), stage.phase()), ("30".into(), Phase::Idle));
    assert_eq!(refused(&stage.ask(Command::Resume)), &Refusal::NoRollout);
}

#[test]
fn what_people_set_ends_by_resume_where_no_rollout_goes_on_too() {
    let mut stage = Stage::new();
    stage.complete_step();
    edit(&mut stage, "beta", 3);
    assert!(is_done(&stage.ask(set("beta", "canary", 20))));
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Superseded, "20".into()));
    assert!(is_done(&stage.ask(Command::Resume)));
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::Superseded, "3".into()));
    assert_eq!(refused(&stage.ask(Command::Resume)), &Refusal::Superseded);
}

#[test]
fn what_a_gate_stopped_is_lowered_by_people_and_not_raised() {
    let set = |share| super::set("staff", "canary", share);
    let mut stage = Stage::new();
    stage.judge("staff", Verdict::PausingHarm);
    stage.pass(2);
    assert_eq!((stage.phase(), stage.share("staff")), (Phase::Paused, "50".into()));
    assert_eq!(refused(&stage.ask(set(60))), &Refusal::Harm);
    assert!(is_done(&stage.ask(set(5))));
    assert_eq!(stage.share("staff"), "5");
    assert_eq!(refused(&stage.ask(set(6))), &Refusal::Harm);
    assert_eq!(refused(&stage.ask(super::set("staff", "stable", 40))), &Refusal::Harm);
}

#[test]
fn approvals_are_for_members_and_once_is_enough() {
    let mut stage = Stage::new();
    assert_eq!(refused(&stage.ask(Command::Approve)), &Refusal::NothingToApprove);
    stage.until(Phase::AwaitingApproval);
    assert!(matches!(refused(&stage.ask_as("bob", &["dev"], Command::Approve)), Refusal::NotMember(_)));
    for command in [Command::Promote, Command::Skip] {
        assert!(matches!(refused(&stage.ask(command)), Refusal::NeedsApproval(_)));
    }
    assert!(matches!(refused(&stage.ask_as("bob", &["dev"], Command::PromoteFull)), Refusal::NeedsApproval(_)));
    assert!(is_done(&stage.ask(Command::Approve)));
    assert!(matches!(stage.ask(Command::Approve), Answer::Unchanged(_)));
    let approved = stage.events.iter().find(|event| event.kind == EventKind::Approved).unwrap();
    assert_eq!((approved.actor.as_deref(), approved.reason.as_deref()), (Some("alice"), Some("because")));
}

#[test]
fn promotion_by_a_person_does_not_wait_and_full_is_all_of_it() {
    let mut stage = Stage::new();
    assert!(is_done(&stage.ask(Command::Promote)));
    assert_eq!(stage.share("beta"), "10");
    stage.open_windows.clear();
    assert!(matches!(refused(&stage.ask(Command::PromoteFull)), Refusal::WindowClosed(_)));
    stage.open_windows.push("nights".to_owned());
    assert!(is_done(&stage.ask(Command::PromoteFull)));
    assert_eq!(
        (stage.phase(), stage.share("beta"), stage.share("everyone")),
        (Phase::Promoted, "50".into(), "100".into())
    );
    assert!(matches!(stage.ask(Command::PromoteFull), Answer::Unchanged(_)));
}

#[test]
fn a_step_that_is_skipped_leaves_nothing_behind() {
    let mut stage = Stage::new();
    stage.complete_step();
    stage.complete_step();
    assert_eq!(stage.share("beta"), "50");
    assert!(is_done(&stage.ask(Command::Skip)));
    assert_eq!((stage.phase(), stage.share("beta")), (Phase::AwaitingApproval, "10".into()));
}

#[test]
fn on_a_gradual_way_back_people_go_faster_and_not_back_up() {
    let set = |share| super::set("staff", "canary", share);
    let mut stage = Stage::new();
    let on_harm = &mut stage.plan.rollout.as_mut().unwrap().on_harm;
    on_harm.gradual = [40, 20, 10, 0].map(Weight::whole).to_vec();
    on_harm.every = Duration::from_secs(60);
    stage.ask(Command::Rollback { cohort: None, is_gradual: true });
    assert_eq!(stage.share("staff"), "40");
    assert_eq!(refused(&stage.ask(set(41))), &Refusal::RolledBack);
    assert!(matches!(stage.ask(set(40)), Answer::Unchanged(_)));
    assert!(is_done(&stage.ask(set(15))));
    assert_eq!(stage.share("staff"), "15");
    stage.pass(59);
    assert_eq!(stage.share("staff"), "15");
    stage.pass(2);
    assert_eq!(stage.share("staff"), "10");
    stage.pass(61);
    assert_eq!((stage.share("staff"), stage.phase()), ("0".into(), Phase::RolledBack));
}
