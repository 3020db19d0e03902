//! Stories of one cohort, through the judge as the engine uses it.

#![cfg(test)]

use super::*;

const THRESHOLDS: Thresholds = Thresholds {
    stable_us: [40_000, 90_000, 120_000, 200_000, 400_000],
    canary_us: [49_000, 104_000, 137_000, 225_000, 445_000],
};

/// Rules by request, so that a story can say what happened in numbers.
fn rules() -> JudgeRules {
    JudgeRules { count: Unit::Requests, ..JudgeRules::default() }
}

struct Story {
    judge: Judge,
    at_s: u64,
    share: f64,
}

impl Story {
    fn of(rules: JudgeRules) -> Story {
        let mut judge = Judge::new(rules);
        let past = Some(History { errors: Tally::new(20, 20_000) });
        judge.begin_step(StepStart { at_s: 0, thresholds: Some(THRESHOLDS), past, has_control: true });
        Story { judge, at_s: 0, share: 0.1 }
    }

    /// Seconds of 100 canary and 900 stable requests, as `edit` leaves them.
    fn seconds(&mut self, seconds: u64, edit: impl Fn(&mut Tick)) -> Reading {
        let slow = |of: u64| [0.5, 0.1, 0.05, 0.01, 0.001].map(|part| Tally::new((part * of as f64) as u64, of));
        let side =
            |of: u64| Side { errors: Tally::new(of / 1_000, of), slow: slow(of), late: slow(of), ..Side::default() };
        let mut reading = None;
        for _ in 0..seconds {
            let canary = (self.share * 1_000.0) as u64;
            let mut tick =
                Tick { at_s: self.at_s, canary_share: self.share, canary: side(canary), stable: side(1_000 - canary) };
            edit(&mut tick);
            reading = Some(self.judge.tick(&tick));
            self.at_s += 1;
        }
        reading.unwrap()
    }

    fn step(&mut self, has_control: bool) {
        let past = Some(History { errors: Tally::new(20, 20_000) });
        self.judge.begin_step(StepStart { at_s: self.at_s, thresholds: Some(THRESHOLDS), past, has_control });
    }
}

fn gate(reading: &Reading, gate: Gate) -> &GateReading {
    reading.gates.iter().find(|reading| reading.gate == gate).unwrap()
}

#[test]
fn a_healthy_canary_passes_every_gate() {
    let mut story = Story::of(rules());
    let reading = story.seconds(300, |_| {});
    assert_eq!(reading.decision, Decision::Clear);
    for gate in &reading.gates {
        assert_eq!(gate.verdict, Verdict::Pass, "{gate:?}");
    }
}

#[test]
fn a_canary_that_fails_is_taken_back_within_seconds_with_the_reason() {
    let mut story = Story::of(rules());
    story.seconds(60, |_| {});
    let reading = story.seconds(2, |tick| tick.canary.errors.events = 50);
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Rollback));
    let loudest = reading.loudest().unwrap();
    assert_eq!((loudest.gate, loudest.verdict), (Gate::Errors, Verdict::Harm));
    assert_eq!(sentence(loudest, &[]), "errors 1.6 % against stable 0 %, n = 6,200, evidence over a million of 20");
}

#[test]
fn harm_is_latched() {
    let mut story = Story::of(rules());
    story.seconds(2, |tick| tick.canary.errors.events = 50);
    let reading = story.seconds(3_600, |_| {});
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Rollback));
    story.judge.resume();
    assert_eq!(story.seconds(1, |_| {}).decision, Decision::Harm(OnHarm::Rollback), "a rollback is not resumed");
}

#[test]
fn a_few_bad_events_of_a_few_requests_are_not_harm() {
    let rules = || JudgeRules { sample_ratio: None, ..rules() };
    let mut story = Story::of(rules());
    let few = |bad: u64, of: u64| move |tick: &mut Tick| tick.canary.errors = Tally::new(bad, of);
    let reading = story.seconds(1, few(2, 2));
    assert!(reading.ln_combined > reading.ln_needed);
    assert_eq!(reading.decision, Decision::Frozen, "two bad events");
    let mut story = Story::of(rules());
    let quiet = |tick: &mut Tick| {
        tick.canary = Side { errors: Tally::new(3, 3), ..Side::default() };
    };
    assert_eq!(story.seconds(3, quiet).decision, Decision::Frozen, "nine requests");
    assert_eq!(story.seconds(1, quiet).decision, Decision::Harm(OnHarm::Rollback));
}

