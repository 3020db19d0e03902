//! One reload: load → check → compile → test → bind → publish → (the next request loads it).
//!
//! All of it or nothing: whatever fails on the way, the snapshot in force, its listeners and its counts stay.

use crate::config::files::References;
use crate::config::{ConfigErrors, Loaded, load};
use crate::control::certificates::{self, CertificateWatch};
use crate::control::events::Events;
use crate::control::export::{self, Export};
use crate::control::facts::{facts, slots};
use crate::control::files::{Digests, Files, Fingerprint};
use crate::control::memory::{Memory, resident};
use crate::control::outcome::{Applied, Cause, Rejected, ReloadResult};
use crate::control::plane::DataPlane;
use crate::control::resolve::{RELOAD_TIME_MAX, resolve_within, unresolved};
use crate::control::supervisor::{self, News};
use crate::control::{AdminAddress, Rollouts, telemetry_address};
use crate::routing::{Overlay, Prepared, Snapshot, prepare, recompile, unix_seconds};
use crate::telemetry::Registry;
use crate::telemetry::door::Door;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::overload::Stage;
use crate::upstream::Upstreams;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};
use tokio::sync::oneshot;

/// What is in force, for those who tell it.
#[derive(Debug)]
pub struct InForce {
    /// What was loaded.
    pub loaded: Loaded,
    /// What those files hold.
    pub references: References,
    /// The files that it names.
    pub named: BTreeSet<PathBuf>,
    /// When it was put in force, in seconds since 1970.
    pub since_unix_seconds: u64,
    /// By address of the file: where each listener really is; another one for port 0.
    pub listeners: BTreeMap<SocketAddr, SocketAddr>,
}

/// What reloads share with the rest of the process.
#[derive(Clone)]
pub struct Common {
    /// The file or directory.
    pub config: PathBuf,
    /// The snapshot that serves requests.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Upstreams in use.
    pub upstreams: Arc<Upstreams>,
    /// Recording slots in use.
    pub registry: Arc<Registry>,
    /// Told of each result.
    pub health: Arc<Health>,
    /// Told of each snapshot.
    pub metrics: Arc<Metrics>,
    /// What is in force.
    pub in_force: Arc<ArcSwap<InForce>>,
    /// What happened.
    pub events: Arc<Events>,
}

/// All that a reload may change.
pub struct State {
    pub(super) common: Common,
    pub(super) plane: Box<dyn DataPlane>,
    /// Whose memory is guarded; `None`: it has no limit.
    pub(super) memory: Option<Memory>,
    /// Another process serves now, and this one only finishes.
    pub(super) is_handed_over: bool,
    /// What only a restart can change, as it was at the start.
    fixed: BTreeMap<&'static str, String>,
    /// Of the files in force.
    fingerprint: Fingerprint,
    /// The files to watch: of the last load, also if it was rejected.
    pub(super) files: Files,
    /// Of the last load, also if it was rejected.
    pub(super) looked_at: Fingerprint,
    digests: Digests,
    certificates: CertificateWatch,
    /// Weights that are not the file's.
    overlay: Overlay,
    pub(super) rollouts: Rollouts,
    /// Spans on their way to a tracer.
    pub(super) export: Export,
}

/// Sockets of new listeners, by address of the file.
type Bound = BTreeMap<SocketAddr, Vec<TcpListener>>;

impl State {
    /// The state after the start. `fingerprint`: of the files before they were loaded.
    pub fn new(common: Common, plane: Box<dyn DataPlane>, files: Files, fingerprint: Fingerprint) -> State {
        let fixed = fixed(&common.in_force.load().loaded);
        let digests = Digests::default();
        let (certificates, overlay) = (CertificateWatch::default(), Overlay::default());
        let export = Export::new(Arc::clone(common.registry.spans()), export::Pace::default());
        let mut state = State {
            common,
            plane,
            memory: None,
            is_handed_over: false,
            fixed,
            fingerprint,
            files,
            looked_at: fingerprint,
            digests,
            certificates,
            overlay,
            rollouts: Rollouts::default(),
            export,
        };
        state.common.health.reload_applied(unix_seconds());
        state.tell_metrics();
        state
    }

    /// The same with rollouts that were opened: without, they are in memory.
    pub fn with_rollouts(self, rollouts: Rollouts) -> State {
        State { rollouts, ..self }
    }

