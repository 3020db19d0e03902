use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::exchange::exchange;
use super::lane::{Job, Lane};
use crate::telemetry::mirror::MirrorResult;
use crate::upstream::Deadline;

/// A task that sends one copy after the other, and waits for the next one in between: a copy costs neither a task nor a
/// timer. There are as many as copies are under way at the same time.
#[derive(Default)]
pub(super) struct Runner {
    /// What it is to do next.
    job: Cell<Option<Box<Job>>>,
    waker: RefCell<Option<Waker>>,
}

/// How long a runner waits for something to do before it ends.
const REST: Duration = Duration::from_secs(10);

impl Runner {
    /// Starts one that has something to do.
    pub(super) fn start(lane: Rc<Lane>, job: Box<Job>) {
        let runner = Rc::new(Runner { job: Cell::new(Some(job)), waker: RefCell::default() });
        // boxed, since the runtime moves what it is given three times
        tokio::task::spawn_local(Box::pin(runner.run(lane)));
    }

    /// Gives it something to do. It must have been resting.
    pub(super) fn hand(&self, job: Box<Job>) {
        self.job.set(Some(job));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    async fn run(self: Rc<Self>, lane: Rc<Lane>) {
        let deadline = Deadline::new();
        while let Some(mut job) = std::future::poll_fn(|cx| self.poll_job(&deadline, cx)).await {
            loop {
                let underway = lane.underway();
                carry_out(&lane, job, &deadline).await;
                drop(underway);
                deadline.set(tokio::time::Instant::now(), REST);
                match lane.go_on(&self) {
                    Some(next) => job = next,
                    None => break,
                }
            }
        }
        lane.dismiss(&self);
    }

    /// Ready with what there is to do, or with nothing after a long time.
    fn poll_job(&self, deadline: &Deadline, cx: &mut Context<'_>) -> Poll<Option<Box<Job>>> {
        if let Some(job) = self.job.take() {
            return Poll::Ready(Some(job));
        }
        self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        deadline.poll_passed(cx).map(|()| None)
    }
}

/// Sends one copy and records what came of it, in its time.
async fn carry_out(lane: &Rc<Lane>, job: Box<Job>, deadline: &Deadline) {
    let began = Instant::now();
    deadline.set(began.into(), job.mirror.timeout);
    let mut exchange = pin!(exchange(lane, job, began));
    let ended = std::future::poll_fn(|cx| match exchange.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => deadline.poll_passed(cx).map(|()| Err(MirrorResult::Timeout)),
    });
    if let Err(result) = ended.await {
        lane.record.count(result);
    }
}
