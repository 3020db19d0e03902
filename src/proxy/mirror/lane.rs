use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::compare::Seen;
use super::outgoing::{Outgoing, RequestId};
use super::runner::Runner;
use crate::proxy::worker::{Shared, Worker};
use crate::routing::mirror::Mirror;
use crate::telemetry::mirror::{Latencies, MirrorRecord, MirrorResult};
use crate::upstream::{Budget, Held, Pools};

/// One worker's lanes: one for each mirror that it has met.
#[derive(Default)]
pub(in crate::proxy) struct Lanes {
    lanes: RefCell<Vec<Rc<Lane>>>,
}

/// One worker's copies for one mirror: those that wait, and those that are under way.
pub(super) struct Lane {
    pub(super) record: Arc<MirrorRecord>,
    pub(super) latencies: Arc<Latencies>,
    pub(super) pools: Rc<Pools>,
    pub(super) shared: Arc<Shared>,
    budget: Budget,
    waiting: RefCell<VecDeque<Box<Job>>>,
    in_flight: Cell<usize>,
    /// Runners that have nothing to do, the last one first.
    resting: RefCell<Vec<Rc<Runner>>>,
    /// Buffers that were used, for the heads of the next copies.
    buffers: RefCell<Vec<Vec<u8>>>,
}

/// A copy to be sent, and the answer that its own is compared with. In a box from its beginning to its end, since it is
/// large and passed on.
pub(super) struct Job {
    pub(super) mirror: Arc<Mirror>,
    pub(super) request: Outgoing,
    pub(super) request_id: RequestId,
    /// The body of the request.
    pub(super) body: Option<Bytes>,
    /// What the user was answered.
    pub(super) primary: Seen,
    /// The variant that answered the user.
    pub(super) answered_by: Option<Arc<str>>,
    /// From the sent request to the head of the answer, in microseconds: of the user's and of the copy's.
    pub(super) latencies_us: (u64, u64),
    /// The part of the budget that all of it takes.
    pub(super) held: Held,
}

/// A copy that is under way. Ends with the drop.
pub(super) struct Underway<'l>(&'l Lane);

/// Copies that wait in a lane; further ones are dropped, and counted.
const WAITING_MAX: usize = 256;
/// Bytes that a lane keeps: heads and bodies of requests and of answers on both sides.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Buffers that are kept for the next copies.
const BUFFERS_MAX: usize = 64;
/// The size of a new one: enough for most heads.
const BUFFER_BYTES: usize = 1024;
/// One that had to be larger than this is not kept.
const BUFFER_BYTES_MAX: usize = 4096;

impl Lanes {
    /// The lane of a mirror. It stays when the file changes, as its record does.
    pub(super) fn lane(&self, mirror: &Mirror, worker: &Worker) -> Rc<Lane> {
        let mut lanes = self.lanes.borrow_mut();
        // few enough to look through
        if let Some(lane) = lanes.iter().find(|lane| Arc::ptr_eq(&lane.record, &mirror.record)) {
            return lane.clone();
        }
        let lane = Rc::new(Lane {
            record: mirror.record.clone(),
            latencies: mirror.record.worker(),
            pools: worker.pools.clone(),
            shared: worker.shared.clone(),
            budget: Budget::new(HELD_BYTES_MAX),
            waiting: RefCell::default(),
            in_flight: Cell::new(0),
            resting: RefCell::default(),
            buffers: RefCell::default(),
        });
        lanes.push(lane.clone());
        lane
    }
}

impl Lane {
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// An empty buffer.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Takes a buffer that is not needed any more.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) && buffers.len() < BUFFERS_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    /// Sends a copy, now or when it is its turn; drops it when too many wait.
    pub(super) fn push(self: &Rc<Self>, mut job: Box<Job>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX {
            drop(waiting);
            self.give_back(job.request.take_lines());
            return self.record.count(MirrorResult::Dropped);
        }
        waiting.push_back(job);
        drop(waiting);
        self.start();
    }

    /// Starts as many copies as may be under way.
    fn start(self: &Rc<Self>) {
        while let Some(job) = self.next() {
            let resting = self.resting.borrow_mut().pop();
            match resting {
                Some(runner) => runner.hand(job),
                None => Runner::start(self.clone(), job),
            }
        }
    }

    /// The copy whose turn it is, if one more may be under way. It is from here on.
    fn next(&self) -> Option<Box<Job>> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.front().filter(|job| self.in_flight.get() < job.mirror.in_flight_max)?;
        let job = waiting.pop_front()?;
        self.in_flight.set(self.in_flight.get() + 1);
        Some(job)
    }

    /// Holds the place of a copy that was handed out by [`Lane::next`].
    pub(super) fn underway(&self) -> Underway<'_> {
        Underway(self)
    }

    /// What a runner does when its copy has ended: the next one, or nothing.
    pub(super) fn go_on(self: &Rc<Self>, runner: &Rc<Runner>) -> Option<Box<Job>> {
        let next = self.next();
        if next.is_none() {
            self.resting.borrow_mut().push(runner.clone());
        }
        // more may be under way than before, by the file of now
        self.start();
        next
    }

    /// A runner has rested for long, and ends.
    pub(super) fn dismiss(&self, runner: &Rc<Runner>) {
        self.resting.borrow_mut().retain(|resting| !Rc::ptr_eq(resting, runner));
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}