    /// Puts other weights in force: the files of now, compiled again. No listener, connection or count is touched.
    pub fn put_weights_in_force(&mut self, overlay: Overlay) {
        self.overlay = overlay;
        let common = &self.common;
        let (in_force, old) = (common.in_force.load(), common.snapshot.load_full());
        let (loaded, references) = (&in_force.loaded, &in_force.references);
        match recompile(loaded, references, &common.upstreams, &common.registry, &self.overlay) {
            Ok(mut snapshot) => {
                snapshot.listeners.clone_from(&old.listeners);
                snapshot.put_in_force();
                common.snapshot.store(Arc::new(snapshot));
            }
            Err(error) => tracing::error!(%error, "weights were not put in force: a bug of Ringway"),
        }
    }

    /// Tells metrics what is true now.
    pub(super) fn tell_metrics(&mut self) {
        let mut facts = facts(&self.common.snapshot.load(), Instant::now());
        facts.certificates.extend(certificates::of_admin(&self.common.in_force.load()));
        facts.rollouts = self.rollouts.facts();
        facts.leftovers = self.rollouts.leftover_facts();
        facts.state_durable = self.rollouts.is_durable();
        facts.notifiers = self.rollouts.notifier_facts();
        facts.probes = self.rollouts.probe_facts();
        facts.spans = self.export.facts();
        certificates::warn(&mut self.certificates, &facts.certificates, unix_seconds() as i64);
        self.common.metrics.state(facts);
    }

    /// Spans are sampled and sent as the files in force say. To be called within a runtime.
    pub(super) fn follow_traces(&mut self) {
        let in_force = self.common.in_force.load_full();
        self.export.follow(&in_force.loaded.file, &in_force.references);
    }

    /// The telemetry door, which tells health and metrics.
    pub fn telemetry_door(&self) -> Door {
        Door::new(Arc::clone(&self.common.health), Arc::clone(&self.common.metrics))
    }

    /// Guards the memory of this control group.
    pub fn guard(&mut self, memory: Option<Memory>) {
        self.memory = memory;
    }

    /// Tells workers how short of memory the process is, and the log when that changes.
    pub(super) fn look_at_memory(&self) {
        let own = self.own_limit().and_then(|limit| Some((limit, resident()?)));
        let group = self.memory.as_ref().and_then(Memory::sample);
        let overload = self.common.health.overload();
        let before = overload.stage();
        let stages = [group, own].into_iter().flatten().map(|(limit, used)| (before.next(used, limit), used, limit));
        // whichever is nearer to its end; a limit that was taken out of the file holds no more
        let (now, used, limit) = stages.max_by_key(|(stage, ..)| *stage).unwrap_or_default();
        if now != before {
            overload.set(now);
            let (from, to) = (before as u8, now as u8);
            tracing::warn!(from, to, used, limit, "memory: another stage of overload; see docs/operations/overload.md");
        }
    }

    /// True when there is a limit of memory, or one was in force a moment ago.
    pub(super) fn guards_memory(&self) -> bool {
        self.memory.is_some() || self.own_limit().is_some() || self.common.health.overload().stage() != Stage::Ease
    }

    fn own_limit(&self) -> Option<u64> {
        self.common.in_force.load().loaded.file.memory.map(|memory| memory.limit.0)
    }

    /// How it goes, in one line.
    pub fn status(&self) -> String {
        let snapshot = self.common.snapshot.load();
        let (services, rev) = (snapshot.services.len(), &*snapshot.rev);
        match &self.common.health.reloads().problem {
            Some(_) => format!("serving {rev}; the last reload was rejected, see the log"),
            None => format!("serving {rev}: {services} services"),
        }
    }

    fn has_problem(&self) -> bool {
        self.common.health.reloads().problem.is_some()
    }
}

/// Reloads, and tells log, metrics and health what came of it.
pub async fn reload(state: &mut State, cause: Cause) -> ReloadResult {
    let begun = Instant::now();
    supervisor::tell(News::Reloading);
    let result = attempt(state, cause, begun).await;
    tell(state, cause, &result);
    supervisor::tell(News::Ready(&state.status()));
    result
}

