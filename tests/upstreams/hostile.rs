//! Services that misbehave: the client sees an error or a visibly broken answer, nobody sees another's bytes, and the
//! variant is blamed (battery D10).

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::behaviours::{BODY_BYTES, Behaviour, ENDS, LEFTOVERS, MALFORMED, ODD, POISON, SLOW, Sees};
use crate::client::{Answer, Client, Client2};
use crate::service::{Service, Wire};
use crate::story::{DOORS, PATIENCE, Story, eventually, shop};

/// What a route allows its service, in milliseconds.
const PATIENCE_OF_ROUTE_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaks {
    Http1,
    Http2,
}

fn serve(wire: &mut Wire, does: fn(&mut Wire) -> bool) {
    while let Some(request) = wire.head() {
        if request.path == "/bad" {
            if !does(wire) {
                return;
            }
        } else {
            wire.ok(&format!("good {}", request.path));
        }
    }
}

fn ask(at: SocketAddr, speaks: Speaks, host: &str, method: &str, path: &str) -> Answer {
    let body = if method == "POST" { "a".repeat(BODY_BYTES) } else { String::new() };
    match speaks {
        Speaks::Http1 => Client::connect(at).ask(method, path, &format!("host: {host}\r\n"), &body),
        Speaks::Http2 => {
            let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
            Client2::connect(at).ask(request.body(Full::from(Bytes::from(body))).unwrap())
        }
    }
}

fn check(behaviour: &Behaviour, speaks: Speaks, seen: &Answer) -> Result<(), String> {
    // a hang is told in the body
    let is_cut = !seen.is_whole && (seen.status == 200 || seen.status == 0 && seen.body.is_empty());
    let is = |status| seen.status == status && seen.is_whole;
    let is_seen = match behaviour.sees {
        Sees::Whole(status, body) => is(status) && seen.body == body,
        Sees::Refused => is(502),
        Sees::Late => is(504),
        Sees::Broken => is(502) || is(504) || is_cut,
        Sees::Either(body) => is(502) || is(200) && seen.body == body,
    };
    if is_seen { Ok(()) } else { Err(format!("{} to {speaks:?}: {:?}, but {seen:?}", behaviour.name, behaviour.sees)) }
}

/// All services of a table, each behind its own host, in one process with one worker, so one pool.
struct Battery {
    story: Story,
    behaviours: Vec<&'static Behaviour>,
    _services: Vec<Service>,
}

