//! Whole processes on loopback, with real files.

#![cfg(test)]

use super::*;
use crate::control::client::{self, ClientError, Door, Reloaded};
use crate::control::{Pace, Rejected};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A directory with a configuration, and a process that serves it.
struct Story {
    dir: tempfile::TempDir,
    running: Running,
}

const PATIENCE: Duration = Duration::from_secs(10);

fn text(weight: u32) -> String {
    text_at("127.0.0.1:0", weight)
}

fn text_at(listener: &str, weight: u32) -> String {
    format!(
        "listeners: [{{ address: {listener} }}]\n\
         admin: {{ address: \"unix:admin.sock\" }}\n\
         telemetry: {{ address: 127.0.0.1:0 }}\n\
         services:\n  shop:\n    variants:\n      stable: {{ weight: {}, endpoints: [127.0.0.1:1] }}\n      \
         canary: {{ weight: {weight}, endpoints: [127.0.0.1:2] }}\n",
        100 - weight
    )
}

fn options(config: &Path) -> Options {
    let pace = Pace { debounce: Duration::from_millis(5), poll: Duration::from_millis(50) };
    let patience = Patience { pace, drain: Duration::from_secs(5) };
    Options { workers: Some(2), patience, ..Options::new(config) }
}

impl Story {
    fn begin() -> Story {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ringway.yaml"), text(5)).unwrap();
        let running = start(&options(&dir.path().join("ringway.yaml"))).unwrap_or_else(|error| panic!("{error}"));
        Story { dir, running }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("ringway.yaml"), text).unwrap();
    }

    fn weight(&self) -> f64 {
        self.running.snapshot().services[0].cohorts[0].weights[1].as_f64()
    }

    fn ask(&self) -> Result<String, std::io::Error> {
        ask(self.running.listeners[0].1)
    }
}

fn ask(address: SocketAddr) -> Result<String, std::io::Error> {
    fetch(address, "/")
}

fn fetch(address: SocketAddr, path: &str) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_edit_is_in_force_and_a_broken_one_is_not() {
    let story = Story::begin();
    assert!(story.ask().unwrap().starts_with("HTTP/1.1 "));
    story.write(&text(50));
    eventually("the edit", || story.weight() == 50.0);
    story.write("listeners: [");
    eventually("the rejection", || story.running.health().reloads().problem.is_some());
    assert_eq!(story.weight(), 50.0);
    assert!(story.running.health().is_ready());
    story.write(&text(50));
    eventually("the end of the problem", || story.running.health().reloads().problem.is_none());
}

#[test]
fn five_hundred_quick_edits_end_in_the_last_one() {
    let story = Story::begin();
    for edit in 0..500 {
        story.write(&text(edit % 90));
    }
    story.write(&text(91));
    eventually("the last edit", || story.weight() == 91.0);
    assert!(story.ask().is_ok());
}

#[test]
fn the_client_reloads_reads_and_drains() {
    let story = Story::begin();
    let door = Door::from(story.running.admin.clone());
    let unchanged = client::reload(&door, PATIENCE).unwrap();
    assert_eq!(unchanged, Reloaded::Unchanged { rev: story.running.snapshot().rev.to_string() });
    assert_eq!(client::ready(story.running.telemetry, PATIENCE), Ok(()));

    let status = client::status(&door, PATIENCE).unwrap();
    assert_eq!(status["schema"], "ringway.status/v1");
    assert_eq!(status["services"][0]["cohorts"][0]["variants"][1]["weight"], 5.0);

    client::drain(&door, PATIENCE).unwrap();
    eventually("the end of accepting", || story.ask().is_err());
    assert_eq!(story.running.wait(), Some(Ended::Clean));
    assert_eq!(client::drain(&door, PATIENCE).unwrap_err().exit_code(), 3);
}

#[test]
fn whoever_asks_is_told_why_a_reload_was_rejected() {
    let story = Story::begin();
    story.write(&text(5).replace("weight: 95", "weigth: 95"));
    let door = Door::from(story.running.admin.clone());
    let refused = client::reload(&door, PATIENCE).unwrap_err();
    assert_eq!(refused.exit_code(), 1);
    let ClientError::Refused { detail, text: report, answer } = refused else { panic!("{refused}") };
    assert!(detail.contains("ringway.yaml:7:17: RW0014"), "{detail}");
    assert!(report.contains("did you mean") || report.contains("weight"), "{report}");
    assert_eq!((&answer["status"], &answer["diagnostics"][0]["code"]), (&422.into(), &"RW0014".into()));

    story.write(&text(7));
    // the watch may have been faster: then little is left to do
    let (Reloaded::Applied { rev, .. } | Reloaded::Unchanged { rev }) = client::reload(&door, PATIENCE).unwrap();
    assert_eq!(*rev, *story.running.snapshot().rev);
    assert_eq!(story.weight(), 7.0);
}

#[test]
fn listeners_come_and_go_and_a_taken_address_changes_nothing() {
    let story = Story::begin();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    story.write(&text_at(&taken.local_addr().unwrap().to_string(), 50));
    let Some(ReloadResult::Rejected(rejected)) = story.running.reload() else { panic!("it was not rejected") };
    assert!(matches!(&*rejected, Rejected::Bind { .. }), "{rejected}");
    assert_eq!((story.weight(), story.ask().is_ok()), (5.0, true));

    let free = taken.local_addr().unwrap();
    drop(taken);
    story.write(&text_at(&free.to_string(), 60));
    eventually("the other listener", || story.weight() == 60.0 && ask(free).is_ok());
    eventually("the end of the first listener", || story.ask().is_err());
    assert_eq!(story.running.handle().in_force().listeners, BTreeMap::from([(free, free)]));
}

