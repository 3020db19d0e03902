use std::net::SocketAddr;

use super::Exit;
use super::door::find_telemetry;
use super::prepared::ConfigPath;
use crate::config::values;
use crate::control::client;

/// Ask a running instance whether it is ready.
///
/// For images without a shell: `HEALTHCHECK CMD ["ringway", "healthcheck"]`. Exit code 0 ready, 1 not ready,
/// 3 nobody answers, 4 no answer in time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// The address of the telemetry door [default: the file's, else 127.0.0.1:9902]
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Ask whether the process lives, not whether it is ready
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    timeout: values::Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = find_telemetry(self.address, &self.config);
        let ask = if self.live { client::alive } else { client::ready };
        match ask(door.address, self.timeout.0) {
            Ok(()) => Ok(Exit::Yes),
            Err(error) => Ok(door.tell(&error)),
        }
    }
}
