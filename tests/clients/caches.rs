//! Mixed versions behind a shared cache: nobody gets what was stored for a user of another version (battery D17, with a
//! small cache that stores all that RFC 9111 lets it store).

use std::collections::HashMap;

use crate::support::raw::Response;
use crate::support::recording::{Exchange, Recording};
use crate::support::server::Proxy;

const FILE: &str = r#"
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32] }]
geo: { header: cf-ipcountry }
services:
  shop:
    hashOn: [{ header: x-user }, { cookie: uid }, { issueCookie: seen }]
    variants:
      stable: { weight: 50, endpoints: [$stable] }
      canary: { weight: 50, endpoints: [$canary] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, exact: "1" } }, weights: { canary: 100 } }
      - { name: north, when: { geo: { countries: [NO] } }, weights: { canary: 100 } }
      - { name: phones, when: { device: { platform: [ios] } }, weights: { stable: 100 } }
  address:
    variants:
      stable: { weight: 50, endpoints: [$stable] }
      canary: { weight: 50, endpoints: [$canary] }
routes:
  - { hostnames: [vary], service: shop }
  - { hostnames: [private], service: shop, cache: private }
  - { hostnames: [off], service: shop, cache: off }
  - { hostnames: [address], service: address }
"#;

/// A cache that many clients share.
struct SharedCache<'p> {
    proxy: &'p Proxy,
    /// By host and target.
    stored: HashMap<String, Vec<Stored>>,
    hits: usize,
}

struct Stored {
    /// What `Vary` named, with what the request had there.
    by: Vec<(String, String)>,
    body: String,
}

/// The header lines of a client.
type Lines<'l> = &'l [(&'l str, String)];

fn fetch(proxy: &Proxy, host: &str, lines: Lines<'_>) -> Response {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    proxy.connect_trusted().send(format!("GET /page HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n")).response()
}

impl SharedCache<'_> {
    fn get(&mut self, host: &str, lines: Lines<'_>) -> String {
        let of = |name: &str| {
            let values = lines.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|")
        };
        let stored = self.stored.entry(host.to_owned()).or_default();
        if let Some(found) = stored.iter().find(|one| one.by.iter().all(|(name, value)| of(name) == *value)) {
            self.hits += 1;
            return found.body.clone();
        }
        let answer = fetch(self.proxy, host, lines);
        let said = answer.all("cache-control").join(",").to_ascii_lowercase();
        let vary = answer.all("vary").join(",");
        assert!(!vary.contains('*'), "{vary}");
        if !said.contains("private") && !said.contains("no-store") {
            assert_eq!(answer.header("set-cookie"), None, "one user's cookie in a shared answer");
            let names = vary.split(',').map(str::trim).filter(|name| !name.is_empty());
            let by = names.map(|name| (name.to_owned(), of(name))).collect();
            stored.push(Stored { by, body: answer.text() });
        }
        answer.text()
    }
}

fn service(name: &'static str) -> Recording {
    Recording::start(move |exchange: &mut Exchange| {
        let head = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=600\r\ncdn-cache-control: max-age=600";
        exchange.send(format!("{head}\r\nvary: accept-encoding\r\ncontent-length: {}\r\n\r\n{name}", name.len()));
    })
}

/// Requests of many kinds of clients, with the variant that each must get; those without a key are left out, as
/// nobody has a version to keep there.
fn clients(proxy: &Proxy) -> Vec<(Vec<(&'static str, String)>, String)> {
    let mut clients: Vec<Vec<(&str, String)>> = Vec::new();
    for number in 0..40 {
        let id = format!("u-{number}");
        clients.push(vec![("x-user", id.clone())]);
        clients.push(vec![("cookie", format!("uid={id}"))]);
        clients.push(vec![("cookie", format!("seen={id}"))]);
        clients.push(vec![("cookie", format!("uid={id}")), ("x-employee", "1".to_owned())]);
        clients.push(vec![("cookie", format!("uid={id}")), ("cf-ipcountry", "NO".to_owned())]);
        clients.push(vec![("cookie", format!("uid={id}")), ("sec-ch-ua-platform", "\"iOS\"".to_owned())]);
    }
    let expected = |lines: &Vec<(&str, String)>| fetch(proxy, "off", lines).text();
    clients.into_iter().map(|lines| (lines.clone(), expected(&lines))).collect()
}

#[test]
fn no_cache_serves_one_version_to_users_of_another() {
    let (stable, canary) = (service("stable"), service("canary"));
    let proxy = Proxy::start(FILE, &[("stable", stable.address), ("canary", canary.address)]);
    let clients = clients(&proxy);
    for (host, is_mixed, has_hits) in [("vary", false, true), ("private", false, false), ("off", true, true)] {
        let mut cache = SharedCache { proxy: &proxy, stored: HashMap::new(), hits: 0 };
        let mut crossed = 0;
        for round in 0..3 {
            for (lines, expected) in &clients {
                crossed += usize::from(cache.get(host, lines) != *expected);
            }
            // new users come between: what they get is drawn, and must be stored for nobody
            (0..10).for_each(|_| drop(cache.get(host, &[("x-round", round.to_string())])));
        }
        println!(
            "{host}: {crossed} of {} answers were another version's, {} from the cache",
            3 * clients.len(),
            cache.hits
        );
        assert_eq!((crossed > 0, cache.hits > 0), (is_mixed, has_hits), "{host}: {crossed}");
    }
}

#[test]
fn what_caches_are_told_depends_on_what_decided() {
    let (stable, canary) = (service("stable"), service("canary"));
    let proxy = Proxy::start(FILE, &[("stable", stable.address), ("canary", canary.address)]);
    let line = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    let told = |host: &str, lines: Lines<'_>| {
        let answer = fetch(&proxy, host, lines);
        (answer.all("vary").join(" | "), answer.header("cache-control").unwrap_or_default().to_owned())
    };
    let ours = "cf-ipcountry, sec-ch-ua-platform, user-agent";
    let public = "public, max-age=600".to_owned();
    let vary = |names: &str| (format!("accept-encoding | {names}"), public.clone());
    assert_eq!(told("vary", &line("x-employee", "1")), vary("x-employee"));
    assert_eq!(told("vary", &line("x-user", "1")), vary(&format!("{ours}, x-employee, x-user")));
    assert_eq!(
        told("vary", &line("cookie", "uid=1")),
        vary(&format!("{}, x-employee, x-user", ours.replacen("cf-ipcountry", "cf-ipcountry, cookie", 1)))
    );
    let private = ("accept-encoding".to_owned(), "private, max-age=600".to_owned());
    // a new user, and an address: told by no header
    assert_eq!(told("vary", &[]), private);
    assert_eq!(told("address", &[]), private);
    assert_eq!(told("private", &line("x-user", "1")), private);
    assert_eq!(told("off", &line("x-user", "1")), ("accept-encoding".to_owned(), public.clone()));
    // what overrules Cache-Control for some caches does not
    assert_eq!(fetch(&proxy, "private", &[]).header("cdn-cache-control"), None);
    // a new user whose answer is private gets a key; one whose answer is shared does not
    assert!(fetch(&proxy, "vary", &[]).header("set-cookie").is_some());
    assert_eq!(fetch(&proxy, "off", &[]).header("set-cookie"), None);
}