impl Battery {
    fn begin(tables: &[&'static [Behaviour]]) -> Battery {
        let behaviours: Vec<&Behaviour> = tables.iter().flat_map(|table| table.iter()).collect();
        let started = behaviours.iter().map(|behaviour| {
            let does = behaviour.does;
            Service::wired(move |wire| serve(wire, does))
        });
        let services: Vec<Service> = started.collect();
        let (mut text, mut routes) = (format!("{DOORS}services:\n"), "routes:\n".to_owned());
        for (at, service) in services.iter().enumerate() {
            text += &format!("  s{at}: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }}\n", service.address);
            let timeouts = format!("{{ request: {PATIENCE_OF_ROUTE_MS}ms, idle: {PATIENCE_OF_ROUTE_MS}ms }}");
            routes += &format!("  - {{ hostnames: [s{at}.test], service: s{at}, timeouts: {timeouts} }}\n");
        }
        Battery { story: Story::begin(&(text + &routes)), behaviours, _services: services }
    }

    /// One behaviour towards one kind of client: the bad request, and what comes after it. True for an error.
    fn meet(&self, at: usize, speaks: Speaks) -> Result<bool, String> {
        let (behaviour, proxy, host) = (self.behaviours[at], self.story.at(), format!("s{at}.test"));
        let began = Instant::now();
        let seen = ask(proxy, speaks, &host, behaviour.asked, "/bad");
        check(behaviour, speaks, &seen)?;
        if began.elapsed() > Duration::from_millis(PATIENCE_OF_ROUTE_MS) + PATIENCE / 2 {
            return Err(format!("{}: {:?} is a hang", behaviour.name, began.elapsed()));
        }
        for after in 0..3 {
            let path = format!("/after/{speaks:?}/{after}");
            let next = ask(proxy, speaks, &host, "GET", &path);
            if !next.is_ok() || next.body != format!("good {path}") {
                return Err(format!("{} to {speaks:?}: the next request got {next:?}", behaviour.name));
            }
        }
        Ok(seen.status >= 500 || !seen.is_whole)
    }

    /// Meets all of them, at once.
    fn run(&self) {
        let meet = |at| [Speaks::Http1, Speaks::Http2].map(|speaks| self.meet(at, speaks));
        let met: Vec<[Result<bool, String>; 2]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.behaviours.len()).map(|at| scope.spawn(move || meet(at))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let wrong: Vec<&String> = met.iter().flatten().filter_map(|met| met.as_ref().err()).collect();
        assert!(wrong.is_empty(), "{} of {}:\n{wrong:#?}", wrong.len(), 2 * met.len());
        for (at, met) in met.iter().enumerate() {
            let errors = met.iter().filter(|met| **met == Ok(true)).count();
            let service = format!("s{at}");
            let count = "ringway_http_request_duration_seconds_count";
            let of = |outcome| [("service", &*service), ("variant", "stable"), ("outcome", outcome)];
            self.story.expect_metric(count, &of("error"), errors as f64);
            self.story.expect_metric(count, &of("cancelled"), 0.0);
            self.story.expect_metric(count, &of("internal"), 0.0);
            self.story.expect_metric("ringway_http_requests_in_flight", &[("service", &service)], 0.0);
        }
        self.story.expect_metric("ringway_panics_total", &[], 0.0);
    }
}

#[test]
fn connections_that_end_at_every_stage() {
    Battery::begin(&[ENDS]).run();
}

#[test]
fn what_is_left_over_is_never_the_next_answer() {
    Battery::begin(&[LEFTOVERS]).run();
}

#[test]
fn answers_that_are_not_http() {
    Battery::begin(&[MALFORMED]).run();
}

#[test]
fn answers_that_are_odd_or_slow() {
    Battery::begin(&[ODD, SLOW]).run();
}

#[test]
fn the_battery_is_large() {
    let count: usize = [ENDS, LEFTOVERS, MALFORMED, ODD, SLOW].iter().map(|table| table.len()).sum();
    println!("{count} hostile behaviours, each towards HTTP/1.1 and HTTP/2 clients");
    assert!(count >= 30);
}

/// The bytes come when the connection waits in the pool, and nobody reads them until its next use.
#[test]
fn an_answer_to_nothing_spoils_only_its_connection() {
    let has_poisoned = Arc::new(AtomicBool::new(false));
    let told = has_poisoned.clone();
    let service = Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            if request.path == "/next" {
                wire.ok(&format!("{} on {}", request.path, wire.number));
                continue;
            }
            wire.ok("first");
            // only once the answer was read, so that this finds an idle connection
            let _ = wire.exactly(0);
            wire.drip(Duration::from_millis(100), [POISON.as_bytes().to_vec()].into_iter());
            told.store(true, SeqCst);
        }
    });
    let address = service.address.to_string();
    let story = Story::begin(&shop(&address, &address, 0));
    let mut client = story.client();
    assert_eq!(client.get("/first", "").body, "first");
    eventually("the poison", || if has_poisoned.load(SeqCst) { Ok(()) } else { Err(String::new()) });
    assert_eq!(client.get("/next", "").body, "/next on 1");
}

/// A service that closes each connection at its second request, having read it.
fn forgetful() -> Service {
    Service::wired(|wire| {
        if let Some(request) = wire.request() {
            wire.ok(&format!("{} on {}", request.path, wire.number));
        }
        let _ = wire.request();
    })
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced_for_what_may_be_repeated() {
    let service = forgetful();
    let address = service.address.to_string();
    let story = Story::begin(&shop(&address, &address, 0));
    let mut client = story.client();
    for number in 0..20 {
        let method = ["GET", "PUT", "DELETE", "OPTIONS"][number % 4];
        assert_eq!(client.ask(method, "/a", "", "").body, format!("/a on {number}"), "{method}");
    }
    story.expect_metric("ringway_http_requests_total", &[("code", "200")], 20.0);
}

#[test]
fn what_must_not_be_repeated_is_answered_with_502_and_sent_once() {
    let service = forgetful();
    let address = service.address.to_string();
    let story = Story::begin(&shop(&address, &address, 0));
    let mut client = story.client();
    for number in 0..10 {
        let first = client.get("/a", "");
        assert_eq!((first.status, &*first.body), (200, &*format!("/a on {number}")));
        assert_eq!(client.ask("POST", "/b", "", "body").status, 502);
        assert_eq!(service.requests(), 2 * number + 2, "sent once");
    }
    let errors = [("variant", "stable"), ("outcome", "error")];
    story.expect_metric("ringway_http_request_duration_seconds_count", &errors, 10.0);
}

/// Connections whose end came before the next request cost nothing, not even a POST.
#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    let closed = Arc::new(AtomicUsize::new(0));
    let told = closed.clone();
    let service = Service::wired(move |wire| {
        if let Some(request) = wire.request() {
            wire.ok(&String::from_utf8(request.body).unwrap());
            wire.stream.shutdown(Shutdown::Both).unwrap();
            told.fetch_add(1, SeqCst);
        }
    });
    let address = service.address.to_string();
    let story = Story::begin(&shop(&address, &address, 0));
    let mut client = story.client();
    for number in 0..50 {
        let body = format!("body {number}");
        assert_eq!(client.ask("POST", "/", "", &body).body, body);
        eventually("the close", || if closed.load(SeqCst) > number { Ok(()) } else { Err(number.to_string()) });
    }
}