#[test]
fn some_evidence_freezes_and_a_minute_of_calm_thaws() {
    let mut story = Story::of(rules());
    let reading = story.seconds(1, |tick| {
        tick.canary.errors = Tally::new(3, 100);
        tick.stable.errors = Tally::new(2, 900);
    });
    assert_eq!(reading.decision, Decision::Frozen, "{}", reading.ln_combined);
    assert_eq!(gate(&reading, Gate::Errors).verdict, Verdict::Waiting);
    assert_eq!(story.judge.calm(reading.at_s), None, "not yet");
    // until it goes on, it says how long the calm has lasted
    let mut calm = None;
    while calm.is_none() {
        let reading = story.seconds(1, |tick| tick.stable.errors.events = 2);
        assert_eq!(reading.decision, Decision::Frozen);
        calm = story.judge.calm(reading.at_s);
    }
    let reading = story.seconds(20, |tick| tick.stable.errors.events = 2);
    assert_eq!((calm, story.judge.calm(reading.at_s)), (Some((0, 60)), Some((20, 60))));
    assert_eq!(reading.decision, Decision::Frozen);
    assert_eq!(story.seconds(600, |tick| tick.stable.errors.events = 2).decision, Decision::Clear);
    assert_eq!(story.judge.calm(story.at_s), None);
}

#[test]
fn the_same_errors_in_both_variants_are_not_the_canarys() {
    let mut story = Story::of(JudgeRules { collateral: None, ..rules() });
    let reading = story.seconds(120, |tick| {
        tick.canary.errors.events = tick.canary.errors.of / 2;
        tick.stable.errors.events = tick.stable.errors.of / 2;
    });
    assert_eq!(reading.decision, Decision::Clear, "{reading:?}");
}

#[test]
fn a_stable_that_suffers_too_pauses_and_a_person_may_go_on() {
    let mut story = Story::of(rules());
    let suffering = |tick: &mut Tick| {
        tick.canary.errors.events = 5;
        tick.stable.errors.events = 45;
    };
    assert_eq!(story.seconds(60, suffering).decision, Decision::Frozen);
    let reading = story.seconds(300, suffering);
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Pause));
    assert_eq!(gate(&reading, Gate::Collateral).verdict, Verdict::Harm);
    story.judge.resume();
    assert_eq!(story.seconds(62, |_| {}).decision, Decision::Clear);
}

#[test]
fn a_slow_tail_is_taken_back_and_a_hanging_canary_too() {
    let mut story = Story::of(rules());
    let reading = story.seconds(60, |tick| tick.canary.slow[3].events = 4);
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Rollback));
    let latency = gate(&reading, Gate::Latency);
    assert!(matches!(latency.detail, Detail::Slow { level: 0.99, canary_us: 225_000, .. }), "{latency:?}");
    let mut story = Story::of(rules());
    let hanging = |tick: &mut Tick| {
        tick.canary = Side { slow: [Tally::new(10, 10); QUANTILES], ..Side::default() };
    };
    let reading = story.seconds(3, hanging);
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Rollback), "no request has ended");
    assert!(!reading.is_silent);
}

#[test]
fn without_thresholds_latency_is_unknown_and_decides_nothing() {
    let mut judge = Judge::new(rules());
    judge.begin_step(StepStart { has_control: true, ..StepStart::default() });
    let mut story = Story { judge, at_s: 0, share: 0.1 };
    let reading = story.seconds(60, |tick| tick.canary.slow[3].events = 100);
    assert_eq!(gate(&reading, Gate::Latency).verdict, Verdict::Unknown);
    assert_eq!(reading.decision, Decision::Clear);
}

#[test]
fn fewer_orders_pause() {
    let orders = OutcomeRules { name: "orders".into(), ratio: 0.97, on_harm: OnHarm::Pause };
    let mut story = Story::of(JudgeRules { outcomes: vec![orders], ..rules() });
    let selling = |canary: u64| {
        move |tick: &mut Tick| {
            tick.canary.outcomes = vec![Tally::new(canary, 100)];
            tick.stable.outcomes = vec![Tally::new(180, 900)];
        }
    };
    assert_eq!(story.seconds(60, selling(20)).decision, Decision::Clear);
    let reading = story.seconds(60, selling(5));
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Pause));
    let text = sentence(gate(&reading, Gate::Outcome(0)), &["orders"]);
    assert!(text.starts_with("orders 12.5 % against stable 20 %, n = 12,000, evidence "), "{text}");
}

#[test]
fn a_split_that_is_not_that_of_the_weights_pauses() {
    let mut story = Story::of(rules());
    let reading = story.seconds(10, |tick| tick.canary.errors = Tally::new(0, 500));
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Pause));
    assert_eq!(gate(&reading, Gate::SampleRatio).verdict, Verdict::Harm);
}

#[test]
fn a_budget_that_burns_pauses() {
    let mut story = Story::of(JudgeRules { burn: Some(BurnRules::default()), collateral: None, ..rules() });
    let reading = story.seconds(120, |tick| {
        tick.canary.errors.events = 3;
        tick.stable.errors.events = 27;
    });
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Pause));
    assert_eq!(gate(&reading, Gate::Burn).verdict, Verdict::Harm);
}

