use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Notify;

use super::{Limits, RetryBudget};

/// What all workers together use of a variant, so that one that is overloaded takes nothing from the others.
///
/// A request costs one addition here and one subtraction; only those beyond a limit wait, in the order of their
/// coming. It outlives a reload as long as endpoints of the variant do.
#[derive(Debug, Default)]
pub struct Load {
    requests: AtomicU32,
    connections: AtomicU32,
    pending: AtomicU32,
    /// Those of the pending that wait for a connection.
    short: AtomicU32,
    /// Told whenever a request has ended while others wait.
    turn: Notify,
    /// Told whenever a connection has ended while requests wait.
    room: Notify,
    /// Requests that were sent again; see there.
    pub retries: RetryBudget,
    /// What came of health checks and answers; for metrics.
    pub counts: HealthCounts,
}

/// What came of health checks and answers of a variant's endpoints.
#[derive(Debug, Default)]
pub struct HealthCounts {
    /// Health checks that passed.
    pub checks_passed: AtomicU64,
    /// Health checks that failed.
    pub checks_failed: AtomicU64,
    /// Endpoints ejected for errors in a row.
    pub ejected_consecutive: AtomicU64,
    /// Endpoints ejected for their success rate.
    pub ejected_success_rate: AtomicU64,
}

/// A limit of the variant was reached, and the wait for less was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// One request in flight. Ends with the drop, unless it is [kept](RequestPermit::keep).
#[derive(Debug)]
pub(super) struct RequestPermit<'l>(&'l Load);

/// One open connection. Ends with the drop.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<Load>);

/// One request that waits. Ends with the drop.
struct Pending<'l>(&'l Load);

/// One request that waits for a connection. Ends with the drop.
struct Short<'l>(&'l Load);

impl Load {
    /// A request is to be sent: now, or when there is room for it, within `wait`.
    pub(super) async fn admit(&self, limits: &Limits, wait: Duration) -> Result<RequestPermit<'_>, Overflow> {
        if let Some(permit) = self.try_request(limits) {
            return Ok(permit);
        }
        let _pending = self.queue(limits)?;
        let turn = async {
            loop {
                let mut told = pin!(self.turn.notified());
                told.as_mut().enable();
                if let Some(permit) = self.try_request(limits) {
                    return permit;
                }
                told.await;
            }
        };
        tokio::time::timeout(wait, turn).await.map_err(|_| Overflow)
    }

    /// Room for another connection, if there is any.
    pub(super) fn try_connection(self: &Arc<Self>, limits: &Limits) -> Option<ConnectionPermit> {
        has_room(&self.connections, limits.connections).then(|| ConnectionPermit(self.clone()))
    }

    /// Room for another connection as soon as there is any, or what `other` finds first, within `wait`. `other` is
    /// told when to look by `nearby`.
    pub(super) async fn wait_for_connection<T>(
        self: &Arc<Self>,
        limits: &Limits,
        wait: Duration,
        nearby: &Notify,
        mut other: impl FnMut() -> Option<T>,
    ) -> Result<Result<ConnectionPermit, T>, Overflow> {
        let _pending = self.queue(limits)?;
        self.short.fetch_add(1, SeqCst);
        let _short = Short(self);
        let found = async {
            loop {
                let (mut told, mut told_nearby) = (pin!(self.room.notified()), pin!(nearby.notified()));
                told.as_mut().enable();
                told_nearby.as_mut().enable();
                if let Some(found) = other() {
                    return Err(found);
                }
                if let Some(permit) = self.try_connection(limits) {
                    return Ok(permit);
                }
                tokio::select! {
                    () = told => {}
                    () = told_nearby => {}
                }
            }
        };
        tokio::time::timeout(wait, found).await.map_err(|_| Overflow)
    }

    /// A kept permit ends.
    pub(super) fn end_request(&self) {
        self.requests.fetch_sub(1, SeqCst);
        if self.pending.load(SeqCst) > 0 {
            self.turn.notify_one();
        }
    }

    /// True while requests wait for a connection: one that waits for requests is better closed.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(SeqCst) > 0
    }

    /// Requests in flight.
    pub fn requests(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    /// Open connections.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Requests that wait.
    pub fn pending(&self) -> u32 {
        self.pending.load(SeqCst)
    }

    fn try_request(&self, limits: &Limits) -> Option<RequestPermit<'_>> {
        has_room(&self.requests, limits.requests).then(|| RequestPermit(self))
    }

    fn queue(&self, limits: &Limits) -> Result<Pending<'_>, Overflow> {
        has_room(&self.pending, limits.pending).then(|| Pending(self)).ok_or(Overflow)
    }
}

/// Adds one, unless that is beyond `most`.
fn has_room(count: &AtomicU32, most: u32) -> bool {
    if count.fetch_add(1, SeqCst) < most {
        return true;
    }
    count.fetch_sub(1, SeqCst);
    false
}

impl RequestPermit<'_> {
    /// The request goes on; [`Load::end_request`] ends it.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, SeqCst);
        if self.0.pending.load(SeqCst) > 0 {
            self.0.room.notify_one();
        }
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        self.0.short.fetch_sub(1, SeqCst);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, SeqCst);
        // what told this one may have been meant for the next: a turn must not be lost with a client that goes away
        if self.0.pending.load(SeqCst) > 0 {
            self.0.turn.notify_one();
            self.0.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { connections: 1, pending: 2, requests: 1 };
    const WAIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn beyond_the_limit_a_request_waits_and_beyond_the_queue_it_does_not() {
        let load = Load::default();
        let first = load.admit(&LIMITS, WAIT).await.unwrap();
        let began = tokio::time::Instant::now();
        let (one, two, three, ()) =
            tokio::join!(load.admit(&LIMITS, WAIT), load.admit(&LIMITS, WAIT), load.admit(&LIMITS, WAIT), async {
                assert_eq!((load.requests(), load.pending()), (1, 2));
                drop(first);
            });
        // the first in the queue gets the turn and keeps it; the second waits in vain; the third found no place
        assert!(one.is_ok());
        assert_eq!((two.err(), three.err()), (Some(Overflow), Some(Overflow)));
        assert!(began.elapsed() >= WAIT);
        drop(one);
        assert_eq!((load.requests(), load.pending()), (0, 0));
    }

    #[tokio::test]
    async fn a_connection_that_ends_makes_room_and_one_nearby_is_as_good() {
        let (load, nearby) = (Arc::new(Load::default()), Notify::new());
        let first = load.try_connection(&LIMITS).unwrap();
        assert!(load.try_connection(&LIMITS).is_none());
        let (permit, ()) = tokio::join!(load.wait_for_connection(&LIMITS, WAIT, &nearby, || None::<()>), async {
            drop(first);
        });
        assert!(matches!(permit, Ok(Ok(_))));
        let idle = std::cell::Cell::new(None);
        let (found, ()) = tokio::join!(load.wait_for_connection(&LIMITS, WAIT, &nearby, || idle.take()), async {
            idle.set(Some(7));
            nearby.notify_one();
        });
        assert!(matches!(found, Ok(Err(7))));
        assert_eq!((load.connections(), load.pending()), (1, 0));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_takes_no_turn_with_it() {
        let load = Load::default();
        let first = load.admit(&LIMITS, WAIT).await.unwrap();
        let mut gone = Box::pin(load.admit(&LIMITS, WAIT));
        let mut next = Box::pin(load.admit(&LIMITS, WAIT));
        tokio::select! { biased; _ = &mut gone => {}, _ = &mut next => {}, () = std::future::ready(()) => {} }
        drop(first);
        drop(gone);
        assert!(next.await.is_ok());
    }
}
