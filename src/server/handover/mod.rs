//! The hand-over of all listening sockets to the next process, so that a new binary takes over without a refused
//! connection.
//!
//! ```text
//! new: hello ──▶ old: list of sockets, and their descriptors
//! new: loads its files, looks up names … ready ──▶ old: go
//! new: accepts connections … serving ──▶ old: tells the supervisor, done, drains
//! ```
//!
//! The descriptors themselves are passed on (`SCM_RIGHTS`) rather than the addresses bound again: closing a socket of
//! a `SO_REUSEPORT` group drops the connections that wait in its queue. Up to `serving` the old process serves as
//! ever, so whatever goes wrong with the new one, nothing has happened.
//!
//! What this does not know: who starts the new process. See `upgrade`.

mod give;
mod take;
mod wire;

pub(super) use give::Estate;
pub(super) use take::{Beginning, Inheritance};
pub(super) use wire::Problem;

use std::net::SocketAddr;
use std::time::Duration;

/// From the first word to `serving`: the time of a start, with its files and names.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// For an answer that needs no work.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The version of what is said.
const SCHEMA: &str = "ringway.upgrade/v1";

/// What a socket is for, as both processes call it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Purpose {
    /// A listener, by its address of the file.
    Listener(SocketAddr),
    /// The telemetry door, by its address of the file.
    Telemetry(SocketAddr),
    /// The admin door, by its address of the file.
    Admin(String),
    /// Where the next process asks, by its path.
    Upgrade(String),
}

impl Purpose {
    fn to_words(&self) -> (&'static str, String) {
        match self {
            Purpose::Listener(address) => ("listener", address.to_string()),
            Purpose::Telemetry(address) => ("telemetry", address.to_string()),
            Purpose::Admin(address) => ("admin", address.clone()),
            Purpose::Upgrade(path) => ("upgrade", path.clone()),
        }
    }

    fn of_words(kind: &str, address: &str) -> Option<Purpose> {
        match kind {
            "listener" => address.parse().ok().map(Purpose::Listener),
            "telemetry" => address.parse().ok().map(Purpose::Telemetry),
            "admin" => Some(Purpose::Admin(address.to_owned())),
            "upgrade" => Some(Purpose::Upgrade(address.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
