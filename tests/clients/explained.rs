//! What `explain` says is what the proxy does: random requests on the examples, offline and live, by what the service
//! is told about each of them.

use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ringway::config::load;
use ringway::routing::explain::{ImaginedRequest, explain};
use ringway::routing::prepare::{Prepared, assemble};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;

/// Requests for each example.
const REQUESTS: u64 = 300;
/// Headers that the examples look at, and others, with values that they look for, and others.
const LINES: [(&str, &[&str]); 14] = [
    ("x-user-id", &["alice@example.com", "bob@example.com", "u-1842", "u-7", "", "7"]),
    ("x-employee", &["1", "0", "1 ", "yes"]),
    ("x_employee", &["1"]),
    ("x-plan", &["enterprise", "pro", "team", "free", "PRO"]),
    ("x-canary", &["always", "never", "always;exp=9999999999;sig=AAAA", "maybe"]),
    ("cookie", &["uid=u-1; beta=yes", "beta=yes", "uid=u-2", "ringway-id=abc", "uid=; beta=no", "x-canary=always"]),
    (
        "x-forwarded-for",
        &["192.0.2.7", "198.51.100.7", "198.51.100.200", "203.0.113.9", "2001:db8::7", "junk, 192.0.2.7"],
    ),
    ("x-real-ip", &["192.0.2.7"]),
    ("forwarded", &["for=192.0.2.7"]),
    ("x-ringway-cohort", &["staff", "beta", "oslo"]),
    (
        "user-agent",
        &[
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X)",
            "Mozilla/5.0 (Linux; Android 14)",
            "a bot on Android",
        ],
    ),
    ("sec-ch-ua-platform", &["\"Android\"", "\"iOS\"", "\"Windows\""]),
    ("connection", &["x-user-id, x-employee", "close", "cookie"]),
    ("via", &["1.1 somebody"]),
];
const PATHS: [&str; 8] =
    ["/", "/checkout", "/checkout/pay", "/checkouts", "/a/../checkout", "//checkout", "/%63heckout", "/x?uid=u-9"];
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];

/// The directory of the examples, and what stands beside them.
fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

/// A proxy on an example that listens here and trusts 127.0.0.9.
fn start(name: &str, services: &HashMap<&str, &Recording>) -> Proxy {
    let mut text = example(name);
    let listener = "listeners:\n  - address: 127.0.0.1:8080\n";
    let here = "listeners:\n  - address: 127.0.0.1:0\n    trustedProxies: [127.0.0.9/32]\n";
    assert!(text.contains(listener), "{name} has changed");
    text = text.replace(listener, here).replace("    trustedProxies: [10.0.0.0/8]\n", "");
    // what the file's own tests say about peers is about other addresses
    text.truncate(text.find("\ntests:").unwrap());
    text = text.replace("from: [192.0.2.0/24]", "from: [192.0.2.0/24, 127.0.0.1/32]");
    for (port, service) in [("3001", "stable"), ("3002", "canary")] {
        text = text.replace(&format!("127.0.0.1:{port}"), &services[service].address.to_string());
    }
    let files = ["beta.txt", "countries.csv"].map(|name| (name, example(name)));
    Proxy::set_up(&text, &Setup { files: files.to_vec(), ..Setup::default() })
}

/// A request for both: as it is imagined, and as it is sent.
struct Request {
    imagined: ImaginedRequest,
    bytes: String,
    peer: Ipv4Addr,
}

fn request(random: &mut Rng) -> Request {
    let peer = Ipv4Addr::from([127, 0, 0, if random.bool() { 9 } else { 1 }]);
    let method = random.choice(&METHODS).unwrap().clone();
    let path = *random.choice(&PATHS).unwrap();
    let (mut headers, mut lines) = (HeaderMap::new(), String::new());
    for (name, values) in LINES {
        if random.u8(..) >= 90 {
            continue;
        }
        let value = *random.choice(values).unwrap();
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value.trim()));
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    let bytes = format!("{method} {path} HTTP/1.1\r\nhost: shop.example.com\r\n{lines}\r\n");
    let url = format!("http://shop.example.com{path}");
    Request { imagined: ImaginedRequest { method, url, headers, peer: peer.into(), listener: None }, bytes, peer }
}

#[test]
fn the_proxy_does_what_explain_says() {
    let (stable, canary) = (Recording::text("stable"), Recording::text("canary"));
    let services = HashMap::from([("stable", &stable), ("canary", &canary)]);
    let (mut compared, mut cohorts) = (0, HashMap::<String, u32>::new());
    for (number, name) in (0..).zip(["rings.yaml", "targeting.yaml", "geo.yaml"]) {
        let proxy = start(name, &services);
        let Prepared { loaded, snapshot, .. } =
            assemble(load(&proxy.config()).unwrap(), &Upstreams::default(), &Registry::new(1, 0)).unwrap();
        let mut random = Rng::with_seed(number);
        for _ in 0..REQUESTS {
            let request = request(&mut random);
            let explained = explain(&loaded.file, &snapshot, &request.imagined);
            let answer = explained.outcome.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", request.bytes));
            let before = (stable.count(), canary.count());
            let mut client = crate::support::raw::Raw::connect_from(request.peer, proxy.address());
            let response = client.send(&request.bytes).response();
            assert_eq!(response.status, 200, "{}", request.bytes);
            let got = response.text();
            let seen = if got == "stable" { stable.last() } else { canary.last() };
            assert_eq!(
                (stable.count(), canary.count()),
                (before.0 + usize::from(got == "stable"), before.1 + usize::from(got == "canary"))
            );
            assert_eq!(seen.header("x-ringway-service"), Some(&*answer.service), "{}", request.bytes);
            // what is drawn by lot is not said beforehand
            if let Some(cohort) = &answer.cohort {
                assert_eq!(seen.header("x-ringway-cohort"), Some(&**cohort), "{name}: {}", request.bytes);
                *cohorts.entry(format!("{name} {cohort}")).or_default() += 1;
                compared += 1;
            }
            if let Some(variant) = &answer.variant {
                assert_eq!(
                    (&got, seen.header("x-ringway-variant")),
                    (variant, Some(&**variant)),
                    "{name}: {}",
                    request.bytes
                );
                compared += 1;
            }
        }
    }
    println!("{compared} statements compared: {cohorts:?}");
    assert!(compared > 1200 && cohorts.len() >= 10, "{compared} statements about {cohorts:?}");
}
