use crate::config::values;
use crate::control::client;

use super::Exit;
use super::door::AdminDoor;
use super::out::say;
use std::time::{Duration, Instant};

/// Let a running instance finish what is in flight and end.
///
/// Its readiness fails at once, so that load balancers turn away. Exit code 0 it drains, 3 nobody answers.
///
/// As a `preStop` hook: `ringway drain --after 10s` goes on serving for as long as load balancers need to turn away, and
/// the SIGTERM that follows the hook cuts nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    door: AdminDoor,
    /// Serve for this long before the drain begins
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    after: values::Duration,
    /// How long to wait for the answer
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    timeout: values::Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        wait(self.after.0);
        match client::drain(&door.address, self.timeout.0) {
            Ok(()) => {
                say("draining: no new connections; the process ends when what is in flight has finished");
                Ok(Exit::Yes)
            }
            Err(error) => Ok(door.tell(&error)),
        }
    }
}

/// Nothing to wait for but the time: whoever calls a hook kills it when that takes too long.
fn wait(time: Duration) {
    let until = Instant::now() + time;
    while let Some(rest) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(rest);
    }
}
