//! What people ask of a rollout: `pause`, `resume`, `promote`, `rollback`, `retry`, `approve`, `skip`, `set-weight`.

mod weight_in_file;

use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;

use super::Exit;
use super::door::AdminDoor;
use super::out::{print, say};
use super::words::word;
use crate::config::values;
use crate::control::client;
use crate::model::printable;
use weight_in_file::WeightInFile;

/// Whose rollout, and who asks.
#[derive(Debug, clap::Args)]
struct Common {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Why; stands in the audit log
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    /// Who asks, for the audit log [default: the user of this terminal]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    door: AdminDoor,
    /// How long to wait for the answer
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    timeout: values::Duration,
}

/// Stop a rollout where it is. Its gates watch on.
#[derive(Debug, clap::Args)]
pub(super) struct Pause {
    #[command(flatten)]
    common: Common,
}

/// Let a paused rollout go on; also ends weights that people set.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    #[command(flatten)]
    common: Common,
}

/// Begin the next step of a rollout, whatever this one still waits for.
#[derive(Debug, clap::Args)]
pub(super) struct Promote {
    #[command(flatten)]
    common: Common,
    /// All steps at once
    #[arg(long)]
    full: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Take the new version away, at once. Holds until `retry` or a new id.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    #[command(flatten)]
    common: Common,
    /// From this cohort only
    #[arg(long, value_name = "NAME")]
    cohort: Option<String>,
    /// By the shares of onHarm.gradual
    #[arg(long)]
    gradual: bool,
}

/// Begin again what was taken back or stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Retry {
    #[command(flatten)]
    common: Common,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Let the step that waits for people begin.
#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    #[command(flatten)]
    common: Common,
    /// A group that you are in; several times if need be
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
}

/// Leave a step out: its cohort gets back what it had before.
#[derive(Debug, clap::Args)]
pub(super) struct Skip {
    #[command(flatten)]
    common: Common,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Give a variant another share of a cohort, until `resume` or for a while; with --write for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway set-weight shop canary 7 --for 1h\n  \
    ringway set-weight shop canary 7 --cohort beta --write ringway.yaml")]
pub(super) struct SetWeight {
    #[command(flatten)]
    common: Common,
    /// The variant
    #[arg(value_name = "VARIANT")]
    variant: String,
    /// Percent of the cohort
    #[arg(value_name = "PERCENT")]
    weight: values::Percent,
    /// The cohort
    #[arg(long, default_value = "everyone", value_name = "NAME")]
    cohort: String,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "write", value_parser = lasting)]
    lasts: Option<String>,
    /// Ask nobody who runs: edit the numbers in this file, and leave every other byte of it as it is
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Pause {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.common.ask("pause", json!({}))
    }
}

impl Resume {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.common.ask("resume", json!({}))
    }
}

impl Promote {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let what = if self.full { "all steps at once" } else { "the next step now" };
        match is_sure(self.yes || self.common.dry_run, &format!("promote {}: {what}", self.common.service)) {
            true => self.common.ask("promote", json!({ "full": self.full })),
            false => Ok(Exit::Input),
        }
    }
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.common.ask("rollback", json!({ "cohort": self.cohort, "gradual": self.gradual }))
    }
}

impl Retry {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match is_sure(
            self.yes || self.common.dry_run,
            &format!("begin again what was taken back of {}", self.common.service),
        ) {
            true => self.common.ask("retry", json!({})),
            false => Ok(Exit::Input),
        }
    }
}

impl Approve {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        self.common.ask("approve", json!({ "groups": self.groups }))
    }
}

impl Skip {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        match is_sure(self.yes || self.common.dry_run, &format!("leave out a step of {}", self.common.service)) {
            true => self.common.ask("skip", json!({})),
            false => Ok(Exit::Input),
        }
    }
}

impl SetWeight {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let share = self.weight.0;
        let (service, cohort, variant) = (&self.common.service, &self.cohort, &self.variant);
        let what = format!("{variant} gets {share} % of {service}/{cohort}");
        if let Some(path) = &self.write {
            let edit = WeightInFile { path, service, cohort, variant, share };
            return edit.run(self.common.dry_run, || is_sure(self.yes, &format!("{what} in {}", path.display())));
        }
        if !(self.yes || self.common.dry_run) {
            let door = self.common.door.find()?;
            match client::page(&door.address, "/api/v1/rollouts", self.common.timeout.0) {
                Ok(rollouts) if self.is_safer(&rollouts) => {}
                Ok(_) if is_sure(false, &what) => {}
                Ok(_) => return Ok(Exit::Input),
                Err(error) => return Ok(door.tell(&error)),
            }
        }
        let more = json!({
            "cohort": self.cohort, "variant": self.variant, "weight": share.as_f64(), "for": self.lasts,
        });
        self.common.ask("set-weight", more)
    }

    /// The new version has no more of the cohort afterwards than it has now.
    fn is_safer(&self, rollouts: &Value) -> bool {
        let mut all = rollouts["rollouts"].as_array().into_iter().flatten();
        let Some(rollout) = all.find(|of| of["service"] == *self.common.service) else { return false };
        let mut cohorts = rollout["cohorts"].as_array().into_iter().flatten();
        let now = cohorts.find(|of| of["name"] == *self.cohort).and_then(|of| of["share"].as_f64());
        rollout["to"] == *self.variant && now.is_some_and(|now| self.weight.0.as_f64() <= now * 100.0)
    }
}

impl Common {
    /// Asks, and tells the answer with the way back.
    fn ask(self, command: &str, mut wish: Value) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let actor = self.actor.or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        wish["actor"] = actor.into();
        wish["reason"] = self.reason.into();
        let page = if self.dry_run { format!("{command}?dryRun=true") } else { command.to_owned() };
        match client::ask_rollout(&door.address, &self.service, &page, &wish, self.timeout.0) {
            Ok(answer) => {
                let would = if answer["result"] == "would-do" { "would be done: " } else { "" };
                print(&format!("{would}{}\n", word(&answer["text"])))?;
                if answer["result"] != "unchanged" {
                    say(&format!("to undo it: {}", word(&answer["undo"])));
                }
                if let Some(permanent) = answer["permanent"].as_str() {
                    say("to make it permanent, write this into the file:\n");
                    permanent.lines().for_each(|line| say(&printable(line)));
                } else if command == "rollback" && answer["result"] != "unchanged" {
                    say(
                        "it holds through reloads and restarts, and the file gives no more than that: nothing to write",
                    );
                }
                Ok(Exit::Yes)
            }
            Err(error) => Ok(door.tell(&error)),
        }
    }
}

/// A time such as `30m`, as it was written.
fn lasting(text: &str) -> Result<String, String> {
    match text.parse::<values::Duration>()? {
        values::Duration(std::time::Duration::ZERO) => Err("it is to last longer than none".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What raises a share asks on a terminal, and needs `--yes` elsewhere.
fn is_sure(yes: bool, what: &str) -> bool {
    if yes {
        return true;
    }
    if !std::io::stdin().is_terminal() {
        say(&format!("error: {what}: nobody can be asked here; add --yes"));
        return false;
    }
    say(&format!("{what}. Type yes to do it:"));
    let mut line = String::new();
    let is_read = std::io::stdin().read_line(&mut line).is_ok();
    is_read && matches!(line.trim(), "yes" | "y")
}
