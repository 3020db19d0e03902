//! Five hundred reloads under load: no request fails, no stream ends, and what is wrong changes nothing (battery D18).

use bytes::Bytes;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

use crate::client::{Answer, Client, Client2};
use crate::peer::Peer;
use crate::service::Service;
use crate::story::{DOORS, PATIENCE, Story, door, eventually, pause, replace, shop};

const RELOADS: usize = 500;
/// What 1,000 routes may take from the edit to the first request; built without optimisation, five times as long.
const PUBLISHED_WITHIN: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 100 });

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Answers requests with its name, and everything after an upgrade with the same bytes.
fn websocket_service() -> Service {
    Service::wired(|wire| {
        while let Some(request) = wire.request() {
            if request.header("upgrade").is_none() {
                wire.ok(&request.path);
                continue;
            }
            let fields = format!("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {ACCEPT}");
            wire.send(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n"));
            while let Some(bytes) = wire.exactly(4) {
                wire.send(bytes);
            }
        }
    })
}

struct Load {
    is_over: AtomicBool,
    requests: AtomicUsize,
    messages: AtomicUsize,
    failed: Mutex<Vec<Answer>>,
}

impl Load {
    fn note(&self, answer: Answer) {
        self.requests.fetch_add(1, SeqCst);
        if !answer.is_ok() {
            self.failed.lock().unwrap().push(answer);
        }
    }

    fn over_http1(&self, story: &Story, client: usize) {
        let mut connection = story.client();
        for number in 0.. {
            if self.is_over.load(SeqCst) {
                return;
            }
            let answer = connection.get("/a", &format!("cookie: uid=u-{client}-{number}\r\n"));
            if answer.header("connection") == Some("close") {
                // it has served as many requests as a connection may
                connection = story.client();
            }
            self.note(answer);
            pause(Duration::from_millis(1));
        }
    }

    fn over_http2(&self, story: &Story) {
        let mut connection = Client2::connect(story.at());
        while !self.is_over.load(SeqCst) {
            self.note(connection.get("/a"));
            pause(Duration::from_millis(1));
        }
    }

    fn over_websocket(&self, story: &Story) {
        let mut client = story.client();
        let lines = format!("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: {KEY}\r\n");
        client.send(format!("GET /ws HTTP/1.1\r\nhost: ws\r\n{lines}\r\n").as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(client.exactly(1).expect("a head"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        while !self.is_over.load(SeqCst) {
            client.stream.write_all(b"ping").unwrap();
            let mut back = [0; 4];
            client.stream.read_exact(&mut back).expect("the tunnel lives");
            assert_eq!(&back, b"ping");
            self.messages.fetch_add(1, SeqCst);
            pause(Duration::from_millis(2));
        }
    }

    /// One gRPC stream for the whole time.
    fn over_grpc(&self, story: &Story) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stream = TcpStream::connect(story.at()).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::post("http://grpc/echo").header("content-type", "application/grpc");
            let mut sender = sender.ready().await.unwrap();
            let (response, mut send) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            while !self.is_over.load(SeqCst) {
                send.send_data(Bytes::from_static(b"message"), false).unwrap();
                let back =
                    tokio::time::timeout(PATIENCE, body.data()).await.expect("the stream lives").unwrap().unwrap();
                let _ = body.flow_control().release_capacity(back.len());
                self.messages.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            send.send_data(Bytes::new(), true).unwrap();
            while body.data().await.is_some() {}
            assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "7");
        });
    }
}

/// The file of an edit: other weights, other routes, other cohorts.
fn edited(stable: &str, canary: &str, websocket: &str, grpc: &str, edit: usize) -> String {
    let shop = shop(stable, canary, (edit % 100) as u32);
    let cohort = match edit % 3 {
        0 => "",
        1 => "    cohorts: [{ name: beta, when: { percent: 10 }, weights: { canary: 100 } }]\n",
        _ => "    cohorts: [{ name: beta, when: { header: { name: x-beta, exact: \"1\" } } }]\n",
    };
    let extra: String = (0..edit % 7).map(|n| format!("  - {{ hostnames: [h{n}.test], service: shop }}\n")).collect();
    format!(
        "{shop}{cohort}  chat: {{ variants: {{ stable: {{ endpoints: [\"{websocket}\"] }} }} }}\n  \
         talk: {{ variants: {{ stable: {{ endpoints: [\"{grpc}\"], protocol: h2c }} }} }}\n\
         routes:\n  - {{ hostnames: [ws], service: chat }}\n  - {{ hostnames: [grpc], service: talk }}\n{extra}  \
         - {{ service: shop }}\n"
    )
}

#[test]
fn five_hundred_reloads_under_load_fail_no_request_and_end_no_stream() {
    let (stable, canary, websocket, grpc) =
        (Service::named("stable"), Service::named("canary"), websocket_service(), Peer::start());
    let text = |edit| {
        let [stable, canary, websocket, grpc] =
            [stable.address, canary.address, websocket.address, grpc.address].map(|address| address.to_string());
        edited(&stable, &canary, &websocket, &grpc, edit)
    };
    let story = Story::with(&text(0), 2, |options| options);
    let load = Load {
        is_over: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
        messages: AtomicUsize::new(0),
        failed: Mutex::default(),
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let (load, story) = (&load, &story);
        (0..4).for_each(|client| drop(scope.spawn(move || load.over_http1(story, client))));
        scope.spawn(|| load.over_http2(story));
        scope.spawn(|| load.over_websocket(story));
        scope.spawn(|| load.over_grpc(story));
        for edit in 1..=RELOADS {
            story.apply(&text(edit));
            assert_eq!(story.running.snapshot().services[0].variants.len(), 2);
            if edit % 50 == 0 {
                // a wrong one in between, that nobody who asks a service will notice
                story.write(&text(edit).replace("services:", "sevices:"));
                eventually("the rejection", || match story.running.health().reloads().problem.as_deref() {
                    Some(_) => Ok(()),
                    None => Err("none".to_owned()),
                });
            }
        }
        load.is_over.store(true, SeqCst);
    });
    let (requests, messages) = (load.requests.into_inner(), load.messages.into_inner());
    let failed = load.failed.into_inner().unwrap();
    println!(
        "{RELOADS} reloads in {:.1?}: {requests} requests and {messages} messages on open streams, {} failed",
        began.elapsed(),
        failed.len()
    );
    assert!(failed.is_empty(), "{} of {requests} failed: {:?}", failed.len(), &failed[..failed.len().min(3)]);
    assert!(requests > RELOADS && messages > 20, "{requests} requests, {messages} messages");
    assert_eq!(websocket.connections(), 1, "one tunnel all the time");
    story.expect_metric("ringway_panics_total", &[], 0.0);
    // keep-alive connections of clients and pools stay
    assert!(stable.connections() <= 16, "{} connections to stable", stable.connections());
}

