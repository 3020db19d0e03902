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
    assert_eq!(verify().ended_with(0).stdout, "✔ 10 lines are as they were written\n");
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
