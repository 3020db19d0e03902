use crate::support::Desk;
use ringway::control::journal::store::Store;
use ringway::rollout::effect::{Event, EventKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

fn event(number: u64) -> Event {
    Event {
        kind: EventKind::StepBegan,
        unix_ms: 1_790_000_000_000 + number,
        service: "shop".to_owned(),
        rollout: Some("v42".to_owned()),
        cohort: Some("beta".to_owned()),
        actor: Some("alice".to_owned()),
        reason: Some("because".to_owned()),
        sentence: format!("shop/beta {number} % → {} %", number + 1),
        numbers: Vec::new(),
        runbook: None,
    }
}

/// Ten events, and a state that knows of them.
fn write_journal(folder: &Path) {
    let mut store = Store::open(folder, SystemTime::UNIX_EPOCH).unwrap().store;
    store.append((0..10).map(event)).unwrap();
    store.save(1, &BTreeMap::new()).unwrap();
}

#[test]
fn a_log_is_verified_and_whoever_changed_it_is_found_out() {
    let desk = Desk::new();
    write_journal(&desk.path("state"));
    let verify = || desk.run(&["audit", "verify", "state/audit.jsonl"]);
    let told = verify().ended_with(0).stdout;
    let head = told.trim_end().strip_prefix("✔ 10 lines are as they were written, the last is ").unwrap().to_owned();
    assert_eq!(head.len(), 64, "{told}");
    let good = std::fs::read_to_string(desk.path("state/audit.jsonl")).unwrap();

    desk.write(
        "state/audit.jsonl",
        &good.replacen("\"actor\":\"alice\"", "\"actor\":\"carol\"", 4).replacen("carol", "alice", 3),
    );
    let found = verify().ended_with(1).stdout;
    assert!(found.contains("line 4: it is not what was written"), "{found}");

    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    desk.write("state/audit.jsonl", &[&lines[..3], &lines[4..]].concat().concat());
    let found = verify().ended_with(1).stdout;
    assert!(found.contains("line 4: it does not follow the line before"), "{found}");

    desk.write("state/audit.jsonl", &lines[..7].concat());
    let found = verify().ended_with(1).stdout;
    assert!(found.contains("lines 8 to 10 are missing at its end"), "{found}");

    // in two files, as one that was put aside
    desk.write("older.jsonl", &lines[..6].concat());
    desk.write("newer.jsonl", &lines[6..].concat());
    desk.run(&["audit", "verify", "older.jsonl", "newer.jsonl"]).ended_with(0);
    desk.run(&["audit", "verify", "newer.jsonl", "older.jsonl"]).ended_with(1);
    assert!(desk.run(&["audit", "verify", "newer.jsonl"]).ended_with(0).stderr.contains("begin with line 7"));
    desk.run(&["audit", "verify", "nowhere.jsonl"]).ended_with(2);
}

#[test]
fn a_copy_that_lacks_its_last_lines_is_found_out_by_a_hash_that_was_noted() {
    let desk = Desk::new();
    write_journal(&desk.path("state"));
    let good = std::fs::read_to_string(desk.path("state/audit.jsonl")).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let last = lines[9].trim_end().strip_suffix("\"}").unwrap();
    let head = &last[last.len() - 64..];
    desk.write("copy.jsonl", &lines[..7].concat());
    let told = desk.run(&["audit", "verify", "copy.jsonl"]).ended_with(0);
    assert!(told.stderr.contains("whether lines are missing at its end is not known"), "{}", told.stderr);
    let told = desk.run(&["audit", "verify", "copy.jsonl", "--head", head]).ended_with(1);
    assert!(told.stdout.contains("lines are missing at its end, or all were written anew"), "{}", told.stdout);
    // the log may have gone on since
    let before = lines[4].trim_end().strip_suffix("\"}").unwrap();
    let told = desk.run(&["audit", "verify", "copy.jsonl", "--head", &before[before.len() - 64..]]).ended_with(0);
    assert!(!told.stderr.contains("not known"), "{}", told.stderr);
    desk.run(&["audit", "verify", "copy.jsonl", "--head", "abc"]).ended_with(2);
}

#[test]
fn a_folder_is_verified_as_a_whole() {
    let desk = Desk::new();
    write_journal(&desk.path("state"));
    let good = std::fs::read_to_string(desk.path("state/audit.jsonl")).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    desk.write("state/audit-000000000003.jsonl", &lines[..3].concat());
    desk.write("state/audit-000000000006.jsonl", &lines[3..6].concat());
    desk.write("state/audit.jsonl", &lines[6..].concat());
    let told = desk.run(&["audit", "verify", "state"]).ended_with(0);
    assert!(told.stdout.starts_with("✔ 10 lines") && told.stderr.is_empty(), "{}{}", told.stdout, told.stderr);
    std::fs::remove_file(desk.path("state/audit-000000000006.jsonl")).unwrap();
    let told = desk.run(&["audit", "verify", "state"]).ended_with(1);
    assert!(told.stdout.contains("audit.jsonl: line 1: it does not follow the line before"), "{}", told.stdout);
}
