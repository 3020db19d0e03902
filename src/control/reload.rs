//! One reload: load → check → compile → test → bind → publish → (the next request loads it).
//!
//! All of it or nothing: whatever fails on the way, the snapshot in force, its listeners and its counts stay.

use crate::config::{ConfigErrors, Loaded, load};
use crate::control::facts::{facts, slots};
use crate::control::files::{Digests, Files, Fingerprint};
use crate::control::plane::DataPlane;
use crate::control::resolve::{RELOAD_TIME_MAX, resolve_within, unresolved};
use crate::control::{AdminAddress, telemetry_address};
use crate::routing::{Prepared, Snapshot, prepare};
use crate::telemetry::Registry;
use crate::telemetry::door::Door;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstreams;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io, thread};
use tokio::sync::oneshot;

/// Why a reload was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A file has changed.
    Changed,
    /// SIGHUP.
    Signal,
    /// `ringway reload`, or whoever else uses the admin door.
    Asked,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub enum ReloadResult {
    /// The files are in force.
    Applied(Applied),
    /// The files are in force already.
    Unchanged {
        /// The revision in force.
        rev: Arc<str>,
    },
    /// Nothing has changed.
    Rejected(Arc<Rejected>),
}

/// A reload that was put in force.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The revision in force.
    pub rev: Arc<str>,
    /// The one before.
    pub previous_rev: Arc<str>,
    /// From the start of the reload until the snapshot was published.
    pub took: Duration,
    /// What looks wrong but can be used, and what takes effect at a restart; one line each.
    pub warnings: Vec<String>,
}

/// Why a reload was rejected.
#[derive(Clone, Debug)]
pub enum Rejected {
    /// The files have errors, or their tests fail.
    Config(ConfigErrors),
    /// A new listener cannot be opened.
    Bind {
        /// Its address.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// A bug: the reload itself broke.
    Broken,
}

/// What is in force, for those who tell it.
#[derive(Debug)]
pub struct InForce {
    /// What was loaded.
    pub loaded: Loaded,
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
}

/// All that a reload may change.
pub struct State {
    pub(super) common: Common,
    pub(super) plane: Box<dyn DataPlane>,
    /// What only a restart can change, as it was at the start.
    fixed: BTreeMap<&'static str, String>,
    /// Of the files in force.
    fingerprint: Fingerprint,
    /// The files to watch: of the last load, also if it was rejected.
    pub(super) files: Files,
    /// Of the last load, also if it was rejected.
    pub(super) looked_at: Fingerprint,
    digests: Digests,
}

/// Sockets of new listeners, by address of the file.
type Bound = BTreeMap<SocketAddr, Vec<TcpListener>>;

impl State {
    /// The state after the start. `fingerprint`: of the files before they were loaded.
    pub fn new(common: Common, plane: Box<dyn DataPlane>, files: Files, fingerprint: Fingerprint) -> State {
        let fixed = fixed(&common.in_force.load().loaded);
        let digests = Digests::default();
        let state = State { common, plane, fixed, fingerprint, files, looked_at: fingerprint, digests };
        state.common.health.reload_applied(unix_seconds());
        state.tell_metrics();
        state
    }

    /// Tells metrics what is true now.
    pub(super) fn tell_metrics(&self) {
        self.common.metrics.state(facts(&self.common.snapshot.load(), Instant::now()));
    }

    /// The telemetry door, which tells health and metrics.
    pub fn telemetry_door(&self) -> Door {
        Door::new(Arc::clone(&self.common.health), Arc::clone(&self.common.metrics))
    }

    fn has_problem(&self) -> bool {
        self.common.health.reloads().problem.is_some()
    }
}

/// Reloads, and tells log, metrics and health what came of it.
pub async fn reload(state: &mut State, cause: Cause) -> ReloadResult {
    let begun = Instant::now();
    let result = attempt(state, cause, begun).await;
    tell(state, cause, &result);
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
        return ReloadResult::Rejected(Arc::new(Rejected::Broken));
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
        Err(rejected) => {
            // names that were made for the rejected files must not stay in metrics
            state.common.registry.keep(&slots(&state.common.snapshot.load()));
            ReloadResult::Rejected(Arc::new(rejected))
        }
    }
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
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
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
    let Prepared { snapshot, loaded, .. } = prepared;
    let common = &state.common;
    let (old, snapshot) = (common.in_force.load_full(), Arc::new(snapshot));
    let mut listeners = old.listeners.clone();
    listeners.retain(|address, _| snapshot.listeners.contains_key(address));
    listeners.extend(bound.iter().filter_map(|(address, sockets)| bound_address(sockets).map(|at| (*address, at))));
    let warnings = warnings(&loaded).chain(changed_until_restart(&state.fixed, &loaded)).collect();
    let since_unix_seconds = unix_seconds();
    let named = state.files.named.clone();