async fn attempt(state: &mut State, cause: Cause, begun: Instant) -> ReloadResult {
    let (files, common, digests) = (state.files.clone(), state.common.clone(), std::mem::take(&mut state.digests));
    // who asks is told again what is wrong; a change that was looked at already is no change
    let known = match cause {
        Cause::Changed => Some(state.looked_at),
        Cause::Signal | Cause::Asked => (!state.has_problem()).then_some(state.fingerprint),
    };
    let Some(found) = on_a_thread(move || find(files, digests, known, &common)).await else {
        return reject(state, Rejected::Broken);
    };
    (state.files, state.digests, state.looked_at) = (found.files, found.digests, found.fingerprint);
    let rev = Arc::clone(&state.common.snapshot.load().rev);
    let outcome = match found.prepared {
        None => return ReloadResult::Unchanged { rev },
        Some(Err(errors)) => Err(Rejected::Config(errors)),
        Some(Ok(prepared)) => {
            resolve_within(unresolved(&state.common.upstreams), RELOAD_TIME_MAX).await;
            bind_new(state, &prepared.snapshot).map(|bound| (prepared, bound))
        }
    };
    match outcome {
        Ok((prepared, bound)) => {
            state.fingerprint = found.fingerprint;
            ReloadResult::Applied(publish(state, prepared, bound, begun))
        }
        Err(rejected) => reject(state, rejected),
    }
}

/// Nothing has changed, and names that were made for the rejected files do not stay in metrics.
fn reject(state: &State, rejected: Rejected) -> ReloadResult {
    state.common.registry.keep(&slots(&state.common.snapshot.load()));
    ReloadResult::Rejected(Arc::new(rejected))
}

/// What stands in the files.
struct Found {
    /// `None`: what is known.
    prepared: Option<Result<Prepared, ConfigErrors>>,
    files: Files,
    fingerprint: Fingerprint,
    digests: Digests,
}

/// Loads and compiles: as slow as the files are large, so not on the control thread.
fn find(files: Files, mut digests: Digests, known: Option<Fingerprint>, common: &Common) -> Found {
    let fingerprint = files.fingerprint_with(&mut digests);
    if known == Some(fingerprint) {
        return Found { prepared: None, files, fingerprint, digests };
    }
    let (loaded, files, fingerprint) = load_files(files, &mut digests);
    let prepared = loaded.and_then(|loaded| prepare(loaded, &common.upstreams, &common.registry));
    Found { prepared: Some(prepared), files, fingerprint, digests }
}

/// Loads a configuration, and tells which files it depends on and their fingerprint.
///
/// The fingerprint is taken before the files are read, so that what changes meanwhile is another change. It needs to
/// know the files, so the load is done again when it finds that others are named now.
pub fn load_files(mut files: Files, digests: &mut Digests) -> (Result<Loaded, ConfigErrors>, Files, Fingerprint) {
    loop {
        let fingerprint = files.fingerprint_with(digests);
        let loaded = load(&files.config);
        let named = loaded.as_ref().map_or_else(|_| files.named.clone(), Loaded::named_files);
        let is_settled = named == files.named || files.config == Path::new("-");
        files.named = named;
        if is_settled {
            return (loaded, files, fingerprint);
        }
    }
}

/// A thread of its own rather than the pool's, where slow name servers may hold every thread.
pub(super) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = oneshot::channel();
    let spawned = thread::Builder::new().name("reload".into()).spawn(move || {
        let _ = tell.send(work());
    });
    spawned.ok()?;
    told.await.ok()
}

/// Binds every listener that is new. When one fails, those bound so far are closed by being dropped.
fn bind_new(state: &State, snapshot: &Snapshot) -> Result<Bound, Rejected> {
    let open = &state.common.in_force.load().listeners;
    let new = snapshot.listeners.keys().filter(|address| !open.contains_key(address));
    let bind = |address: &SocketAddr| match state.plane.bind(*address) {
        Ok(sockets) => Ok((*address, sockets)),
        Err(error) => Err(Rejected::Bind { address: *address, reason: reason(&error) }),
    };
    new.map(bind).collect()
}

