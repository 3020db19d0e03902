//! `config/edge.yaml` on the real program, with services behind it: each feature is seen by a client.

use crate::caller::{Answer, Caller, from, run, tls};
use crate::folder::Folder;
use crate::service::{Protocol, Service, full};
use crate::support::raw::{Raw, eventually};
use crate::support::server::Metrics;
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tokio::io::AsyncWriteExt;

/// The example, running. Killed when dropped.
pub struct Edge {
    pub folder: Folder,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub telemetry: SocketAddr,
    pub stable: Vec<Service>,
    pub canary: Vec<Service>,
    pub next: Service,
    pub inventory: Service,
    process: Child,
}

pub const SHOP: &str = "shop.example.com";
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

impl Edge {
    pub fn start() -> Edge {
        // a quota that does not fill again while the test runs, however slow the machine is
        Edge::start_with(|text| text.replace("requests: 5, per: 1m", "requests: 5, per: 1h"))
    }

    pub fn start_with(change: impl Fn(String) -> String) -> Edge {
        // services need certificates before there is a file that names their addresses
        let mut folder = Folder::new();
        let issued = &folder.upstream;
        let plain = |name| Service::start(name, Protocol::Http1, issued, None);
        let stable: Vec<Service> = ["stable-1", "stable-2", "stable-3"].map(plain).into();
        let canary = ["canary-1", "canary-2"];
        let canary: Vec<_> =
            canary.map(|name| Service::start(name, Protocol::Http2, issued, Some(&folder.clients))).into();
        let next = plain("next");
        let inventory = Service::start("inventory", Protocol::H2c, issued, None);
        let legacy = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let places =
            [(3001, &stable[0]), (3002, &stable[1]), (3003, &stable[2]), (3011, &canary[0]), (3012, &canary[1])];
        let places = places.into_iter().chain([(3021, &next), (3031, &inventory)]);
        let mut text = std::fs::read_to_string(folder.file()).unwrap();
        for (port, address) in places.map(|(port, service)| (port, service.address)).chain([(3041, legacy)]) {
            text = text.replace(&format!("\"127.0.0.1:{port}\""), &format!("\"{address}\""));
        }
        text = text.replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0:8443", "127.0.0.2:0");
        text = text.replace("127.0.0.1:9901", "unix:admin.sock").replace("127.0.0.1:9902", "127.0.0.1:0");
        text = change(text.replace("192.0.2.0/24", "127.0.0.8/32"));
        std::fs::write(folder.file(), text).unwrap();
        let (process, addresses) = spawn(&mut folder);
        let [plain, tls, telemetry] = addresses;
        let edge = Edge { folder, plain, tls, telemetry, stable, canary, next, inventory, process };
        eventually("the checks", || {
            edge.metrics().sum("ringway_upstream_health_checks_total", &[("result", "passed")]) >= 6.0
        });
        edge
    }

    pub fn metrics(&self) -> Metrics {
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        Metrics(Raw::connect(self.telemetry).send(request).response().text())
    }

    async fn secure(&self, is_http2: bool) -> Caller {
        Caller::secure(self.tls, SHOP, &tls(&self.folder.authority, None, is_http2)).await.unwrap()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts it; its addresses are in its log.
fn spawn(folder: &mut Folder) -> (Child, [SocketAddr; 3]) {
    let path = folder.dir.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["run", "-c"]).arg(folder.file()).args(["--log-format", "json"]).current_dir(folder.dir.path());
    command.env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_LOG");
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    eventually("the start", || {
        assert!(process.try_wait().unwrap().is_none(), "{}", text());
        text().contains("\"ready\"")
    });
    let said = |what: &str| -> Vec<SocketAddr> {
        let lines = text().lines().filter(|line| line.contains(what)).map(str::to_owned).collect::<Vec<_>>();
        let lines = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|line| line["fields"]["address"].as_str().or(line["address"].as_str()).unwrap().parse().unwrap())
            .collect()
    };
    let (listeners, telemetry) = (said("listening"), said("telemetry door"));
    (process, [listeners[0], listeners[1], telemetry[0]])
}

fn get(path: &str, lines: &[(&str, &str)]) -> Request<crate::service::Body> {
    let request = Request::get(format!("https://{SHOP}:8443{path}"));
    lines.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(full("")).unwrap()
}

#[test]
fn the_example_of_the_edge_does_what_it_says() {
    let edge = Edge::start();
    run(async {
        redirects(&edge).await;
        for is_http2 in [false, true] {
            users(&edge, is_http2).await;
            drills_and_staff(&edge, is_http2).await;
        }
        certificates(&edge).await;
        balancers(&edge).await;
        grpc(&edge).await;
        rates(&edge).await;
    });
    eventually("copies", || edge.next.count() > 20);
    assert!(edge.stable.iter().all(|service| service.checks() > 0));
    assert!(edge.canary.iter().all(|service| service.checks() > 0 && service.certificates() > 0));
    assert_eq!(edge.metrics().sum("ringway_panics_total", &[]), 0.0);
}

async fn redirects(edge: &Edge) {
    let mut caller = Caller::plain(edge.plain, false).await;
    let request = Request::get(format!("http://{SHOP}/cart?item=7")).body(full("")).unwrap();
    let answer = caller.ask(request).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://shop.example.com:8443/cart?item=7")));
}

