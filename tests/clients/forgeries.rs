//! D13: everything that a client may write to get a version that nobody gave him. The new version has no share, so each answer
//! of it is an acceptance; each answer but 200 is a hint.

use crate::support::raw::Raw;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use base64::Engine;
use std::time::{SystemTime, UNIX_EPOCH};

const YAML: &str = "
listeners: [{ address: 127.0.0.1:0, trustedProxies: [127.0.0.9/32] }]
geo: { header: cf-ipcountry }
services:
  shop:
    hashOn: [{ cookie: uid }, { issueCookie: ringway-id }]
    override: { header: x-canary, secretFile: override.key, from: [10.0.0.0/8] }
    exposeAssignment: true
    variants:
      stable: { weight: 100, endpoints: [$stable] }
      canary: { weight: 0, endpoints: [$canary] }
    cohorts:
      - { name: office, when: { clientIP: [10.0.0.0/8] }, weights: { canary: 100 } }
      - { name: nordic, when: { geo: { countries: [NO] } }, weights: { canary: 100 } }
";
const SECRET: &str = "the secret of the shop";

struct Story {
    proxy: Proxy,
    client: Raw,
    _services: [Recording; 2],
    tried: usize,
}

impl Story {
    fn begin() -> Story {
        let services = [Recording::text("stable"), Recording::text("canary")];
        let setup = Setup {
            upstreams: vec![("stable", services[0].address), ("canary", services[1].address)],
            files: vec![("override.key", format!("{SECRET}\n"))],
            ..Setup::default()
        };
        let proxy = Proxy::set_up(YAML, &setup);
        let client = proxy.connect();
        Story { proxy, client, _services: services, tried: 0 }
    }

    /// Who answers a request with these lines; all of them are answered alike.
    fn variant(&mut self, lines: &str) -> String {
        let response = self.client.send(format!("GET / HTTP/1.1\r\nhost: shop\r\n{lines}\r\n")).response();
        assert_eq!(response.status, 200, "{lines}");
        if response.header("connection") == Some("close") {
            self.client = self.proxy.connect();
        }
        response.text()
    }

    fn forge(&mut self, lines: &str) {
        assert_eq!(self.variant(lines), "stable", "{lines}");
        self.tried += 1;
    }

    /// The same as header and as cookie, as a browser would send it.
    fn forge_token(&mut self, token: &[u8]) {
        if token.iter().all(|byte| (0x20..0x7f).contains(byte)) {
            self.forge(&format!("x-canary: {}\r\n", String::from_utf8_lossy(token)));
        }
        let escaped: String = token.iter().map(|byte| format!("%{byte:02X}")).collect();
        self.forge(&format!("cookie: uid=u-1; x-canary={escaped}\r\n"));
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A token as the contract (section 3.4) says.
fn token(service: &str, value: &str, exp: i64, secret: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = aws_lc_rs::hmac::sign(&key, format!("{service};{value};{exp}").as_bytes());
    format!("{value};exp={exp};sig={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn no_forgery_is_accepted_and_none_is_told() {
    let mut story = Story::begin();
    let exp = now() + 3_600;
    let good = token("shop", "always", exp, SECRET);
    assert_eq!(story.variant(&format!("x-canary: {good}\r\n")), "canary", "the real one works");
    let escaped: String = good.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(story.variant(&format!("cookie: x-canary={escaped}\r\n")), "canary", "as a cookie too");

    // every bit of every byte, every length
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut forged = good.clone().into_bytes();
            forged[at] ^= 1 << bit;
            if !forged.eq_ignore_ascii_case(good.as_bytes()) || at >= "always;exp=".len() {
                story.forge_token(&forged);
            }
        }
        story.forge_token(&good.as_bytes()[..at]);
        story.forge_token(&good.as_bytes()[at + 1..]);
    }
    // signed, but not for this: expired, of another service, of another key, of another value, for ever
    for other in [
        token("shop", "always", now() - 1, SECRET),
        token("shop", "always", 0, SECRET),
        token("shop", "always", -1, SECRET),
        token("search", "always", now() + 3_600, SECRET),
        token("shop;always", "always", now() + 3_600, SECRET),
        token("", "always", now() + 3_600, SECRET),
        token("shop", "canary", now() + 3_600, SECRET),
        token("shop", "always", now() + 3_600, ""),
        token("shop", "always", now() + 3_600, "the secret of the sho"),
        token("shop", "always", now() + 3_600, &format!("{SECRET}\n")),
        good.replace(&exp.to_string(), "99999999999999999999999"),
        good.replace("exp=", "exp=+"),
        format!("{good};exp={}", now() + 7_200),
        format!("{good},{good}"),
        format!("\"{good}\""),
        format!("{good}="),
        good.to_uppercase(),
        "always".to_owned(),
        "always;exp=;sig=".to_owned(),
        ";;;;;;;;;;;;;;;;".to_owned(),
        "a".repeat(4_000),
    ] {
        story.forge_token(other.as_bytes());
    }
    forge_headers(&mut story);
    println!("{} forgeries, 0 accepted, 0 told apart", story.tried);
    assert!(story.tried > 1_400, "{}", story.tried);
}

/// Headers and cookies that say something of their own.
fn forge_headers(story: &mut Story) {
    // what only a trusted peer may say, and what nobody may
    let from_office =
        ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "x-client-ip", "x-originating-ip"];
    for name in from_office {
        for value in ["10.0.0.1", "for=10.0.0.1", "10.0.0.1, 127.0.0.1", "[::ffff:10.0.0.1]"] {
            story.forge(&format!("{name}: {value}\r\nx-canary: always\r\n"));
        }
    }
    for name in ["cf-ipcountry", "CF-IPCountry", "cf_ipcountry", "cf.ipcountry", "x-geo-country"] {
        story.forge(&format!("{name}: NO\r\n"));
    }
    for name in ["service", "cohort", "variant", "override", "bucket", "weight"] {
        for separator in ["-", "_", "."] {
            let line = format!("x{separator}ringway{separator}{name}: canary\r\n");
            story.forge(&line);
            story.forge(&line.to_uppercase());
            story.forge(&format!("{line}{line}"));
            story.forge(&format!("connection: x-ringway-{name}\r\n{line}"));
            story.forge(&format!("cookie: x{separator}ringway{separator}{name}=canary\r\n"));
        }
    }
    // a cookie of ours is a name, and no permission: of any value, twice, tossed from another path
    for value in ["canary", "always", "0", "-1", "", "%00", "00000000-0000-4000-8000-000000000000", &"9".repeat(3_000)]
    {
        story.forge(&format!("cookie: ringway-id={value}\r\n"));
        story.forge(&format!("cookie: ringway-id={value}; ringway-id=canary; __Host-ringway-id=canary\r\n"));
    }
}

/// Who has the old key has nothing once the new one is in force.
#[test]
fn a_key_that_was_replaced_signs_nothing() {
    let mut story = Story::begin();
    let (old, new) =
        (token("shop", "always", now() + 3_600, SECRET), token("shop", "always", now() + 3_600, "a new one"));
    assert_eq!(story.variant(&format!("x-canary: {old}\r\n")), "canary");
    story.forge_token(new.as_bytes());
    std::fs::write(story.proxy.file("override.key"), "a new one\n").unwrap();
    story.proxy.running.reload();
    story.forge_token(old.as_bytes());
    assert_eq!(story.variant(&format!("x-canary: {new}\r\n")), "canary");
}
