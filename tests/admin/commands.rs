//! The commands of people on the real binary, before a process with a rollout.

use super::house::House;
use crate::support::raw::eventually;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// Runs in the folder of the file, so that nothing needs to be named.
fn command(house: &House, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("ringway"));
    command.current_dir(house.proxy.dir()).env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_TOKEN").args(args);
    command
}

/// What it wrote to both outputs, when it ended with this code.
fn ended(house: &House, code: i32, args: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = command(house, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(status.code(), Some(code), "{args:?}\n{stdout}\n{stderr}");
    assert!(!stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'), "no terminal: {stdout}{stderr}");
    (stdout, stderr)
}

/// A command that goes on, with its lines.
struct Going(Child, BufReader<std::process::ChildStdout>);

impl Going {
    fn begin(house: &House, args: &[&str]) -> Going {
        let mut child = command(house, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Going(child, lines)
    }

    /// The next line that has this in it.
    fn line_with(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.1.read_line(&mut line).unwrap() > 0, "it ended before {part}");
        }
        line
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn status_tells_rings_gates_and_whose_word_a_weight_is() {
    let house = House::on_a_socket();
    let (text, _) = ended(&house, 0, &["status"]);
    for part in [
        "shop   stable → canary   progressing   step 1/3   rev ",
        ", ringway.yaml, loaded ",
        "everyone: canary 50 % (rollout step 1/3; the file says 0), actual ",
        "▸ everyone 50 %   ⏸ approve   • everyone 100 %",
        "COHORT     VARIANT   SHARE",
        "EVIDENCE OF HARM",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(ended(&house, 1, &["status", "nowhere"]).1.contains("there is shop"));
    let (json, _) = ended(&house, 0, &["status", "-o", "json"]);
    assert!(json.contains("\"ringway.status/v1\""));

    let mut watch = Going::begin(&house, &["status", "--watch"]);
    watch.line_with("shop progressing step 1/3");
    ended(&house, 0, &["pause", "shop", "--reason", "lunch"]);
    assert!(watch.line_with("shop paused").contains("step 1/3"));
}

#[test]
fn waiting_ends_with_what_has_come() {
    let house = House::on_a_socket();
    let (text, _) = ended(&house, 0, &["status", "shop", "--wait", "progressing"]);
    assert!(text.starts_with("✔ shop progressing, rollout v2, step 1/3"), "{text}");
    let (_, said) = ended(&house, 4, &["status", "--wait", "promoted", "--timeout", "1500ms"]);
    assert!(said.contains("✗ not promoted within 1.5 s: shop progressing"), "{said}");
    ended(&house, 4, &["status", "--wait", "promoted", "--rollout", "v3", "--timeout", "1500ms"]);
    ended(&house, 1, &["status", "nowhere", "--wait", "promoted"]);
    ended(&house, 2, &["status", "--wait", "perfect"]);
    ended(&house, 3, &["status", "--wait", "promoted", "--admin", "unix:nowhere.sock"]);

    let mut wait = Going::begin(&house, &["status", "--wait", "rolled-back"]);
    let (_, said) = ended(&house, 0, &["rollback", "shop"]);
    assert!(said.contains("to undo it: ringway retry shop") && !said.contains("permanent"), "the file says 0: {said}");
    wait.line_with("✔ shop rolled-back");
    assert_eq!(wait.0.wait().unwrap().code(), Some(0));
    ended(&house, 1, &["status", "--wait", "promoted"]);
    let (text, _) = ended(&house, 0, &["history"]);
    assert!(text.contains("shop      v2        ✗ rolled-back"), "{text}");
    assert!(ended(&house, 0, &["history", "cart", "--days", "7"]).0.contains("no release in the last 7 days"));
}

#[test]
fn a_change_says_how_it_is_undone_and_what_makes_it_permanent() {
    let house = House::on_a_socket();
    let (_, said) = ended(&house, 2, &["set-weight", "shop", "canary", "60"]);
    assert!(said.contains("add --yes"), "{said}");
    let (text, _) = ended(&house, 0, &["set-weight", "shop", "canary", "60", "--dry-run"]);
    assert!(text.starts_with("would be done: "), "{text}");
    assert_eq!(house.shared(), 50.0);
    let (_, said) = ended(&house, 0, &["set-weight", "shop", "canary", "60", "--for", "1h", "--yes"]);
    let patch = "services:\n  shop:\n    variants:\n      stable: { weight: 40 }\n      canary: { weight: 60 }\n";
    assert!(said.contains("to undo it: ringway resume shop") && said.contains(patch), "{said}");
    // the safer direction never asks
    ended(&house, 0, &["set-weight", "shop", "canary", "20"]);
    assert_eq!(house.shared(), 20.0);
    ended(&house, 2, &["set-weight", "shop", "canary", "21"]);
    let (_, said) = ended(&house, 2, &["set-weight", "shop", "canary", "10", "--for", "5"]);
    assert!(said.contains("a duration is digits and a unit"), "{said}");
    let (_, said) = ended(&house, 1, &["set-weight", "shop", "canary", "10", "--cohort", "nobody", "--yes"]);
    assert!(said.contains("no cohort `nobody`"), "{said}");
    let (_, said) = ended(&house, 1, &["tap", "--service", "nowhere", "-n", "1"]);
    assert!(said.contains("no such service: nowhere"), "{said}");
    assert_eq!(house.shared(), 20.0);
}

#[test]
fn events_requests_and_figures_are_told_as_they_come() {
    let house = House::on_a_socket();
    assert!(ended(&house, 0, &["events"]).0.contains("  shop  "));
    let (json, _) = ended(&house, 0, &["events", "-o", "json", "-n", "1", "--service", "shop"]);
    assert!(json.contains("\"ringway.events/v1\""));
    let mut follow = Going::begin(&house, &["events", "--follow", "-o", "json", "--service", "shop"]);
    follow.line_with("\"ringway.event/v1\"");
    ended(&house, 0, &["pause", "shop", "--as", "kim", "--reason", "look at it"]);
    assert!(follow.line_with("\"paused\"").contains("look at it"));

    ended(&house, 1, &["tap", "--status", "teapot"]);
    let mut tap = Going::begin(&house, &["tap", "--service", "shop", "-n", "1"]);
    eventually("the tap sees a request", || {
        house.proxy.get("/cart?secret=1", "");
        tap.0.try_wait().unwrap().is_some()
    });
    let line = tap.line_with("GET /cart");
    assert!(line.contains("  200 ") && line.contains("shop/everyone") && !line.contains("secret"), "{line}");

    let (text, _) = ended(&house, 0, &["top", "shop", "--sort", "rps"]);
    assert!(text.contains("1 rollout") && text.contains("SERVICE   COHORT     VARIANT"), "{text}");
    ended(&house, 1, &["top", "nowhere"]);
}

#[test]
fn a_process_explains_with_the_weights_that_are_in_force() {
    let house = House::on_a_socket();
    let url = "http://shop.example.com/cart";
    let (offline, _) = ended(&house, 0, &["explain", url, "-o", "json"]);
    assert!(!offline.contains("rollout step"), "{offline}");
    let (text, _) = ended(&house, 0, &["explain", "--live", url, "-H", "x-a: 1"]);
    assert!(text.contains("GET") && text.contains("rollout step 1/3"), "{text}");
    let (json, _) = ended(&house, 0, &["explain", "--live", url, "-o", "json"]);
    assert!(json.starts_with("{\n  \"schema\": \"ringway.explain/v1\""), "{json}");
    ended(&house, 3, &["explain", "--admin", "unix:nowhere.sock", url]);
    ended(&house, 2, &["explain", "--live", "--user", "u-1", url]);
}

#[test]
fn the_doctor_and_completions_know_a_process_that_runs() {
    let house = House::on_a_socket();
    let Output { stdout, .. } = command(&house, &["doctor"]).output().unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(text.contains("✔ admin door") && text.contains("✔ state lock"), "{text}");
    let (names, _) = ended(&house, 0, &["__complete", "--", "set-weight", "--admin", "unix:admin.sock", "shop", "c"]);
    assert_eq!(names, "canary\n");
}
