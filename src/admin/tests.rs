//! The door from outside, byte by byte.

#![cfg(test)]

mod data;

use super::*;
use crate::control::reload::load_files;
use crate::control::{AdminAddress, Common, DataPlane, Digests, Files, InForce, Patience, Requests, Rollouts, State};
use crate::telemetry::Registry;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstreams;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Workers that are at work until they are told to drain.
#[derive(Default)]
struct Idle {
    has_drained: bool,
}

impl DataPlane for Idle {
    fn bind(&self, _: SocketAddr) -> std::io::Result<Vec<std::net::TcpListener>> {
        Ok(Vec::new())
    }

    fn listen(&mut self, _: SocketAddr, _: Vec<std::net::TcpListener>) {}

    fn close(&mut self, _: SocketAddr) {}

    fn sockets(&self) -> Vec<(SocketAddr, TcpListener)> {
        Vec::new()
    }

    fn dialer(&self) -> crate::control::Dialer {
        Arc::new(|_, _| ())
    }

    fn drain(&mut self) {
        self.has_drained = true;
    }

    fn workers(&self) -> (usize, usize) {
        (1, usize::from(!self.has_drained))
    }
}

struct Story {
    dir: tempfile::TempDir,
    address: AdminAddress,
    handle: Handle,
    registry: Arc<Registry>,
}

const TEXT: &str = "listeners: [{ address: 127.0.0.1:81 }]\nservices:\n  shop:\n    variants:\n      \
    stable: { weight: 95, version: v41, endpoints: [127.0.0.1:1] }\n      \
    canary: { weight: 5, endpoints: [127.0.0.1:2] }\n    override: { header: x-canary, secretFile: key }\n";

/// A door with a control loop behind it.
async fn story(address: &str) -> Story {
    story_of(address, TEXT).await
}

