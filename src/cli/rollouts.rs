//! What people ask of a rollout: `pause`, `resume`, `promote`, `rollback`, `retry`, `approve`, `skip`, `set-weight`.

use serde_json::{Value, json};
use std::io::IsTerminal;

use super::Exit;
use super::door::AdminDoor;
use super::out::{print, say};
use crate::config::values;
use crate::control::client;

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

/// Give a variant another share of a cohort, until `resume` or for a while.
#[derive(Debug, clap::Args)]
pub(super) struct SetWeight {
    #[command(flatten)]
    common: Common,
    /// The variant
    #[arg(value_name = "VARIANT")]
    variant: String,
    /// Percent of the cohort
    #[arg(value_name = "PERCENT")]
    weight: f64,
    /// The cohort
    #[arg(long, default_value = "everyone", value_name = "NAME")]
    cohort: String,
    /// For how long
    #[arg(long = "for", value_name = "DURATION")]
    lasts: Option<String>,
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
        match is_sure(self.yes, &format!("promote {}: {what}", self.common.service)) {
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
        match is_sure(self.yes, &format!("begin again what was taken back of {}", self.common.service)) {
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
        match is_sure(self.yes, &format!("leave out a step of {}", self.common.service)) {
            true => self.common.ask("skip", json!({})),
            false => Ok(Exit::Input),
        }
    }
}

impl SetWeight {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let what = format!("{} gets {} % of {}/{}", self.variant, self.weight, self.common.service, self.cohort);
        if !is_sure(self.yes, &what) {
            return Ok(Exit::Input);
        }
        let more = json!({
            "cohort": self.cohort, "variant": self.variant, "weight": self.weight, "lasts": self.lasts,
        });
        self.common.ask("set-weight", more)
    }
}

impl Common {
    /// Asks, and tells the answer with the way back.
    fn ask(self, command: &str, mut wish: Value) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let actor = self.actor.or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        wish["actor"] = actor.into();
        wish["reason"] = self.reason.into();
        match client::ask_rollout(&door.address, &self.service, command, &wish, self.timeout.0) {
            Ok(answer) => {
                print(&format!("{}\n", answer["text"].as_str().unwrap_or_default()))?;
                if answer["result"] == "done" {
                    say(&format!("to undo it: {}", answer["undo"].as_str().unwrap_or_default()));
                }
                if let Some(permanent) = answer["permanent"].as_str() {
                    say(&format!("to make it permanent, write it into the file: {permanent}"));
                }
                Ok(Exit::Yes)
            }
            Err(error) => Ok(door.tell(&error)),
        }
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