    common.registry.keep(&slots(&snapshot));
    let previous = common.snapshot.swap(Arc::clone(&snapshot));
    let took = begun.elapsed();
    // rules first, listeners second: no connection meets a listener without its rules
    for (address, sockets) in bound {
        state.plane.listen(address, sockets);
    }
    for address in old.listeners.keys().filter(|address| !snapshot.listeners.contains_key(address)) {
        state.plane.close(*address);
    }
    common.in_force.store(Arc::new(InForce { loaded, named, since_unix_seconds, listeners }));
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

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Cause::Changed => "file changed",
            Cause::Signal => "SIGHUP",
            Cause::Asked => "asked",
        }
    }
}

impl Rejected {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        match self {
            Rejected::Config(errors) => errors.diagnostics.iter().filter(|found| found.is_error()).count(),
            Rejected::Bind { .. } | Rejected::Broken => 1,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Config(errors) => errors.fmt(f),
            Rejected::Bind { address, reason } => write!(f, "cannot listen on {address}: {reason}"),
            Rejected::Broken => f.write_str("the reload broke off: a bug of Ringway"),
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

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Mutex;

    /// Notes what it is asked, and binds nothing but port 0.
    #[derive(Default)]
    struct FakePlane {
        asked: Arc<Mutex<Vec<String>>>,
        refused: Option<u16>,
    }

    impl FakePlane {
        fn note(&self, what: String) {
            self.asked.lock().unwrap().push(what);
        }
    }

    impl DataPlane for FakePlane {
        fn bind(&self, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
            if self.refused == Some(address.port()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            TcpListener::bind("127.0.0.1:0").map(|socket| vec![socket])
        }

        fn listen(&mut self, address: SocketAddr, sockets: Vec<TcpListener>) {
            self.note(format!("listen {} with {}", address.port(), sockets.len()));
        }

        fn close(&mut self, address: SocketAddr) {
            self.note(format!("close {}", address.port()));
        }

        fn drain(&mut self) {
            self.note("drain".to_owned());
        }

        fn workers(&self) -> (usize, usize) {
            (1, 1)
        }
    }

    struct Story {
        dir: tempfile::TempDir,
        state: RefCell<State>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    const SHOP: &str = "services:\n  shop:\n    variants:\n      stable: { weight: 9, endpoints: [127.0.0.1:1] }\n      \
        canary: { weight: 1, endpoints: [127.0.0.1:2] }\n";

    fn text(ports: &[u16]) -> String {
        let listeners = ports.iter().map(|port| format!("  - address: 127.0.0.1:{port}\n"));
        format!("listeners:\n{}{SHOP}", listeners.collect::<String>())
    }

    fn state(config: &Path, plane: FakePlane) -> State {
        let files = Files { config: config.to_owned(), ..Files::default() };
        let (loaded, files, fingerprint) = load_files(files, &mut Digests::default());
        let (upstreams, registry) = (Arc::new(Upstreams::default()), Registry::new(1, 10_000));
        let prepared = prepare(loaded.unwrap(), &upstreams, &registry).unwrap();
        let listeners = prepared.snapshot.listeners.keys().map(|address| (*address, *address)).collect();
        let health = Health::new();
        let common = Common {
            config: config.to_owned(),
            snapshot: Arc::new(ArcSwap::from_pointee(prepared.snapshot)),
            upstreams,
            metrics: Arc::new(Metrics::new(Arc::clone(&registry), Arc::clone(&health), None).unwrap()),
            registry,
            health,
            in_force: Arc::new(ArcSwap::from_pointee(InForce {
                loaded: prepared.loaded,
                named: BTreeSet::new(),
                since_unix_seconds: 0,
                listeners,
            })),
        };
        State::new(common, Box::new(plane), files, fingerprint)
    }

    impl Story {
        fn begin(text: &str, refused: Option<u16>) -> Story {
            let dir = tempfile::tempdir().unwrap();
            let config = dir.path().join("ringway.yaml");
            std::fs::write(&config, text).unwrap();
            let plane = FakePlane { refused, ..FakePlane::default() };
            let asked = Arc::clone(&plane.asked);
            Story { state: RefCell::new(state(&config, plane)), dir, asked }
        }

        fn write(&self, text: &str) {
            std::fs::write(self.dir.path().join("ringway.yaml"), text).unwrap();
        }

        fn reload(&self, cause: Cause) -> ReloadResult {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(reload(&mut self.state.borrow_mut(), cause))
        }

        /// `applied`, `unchanged` or `rejected: why`.
        fn result(&self, cause: Cause) -> String {
            match self.reload(cause) {
                ReloadResult::Applied(_) => "applied".to_owned(),
                ReloadResult::Unchanged { .. } => "unchanged".to_owned(),
                ReloadResult::Rejected(why) => format!("rejected: {why}"),
            }
        }

        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }

        fn rev(&self) -> String {
            self.state.borrow().common.snapshot.load().rev.to_string()
        }

        /// How many slots there are once the retired ones are gone.
        fn slots(&self, now_seconds: u64) -> usize {
            let registry = Arc::clone(&self.state.borrow().common.registry);
            registry.sweep(now_seconds);
            registry.slots().len() - 1
        }
    }

