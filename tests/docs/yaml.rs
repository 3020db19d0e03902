//! Blocks of YAML, given to `ringway check`.

use super::blocks::{Block, root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// What a part may lack, because it stands elsewhere in the file: keys (RW0016), a service and its variants, cohorts and
/// notifiers that are named, listeners, a source of places, what verifies claims, and files that are referred to.
const MAY_LACK: &[&str] = &[
    "RW0016", "RW0101", "RW0104", "RW0105", "RW0108", "RW0109", "RW0110", "RW0173", "RW0195", "RW0213", "RW0218",
    "RW0301", "RW0302", "RW0305", "RW0401", "RW0408", "RW0601", "RW0801", "RW0802", "RW0803",
];

/// What only says that the text is YAML.
const SYNTAX: &[&str] = &["RW0003", "RW0004", "RW0005", "RW0006", "RW0010", "RW0012", "RW0026"];

/// Where a part may belong, with what stands before each of its lines.
const PLACES: &[(&str, &str)] = &[
    ("", ""),
    ("listeners:\n  - address: 127.0.0.1:8443\n", "    "),
    ("services:\n  shop:\n", "    "),
    ("services:\n  shop:\n    variants:\n      stable:\n", "        "),
    ("services:\n  shop:\n    rollout:\n", "      "),
    ("services:\n  shop:\n    rollout:\n      gates:\n", "        "),
];

/// Why a block is not what its page takes it for.
pub fn problem(block: &Block, not_ours: &[(&'static str, &str)], used: &mut BTreeSet<&'static str>) -> Option<String> {
    let is_file = block.word.contains('.');
    if is_file || block.word.is_empty() {
        if is_unmarked(block) {
            return Some(format!("{block}: not a whole file; mark it: ```yaml part"));
        }
        return complaint(&block.text, |_| true).map(|why| format!("{block}: {why}"));
    }
    if block.word == "part" {
        let lacks = |code: &str| !MAY_LACK.contains(&code);
        let attempts: Vec<Option<String>> =
            PLACES.iter().map(|place| complaint(&put(&block.text, place), lacks)).collect();
        // what is said of the first place is about the file, where most parts belong
        return match attempts.iter().any(Option::is_none) {
            true => None,
            false => attempts[0].as_ref().map(|why| format!("{block}: no part of a file; as one of its top: {why}")),
        };
    }
    match not_ours.iter().find(|(word, _)| *word == block.word) {
        Some((word, _)) => {
            used.insert(word);
            complaint(&block.text, |code| SYNTAX.contains(&code)).map(|why| format!("{block}: {why}"))
        }
        None => Some(format!("{block}: `yaml {}` is neither `part`, nor a file, nor listed in NOT_OURS", block.word)),
    }
}

/// Whether it is neither a whole file nor marked as something else.
pub fn is_unmarked(block: &Block) -> bool {
    let has = |key: &&str| block.text.lines().any(|line| line.starts_with(*key));
    block.word.is_empty() && !["listeners:", "services:"].iter().all(has)
}

fn put(text: &str, (head, indent): &(&str, &str)) -> String {
    let lines = text.lines().map(|line| format!("{indent}{line}\n"));
    head.to_string() + &lines.collect::<String>()
}

/// The errors of `check` that count.
fn complaint(text: &str, counts: impl Fn(&str) -> bool) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["beta.txt", "countries.csv"] {
        std::fs::copy(root().join("config").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("ringway.yaml"), text).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("ringway"));
    let done = command.args(["check", "-o", "json"]).current_dir(folder.path()).output().unwrap();
    let report: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    let errors = report["diagnostics"].as_array().unwrap().iter().filter(|found| found["severity"] == "error");
    let errors: Vec<String> = errors
        .filter(|found| counts(found["code"].as_str().unwrap()))
        .map(|found| format!("{} line {}: {}", found["code"], found["line"], found["message"]))
        .collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}
