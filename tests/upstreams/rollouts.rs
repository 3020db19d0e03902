//! Rollouts in the real program: the judge sees real answers, people ask by the commands, and a bad version is taken back.

use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::binary::{Binary, run};
use crate::service::Service;
use crate::story::eventually;
use crate::upgrade::{Ends, wait_for_heirs};

const USERS: usize = 400;

/// A service with a rollout in steps of an hour, so that it moves by commands and by harm alone.
pub fn file(stable: &str, canary: &str, id: &str, weight: u32) -> String {
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\n\
         admin: {{ address: 'unix:admin.sock' }}\ntelemetry: {{ address: 127.0.0.1:0 }}\nstateDir: state\n\
         services:\n  shop:\n    hashOn: [{{ cookie: uid }}]\n    variants:\n      \
         stable: {{ weight: {}, endpoints: [{stable}] }}\n      \
         canary: {{ weight: {weight}, endpoints: [{canary}] }}\n    \
         rollout: {{ id: {id}, to: canary, steps: [{{ cohort: everyone, ramp: [20, 50, 100], hold: 1h }}] }}\n",
        100 - weight
    )
}

pub fn failing() -> Service {
    Service::wired(|wire| {
        let mut turn = 0;
        while wire.request().is_some() {
            turn += 1;
            let head = if turn % 2 == 0 { "HTTP/1.1 500 Broken" } else { "HTTP/1.1 200 OK" };
            if !wire.send(format!("{head}\r\ncontent-length: 6\r\n\r\ncanary")) {
                return;
            }
        }
    })
}

pub struct Release {
    pub stable: Service,
    pub canary: Service,
    pub binary: Binary,
}

impl Release {
    fn begin(canary: Service) -> Release {
        let stable = Service::named("stable");
        let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
        let binary = Binary::start(&text, &[]);
        Release { stable, canary, binary }
    }

    /// With a rollout of another shape: half of everyone, and what else stands in the text.
    pub fn half(stable: Service, canary: Service, more: &str) -> Release {
        let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
        let text = text.replace("ramp: [20, 50, 100], hold: 1h }]", &format!("weight: 50, hold: 1h }}], {more}"));
        Release::of(stable, canary, &text)
    }

    /// With a file of its own.
    pub fn of(stable: Service, canary: Service, text: &str) -> Release {
        let binary = Binary::start(text, &[]);
        Release { stable, canary, binary }
    }

    /// What the gate of this name says.
    pub fn gate(&self, name: &str) -> Value {
        let status = self.status();
        let gates = status["gates"].as_array().cloned().unwrap_or_default();
        gates.into_iter().find(|gate| gate["name"] == name).unwrap_or_default()
    }

    /// Who gets what when every user asks once for a path, by variant.
    pub fn users(&self, path: &str) -> BTreeMap<String, Vec<String>> {
        let mut client = self.binary.client();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for user in (0..USERS).map(|user| format!("user-{user}")) {
            let answer = client.get(path, &format!("cookie: uid={user}\r\n"));
            if !answer.is_whole {
                client = self.binary.client();
            }
            found.entry(answer.body.split(' ').next().unwrap_or_default().to_owned()).or_default().push(user);
        }
        found
    }

    pub fn text(&self, id: &str, weight: u32) -> String {
        file(&self.stable.address.to_string(), &self.canary.address.to_string(), id, weight)
    }

