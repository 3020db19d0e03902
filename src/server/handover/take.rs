//! The side of the new process.

use serde_json::json;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::wire::{Problem, SOCKETS_MAX, Wire};
use super::{ANSWER_TIME_MAX, PATIENCE, Purpose, SCHEMA};

/// The sockets of the process before this one, which serves until [`Inheritance::begin`].
pub(crate) struct Inheritance {
    wire: Wire,
    sockets: Vec<(Purpose, OwnedFd)>,
    /// The process that hands over.
    pub(crate) from: u64,
}

impl Inheritance {
    /// Asks the process at the other end for its sockets.
    pub(crate) fn ask(stream: UnixStream) -> Result<Inheritance, Problem> {
        let mut wire = Wire::new(stream, PATIENCE)?;
        wire.say(&json!({ "schema": SCHEMA, "pid": std::process::id() }))?;
        let offer = wire.hear()?;
        if offer["schema"] != SCHEMA {
            return Err(Problem::Odd(format!("a hand-over of the kind {}, not {SCHEMA}", offer["schema"])));
        }
        let list = offer["sockets"].as_array().filter(|list| list.len() <= SOCKETS_MAX);
        let list = list.ok_or_else(|| Problem::Odd("no list of sockets".to_owned()))?;
        let purpose = |socket: &serde_json::Value| {
            let (kind, address) = (socket["kind"].as_str()?, socket["address"].as_str()?);
            Purpose::of_words(kind, address)
        };
        let purposes: Option<Vec<Purpose>> = list.iter().map(purpose).collect();
        let purposes = purposes.ok_or_else(|| Problem::Odd("a socket for something unknown".to_owned()))?;
        let descriptors = wire.take_descriptors(purposes.len())?;
        let from = offer["pid"].as_u64().unwrap_or_default();
        Ok(Inheritance { wire, sockets: purposes.into_iter().zip(descriptors).collect(), from })
    }

    /// Takes the sockets of the listeners, by their address of the file.
    pub(crate) fn listeners(&mut self) -> BTreeMap<SocketAddr, Vec<TcpListener>> {
        let mut listeners: BTreeMap<SocketAddr, Vec<TcpListener>> = BTreeMap::new();
        let (taken, rest): (Vec<_>, Vec<_>) =
            self.sockets.drain(..).partition(|(purpose, _)| matches!(purpose, Purpose::Listener(_)));
        self.sockets = rest;
        for (purpose, descriptor) in taken {
            if let Purpose::Listener(address) = purpose {
                listeners.entry(address).or_default().push(descriptor.into());
            }
        }
        listeners
    }

    /// Takes the socket of the telemetry door, if it was at this address of the file.
    pub(crate) fn telemetry(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.take(&Purpose::Telemetry(address)).map(TcpListener::from)
    }

    /// Takes the socket of the admin door, if it was at this address of the file.
    pub(crate) fn admin(&mut self, address: &str) -> Option<OwnedFd> {
        self.take(&Purpose::Admin(address.to_owned()))
    }

    /// Takes the socket on which the process after this one will ask, if it was at this path.
    pub(crate) fn upgrade(&mut self, path: &str) -> Option<OwnedFd> {
        self.take(&Purpose::Upgrade(path.to_owned()))
    }

    /// Everything is made: may connections be accepted? What was not taken is closed here. Blocks.
    pub(crate) fn begin(mut self) -> Result<Beginning, Problem> {
        self.sockets.clear();
        self.wire.extend(ANSWER_TIME_MAX);
        self.wire.say(&json!("ready"))?;
        self.wire.expect_word("go")?;
        Ok(Beginning { wire: self.wire })
    }

    fn take(&mut self, wanted: &Purpose) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(purpose, _)| purpose == wanted)?;
        Some(self.sockets.swap_remove(at).1)
    }
}

/// The new process may accept connections, and the old one still does.
pub(crate) struct Beginning {
    wire: Wire,
}

impl Beginning {
    /// Connections are accepted: the old process may let go. Blocks.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        self.wire.extend(ANSWER_TIME_MAX);
        self.wire.say(&json!("serving"))?;
        self.wire.expect_word("done")
    }
}
