//! What may not be written, with what to write instead.

use crate::none;
use crate::source::{File, all, code_of, read, rust, without_tests};

/// A text that may not stand in code, where not, and what to write instead.
struct Ban {
    text: &'static str,
    /// Paths that begin with this.
    within: &'static str,
    /// Paths that begin with one of these may.
    except: &'static [&'static str],
    instead: &'static str,
}

const fn ban(text: &'static str, within: &'static str, except: &'static [&'static str], instead: &'static str) -> Ban {
    Ban { text, within, except, instead }
}

/// In code; unit tests at the end of a file do not count.
const BANS: [Ban; 14] = [
    ban(".unwrap()", "src/", &[], "handle the case, or `unwrap_or_else(PoisonError::into_inner)` for a mutex"),
    ban(".expect(\"", "src/", &[], "return an error that says what to do next"),
    ban("panic!(", "src/", &[], "return an error"),
    ban("unreachable!(", "src/", &[], "a type that has no such case"),
    ban("todo!(", "src/", &[], "do it now"),
    ban("unimplemented!(", "src/", &[], "do it now"),
    ban("dbg!(", "", &[], "tracing"),
    ban("println!(", "src/", &["src/cli", "src/demo", "src/main.rs"], "tracing, as standard output is for data"),
    ban("std::sync::Mutex", "src/proxy/", &[], "a cell of the worker: requests wait for no lock"),
    ban("tokio::spawn(", "src/proxy/", &[], "tokio::task::spawn_local: a connection stays on its worker"),
    ban("tokio::spawn(", "src/upstream/", &[], "tokio::task::spawn_local: a connection stays on its worker"),
    ban("thread::sleep", "", &["src/demo", "benches/"], "wait for the event, or poll with a deadline"),
    ban("static mut ", "src/", &[], "a value that is passed on"),
    ban("SystemTime::now", "src/", WALL_CLOCKS, "an argument: time comes in from outside"),
];

/// Who may look at the wall clock: those who ask on behalf of a request or a person.
const WALL_CLOCKS: &[&str] = &[
    "src/routing/view.rs",
    "src/proxy/",
    "src/control/",
    "src/cli",
    "src/server",
    "src/demo",
    "src/admin/",
    "src/config/files/validity.rs",
];

/// Marks of unfinished work.
const UNFINISHED: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")];

#[test]
fn no_banned_calls() {
    let mut violations = Vec::new();
    for file in ["src", "tests", "benches", "fuzz"].iter().flat_map(|folder| rust(folder)) {
        // this file names what it bans
        if file.path.starts_with("tests/tidy/") {
            continue;
        }
        let code = keeping_expect_texts(without_tests(&file.text));
        for ban in applicable(&file) {
            for (line, _) in code.lines().enumerate().filter(|(_, line)| line.contains(ban.text)) {
                violations.push(format!("{}:{}: `{}`; instead: {}", file.path, line + 1, ban.text, ban.instead));
            }
        }
    }
    none("banned calls", violations);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut violations = Vec::new();
    for file in ["src", "tests", "benches", "docs", "config"].iter().flat_map(|folder| all(folder)) {
        if !(file.path.ends_with(".rs") || file.path.ends_with(".md") || file.path.ends_with(".yaml")) {
            continue;
        }
        for (line, text) in file.text.lines().enumerate() {
            if UNFINISHED.iter().any(|mark| text.contains(mark)) {
                violations.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    none("work is done or it is an issue, not a mark in the text", violations);
}

/// Where serde may derive: the shapes that are a contract with somebody outside.
const SERDE: [&str; 5] =
    ["src/config/schema", "src/config/values.rs", "src/admin/", "src/control/journal", "src/config/files/jwk.rs"];

#[test]
fn serde_derives_only_where_a_contract_is() {
    let mut violations = Vec::new();
    for file in rust("src") {
        if SERDE.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for (line, text) in without_tests(&file.text).lines().enumerate() {
            if text.contains("derive(") && (text.contains("Serialize") || text.contains("Deserialize")) {
                violations.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    none("serde derives only in the file's schema, admin's API and the journal", violations);
}

#[test]
fn metric_names_stand_in_one_file() {
    let mut violations = Vec::new();
    for file in rust("src") {
        if file.path.starts_with("src/telemetry/metrics") {
            continue;
        }
        for (line, text) in without_tests(&file.text).lines().enumerate() {
            if text.contains("\"ringway_") && !text.trim_start().starts_with("//") {
                violations.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    none("metric names only in src/telemetry/metrics.rs", violations);
}

/// Words that tell of the machine that a text was written on. Put together here, so that this file has none.
const PRIVATE: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!(".lib", "rary"),
    concat!("/tmp/", "wt-"),
    concat!("sha", "red/design"),
];

#[test]
fn no_paths_of_a_machine() {
    let mut violations = Vec::new();
    for file in all("") {
        for (line, text) in file.text.lines().enumerate() {
            if PRIVATE.iter().any(|word| text.contains(word)) {
                violations.push(format!("{}:{}: {}", file.path, line + 1, text.trim()));
            }
        }
    }
    none("the repository tells nothing of the machines that it is made on", violations);
}

#[test]
fn continuous_integration_runs_what_people_run() {
    let script = read(".ci/run");
    let commands: Vec<&str> = script.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(commands, ["exec \"$(dirname \"${BASH_SOURCE[0]}\")/../tests/run.sh\""]);
}

fn applicable(file: &File) -> impl Iterator<Item = &'static Ban> {
    BANS.iter().filter(|ban| {
        file.path.starts_with(ban.within) && !ban.except.iter().any(|except| file.path.starts_with(except))
    })
}

/// Code without comments and literals, in which `.expect("…")` is still told from a parser's `.expect(token)`.
fn keeping_expect_texts(text: &str) -> String {
    let code = code_of(text);
    let lines = code.lines().zip(text.lines());
    let kept = lines.map(|(code, text)| {
        let is_call = code.contains(".expect(") && text.contains(".expect(\"");
        if is_call { code.replace(".expect(", ".expect(\"") } else { code.to_owned() }
    });
    kept.collect::<Vec<_>>().join("\n")
}
