//! D15: clients who want a good version taken back, or a bad one hidden, with ten requests for each one of a user.
//!
//! A round is 40 requests of users and 400 of attackers: what is refused by the proxy, what the service refuses, what ends in
//! the middle, what stalls, what fails in both versions, and floods of good ones.
//!
//! What is not shown, because it is not so: requests that fail in both versions, sent with ever new user keys, do hide a fault. They
//! are the rate of errors then, and a fault must stand out from it.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::rollouts::Release;
use crate::service::Service;
use crate::story::pause;

/// Requests of users in a round; attackers send ten times as many.
const USERS: usize = 40;
const ATTACKS: usize = 10 * USERS;

/// A round lasts at least so long, so that the judge sees each.
const ROUND: Duration = Duration::from_millis(500);

/// Rounds under which a good version must stay.
fn rounds() -> usize {
    std::env::var("RINGWAY_TEST_POISON_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

/// Answers with its name; `/missing` is 404 and `/crash` 500 in both versions. Every so many of the others fail.
fn version(name: &'static str, fails_each: Option<usize>) -> Service {
    let turn = AtomicUsize::new(0);
    Service::wired(move |wire| {
        while let Some(request) = wire.request() {
            let is_attack = request.header("x-attack").is_some();
            let is_turn = || fails_each.is_some_and(|each| turn.fetch_add(1, SeqCst).is_multiple_of(each));
            let status = match request.path.as_str() {
                "/missing" => "404 Not Found",
                "/crash" => "500 Broken",
                // attackers see only what is good, so that a bad version could hide behind them
                _ if !is_attack && is_turn() => "500 Broken",
                _ => "200 OK",
            };
            if !wire.send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{name} ", name.len() + 1)) {
                return;
            }
        }
    })
}

struct Battle {
    release: Release,
    users: BTreeMap<String, Vec<String>>,
    random: fastrand::Rng,
    sent: [usize; 2],
    hides: bool,
}

impl Battle {
    fn begin(fails_each: Option<usize>) -> Battle {
        let release = Release::half(version("stable", None), version("canary", fails_each), "gates: {}");
        release.wait_for("progressing");
        let users = release.users("/missing");
        Battle { release, users, random: fastrand::Rng::with_seed(15), sent: [0, 0], hides: fails_each.is_some() }
    }

    /// What users and attackers send in half a second.
    fn round(&mut self, is_attacked: bool) {
        let begun = Instant::now();
        let mut client = self.release.binary.client();
        for _ in 0..USERS {
            client.get("/", &format!("cookie: uid=user-{}\r\n", self.random.u32(..400)));
        }
        self.sent[0] += USERS;
        let mut attacker = self.release.binary.client();
        for at in 0..if is_attacked { ATTACKS } else { 0 } {
            self.attack(&mut attacker, at);
            self.sent[1] += 1;
        }
        pause(ROUND.saturating_sub(begun.elapsed()));
    }

    fn attack(&mut self, client: &mut Client, at: usize) {
        // one user of the new version who tries again and again, and strangers without end
        let one = self.users["canary"][0].clone();
        let stranger = format!("mallory-{}", self.random.u64(..));
        let to = self.release.binary.listener;
        match at % 10 {
            0 | 1 => drop(client.get("/missing", &format!("x-attack: 1\r\ncookie: uid={stranger}\r\n"))),
            2 => drop(client.get("/crash", &format!("x-attack: 1\r\ncookie: uid={one}\r\n"))),
            // both versions fail these, whoever asks; who wants to hide a fault sends none, or see below
            3 => {
                let path = if self.hides { "/" } else { "/crash" };
                drop(client.get(path, &format!("x-attack: 1\r\ncookie: uid={stranger}\r\n")));
            }
            4..=6 => drop(client.get("/", &format!("x-attack: 1\r\ncookie: uid={one}\r\n"))),
            7 => drop(Client::connect(to).get("/%2f", "")),
            8 => {
                // goes away before the answer
                let mut gone = Client::connect(to);
                let _ = gone.send(
                    format!("GET / HTTP/1.1\r\nhost: shop\r\nx-attack: 1\r\ncookie: uid={one}\r\n\r\n").as_bytes(),
                );
            }
            _ => {
                // says that a body comes, and goes when a byte of it has come
                let mut slow = Client::connect(to);
                let head = format!(
                    "POST / HTTP/1.1\r\nhost: shop\r\nx-attack: 1\r\ncookie: uid={stranger}\r\ncontent-length: 9\r\n\r\n1"
                );
                let _ = slow.stream.write_all(head.as_bytes());
            }
        }
    }

    /// Rounds until the version was taken back.
    fn rounds_until_rollback(&mut self, is_attacked: bool) -> Option<usize> {
        (1..=60).find(|_| {
            self.round(is_attacked);
            self.release.phase() == "rolled-back"
        })
    }
}

#[test]
fn attackers_take_no_good_version_back() {
    let mut battle = Battle::begin(None);
    for round in 0..rounds() {
        battle.round(true);
        assert_ne!(battle.release.phase(), "rolled-back", "round {round}: {:#}", battle.release.status());
    }
    let [users, attacks] = battle.sent;
    println!("{users} requests of users, {attacks} of attackers: not taken back; {}", battle.release.phase());
    assert!(attacks >= 10 * users);
}

#[test]
fn attackers_hide_no_bad_version() {
    let alone = Battle::begin(Some(4)).rounds_until_rollback(false);
    let mut battle = Battle::begin(Some(4));
    let attacked = battle.rounds_until_rollback(true);
    println!("every fourth request fails: taken back after {alone:?} rounds without attackers, {attacked:?} with");
    let (Some(alone), Some(attacked)) = (alone, attacked) else { panic!("{alone:?} {attacked:?}") };
    assert!(attacked <= 2 * alone + 4, "{attacked} rounds, {alone} without attackers");
    let why = battle.release.status()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("errors"), "{why}");
}
