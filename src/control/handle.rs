use super::drill::Drill;
use super::events::Events;
use super::looks::Looks;
use super::outcome::{Cause, ReloadResult};
use super::posted::PostedEvents;
use super::reload::{Common, InForce};
use super::rollouts::{Ask, RolloutView, Rollouts, Trial, unix_ms};
use super::weights::Weights;
use crate::rollout::command::Answer;
use crate::rollout::effect::Event;
use crate::routing::Snapshot;
use crate::telemetry::health::Health;
use crate::telemetry::tap::Tap;
use crate::telemetry::windows::{WindowStats, Windows};
use crate::telemetry::{Registry, Slot};
use crate::upstream::Upstreams;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What the control thread can be asked, and what can be read of it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    common: Common,
    windows: Arc<Mutex<Windows>>,
    weights: Arc<Mutex<Weights>>,
    rollouts: Arc<ArcSwap<Vec<Arc<RolloutView>>>>,
    looks: Arc<Mutex<Looks>>,
    drill: Option<Arc<Drill>>,
    trials: Arc<ArcSwap<BTreeMap<String, Arc<Trial>>>>,
}

/// The control thread's end of all handles.
pub struct Requests {
    waiting: mpsc::Receiver<Request>,
    handle: Handle,
}

/// Something asked of the control thread.
pub enum Request {
    /// Load the files again, because somebody asks.
    Reload(Cause, Option<By>, oneshot::Sender<ReloadResult>),
    /// Ask something of a rollout. `None`: there is no such service.
    Rollout(Ask, oneshot::Sender<Option<Answer>>),
    /// Events of an outcome that were posted. The answer: how many of them a judge heard of.
    Posted(PostedEvents, oneshot::Sender<usize>),
    /// Finish what is in flight and end; a second one: end at once.
    Drain(Option<By>),
    /// Keep this with the rest of what happened.
    Note(Event),
    /// Duplicates of the sockets of all listeners, by their address of the file.
    Sockets(oneshot::Sender<Vec<(SocketAddr, TcpListener)>>),
    /// A process of this id has the sockets and serves: finish what is in flight and end.
    HandOver(u32, oneshot::Sender<()>),
}

/// Who asks for something of the process, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// Their name.
    pub actor: String,
    /// Why, in their words; may be empty.
    pub reason: String,
}

/// Requests that may wait for the control thread; further ones are refused.
const WAITING_MAX: usize = 64;

/// The control thread takes no request: it has ended, or too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control thread takes no more requests")]
pub struct Busy;

impl Requests {
    /// The control thread's end, and with it the first handle.
    pub fn new(common: Common, registry: &Arc<Registry>) -> Requests {
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let windows = Arc::new(Mutex::new(Windows::new(Arc::clone(registry))));
        let (weights, rollouts, trials, looks) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        let handle = Handle { requests, common, windows, weights, rollouts, trials, looks, drill: None };
        Requests { waiting, handle }
    }

    /// The same for a process whose new version can be broken on purpose.
    pub fn with_drill(mut self, drill: Option<Arc<Drill>>) -> Requests {
        self.handle.drill = drill;
        self
    }

    /// Another handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The next request. Never ends, as there is always a handle.
    pub(super) async fn next(&mut self) -> Request {
        match self.waiting.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}

impl Handle {
    /// Reloads; the answer comes when it is done.
    pub fn reload(&self, cause: Cause) -> Result<oneshot::Receiver<ReloadResult>, Busy> {
        self.reload_by(cause, None)
    }