async fn story_of(address: &str, text: &str) -> Story {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringway.yaml");
    std::fs::write(&config, text).unwrap();
    std::fs::write(dir.path().join("key"), "hunter2hunter2hunter2hunter2hunter2").unwrap();
    std::fs::set_permissions(dir.path().join("key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let address = address.replace("DIR", &dir.path().display().to_string());

    let files = Files { config: config.clone(), named: BTreeSet::new() };
    let (loaded, files, fingerprint) = load_files(files, &mut Digests::default());
    let (upstreams, registry, health) = (Arc::new(Upstreams::default()), Registry::new(1, 10_000), Health::new());
    let prepared =
        crate::routing::prepare(loaded.unwrap(), &upstreams, &registry).unwrap_or_else(|error| panic!("{error}"));
    let (named, listeners) = (files.named.clone(), BTreeMap::new());
    let common = Common {
        config,
        snapshot: Arc::new(ArcSwap::from_pointee(prepared.snapshot)),
        upstreams,
        metrics: Arc::new(Metrics::new(Arc::clone(&registry), Arc::clone(&health), None).unwrap()),
        registry: Arc::clone(&registry),
        health,
        in_force: Arc::new(ArcSwap::from_pointee(InForce {
            loaded: prepared.loaded,
            references: prepared.references,
            named,
            since_unix_seconds: 7,
            listeners,
        })),
        events: Arc::default(),
    };
    let requests = Requests::new(common.clone(), &registry);
    let handle = requests.handle();
    let rollouts = Rollouts::open(&common.in_force.load().loaded.file, false).unwrap();
    let state = State::new(common, Box::new(Idle::default()), files, fingerprint).with_rollouts(rollouts);
    let door = bind(&address.parse().unwrap()).unwrap();
    let address = door.address().clone();
    tokio::spawn(serve(door, handle.clone(), Terms::default(), std::future::pending()));
    tokio::spawn(crate::control::run(
        state,
        BTreeMap::new(),
        requests,
        Patience::default(),
        async { Ok::<(), std::convert::Infallible>(()) },
        || (),
    ));
    Story { dir, address, handle, registry }
}

impl Story {
    /// Sends bytes and returns the whole answer.
    async fn send(&self, request: &str) -> String {
        let mut answer = Vec::new();
        match &self.address {
            AdminAddress::Tcp(address) => {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                // a door that refuses may reset what it did not read
                let _ = stream.read_to_end(&mut answer).await;
            }
            AdminAddress::Unix(path) => {
                let mut stream = UnixStream::connect(path).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                stream.read_to_end(&mut answer).await.unwrap();
            }
        }
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> serde_json::Value {
        body(&self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await)
    }

    async fn post(&self, path: &str) -> String {
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n\r\n{{}}"
        ))
        .await
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

const JSON: &str = "content-type: application/json\r\ncontent-length: 0\r\n";

#[tokio::test]
async fn what_is_refused_and_what_is_not() {
    let story = story("127.0.0.1:0").await;
    let AdminAddress::Tcp(bound) = story.address else { panic!() };
    let same = format!("host: {bound}\r\norigin: http://{bound}\r\nsec-fetch-site: same-origin\r\n{JSON}");
    let cases: &[(&str, &str, String)] = &[
        // reading
        ("200", "GET /api/v1/status HTTP/1.1", "host: localhost\r\n".into()),
        ("200", "GET /api/v1/status HTTP/1.1", "host: LocalHost:1234\r\n".into()),
        ("200", "GET /api/v1/status HTTP/1.1", "host: 127.0.0.1:9\r\n".into()),
        ("200", "GET /api/v1/status HTTP/1.1", "host: [::1]:9\r\n".into()),
        ("200", "GET /api/v1/status HTTP/1.1", format!("host: {bound}\r\n")),
        ("200", "HEAD /api/v1/status HTTP/1.1", "host: localhost\r\n".into()),
        // a browser must sign in, and whoever a proxy brings is not of this machine
        ("401", "GET /api/v1/config HTTP/1.1", "host: localhost\r\nsec-fetch-site: none\r\n".into()),
        ("401", "GET /api/v1/config HTTP/1.1", "host: localhost\r\ncookie: ringway-session=rw_guess\r\n".into()),
        ("401", "GET /api/v1/config HTTP/1.1", "host: localhost\r\nx-forwarded-for: 10.0.0.1\r\n".into()),
        ("401", "GET /api/v1/config HTTP/1.1", "host: localhost\r\nauthorization: Bearer rw_guess\r\n".into()),
        ("401", "GET /api/v1/config HTTP/1.1", "host: localhost\r\nauthorization: Basic YTpi\r\n".into()),
        // a name that was rebound to this machine
        ("421", "GET /api/v1/status HTTP/1.1", "host: evil.example\r\n".into()),
        ("421", "GET /api/v1/status HTTP/1.1", "host: localhost.evil.example:9901\r\n".into()),
        ("421", "GET /api/v1/status HTTP/1.1", "host: 127.0.0.1.nip.io\r\n".into()),
        ("421", "GET /api/v1/status HTTP/1.1", "host: 10.0.0.1\r\n".into()),
        ("421", "GET /api/v1/status HTTP/1.1", "host: localhost:99999\r\n".into()),
        ("421", "GET /api/v1/status HTTP/1.1", "host:\r\n".into()),
        ("421", "GET http://evil.example/api/v1/status HTTP/1.1", "host: localhost\r\n".into()),
        ("421", "GET /nowhere HTTP/1.1", "host: evil.example\r\n".into()),
        ("400", "GET /api/v1/status HTTP/1.1", String::new()),
        ("400", "GET /api/v1/status HTTP/1.1", "host: localhost\r\nhost: localhost\r\n".into()),
        // a page from elsewhere
        ("403", "GET /api/v1/status HTTP/1.1", "host: localhost\r\norigin: https://evil.example\r\n".into()),
        ("403", "GET /api/v1/status HTTP/1.1", "host: localhost\r\norigin: null\r\n".into()),
        ("403", "GET /api/v1/status HTTP/1.1", "host: localhost\r\norigin: http://localhost:3000\r\n".into()),
        ("403", "GET /api/v1/status HTTP/1.1", "host: localhost\r\nsec-fetch-site: cross-site\r\n".into()),
        ("403", "GET /api/v1/status HTTP/1.1", "host: localhost\r\nsec-fetch-site: same-site\r\n".into()),
        ("403", "POST /api/v1/reload HTTP/1.1", format!("host: localhost\r\norigin: http://evil.example\r\n{JSON}")),
        (
            "403",
            "POST /api/v1/reload HTTP/1.1",
            format!("host: localhost\r\norigin: http://localhost\r\norigin: http://evil.example\r\n{JSON}"),
        ),
        // changing
        ("200", "POST /api/v1/reload HTTP/1.1", format!("host: localhost\r\n{JSON}")),
        ("401", "POST /api/v1/reload HTTP/1.1", same),
        (
            "200",
            "POST /api/v1/reload HTTP/1.1",
            "host: localhost\r\ncontent-type: Application/JSON; charset=utf-8\r\n".into(),
        ),
        ("415", "POST /api/v1/reload HTTP/1.1", "host: localhost\r\ncontent-length: 0\r\n".into()),
        ("415", "POST /api/v1/drain HTTP/1.1", "host: localhost\r\ncontent-type: text/plain\r\n".into()),
        (
            "415",
            "POST /api/v1/drain HTTP/1.1",
            "host: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n".into(),
        ),
        ("415", "POST /api/v1/drain HTTP/1.1", "host: localhost\r\ncontent-type: application/json-patch\r\n".into()),
        (
            "400",
            "POST /api/v1/reload HTTP/1.1",
            "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{".into(),
        ),
        (
            "413",
            "POST /api/v1/reload HTTP/1.1",
            "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 1048577\r\n".into(),
        ),
        (
            "413",
            "POST /api/v1/reload HTTP/1.1",
            format!(
                "host: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n100001\r\n{}\r\n0\r\n",
                "x".repeat(0x10_0001)
            ),
        ),
        // methods and pages
        ("405", "GET /api/v1/reload HTTP/1.1", "host: localhost\r\n".into()),
        ("405", "GET /api/v1/drain HTTP/1.1", "host: localhost\r\n".into()),
        ("405", "HEAD /api/v1/drain HTTP/1.1", "host: localhost\r\n".into()),
        ("405", "OPTIONS /api/v1/drain HTTP/1.1", "host: localhost\r\n".into()),
        ("405", "POST /api/v1/status HTTP/1.1", format!("host: localhost\r\n{JSON}")),
        ("404", "GET /api/v1/reload/ HTTP/1.1", "host: localhost\r\n".into()),
        ("404", "GET /nowhere HTTP/1.1", "host: localhost\r\n".into()),
        ("431", "GET / HTTP/1.1", format!("host: localhost\r\nx: {}\r\n", "y".repeat(20_000))),
    ];
    for (expected, line, headers) in cases {
        let answer = story.send(&format!("{line}\r\nconnection: close\r\n{headers}\r\n")).await;
        let shown: String = headers.chars().take(100).collect();
        assert_eq!(status(&answer), *expected, "{line} {shown:?}\n{answer}");
        if expected.starts_with('4') && !line.starts_with("HEAD") && *expected != "431" {
            assert!(answer.contains("content-type: application/problem+json"), "{answer}");
            assert_eq!(body(&answer)["status"].to_string(), *expected);
        }
        assert!(!answer.to_lowercase().contains("access-control-allow"), "{answer}");
    }
    assert!(!story.handle.health().is_draining(), "no refused request has drained");
}

#[tokio::test]
async fn status_and_configuration_tell_no_secret() {
    let story = story("127.0.0.1:0").await;
    let value = story.get("/api/v1/status").await;
    assert_eq!((&value["schema"], &value["services"][0]["name"]), (&"ringway.status/v1".into(), &"shop".into()));
    let cohort = &value["services"][0]["cohorts"][0];
    assert_eq!((&value["services"][0]["phase"], &cohort["name"]), (&"idle".into(), &"everyone".into()));
    let stable = &cohort["variants"][0];
    let expected = serde_json::json!({
        "name": "stable", "version": "v41", "weight": 95.0, "source": "file", "configuredShare": 0.95, "share": null,
        "users": 0, "rps": 0.0, "requests": 0, "errors": 0, "p50": null, "p95": null, "p99": null,
    });
    assert_eq!(*stable, expected);

    let value = story.get("/api/v1/config").await;
    assert_eq!((&value["schema"], &value["loadedUnixSeconds"]), (&"ringway.config/v1".into(), &7.into()));
    assert_eq!(value["named"][0], story.dir.path().join("key").display().to_string());
    assert!(!value.to_string().contains("hunter2"));
    assert!(!value.to_string().contains("weight"), "names, not texts");
}

#[tokio::test]
async fn a_reload_is_answered_with_its_result() {
    let story = story("unix:DIR/admin.sock").await;
    assert_eq!(body(&story.post("/api/v1/reload").await)["result"], "unchanged");
    let config = story.dir.path().join("ringway.yaml");
    std::fs::write(&config, TEXT.replace("canary:", "canary: { weight: 1, endpoints: [a:1] }\n      canary:")).unwrap();
    let answer = story.post("/api/v1/reload").await;
    assert_eq!(status(&answer), "422");
    let problem = body(&answer);
    assert_eq!(problem["result"], "rejected");
    assert!(problem["detail"].as_str().unwrap().contains("ringway.yaml:7:7: RW"), "{problem}");
    assert!(problem["text"].as_str().unwrap().contains("error["), "{problem}");
    assert_eq!(problem["diagnostics"][0]["line"], 7);
}

#[tokio::test]
async fn a_drain_is_answered_at_once_and_repeating_it_does_no_harm() {
    let story = story("127.0.0.1:0").await;
    assert_eq!(status(&story.post("/api/v1/drain").await), "202");
    assert_eq!(status(&story.post("/api/v1/drain").await), "202");
}

#[tokio::test]
async fn a_socket_is_for_its_user_alone_and_replaces_only_what_is_stale() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let address = AdminAddress::Unix(path.clone());
    // left behind: a socket on which nobody answers
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let door = bind(&address).unwrap();
    assert_eq!(path.symlink_metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(bind(&address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(door);
    assert!(!path.exists() && std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is left behind");
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(bind(&address).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out_and_makes_room() {
    let story = story("127.0.0.1:0").await;
    let AdminAddress::Tcp(bound) = story.address else { panic!() };
    let mut crowd = Vec::new();
    for at in 0..3 * seats::CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(bound).await.unwrap();
        // some never end what they ask, some were answered, and some try what needs more than they have
        let said: &[u8] = match at % 4 {
            0 => b"",
            1 => b"POST /api/v1/reload HTTP/1.1\r\nhost: loc",
            2 => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
            _ => b"POST /api/v1/reload HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 9\r\n\r\n",
        };
        let _ = stream.write_all(said).await;
        crowd.push(stream);
    }
    for _ in 0..100 {
        crowd.push(TcpStream::connect(bound).await.unwrap());
        let answer = tokio::time::timeout(Duration::from_secs(10), story.post("/api/v1/reload?dryRun=true")).await;
        assert_eq!(status(&answer.unwrap()), "200");
    }
    let (mut first, mut ended) = (crowd.swap_remove(0), Vec::new());
    let ending = tokio::time::timeout(Duration::from_secs(10), first.read_to_end(&mut ended));
    assert!(matches!(ending.await.unwrap(), Ok(0) | Err(_)), "who waited longest has left");
}

#[tokio::test]
async fn what_is_misspelt_is_told_as_a_problem_and_changes_nothing() {
    let story = story("127.0.0.1:0").await;
    for (path, code, why) in [
        ("/api/v1/series", "400", "missing field `service`"),
        ("/api/v1/series?service=shop&windw=5m", "400", "unknown field `windw`"),
        ("/api/v1/events?limit=many", "400", "invalid digit"),
        ("/api/v1/history?days=-1", "400", "invalid digit"),
        ("/api/v1/rollouts/%ff", "400", "the path is not understood"),
        ("/api/v1/rollouts/shop/differences", "400", "missing field `gate`"),
        ("/api/v1/tap?service=nowhere", "404", "no such service: nowhere"),
        ("/api/v1/tap?service=shop&cohort=nobody", "404", "no such cohort: nobody"),
        ("/api/v1/tap?variant=nothing", "404", "no such variant: nothing"),
    ] {
        let answer = story.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), code, "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
        assert!(body(&answer)["detail"].as_str().unwrap().contains(why), "{path}: {answer}");
    }
    // what would have been a rehearsal, were it spelt well, must not become the change
    for path in ["/api/v1/drain?dryrun=true", "/api/v1/drain?dryRun=yes", "/api/v1/drain?dry_run=true"] {
        let answer = story.post(path).await;
        assert_eq!(status(&answer), "400", "{path}: {answer}");
    }
    let list = "POST /api/v1/drain HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
        content-length: 2\r\n\r\n[]";
    let answer = story.send(list).await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert!(body(&answer)["detail"].as_str().unwrap().contains("one JSON object"), "{answer}");
    assert_eq!(story.get("/api/v1/status").await["phase"], "serving");
}