    #[test]
    fn a_listener_that_stays_is_never_touched() {
        let story = Story::begin(&text(&[81, 82]), None);
        story.write(&text(&[82, 83]));
        assert_eq!(story.result(Cause::Changed), "applied");
        assert_eq!(story.asked(), ["listen 83 with 1", "close 81"]);
        story.write(&format!("{}# a word\n", text(&[82, 83])));
        assert_eq!(story.result(Cause::Asked), "applied");
        assert!(story.asked().is_empty());
    }

    #[test]
    fn a_listener_that_cannot_open_rejects_the_whole() {
        let story = Story::begin(&text(&[81]), Some(83));
        let rev = story.rev();
        story.write(&text(&[82, 83]));
        let result = story.result(Cause::Changed);
        assert_eq!(
            result,
            "rejected: cannot listen on 127.0.0.1:83: another process listens there; choose another port, or stop that one"
        );
        assert_eq!((story.asked(), story.rev()), (vec![], rev));
    }

    #[test]
    fn a_rejected_file_changes_nothing_and_is_told_once_unless_somebody_asks() {
        let story = Story::begin(&text(&[81]), None);
        let (rev, slots) = (story.rev(), story.slots(1));
        let broken = text(&[81]).replace("canary:", "other:").replace("weight: 9", "weight: 9, bogus: 1");
        story.write(&broken);
        assert!(story.result(Cause::Changed).contains("ringway.yaml:6:28: RW0014"), "{}", story.result(Cause::Asked));
        assert_eq!(story.result(Cause::Changed), "unchanged");
        assert!(story.result(Cause::Signal).starts_with("rejected"));
        assert_eq!((story.rev(), story.slots(10_000)), (rev, slots));
        let health = Arc::clone(&story.state.borrow().common.health);
        assert!(health.reloads().problem.as_ref().is_some_and(|problem| problem.contains("RW0014")));

        story.write(&text(&[81]));
        assert_eq!(story.result(Cause::Changed), "applied", "what is in force is written again: the problem is over");
        assert_eq!(health.reloads().problem, None);
        assert_eq!(story.result(Cause::Asked), "unchanged");
    }

    #[test]
    fn names_that_a_rejected_file_would_have_made_do_not_stay() {
        let story = Story::begin(&text(&[81]), Some(83));
        let slots = story.slots(1);
        story.write(&text(&[83]).replace("canary:", "other:"));
        assert!(story.result(Cause::Changed).starts_with("rejected"));
        assert_eq!(story.slots(10_000), slots);
    }

    #[test]
    fn a_named_file_that_is_missing_is_waited_for() {
        let story = Story::begin(&text(&[81]), None);
        story.write(&format!(
            "{}    cohorts:\n      - {{ name: beta, when: {{ userList: {{ file: beta.txt }} }} }}\n",
            text(&[81])
        ));
        assert!(story.result(Cause::Changed).contains("beta.txt"));
        let watched = story.state.borrow().files.named.clone();
        assert_eq!(watched, BTreeSet::from([story.dir.path().join("beta.txt")]));
        std::fs::write(story.dir.path().join("beta.txt"), "u-1\n").unwrap();
        assert_eq!(story.result(Cause::Changed), "applied");
        std::fs::write(story.dir.path().join("beta.txt"), "u-2\n").unwrap();
        assert_eq!(story.result(Cause::Changed), "applied", "a named file counts like the configuration");
    }

    #[test]
    fn what_only_a_restart_can_change_is_said() {
        let story = Story::begin(&text(&[81]), None);
        story.write(&format!("{}telemetry: {{ address: 127.0.0.1:9, maxSeries: 500 }}\n", text(&[81])));
        let ReloadResult::Applied(applied) = story.reload(Cause::Asked) else { panic!() };
        assert_eq!(
            applied.warnings,
            [
                "telemetry.address takes effect at a restart: 127.0.0.1:9902 until then, 127.0.0.1:9 after",
                "telemetry.maxSeries takes effect at a restart: the default until then, 500 after",
            ]
        );
        story.write(&text(&[81]));
        let ReloadResult::Applied(applied) = story.reload(Cause::Asked) else { panic!() };
        assert!(applied.warnings.is_empty(), "{:?}", applied.warnings);
    }

    #[test]
    fn metrics_tell_the_weights_in_force() {
        let story = Story::begin(&text(&[81]), None);
        story.write(&text(&[81]).replace("weight: 1,", "weight: 27,"));
        story.reload(Cause::Changed);
        let metrics = Arc::clone(&story.state.borrow().common.metrics);
        let metrics = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            r#"ringway_variant_weight_ratio{service="shop",cohort="everyone",variant="canary"} 0.75"#,
            r#"ringway_upstream_endpoints{service="shop",variant="canary",state="healthy"} 1"#,
            &format!(r#"ringway_config_info{{rev="{}"}} 1"#, story.rev()),
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
    }
}