    /// Reloads because somebody asks.
    pub fn reload_by(&self, cause: Cause, by: Option<By>) -> Result<oneshot::Receiver<ReloadResult>, Busy> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Reload(cause, by, answer))?;
        Ok(answered)
    }

    /// Finishes what is in flight and ends; the second time it ends at once.
    pub fn drain(&self) -> Result<(), Busy> {
        self.drain_by(None)
    }

    /// Drains because somebody asks.
    pub fn drain_by(&self, by: Option<By>) -> Result<(), Busy> {
        self.ask(Request::Drain(by))
    }

    /// Keeps something that happened with the rest of it, in the audit log too.
    pub fn note(&self, event: Event) -> Result<(), Busy> {
        self.ask(Request::Note(event))
    }

    /// All upstreams in use.
    pub fn upstreams(&self) -> &Upstreams {
        &self.common.upstreams
    }

    /// The file or directory that is loaded.
    pub fn config(&self) -> &Path {
        &self.common.config
    }

    /// Asks something of a rollout; the answer comes when it is done. `None`: there is no such service.
    pub fn ask_rollout(&self, ask: Ask) -> Result<oneshot::Receiver<Option<Answer>>, Busy> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Rollout(ask, answer))?;
        Ok(answered)
    }

    /// What happened.
    pub fn events(&self) -> &Events {
        &self.common.events
    }

    /// Where finished requests pass by.
    pub fn tap(&self) -> &Arc<Tap> {
        self.common.registry.tap()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.common.registry
    }

    pub(super) fn tell_posted(&self, posted: PostedEvents) -> Result<oneshot::Receiver<usize>, Busy> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Posted(posted, answer))?;
        Ok(answered)
    }

    /// Where each rollout is, as of the last second or command.
    pub fn rollouts(&self) -> Arc<Vec<Arc<RolloutView>>> {
        self.rollouts.load_full()
    }

    /// What the engine knows of each service, as of the last second or command.
    pub fn trials(&self) -> Arc<BTreeMap<String, Arc<Trial>>> {
        self.trials.load_full()
    }

    pub(super) fn show(&self, rollouts: &Rollouts) {
        self.trials.store(Arc::new(rollouts.trials()));
        let views = rollouts.views();
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).note(&views, unix_ms());
        self.rollouts.store(Arc::new(views));
    }

    /// Reads how the differences that gates see went over time.
    pub fn with_looks<T>(&self, read: impl FnOnce(&Looks) -> T) -> T {
        read(&self.looks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same after something that is about one service: what is shown of the others stays.
    pub(super) fn show_one(&self, rollouts: &Rollouts, service: &str) {
        let mut trials = BTreeMap::clone(&self.trials.load());
        if let Some(trial) = rollouts.trial(service) {
            trials.insert(service.to_owned(), trial);
        }
        self.trials.store(Arc::new(trials));
        let mut views = Vec::clone(&self.rollouts.load());
        if let Some(view) = rollouts.view(service) {
            match views.iter_mut().find(|known| known.service == service) {
                Some(known) => *known = view,
                None => return self.show(rollouts),
            }
        }
        self.rollouts.store(Arc::new(views));
    }

    /// How the new version is broken on purpose; `None` outside of the demo.
    pub fn drill(&self) -> Option<&Drill> {
        self.drill.as_deref()
    }

    /// Duplicates of the sockets of all listeners, by their address of the file.
    pub fn sockets(&self) -> Result<oneshot::Receiver<Vec<(SocketAddr, TcpListener)>>, Busy> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Sockets(answer))?;
        Ok(answered)
    }

    /// The process of this id has the sockets and serves: tells the service manager, finishes what is in flight and
    /// ends. The answer comes when it is told.
    pub fn hand_over(&self, id: u32) -> Result<oneshot::Receiver<()>, Busy> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::HandOver(id, answer))?;
        Ok(answered)
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.common.snapshot.load_full()
    }

    /// What else is in force.
    pub fn in_force(&self) -> Arc<InForce> {
        self.common.in_force.load_full()
    }

    /// How the process is.
    pub fn health(&self) -> &Health {
        &self.common.health
    }

    /// What happened to a slot in the last seconds, up to the last full one.
    pub fn stats(&self, slot: Slot, last_seconds: u64) -> WindowStats {
        self.with_windows(|windows| windows.stats(slot, last_seconds))
    }

    /// How many distinct users slots have had together since the start, about.
    pub fn users(&self, slots: &[Slot]) -> u64 {
        self.common.registry.users(slots)
    }

    /// Reads many slots of the same second.
    pub fn with_windows<T>(&self, read: impl FnOnce(&Windows) -> T) -> T {
        read(&self.windows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what variants were to have. The seconds are those of the windows.
    pub fn with_weights<T>(&self, read: impl FnOnce(&Weights) -> T) -> T {
        read(&self.weights.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tick(&self, now_seconds: u64) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).tick(now_seconds);
        let snapshot = self.common.snapshot.load();
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).note(now_seconds, &snapshot);
    }

    fn ask(&self, request: Request) -> Result<(), Busy> {
        self.requests.try_send(request).map_err(|_| Busy)
    }
}
