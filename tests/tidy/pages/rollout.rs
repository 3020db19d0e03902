//! The table of transitions in docs/concepts/rollout.md, by asking the engine in every phase.

use ringway::model::Weight;
use ringway::rollout::command::{Actor, Answer, Command};
use ringway::rollout::effect::{Effect, EventKind};
use ringway::rollout::engine::step;
use ringway::rollout::input::{CohortReading, Happened, Input, Moment, Verdict};
use ringway::rollout::plan::{Action, HarmAction, Need, NoEvidence, OnHarm, Plan, Rollout, Scope, Shift, Step};
use ringway::rollout::split::Split;
use ringway::rollout::state::{Phase, State};
use std::fmt::Write;
use std::time::Duration;

/// The tables, for between the markers of the page.
pub fn tables() -> String {
    let mut text = String::from("| in | ");
    let columns = columns();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    writeln!(text, "{} |\n| --- |{}", names.join(" | "), " --- |".repeat(names.len())).unwrap();
    let mut notes: Vec<String> = Vec::new();
    for phase in Phase::ALL {
        write!(text, "| `{phase}` |").unwrap();
        for (_, then) in &columns {
            let cell = match play(phase, then) {
                Outcome::Phase(next) if next == phase => "·".to_owned(),
                Outcome::Phase(next) => format!("`{next}`"),
                Outcome::Unchanged => "=".to_owned(),
                Outcome::Refused(why) => {
                    let at = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
                        notes.push(why);
                        notes.len() - 1
                    });
                    format!("✗ {}", at + 1)
                }
            };
            write!(text, " {cell} |").unwrap();
        }
        text.push('\n');
    }
    text.push_str("\n·\u{a0}stays, =\u{a0}answered that it is so already, ✗\u{a0}refused:\n\n");
    for (at, note) in notes.iter().enumerate() {
        writeln!(text, "{}. {note}", at + 1).unwrap();
    }
    text.push_str("\n| event | people are told | meaning |\n| --- | --- | --- |\n");
    for kind in EventKind::ALL {
        let is_told = if kind.is_told() { "yes" } else { "" };
        writeln!(text, "| `{}` | {is_told} | {} |", kind.as_str(), kind.meaning()).unwrap();
    }
    text
}

enum Outcome {
    Phase(Phase),
    Unchanged,
    Refused(String),
}

enum Then {
    Ask(Command),
    Judge(Verdict),
    /// The hold is over, and enough was seen.
    Over,
    /// The hold is over, and nothing was seen.
    Silence,
    Edit,
    NewId,
    Restart,
}

fn columns() -> Vec<(&'static str, Then)> {
    let ask = |command: Command| Then::Ask(command);
    vec![
        ("hold over, enough seen", Then::Over),
        ("hold over, silence", Then::Silence),
        ("evidence grows", Then::Judge(Verdict::Frozen)),
        ("source unknown", Then::Judge(Verdict::Unknown)),
        ("harm", Then::Judge(Verdict::Harm)),
        ("harm that pauses", Then::Judge(Verdict::PausingHarm)),
        ("number edited", Then::Edit),
        ("new id", Then::NewId),
        ("restart", Then::Restart),
        ("promote", ask(Command::Promote)),
        ("promote --full", ask(Command::PromoteFull)),
        ("pause", ask(Command::Pause)),
        ("resume", ask(Command::Resume)),
        ("rollback", ask(Command::Rollback { cohort: None, is_gradual: false })),
        ("retry", ask(Command::Retry)),
        ("approve", ask(Command::Approve)),
        ("skip", ask(Command::Skip)),
    ]
}

struct Scene {
    plan: Plan,
    state: State,
    readings: Vec<CohortReading>,
    seconds: u64,
}

fn play(phase: Phase, then: &Then) -> Outcome {
    let mut scene = Scene::in_phase(phase);
    assert_eq!(scene.state.phase, phase);
    let answer = match then {
        Then::Ask(command) => scene.ask(command.clone()),
        Then::Judge(verdict) => {
            scene.readings.iter_mut().for_each(|reading| reading.verdict = *verdict);
            scene.tick(1, 1)
        }
        Then::Over => {
            scene.see(1_000);
            let step = |scene: &Scene| scene.state.rollout.as_ref().map(|position| position.step);
            let first = step(&scene);
            // as long as it takes to pass the step, and no longer
            for _ in 0..70 {
                if step(&scene) == first {
                    scene.tick(1, 1);
                }
            }
            None
        }
        Then::Silence => {
            scene.see(0);
            scene.tick(70, 1)
        }
        Then::Edit => {
            scene.plan.file[0].1 = Split::between("canary", Weight::whole(7), "stable");
            scene.tick(1, 1)
        }
        Then::NewId => {
            let rollout = plan(Phase::Progressing).rollout.map(|rollout| Rollout { id: "v43".to_owned(), ..rollout });
            scene.plan.rollout = rollout;
            scene.tick(1, 1)
        }
        Then::Restart => scene.happens(Happened::Started),
    };
    match answer {
        Some(Answer::Refused(_, refusal)) => Outcome::Refused(refusal.to_string()),
        Some(Answer::Unchanged(_)) => Outcome::Unchanged,
        Some(Answer::Done(_)) | None => Outcome::Phase(scene.state.phase),
    }
}

