use arc_swap::{ArcSwap, Cache};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{io, thread};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};

use super::client_counts::ClientCounts;
use super::date::Date;
use super::headers::ViaName;
use super::http2::Seats;
use super::idle::{IdleQueue, Silence};
use super::listener::{self, Listening};
use super::mirror::{Comparer, Lanes};
use super::probe;
use super::room::Holds;
use crate::routing::Snapshot;
use crate::routing::snapshot::ListenerRules;
use crate::telemetry::access_log::LogShard;
use crate::telemetry::overload::{Overload, Stage};
use crate::telemetry::{ConnectionRefused, Registry, Shard, panics};
use crate::upstream::Pools;

/// What all workers share. Everything in it is read without a lock.
pub struct Shared {
    /// The snapshot that serves requests.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where requests are recorded; one shard for each worker.
    pub registry: Arc<Registry>,
    /// Open client connections of all workers.
    pub connections: AtomicUsize,
    /// How many of them each client address has.
    pub client_counts: Arc<ClientCounts>,
    /// The most client connections of a listener that names no limit.
    pub connections_max: usize,
    /// How short of memory the process is.
    pub overload: Arc<Overload>,
    /// The name under which this process signs `Via`.
    pub via: ViaName,
    /// Where answers to copied requests are compared.
    pub comparer: Comparer,
}

/// What the control thread asks of a worker.
pub enum Command {
    /// Accept connections on this listener, known by the address of the file.
    Listen(SocketAddr, std::net::TcpListener),
    /// Stop accepting on this address; connections that are open stay.
    Close(SocketAddr),
    /// Serve a connection of our own as if it had come to this listener: a probe.
    Serve(SocketAddr, std::net::TcpStream),
    /// Stop accepting, finish what is in flight, and end.
    Drain,
}

/// A worker as the control thread sees it.
pub struct WorkerHandle {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

/// One thread's part of the data plane: its connections, its pools and its recorder. Nothing of it is shared.
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) shard: Arc<Shard>,
    pub(super) log: Option<LogShard>,
    pub(super) pools: Rc<Pools>,
    pub(super) mirrors: Lanes,
    /// Where requests of HTTP/2 are answered.
    pub(super) seats: Rc<Seats>,
    /// Woken when the worker drains.
    pub(super) drain: Notify,
    pub(super) is_draining: Cell<bool>,
    /// Told already, until the next tick.
    is_out_of_descriptors: Cell<bool>,
    /// As answers without a date of their own say it; at most one tick old.
    pub(super) date: RefCell<Date>,
    open: Cell<usize>,
    pub(super) idle: IdleQueue,
    pub(super) holds: Holds,
    cache: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    current: RefCell<Rc<Current>>,
    /// Several for an address that another process had with more workers.
    listeners: RefCell<HashMap<SocketAddr, Vec<Listening>>>,
}

/// The snapshot of now, with each listener's rules at hand.
pub(super) struct Current {
    pub(super) snapshot: Arc<Snapshot>,
    /// Few enough to look through.
    rules: Box<[(SocketAddr, Arc<ListenerRules>)]>,
}

/// How often idle connections are looked at and log lines handed over.
const TICK: Duration = Duration::from_millis(200);

/// Starts a worker on a thread of its own.
pub fn start(number: usize, shared: Arc<Shared>, log: Option<LogShard>) -> io::Result<WorkerHandle> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (started, has_started) = std::sync::mpsc::channel();
    let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let built = Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
        match built {
            Ok(runtime) => {
                // whoever waits for it is told; nobody else asks
                let _ = started.send(Ok(()));
                runtime.block_on(serve(number, shared, log, inbox));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    has_started.recv().unwrap_or_else(|_| Err(io::Error::other("the worker ended before it began")))?;
    Ok(WorkerHandle { commands, thread })
}

/// The life of a worker, on the thread of whoever awaits it: from no listener to the end of its last connection after
/// [`Command::Drain`]. Its runtime is one for tasks that stay on their thread (`build_local`).
pub async fn serve(number: usize, shared: Arc<Shared>, log: Option<LogShard>, inbox: mpsc::UnboundedReceiver<Command>) {
    let worker = Rc::new(Worker::new(number, shared, log));
    panics::count_in(worker.shard.clone());
    run(worker, inbox).await;
}

impl WorkerHandle {
    /// A way to hand it commands that outlives the borrow.
    pub fn commands(&self) -> mpsc::UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Asks something of the worker. A worker that has ended takes no more commands, which is no error.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Waits until the worker has ended.
    pub fn join(self) {
        let _ = self.thread.join();
    }

    /// True when the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Current {
    fn new(snapshot: Arc<Snapshot>) -> Current {
        let rules = snapshot.listeners.iter().map(|(address, rules)| (*address, rules.clone())).collect();
        Current { snapshot, rules }
    }

    /// The rules of a listener. `None` once the listener is gone from the file.
    pub(super) fn rules(&self, listener: &SocketAddr) -> Option<&Arc<ListenerRules>> {
        self.rules.iter().find(|(address, _)| address == listener).map(|(_, rules)| rules)
    }
}

async fn run(worker: Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweeps: u32 = 0;
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(Command::Listen(address, socket)) => worker.listen(address, socket),
                Some(Command::Close(address)) => worker.close(address),
                Some(Command::Serve(listener, stream)) => probe::serve(&worker, listener, stream),
                Some(Command::Drain) | None => worker.start_drain(),
            },
            _ = tick.tick() => {
                sweeps = sweeps.wrapping_add(1);
                worker.tick(sweeps.is_multiple_of(5));
            }
        }
        if worker.is_draining.get() && worker.open.get() == 0 {
            worker.tick(true);
            return;
        }
    }
}

