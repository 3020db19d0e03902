use crate::config::values;
use crate::control::client;

use super::Exit;
use super::door::AdminDoor;
use super::out::say;

/// Let a running instance finish what is in flight and end.
///
/// Its readiness fails at once, so that load balancers turn away. Exit code 0 it drains, 3 nobody answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: AdminDoor,
    /// How long to wait for the answer
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    timeout: values::Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        match client::drain(&door.address, self.timeout.0) {
            Ok(()) => {
                say("draining: no new connections; the process ends when what is in flight has finished");
                Ok(Exit::Yes)
            }
            Err(error) => Ok(door.tell(&error)),
        }
    }
}
