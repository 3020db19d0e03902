//! `ringway status`: what is in force, once, all the time, or until a rollout is where it should be.

mod gates;
mod text;
mod wait;

use serde_json::Value;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Exit;
use super::door::{AdminDoor, Found};
use super::out::{Output, print, print_json, say};
use super::picture::Picture;
use crate::config::values;
use crate::control::client::{self, Door};
use text::Seen;

pub(super) use text::row as figures_of;
use wait::Awaited;

/// Show what is in force: rollouts with their phase, step and gates, and who gets what.
///
/// Exit code 0 it is shown or has come, 1 there is no such service, or what is waited for cannot come any more, 3 nobody
/// answers, 4 it has not come in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway status shop\n  ringway status --watch\n  \
    ringway status shop --wait promoted --timeout 2h && ./announce.sh")]
pub(super) struct Args {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// Show it again and again; a line for each change where the output is no terminal
    #[arg(short, long)]
    watch: bool,
    /// Wait until the rollout is in this phase
    #[arg(long, value_enum, value_name = "PHASE")]
    wait: Option<Awaited>,
    /// Of the rollout with this id, which may be yet to come
    #[arg(long, value_name = "ID", requires = "wait")]
    rollout: Option<String>,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(flatten)]
    door: AdminDoor,
    /// How long to wait for the answer, or for the phase [default: 5s, with --wait 30m]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<values::Duration>,
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const PHASE_WITHIN: Duration = Duration::from_secs(30 * 60);
/// As good as for ever: a year.
pub(super) const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let patience = self.timeout.map(|timeout| timeout.0);
        if let Some(phase) = self.wait {
            let wanted = wait::Wanted { phase, service: self.service, rollout: self.rollout };
            return wanted.wait(&door, patience.unwrap_or(PHASE_WITHIN));
        }
        let first = match self.once(&door.address, patience.unwrap_or(ANSWER_WITHIN)) {
            Ok(first) => first,
            Err(error) => return Ok(door.tell(&error)),
        };
        let Some(first) = self.only(first) else { return Ok(Exit::No) };
        if self.watch {
            return self.watch(&door, first);
        }
        match self.output {
            Output::Json => print_json(&first.status)?,
            Output::Text => print(&first.text(now()))?,
        }
        Ok(Exit::Yes)
    }

    fn once(&self, door: &Door, patience: Duration) -> Result<Seen, client::ClientError> {
        let status = client::status(door, patience)?;
        if self.output == Output::Json {
            return Ok(Seen { status, ..Seen::default() });
        }
        let rollouts = client::page(door, "/api/v1/rollouts", patience)?["rollouts"].take();
        let files = client::page(door, "/api/v1/config", patience)?["files"].take();
        Ok(Seen { status, rollouts, files })
    }

    /// Without the other services. `None` after it was told that there is none of this name.
    fn only(&self, mut seen: Seen) -> Option<Seen> {
        let Some(name) = &self.service else { return Some(seen) };
        if let Some(services) = seen.status["services"].as_array_mut() {
            let known: Vec<String> = services.iter().map(|service| super::words::word(&service["name"])).collect();
            services.retain(|service| service["name"] == name.as_str());
            if services.is_empty() {
                say(&format!("error: there is no service {name}; there is {}", known.join(", ")));
                return None;
            }
        }
        Some(seen)
    }

    /// Until somebody ends it, or the door stays away.
    fn watch(&self, door: &Found<Door>, first: Seen) -> anyhow::Result<Exit> {
        let files = first.files.clone();
        let mut picture = Picture::new();
        let mut lines = Vec::new();
        let mut show = |seen: &Seen| -> std::io::Result<()> {
            if self.output == Output::Json {
                return print(&format!("{}\n", seen.status));
            }
            if picture.is_live() {
                return picture.draw(&seen.text(now()));
            }
            let found = seen.lines();
            for line in found.iter().filter(|line| !lines.contains(*line)) {
                print(&format!("{line}\n"))?;
            }
            lines = found;
            Ok(())
        };
        show(&first)?;
        let listened = client::listen(&door.address, "/api/v1/stream", None, FOR_EVER, |mut part| {
            if part.name != "tick" {
                return ControlFlow::Continue(());
            }
            let (status, rollouts) = (part.data["status"].take(), part.data["rollouts"].take());
            let Some(seen) = self.only(Seen { status, rollouts, files: files.clone() }) else {
                return ControlFlow::Break(Ok(Exit::No));
            };
            match show(&seen) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Err(error)),
            }
        });
        match listened {
            Ok(ended) => Ok(ended?),
            Err(error) => Ok(door.tell(&error)),
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The rollout of a service.
fn rollout_of<'r>(rollouts: &'r Value, service: &Value) -> Option<&'r Value> {
    super::words::each(rollouts).find(|rollout| rollout["service"] == *service)
}