/// Cannot fail: from here on the new files are in force.
fn publish(state: &mut State, prepared: Prepared, bound: Bound, begun: Instant) -> Applied {
    let Prepared { snapshot, loaded, references } = prepared;
    let common = &state.common;
    // the tests were about the file; what serves has the weights that are in force
    let ruled = match state.overlay.is_empty() {
        true => None,
        false => recompile(&loaded, &references, &common.upstreams, &common.registry, &state.overlay).ok(),
    };
    let snapshot = ruled.unwrap_or(snapshot);
    let (old, snapshot) = (common.in_force.load_full(), Arc::new(snapshot));
    let mut listeners = old.listeners.clone();
    listeners.retain(|address, _| snapshot.listeners.contains_key(address));
    listeners.extend(bound.iter().filter_map(|(address, sockets)| bound_address(sockets).map(|at| (*address, at))));
    let warnings = warnings(&loaded).chain(changed_until_restart(&state.fixed, &loaded)).collect();
    let since_unix_seconds = unix_seconds();
    let named = state.files.named.clone();

    common.registry.keep(&slots(&snapshot));
    snapshot.put_in_force();
    let previous = common.snapshot.swap(Arc::clone(&snapshot));
    let took = begun.elapsed();
    // rules first, listeners second: no connection meets a listener without its rules
    for (address, sockets) in bound {
        state.plane.listen(address, sockets);
    }
    for address in old.listeners.keys().filter(|address| !snapshot.listeners.contains_key(address)) {
        state.plane.close(*address);
    }
    common.in_force.store(Arc::new(InForce { loaded, references, named, since_unix_seconds, listeners }));
    state.follow_traces();
    state.tell_metrics();
    Applied { rev: Arc::clone(&snapshot.rev), previous_rev: Arc::clone(&previous.rev), took, warnings }
}

fn tell(state: &State, cause: Cause, result: &ReloadResult) {
    match result {
        ReloadResult::Applied(applied) => {
            state.common.health.reload_applied(unix_seconds());
            let snapshot = state.common.snapshot.load();
            tracing::info!(
                cause = cause.as_str(),
                rev = &*applied.rev,
                previous_rev = &*applied.previous_rev,
                took_ms = milliseconds(applied.took),
                services = snapshot.services.len(),
                routes = snapshot.routes.routes().len(),
                listeners = snapshot.listeners.len(),
                "reloaded"
            );
            applied.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        ReloadResult::Unchanged { rev } if cause == Cause::Changed => {
            tracing::debug!(rev = &**rev, "files are as they were")
        }
        ReloadResult::Unchanged { rev } => {
            tracing::info!(cause = cause.as_str(), rev = &**rev, "nothing to reload: files are unchanged")
        }
        ReloadResult::Rejected(rejected) => {
            let problem = rejected.to_string();
            state.common.health.reload_rejected(&problem);
            let rev = state.common.snapshot.load().rev.to_string();
            tracing::error!(
                cause = cause.as_str(),
                errors = rejected.errors(),
                rev,
                problem,
                "reload rejected, nothing changed"
            );
        }
    }
}

/// What looks wrong with a configuration that can be used, one line each.
pub fn warnings(loaded: &Loaded) -> impl Iterator<Item = String> {
    loaded.warnings.iter().map(|found| match found.location(&loaded.sources) {
        Some((source, at)) => format!("{}:{}:{}: {}: {}", source.name, at.line, at.column, found.code, found.message),
        None => format!("{}: {}", found.code, found.message),
    })
}

/// Where sockets really are.
pub fn bound_address(sockets: &[TcpListener]) -> Option<SocketAddr> {
    sockets.first().and_then(|socket| socket.local_addr().ok())
}

/// Why an address cannot be bound, with what to do about it.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there; choose another port, or stop that one".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => "not allowed; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        _ => error.to_string(),
    }
}

/// Milliseconds to a hundredth.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// What is decided once, at the start.
fn fixed(loaded: &Loaded) -> BTreeMap<&'static str, String> {
    let file = &loaded.file;
    let telemetry = file.telemetry.clone().unwrap_or_default();
    let admin = AdminAddress::of(file).map_or_else(|text| text, |address| address.to_string());
    let log = telemetry.access_log.as_ref().map_or("none", |log| log.path.as_str()).to_owned();
    let max_series = telemetry.max_series.map_or("the default".to_owned(), |most| most.to_string());
    BTreeMap::from([
        ("admin.address", admin),
        ("stateDir", file.state_dir.as_ref().map_or("none".to_owned(), |folder| folder.display().to_string())),
        ("ofrep.address", file.ofrep.as_ref().map_or("none".to_owned(), |ofrep| ofrep.address.to_string())),
        ("telemetry.address", telemetry_address(file).to_string()),
        ("telemetry.accessLog.path", log),
        ("telemetry.maxSeries", max_series),
    ])
}

fn changed_until_restart<'f>(
    start: &'f BTreeMap<&'static str, String>,
    loaded: &Loaded,
) -> impl Iterator<Item = String> + 'f {
    fixed(loaded).into_iter().filter_map(|(name, now)| {
        let before = start.get(name).filter(|before| **before != now)?;
        Some(format!("{name} takes effect at a restart: {before} until then, {now} after"))
    })
}

#[cfg(test)]
mod tests;