    /// The service's part of `status`.
    pub fn status(&self) -> Value {
        let output = self.binary.command(&["status", "shop", "-o", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["services"][0].clone()
    }

    pub fn phase(&self) -> String {
        self.status()["phase"].as_str().unwrap().to_owned()
    }

    /// The canary's share of everyone, in percent.
    pub fn share(&self) -> f64 {
        let status = self.status();
        let variants = status["cohorts"][0]["variants"].as_array().unwrap();
        let canary = variants.iter().find(|variant| variant["name"] == "canary").unwrap();
        (canary["configuredShare"].as_f64().unwrap() * 1e8).round() / 1e6
    }

    pub fn wait_for(&self, phase: &str) -> Value {
        eventually(phase, || match self.status() {
            status if status["phase"] == phase => Ok(status),
            status => Err(format!("{status:#}\n{}", self.binary.log())),
        })
    }

    /// Runs a command, and returns its exit code with what it said.
    pub fn ask(&self, args: &[&str]) -> (i32, String) {
        let output = self.binary.command(args);
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code().unwrap(), said.concat())
    }

    pub fn done(&self, args: &[&str]) -> String {
        let (code, said) = self.ask(args);
        assert_eq!(code, 0, "{args:?}: {said}\n{}", self.binary.log());
        said
    }

    /// Who gets what when every user asks once.
    pub fn ask_all(&self) -> BTreeMap<String, usize> {
        let mut client = self.binary.client();
        let mut found = BTreeMap::new();
        for user in 0..USERS {
            let answer = client.get("/", &format!("cookie: uid=user-{user}\r\n"));
            *found.entry(answer.body.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
        found
    }

    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.binary.dir.path().join("state/audit.jsonl")).unwrap()
    }

    /// The process is killed, and begins again in the same folder.
    pub fn kill_and_restart(&mut self) {
        self.binary.signal(Signal::KILL);
        self.binary.restart();
    }
}

#[test]
fn a_bad_version_is_taken_back_by_itself_and_stays_back() {
    let mut release = Release::begin(failing());
    release.wait_for("progressing");
    assert_eq!(release.share(), 20.0);
    let begun = Instant::now();
    let status = eventually("the rollback", || {
        release.ask_all();
        match release.status() {
            status if status["phase"] == "rolled-back" => Ok(status),
            status => Err(format!("{status:#}")),
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(release.share(), 0.0);
    let why = status["why"].as_str().unwrap();
    assert!(why.contains("errors"), "{why}");
    assert_eq!(release.ask_all(), BTreeMap::from([("stable".to_owned(), USERS)]));
    assert!(release.audit().contains("rolled-back"), "{}", release.audit());
    assert!(release.binary.log_has("rolled back shop/everyone"), "{}", release.binary.log());
    let held = release.binary.metrics().sum("ringway_http_requests_total", &[("reason", "held")]);
    assert!(held >= USERS as f64, "{held}");
    assert_eq!(release.binary.metrics().sum("ringway_rollout_phase", &[("phase", "rolled-back")]), 1.0);

    release.kill_and_restart();
    assert_eq!((release.phase().as_str(), release.share()), ("rolled-back", 0.0));
    release.binary.write(&release.text("v1", 30));
    release.done(&["reload"]);
    assert_eq!((release.phase().as_str(), release.share()), ("rolled-back", 0.0), "an edit does not undo it");
    let verified = release.done(&["audit", "verify", "state/audit.jsonl"]);
    assert!(verified.contains("as they were written"), "{verified}");

    release.binary.write(&release.text("v2", 0));
    release.done(&["reload"]);
    release.wait_for("progressing");
    assert_eq!(release.share(), 20.0, "a new id is a new rollout");
}

#[test]
fn people_promote_a_good_version_to_everybody() {
    let release = Release::begin(Service::named("canary"));
    release.wait_for("progressing");
    let users = release.ask_all();
    assert!((40..120).contains(&users["canary"]), "{users:?}");
    let (code, said) = release.ask(&["promote", "shop"]);
    assert_eq!(code, 2, "nobody can be asked here: {said}");
    let said = release.done(&["promote", "shop", "--yes", "--reason", "looks good", "--as", "kim"]);
    assert!(said.contains("to undo it: ringway rollback shop"), "{said}");
    assert_eq!(release.share(), 50.0);
    release.done(&["promote", "shop", "--yes"]);
    release.done(&["promote", "shop", "--yes"]);
    release.wait_for("promoted");
    assert_eq!(release.ask_all(), BTreeMap::from([("canary".to_owned(), USERS)]));
    let audit = release.audit();
    assert!(audit.contains("kim") && audit.contains("looks good"), "{audit}");
    let (code, said) = release.ask(&["pause", "shop"]);
    assert_eq!(code, 5, "{said}");
    let (code, said) = release.ask(&["pause", "nowhere"]);
    assert_eq!(code, 1, "{said}");
    let text = release.done(&["status", "shop"]);
    assert!(text.contains("stable → canary   promoted") && text.contains("rollout step 1/1"), "{text}");
}

#[test]
fn a_rollback_by_a_person_takes_a_second_and_survives_what_comes() {
    let mut release = Release::begin(Service::named("canary"));
    release.wait_for("progressing");
    release.done(&["promote", "shop", "--yes"]);
    let begun = Instant::now();
    let said = release.done(&["rollback", "shop", "--reason", "a hunch"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(said.contains("ringway retry shop"), "{said}");
    assert_eq!(release.ask_all(), BTreeMap::from([("stable".to_owned(), USERS)]));
    assert_eq!(release.ask(&["promote", "shop", "--yes"]).0, 5);
    release.done(&["reload"]);
    release.kill_and_restart();
    assert_eq!((release.phase().as_str(), release.share()), ("rolled-back", 0.0));
    release.done(&["retry", "shop", "--yes"]);
    assert_eq!((release.phase().as_str(), release.share()), ("progressing", 20.0));
}

#[test]
fn a_kill_never_raises_the_share_and_an_edit_supersedes() {
    let mut release = Release::begin(Service::named("canary"));
    release.wait_for("progressing");
    for expected in [20.0, 50.0] {
        release.kill_and_restart();
        assert_eq!((release.phase().as_str(), release.share()), ("progressing", expected));
        if expected < 50.0 {
            release.done(&["promote", "shop", "--yes"]);
        }
    }
    release.done(&["set-weight", "shop", "canary", "7", "--yes", "--as", "kim", "--for", "1h"]);
    let status = release.status();
    let canary = &status["cohorts"][0]["variants"][1];
    // the name is believed and marked: what proves it is the user of the socket
    let source = canary["source"].as_str().unwrap();
    assert!(source.starts_with("set by kim (unverified, as ") && source.ends_with("; the file says 0"), "{source}");
    assert_eq!(release.share(), 7.0);
    release.kill_and_restart();
    assert_eq!(release.share(), 7.0);
    release.binary.write(&release.text("v1", 3));
    release.done(&["reload"]);
    assert_eq!((release.phase().as_str(), release.share()), ("superseded", 3.0));
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let release = Release::begin(Service::named("canary"));
    release.wait_for("progressing");
    let other = release.text("v1", 0).replace("admin.sock", "other.sock");
    std::fs::write(release.binary.dir.path().join("other.yaml"), other).unwrap();
    let output = run(release.binary.dir.path(), &["run", "-c", "other.yaml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another ringway uses the state"), "{said}");
}

#[test]
fn the_next_process_goes_on_where_this_one_was() {
    let release = Release::begin(Service::named("canary"));
    let _ends = Ends(release.binary.dir.path().join("log"));
    release.wait_for("progressing");
    release.done(&["rollback", "shop"]);
    release.binary.signal(Signal::USR2);
    wait_for_heirs(&release.binary, 1);
    eventually("the heir with the state in its hands", || {
        // the socket is the heir's once the first process has gone
        assert!(!release.ask_all().contains_key("canary"), "it stays back");
        match release.ask(&["retry", "shop", "--yes"]) {
            (0, _) => Ok(()),
            (_, said) => Err(said),
        }
    });
    eventually("the first step again", || match release.share() {
        20.0 => Ok(()),
        share => Err(format!("{share}\n{}", release.binary.log())),
    });
}
