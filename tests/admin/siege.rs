//! D20: a rollback works within a second while requests come without end, all descriptors are used up, memory is as short as
//! it gets, nothing can be written, and somebody keeps all connections of the door that they can get.
//!
//! `RINGWAY_TEST_BINARY` is another program to besiege, such as one that was built with `--release`.

use super::house::{Answer, ask_socket};
use crate::support::raw::eventually;
use crate::support::recording::Recording;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Services, each with a rollout that is taken back.
const ROLLBACKS: usize = 100;
/// Descriptors of the process.
const DESCRIPTORS: usize = 192;
/// Descriptors that clients do not get, and some that come and go.
const DESCRIPTORS_FREE: usize = 24;
/// Connections at the door on which nothing is ever asked.
const CROWD: usize = 160;
/// Connections that want one each.
const CLIENTS: usize = 250;
/// A limit of memory that is below what any process with so many services uses.
const MEMORY: &str = "memory: { limit: 32MiB }\n";
/// What the log says when it is short.
const SHORT: &str = "another stage of overload";

/// What is besieged, and how long it may take for a rollback: without optimization ten times as long.
fn program() -> PathBuf {
    std::env::var_os("RINGWAY_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_ringway").into(), PathBuf::from)
}

fn patience() -> Duration {
    let is_release = std::env::var_os("RINGWAY_TEST_BINARY").is_some() || !cfg!(debug_assertions);
    Duration::from_secs(if is_release { 1 } else { 10 })
}

struct Besieged {
    dir: tempfile::TempDir,
    process: Child,
}