impl Worker {
    fn new(number: usize, shared: Arc<Shared>, log: Option<LogShard>) -> Worker {
        let shard = shared.registry.shard(number);
        let mut cache = Cache::new(shared.snapshot.clone());
        let snapshot = cache.load().clone();
        Worker {
            shared,
            shard,
            log,
            pools: Rc::default(),
            mirrors: Lanes::default(),
            seats: Rc::default(),
            drain: Notify::new(),
            is_draining: Cell::new(false),
            is_out_of_descriptors: Cell::new(false),
            date: RefCell::new(Date::now()),
            open: Cell::new(0),
            idle: IdleQueue::default(),
            holds: Holds::default(),
            cache: RefCell::new(cache),
            current: RefCell::new(Rc::new(Current::new(snapshot))),
            listeners: RefCell::default(),
        }
    }

    /// The snapshot of now. One atomic load, and a count that no other thread sees.
    pub(super) fn current(&self) -> Rc<Current> {
        let mut cache = self.cache.borrow_mut();
        let newest = cache.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current.snapshot) {
            *current = Rc::new(Current::new(newest.clone()));
        }
        current.clone()
    }

    /// A connection waits for its client.
    pub(super) fn is_silent(&self, silence: &Rc<Silence>) {
        self.idle.push(silence, self.open.get());
    }

    /// A connection was accepted, unless there are too many already and none of this worker's is silent, to make room.
    pub(super) fn open_connection(&self, rules: &ListenerRules) -> bool {
        let most = rules.limits.connections.map_or(self.shared.connections_max, |most| most as usize);
        if self.shared.connections.fetch_add(1, Relaxed) >= most && !self.idle.shed() {
            self.shared.connections.fetch_sub(1, Relaxed);
            self.shard.downstream_refused(ConnectionRefused::Limit);
            return false;
        }
        self.open.set(self.open.get() + 1);
        self.shard.downstream_opened();
        true
    }

    /// A connection was closed as only descriptors are left that are not for clients. The longest silence makes room for
    /// the next one.
    pub(super) fn refuse_for_descriptors(&self) {
        self.shard.downstream_refused(ConnectionRefused::Descriptors);
        let has_room_soon = self.idle.shed();
        if !self.is_out_of_descriptors.replace(true) {
            tracing::warn!(has_room_soon, "no descriptors for more clients: new connections are closed");
        }
    }

    /// A connection has ended.
    pub(super) fn close_connection(&self) {
        self.shared.connections.fetch_sub(1, Relaxed);
        self.open.set(self.open.get().saturating_sub(1));
        self.shard.downstream_closed();
    }

    fn listen(self: &Rc<Self>, address: SocketAddr, socket: std::net::TcpListener) {
        match listener::start(self.clone(), address, socket) {
            Ok(listening) => {
                self.listeners.borrow_mut().entry(address).or_default().push(listening);
            }
            Err(error) => tracing::error!(%address, %error, "cannot accept connections"),
        }
    }

    fn close(&self, address: SocketAddr) {
        // dropping it ends the accept loop, after what already waits in its queue
        self.listeners.borrow_mut().remove(&address);
    }

    fn start_drain(&self) {
        if !self.is_draining.replace(true) {
            self.listeners.borrow_mut().clear();
            self.drain.notify_waiters();
        }
    }

    fn tick(&self, sweep: bool) {
        if sweep {
            self.is_out_of_descriptors.set(false);
        }
        if self.shared.overload.stage() == Stage::Out {
            let count = self.holds.make_room(tokio::time::Instant::now());
            tracing::debug!(count, "out of memory: answers are broken off");
        }
        *self.date.borrow_mut() = Date::now();
        if let Some(log) = &self.log {
            log.flush_tick();
        }
        self.pools.make_room();
        if sweep {
            self.seats.trim();
            self.pools.sweep(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams of one connection are tasks of this runtime: a bug in one must not take the others along.
    #[test]
    fn a_panic_ends_its_own_task_alone() {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build_local(LocalOptions::default());
        let survivors = runtime.unwrap().block_on(async {
            let tasks: Vec<_> = (0..10)
                .map(|number| {
                    tokio::task::spawn_local(async move {
                        tokio::task::yield_now().await;
                        assert!(number != 3, "a bug");
                    })
                })
                .collect();
            let mut survivors = 0;
            for task in tasks {
                survivors += usize::from(task.await.is_ok());
            }
            survivors
        });
        assert_eq!(survivors, 9);
    }
}
