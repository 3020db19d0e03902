//! Gates that look beyond status codes, in the real program: what the business counts, what hangs, and what is blamed.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::rollouts::Release;
use crate::service::{Service, Wire};
use crate::story::eventually;

/// Answers with its name, and with a header line for some paths.
fn with_header(name: &'static str, path: &'static str, line: &'static str) -> Service {
    Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            let line = if request.path == path { line } else { "" };
            if !wire.send(format!("HTTP/1.1 200 OK\r\n{line}content-length: {}\r\n\r\n{name} ", name.len() + 1)) {
                return;
            }
        }
    })
}

/// Posts to the admin door, and returns the status with the answer.
fn post(release: &Release, path: &str, body: &Value) -> (u16, Value) {
    let mut door = UnixStream::connect(release.binary.dir.path().join("admin.sock")).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    door.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    door.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[test]
fn a_version_that_takes_no_orders_is_paused() {
    let gates = "gates: { outcomes: [{ name: orders, header: { name: x-order, exact: placed }, \
                 among: { path: { prefix: /checkout } } }] }";
    let stable = with_header("stable", "/checkout", "x-order: placed\r\n");
    let canary = with_header("canary", "/catalogue", "x-order: placed\r\n");
    let release = Release::half(stable, canary, gates);
    release.wait_for("progressing");
    release.users("/catalogue");
    eventually("requests that were seen", || match release.gate("errors")["verdict"] == "pass" {
        true => Ok(()),
        false => Err(format!("{:#}", release.status())),
    });
    let before = release.gate("orders")["text"].to_string();
    assert!(before.contains("n = 0"), "only what could become an order counts: {before}");
    release.users("/checkout");
    let status = release.wait_for("paused");
    let why = status["why"].as_str().unwrap();
    assert!(why.contains("orders 0 % against stable 100 %"), "{why}");
    assert_eq!(release.gate("orders")["verdict"], "harm");
    assert_eq!(release.share(), 50.0, "harm to the business asks a person");
    let evidence = release.binary.metrics().sum("ringway_gate_evidence", &[("gate", "orders")]);
    assert!(evidence > 20.0, "{evidence}");
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn sign_ups_that_are_posted_count_for_the_variant_of_their_user() {
    let gates = "gates: { outcomes: [{ name: signups }, { name: orders, header: { name: x-order, present: true } }] }";
    let release = Release::half(Service::named("stable"), Service::named("canary"), gates);
    release.wait_for("progressing");
    let users = release.users("/");
    let traced = format!("cookie: uid={}\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n", users["canary"][0]);
    assert_eq!(release.binary.client().get("/", &traced).status, 200);
    let page = "/api/v1/outcomes";
    let of = |name: &str| json!({ "service": "shop", "name": name, "events": [] });
    assert_eq!(post(&release, page, &of("nothing")).0, 404);
    assert_eq!(post(&release, page, &of("orders")).0, 409, "that one is seen by its header");
    assert_eq!(post(&release, page, &json!({ "service": "shop" })).0, 400);
    let keyless = json!({ "service": "shop", "name": "signups", "events": [{ "good": true }] });
    assert_eq!(post(&release, page, &keyless).0, 400);

    let events = users.iter().flat_map(|(variant, users)| {
        users.iter().map(move |user| json!({ "user": user, "good": variant == "stable" }))
    });
    let mut events: Vec<Value> = events.collect();
    events.push(json!({ "trace": TRACE, "good": false }));
    events.push(json!({ "trace": TRACE.replace('4', "5"), "good": true }));
    events.push(json!({ "variant": "canary", "cohort": "nobody", "good": true }));
    events.push(json!({ "variant": "canary", "cohort": "everyone", "good": false }));
    let (status, answer) = post(&release, page, &json!({ "service": "shop", "name": "signups", "events": events }));
    assert_eq!((status, &answer["accepted"], &answer["unknown"]), (200, &402.into(), &2.into()), "{answer}");
    let why = release.wait_for("paused")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("signups 0 % against stable 100 %"), "{why}");
}

#[test]
fn a_version_that_hangs_is_taken_back_before_anybody_gives_up() {
    let canary = Service::wired(|wire: &mut Wire| {
        while let Some(request) = wire.request() {
            if request.path == "/hang" {
                return wire.wait_for_end();
            }
            if !wire.ok("canary ") {
                return;
            }
        }
    });
    let release = Release::half(Service::named("stable"), canary, "gates: {}");
    release.wait_for("progressing");
    let users = release.users("/");
    let canary_users = &users["canary"];
    eventually("latencies to compare with", || {
        release.users("/");
        match release.gate("latency")["verdict"] == "pass" {
            true => Ok(()),
            false => Err(format!("{:#}", release.status())),
        }
    });
    let begun = Instant::now();
    let ask = |user: &String| {
        let mut client = Client::connect(release.binary.listener);
        client.send(format!("GET /hang HTTP/1.1\r\nhost: shop\r\ncookie: uid={user}\r\n\r\n").as_bytes()).unwrap();
        client
    };
    let hanging: Vec<Client> = canary_users.iter().take(80).map(ask).collect();
    release.users("/");
    let why = release.wait_for("rolled-back")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("latency"), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(25), "answers are waited for longer: {:?}", begun.elapsed());
    assert_eq!(release.binary.metrics().sum("ringway_http_requests_total", &[("code", "504")]), 0.0);
    drop(hanging);
}

