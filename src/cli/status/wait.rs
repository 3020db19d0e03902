//! `--wait PHASE`: until a rollout is where it should be, or cannot come there any more.

use serde_json::Value;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::Duration;

use super::{Exit, rollout_of};
use crate::cli::door::Found;
use crate::cli::out::{print, say};
use crate::cli::words::{each, word};
use crate::control::client::{self, ClientError, Door};
use clap::ValueEnum;

/// A phase that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Awaited {
    /// A step is being done.
    Progressing,
    /// A step waits for evidence.
    Holding,
    /// Somebody stopped it.
    Paused,
    /// A step waits for a person.
    AwaitingApproval,
    /// A step waits for its window of time.
    AwaitingWindow,
    /// All steps are done.
    Promoted,
    /// The new version was taken away.
    RolledBack,
    /// A person's edit of the file rules.
    Superseded,
}

/// Phases out of which a rollout comes only by a person.
const ENDS: [&str; 3] = ["promoted", "rolled-back", "superseded"];

/// What is waited for, and of which rollout.
pub(super) struct Wanted {
    pub(super) phase: Awaited,
    pub(super) service: Option<String>,
    pub(super) rollout: Option<String>,
}

/// What a look at the rollouts says.
#[derive(Debug, PartialEq)]
enum Look {
    Come(String),
    /// It cannot come any more, or there is nothing to wait for.
    Never(String),
    NotYet(String),
}

impl Awaited {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Wanted {
    /// Tells each change of the phase on the way.
    pub(super) fn wait(&self, door: &Found<Door>, patience: Duration) -> anyhow::Result<Exit> {
        // shared with what is told when the time is up
        let (last, told) = (RefCell::new(String::new()), RefCell::new(String::new()));
        let listened = client::listen(&door.address, "/api/v1/stream", None, patience, |part| {
            if part.name != "tick" {
                return ControlFlow::Continue(());
            }
            match self.look(&part.data) {
                Look::NotYet(line) => {
                    // what counts or elapses is no change
                    let gist = gist(&line);
                    if *told.borrow() != gist {
                        say(&line);
                        told.replace(gist);
                    }
                    last.replace(line);
                    ControlFlow::Continue(())
                }
                found => ControlFlow::Break(found),
            }
        });
        match listened {
            Ok(Look::Come(line)) => {
                print(&format!("✔ {line}\n"))?;
                Ok(Exit::Yes)
            }
            Ok(Look::Never(line) | Look::NotYet(line)) => {
                say(&format!("✗ {line}"));
                Ok(Exit::No)
            }
            Err(ClientError::TimedOut { .. }) if !last.borrow().is_empty() => {
                let (phase, seconds) = (self.phase.name(), patience.as_secs_f64());
                say(&format!("✗ not {phase} within {seconds} s: {}", last.borrow()));
                Ok(Exit::TimedOut)
            }
            Err(error) => Ok(door.tell(&error)),
        }
    }

    fn look(&self, tick: &Value) -> Look {
        let rollouts = &tick["rollouts"];
        let known = || each(&tick["status"]["services"]).map(|service| word(&service["name"])).collect::<Vec<_>>();
        let rollout = match &self.service {
            Some(name) if !known().contains(name) => {
                return Look::Never(format!("there is no service {name}; there is {}", known().join(", ")));
            }
            Some(name) => rollout_of(rollouts, &name.as_str().into()),
            None if each(rollouts).count() > 1 => {
                let names: Vec<String> = each(rollouts).map(|of| word(&of["service"])).collect();
                return Look::Never(format!("there are several rollouts; name a service: {}", names.join(", ")));
            }
            None => each(rollouts).next(),
        };
        let is_other = |of: &&Value| self.rollout.as_ref().is_some_and(|id| of["id"] != id.as_str());
        let (rollout, id) = match (rollout.filter(|of| !is_other(of)), &self.rollout) {
            (Some(rollout), _) => (rollout, word(&rollout["id"])),
            (None, Some(id)) => return Look::NotYet(format!("there is no rollout {id} yet")),
            (None, None) => return Look::Never("there is no rollout to wait for".to_owned()),
        };
        let (service, phase, why) = (word(&rollout["service"]), word(&rollout["phase"]), word(&rollout["why"]));
        let why = if why.is_empty() { why } else { format!(": {why}") };
        let line = format!("{service} {phase}, rollout {id}, step {}/{}{why}", rollout["step"], rollout["steps"]);
        match () {
            _ if phase == self.phase.name() => Look::Come(line),
            _ if ENDS.contains(&phase.as_str()) => Look::Never(line),
            _ => Look::NotYet(line),
        }
    }
}

/// A line without its figures, but with the step and the share that it is about.
fn gist(line: &str) -> String {
    let (head, why) = line.split_once(": ").unwrap_or((line, ""));
    let share = why.split_once(" %").map_or("", |(share, _)| share);
    let share = if share.contains(':') { "" } else { share };
    let is_word = |word: &&str| !word.contains(|letter: char| letter.is_ascii_digit());
    let words: Vec<&str> = why.split_whitespace().filter(is_word).collect();
    format!("{head} {share} {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_counts_or_elapses_is_no_change() {
        let line = |why: &str| gist(&format!("shop progressing, rollout v42, step 1/2: {why}"));
        assert_eq!(line("everyone 50 %: 58s of 1h"), line("everyone 50 %: 1m 2s of 1h"));
        let sentence = "everyone: errors 0 % against stable 0 %, n = 20, evidence 0.7 of 20";
        assert_eq!(line(sentence), line(&sentence.replace("20", "1,020").replace("0.7", "13")));
        assert_ne!(line("everyone 50 %: 58s of 1h"), line("everyone 100 %: 1s of 1h"));
        assert_ne!(line("everyone 50 %: 58s of 1h"), line(sentence));
        assert_ne!(gist("shop progressing, rollout v42, step 1/2"), gist("shop progressing, rollout v42, step 2/2"));
    }

    #[test]
    fn an_end_is_awaited_until_another_one_has_come() {
        let wanted = |service: Option<&str>, rollout: Option<&str>| Wanted {
            phase: Awaited::Promoted,
            service: service.map(str::to_owned),
            rollout: rollout.map(str::to_owned),
        };
        let tick = |phase: &str| {
            json!({ "status": { "services": [{ "name": "shop" }, { "name": "cart" }] }, "rollouts": [
                { "service": "shop", "id": "v2", "phase": phase, "why": "", "step": 2, "steps": 3 },
            ] })
        };
        let (plain, of_v3) = (wanted(None, None), wanted(Some("shop"), Some("v3")));
        assert_eq!(plain.look(&tick("promoted")), Look::Come("shop promoted, rollout v2, step 2/3".into()));
        assert!(matches!(plain.look(&tick("holding")), Look::NotYet(_)));
        assert!(matches!(plain.look(&tick("paused")), Look::NotYet(_)));
        assert!(matches!(plain.look(&tick("rolled-back")), Look::Never(_)));
        assert!(matches!(of_v3.look(&tick("promoted")), Look::NotYet(_)), "it is another rollout");
        assert!(matches!(wanted(Some("cart"), None).look(&tick("holding")), Look::Never(_)));
        assert!(matches!(wanted(Some("card"), None).look(&tick("holding")), Look::Never(_)));
        assert_eq!(Awaited::AwaitingApproval.name(), "awaiting-approval");
    }
}
