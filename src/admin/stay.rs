//! How long a connection may stay: an answer is given within a minute, a stream lasts as long as somebody looks.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Streams at a time: fewer than there may be connections, so that whoever looks never keeps out who must act.
pub(super) const STREAMS_MAX: usize = 64;
/// The most that a connection may take without a stream, from accepting it to closing it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// The most that a stream may take; a browser comes again by itself.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3600);

/// The places for streams.
#[derive(Clone, Debug)]
pub(super) struct Streams(Arc<Semaphore>);

/// The stay of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Stay {
    place: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    ended: Arc<Notify>,
    asked: Arc<AtomicUsize>,
}

/// Something that was asked by somebody who may, until it is answered.
#[derive(Debug)]
pub(super) struct Asked(Stay);

impl Default for Streams {
    fn default() -> Streams {
        Streams(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

impl Stay {
    /// The connection becomes a stream; false when there are too many.
    pub(super) fn become_stream(&self, streams: &Streams) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_none() {
            *place = Arc::clone(&streams.0).try_acquire_owned().ok();
        }
        place.is_some()
    }

    /// Somebody who may ask has asked: the connection is needed until the answer is there.
    pub(super) fn ask(&self) -> Asked {
        self.asked.fetch_add(1, Relaxed);
        Asked(self.clone())
    }

    /// It is being answered, or is a stream.
    pub(super) fn is_needed(&self) -> bool {
        self.asked.load(Relaxed) > 0 || self.is_stream()
    }

    fn is_stream(&self) -> bool {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Ends when the connection has been there for long enough.
    pub(super) async fn over(&self) {
        tokio::select! {
            () = self.ended.notified() => {}
            () = self.too_long() => {}
        }
    }

    /// The connection ends now: whoever looks does not take what is sent, or somebody else needs its place.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    async fn too_long(&self) {
        tokio::time::sleep(CONNECTION_TIME_MAX).await;
        if self.is_stream() {
            tokio::time::sleep(STREAM_TIME_MAX).await;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Relaxed);
    }
}
