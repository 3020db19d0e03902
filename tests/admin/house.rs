//! What the tests of the door share: a process with a rollout, tokens, and a client that sends what it is told.

use ringway::config::files::tokens::{Known, hash_of, new_token};
use ringway::config::schema::Role;
use ringway::control::AdminAddress;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::support::raw::eventually;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};

/// A process with one rollout, of which half has begun.
pub struct House {
    pub proxy: Proxy,
    pub tokens: Tokens,
    _upstream: Recording,
}

/// One for each role.
pub struct Tokens {
    pub viewer: String,
    pub operator: String,
    pub admin: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

const SHOP: &str = "
listeners: [{ address: 127.0.0.1:0 }]
stateDir: $dir/state
services:
  shop:
    variants:
      stable: { weight: 100, endpoints: [$shop] }
      canary: { weight: 0, endpoints: [$shop] }
    rollout:
      id: v2
      to: canary
      steps:
        - { cohort: everyone, weight: 50, hold: 1h }
        - { approve: [release-managers] }
        - { cohort: everyone, weight: 100, hold: 1h }
";

impl Tokens {
    pub fn new() -> (Tokens, String) {
        let mut lines = String::from("# who may\n");
        let mut make = |name: &str, role: Role, groups: &[&str]| {
            let token = new_token().unwrap();
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            let known = Known { name: name.to_owned(), role, groups, hash: hash_of(&token) };
            writeln!(lines, "{}", known.line()).unwrap();
            token
        };
        let viewer = make("vera", Role::Viewer, &[]);
        let operator = make("olga", Role::Operator, &["release-managers"]);
        let admin = make("anna", Role::Admin, &[]);
        (Tokens { viewer, operator, admin }, lines)
    }
}

impl House {
    /// With tokens.
    pub fn guarded(more: &str) -> House {
        House::with(&format!("{SHOP}admin: {{ address: 127.0.0.1:0, tokensFile: tokens{more} }}\n"))
    }

    /// Without: whoever is on this machine may.
    pub fn open() -> House {
        House::with(&format!("{SHOP}admin: {{ address: 127.0.0.1:0 }}\n"))
    }

    /// Behind a socket beside its file.
    pub fn on_a_socket() -> House {
        House::with(SHOP)
    }

    /// With this `admin`, and files beside the tokens.
    pub fn with_files(admin: &str, files: &[(&str, &str)]) -> House {
        let files = files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        House::of(&format!("{SHOP}{admin}"), files)
    }

    pub fn with(text: &str) -> House {
        House::of(text, Vec::new())
    }

    fn of(text: &str, mut files: Vec<(&str, String)>) -> House {
        let upstream = Recording::text("hello");
        let (tokens, lines) = Tokens::new();
        files.push(("tokens", lines));
        let setup = Setup { upstreams: vec![("shop", upstream.address)], files, workers: 1 };
        let proxy = Proxy::set_up(text, &setup);
        let house = House { proxy, tokens, _upstream: upstream };
        eventually("the first step", || house.shared() == 50.0);
        house
    }

    pub fn door(&self) -> SocketAddr {
        match &self.proxy.running.admin {
            AdminAddress::Tcp(address) => *address,
            AdminAddress::Unix(path) => panic!("{}", path.display()),
        }
    }

    /// The share of the new version.
    pub fn shared(&self) -> f64 {
        let rollouts = self.proxy.running.handle().rollouts();
        rollouts.first().map_or(0.0, |view| view.cohorts[0].share.as_f64())
    }

    pub fn phase(&self) -> &'static str {
        let rollouts = self.proxy.running.handle().rollouts();
        rollouts.first().map_or("none", |view| view.phase.as_str())
    }

    /// Sends a request with these header lines, each with its end.
    pub fn send(&self, line: &str, headers: &str, body: &str) -> Answer {
        let stream = TcpStream::connect(self.door()).unwrap();
        exchange(stream, line, headers, body)
    }

    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.send(&format!("GET {path}"), &format!("host: localhost\r\nauthorization: Bearer {token}\r\n"), "")
    }

    pub fn post(&self, path: &str, token: &str, body: &str) -> Answer {
        let headers = format!("host: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        self.send(&format!("POST {path}"), &headers, body)
    }

    /// All lines of the audit log.
    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.proxy.file("state/audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Over a socket in the file system.
pub fn ask_socket(path: &Path, line: &str, headers: &str, body: &str) -> Answer {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    exchange(stream, line, headers, body)
}

pub fn exchange(mut stream: impl Read + Write, line: &str, headers: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request = format!("{line} HTTP/1.1\r\nconnection: close\r\n{headers}{length}\r\n{body}");
    // who refuses may reset what it did not read
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