#[test]
fn without_stable_traffic_the_past_is_what_is_compared_with() {
    let without_pauses = JudgeRules { before_after: true, collateral: None, sample_ratio: None, ..rules() };
    let mut story = Story::of(without_pauses.clone());
    (story.share, story.at_s) = (1.0, 10);
    story.step(false);
    let alone = |bad: u64| {
        move |tick: &mut Tick| {
            tick.canary.errors.events = bad;
            tick.stable = Side::default();
        }
    };
    let reading = story.seconds(60, alone(1));
    assert_eq!((reading.decision, gate(&reading, Gate::Errors).detail), (Decision::Clear, Detail::Before));
    let reading = story.seconds(10, alone(50));
    assert_eq!(reading.decision, Decision::Harm(OnHarm::Rollback));
    let text = sentence(gate(&reading, Gate::Errors), &[]);
    assert!(text.contains("against 0.1 % before the step"), "{text}");

    let mut blind = Story::of(JudgeRules { before_after: false, ..without_pauses });
    blind.share = 1.0;
    blind.step(false);
    let reading = blind.seconds(60, alone(500));
    assert_eq!(gate(&reading, Gate::Errors).verdict, Verdict::Unknown);
    assert_eq!(reading.decision, Decision::Clear, "nothing to compare with neither promotes nor takes back");
}

#[test]
fn a_canary_that_gets_nothing_for_a_minute_is_told() {
    let mut story = Story::of(rules());
    let nothing = |tick: &mut Tick| tick.canary = Side::default();
    assert!(!story.seconds(60, nothing).is_silent);
    assert!(story.seconds(1, nothing).is_silent);
    assert!(!story.seconds(1, |_| {}).is_silent);
    story.share = 0.0001;
    let reading = story.seconds(90, |tick| {
        nothing(tick);
        tick.stable.errors = Tally::new(0, 100);
    });
    assert!(!reading.is_silent, "nothing is what such a share gets of so few requests");
}

#[test]
fn users_count_again_at_each_step_and_in_long_holds() {
    let mut story = Story::of(rules());
    let first = story.judge.epoch();
    story.seconds(300, |_| {});
    assert_eq!(story.judge.epoch(), first);
    story.seconds(1, |_| {});
    assert_eq!(story.judge.epoch(), first + 1);
    story.step(true);
    assert_eq!(story.judge.epoch(), first + 2);
}

#[test]
fn counts_that_contradict_each_other_are_not_believed() {
    let mut story = Story::of(rules());
    let reading = story.seconds(5, |tick| {
        let absurd = Tally { events: u64::MAX / 1_000, of: 5 };
        tick.canary = Side {
            errors: absurd,
            slow: [absurd; QUANTILES],
            late: [absurd; QUANTILES],
            users: None,
            outcomes: vec![absurd; 9],
            user_outcomes: vec![absurd; 9],
        };
        tick.canary_share = f64::NAN;
    });
    assert!(reading.ln_combined.is_finite());
    assert!(gate(&reading, Gate::Errors).canary.events <= 25);
}

/// Everything that has a state, in the middle of its life.
fn busy() -> Story {
    let orders = |on_harm| OutcomeRules { name: "orders".into(), ratio: 0.97, on_harm };
    let outcomes = vec![orders(OnHarm::Pause), orders(OnHarm::Rollback)];
    let burn = Some(BurnRules::default());
    let mut story = Story::of(JudgeRules { outcomes, burn, before_after: true, steps: 3, ..rules() });
    let selling = |tick: &mut Tick| tick.canary.outcomes = vec![Tally::new(3, 20); 2];
    story.seconds(400, selling);
    story.step(false);
    story.share = 0.2;
    story.seconds(30, selling);
    story.seconds(1, |tick| tick.canary.errors.events = 6);
    story.seconds(5, |tick| tick.canary = Side::default());
    story
}

#[test]
fn a_judge_goes_on_where_an_earlier_process_left_it() {
    let mut story = busy();
    let words = story.judge.save();
    assert!(words.len() < 12_000, "{}", words.len());
    let restored = Judge::restore(story.judge.rules.clone(), &words).unwrap();
    assert_eq!(restored, story.judge);
    let mut again = Story { judge: restored, ..busy() };
    let bad = |tick: &mut Tick| tick.canary.errors.events = 9;
    assert_eq!(again.seconds(50, bad), story.seconds(50, bad));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let story = busy();
    let (rules, words) = (story.judge.rules.clone(), story.judge.save());
    for length in (0..words.len()).step_by(7) {
        assert_eq!(Judge::restore(rules.clone(), &words[..length]), None, "{length}");
    }
    assert_eq!(Judge::restore(JudgeRules::default(), &words), None);
    let mut longer = words.clone();
    longer.push(0);
    assert_eq!(Judge::restore(rules.clone(), &longer), None);
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let mut changed = words.clone();
        let at = rng.usize(..changed.len());
        changed[at] = [rng.u64(..), u64::MAX, f64::NAN.to_bits(), f64::INFINITY.to_bits()][rng.usize(..4)];
        if let Some(mut judge) = Judge::restore(rules.clone(), &changed) {
            judge.tick(&Tick { at_s: rng.u64(..), ..Tick::default() });
        }
    }
}
