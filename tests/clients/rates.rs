//! Rate limits: what passes, what is told, and who is blamed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::raw::Response;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32], rateLimit: { requests: 8, per: 1h, key: { header: x-tenant } } }]
telemetry: { address: 127.0.0.1:0, accessLog: { path: $dir/access.log } }
services:
  shop:
    hashOn: [{ cookie: uid }, { issueCookie: seen }]
    variants: { stable: { endpoints: [$stable] } }
routes:
  - { name: keyed, hostnames: [keyed], service: shop, rateLimit: { requests: 3, per: 1h, key: { header: x-key } } }
  - { name: user, hostnames: [user], service: shop, rateLimit: { requests: 2, per: 1h, burst: 1, key: userKey } }
  - { name: free, hostnames: [free], service: shop }
"#;

fn start() -> (Recording, Proxy) {
    let upstream = Recording::text("ok");
    let setup = Setup { upstreams: vec![("stable", upstream.address)], workers: 2, ..Setup::default() };
    let proxy = Proxy::set_up(FILE, &setup);
    (upstream, proxy)
}

fn ask(proxy: &Proxy, host: &str, lines: &str) -> Response {
    proxy.ask(format!("GET / HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n"))
}

#[test]
fn what_is_beyond_a_limit_is_refused_and_told_when_to_come_again() {
    let (upstream, proxy) = start();
    for remaining in [2, 1, 0] {
        let answer = ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 1\r\n");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.all("ratelimit-policy"), ["\"listener\";q=8;w=3600", "\"route\";q=3;w=3600"]);
        let left: Vec<_> =
            answer.all("ratelimit").iter().map(|value| value.split(";t=").next().unwrap().to_owned()).collect();
        assert_eq!(left, [format!("\"listener\";r={}", remaining + 5), format!("\"route\";r={remaining}")]);
    }
    let refused = ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 1\r\n");
    assert_eq!((refused.status, refused.text().as_str()), (429, "429 too many requests\n"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"route\";q=3;w=3600"));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"route\";r=0;t=3"));
    let seconds: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1_190..=1_200).contains(&seconds), "{seconds}");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    // another key, and none at all, have quotas of their own; so has another spelling, which is no key
    assert_eq!(ask(&proxy, "keyed", "x-key: b\r\nx-tenant: 2\r\n").status, 200);
    assert_eq!(ask(&proxy, "keyed", "x_key: a\r\nconnection: x-key\r\nx-key: a\r\nx-tenant: 3\r\n").status, 429);
    assert_eq!(ask(&proxy, "free", "x-tenant: 4\r\n").status, 200);
    assert_eq!(upstream.count(), 5);
}

#[test]
fn a_refused_request_is_not_the_variants_fault() {
    let (_upstream, proxy) = start();
    for _ in 0..5 {
        ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 1\r\n");
    }
    proxy.wait_for_metric("ringway_http_requests_total", &[("variant", "stable"), ("code", "429")], 2.0);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("ringway_http_request_duration_seconds_count", &[("outcome", "error")]), 0.0);
    assert_eq!(metrics.sum("ringway_http_request_duration_seconds_count", &[("outcome", "rejected")]), 2.0);
    // the listener's limit counts before there is a variant
    for _ in 0..4 {
        ask(&proxy, "free", "x-tenant: 1\r\n");
    }
    proxy.wait_for_metric("ringway_unrouted_requests_total", &[("code", "429")], 1.0);
    crate::support::raw::eventually("the flags in the log", || {
        let log = std::fs::read_to_string(proxy.file("access.log")).unwrap_or_default();
        log.matches("\"flags\":\"RL\"").count() == 3
    });
}