impl Scene {
    fn in_phase(phase: Phase) -> Scene {
        let plan = plan(phase);
        let mut scene = Scene { plan, state: State::default(), readings: Vec::new(), seconds: 0 };
        scene.happens(Happened::Started);
        match phase {
            Phase::Idle | Phase::Progressing => {}
            Phase::Holding => drop(scene.tick(70, 1)),
            Phase::Paused => drop(scene.ask(Command::Pause)),
            Phase::AwaitingApproval | Phase::AwaitingWindow | Phase::Promoted => {
                scene.see(1_000);
                scene.tick(70, 3);
            }
            Phase::RolledBack => drop(scene.ask(Command::Rollback { cohort: None, is_gradual: false })),
            Phase::Superseded => {
                scene.plan.file[0].1 = Split::between("canary", Weight::whole(3), "stable");
                scene.tick(1, 1);
            }
        }
        scene.see(1);
        scene
    }

    fn see(&mut self, requests: u64) {
        self.readings.iter_mut().for_each(|reading| reading.requests = requests);
    }

    fn tick(&mut self, seconds: u64, times: u64) -> Option<Answer> {
        for _ in 0..seconds * times {
            self.seconds += 1;
            self.happens(Happened::Tick);
        }
        None
    }

    fn ask(&mut self, command: Command) -> Option<Answer> {
        let actor = Actor { name: "alice".to_owned(), groups: vec!["release-managers".to_owned()] };
        self.happens(Happened::Asked { actor, reason: String::new(), command })
    }

    fn happens(&mut self, happened: Happened) -> Option<Answer> {
        let now = Moment { monotonic: Duration::from_secs(self.seconds), unix_ms: self.seconds * 1_000 };
        let readings = self.readings.clone();
        let input = Input { now, readings, open_windows: Vec::new(), can_persist: true, happened };
        let (state, effects) = step(&self.plan, std::mem::take(&mut self.state), &input);
        self.state = state;
        let mut answer = None;
        for effect in effects {
            match effect {
                Effect::StartStep { cohort, serial, .. } => {
                    self.readings.retain(|reading| reading.cohort != cohort);
                    self.readings.push(reading(cohort, serial));
                }
                Effect::Answer(given) => answer = Some(given),
                _ => {}
            }
        }
        answer
    }
}

/// Ten percent, then what leads to the phase, then half.
fn plan(phase: Phase) -> Plan {
    let shift = |number, share, window: Option<&str>| Step {
        number,
        action: Action::Shift(Shift {
            cohort: "everyone".to_owned(),
            share: Weight::whole(share),
            hold: Duration::from_secs(60),
            need: Need { requests: 100, users: 0, counts_probes: false },
            warmup: Duration::ZERO,
            window: window.map(str::to_owned),
            is_until_safe: false,
        }),
    };
    let approval = Step { number: 2, action: Action::Approve(vec!["release-managers".to_owned()]) };
    let steps = match phase {
        Phase::AwaitingApproval => vec![shift(1, 10, None), approval, shift(3, 50, None)],
        Phase::AwaitingWindow => vec![shift(1, 10, None), shift(2, 50, Some("nights"))],
        Phase::Promoted => vec![shift(1, 10, None)],
        _ => vec![shift(1, 10, None), shift(2, 50, None), shift(3, 100, None)],
    };
    let on_harm = OnHarm {
        action: HarmAction::Rollback,
        scope: Scope::Cohort,
        gradual: Vec::new(),
        every: Duration::from_secs(30),
    };
    let rollout = Rollout {
        id: "v42".to_owned(),
        to: "canary".to_owned(),
        from: "stable".to_owned(),
        written: steps.len(),
        steps,
        holdback: Weight::ZERO,
        max_hold: None,
        no_evidence: NoEvidence::Hold,
        max_duration: None,
        on_harm,
        expire_after: Duration::from_secs(14 * 86_400),
        runbook: None,
    };
    Plan {
        service: "shop".to_owned(),
        variants: vec!["stable".to_owned(), "canary".to_owned()],
        remainder: "stable".to_owned(),
        file: vec![("everyone".to_owned(), Split::all("stable"))],
        rollout: (phase != Phase::Idle).then_some(rollout),
    }
}

fn reading(cohort: String, serial: u64) -> CohortReading {
    CohortReading {
        cohort,
        serial,
        verdict: Verdict::Clear,
        is_safe: false,
        is_starved: false,
        requests: 0,
        users: 0,
        probes: 0,
        gate: "errors".to_owned(),
        sentence: "errors: evidence 5.2 of 20".to_owned(),
        numbers: Vec::new(),
    }
}
