use crate::config::values;
use crate::control::client;

use super::Exit;
use super::door::AdminDoor;
use super::out::{print, say};

/// Print a link to the dashboard of a running instance, to be opened in a browser of this machine.
///
/// The link signs in as whoever asks, once, within ten minutes. Exit code 0 here it is, 3 nobody answers or lets us in.
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
        match client::sign_in_link(&door.address, self.timeout.0) {
            Ok(link) => match link["url"].as_str() {
                Some(url) => {
                    print(&format!("{url}\n"))?;
                    say("open it in a browser of this machine, once, within ten minutes");
                    Ok(Exit::Yes)
                }
                None => {
                    say("error: browsers do not open sockets: give `admin.address` an address such as 127.0.0.1:9901");
                    Ok(Exit::Input)
                }
            },
            Err(error) => Ok(door.tell(&error)),
        }
    }
}
