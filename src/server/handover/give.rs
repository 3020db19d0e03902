//! The side of the old process.

use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

use super::wire::{Problem, SOCKETS_MAX, Wire};
use super::{ANSWER_TIME_MAX, PATIENCE, Purpose, SCHEMA};
use crate::control::Handle;

/// All that can be handed over. Duplicates of descriptors: the sockets themselves are in use elsewhere.
pub(crate) struct Estate {
    /// The control thread, which knows the listeners of the moment.
    pub(crate) handle: Handle,
    /// By its address of the file.
    pub(crate) telemetry: (SocketAddr, TcpListener),
    /// By its address of the file.
    pub(crate) admin: (String, OwnedFd),
    /// Where the next process asks, by its path.
    pub(crate) upgrade: Option<(String, OwnedFd)>,
    /// Files of sockets that must stay where they are once they belong to somebody else.
    pub(crate) keep_files: Vec<Arc<AtomicBool>>,
    /// Told when it is given: the doors close.
    pub(crate) given: Arc<Notify>,
    /// Somebody is taking over.
    pub(crate) is_busy: AtomicBool,
}

impl Estate {
    /// Hands everything to the process at the other end, and begins to drain. On an error nothing has changed.
    ///
    /// Returns the id of the new process. Blocks; not for async code.
    pub(crate) fn give(&self, stream: UnixStream) -> Result<u32, Problem> {
        if self.is_busy.swap(true, Ordering::AcqRel) {
            return Err(Problem::Busy);
        }
        let given = self.try_give(stream);
        if given.is_err() {
            self.is_busy.store(false, Ordering::Release);
        }
        given
    }

    fn try_give(&self, stream: UnixStream) -> Result<u32, Problem> {
        let mut wire = Wire::new(stream, PATIENCE)?;
        let hello = wire.hear()?;
        if hello["schema"] != SCHEMA {
            return Err(Problem::Odd(format!("a hand-over of the kind {}, not {SCHEMA}", hello["schema"])));
        }
        let id = hello["pid"].as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| Problem::Odd("no process id".to_owned()))?;

        let listeners = self.handle.sockets().map_err(|_| Problem::Ending)?.blocking_recv();
        let listeners = listeners.map_err(|_| Problem::Ending)?;
        self.send(&mut wire, &listeners)?;
        // ours go now: a listener that is closed meanwhile must not stay open here
        drop(listeners);

        wire.expect_word("ready")?;
        wire.extend(ANSWER_TIME_MAX);
        wire.say(&json!("go"))?;
        wire.expect_word("serving")?;
        self.keep_files.iter().for_each(|keep| keep.store(true, Ordering::Release));
        let told = self.handle.hand_over(id).map_err(|_| Problem::Ending)?;
        // the service manager must know of the new process before that one speaks to it
        let _ = told.blocking_recv();
        self.given.notify_waiters();
        // the new process serves already: it only has not been told that it is alone
        let _ = wire.say(&json!("done"));
        Ok(id)
    }

    fn send(&self, wire: &mut Wire, listeners: &[(SocketAddr, TcpListener)]) -> Result<(), Problem> {
        let (list, descriptors) = self.list(listeners);
        if descriptors.len() > SOCKETS_MAX {
            return Err(Problem::Odd(format!("{} sockets, at most {SOCKETS_MAX}", descriptors.len())));
        }
        wire.say(&json!({ "schema": SCHEMA, "pid": std::process::id(), "sockets": list }))?;
        wire.send_descriptors(&descriptors)
    }

    fn list<'s>(&'s self, listeners: &'s [(SocketAddr, TcpListener)]) -> (Vec<Value>, Vec<BorrowedFd<'s>>) {
        let mut all: Vec<(Purpose, BorrowedFd<'_>)> =
            listeners.iter().map(|(address, socket)| (Purpose::Listener(*address), socket.as_fd())).collect();
        all.push((Purpose::Telemetry(self.telemetry.0), self.telemetry.1.as_fd()));
        all.push((Purpose::Admin(self.admin.0.clone()), self.admin.1.as_fd()));
        all.extend(self.upgrade.as_ref().map(|(path, socket)| (Purpose::Upgrade(path.clone()), socket.as_fd())));
        let word = |(purpose, descriptor): (Purpose, _)| {
            let (kind, address) = purpose.to_words();
            (json!({ "kind": kind, "address": address }), descriptor)
        };
        all.into_iter().map(word).unzip()
    }
}
