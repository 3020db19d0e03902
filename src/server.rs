//! The composition root: everything is made here, in order, and given to those who need it.
//!
//! ```text
//! start:  limits → load → inherit → prepare → workers → doors → control thread → names → listen → ready
//! stop:   readiness fails → workers stop to accept → requests in flight end → workers end
//!         → doors close → access log is written → exit
//! ```
//!
//! The doors of telemetry and admin stay open while the process drains, so that it can be watched.

mod doors;
mod handover;
mod limits;
mod logs;
mod run;
mod upgrade;
mod workers;

pub use logs::{LOG_VARIABLE, LogFormat};
pub use run::run;
pub use upgrade::Takeover;

use crate::admin;
use crate::config::{ConfigErrors, schema};
use crate::control::journal::store::StoreError;
use crate::control::reload::{bound_address, load_files, reason};
use crate::control::{self, CONTROL_GROUPS, Memory};
use crate::control::{
    AdminAddress, Cause, Common, DataPlane, Digests, Drill, Ended, Handle, InForce, Patience, ReloadResult, Requests,
    Rollouts, State,
};
use crate::proxy::{Comparer, Shared, ViaName};
use crate::routing::{Prepared, Snapshot, prepare, unix_seconds};
use crate::telemetry::access_log::{AccessLog, Format, Target};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::windows::{WindowStats, Windows};
use crate::telemetry::{Registry, Slot};
use crate::upstream::Upstreams;
use arc_swap::ArcSwap;
use doors::{Doors, Open};
use handover::{Estate, Inheritance};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use std::{io, thread};
use tokio::sync::oneshot;
use workers::Workers;

/// How a process is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file or directory; `-` for standard input, which cannot be reloaded.
    pub config: PathBuf,
    /// Threads for requests. Default: as many as the process may run on.
    pub workers: Option<usize>,
    /// How patient the control thread is.
    pub patience: Patience,
    /// How log lines are written. Default: text on a terminal, JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// Whom to take over from.
    pub takeover: Takeover,
    /// The process is `ringway demo`; the dashboard shows more then.
    pub is_demo: bool,
    /// Where control groups are, whose limit of memory is guarded.
    pub control_groups: PathBuf,
    /// How the new version can be broken on purpose: for the demo.
    pub drill: Option<Arc<Drill>>,
}