/// A canary that breaks every second connection.
fn resetting() -> Service {
    Service::wired(|wire| {
        let is_bad = wire.number % 2 == 0;
        if wire.request().is_some() {
            // a connection that was used before would be tried again
            match is_bad {
                true => wire.reset(),
                false => drop(wire.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\ncanary ")),
            }
        }
    })
}

#[test]
fn only_what_the_file_calls_bad_is_held_against_a_version() {
    let lenient = Release::half(Service::named("stable"), resetting(), "gates: { errors: { bad: [5xx, timeout] } }");
    let strict = Release::half(Service::named("stable"), resetting(), "gates: { errors: { bad: [reset] } }");
    lenient.wait_for("progressing");
    strict.wait_for("progressing");
    lenient.users("/");
    strict.users("/");
    let why = strict.wait_for("rolled-back")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("errors"), "{why}");
    let text = lenient.gate("errors")["text"].as_str().unwrap_or_default().to_owned();
    assert!(text.starts_with("errors 0 % against stable 0 %") && !text.contains("n = 0,"), "{text}");
    let errors = lenient.binary.metrics().sum("ringway_http_requests_total", &[("code", "502")]);
    assert!(errors >= 3.0 && lenient.phase() == "progressing", "{errors}");
}

/// A source of figures that is dead: nothing is promoted by it, nothing taken back, and neither people nor errors wait for it.
#[test]
fn a_dead_source_promotes_nothing_and_holds_up_no_rollback() {
    let source = Service::absent();
    let gates = format!(
        "gates: {{ prometheus: [{{ name: memory, url: 'http://{}', query: up, passWhen: '< 2', every: 1s }}] }}",
        source.address
    );
    let begin = |canary: Service| {
        let stable = Service::named("stable");
        let text = crate::rollouts::file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
        let text = text.replace("hold: 1h }]", &format!("hold: 1s, need: {{ requests: 1 }} }}], {gates}"));
        let release = Release::of(stable, canary, &(text + "outbound: { allow: [127.0.0.0/8] }\n"));
        eventually("a source that does not answer", || match release.gate("memory") {
            gate if gate["verdict"] == "unknown" => Ok(()),
            gate => Err(format!("{gate:#}")),
        });
        release
    };
    let good = begin(Service::named("canary"));
    good.users("/");
    let status = eventually("a step that is over but for the source", || match good.status() {
        status if status["why"].to_string().contains("memory") => Ok(status),
        status => Err(format!("{status:#}")),
    });
    assert_eq!(good.share(), 20.0, "{status:#}");
    good.done(&["rollback", "shop"]);
    assert_eq!(good.share(), 0.0);

    let bad = begin(crate::rollouts::failing());
    eventually("the rollback", || {
        bad.users("/");
        if bad.phase() == "rolled-back" { Ok(()) } else { Err(format!("{:#}", bad.status())) }
    });
    assert_eq!(bad.share(), 0.0);
}