#[test]
fn a_user_key_that_was_issued_just_now_is_no_way_around() {
    let (_upstream, proxy) = start();
    assert_eq!(ask(&proxy, "user", "cookie: uid=1\r\nx-tenant: 1\r\n").status, 200);
    assert_eq!(ask(&proxy, "user", "cookie: uid=1\r\nx-tenant: 1\r\n").status, 429);
    assert_eq!(ask(&proxy, "user", "cookie: uid=2\r\nx-tenant: 1\r\n").status, 200);
    // without a cookie each visit is a new user, but always the same address
    assert_eq!(ask(&proxy, "user", "x-tenant: 2\r\n").status, 200);
    assert_eq!(ask(&proxy, "user", "x-tenant: 2\r\n").status, 429);
}

#[test]
fn counts_outlive_a_reload_that_leaves_the_limit_as_it_is() {
    let (_upstream, proxy) = start();
    for status in [200, 200, 200, 429] {
        assert_eq!(ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 1\r\n").status, status);
    }
    let reload = |text: String, times: f64| {
        let new = proxy.file("new.yaml");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, proxy.config()).unwrap();
        proxy.wait_for_metric("ringway_config_reloads_total", &[("result", "applied")], times);
    };
    let text = std::fs::read_to_string(proxy.config()).unwrap();
    reload(text.replace("name: free", "name: other"), 2.0);
    assert_eq!(ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 2\r\n").status, 429);
    reload(text.replace("requests: 3", "requests: 4"), 3.0);
    assert_eq!(ask(&proxy, "keyed", "x-key: a\r\nx-tenant: 3\r\n").status, 200);
}

/// Eight clients at full speed on two workers: at most a tenth above burst and rate, and not much below.
#[test]
fn two_workers_share_one_limit() {
    const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
services: { shop: { variants: { stable: { endpoints: [$stable] } } } }
routes: [{ service: shop, rateLimit: { requests: 200, per: 1s, burst: 20, key: none } }]
"#;
    let upstream = Recording::text("ok");
    let setup = Setup { upstreams: vec![("stable", upstream.address)], workers: 2, ..Setup::default() };
    let proxy = Proxy::set_up(FILE, &setup);
    let (passed, tried) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = proxy.connect();
                while start.elapsed() < Duration::from_secs(2) {
                    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
                    passed.fetch_add(u64::from(client.response().status == 200), Relaxed);
                    tried.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let most = 20.0 + 200.0 * start.elapsed().as_secs_f64();
    let (passed, tried) = (passed.into_inner() as f64, tried.into_inner() as f64);
    println!("{passed} of {tried} passed; the limit is {most:.0}");
    assert!(passed <= most * 1.1, "{passed} passed, and the limit is {most}");
    assert!(tried < most || passed >= most * 0.7, "only {passed} of {tried} passed, and the limit is {most}");
}

const FLOODED: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
telemetry: { address: 127.0.0.1:0 }
services:
  shop:
    salt: shop-v42
    hashOn: [{ cookie: uid }]
    variants: { stable: { weight: 95, endpoints: [$stable] }, canary: { weight: 5, endpoints: [$canary] } }
routes:
  - { service: shop, rateLimit: { requests: 3, per: 1h, key: userKey } }
"#;

/// The ceiling of the canary's share of requests under a flood of one user's.
#[test]
fn a_user_of_the_canary_sends_it_no_more_than_the_quota() {
    let (stable, canary) = (Recording::text("stable"), Recording::text("canary"));
    let upstreams = vec![("stable", stable.address), ("canary", canary.address)];
    let proxy = Proxy::set_up(FLOODED, &Setup { upstreams, workers: 2, ..Setup::default() });
    let ask_as = |user: &str| ask(&proxy, "shop", &format!("cookie: uid={user}\r\n"));
    let users: Vec<String> = (0..200).map(|user| format!("u-{user}")).collect();
    let of_canary: Vec<&String> = users.iter().filter(|user| ask_as(user).text() == "canary").collect();
    let (before, flooding) = (canary.count(), of_canary[0]);
    assert_eq!(before, of_canary.len());
    let passed = (0..300).filter(|_| ask_as(flooding).status == 200).count();
    // one request of its quota was spent before
    assert_eq!((passed, canary.count()), (2, before + 2));
    assert_eq!(stable.count(), 200 - before, "what is beyond goes nowhere");
}