/// A process that serves. Dropping it drains in the background; [`Running::wait`] waits for the end.
pub struct Running {
    /// The address of the file, and where the listener really is: another one for port 0.
    pub listeners: Vec<(SocketAddr, SocketAddr)>,
    /// Where the telemetry door really is.
    pub telemetry: SocketAddr,
    /// Where the door for feature flags really is, if the file asks for one.
    pub ofrep: Option<SocketAddr>,
    /// Where the admin door really is.
    pub admin: AdminAddress,
    /// The threads that serve requests.
    pub workers: usize,
    handle: Handle,
    sessions: admin::Sessions,
    estate: Arc<Estate>,
    ended: oneshot::Receiver<Ended>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files have errors.
    #[error("{0}")]
    Config(ConfigErrors),
    /// A door cannot be opened.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// Where.
        address: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The access log cannot be written.
    #[error("cannot write the access log {path}: {error}")]
    AccessLog {
        /// Where.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// The state of rollouts cannot be used.
    #[error("stateDir: {0}")]
    State(StoreError),
    /// The process before this one does not hand over.
    #[error("cannot take over: {0}")]
    Upgrade(String),
    /// The system refuses a thread or a runtime, or there is a bug.
    #[error("cannot start: {0}")]
    System(String),
}

/// Series of `/metrics`, when the file does not say.
const SERIES_DEFAULT: u32 = 10_000;
/// The most worker threads.
const WORKERS_MAX: usize = 1024;
/// Threads for look-ups of names and for scrapes; they are made when needed. See [`control::run`].
const BLOCKING_THREADS_MAX: usize = 64;
/// How long they stay when they have nothing to do: files are looked at far more often.
const BLOCKING_THREADS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts everything, and returns when all listeners accept connections.
pub fn start(options: &Options) -> Result<Running, StartError> {
    // 1. what the system grants
    let connections_max = limits::connections_max();
    let workers = options.workers.unwrap_or_else(limits::workers_default).clamp(1, WORKERS_MAX);

    // 2. the files: all errors at once, before anything is opened
    let (loaded, files, fingerprint) = load_files(control::files_of(&options.config), &mut Digests::default());
    let loaded = loaded.map_err(StartError::Config)?;
    let mut inheritance = upgrade::inherit(options.takeover, &loaded.file)?;
    let telemetry = loaded.file.telemetry.clone().unwrap_or_default();
    let upstreams = Arc::new(Upstreams::default());
    let registry = Registry::new(workers, telemetry.max_series.unwrap_or(SERIES_DEFAULT));
    let Prepared { snapshot, loaded, references } =
        prepare(loaded, &upstreams, &registry).map_err(StartError::Config)?;

    let rollouts = Rollouts::open(&loaded.file, inheritance.is_some()).map_err(StartError::State)?;

    // 3. the workers, without work
    snapshot.put_in_force();
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
    let log = telemetry.access_log.map(|log| start_log(&log)).transpose()?;
    let counters = log.as_ref().map(AccessLog::counters);
    let health = Health::new();
    let shared = Arc::new(Shared {
        overload: Arc::clone(health.overload()),
        snapshot: Arc::clone(&snapshot),
        registry: Arc::clone(&registry),
        connections: AtomicUsize::new(0),
        client_counts: Arc::default(),
        connections_max,
        via: ViaName::random(),
        comparer: Comparer::default(),
    });
    let plane = Workers::start(workers, &shared, log).map_err(system)?;

    // 4. the doors: all of them, or none
    let inherited = inheritance.as_mut().map(Inheritance::listeners).unwrap_or_default();
    let sockets = bind_listeners(&plane, &snapshot.load(), inherited)?;
    let bound = sockets.iter().filter_map(|(address, sockets)| bound_address(sockets).map(|at| (*address, at)));
    let bound: BTreeMap<SocketAddr, SocketAddr> = bound.collect();
    let doors = Doors::of(&loaded.file, inheritance)?;

    // 5. what tells how it goes
    let metrics = Metrics::new(Arc::clone(&registry), Arc::clone(&health), counters).map_err(system)?;
    let named = files.named.clone();
    let (since_unix_seconds, listeners) = (unix_seconds(), bound.clone());
    let in_force = InForce { loaded, references, named, since_unix_seconds, listeners };
    let common = Common {
        config: options.config.clone(),
        snapshot,
        upstreams,
        registry: Arc::clone(&registry),
        health,
        metrics: Arc::new(metrics),
        in_force: Arc::new(ArcSwap::from_pointee(in_force)),
        events: Arc::default(),
    };

    // 6. the control thread, which opens the listeners once names are known
    let requests = Requests::new(common.clone(), &registry).with_drill(options.drill.clone());
    let handle = requests.handle();
    let mut state = State::new(common, Box::new(plane), files, fingerprint).with_rollouts(rollouts);
    state.guard(Memory::of_this_process(&options.control_groups));
    let (patience, is_demo) = (options.patience, options.is_demo);
    let control = Control { state, sockets, requests, doors, patience, is_demo };
    let (started, ended, thread) = control.start()?;
    let Open { telemetry, admin, ofrep, sessions, estate } = started;
    let (listeners, thread) = (bound.into_iter().collect(), Some(thread));
    Ok(Running { listeners, telemetry, ofrep, admin, workers, handle, sessions, estate, ended, thread })
}

impl Options {
    /// The defaults for a file or directory.
    pub fn new(config: impl Into<PathBuf>) -> Options {
        Options {
            config: config.into(),
            workers: None,
            patience: Patience::default(),
            log_format: None,
            takeover: Takeover::No,
            is_demo: false,
            control_groups: CONTROL_GROUPS.into(),
            drill: None,
        }
    }
}

impl Running {
    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.handle.snapshot()
    }

    /// What happened to a slot in the last seconds, up to the last full one.
    pub fn stats(&self, slot: Slot, last_seconds: u64) -> WindowStats {
        self.handle.stats(slot, last_seconds)
    }

    /// Reads many slots of the same second.
    pub fn with_windows<T>(&self, read: impl FnOnce(&Windows) -> T) -> T {
        self.handle.with_windows(read)
    }

    /// How the process is: started, draining, and what came of the last reload.
    pub fn health(&self) -> &Health {
        self.handle.health()
    }

    /// The control thread, for others that live in this process.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// A link for a browser of this machine to sign in, once, within [`admin::LINK_TIME_MAX`]. `None` when the file says
    /// who may, or the door is no address.
    pub fn sign_in_url(&self) -> Option<String> {
        let in_force = self.handle.in_force();
        let asks_for_more =
            in_force.loaded.file.admin.as_ref().is_some_and(|admin| admin.tokens_file.is_some() || admin.sso.is_some());
        match &self.admin {
            AdminAddress::Tcp(bound) if !asks_for_more => {
                let admin = in_force.loaded.file.admin.as_ref();
                Some(admin::sign_in_url(*bound, admin, &self.sessions.link().ok()?))
            }
            AdminAddress::Tcp(_) | AdminAddress::Unix(_) => None,
        }
    }

