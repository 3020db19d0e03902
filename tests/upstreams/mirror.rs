//! D16, the mirror's half: copies go where they should, differences are found, and whatever the mirror does, users do
//! not notice.

#[path = "mirror/differences.rs"]
mod differences;
#[path = "mirror/hostile.rs"]
mod hostile;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::client::{Client, Client2};
use crate::peer::Peer;
use crate::service::{Received, Service};
use crate::story::{Story, eventually, shop};

/// What a service got, each request with the number of its connection.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(usize, Received)>>>);

impl Seen {
    /// A service that answers with what `answer` says.
    fn answering(&self, answer: impl Fn(&Received) -> String + Send + Sync + 'static) -> Service {
        let seen = self.clone();
        Service::wired(move |wire| {
            while let Some(request) = wire.request() {
                let answer = answer(&request);
                seen.0.lock().unwrap().push((wire.number, request));
                if !wire.send(answer) {
                    return;
                }
            }
        })
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn last(&self) -> Received {
        self.0.lock().unwrap().pop().unwrap().1
    }
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// `shop` with a mirror to the canary.
fn mirrored(stable: &Service, canary: &Service, weight: u32, mirror: &str) -> String {
    shop(&stable.address.to_string(), &canary.address.to_string(), weight)
        + &format!("    mirror: {{ to: canary{mirror} }}\n")
}

impl Story {
    fn copies(&self, result: &str) -> f64 {
        self.metrics().sum("ringway_mirror_requests_total", &[("result", result)])
    }

    fn expect_copies(&self, result: &str, count: f64) {
        self.expect_metric("ringway_mirror_requests_total", &[("result", result)], count);
    }

    /// The page of the mirror.
    fn mirror(&self) -> Value {
        let mut door = UnixStream::connect(self.dir.path().join("admin.sock")).unwrap();
        door.write_all(b"GET /api/v1/mirror/shop HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        door.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

#[test]
fn a_copy_is_what_the_user_s_variant_got_and_counts_for_nobody() {
    let (of_users, of_copies) = (Seen::default(), Seen::default());
    let stable = of_users.answering(|request| answer("", &request.path));
    let canary = of_copies.answering(|request| answer("", &request.path));
    let text = mirrored(&stable, &canary, 0, "")
        .replace("stable: {", "stable: { setHeaders: { x-only-stable: \"1\" },")
        .replace("canary: { weight", "canary: { setHeaders: { x-only-canary: \"1\" }, weight");
    let story = Story::begin(&text);
    let lines = "cookie: uid=u-1\r\nauthorization: Bearer x\r\nx-ringway-mirror: 1\r\nx-a: 1\r\nx-a: 2\r\n";
    assert!(story.client().get("/a?b=c", lines).is_ok());
    story.expect_copies("same", 1.0);
    let (user, copy) = (of_users.last(), of_copies.last());
    assert_eq!((user.header("x-ringway-mirror"), user.header("x-ringway-variant")), (None, Some("stable")));
    assert_eq!((copy.header("x-ringway-mirror"), copy.header("x-ringway-variant")), (Some("1"), Some("canary")));
    assert_eq!((copy.header("x-only-stable"), copy.header("x-only-canary")), (None, Some("1")));
    let own = ["x-ringway-mirror:", "x-ringway-variant:", "x-only-stable:", "x-only-canary:"];
    let rest = |of: &Received| -> BTreeSet<String> {
        of.head.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
    };
    assert_eq!(rest(&user), rest(&copy));
    assert!(copy.head.starts_with("GET /a?b=c HTTP/1.1\r\n") && copy.header("authorization") == Some("Bearer x"));
    let metrics = story.metrics();
    assert_eq!(metrics.sum("ringway_http_requests_total", &[("variant", "canary")]), 0.0);
    assert_eq!(metrics.sum("ringway_users_exposed", &[("variant", "canary")]), 0.0);
    assert_eq!(metrics.sum("ringway_http_requests_total", &[]), 1.0);
    assert_eq!(metrics.sum("ringway_mirror_duration_seconds_count", &[("side", "mirror")]), 1.0);
}

#[test]
fn bodies_are_copied_up_to_the_limit_and_only_where_the_file_says_so() {
    let (of_users, of_copies) = (Seen::default(), Seen::default());
    let (stable, canary) = (of_users.answering(|_| answer("", "")), of_copies.answering(|_| answer("", "")));
    let story = Story::begin(&mirrored(&stable, &canary, 0, ""));
    assert!(story.client().ask("POST", "/", "", "order").is_ok());
    assert!(story.client().ask("HEAD", "/", "", "").is_ok());
    story.expect_copies("same", 1.0);
    assert!(of_copies.last().head.starts_with("HEAD / "));

    story.apply(&mirrored(&stable, &canary, 0, ", methods: [POST], maxBody: 1KiB, stripCredentials: true"));
    let mut client = story.client();
    assert!(client.ask("POST", "/", "cookie: uid=u-1\r\nauthorization: Bearer x\r\n", &"a".repeat(1024)).is_ok());
    story.expect_copies("same", 2.0);
    let copy = of_copies.last();
    assert_eq!((copy.body.len(), copy.header("cookie"), copy.header("authorization")), (1024, None, None));
    let chunked = "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    client.send(chunked.as_bytes()).unwrap();
    assert!(client.answer("POST").is_ok());
    story.expect_copies("same", 3.0);
    assert_eq!(of_copies.last().body, b"abcde");
    // said to be too long, and found to be
    assert!(client.ask("POST", "/", "", &"a".repeat(1025)).is_ok());
    let long = format!(
        "POST / HTTP/1.1\r\nhost: shop\r\ntransfer-encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n",
        "a".repeat(1025)
    );
    client.send(long.as_bytes()).unwrap();
    assert!(client.answer("POST").is_ok());
    story.expect_copies("too_large", 2.0);
    assert_eq!((of_copies.count(), of_users.count()), (0, 6));
}

#[test]
fn copies_have_connections_of_their_own() {
    let (of_users, on_canary) = (Seen::default(), Seen::default());
    let (stable, canary) = (of_users.answering(|_| answer("", "")), on_canary.answering(|_| answer("", "")));
    let story = Story::begin(&mirrored(&stable, &canary, 50, ""));
    let mut client = story.client();
    for user in 0..60 {
        assert!(client.get("/", &format!("cookie: uid=u-{user}\r\n")).is_ok());
    }
    // users of the canary are not copied to it
    let of_stable = of_users.count();
    assert!(of_stable > 10 && of_stable < 50);
    story.expect_copies("same", of_stable as f64);
    let seen = on_canary.0.lock().unwrap();
    let connections = |copied: bool| -> BTreeSet<usize> {
        seen.iter()
            .filter(|(_, of)| of.header("x-ringway-mirror").is_some() == copied)
            .map(|(number, _)| *number)
            .collect()
    };
    assert_eq!(seen.len(), 60);
    assert!(connections(true).is_disjoint(&connections(false)));
    assert!(connections(true).len() < of_stable / 2, "copies keep their connections: {:?}", connections(true));
}

#[test]
fn a_copy_is_sent_once() {
    let (seen, asked) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
    let counted = asked.clone();
    let canary = Service::wired(move |wire| {
        // the first request on a connection is answered, the second breaks it
        for answers in [true, false] {
            if wire.request().is_none() {
                return;
            }
            counted.fetch_add(1, SeqCst);
            if answers {
                wire.ok("");
            }
        }
    });
    let stable = seen.answering(|_| answer("", ""));
    let story = Story::begin(&mirrored(&stable, &canary, 0, ""));
    let mut client = story.client();
    for done in 1..=20 {
        assert!(client.get("/", "").is_ok());
        eventually("the copy's end", || {
            let ended = story.copies("same") + story.copies("failed");
            if ended == f64::from(done) { Ok(()) } else { Err(ended.to_string()) }
        });
    }
    assert_eq!((asked.load(SeqCst), story.copies("failed")), (20, 10.0));
}

#[test]
fn a_copy_is_not_copied_again_and_its_mark_passes_on() {
    let (of_users, of_copies) = (Seen::default(), Seen::default());
    let (stable, canary) = (of_users.answering(|_| answer("", "")), of_copies.answering(|_| answer("", "")));
    let text = mirrored(&stable, &canary, 0, "");
    let trusting =
        text.replace("address: 127.0.0.1:0 }]\n", "address: 127.0.0.1:0, trustedProxies: [127.0.0.0/8] }]\n");
    let story = Story::begin(&trusting.replacen(
        "telemetry: { address: 127.0.0.1:0, trustedProxies: [127.0.0.0/8] }",
        "telemetry: { address: 127.0.0.1:0 }",
        1,
    ));
    assert!(story.client().get("/", "x-ringway-mirror: 1\r\n").is_ok());
    assert_eq!(of_users.last().header("x-ringway-mirror"), Some("1"));
    assert!(story.client().get("/", "").is_ok());
    story.expect_copies("same", 1.0);
    assert_eq!(of_copies.count(), 1);
    // two in a row, each with a mirror: one copy of the first, none of it at the second
    let first = Story::begin(
        &shop(&story.at().to_string(), &story.at().to_string(), 0)
            .replace("canary: {", "canary: { setHeaders: { x-copy: \"1\" },"),
    );
    first.apply(
        &(shop(&story.at().to_string(), &story.at().to_string(), 0)
            .replace("canary: {", "canary: { setHeaders: { x-copy: \"1\" },")
            + "    mirror: { to: canary }\n"),
    );
    assert!(first.client().get("/chain", "").is_ok());
    first.expect_copies("same", 1.0);
    story.expect_copies("same", 2.0);
    assert_eq!((of_users.count(), of_copies.count()), (3, 2));
}

#[test]
fn a_share_of_the_requests_is_copied_whoever_sends_them() {
    let (of_users, of_copies) = (Seen::default(), Seen::default());
    let (stable, canary) = (of_users.answering(|_| answer("", "")), of_copies.answering(|_| answer("", "")));
    let story = Story::begin(&mirrored(&stable, &canary, 0, ", percent: 10"));
    let mut client = story.client();
    for _ in 0..1500 {
        assert!(client.get("/", "cookie: uid=one\r\n").is_ok());
    }
    eventually("the last copy", || {
        let (copied, seen) = (story.copies("same"), of_copies.count() as f64);
        // 150 expected, with a deviation of 12: beyond these it is not chance
        if (80.0..=220.0).contains(&copied) && copied == seen { Ok(()) } else { Err(format!("{copied} {seen}")) }
    });
}

#[test]
fn cohorts_fallbacks_and_broken_answers_are_left_out() {
    let (of_users, of_copies) = (Seen::default(), Seen::default());
    let broken = |request: &Received| match request.path.as_str() {
        "/broken" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned(),
        _ => answer("", ""),
    };
    let mut stable = Service::absent();
    stable.open(move |wire| {
        while let Some(request) = wire.request() {
            if !wire.send(broken(&request)) || request.path == "/broken" {
                return;
            }
        }
    });
    let canary = of_copies.answering(|_| answer("", ""));
    let text = mirrored(&stable, &canary, 0, ", cohorts: [everyone]")
        + "    fallback: canary\n    cohorts: [{ name: beta, when: { cookie: { name: beta, present: true } } }]\n";
    let story = Story::begin(&text);
    assert!(story.client().get("/", "cookie: beta=1\r\n").is_ok());
    assert!(!story.client().get("/broken", "").is_whole);
    story.expect_copies("unanswered", 1.0);
    assert!(story.client().get("/", "").is_ok());
    story.expect_copies("same", 1.0);
    assert_eq!(of_copies.count(), 1);
    stable.close();
    // the canary stands in: it would be compared with itself
    assert!(story.client().get("/fallback", "").is_ok());
    story.expect_metric("ringway_fallback_total", &[], 1.0);
    let copy = of_copies.last();
    assert_eq!((copy.path.as_str(), copy.header("x-ringway-mirror")), ("/fallback", None));
    assert_eq!(story.metrics().sum("ringway_mirror_requests_total", &[]), 2.0);
    drop(of_users);
}

#[test]
fn services_and_clients_of_http2_have_mirrors_too() {
    let (stable, canary) = (Peer::start(), Peer::start());
    for protocol in ["h2c", "auto"] {
        let text = shop(&stable.address.to_string(), &canary.address.to_string(), 0)
            .replace("stable: {", &format!("stable: {{ protocol: {protocol},"))
            .replace("canary: {", &format!("canary: {{ protocol: {protocol},"))
            + "    mirror: { to: canary, methods: [GET, POST], ignore: { headers: [x-variant] } }\n";
        let story = Story::begin(&text);
        let mut client = Client2::connect(story.at());
        let requests = (0..20).map(|_| http::Request::get("http://shop/a").body(Default::default()).unwrap());
        assert!(client.ask_all(requests.collect()).iter().all(|answer| answer.is_ok()));
        let post = http::Request::post("http://shop/echo").body(http_body_util::Full::from("order")).unwrap();
        assert!(client.ask(post).is_ok());
        story.expect_copies("same", 21.0);
    }
}

#[test]
fn a_reload_starts_and_ends_it_and_counts_go_on() {
    let seen = Seen::default();
    let (stable, canary) = (seen.answering(|_| answer("", "")), seen.answering(|_| answer("", "")));
    let without = shop(&stable.address.to_string(), &canary.address.to_string(), 0);
    let story = Story::begin(&without);
    let mut client = story.client();
    assert!(client.get("/", "").is_ok());
    assert_eq!(story.metrics().series().iter().filter(|series| series.contains("mirror")).count(), 0);
    for round in 1..=3 {
        story.apply(&mirrored(&stable, &canary, 0, ""));
        assert!(client.get("/", "").is_ok());
        story.expect_copies("same", f64::from(round));
        story.apply(&without);
        assert!(client.get("/", "").is_ok());
    }
    assert_eq!((story.copies("same"), seen.count()), (3.0, 10));
}

#[test]
fn a_websocket_has_no_copy() {
    let seen = Seen::default();
    let canary = seen.answering(|_| answer("", ""));
    let stable = Service::wired(|wire| {
        let _ = wire.request();
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        wire.send(format!(
            "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        ));
        wire.wait_for_end();
    });
    let story = Story::begin(&mirrored(&stable, &canary, 0, ""));
    let mut client = Client::connect(story.at());
    let lines = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.send(format!("GET / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n").as_bytes()).unwrap();
    let head = client.exactly(12).unwrap();
    assert_eq!(head, b"HTTP/1.1 101");
    assert!(story.client().ask("POST", "/", "", "").status != 0);
    assert_eq!((seen.count(), story.metrics().sum("ringway_mirror_requests_total", &[])), (0, 0.0));
}