/// A user stays on an endpoint; rewrites, edits and `vary` are seen on both sides.
async fn users(edge: &Edge, is_http2: bool) {
    let mut caller = edge.secure(is_http2).await;
    let mut places = std::collections::BTreeSet::new();
    for user in 0..30 {
        let cookie = format!("uid=u-{user}");
        let mut ask =
            async || -> Answer { caller.ask(get("/cart", &[("cookie", &cookie), ("x-debug", "1")])).await.unwrap() };
        let answer = ask().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let version = answer.header("x-version").unwrap().to_owned();
        assert_eq!(answer.header("x-served-by"), Some(format!("shop/{version}").as_str()));
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
        assert!(answer.header("server").is_none() && answer.header("vary").is_some(), "{answer:?}");
        if version == "stable" {
            assert_eq!(ask().await.text(), answer.text(), "the same endpoint for the same user");
            places.insert(answer.text().to_owned());
        }
    }
    assert_eq!(places.len(), 3, "{places:?}");
    let seen = edge.stable.iter().flat_map(Service::seen).rfind(|seen| seen.path == "/cart").unwrap();
    assert_eq!((seen.header("x-group"), seen.header("x-debug")), (Some("everyone"), None));
    let answer = caller.ask(get("/catalog/shoes", &[("cookie", "uid=u-1842")])).await.unwrap();
    assert!(answer.text().ends_with(" /v2/catalog/shoes"), "{answer:?}");
}

async fn drills_and_staff(edge: &Edge, is_http2: bool) {
    let mut caller = edge.secure(is_http2).await;
    let staff = caller.ask(get("/cart", &[("x-employee", "1")])).await.unwrap();
    assert_eq!(
        (staff.status, staff.header("x-version"), staff.header("x-robots-tag")),
        (200, Some("canary"), Some("noindex"))
    );
    // which of the two endpoints it went to is not known, nor which of them was asked last
    let groups: Vec<_> = edge.canary.iter().flat_map(Service::seen).filter(|seen| seen.path == "/cart").collect();
    let staff = groups.iter().find(|seen| seen.header("x-group") == Some("staff")).expect("staff was seen");
    assert_eq!(staff.header("x-feature-checkout"), Some("on"));
    let began = std::time::Instant::now();
    let drill = caller.ask(get("/cart", &[("x-drill", "1")])).await.unwrap();
    assert_eq!(drill.status, 503);
    assert!(began.elapsed().as_millis() >= 20, "{:?}", began.elapsed());
}

/// By name; and of clients, one that counts, none, one that was revoked and a stranger's.
async fn certificates(edge: &Edge) {
    let folder = &edge.folder;
    let stranger = crate::authority::Authority::new("x").issue(&["member"]);
    for (certificate, is_let_in) in
        [(None, true), (Some(&folder.member), true), (Some(&folder.revoked), false), (Some(&stranger), false)]
    {
        let status = match Caller::secure(edge.tls, SHOP, &tls(&folder.authority, certificate, false)).await {
            Ok(mut caller) => caller.ask(get("/cart", &[])).await.map_or(0, |answer| answer.status),
            Err(_) => 0,
        };
        assert_eq!(status, if is_let_in { 200 } else { 0 });
    }
    let other = Caller::secure(edge.tls, "eu.api.example.com", &tls(&folder.authority, None, true)).await;
    let answer = other.unwrap().ask(get("/cart", &[])).await.unwrap();
    assert_eq!(answer.status, 421, "a host of another certificate");
}

async fn balancers(edge: &Edge) {
    let mut stream = from(BALANCER, edge.tls).await;
    stream.write_all(b"PROXY TCP4 198.51.100.7 10.0.0.1 4660 8443\r\n").await.unwrap();
    let config = tls(&edge.folder.authority, None, true);
    let mut caller = Caller::secure_on(stream, SHOP, &config).await.unwrap();
    let answer = caller.ask(get("/cart", &[("cookie", "uid=proxied")])).await.unwrap();
    assert_eq!(answer.status, 200);
    let all = edge.stable.iter().chain(&edge.canary).flat_map(Service::seen);
    assert_eq!(all.filter(|seen| seen.header("x-forwarded-for") == Some("198.51.100.7")).count(), 1);
}

async fn grpc(edge: &Edge) {
    let config = tls(&edge.folder.authority, None, true);
    let mut caller = Caller::secure(edge.tls, "eu.api.example.com", &config).await.unwrap();
    let request = Request::post("https://eu.api.example.com/inventory.v1.Inventory/Get").header("te", "trailers");
    let request = request.header("content-type", "application/grpc").body(full("")).unwrap();
    let answer = caller.ask(request).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "inventory /inventory.v1.Inventory/Get"));
    assert_eq!(edge.inventory.count(), 1);
}

/// The sixth try within a minute is one too many.
async fn rates(edge: &Edge) {
    for is_http2 in [true, false] {
        let mut caller = edge.secure(is_http2).await;
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let answer = caller.ask(get("/sign-in", &[])).await.unwrap();
            assert!(answer.headers.contains_key("ratelimit"), "{answer:?}");
            if answer.status == 200 {
                assert_eq!(answer.header("cache-control"), Some("private"));
            }
            statuses.push(answer.status);
        }
        // one quota for both connections
        assert_eq!(statuses, if is_http2 { [200, 200, 200, 200, 200, 429] } else { [429; 6] });
    }
}
