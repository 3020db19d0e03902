//! From the file to what the rollout engine must know of each service. Total for every file that `check` accepts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::schema::{self, File, Service};
use crate::config::window::Window;
use crate::model::{EVERYONE, STABLE, Weight};
use crate::rollout::life_cycle::EXPIRE_AFTER_DEFAULT;
use crate::rollout::plan::{Action, HarmAction, Need, NoEvidence, OnHarm, Plan, Rollout, Scope, Shift, Step};
use crate::rollout::split::Split;

/// Requests that a step needs when neither it nor the judge says how many.
pub const MIN_REQUESTS_DEFAULT: u64 = 10;

/// How long each share of a gradual way back lasts when the file does not say.
pub const EVERY_DEFAULT: Duration = Duration::from_secs(30);

/// The plan of every service, by name.
pub fn plans(file: &File) -> BTreeMap<String, Plan> {
    file.services.iter().map(|(name, service)| (name.clone(), plan(name, service))).collect()
}

/// The windows of time of the file that are open at a moment, by any zone's clock.
pub fn open_windows(file: &File, now: &jiff::Zoned) -> Vec<String> {
    let is_open = |window: &schema::Window| Window::new(window).is_ok_and(|window| window.contains(now));
    file.windows.iter().filter(|(_, window)| is_open(window)).map(|(name, _)| name.clone()).collect()
}

/// The plan of one service.
pub fn plan(name: &str, service: &Service) -> Plan {
    let remainder = service.variants.keys().find(|name| *name == STABLE).or(service.variants.keys().next());
    let remainder = remainder.cloned().unwrap_or_default();
    let is_only = service.variants.len() == 1;
    let own = |variant: &schema::Variant| match variant.weight {
        Some(weight) => weight.0,
        None if is_only => Weight::HUNDRED,
        None => Weight::ZERO,
    };
    let shared: Vec<(&str, Weight)> = service.variants.iter().map(|(name, v)| (name.as_str(), own(v))).collect();
    let shared = Split::of_weights(shared, &remainder);
    let mut file: Vec<(String, Split)> = Vec::new();
    for cohort in &service.cohorts {
        let split = match &cohort.weights {
            Some(own) => Split::of_weights(own.iter().map(|(name, weight)| (name.as_str(), weight.0)), &remainder),
            None => shared.clone(),
        };
        file.push((cohort.name.clone(), split));
    }
    if !file.iter().any(|(name, _)| name == EVERYONE) {
        file.push((EVERYONE.to_owned(), shared));
    }
    Plan {
        service: name.to_owned(),
        variants: service.variants.keys().cloned().collect(),
        rollout: service.rollout.as_ref().map(|given| rollout(given, &remainder)),
        remainder,
        file,
    }
}

fn rollout(given: &schema::Rollout, remainder: &str) -> Rollout {
    let on_harm = &given.on_harm;
    Rollout {
        id: given.id.clone(),
        to: given.to.clone(),
        from: given.from.clone().unwrap_or_else(|| remainder.to_owned()),
        steps: given.steps.iter().enumerate().flat_map(|(at, step)| steps(at + 1, step, given)).collect(),
        written: given.steps.len(),
        holdback: given.holdback.map_or(Weight::ZERO, |part| part.0),
        max_hold: given.max_hold.map(|time| time.0),
        no_evidence: match given.no_evidence {
            schema::NoEvidence::Hold => NoEvidence::Hold,
            schema::NoEvidence::Advance => NoEvidence::Advance,
            schema::NoEvidence::Rollback => NoEvidence::Rollback,
        },
        max_duration: given.max_duration.map(|time| time.0),
        on_harm: OnHarm {
            action: harm_action(on_harm.action),
            scope: match on_harm.scope {
                schema::Scope::Cohort => Scope::Cohort,
                schema::Scope::Rollout => Scope::Rollout,
            },
            gradual: on_harm.gradual.iter().map(|share| share.0).collect(),
            every: on_harm.every.map_or(EVERY_DEFAULT, |time| time.0),
        },
        expire_after: given.expire_after.map_or(EXPIRE_AFTER_DEFAULT, |time| time.0),
        runbook: given.runbook.clone(),
    }
}

/// What harm does.
pub fn harm_action(action: schema::HarmAction) -> HarmAction {
    match action {
        schema::HarmAction::Rollback => HarmAction::Rollback,
        schema::HarmAction::Pause => HarmAction::Pause,
    }
}

/// A step of the file: first the approval that it asks for, then each of its shares.
fn steps(number: usize, step: &schema::Step, rollout: &schema::Rollout) -> Vec<Step> {
    let approval = step.approve.iter().map(|groups| Action::Approve(groups.clone()));
    let need = step.need.clone().unwrap_or_default();
    let min = rollout.judge.min_requests.unwrap_or(MIN_REQUESTS_DEFAULT);
    let shares = step.weight.iter().chain(step.ramp.iter().flatten());
    let shifts = shares.filter_map(|share| {
        Some(Action::Shift(Shift {
            cohort: step.cohort.clone()?,
            share: share.0,
            hold: step.hold.map_or(Duration::ZERO, |time| time.0),
            need: Need {
                // who counts users alone has said what is enough
                requests: need.requests.unwrap_or(if need.users.is_some_and(|users| users > 0) { 0 } else { min }),
                users: need.users.unwrap_or(0),
                counts_probes: need.probes == schema::ProbeEvidence::Count,
            },
            warmup: step.warmup.map_or(Duration::ZERO, |time| time.0),
            window: step.window.clone(),
            is_until_safe: step.until.is_some(),
        }))
    });
    approval.chain(shifts).map(|action| Step { number, action }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};

    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:8080 }]