impl Besieged {
    fn start(upstream: &Recording) -> Besieged {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ringway.yaml"), file(upstream.address)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        // the signal of a file that grew too large would end the process; a full disk sends none
        let script = format!("trap '' XFSZ; ulimit -n {DESCRIPTORS}; exec \"$0\" run --workers 2 --log-format json");
        let mut command = Command::new("sh");
        command.args(["-c".as_ref(), script.as_ref(), program().as_os_str()]).current_dir(dir.path());
        command.env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_LOG").env_remove("RINGWAY_TOKEN");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let besieged = Besieged { dir, process: command.spawn().unwrap() };
        eventually("the start", || besieged.log().contains("\"ready\""));
        besieged
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn door(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    fn listener(&self) -> SocketAddr {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("\"listening\"")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// The largest file that it may write, in bytes.
    fn let_write(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(self.process.id() as i32).unwrap();
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    }

    /// The file in force has a limit of memory that is exceeded already.
    fn let_use_little_memory(&self, upstream: &Recording) {
        std::fs::write(self.dir.path().join("ringway.yaml"), file(upstream.address) + MEMORY).unwrap();
        let answer = ask(&self.door(), "POST /api/v1/reload", "{}");
        // whoever watches the file may have been faster
        assert_eq!(answer.status, 200, "{answer:?}");
        eventually("the last stage", || self.stage() == Some(3));
    }

    /// How short of memory it is, by the last line of its log about it.
    fn stage(&self) -> Option<u64> {
        let log = self.log();
        let line = log.lines().rfind(|line| line.contains(SHORT))?;
        serde_json::from_str::<serde_json::Value>(line).ok()?["to"].as_u64()
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    fn rollouts(&self) -> Vec<serde_json::Value> {
        let answer = ask(&self.door(), "GET /api/v1/rollouts", "");
        answer.json()["rollouts"].as_array().unwrap().clone()
    }
}

impl Drop for Besieged {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(door: &Path, line: &str, body: &str) -> Answer {
    ask_socket(door, line, "host: localhost\r\ncontent-type: application/json\r\n", body)
}

fn file(upstream: SocketAddr) -> String {
    let mut text = "listeners: [{ address: 127.0.0.1:0, limits: { maxConnections: 100000 } }]\n\
        telemetry: { address: 127.0.0.1:0 }\nadmin: { address: \"unix:admin.sock\" }\nstateDir: state\nroutes:\n"
        .to_owned();
    for at in 0..ROLLBACKS {
        writeln!(text, "  - {{ matches: [{{ path: {{ prefix: /s{at}/ }} }}], service: s{at} }}").unwrap();
    }
    text.push_str("services:\n");
    for at in 0..ROLLBACKS {
        writeln!(
            text,
            "  s{at}: {{ variants: {{ stable: {{ weight: 100, endpoints: [\"{upstream}\"] }}, canary: {{ weight: 0, \
             endpoints: [\"{upstream}\"] }} }}, rollout: {{ id: v2, to: canary, steps: [{{ cohort: everyone, weight: 50, \
             hold: 1h }}] }} }}"
        )
        .unwrap();
    }
    text
}

/// Clients who take what they can get, until they are dropped.
struct Pressure {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Pressure {
    fn on(listener: SocketAddr) -> Pressure {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut pressure = Pressure { is_over, served, threads: Vec::new() };
        // busy ones first, so that they have their descriptors
        for _ in 0..4 {
            let (is_over, served) = (Arc::clone(&pressure.is_over), Arc::clone(&pressure.served));
            pressure.threads.push(std::thread::spawn(move || {
                let mut client = TcpStream::connect(listener).unwrap();
                client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                while !is_over.load(Relaxed) {
                    match talk(&mut client) {
                        true => drop(served.fetch_add(1, Relaxed)),
                        false => client = TcpStream::connect(listener).unwrap(),
                    }
                }
            }));
        }
        let is_over = Arc::clone(&pressure.is_over);
        pressure.threads.push(std::thread::spawn(move || {
            // others never end what they ask, hold what they have, and come again when they are sent away
            let mut clients: Vec<TcpStream> = Vec::new();
            while !is_over.load(Relaxed) {
                clients.retain_mut(is_open);
                while clients.len() < CLIENTS && !is_over.load(Relaxed) {
                    let Ok(mut client) = TcpStream::connect(listener) else { break };
                    let _ = client.write_all(b"GET /s0/ HTTP/1.1\r\nhost: a\r\n");
                    clients.push(client);
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }));
        pressure
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Somebody at the door who says nothing, and comes again when they are sent away, until they are dropped.
struct Crowd {
    is_over: Arc<AtomicBool>,
    came: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    fn at(door: PathBuf) -> Crowd {
        let (is_over, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (Arc::clone(&is_over), Arc::clone(&came));
        let thread = std::thread::spawn(move || {
            let mut open: Vec<UnixStream> = Vec::new();
            while !until.load(Relaxed) {
                open.retain_mut(is_kept);
                while open.len() < CROWD && !until.load(Relaxed) {
                    let Ok(stream) = UnixStream::connect(&door) else { break };
                    count.fetch_add(1, Relaxed);
                    open.push(stream);
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        Crowd { is_over, came, thread: Some(thread) }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        self.thread.take().into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn is_kept(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

fn talk(client: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    let is_sent = client.write_all(b"GET /s1/ HTTP/1.1\r\nhost: a\r\n\r\n").is_ok();
    is_sent && client.read(&mut bytes).is_ok_and(|count| count > 0)
}

fn is_open(client: &mut TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    match client.read(&mut [0; 4096]) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn a_rollback_takes_less_than_a_second_while_everything_else_is_short() {
    let upstream = Recording::text("hello");
    let besieged = Besieged::start(&upstream);
    let is_half = |rollout: &serde_json::Value| rollout["cohorts"][0]["share"].as_f64().unwrap() > 0.0;
    eventually("the first steps", || {
        besieged.rollouts().iter().filter(|rollout| is_half(rollout)).count() == ROLLBACKS
    });

    let pressure = Pressure::on(besieged.listener());
    eventually("that no descriptor is free", || besieged.descriptors() > DESCRIPTORS - DESCRIPTORS_FREE);
    besieged.let_use_little_memory(&upstream);
    besieged.let_write(Some(0));

    let crowd = Crowd::at(besieged.door());
    eventually("a crowd at the door", || crowd.came.load(Relaxed) > CROWD as u64);

    let (mut slowest, mut all) = (Duration::ZERO, Duration::ZERO);
    for at in 0..ROLLBACKS {
        let began = Instant::now();
        let answer = ask(&besieged.door(), &format!("POST /api/v1/rollouts/s{at}/rollback"), "{\"reason\":\"siege\"}");
        let took = began.elapsed();
        assert_eq!(answer.status, 200, "rollback {at}: {answer:?}\n{}", besieged.log());
        assert_eq!(answer.json()["result"], "done", "{answer:?}");
        assert!(took < patience(), "rollback {at} took {took:?}");
        (slowest, all) = (slowest.max(took), all + took);
    }
    let came = crowd.came.load(Relaxed);
    drop(crowd);
    let (served, open) = (pressure.served.load(Relaxed), besieged.descriptors());
    println!(
        "{}: {ROLLBACKS} of {ROLLBACKS} rolled back in {all:?}, the slowest in {slowest:?}; {served} answers, {open} descriptors \
         open, {came} silent connections at the door",
        program().display()
    );
    assert_eq!(besieged.stage(), Some(3), "memory was not short");
    assert!(served > 0 && open > DESCRIPTORS - DESCRIPTORS_FREE, "{served} requests, {open} descriptors");
    let audit = besieged.dir.path().join("state/audit.jsonl");
    let is_written =
        || std::fs::read_to_string(&audit).unwrap_or_default().matches("\"action\":\"rolled-back\"").count();
    assert_eq!(is_written(), 0, "the disk was not full");
    assert!(besieged.rollouts().iter().all(|rollout| rollout["phase"] == "rolled-back" && !is_half(rollout)));

    // when it is over, what waited is written, and nobody gets the new version
    drop(pressure);
    besieged.let_write(None);
    std::fs::write(besieged.dir.path().join("ringway.yaml"), file(upstream.address)).unwrap();
    eventually("enough memory", || besieged.stage() == Some(0));
    eventually("the audit log", || is_written() == ROLLBACKS);
    let seen = upstream.count();
    let mut client = TcpStream::connect(besieged.listener()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    eventually("an answer", || {
        let is_answered = talk(&mut client);
        if !is_answered {
            client = TcpStream::connect(besieged.listener()).unwrap();
        }
        is_answered
    });
    for request in &upstream.seen()[seen..] {
        assert_eq!(request.header("x-ringway-variant"), Some("stable"));
    }
}