    /// Loads the files again and waits for the result. `None` when the process is ending. Not for async code.
    pub fn reload(&self) -> Option<ReloadResult> {
        self.handle.reload(Cause::Asked).ok()?.blocking_recv().ok()
    }

    /// Stops to accept connections, and ends when what is in flight has finished. A second time: ends at once.
    pub fn drain(&self) {
        // a control thread that takes no requests is ending already
        let _ = self.handle.drain();
    }

    /// Waits for the end, which somebody has to ask for. `None`: the control thread broke off. Not for async code.
    pub fn wait(mut self) -> Option<Ended> {
        let thread = self.thread.take()?;
        let joined = thread.join();
        joined.ok()?;
        self.ended.try_recv().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.drain();
        }
    }
}

impl StartError {
    /// The exit code of the contract.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_) | StartError::Bind { .. } | StartError::AccessLog { .. } | StartError::State(_) => 2,
            StartError::Upgrade(_) => 3,
            StartError::System(_) => 70,
        }
    }
}

/// All that the control thread owns.
struct Control {
    state: State,
    sockets: BTreeMap<SocketAddr, Vec<TcpListener>>,
    requests: Requests,
    doors: Doors,
    patience: Patience,
    is_demo: bool,
}

/// The open doors, or why there are none.
type Started = Result<Open, StartError>;
/// The same, with the thread and the way that it ended.
type Thread = (Open, oneshot::Receiver<Ended>, thread::JoinHandle<()>);

impl Control {
    /// Starts the control thread, and returns when all listeners accept connections.
    fn start(self) -> Result<Thread, StartError> {
        let (tell_end, ended) = oneshot::channel();
        let (tell_start, started) = std::sync::mpsc::channel();
        let run = move || {
            if let Some(end) = self.run(&tell_start) {
                let _ = tell_end.send(end);
            }
        };
        let thread = thread::Builder::new().name("control".into()).spawn(run).map_err(system)?;
        let broken = || StartError::System("the control thread broke off".to_owned());
        Ok((started.recv().map_err(|_| broken())??, ended, thread))
    }

    /// The control thread, from its first moment to its last.
    fn run(self, started: &std::sync::mpsc::Sender<Started>) -> Option<Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_keep_alive(BLOCKING_THREADS_KEPT)
            .thread_name("control-blocking")
            .build();
        let result = match runtime {
            Ok(runtime) => {
                // one is always there: without any, a machine that gives no more threads would end the control thread
                drop(runtime.spawn_blocking(|| ()));
                let result = runtime.block_on(self.serve(started));
                // a look-up that nobody answers must not hold up the end
                runtime.shutdown_background();
                result
            }
            Err(error) => Err(system(error)),
        };
        match result {
            Ok(ended) => Some(ended),
            Err(error) => {
                let _ = started.send(Err(error));
                None
            }
        }
    }

    async fn serve(self, started: &std::sync::mpsc::Sender<Started>) -> Result<Ended, StartError> {
        let Control { state, sockets, requests, doors, patience, is_demo } = self;
        let doors = doors.open(state.telemetry_door(), requests.handle(), is_demo)?;
        let status = state.status();
        let beginning = RefCell::new(None);
        let permission = async {
            *beginning.borrow_mut() = doors::begin(doors.inheritance.take()).await?;
            Ok::<(), StartError>(())
        };
        let tell_started = || doors.start(beginning.take(), started.clone(), status);
        let ended = control::run(state, sockets, requests, patience, permission, tell_started).await;
        doors.close().await;
        ended
    }
}

fn start_log(log: &schema::AccessLog) -> Result<AccessLog, StartError> {
    let format = match log.format {
        schema::LogFormat::Ringway => Format::Ringway,
        schema::LogFormat::Ecs => Format::Ecs,
        schema::LogFormat::Envoy => Format::Envoy,
        schema::LogFormat::Combined => Format::Combined,
    };
    let path = &log.path;
    AccessLog::start(Target::of(path), format).map_err(|error| StartError::AccessLog { path: path.clone(), error })
}

fn bind_listeners(
    plane: &dyn DataPlane,
    snapshot: &Snapshot,
    mut inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
) -> Result<BTreeMap<SocketAddr, Vec<TcpListener>>, StartError> {
    let mut open = |address: SocketAddr| match inherited.remove(&address) {
        Some(sockets) => Ok(sockets),
        None => plane.bind(address),
    };
    let bind = |address: &SocketAddr| match open(*address) {
        Ok(sockets) => Ok((*address, sockets)),
        Err(error) => Err(StartError::Bind { address: address.to_string(), reason: reason(&error) }),
    };
    snapshot.listeners.keys().map(bind).collect()
}

fn system(error: impl std::fmt::Display) -> StartError {
    StartError::System(error.to_string())
}

#[cfg(test)]
mod outward_tests;
#[cfg(test)]
mod tests;