stateDir: state
windows: { nights: { tz: Asia/Tokyo, allow: ["mon-thu 01:00-05:00"] } }
services:
  shop:
    variants:
      stable: { weight: 3, endpoints: ["127.0.0.1:3001"] }
      canary: { weight: 0, endpoints: ["127.0.0.1:3002"] }
      next: { weight: 1, endpoints: ["127.0.0.1:3003"] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, present: true } }, weights: { next: 1 } }
      - { name: beta, when: { percent: 10 } }
    rollout:
      id: v42
      to: canary
      holdback: 2
      judge: { minRequests: 25 }
      onHarm: { gradual: [50, 0] }
      steps:
        - { cohort: staff, weight: 100, hold: 30m, need: { users: 5 } }
        - { approve: [release-managers], cohort: beta, ramp: [0.01, 50], hold: 15m, window: nights, until: safe }
"#;

    #[test]
    fn ramps_are_unrolled_and_approvals_come_first() {
        let file = load_texts(vec![Source::new("a.yaml", FILE)]).unwrap_or_else(|errors| panic!("{errors}")).file;
        let plan = plan("shop", &file.services["shop"]);
        let rollout = plan.rollout.as_ref().unwrap();
        let steps: Vec<(usize, String)> = rollout.steps.iter().map(|step| (step.number, step.signature())).collect();
        let expected = [(1, "staff 100 %"), (2, "approve by release-managers"), (2, "beta 0.01 %"), (2, "beta 50 %")];
        assert_eq!(steps, expected.map(|(number, text)| (number, text.to_owned())));
        let shifts: Vec<&Shift> = rollout.steps.iter().filter_map(Step::shift).collect();
        assert_eq!((shifts[0].need.requests, shifts[0].need.users, shifts[1].need.requests), (0, 5, 25));
        assert_eq!((rollout.share_of(shifts[0]), rollout.from.as_str()), (Weight::whole(98), "stable"));
        assert!(shifts[1].is_until_safe && shifts[1].window.as_deref() == Some("nights"));
        assert_eq!(plan.in_file("staff"), Some(&Split::all("next")));
        assert_eq!(plan.in_file(EVERYONE).map(|split| split.of("stable")), Some(Weight::whole(75)));
    }

    #[test]
    fn windows_open_by_the_clock_of_their_zone() {
        let file = load_texts(vec![Source::new("a.yaml", FILE)]).unwrap_or_else(|errors| panic!("{errors}")).file;
        let open = |moment: &str| open_windows(&file, &moment.parse().unwrap());
        // a Monday in Tokyo is still Sunday in UTC
        assert_eq!(open("2026-11-22T16:30[UTC]"), ["nights"]);
        assert_eq!(open("2026-11-22T20:00[UTC]"), [""; 0]);
    }

    /// From the file to the engine, by a clock that is told: what a window and a freeze hold back, and what they do not.
    #[test]
    fn a_closed_window_and_a_freeze_hold_the_next_step_and_no_rollback() {
        use crate::rollout::engine::step;
        use crate::rollout::input::{CohortReading, Happened, Input, Moment, Verdict};
        use crate::rollout::state::{Phase, State};
        let text = FILE
            .replace("allow: [\"mon-thu 01:00-05:00\"]", "allow: [\"01:00-05:00\"], freezes: [2026-11-24]")
            .replace("approve: [release-managers], ", "")
            .replace("hold: 30m", "hold: 0s")
            .replace("need: { users: 5 }", "need: { users: 1 }");
        let file = load_texts(vec![Source::new("a.yaml", &text)]).unwrap_or_else(|errors| panic!("{errors}")).file;
        let plan = plan("shop", &file.services["shop"]);
        let mut seconds = 0;
        let mut turn = |state: State, moment: &str, verdict: Verdict| {
            seconds += 1;
            let now = Moment { monotonic: Duration::from_secs(seconds), unix_ms: seconds * 1_000 };
            let serials = state.rollout.as_ref().map(|position| position.serials.clone()).unwrap_or_default();
            let reading = |(cohort, serial): (String, u64)| CohortReading {
                cohort,
                serial,
                verdict,
                is_safe: true,
                is_starved: false,
                requests: 100,
                users: 10,
                probes: 0,
                gate: "errors".to_owned(),
                sentence: "errors 9 %".to_owned(),
                numbers: Vec::new(),
            };
            let readings = serials.into_iter().map(reading).collect();
            let open_windows = open_windows(&file, &moment.parse().unwrap());
            let input = Input { now, readings, open_windows, can_persist: true, happened: Happened::Tick };
            step(&plan, state, &input).0
        };
        let (noon, night, frozen) =
            ("2026-11-23T12:00[Asia/Tokyo]", "2026-11-25T02:00[Asia/Tokyo]", "2026-11-24T02:00[Asia/Tokyo]");
        let mut state = State::default();
        for moment in [noon, noon, noon] {
            state = turn(state, moment, Verdict::Clear);
        }
        assert_eq!((state.phase, state.why.as_str()), (Phase::AwaitingWindow, "the window nights is closed"));
        state = turn(state, frozen, Verdict::Clear);
        assert_eq!(state.phase, Phase::AwaitingWindow, "the window would be open, but for the freeze");
        let hurt = turn(state.clone(), frozen, Verdict::Harm);
        assert_eq!(hurt.phase, Phase::RolledBack, "{}", hurt.why);
        state = turn(state, night, Verdict::Clear);
        assert_eq!(state.phase, Phase::Progressing, "{}", state.why);
        let hurt = turn(state, noon, Verdict::Harm);
        assert_eq!(hurt.phase, Phase::RolledBack, "{}", hurt.why);
    }
}
