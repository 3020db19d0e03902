use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// A deadline that is moved with every request and almost never fires.
///
/// Moving it later costs a store: the timer underneath stays where it is, and when it fires early it is set anew.
/// So a connection that serves a thousand requests a second touches the timer wheel twice a minute.
#[derive(Debug)]
pub struct Deadline {
    at: Cell<Option<Instant>>,
    timer: RefCell<Option<Pin<Box<Sleep>>>>,
    is_expired: Cell<bool>,
}

impl Deadline {
    /// No deadline yet.
    pub fn new() -> Deadline {
        Deadline { at: Cell::new(None), timer: RefCell::new(None), is_expired: Cell::new(false) }
    }

    /// Sets the deadline to `after` from `now`; a zero duration means none.
    pub fn set(&self, now: Instant, after: Duration) {
        self.at.set(if after.is_zero() { None } else { now.checked_add(after) });
    }

    /// Removes the deadline.
    pub fn clear(&self) {
        self.at.set(None);
        self.is_expired.set(false);
    }

    /// The deadline has passed, and whoever waits for it learns it now.
    pub fn expire(&self, now: Instant) {
        self.at.set(Some(now));
        self.is_expired.set(true);
        if let Some(timer) = self.timer.borrow_mut().as_mut() {
            timer.as_mut().reset(now);
        }
    }

    /// It was [expired](Deadline::expire), and not removed since; whoever moved it does not take that back.
    pub fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    /// Ready when the deadline has passed; else the task is woken when it does. A deadline that is set later, or
    /// removed, needs no new poll; one that is set earlier does.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at.get() else { return Poll::Pending };
        let mut timer = self.timer.borrow_mut();
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < timer.deadline() {
            timer.as_mut().reset(at);
        }
        // A task that never runs out of work has spent what the runtime lets it do in one turn before it looks at its
        // timer, turn after turn: without its own budget the timer would never fire.
        while Pin::new(&mut tokio::task::unconstrained(timer.as_mut())).poll(cx).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// Waits until the deadline has passed.
    pub async fn passed(&self) {
        std::future::poll_fn(|cx| self.poll_passed(cx)).await;
    }
}

impl Default for Deadline {
    fn default() -> Deadline {
        Deadline::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moving_it_later_holds() {
        let deadline = Deadline::new();
        let start = Instant::now();
        deadline.set(start, Duration::from_millis(5));
        assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.set(start, Duration::from_millis(40));
        deadline.passed().await;
        assert!(start.elapsed() >= Duration::from_millis(40));
    }

    #[tokio::test]
    async fn moving_it_earlier_holds() {
        let deadline = Deadline::new();
        let start = Instant::now();
        deadline.set(start, Duration::from_secs(3600));
        assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.set(start, Duration::from_millis(5));
        deadline.passed().await;
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn whoever_waits_learns_that_it_is_over() {
        let deadline = Deadline::new();
        deadline.set(Instant::now(), Duration::from_secs(3600));
        let expire = async {
            tokio::task::yield_now().await;
            deadline.expire(Instant::now());
        };
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(deadline.passed(), expire) }).await.unwrap();
        deadline.set(Instant::now(), Duration::from_secs(3600));
        assert!(deadline.is_expired(), "by moving it");
        deadline.clear();
        assert!(!deadline.is_expired());
    }

    #[tokio::test]
    async fn zero_is_none() {
        let deadline = Deadline::new();
        deadline.set(Instant::now(), Duration::ZERO);
        assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
    }
}
