//! The real process of `ringway run`, in this one, on a file written for the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use super::raw::{Raw, Response, eventually};
use super::recording::Recording;
use ringway::server::{Options, Running, start};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A proxy with its directory. Dropping it drains it, and fails the test when something in it has panicked.
pub struct Proxy {
    pub running: Running,
    dir: tempfile::TempDir,
}

/// What `/metrics` said.
pub struct Metrics(pub String);

/// What a test wants of a proxy, beyond its file.
#[derive(Default)]
pub struct Setup<'s> {
    /// What stands for `$NAME` in the file: addresses of services.
    pub upstreams: Vec<(&'s str, SocketAddr)>,
    /// Files beside it.
    pub files: Vec<(&'s str, String)>,
    /// Threads; one when it is 0, so that what a test sends meets the same worker each time.
    pub workers: usize,
}

/// One listener that trusts 127.0.0.9.
pub const LISTENER: &str = "listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32] }]\n";

impl Proxy {
    /// A service `shop` with the only variant `stable`.
    pub fn before(upstream: &Recording) -> Proxy {
        Proxy::before_with(upstream, "")
    }

    /// The same, with more keys of the listener, such as `limits: { maxBodyBytes: 10 }`.
    pub fn before_with(upstream: &Recording, listener: &str) -> Proxy {
        let comma = if listener.is_empty() { "" } else { ", " };
        let yaml = format!(
            "listeners: [{{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32]{comma}{listener} }}]\n\
             services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n"
        );
        Proxy::start(&yaml, &[("stable", upstream.address)])
    }

    /// A proxy on this file, in which `$NAME` stands for an address, and `$dir` for the directory of the file.
    /// Doors that it does not name are opened where nobody else looks.
    pub fn start(yaml: &str, upstreams: &[(&str, SocketAddr)]) -> Proxy {
        Proxy::set_up(yaml, &Setup { upstreams: upstreams.to_vec(), ..Setup::default() })
    }

    pub fn set_up(yaml: &str, setup: &Setup<'_>) -> Proxy {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in &setup.files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            // secrets must not be readable by others
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut text = yaml.replace("$dir", dir.path().to_str().unwrap());
        for (name, address) in &setup.upstreams {
            text = text.replace(&format!("${name}"), &format!("\"{address}\""));
        }
        if !text.contains("\nadmin:") {
            text.push_str("\nadmin: { address: \"unix:admin.sock\" }\n");
        }
        if !text.contains("\ntelemetry:") {
            text.push_str("telemetry: { address: 127.0.0.1:0 }\n");
        }
        let config = dir.path().join("ringway.yaml");
        std::fs::write(&config, &text).unwrap();
        let options = Options { workers: Some(setup.workers.max(1)), ..Options::new(config) };
        let running = start(&options).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Proxy { running, dir }
    }

    /// Where the first listener is.
    pub fn address(&self) -> SocketAddr {
        self.running.listeners[0].1
    }

    pub fn config(&self) -> PathBuf {
        self.file("ringway.yaml")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// Comes from 127.0.0.9, which [`LISTENER`] trusts.
    pub fn connect_trusted(&self) -> Raw {
        Raw::connect_from([127, 0, 0, 9].into(), self.address())
    }

    /// Sends bytes on a connection of their own, and reads one answer.
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.connect().send(bytes).response()
    }

    /// A GET with these header lines, each with its line end.
    pub fn get(&self, path: &str, lines: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n{lines}\r\n"))
    }

    pub fn metrics(&self) -> Metrics {
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let response = Raw::connect(self.running.telemetry).send(request).response();
        assert_eq!(response.status, 200);
        Metrics(response.text())
    }

    /// Waits until a family has this sum over the series that have these labels.
    pub fn wait_for_metric(&self, family: &str, labels: &[(&str, &str)], sum: f64) {
        let mut last = 0.0;
        eventually(&format!("{family}{labels:?} = {sum}"), || {
            last = self.metrics().sum(family, labels);
            last == sum
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.metrics().sum("ringway_panics_total", &[]), 0.0, "something in the proxy has panicked");
        }
        self.running.drain();
    }
}

impl Metrics {
    /// The sum of a family over the series that have these labels; 0 without any.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &str| labels.iter().all(|(name, value)| series.contains(&format!("{name}=\"{value}\"")));
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        let of_family = lines.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            (name == family && has(series)).then(|| value.parse::<f64>().ok())?
        });
        of_family.sum()
    }
}
