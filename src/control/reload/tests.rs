//! Reloads of real files, with workers that only note what they are asked.

#![cfg(test)]

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

    fn sockets(&self) -> Vec<(SocketAddr, TcpListener)> {
        Vec::new()
    }

    fn dialer(&self) -> crate::control::Dialer {
        Arc::new(|_, _| ())
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
            references: prepared.references,
            named: BTreeSet::new(),
            since_unix_seconds: 0,
            listeners,
        })),
        events: Arc::default(),
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
    let other = |port: u16| text(&[port]).replace("canary:", "other:");
    // without a user key the variant is drawn by lot, which no test may rely on
    let failing = "tests: [{ request: { url: \"http://a/\" }, expect: { variant: other } }]\n";
    for (what, text) in [("a listener that cannot open", other(83)), ("a test that fails", other(81) + failing)] {
        let story = Story::begin(&self::text(&[81]), Some(83));
        let slots = story.slots(1);
        story.write(&text);
        let result = story.result(Cause::Changed);
        assert!(result.starts_with("rejected"), "{what}: {result}");
        assert_eq!(story.slots(10_000), slots, "{what}");
    }
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
