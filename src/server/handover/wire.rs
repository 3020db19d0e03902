//! What goes over the socket between two processes: short JSON texts with their length before them, and descriptors.

use rustix::net::sockopt::{socket_acceptconn, socket_peercred};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde_json::Value;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Why sockets were not handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The other process has ended, or is too slow.
    #[error("the other process did not answer: {0}")]
    Silent(io::Error),
    /// The other process says something else than it should.
    #[error("the other process says something that is not understood: {0}")]
    Odd(String),
    /// The other process belongs to another user.
    #[error("the other process belongs to user {0}, this one to another")]
    Stranger(u32),
    /// Another process is taking over at this moment, or has done so.
    #[error("another process is taking over already")]
    Busy,
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

/// Bytes of a text: a thousand workers with a few listeners.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Sockets that are handed over.
pub(super) const SOCKETS_MAX: usize = 8192;
/// Descriptors of one message; the kernel takes 253.
const DESCRIPTORS_AT_ONCE: usize = 64;

/// One end of the conversation. All of it must be over in the time that it was made with.
pub(super) struct Wire {
    stream: UnixStream,
    until: Instant,
}

impl Wire {
    /// Refuses a process of another user: whoever gets the sockets gets the traffic.
    pub(super) fn new(stream: UnixStream, patience: Duration) -> Result<Wire, Problem> {
        stream.set_nonblocking(false).map_err(Problem::Silent)?;
        let peer = socket_peercred(&stream).map_err(|error| Problem::Silent(error.into()))?;
        if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
            return Err(Problem::Stranger(peer.uid.as_raw()));
        }
        Ok(Wire { stream, until: Instant::now() + patience })
    }

    /// From now on, this long.
    pub(super) fn extend(&mut self, patience: Duration) {
        self.until = Instant::now() + patience;
    }

    pub(super) fn say(&mut self, text: &Value) -> Result<(), Problem> {
        let text = text.to_string();
        let length = u32::try_from(text.len()).map_err(|_| Problem::Odd("a text is too long".to_owned()))?;
        self.stream.set_write_timeout(Some(self.left()?)).map_err(Problem::Silent)?;
        let sent = self.stream.write_all(&length.to_be_bytes()).and_then(|()| self.stream.write_all(text.as_bytes()));
        sent.map_err(Problem::Silent)
    }

    pub(super) fn hear(&mut self) -> Result<Value, Problem> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > TEXT_BYTES_MAX {
            return Err(Problem::Odd(format!("a text of {length} bytes")));
        }
        let mut text = vec![0; length];
        self.read(&mut text)?;
        serde_json::from_slice(&text).map_err(|error| Problem::Odd(error.to_string()))
    }

    /// Waits for exactly this word.
    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Problem> {
        let heard = self.hear()?;
        if heard == word { Ok(()) } else { Err(Problem::Odd(format!("{heard} where {word:?} was due"))) }
    }

    pub(super) fn send_descriptors(&mut self, descriptors: &[BorrowedFd<'_>]) -> Result<(), Problem> {
        for some in descriptors.chunks(DESCRIPTORS_AT_ONCE) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(some)) {
                return Err(Problem::Odd("no room for descriptors".to_owned()));
            }
            self.stream.set_write_timeout(Some(self.left()?)).map_err(Problem::Silent)?;
            let sent = sendmsg(&self.stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL);
            sent.map_err(|error| Problem::Silent(error.into()))?;
        }
        Ok(())
    }

    /// Takes exactly this many, each of which must be a socket that listens.
    pub(super) fn take_descriptors(&mut self, count: usize) -> Result<Vec<OwnedFd>, Problem> {
        let mut taken = Vec::with_capacity(count.min(SOCKETS_MAX));
        while taken.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            self.stream.set_read_timeout(Some(self.left()?)).map_err(Problem::Silent)?;
            let mut byte = [0];
            let received =
                recvmsg(&self.stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
            let received = received.map_err(|error| Problem::Silent(error.into()))?;
            let before = taken.len();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    taken.extend(descriptors);
                }
            }
            if received.bytes == 0 {
                return Err(Problem::Silent(io::ErrorKind::UnexpectedEof.into()));
            }
            if taken.len() == before {
                return Err(Problem::Odd("a descriptor is missing".to_owned()));
            }
        }
        let listens = |descriptor: &OwnedFd| socket_acceptconn(descriptor.as_fd()).unwrap_or(false);
        if taken.len() > count || !taken.iter().all(listens) {
            return Err(Problem::Odd("a descriptor is no listening socket".to_owned()));
        }
        Ok(taken)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Problem> {
        let mut done = 0;
        while done < bytes.len() {
            self.stream.set_read_timeout(Some(self.left()?)).map_err(Problem::Silent)?;
            match self.stream.read(&mut bytes[done..]) {
                Ok(0) => return Err(Problem::Silent(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::Silent(error)),
            }
        }
        Ok(())
    }

    fn left(&self) -> Result<Duration, Problem> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Problem::Silent(io::ErrorKind::TimedOut.into())) } else { Ok(left) }
    }
}
