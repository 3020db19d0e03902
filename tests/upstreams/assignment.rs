//! Weights edited under load move exactly the users that the contract names, and no request fails.

use ringway::routing::RequestView;
use ringway::routing::client::ClientAddr;
use ringway::routing::view::Trust;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::service::Service;
use crate::story::{Story, pause, shop};

const USERS: usize = 2_000;
/// Clients that ask all the time.
const LOAD: usize = 4;
const WEIGHTS: [u32; 5] = [5, 25, 10, 50, 0];

fn cookie(user: usize) -> String {
    format!("cookie: uid=user-{user}\r\n")
}

/// Who gets what, as the routing of the snapshot in force computes it.
fn computed(story: &Story) -> Vec<String> {
    let snapshot = story.running.snapshot();
    let (trust, service) = (Trust::default(), &snapshot.services[0]);
    let assign = |user: usize| {
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", format!("uid=user-{user}").parse().unwrap());
        let client = ClientAddr { ip: [127, 0, 0, 1].into(), peer_trusted: false };
        let view = RequestView::new(&http::Method::GET, "shop", "/", None, &headers, client, &trust, None);
        service.variants[service.assign(&view).variant].name.to_string()
    };
    (0..USERS).map(assign).collect()
}

/// Who gets what, as the users themselves see it.
fn seen(story: &Story) -> Vec<String> {
    let mut client = story.client();
    let ask = |user| {
        let answer = client.get("/", &cookie(user));
        assert!(answer.is_ok(), "user {user}: {answer:?}");
        answer.body.split(' ').next().unwrap().to_owned()
    };
    (0..USERS).map(ask).collect()
}

/// Users by the move that they made.
fn moves(before: &[String], after: &[String]) -> BTreeMap<(String, String), usize> {
    let mut moves = BTreeMap::new();
    for (from, to) in before.iter().zip(after).filter(|(from, to)| from != to) {
        *moves.entry((from.clone(), to.clone())).or_default() += 1;
    }
    moves
}

/// What `ringway diff` says of two files and these users.
fn diff(story: &Story, old: &str, new: &str) -> BTreeMap<(String, String), usize> {
    let path = |name: &str, text: &str| {
        let path = story.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let users: String = (0..USERS).map(|user| format!("user-{user}\n")).collect();
    let (old, new, users) = (path("old.yaml", old), path("edit.yaml", new), path("users.txt", &users));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(["diff", "-o", "json"]).arg(old).arg(new).arg("--users").arg(users);
    let answer: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let text = |value: &serde_json::Value| value["variant"].as_str().unwrap().to_owned();
    let moves = answer["services"][0]["moves"].as_array().unwrap().iter();
    moves.map(|one| ((text(&one["from"]), text(&one["to"])), one["users"].as_u64().unwrap() as usize)).collect()
}

#[test]
fn an_edit_of_weights_moves_exactly_the_users_that_diff_names() {
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = |weight| shop(&stable.address.to_string(), &canary.address.to_string(), weight);
    let story = Story::with(&text(WEIGHTS[0]), 2, |options| options);
    let (is_over, under_load, odd) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for client in 0..LOAD {
            let (story, is_over, under_load, odd) = (&story, &is_over, &under_load, &odd);
            scope.spawn(move || {
                let mut connection = story.client();
                for user in (client..).step_by(LOAD) {
                    let answer = connection.get("/", &cookie(user % USERS));
                    if answer.header("connection") == Some("close") {
                        // it has served as many requests as a connection may
                        connection = story.client();
                    }
                    if !answer.is_ok() {
                        odd.lock().unwrap().push(answer);
                    }
                    pause(Duration::from_millis(4));
                    under_load.fetch_add(1, SeqCst);
                    if is_over.load(SeqCst) {
                        return;
                    }
                }
            });
        }
        let mut before = seen(&story);
        assert_eq!(before, computed(&story));
        for edit in WEIGHTS.windows(2) {
            let said = diff(&story, &text(edit[0]), &text(edit[1]));
            story.apply(&text(edit[1]));
            let after = seen(&story);
            assert_eq!(after, computed(&story), "{edit:?}");
            assert_eq!(moves(&before, &after), said, "{edit:?}");
            let direction = if edit[1] > edit[0] { ("stable", "canary") } else { ("canary", "stable") };
            let moved: Vec<_> = said.keys().map(|(from, to)| (&**from, &**to)).collect();
            assert_eq!(moved, [direction], "only out of what shrank, into what grew");
            println!("{edit:?}: {said:?} of {USERS}");
            before = after;
        }
        is_over.store(true, SeqCst);
    });
    let odd = odd.into_inner().unwrap();
    assert!(odd.is_empty(), "{} failed: {:?}", odd.len(), odd.first());
    println!("{} requests beside the edits, none failed", under_load.into_inner());
}
