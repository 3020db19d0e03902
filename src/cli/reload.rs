use crate::config::values;
use crate::control::client::{self, Reloaded};

use super::Exit;
use super::door::AdminDoor;
use super::out::say;

/// Reload the files of a running instance and wait for the result.
///
/// Exit code 0 in force, 1 rejected (the old configuration stays), 3 nobody answers, 4 no answer in time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: AdminDoor,
    /// How long to wait for the result
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    timeout: values::Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        match client::reload(&door.address, self.timeout.0) {
            Ok(Reloaded::Applied { rev, previous_rev, took_ms, warnings }) => {
                for warning in warnings {
                    say(&format!("warning: {warning}"));
                }
                say(&format!("reloaded: rev {rev} is in force after {took_ms:.0} ms (before: {previous_rev})"));
                Ok(Exit::Yes)
            }
            Ok(Reloaded::Unchanged { rev }) => {
                say(&format!("nothing changed: rev {rev} is in force"));
                Ok(Exit::Yes)
            }
            Err(error) => Ok(door.tell(&error)),
        }
    }
}
