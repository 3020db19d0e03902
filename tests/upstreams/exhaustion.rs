//! What runs out: descriptors, and room for labels (batteries D22 and D24).

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::binary::Binary;
use crate::client::Client;
use crate::service::Service;
use crate::story::{DOORS, Story, eventually, pause, shop};

const DESCRIPTORS: u64 = 64;

/// A client that has begun to speak and goes on soon.
fn half_a_request(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    // it may have been closed already
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n");
    stream
}

/// More clients than descriptors, then none: the process lives, and serves again.
#[test]
fn without_descriptors_it_waits_and_recovers() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let text = shop(&address, &address, 0)
        .replace("address: 127.0.0.1:0 }]", "address: 127.0.0.1:0, limits: { maxConnections: 10000 } }]");
    let mut binary = Binary::start(&text, &["--workers", "2"]);
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    prlimit(Some(Pid::from_raw(binary.id() as i32).unwrap()), Resource::Nofile, limit).unwrap();
    for round in 0..3 {
        // none of them is silent, so none makes room
        let greedy: Vec<TcpStream> = (0..2 * DESCRIPTORS).map(|_| half_a_request(binary.listener)).collect();
        let refused = || {
            let metrics = binary.metrics();
            let refused = metrics.sum("ringway_downstream_connections_refused_total", &[("reason", "descriptors")]);
            if refused > 0.0 { Ok(()) } else { Err(binary.log()) }
        };
        // asked through a door, which has descriptors of its own
        eventually("refused clients", refused);
        assert!(binary.log_has("no descriptors for more clients"));
        assert!(binary.is_alive(), "round {round}");
        drop(greedy);
        eventually("an answer", || {
            let answer = Client::connect(binary.listener).get("/", "");
            if answer.is_ok() { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    }
    assert_eq!(binary.metrics().sum("ringway_panics_total", &[]), 0.0);
    binary.terminate();
    assert_eq!(binary.exit_code(), 0, "{}", binary.log());
}

/// A lack of descriptors is the machine's, not the canary's.
#[test]
fn a_lack_of_descriptors_is_answered_and_forgotten() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let text = shop(&address, &address, 0)
        .replace("address: 127.0.0.1:0 }]", "address: 127.0.0.1:0, limits: { maxConnections: 10000 } }]");
    let mut binary = Binary::start(&text, &["--workers", "1"]);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(binary.listener)).collect();
    clients.iter_mut().for_each(|client| assert!(client.get("/", "").is_ok()));
    // fewer than are open: nothing new can be had
    let limit = |most| Rlimit { current: Some(most), maximum: Some(1024) };
    let pid = Pid::from_raw(binary.id() as i32);
    prlimit(pid, Resource::Nofile, limit(8)).unwrap();
    for client in &mut clients {
        let answer = client.get("/", "");
        assert!(answer.is_ok(), "on a connection of the pool: {answer:?}");
    }
    prlimit(pid, Resource::Nofile, limit(1024)).unwrap();
    eventually("an answer to a new client", || {
        let answer = Client::connect(binary.listener).get("/", "");
        if answer.is_ok() { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert!(binary.is_alive());
    binary.terminate();
    assert_eq!(binary.exit_code(), 0);
}

/// Nor does it count against anybody: no fallback, no endpoint that is left alone, and all is well at once.
#[test]
fn a_lack_of_descriptors_blames_no_variant() {
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = shop(&stable.address.to_string(), &canary.address.to_string(), 50)
        .replace("address: 127.0.0.1:0 }]", "address: 127.0.0.1:0, limits: { maxConnections: 10000 } }]");
    let mut binary = Binary::start(&text, &["--workers", "1"]);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(binary.listener)).collect();
    // answered without a service, so that no connection to one is open
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("OPTIONS", "*", "", "").status, 204));
    let limit = |most| Rlimit { current: Some(most), maximum: Some(1024) };
    let pid = Pid::from_raw(binary.id() as i32);
    prlimit(pid, Resource::Nofile, limit(8)).unwrap();
    let users: Vec<String> = (0..8).map(|user| format!("cookie: uid=u-{user}\r\n")).collect();
    for (client, user) in clients.iter_mut().zip(&users) {
        let answer = client.get("/", user);
        assert!(answer.status == 503 && answer.body.contains("no more connections"), "{answer:?}");
    }
    prlimit(pid, Resource::Nofile, limit(1024)).unwrap();
    let metrics = binary.metrics();
    assert_eq!(metrics.sum("ringway_fallback_total", &[]), 0.0);
    let outcome = |outcome| metrics.sum("ringway_http_request_duration_seconds_count", &[("outcome", outcome)]);
    assert_eq!((outcome("internal"), outcome("error")), (8.0, 0.0));
    for user in &users {
        let answer = Client::connect(binary.listener).get("/", user);
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert!(stable.requests() > 0 && canary.requests() > 0, "nobody is left alone");
    assert!(binary.is_alive());
    binary.terminate();
    assert_eq!(binary.exit_code(), 0);
}

#[test]
fn a_flood_of_names_makes_no_series() {
    // 20,000 of each kind, or as many as the environment says
    let flood = std::env::var("RINGWAY_TEST_LABELS").map_or(20_000, |count| count.parse::<usize>().unwrap());
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let story = Story::with(&shop(&stable.address.to_string(), &canary.address.to_string(), 50), 2, |options| options);
    let ask = |seed: usize, count: usize| {
        let mut client = story.client();
        for number in 0..count {
            let n = seed * flood + number;
            let method = if n.is_multiple_of(3) { format!("M{n}") } else { "GET".to_owned() };
            let lines = format!(
                "host: h{n}.example.com\r\nuser-agent: agent {n}\r\ncookie: uid=u{n}; c{n}=x\r\nx-h{n}: {n}\r\n"
            );
            assert!(client.ask(&method, &format!("/p{n}?q{n}={n}"), &lines, "").is_ok(), "{DOORS}");
        }
    };
    ask(0, 100);
    let before = story.metrics();
    std::thread::scope(|scope| (1..=4).for_each(|seed| drop(scope.spawn(move || ask(seed, flood / 4)))));
    let after = story.metrics();
    assert_eq!(before.series(), after.series());
    assert!(after.bytes() < 1 << 20, "{}", after.bytes());
    println!("{flood} names of each kind: {} series before and after, {} bytes", after.series().len(), after.bytes());
}

/// The control group of a process that is told to use so much of its memory.
fn use_memory(groups: &std::path::Path, percent: u32) {
    let memory = groups.join("memory");
    std::fs::create_dir_all(&memory).unwrap();
    // whichever version this machine has
    for (folder, limit, used) in
        [(groups, "memory.max", "memory.current"), (&memory, "memory.limit_in_bytes", "memory.usage_in_bytes")]
    {
        std::fs::write(folder.join(limit), "1000000").unwrap();
        std::fs::write(folder.join(used), format!("{}", percent * 10_000)).unwrap();
    }
}

#[test]
fn short_of_memory_it_does_less_and_recovers() {
    let groups = tempfile::tempdir().unwrap();
    use_memory(groups.path(), 50);
    let long: &'static str = Box::leak("x".repeat(32 << 20).into_boxed_str());
    let service = Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            match request.path.as_str() {
                "/long" => _ = wire.ok(long),
                "/steady" => {
                    wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n200000\r\n");
                    wire.send("y".repeat(0x20_0000));
                    let pieces = std::iter::repeat_with(|| format!("400\r\n{}\r\n", "z".repeat(1024)).into_bytes());
                    wire.send("\r\n");
                    return wire.drip(Duration::from_millis(20), pieces);
                }
                _ => _ = wire.ok("short"),
            }
        }
    });
    let address = service.address.to_string();
    let story = Story::with(&shop(&address, &address, 5), 1, |options| ringway::server::Options {
        control_groups: groups.path().to_owned(),
        ..options
    });
    let stage = |expected: f64| story.expect_metric("ringway_overload_stage", &[], expected);
    stage(0.0);
    let mut client = story.client();
    assert!(client.get("/", "").is_ok());
    let mut reader = story.client();
    reader.send(b"GET /long HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    // more than the other one has got, and all of it was taken
    let mut steady = story.client();
    steady.send(b"GET /steady HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
    let mut read = vec![0; 0x20_0000];
    steady.stream.read_exact(&mut read).unwrap();

    use_memory(groups.path(), 86);
    stage(1.0);
    let answer = client.get("/", "");
    assert!(answer.is_ok());
    assert_eq!(answer.header("connection"), Some("close"), "no connection is kept");

    use_memory(groups.path(), 93);
    stage(2.0);
    let answer = story.client().get("/", "");
    assert_eq!(answer.status, 503, "{answer:?}");

    use_memory(groups.path(), 98);
    stage(3.0);
    story.expect_metric("ringway_http_request_duration_seconds_count", &[("outcome", "internal")], 1.0);
    let answer = reader.answer("GET");
    assert!(!answer.is_whole, "a long answer makes room: {} bytes", answer.body.len());
    // an answer that holds nothing goes on: what is there, and what comes after it
    read.truncate(256 * 1024);
    steady.stream.read_exact(&mut read).unwrap();
    assert!(read.ends_with(b"z"));

    use_memory(groups.path(), 50);
    stage(0.0);
    let mut client = story.client();
    assert!(client.get("/", "").is_ok());
    assert!(client.get("/", "").is_ok(), "connections are kept again");
    story.expect_metric("ringway_unrouted_requests_total", &[("code", "503")], 1.0);
}

/// An upload that its endpoint does not take holds memory as well, one that is taken does not.
#[test]
fn out_of_memory_the_upload_that_holds_most_makes_room() {
    let groups = tempfile::tempdir().unwrap();
    use_memory(groups.path(), 50);
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let service = Service::wired(move |wire| {
        while let Some(head) = wire.head() {
            if head.path == "/stuck" {
                // reads nothing
                return eventually("the end", || over.load(SeqCst).then_some(()).ok_or_else(String::new));
            }
            wire.exactly(STEADY);
            wire.ok("taken");
        }
    });
    const STEADY: usize = 1 << 20;
    let address = service.address.to_string();
    let story = Story::with(&shop(&address, &address, 5), 1, |options| ringway::server::Options {
        control_groups: groups.path().to_owned(),
        ..options
    });
    let mut steady = story.client();
    steady.send(format!("POST / HTTP/1.1\r\nhost: shop\r\ncontent-length: {STEADY}\r\n\r\n").as_bytes()).unwrap();
    steady.send(&vec![b'a'; STEADY / 2]).unwrap();
    let mut stuck = story.client();
    stuck.send(b"POST /stuck HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
    stuck.stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // until the buffers of both connections are full, and the proxy has a piece that nobody takes
    while stuck.stream.write_all(&[b'b'; 64 * 1024]).is_ok() {}

    use_memory(groups.path(), 98);
    story.expect_metric("ringway_overload_stage", &[], 3.0);
    story.expect_metric("ringway_http_request_duration_seconds_count", &[("outcome", "internal")], 1.0);
    let answer = stuck.answer("POST");
    assert!(answer.status == 503 || answer.status == 0, "{answer:?}");
    // a few looks more, at an upload that holds nothing
    pause(Duration::from_millis(700));
    use_memory(groups.path(), 50);
    story.expect_metric("ringway_overload_stage", &[], 0.0);
    steady.send(&vec![b'a'; STEADY / 2]).unwrap();
    let answer = steady.answer("POST");
    assert!(answer.is_ok(), "what is taken goes on: {answer:?}");
    let outcome = |outcome| story.metrics().sum("ringway_http_request_duration_seconds_count", &[("outcome", outcome)]);
    assert_eq!((outcome("error"), outcome("internal")), (0.0, 1.0));
    is_over.store(true, SeqCst);
}

/// Without a control group, or below its limit: a limit of the file, from the next reload on.
#[test]
fn a_limit_of_the_file_is_kept_too() {
    let groups = tempfile::tempdir().unwrap();
    let service = Service::named("stable");
    let address = service.address.to_string();
    let story = Story::with(&shop(&address, &address, 5), 1, |options| ringway::server::Options {
        control_groups: groups.path().to_owned(),
        ..options
    });
    assert!(story.client().get("/", "").is_ok());
    let held = vec![1_u8; 40 << 20];
    story.apply(&format!("{}memory: {{ limit: 32MiB }}\n", shop(&address, &address, 5)));
    story.expect_metric("ringway_overload_stage", &[], 3.0);
    assert_eq!(story.client().get("/", "").status, 503);
    story.apply(&format!("{}memory: {{ limit: 64GiB }}\n", shop(&address, &address, 5)));
    story.expect_metric("ringway_overload_stage", &[], 0.0);
    assert!(story.client().get("/", "").is_ok());
    story.apply(&format!("{}memory: {{ limit: 32MiB }}\n", shop(&address, &address, 6)));
    story.expect_metric("ringway_overload_stage", &[], 3.0);
    story.apply(&shop(&address, &address, 5));
    story.expect_metric("ringway_overload_stage", &[], 0.0);
    assert!(held.iter().all(|byte| *byte == 1));
}