#[test]
fn what_is_wrong_is_shown_and_changes_nothing() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let good = shop(&address, &address, 5);
    let story = Story::begin(&good);
    let half = &good[..good.len() / 2];
    let failing = format!("{good}tests: [{{ request: {{ url: \"http://shop/\" }}, expect: {{ service: other }} }}]\n");
    let wrong = [("listeners: [", "RW"), (half, "RW"), (&*failing, "RW"), ("\u{0}\u{1}", "RW"), ("", "RW")];
    let rev = story.running.snapshot().rev.clone();
    for (text, code) in wrong {
        std::fs::write(story.path(), text).unwrap();
        let shown = eventually("the problem", || {
            let shown = door(story.running.telemetry, "/readyz?verbose");
            if shown.contains(code) { Ok(shown) } else { Err(shown) }
        });
        assert_eq!(story.metrics().sum("ringway_config_last_reload_successful", &[]), 0.0, "{shown}");
        assert!(story.client().get("/", "").is_ok());
        assert_eq!(story.running.snapshot().rev, rev);
        story.write(&good);
        story.expect_metric("ringway_config_last_reload_successful", &[], 1.0);
    }
    assert!(story.metrics().sum("ringway_config_reloads_total", &[("result", "rejected")]) >= wrong.len() as f64);
}

