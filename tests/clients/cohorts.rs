//! The assignment contract as a client meets it: the first visit, overrides, what is said and what is not.

use crate::support::raw::Response;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use base64::Engine;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

const YAML: &str = "
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32] }]
services:
  shop:
    hashOn: [{ cookie: uid }, { issueCookie: ringway-id }]
    override: { header: x-canary, secretFile: override.key, from: [127.0.0.8/32] }
    exposeAssignment: true
    variants:
      stable: { weight: 50, endpoints: [$stable] }
      canary: { weight: 50, endpoints: [$canary], setHeaders: { x-feature-checkout: \"on\", x-plan: pro } }
  quiet: { hashOn: [{ issueCookie: q }], variants: { stable: { endpoints: [$stable] } } }
routes:
  - { hostnames: [shop], service: shop }
  - { hostnames: [quiet], service: quiet }
";
const SECRET: &str = "not very secret";

struct Story {
    proxy: Proxy,
    stable: Recording,
    canary: Recording,
}

impl Story {
    fn begin() -> Story {
        let answer = |name: &'static str| {
            Recording::start(move |exchange| {
                let lines = match exchange.seen.target.as_str() {
                    "/public" => "cache-control: max-age=60, Public\r\n",
                    "/shared" => "cache-control: s-maxage=60\r\n",
                    "/private" => "cache-control: private\r\nset-cookie: own=1\r\nx-ringway-variant: forged\r\n",
                    _ => "",
                };
                exchange.send(format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{name}", name.len()));
            })
        };
        let (stable, canary) = (answer("stable"), answer("canary"));
        let setup = Setup {
            upstreams: vec![("stable", stable.address), ("canary", canary.address)],
            files: vec![("override.key", format!("{SECRET}\n"))],
            ..Setup::default()
        };
        Story { proxy: Proxy::set_up(YAML, &setup), stable, canary }
    }

    fn get(&self, path: &str, lines: &str) -> Response {
        self.proxy.ask(format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{lines}\r\n"))
    }
}

fn issued(response: &Response) -> Option<String> {
    let cookie = response.header("set-cookie")?.strip_prefix("ringway-id=")?;
    Some(cookie.split(';').next()?.to_owned())
}

#[test]
fn a_new_user_gets_a_cookie_and_stays_where_the_first_answer_came_from() {
    let story = Story::begin();
    let mut variants: HashMap<String, u32> = HashMap::new();
    for _ in 0..60 {
        let first = story.get("/", "");
        let cookie = issued(&first).expect("the first answer brings a cookie");
        let line = first.header("set-cookie").unwrap();
        for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("Secure"), "nobody said that this came by TLS: {line}");
        let variant = first.text();
        *variants.entry(variant.clone()).or_default() += 1;
        for _ in 0..2 {
            let again = story.get("/", &format!("cookie: other=1; ringway-id={cookie}\r\n"));
            assert_eq!((again.text(), again.header("set-cookie")), (variant.clone(), None));
        }
    }
    // with 60 users, one variant with fewer than 10 comes once in ten million times
    assert!(variants.len() == 2 && variants.values().all(|count| *count >= 10), "{variants:?}");
}

#[test]
fn a_cookie_is_secure_when_a_trusted_proxy_says_that_the_client_came_by_tls() {
    let story = Story::begin();
    let request = "GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-proto: https\r\n\r\n";
    let trusted = story.proxy.connect_trusted().send(request).response();
    assert!(trusted.header("set-cookie").unwrap().ends_with("; Secure"));
    let untrusted = story.proxy.ask(request);
    assert!(!untrusted.header("set-cookie").unwrap().contains("Secure"));
}

/// An answer that a shared cache keeps must not carry one user's cookie to others (T7).
#[test]
fn no_cookie_is_added_to_an_answer_that_caches_share() {
    let story = Story::begin();
    for (path, cookies) in [("/", 1), ("/public", 0), ("/shared", 0), ("/private", 2)] {
        let response = story.get(path, "");
        let is_shared = ["/public", "/shared"].contains(&path);
        // what a new user gets is drawn: with two variants the answer is kept out of shared caches, cookie and all
        assert_eq!(response.all("set-cookie").len(), if is_shared { 1 } else { cookies }, "{path}");
        assert!(response.header("cache-control").is_some_and(|said| said.contains("private")), "{path}");
        assert_ne!(response.header("vary"), Some("*"));
        // with one variant it stays shared, and has no cookie
        let response = story.proxy.ask(format!("GET {path} HTTP/1.1\r\nhost: quiet\r\n\r\n"));
        assert_eq!(response.all("set-cookie").len(), cookies, "{path}");
    }
}

#[test]
fn what_was_decided_is_told_only_where_it_is_wanted() {
    let story = Story::begin();
    let response = story.get("/private", "cookie: uid=u-1\r\n");
    let variant = response.text();
    assert_eq!(response.header("x-ringway-variant"), Some(&*variant));
    assert_eq!(response.header("x-ringway-service"), Some("shop"));
    assert_eq!(response.header("x-ringway-cohort"), Some("everyone"));
    let quiet = story.proxy.ask("GET /private HTTP/1.1\r\nhost: quiet\r\n\r\n");
    assert!(quiet.headers.iter().all(|(name, _)| !name.starts_with("x-ringway-")), "{:?}", quiet.headers);
    // the service is told in any case, and a client's own words are replaced
    let lines = "x-ringway-variant: canary\r\nX-Ringway-Cohort: staff\r\n";
    story.proxy.ask(format!("GET / HTTP/1.1\r\nhost: quiet\r\n{lines}\r\n"));
    let seen = story.stable.last();
    let told =
        ["service", "cohort", "variant"].map(|name| seen.header(&format!("x-ringway-{name}")).unwrap().to_owned());
    assert_eq!(told, ["quiet", "everyone", "stable"]);
}

/// A feature flag is a variant with a header; a client cannot set it for himself.
#[test]
fn headers_of_a_variant_are_set_over_the_clients() {
    let story = Story::begin();
    let lines = "x-plan: free\r\nx-plan: more\r\n";
    story.get("/", &format!("{}{lines}", signed("always", 3600, SECRET)));
    let seen = story.canary.last();
    assert_eq!((seen.header("x-feature-checkout"), seen.header("x-plan")), (Some("on"), Some("pro")));
    story.get("/", &format!("{}{lines}", signed("never", 3600, SECRET)));
    let seen = story.stable.last();
    assert_eq!((seen.header("x-feature-checkout"), seen.all("x-plan").len()), (None, 2));
}

/// A header line with an override that expires so many seconds from now, as the contract (section 3.4) says.
fn signed(value: &str, ttl: i64, secret: &str) -> String {
    format!("x-canary: {}\r\n", token(value, ttl, secret))
}

fn token(value: &str, ttl: i64, secret: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let exp = now + ttl;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, format!("shop;{value};{exp}").as_bytes());
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
    format!("{value};exp={exp};sig={signature}")
}

fn escape(text: &str) -> String {
    text.replace(';', "%3B").replace('=', "%3D")
}

/// Two users, one of each variant by weight.
fn users(story: &Story) -> [(String, &'static str); 2] {
    ["stable", "canary"].map(|wanted| {
        let user = (0..100).map(|n| format!("cookie: uid=u-{n}\r\n"));
        (user.into_iter().find(|user| story.get("/", user).text() == wanted).unwrap(), wanted)
    })
}

#[test]
fn overrides_are_earned() {
    let story = Story::begin();
    for (user, assigned) in users(&story) {
        for (lines, expected) in [
            (signed("always", 3600, SECRET), "canary"),
            (signed("never", 3600, SECRET), "stable"),
            // a cookie ends at a semicolon, so those of the token are escaped, as `encodeURIComponent` does
            (format!("cookie: x-canary={}\r\n", token("always", 3600, SECRET).replace(';', "%3B")), "canary"),
            (format!("cookie: x-canary={}\r\n", escape(&token("never", 3600, SECRET))), "stable"),
            (format!("cookie: x-canary={}\r\n", token("always", 3600, SECRET)), assigned),
            // unsigned, expired, of another key, changed, of another value
            ("x-canary: always\r\n".to_owned(), assigned),
            ("x-canary: never\r\n".to_owned(), assigned),
            (signed("always", -1, SECRET), assigned),
            (signed("never", -1, SECRET), assigned),
            (signed("always", 3600, "another secret"), assigned),
            (signed("always", 3600, SECRET).replace("always", "never"), assigned),
            (signed("always", 3600, SECRET).replace("exp=", "exp=9"), assigned),
            (signed("sometimes", 3600, SECRET), assigned),
            ("x-canary: canary\r\n".to_owned(), assigned),
            ("x-canary:\r\n".to_owned(), assigned),
        ] {
            let response = story.get("/", &format!("{user}{lines}"));
            assert_eq!((response.status, response.text().as_str()), (200, expected), "{user}{lines}");
        }
        // in plain words from the office
        for (value, expected) in [("always", "canary"), ("never", "stable")] {
            let request = format!("GET / HTTP/1.1\r\nhost: shop\r\n{user}x-canary: {value}\r\n\r\n");
            let mut office = crate::support::raw::Raw::connect_from([127, 0, 0, 8].into(), story.proxy.address());
            assert_eq!(office.send(request).response().text(), expected);
        }
    }
    let overridden = story.proxy.metrics().sum("ringway_http_requests_total", &[("reason", "override")]);
    assert_eq!(overridden, 12.0);
}

/// D13: no bit of a token can be changed, and a wrong one is as good as none: never an error, never a hint.
#[test]
fn a_token_with_any_bit_changed_counts_for_nothing() {
    let story = Story::begin();
    let (user, _) = &users(&story)[0];
    let token = token("always", 3600, SECRET);
    let mut client = story.proxy.connect();
    let mut tried = 0;
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut forged = token.clone().into_bytes();
            forged[at] ^= 1 << bit;
            let is_value = forged.iter().all(|byte| (0x20..0x7f).contains(byte));
            if !is_value || forged.eq_ignore_ascii_case(token.as_bytes()) && at < "always;exp=".len() {
                continue;
            }
            let lines = format!("{user}x-canary: {}\r\n", String::from_utf8(forged).unwrap());
            let response = client.send(format!("GET / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n")).response();
            assert_eq!((response.status, response.text().as_str()), (200, "stable"), "{lines}");
            tried += 1;
        }
    }
    println!("{tried} forgeries");
    assert!(tried > 300);
}
