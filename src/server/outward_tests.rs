//! Whole processes whose rollouts ask and tell others: probes, gates that others answer, notifiers.

#![cfg(test)]

use super::*;
use crate::control::Pace;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that notes requests and answers 200 or, when it is broken, 500.
#[derive(Clone)]
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    is_broken: Arc<AtomicBool>,
}

impl Service {
    fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service { address, seen: Arc::default(), is_broken: Arc::default() };
        let own = service.clone();
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| own.serve(stream)));
        service
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    self.seen.lock().unwrap().push(text);
                    break;
                }
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => request.extend_from_slice(&buffer[..count]),
            }
        }
        let status = if self.is_broken.load(Relaxed) { "500 No" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 7\r\nconnection: close\r\n\r\nall ok\n");
        let _ = stream.write_all(answer.as_bytes());
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

struct Story {
    _folder: tempfile::TempDir,
    running: Running,
    stable: Service,
    canary: Service,
    hook: Service,
}

impl Story {
    /// A rollout with one cohort that nobody is in, and whatever else it has.
    fn begin(rollout: &str) -> Story {
        let folder = tempfile::tempdir().unwrap();
        let (stable, canary, hook) = (Service::start(), Service::start(), Service::start());
        let (stable_at, canary_at) = (stable.address, canary.address);
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        write("hook.url", format!("http://{}/hook", hook.address));
        let rollout = rollout.replace("HOOK", &hook.address.to_string());
        let file = format!(
            "
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 'unix:admin.sock' }}
telemetry: {{ address: 127.0.0.1:0 }}
stateDir: state
outbound: {{ allow: [127.0.0.0/8] }}
notifiers: [{{ name: chat, slack: {{ urlFile: hook.url }} }}]
services:
  shop:
    variants:
      stable: {{ weight: 1, endpoints: ['{stable_at}'] }}
      canary: {{ weight: 0, endpoints: ['{canary_at}'] }}
    cohorts: [{{ name: beta, when: {{ header: {{ name: x-beta, exact: '1' }} }} }}]
    rollout:
      id: v42
      to: canary
{rollout}
"
        );
        let path = write("ringway.yaml", file);
        let pace = Pace { debounce: Duration::from_millis(5), poll: Duration::from_millis(50) };
        let patience = Patience { pace, drain: Duration::from_secs(1) };
        let options = Options { workers: Some(2), patience, ..Options::new(path) };
        let running = start(&options).unwrap_or_else(|error| panic!("{error}"));
        Story { _folder: folder, running, stable, canary, hook }
    }

    /// Phase and reason.
    fn phase(&self) -> (String, String) {
        let views = self.running.handle().rollouts();
        views.first().map(|view| (view.phase.to_string(), view.why.clone())).unwrap_or_default()
    }

    fn step(&self) -> usize {
        self.running.handle().rollouts().first().map_or(0, |view| view.step)
    }

    /// What a gate says, by its name.
    fn gate(&self, name: &str) -> Option<(&'static str, String)> {
        let views = self.running.handle().rollouts();
        let gate = views.first()?.gates.iter().find(|gate| gate.gate == name)?;
        Some((gate.verdict, gate.sentence.clone()))
    }

    fn metrics(&self) -> String {
        get(self.running.telemetry, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    }
}

fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

const PROBED: &str = "      steps:
        - { cohort: beta, weight: 50, hold: 1s, need: { requests: 2, probes: count } }
        - { cohort: beta, weight: 100, hold: 1h }
      probes:
        - { cohort: beta, path: '/health?deep=1', headers: { x-beta: '1' }, every: 1s, expect: { contains: all ok } }";

