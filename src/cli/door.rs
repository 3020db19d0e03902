//! The doors of a running instance, as commands find them.

use anyhow::Context;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Exit;
use super::out::say;
use super::prepared::ConfigPath;
use crate::config::files::Secret;
use crate::control::Doors;
use crate::control::client::{ClientError, Door, Place};

/// The options that name the door.
#[derive(Debug, clap::Args)]
pub(super) struct AdminDoor {
    #[command(flatten)]
    config: ConfigPath,
    /// The admin door: IP:PORT, unix:/PATH or https://HOST:PORT [default: the file's, else 127.0.0.1:9901]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Who vouches for the certificate of an https door, or that certificate (PEM) [default: the system's authorities]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A file with the token that proves who asks [default: the variable RINGWAY_TOKEN; without, none is sent]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The variable with a token.
const TOKEN_VARIABLE: &str = "RINGWAY_TOKEN";

/// Where a door is, and how that is known.
pub(super) struct Found<A> {
    pub(super) address: A,
    /// The file that should have told, and could not.
    silent: Option<PathBuf>,
}

impl AdminDoor {
    /// The file.
    pub(super) fn config(&self) -> &ConfigPath {
        &self.config
    }

    /// Somebody said whom to ask.
    pub(super) fn is_named(&self) -> bool {
        self.admin.is_some() || self.token_file.is_some() || self.ca_file.is_some()
    }

    /// Where the door is, with the token to show there.
    pub(super) fn find(&self) -> anyhow::Result<Found<Door>> {
        let token = self.token()?;
        let (place, silent) = match &self.admin {
            Some(admin) => {
                let place = Place::parse(admin, self.ca_file.as_deref());
                (place.map_err(anyhow::Error::msg).context("--admin")?, None)
            }
            None => {
                let Found { address: doors, silent } = of_file(&self.config, |doors| doors);
                (Place::of_doors(&doors).map_err(anyhow::Error::msg).context("admin.tls of the file")?, silent)
            }
        };
        Ok(Found { address: Door { place, token }, silent })
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let text = match &self.token_file {
            Some(path) => {
                let secret = Secret::load(path);
                let secret = secret.map_err(|problem| anyhow::anyhow!("{} {}", path.display(), problem.message))?;
                String::from_utf8(secret.expose().to_vec()).context("--token-file is no text")?
            }
            None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
        };
        Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

/// The telemetry door: the one that was named, else the file's.
pub(super) fn find_telemetry(named: Option<SocketAddr>, config: &ConfigPath) -> Found<SocketAddr> {
    match named {
        Some(address) => Found { address, silent: None },
        None => of_file(config, |doors| doors.telemetry),
    }
}

fn of_file<A>(config: &ConfigPath, choose: impl FnOnce(Doors) -> A) -> Found<A> {
    let path = config.path();
    let doors = Doors::of(&path);
    let silent = doors.are_guessed.then_some(path);
    Found { address: choose(doors), silent }
}

impl<A> Found<A> {
    /// Tells why there was no good answer.
    pub(super) fn tell(&self, error: &ClientError) -> Exit {
        if let ClientError::Refused { text, .. } = error
            && !text.is_empty()
        {
            say(text.trim_end());
        }
        say(&format!("error: {error}"));
        if let ClientError::Denied { help, .. } = error {
            say(help);
        }
        if let (Some(path), ClientError::Unreachable { .. }) = (&self.silent, error) {
            let path = path.display();
            say(&format!(
                "{path} is missing or cannot be read, so the default address was asked; --admin says where it is, \
                 -c names another file"
            ));
        }
        Exit::of_code(error.exit_code())
    }
}
