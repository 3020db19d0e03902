//! A whole process in this one, on loopback, with a file that can be edited.

use crate::client::Client;
use ringway::control::{Pace, Patience, ReloadResult};
use ringway::server::{self, Options, Running};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a busy machine, and never waited for when all is well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The doors of a process that shares the machine with other tests.
pub const DOORS: &str = "listeners: [{ address: 127.0.0.1:0 }]\n\
                         admin: { address: \"unix:admin.sock\" }\n\
                         telemetry: { address: 127.0.0.1:0 }\n";

/// A running process and the directory of its file.
pub struct Story {
    pub dir: TempDir,
    pub running: Running,
}

/// What `/metrics` said at some moment.
pub struct Metrics(String);

impl Story {
    /// Serves a file with one worker, so that all requests share one pool.
    pub fn begin(text: &str) -> Story {
        Story::with(text, 1, |options| options)
    }

    pub fn with(text: &str, workers: usize, adjust: impl FnOnce(Options) -> Options) -> Story {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringway.yaml");
        std::fs::write(&path, text).unwrap();
        let pace = Pace { debounce: Duration::from_millis(5), poll: Duration::from_millis(100) };
        let patience = Patience { pace, drain: PATIENCE };
        let options = Options { workers: Some(workers), patience, ..Options::new(&path) };
        let running = server::start(&adjust(options)).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Story { dir, running }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ringway.yaml")
    }

    /// Where the first listener is.
    pub fn at(&self) -> SocketAddr {
        self.running.listeners[0].1
    }

    pub fn client(&self) -> Client {
        Client::connect(self.at())
    }

    pub fn write(&self, text: &str) {
        replace(&self.path(), text);
    }

    /// Replaces the file, and waits until it is in force.
    pub fn apply(&self, text: &str) {
        self.write(text);
        match self.running.reload() {
            Some(ReloadResult::Applied(_) | ReloadResult::Unchanged { .. }) => {}
            Some(ReloadResult::Rejected(why)) => panic!("{why}\n{text}"),
            None => panic!("the process is ending"),
        }
    }

    pub fn metrics(&self) -> Metrics {
        Metrics(door(self.running.telemetry, "/metrics"))
    }

    /// Waits for a sum over series; see [`Metrics::sum`].
    pub fn expect_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(&format!("{name}{labels:?} = {value}"), || {
            let found = self.metrics().sum(name, labels);
            if found == value { Ok(()) } else { Err(format!("{found}")) }
        });
    }
}

impl Metrics {
    /// The sum over the series of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series =
            self.0.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let fits = |line: &&str| wanted.iter().all(|label| line.contains(label));
        series.filter(fits).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// The series, without their values.
    pub fn series(&self) -> Vec<&str> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// A page of the telemetry door.
pub fn door(telemetry: SocketAddr, path: &str) -> String {
    Client::connect(telemetry).get(path, "").body
}

/// Writes a file as careful people do: another one, renamed over it.
pub fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// Asks again and again until the answer is `Ok`; tells the last one when patience ends.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "{what} did not come; last: {last}"),
        }
        pause(Duration::from_millis(3));
    }
}

/// Lets others run between two looks.
pub fn pause(time: Duration) {
    let (_tell, told) = mpsc::channel::<()>();
    let _ = told.recv_timeout(time);
}

/// A service `shop` with a stable and a canary variant.
pub fn shop(stable: &str, canary: &str, weight: u32) -> String {
    format!(
        "{DOORS}services:\n  shop:\n    hashOn: [{{ cookie: uid }}]\n    variants:\n      \
         stable: {{ weight: {}, endpoints: [\"{stable}\"] }}\n      \
         canary: {{ weight: {weight}, endpoints: [\"{canary}\"] }}\n",
        100 - weight
    )
}