#[test]
fn a_start_that_fails_says_why_and_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("a.yaml");
    let refuse = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let Err(error) = start(&options(&config)) else { panic!("it started") };
        (error.exit_code(), error.to_string())
    };
    assert_eq!(refuse("listeners: 1").0, 2);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text_of) = refuse(&text_at(&address, 5));
    assert_eq!((code, text_of.contains("another process listens there")), (2, true), "{text_of}");
    let (code, text_of) = refuse(
        &text(5).replace("telemetry: { address: 127.0.0.1:0 }", &format!("telemetry: {{ address: \"{address}\" }}")),
    );
    assert_eq!((code, text_of.contains(&address)), (2, true), "{text_of}");
    std::fs::write(dir.path().join("admin.sock"), "a file").unwrap();
    let (code, text_of) = refuse(&text(5));
    assert_eq!((code, text_of.contains("no socket")), (2, true), "{text_of}");
}

/// A process before a service that answers when it is told to, with one request in flight.
fn in_flight(drain: Duration) -> (Story, TcpStream, thread::JoinHandle<Result<String, std::io::Error>>) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("ringway.yaml");
    let at = upstream.local_addr().unwrap().to_string();
    std::fs::write(&config, text(5).replace("127.0.0.1:1", &at).replace("127.0.0.1:2", &at)).unwrap();
    let patience = Patience { drain, ..options(&config).patience };
    let running = start(&Options { patience, ..options(&config) }).unwrap_or_else(|error| panic!("{error}"));
    let address = running.listeners[0].1;
    let client = thread::spawn(move || ask(address));
    let (mut waiting, _) = upstream.accept().unwrap();
    assert_ne!(waiting.read(&mut [0; 4096]).unwrap(), 0);
    (Story { dir, running }, waiting, client)
}

#[test]
fn what_is_in_flight_finishes_before_the_end() {
    let (story, mut waiting, client) = in_flight(PATIENCE);
    story.running.drain();
    eventually("the end of accepting", || story.ask().is_err());
    assert_eq!(client::ready(story.running.telemetry, PATIENCE).unwrap_err().exit_code(), 1);
    waiting.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    assert!(client.join().unwrap().unwrap().ends_with("done"));
    assert_eq!(story.running.wait(), Some(Ended::Clean));
}

#[test]
fn what_never_ends_is_cut_when_patience_ends() {
    let (story, _waiting, _client) = in_flight(Duration::from_millis(50));
    story.running.drain();
    assert_eq!(story.running.wait(), Some(Ended::TimedOut));
}

#[test]
fn a_second_drain_ends_at_once() {
    let (story, _waiting, _client) = in_flight(Duration::from_secs(3600));
    story.running.drain();
    story.running.drain();
    assert_eq!(story.running.wait(), Some(Ended::Interrupted));
}

/// Without optimisation, so with more time than the 100 ms that a release build has.
#[test]
fn a_thousand_routes_are_published_soon() {
    let story = Story::begin();
    let route = |n| {
        format!("  - {{ hostnames: [h{n}.example.com], matches: [{{ path: {{ prefix: /a{n} }} }}], service: shop }}\n")
    };
    story.write(&format!("{}routes:\n{}", text(50), (0..1000).map(route).collect::<String>()));
    eventually("the edit", || story.weight() == 50.0);
    assert_eq!(story.running.snapshot().routes.routes().len(), 1000);
}

#[test]
fn the_workers_go_on_when_the_control_thread_breaks_off() {
    let registry = Registry::new(1, 10_000);
    let upstreams = Upstreams::default();
    let loaded = crate::config::load_texts(vec![crate::config::Source::new("a.yaml", text(5))]).unwrap();
    let prepared = prepare(loaded, &upstreams, &registry).unwrap_or_else(|error| panic!("{error}"));
    let shared = Arc::new(Shared {
        overload: Arc::default(),
        snapshot: Arc::new(ArcSwap::from_pointee(prepared.snapshot)),
        registry,
        connections: AtomicUsize::new(0),
        client_counts: Arc::default(),
        connections_max: 10,
        via: ViaName::random(),
        comparer: Comparer::default(),
    });
    let mut workers = Workers::start(1, &shared, None).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let sockets = workers.bind(address).unwrap();
    let bound = bound_address(&sockets).unwrap();
    workers.listen(address, sockets);
    let control = thread::spawn(move || {
        let _workers = workers;
        panic!("the control thread breaks off");
    });
    assert!(control.join().is_err());
    assert!(ask(bound).unwrap().starts_with("HTTP/1.1 503"));
}

/// One stream of a connection meets a bug: it is reset and counted, and the others, and those who come later, do not
/// notice.
#[test]
fn a_panic_on_a_stream_costs_that_stream_alone() {
    let story = Story::begin();
    let to = story.running.listeners[0].1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let statuses = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let ask = async |line: &'static str| {
            let request = http::Request::get("http://shop/").header(line, "1").body(()).unwrap();
            let mut ready = sender.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(request, true).unwrap();
            response.await.map(|response| response.status().as_u16())
        };
        let asked = async { (ask("x-a").await, ask("x-panic").await, ask("x-a").await) };
        let asked = async { tokio::join!(ask("x-a"), ask("x-panic"), asked) };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("answers")
    });
    let (first, bug, (second, another_bug, third)) = statuses;
    assert!(bug.is_err() && another_bug.is_err(), "{bug:?} {another_bug:?}");
    let statuses = [first, second, third].map(Result::unwrap);
    // there is no service behind it
    assert_eq!(statuses, [503; 3]);
    assert!(ask(to).unwrap().starts_with("HTTP/1.1 503"));
    let metrics = fetch(story.running.telemetry, "/metrics").unwrap();
    assert!(metrics.contains("\nringway_panics_total 2\n"), "{metrics}");
}