#[test]
fn probes_are_evidence_where_nobody_comes_and_three_failures_stop_the_rollout() {
    let story = Story::begin(PROBED);
    eventually("the second step", || story.step() == 2);
    let probes = || story.running.handle().rollouts()[0].cohorts[0].probes;
    eventually("more probes", || probes() >= 1 && story.gate("probes").is_some_and(|(word, _)| word == "pass"));

    let request = story.canary.seen().remove(0);
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1"), "{request}");
    for field in ["x-ringway-probe: 1", "x-ringway-cohort: beta", "x-ringway-variant: canary", "x-beta: 1"] {
        assert!(request.to_lowercase().contains(field), "{field}: {request}");
    }
    eventually("the metric", || {
        let passed = r#"ringway_probes_total{service="shop",cohort="beta",variant="canary",result="passed"} "#;
        story.metrics().lines().any(|line| line.strip_prefix(passed).is_some_and(|count| count != "0"))
    });
    for line in story.metrics().lines().filter(|line| line.starts_with("ringway_http_requests_total")) {
        assert!(line.ends_with(" 0"), "probes are no requests of users: {line}");
    }

    story.canary.is_broken.store(true, Relaxed);
    eventually("the pause", || story.phase().0 == "paused");
    let is_reason = |text: &str| {
        text.contains("the probe GET /health of beta failed ")
            && text.contains(" times in a row: canary answered 500, not 200 to 399")
    };
    assert!(is_reason(&story.phase().1), "{:?}", story.phase());
    eventually("the note", || story.hook.seen().iter().any(|note| is_reason(note)));
    let told = r#"ringway_notifications_total{notifier="chat",result="delivered"}"#;
    assert!(story.metrics().contains(told));
}

#[test]
fn what_fails_for_both_versions_is_no_harm() {
    let story = Story::begin(PROBED);
    story.stable.is_broken.store(true, Relaxed);
    story.canary.is_broken.store(true, Relaxed);
    eventually("four failures", || story.canary.seen().len() >= 4);
    let (word, text) = story.gate("probes").unwrap();
    assert_eq!(word, "unknown");
    assert!(text.ends_with("canary answered 500, not 200 to 399, and stable does no better"), "{text}");
    assert_eq!(story.phase().0, "holding");
    assert_eq!(story.step(), 1);
}

#[test]
fn a_client_cannot_make_itself_a_probe() {
    let story = Story::begin(PROBED);
    let forged = "GET / HTTP/1.1\r\nhost: a\r\nx-ringway-probe: canary\r\nconnection: close\r\n\r\n";
    let answer = get(story.running.listeners[0].1, forged);
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("x-ringway-"), "{answer}");
    let seen = story.stable.seen();
    let request = seen.iter().find(|request| request.starts_with("GET / ")).unwrap();
    assert!(!request.contains("x-ringway-probe"), "{request}");
}

#[test]
fn a_probe_that_comes_to_another_cohort_says_so() {
    let story = Story::begin(&PROBED.replace("headers: { x-beta: '1' }, ", ""));
    eventually("a probe", || story.gate("probes").is_some_and(|(word, _)| word == "unknown"));
    let text = story.gate("probes").unwrap().1;
    let expected = "it came to shop/everyone, not to shop/beta; give it the headers by which the cohort is known";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_gate_that_others_answer_holds_until_it_passes_and_its_harm_is_told() {
    let story = Story::begin(
        "      steps: [{ cohort: beta, weight: 50, hold: 1s, need: { users: 1 } }]
      gates: { http: [{ name: compliance, url: 'http://HOOK/gate', every: 1s }] }",
    );
    eventually("an answer", || story.gate("compliance").is_some_and(|(word, _)| word == "pass"));
    story.hook.is_broken.store(true, Relaxed);
    eventually("the failures", || {
        let (phase, why) = story.phase();
        phase == "holding" && why.contains(" times without an answer: it answered 500: all ok")
    });
    assert_eq!(story.gate("compliance").unwrap().0, "unknown");
    let verdicts = r#"ringway_gate_verdicts_total{service="shop",cohort="",gate="compliance",verdict="pass"}"#;
    assert!(story.metrics().contains(verdicts));
}
