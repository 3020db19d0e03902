//! The change of the program while it serves: the next process is started, or asks, and takes over.
//!
//! | who begins | how the two meet |
//! | --- | --- |
//! | SIGUSR2 to the process that serves | it starts its own program again, with a socket as standard input |
//! | `ringway run --upgrade`, by anybody of the same user | at `upgrade.sock` in `stateDir`, or beside the admin socket |

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use super::StartError;
use super::handover::{Estate, Inheritance, Problem};
use crate::admin;
use crate::config::schema::File;
use crate::control::AdminAddress;
use crate::control::supervisor::{self, News};

/// Whom a process takes over from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Nobody.
    #[default]
    No,
    /// The process that serves the same file, if there is one.
    ByPath,
    /// The process at the other end of standard input.
    ByStdin,
}

/// Why the next process did not take over.
#[derive(Debug, thiserror::Error)]
pub(super) enum NextError {
    #[error("the program cannot be started: {0}")]
    Start(io::Error),
    #[error(transparent)]
    HandOver(#[from] Problem),
}

/// Tells a process that its standard input is a [`Takeover::ByStdin`].
const VARIABLE: &str = "RINGWAY_UPGRADE";
const BY_STDIN: &str = "stdin";
/// Says to a service manager which process it watches; the next one is another.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

impl Takeover {
    /// What the process that started this one wants, else what was asked for.
    pub(super) fn or_of_environment(self) -> Takeover {
        match std::env::var_os(VARIABLE) {
            Some(value) if value == OsStr::new(BY_STDIN) => Takeover::ByStdin,
            _ => self,
        }
    }
}

/// Asks for the sockets of the process before this one.
pub(super) fn inherit(takeover: Takeover, file: &File) -> Result<Option<Inheritance>, StartError> {
    let stream = match takeover {
        Takeover::No => return Ok(None),
        Takeover::ByStdin => io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(super::system)?,
        Takeover::ByPath => {
            let path = path_of(file).ok_or_else(|| {
                let help = "set `stateDir`, or `admin: { address: \"unix:/run/ringway/admin.sock\" }`; or send SIGUSR2";
                StartError::Upgrade(format!("this file names no place where two processes could meet: {help}"))
            })?;
            match UnixStream::connect(&path) {
                Ok(stream) => stream,
                Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) => {
                    tracing::info!(path = %path.display(), "nobody to take over from: starting as usual");
                    return Ok(None);
                }
                Err(error) => return Err(StartError::Upgrade(format!("{}: {error}", path.display()))),
            }
        }
    };
    let inheritance = Inheritance::ask(stream).map_err(|problem| StartError::Upgrade(problem.to_string()))?;
    tracing::info!(from = inheritance.from, "taking over");
    Ok(Some(inheritance))
}

/// Where the next process asks.
pub(super) fn path_of(file: &File) -> Option<PathBuf> {
    match (&file.state_dir, AdminAddress::of(file)) {
        (Some(dir), _) => Some(dir.join("upgrade.sock")),
        (None, Ok(AdminAddress::Unix(admin))) => {
            let mut path = admin.into_os_string();
            path.push(".upgrade");
            Some(path.into())
        }
        (None, _) => None,
    }
}

/// The door at which the next process asks. Must be called within a Tokio runtime.
pub(super) fn door(path: Option<PathBuf>, inherited: Option<OwnedFd>) -> Option<admin::Door> {
    let address = AdminAddress::Unix(path?);
    let door = match inherited {
        Some(socket) => admin::Door::inherited(&address, socket),
        None => admin::bind(&address),
    };
    let refused = |error: &io::Error| {
        tracing::warn!(%address, %error, "`run --upgrade` cannot take over from this process; SIGUSR2 can");
    };
    door.inspect_err(refused).ok()
}

/// Hands over to whoever asks at the door, one after the other, until it is given.
pub(super) async fn offer(door: Option<admin::Door>, estate: Arc<Estate>) {
    let Some(door) = door else { return };
    loop {
        let stream = match door.accept_unix().await.and_then(tokio::net::UnixStream::into_std) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot be asked for an upgrade now");
                tokio::time::sleep(admin::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let estate = Arc::clone(&estate);
        let given = tokio::task::spawn_blocking(move || estate.give(stream)).await;
        match given {
            Ok(Ok(_)) => return,
            Ok(Err(problem)) => tell_failure(&problem),
            Err(_) => tracing::error!("the upgrade broke off, this process goes on"),
        }
    }
}

/// Starts the program of this process again, and hands over to it. Blocks until it serves, or has failed.
pub(super) fn start_next(estate: &Estate) {
    tracing::info!("starting the program anew, to hand over to it");
    supervisor::tell(News::Status("upgrading"));
    if let Err(error) = try_start_next(estate) {
        tell_failure(&error);
    }
}

fn try_start_next(estate: &Estate) -> Result<u32, NextError> {
    let (ours, theirs) = UnixStream::pair().map_err(NextError::Start)?;
    let mut arguments = std::env::args_os();
    let program = arguments.next().ok_or_else(|| NextError::Start(io::ErrorKind::NotFound.into()))?;
    let mut command = Command::new(program);
    command.args(arguments).env(VARIABLE, BY_STDIN).env_remove(WATCHDOG_PROCESS).stdin(OwnedFd::from(theirs));
    let mut next = command.spawn().map_err(NextError::Start)?;
    // with the command goes our copy of its end: when it ends, we are told
    drop(command);
    let given = estate.give(ours);
    if given.is_err() {
        // it may have ended by itself
        let _ = next.kill();
        let _ = next.wait();
    }
    Ok(given?)
}

fn tell_failure(problem: &dyn std::error::Error) {
    tracing::error!(%problem, "not upgraded: the new process did not come so far as to serve; this one goes on");
    supervisor::tell(News::Ready("serving; the last upgrade failed, see the log"));
}
