//! What runs out of the whole machine: threads and local ports (battery D22).

use rustix::process::getuid;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::binary::{Binary, PROGRAM};
use crate::client::Client;
use crate::service::Service;
use crate::story::{Story, eventually, pause, shop};

/// A user whom nobody is: whatever runs for it is ours.
const NOBODY: u32 = 54_321;
/// Ports that are left, each of them good for one connection to an endpoint.
const PORTS: usize = 4;

/// As with a limit of processes, of a user or of a control group: what runs goes on, and nothing new is begun.
#[test]
fn without_threads_it_serves_and_recovers() {
    use std::os::unix::process::CommandExt;
    let may = Command::new(PROGRAM).arg("--version").uid(NOBODY).output().is_ok_and(|done| done.status.success());
    if !getuid().is_root() || !may {
        return eprintln!("SKIPPED: a limit of processes takes another user, whom only root may be");
    }
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = |weight| shop(&stable.address.to_string(), &canary.address.to_string(), weight);
    let mut binary = Binary::start_as(NOBODY, &text(0));
    let pid = binary.id().to_string();
    // by a process of the same user, which may where root of a container may not
    let limit = |most: u32| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &pid, &format!("--nproc={most}:10000")]);
        assert!(prlimit.uid(NOBODY).status().unwrap().success());
    };
    limit(1);
    let mut client = binary.client();
    for round in 0..20 {
        assert!(client.get("/", "").is_ok() && binary.client().get("/", "").is_ok(), "round {round}");
        assert!(Client::connect(binary.telemetry).get("/livez", "").is_ok());
        // a page of metrics is written by a thread, of which one is there
        assert!(binary.metrics().sum("ringway_http_requests_total", &[]) > 0.0);
        pause(Duration::from_millis(20));
    }
    // a reload takes a thread of its own: done or not, and nothing else comes of it
    binary.write(&text(100));
    pause(Duration::from_secs(1));
    assert!(client.get("/", "").is_ok() && binary.is_alive());
    limit(10_000);
    binary.write(&text(50));
    binary.write(&text(100));
    eventually("the file of now", || {
        let answer = Client::connect(binary.listener).get("/", "");
        if answer.body.starts_with("canary") { Ok(()) } else { Err(answer.body + &binary.log()) }
    });
    assert_eq!(binary.metrics().sum("ringway_panics_total", &[]), 0.0);
    binary.terminate();
    assert_eq!(binary.exit_code(), 0, "{}", binary.log());
}

/// In a network of its own, as the ports of this one are everybody's.
#[test]
fn without_ports_nobody_is_blamed_and_it_recovers() {
    let unshare = |args: &[&str]| Command::new("unshare").arg("-rn").args(args).output();
    if !unshare(&["ip", "link", "set", "lo", "up"]).is_ok_and(|done| done.status.success()) {
        return eprintln!("SKIPPED: no network of its own can be made here");
    }
    let own = std::env::current_exe().unwrap();
    let name = "machine::in_a_network_of_its_own";
    let done = unshare(&[own.to_str().unwrap(), "--exact", name, "--ignored", "--nocapture"]).unwrap();
    let text = [done.stdout, done.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the one before it, where it can do no harm"]
fn in_a_network_of_its_own() {
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = is_open.clone();
    let stable = Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            if request.path == "/slow" {
                eventually("the end of slowness", || opened.load(SeqCst).then_some(()).ok_or_else(String::new));
            }
            wire.ok("stable");
        }
    });
    let canary = Service::named("canary");
    let text = shop(&stable.address.to_string(), &canary.address.to_string(), 0) + "    fallback: canary\n";
    let story = Story::with(&text, 1, |options| options);
    let mut clients: Vec<Client> = (0..PORTS + 4).map(|_| story.client()).collect();
    // answered without a service, so that no connection to one is open
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("OPTIONS", "*", "", "").status, 204));
    let metrics_before = story.metrics();
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let before = std::fs::read_to_string(range).unwrap();
    std::fs::write(range, format!("20000 {}", 20_000 + PORTS - 1)).unwrap();
    let (slow, quick) = clients.split_at_mut(PORTS);
    for (number, client) in slow.iter_mut().enumerate() {
        client.send(b"GET /slow HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        eventually("a connection", || (stable.requests() == number + 1).then_some(()).ok_or_else(String::new));
    }
    for client in quick.iter_mut() {
        let answer = client.get("/", "");
        assert!(answer.status == 503 && answer.body.contains("no more connections"), "{answer:?}");
    }
    is_open.store(true, SeqCst);
    for client in slow.iter_mut() {
        assert!(client.answer("GET").is_ok());
    }
    // not one port more: those that came back are used again
    for client in quick.iter_mut() {
        assert!(client.get("/", "").is_ok());
    }
    std::fs::write(range, before).unwrap();
    let metrics = story.metrics();
    let more = |name, labels: &[(&str, &str)]| metrics.sum(name, labels) - metrics_before.sum(name, labels);
    assert_eq!(more("ringway_fallback_total", &[]), 0.0);
    let outcome = |outcome| more("ringway_http_request_duration_seconds_count", &[("outcome", outcome)]);
    assert_eq!((outcome("internal"), outcome("error"), outcome("success")), (4.0, 0.0, 8.0));
    assert_eq!(canary.requests(), 0);
}
