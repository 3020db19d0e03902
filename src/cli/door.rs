//! The admin door of a running instance, as commands find it.

use anyhow::Context;

use super::Exit;
use super::out::say;
use super::prepared::ConfigPath;
use crate::config::load;
use crate::control::AdminAddress;
use crate::control::client::ClientError;

/// The options that name the door.
#[derive(Debug, clap::Args)]
pub(super) struct AdminDoor {
    #[command(flatten)]
    config: ConfigPath,
    /// The admin door: IP:PORT or unix:/PATH [default: the file's, else 127.0.0.1:9901]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl AdminDoor {
    /// Where the door is. A file that is being edited says nothing about the process, so its errors do not matter.
    pub(super) fn address(&self) -> anyhow::Result<AdminAddress> {
        if let Some(admin) = &self.admin {
            return admin.parse::<AdminAddress>().map_err(anyhow::Error::msg).context("--admin");
        }
        let file = load(&self.config.path()).map(|loaded| loaded.file).unwrap_or_default();
        AdminAddress::of(&file).map_err(anyhow::Error::msg)
    }
}

/// Tells why there was no good answer.
pub(super) fn tell(error: &ClientError) -> Exit {
    if let ClientError::Refused { text, .. } = error
        && !text.is_empty()
    {
        say(text.trim_end());
    }
    say(&format!("error: {error}"));
    Exit::of_code(error.exit_code())
}