/// An editor that writes slowly, in place: whatever is seen in between, requests are served and the end is in force.
#[test]
fn a_file_written_bit_by_bit_ends_well() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let story = Story::begin(&shop(&address, &address, 5));
    let mut client = story.client();
    for weight in [40, 60] {
        let text = shop(&address, &address, weight);
        let mut file = std::fs::File::create(story.path()).unwrap();
        for piece in text.as_bytes().chunks(40) {
            file.write_all(piece).unwrap();
            assert!(client.get("/", "").is_ok());
            pause(Duration::from_millis(8));
        }
        drop(file);
        let in_force = [("variant", "canary"), ("service", "shop")];
        story.expect_metric("ringway_variant_weight_ratio", &in_force, f64::from(weight) / 100.0);
    }
}

/// What Kubernetes does: directories of generations, and a link that is renamed.
#[test]
fn a_config_map_that_is_swapped_is_in_force() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let dir = tempfile::tempdir().unwrap();
    let put = |weight: u32| {
        let generation = format!("..2026_{weight}");
        std::fs::create_dir(dir.path().join(&generation)).unwrap();
        let text = shop(&address, &address, weight).replace("unix:admin.sock", &format!("unix:{}", socket(&dir)));
        std::fs::write(dir.path().join(&generation).join("ringway.yaml"), text).unwrap();
        symlink(&generation, dir.path().join("..data_tmp")).unwrap();
        std::fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    put(10);
    symlink("..data/ringway.yaml", dir.path().join("ringway.yaml")).unwrap();
    let config = dir.path().join("ringway.yaml");
    let story = Story::with(&shop(&address, &address, 5), 1, |options| ringway::server::Options { config, ..options });
    for weight in [20, 30, 40] {
        put(weight);
        story.expect_metric("ringway_variant_weight_ratio", &[("variant", "canary")], f64::from(weight) / 100.0);
    }
    assert!(story.client().get("/", "").is_ok());
}

fn socket(dir: &tempfile::TempDir) -> String {
    dir.path().join("admin.sock").display().to_string()
}

#[test]
fn a_thousand_routes_are_in_force_soon_after_the_edit() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let routes = |edit: usize| {
        let route = |n| {
            format!(
                "  - {{ hostnames: [h{n}.test], matches: [{{ path: {{ prefix: /e{edit}/p{n} }} }}], service: shop }}\n"
            )
        };
        shop(&address, &address, 5) + "routes:\n" + &(0..1000).map(route).collect::<String>()
    };
    let story = Story::begin(&routes(9));
    let mut took: Vec<Duration> = (0..5)
        .map(|edit| {
            let text = routes(edit);
            replace(&story.path(), &text);
            let began = Instant::now();
            let mut client = story.client();
            eventually("the last route", || {
                let answer = client.get(&format!("/e{edit}/p999"), "host: h999.test\r\n");
                if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
            });
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("1,000 routes: the first request by the new file after {took:.0?} (5 ms of it debounce)");
    assert!(took[2] < PUBLISHED_WITHIN, "{took:?}");
}

/// The address that stays never refuses a connection while others come and go.
#[test]
fn listeners_come_and_go_and_the_one_that_stays_never_closes() {
    let service = Service::named("stable");
    let address = service.address.to_string();
    let one = shop(&address, &address, 5);
    let second = Service::absent().address;
    let two = one.replace(
        DOORS.lines().next().unwrap(),
        &format!("listeners: [{{ address: 127.0.0.1:0 }}, {{ address: \"{second}\" }}]"),
    );
    assert_ne!(one, two);
    let story = Story::with(&one, 2, |options| options);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(SeqCst) {
                // a connection for each: a closed listener would refuse one
                assert!(Client::connect(story.at()).get("/", "").is_ok());
                count += 1;
            }
            count
        });
        for _ in 0..20 {
            story.apply(&two);
            eventually("the second listener", || match std::net::TcpStream::connect(second) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            });
            assert!(Client::connect(second).get("/", "").is_ok());
            let mut open = Client::connect(second);
            assert!(open.get("/", "").is_ok());
            story.apply(&one);
            eventually("its end", || match std::net::TcpStream::connect(second) {
                Ok(_) => Err("open".to_owned()),
                Err(_) => Ok(()),
            });
            assert!(open.get("/", "").is_ok(), "a connection that is open outlives its listener");
        }
        is_over.store(true, SeqCst);
        println!("{} connections to the listener that stayed", asked.join().unwrap());
    });
}
