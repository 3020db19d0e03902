//! The journal on real disks: full ones, shared ones, and processes that are killed.

#![cfg(test)]

use super::*;
use crate::rollout::stage::Stage;
use std::io::BufRead;
use std::process::{Command, Stdio};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A process that another test starts holds the lock as well until it becomes that process.
fn open(folder: &Path) -> Opened {
    let began = std::time::Instant::now();
    loop {
        match Store::open(folder, NOW) {
            Ok(opened) => return opened,
            Err(error) if began.elapsed().as_secs() >= 5 => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn services(stage: &Stage) -> BTreeMap<String, State> {
    [("shop".to_owned(), State { session: Default::default(), ..stage.state.clone() })].into()
}

/// A state that says how often it was saved.
fn numbered(number: u64) -> BTreeMap<String, State> {
    let mut stage = Stage::new();
    stage.state.why = number.to_string();
    services(&stage)
}

fn number(found: &Found) -> u64 {
    match found {
        Found::Good(document) => document.services["shop"].why.parse().unwrap(),
        Found::Nothing => 0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_saved_is_found_with_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/folder");
    let opened = open(&folder);
    assert_eq!((opened.found, opened.problems), (Found::Nothing, vec![]));
    let mut store = opened.store;
    let stage = Stage::new();
    store.append(stage.events.clone()).unwrap();
    store.save(5, &numbered(1)).unwrap();
    store.save(6, &numbered(2)).unwrap();
    let head = store.head().clone();
    assert_eq!(head.seq, stage.events.len() as u64);
    drop(store);
    let opened = open(&folder);
    assert_eq!((number(&opened.found), opened.store.head(), opened.problems), (2, &head, vec![]));
    let previous = decode(&fs::read(folder.join(PREVIOUS)).unwrap()).unwrap();
    assert_eq!((previous.services["shop"].why.as_str(), previous.audit), ("1", head));
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    assert!(matches!(Store::open(folder.path(), NOW), Err(StoreError::Locked(_))));
    drop(first);
    open(folder.path());
}

#[test]
fn a_damaged_state_is_told_and_never_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    store.save(1, &numbered(1)).unwrap();
    store.save(2, &numbered(2)).unwrap();
    drop(store);
    let path = folder.path().join(STATE);
    let good = fs::read(&path).unwrap();
    for damaged in [&good[..good.len() / 2], b"", b"garbage"] {
        fs::write(&path, damaged).unwrap();
        let opened = open(folder.path());
        let Found::Older(document) = opened.found else { panic!("{:?}", opened.found) };
        assert_eq!((document.services["shop"].why.as_str(), opened.problems.len()), ("1", 1));
        let stopped = document.services["shop"].clone().stopped("the state was damaged");
        assert_eq!(stopped.phase, crate::rollout::state::Phase::Paused);
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(open(folder.path()).found, Found::Older(_)));
    fs::write(folder.path().join(PREVIOUS), "").unwrap();
    assert_eq!(open(folder.path()).found, Found::Lost);
    fs::write(&path, &good).unwrap();
    assert_eq!(number(&open(folder.path()).found), 2);
}

#[test]
fn a_state_that_is_missing_is_told_where_the_audit_log_knows_of_rollouts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    let stage = Stage::new();
    let mut event = stage.events[0].clone();
    event.rollout = None;
    store.append([event]).unwrap();
    drop(store);
    let opened = open(folder.path());
    assert_eq!((opened.found, opened.problems.len()), (Found::Nothing, 0), "no rollout was under way");
    let mut store = opened.store;
    store.save(1, &numbered(1)).unwrap();
    store.append(stage.events.clone()).unwrap();
    drop(store);
    fs::remove_file(folder.path().join(STATE)).unwrap();
    let opened = open(folder.path());
    assert_eq!(opened.found, Found::Lost);
    assert_eq!(opened.problems, ["state.json is missing, and audit.jsonl tells of rollouts"]);
}

#[test]
fn lines_that_the_state_does_not_know_are_known_after_the_next_save() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    assert!(!store.has_unknown_lines());
    store.append(Stage::new().events).unwrap();
    assert!(store.has_unknown_lines());
    store.save(1, &numbered(1)).unwrap();
    assert!(!store.has_unknown_lines());
    drop(store);
    assert!(!open(folder.path()).store.has_unknown_lines());
}

#[test]
fn a_folder_that_is_mounted_read_only_is_read_and_written_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    store.append(Stage::new().events).unwrap();
    store.save(1, &numbered(1)).unwrap();
    let head = store.head().clone();
    drop(store);
    let Some(mount) = ReadOnly::mount(folder.path()) else { return };
    let mut opened = open(folder.path());
    assert_eq!((number(&opened.found), opened.store.head()), (1, &head));
    assert_eq!(opened.problems, ["it is on a file system that is mounted read-only"]);
    assert!(matches!(Store::open(folder.path(), NOW), Err(StoreError::Locked(_))), "the lock holds there too");
    let error = opened.store.save(2, &numbered(2)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert!(opened.store.append(Stage::new().events).is_err());
    drop(mount);
    opened.store.save(3, &numbered(3)).unwrap();
    opened.store.append([]).unwrap();
    assert_eq!(opened.store.unwritten(), (0, 0));
    drop(opened);
    let opened = open(folder.path());
    assert_eq!((number(&opened.found), opened.problems), (3, vec![]));
    assert_eq!(opened.store.head().seq, 2 * head.seq);
}

/// The folder is mounted on itself, read-only, as long as this is there.
struct ReadOnly(PathBuf);

impl ReadOnly {
    /// `None` for who may not mount.
    fn mount(folder: &Path) -> Option<ReadOnly> {
        let run =
            |args: &[&str]| Command::new("mount").args(args).arg(folder).output().is_ok_and(|it| it.status.success());
        let source = folder.to_str()?;
        if !run(&["--bind", source]) {
            return None;
        }
        let mounted = ReadOnly(folder.to_owned());
        run(&["-o", "remount,bind,ro"]).then_some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // at once, though a lock is still held there
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_line_that_was_cut_off_is_removed_and_a_changed_log_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    let stage = Stage::new();
    store.append(stage.events.clone()).unwrap();
    let head = store.head().clone();
    store.append(stage.events.clone()).unwrap();
    store.save(1, &services(&stage)).unwrap();
    drop(store);
    let path = folder.path().join(AUDIT);
    let whole = fs::read(&path).unwrap();
    let lines = whole.split_inclusive(|byte| *byte == b'\n').count();
    assert_eq!(lines as u64, 2 * head.seq);
    fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let opened = open(folder.path());
    assert_eq!(opened.store.head().seq, 2 * head.seq - 1);
    // the line that is missing is one that the state knew
    assert_eq!(opened.problems.len(), 2, "{:?}", opened.problems);
    drop(opened);
    let mut changed = whole.clone();
    changed[20] ^= 1;
    fs::write(&path, &changed).unwrap();
    let mut opened = open(folder.path());
    assert!(opened.problems[0].contains("kept as audit.jsonl.damaged-1"), "{:?}", opened.problems);
    opened.store.append(stage.events.clone()).unwrap();
    assert!(audit::verify(&fs::read(&path).unwrap(), Some(&Head::default())).is_ok());
    assert_eq!(fs::read(folder.path().join("audit.jsonl.damaged-1")).unwrap(), changed);
}

#[test]
fn a_log_that_is_large_is_put_aside_and_kept_for_ninety_days() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).store;
    let stage = Stage::new();
    store.audit_bytes = AUDIT_BYTES_MAX;
    store.append(stage.events.clone()).unwrap();
    let first = store.head().clone();
    let aside = folder.path().join(format!("audit-{:012}.jsonl", first.seq));
    assert!(aside.exists());
    drop(store);
    // with nothing but an old one, the chain goes on from it
    let mut store = open(folder.path()).store;
    assert_eq!(store.head(), &first);
    store.append(stage.events.clone()).unwrap();
    assert!(audit::verify(&fs::read(folder.path().join(AUDIT)).unwrap(), Some(&first)).is_ok());
    let written = aside.metadata().unwrap().modified().unwrap();
    store.remove_old_audits(written + AUDIT_KEPT);
    assert!(aside.exists());
    store.remove_old_audits(written + AUDIT_KEPT + Duration::from_secs(1));
    assert!(!aside.exists());
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state");
    let mut store = open(&folder).store;
    store.append(Stage::new().events).unwrap();
    store.save(1, &numbered(1)).unwrap();
    for name in [".", STATE, AUDIT, "lock"] {
        let mode = folder.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

/// A file system of half a megabyte, if this user may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "ringway-test"]).arg(folder.path());
        let is_mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_mounted.then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_a_rollback_is_still_written() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let folder = disk.0.path().join("state");
    let mut store = open(&folder).store;
    store.save(1, &numbered(1)).unwrap();
    assert!(folder.join(RESERVE).exists());
    // somebody fills the disk
    let mut file = File::create(disk.0.path().join("filler")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    let mut stage = Stage::new();
    stage.rollback(None);
    stage.state.why = "2".to_owned();
    store.save(2, &services(&stage)).unwrap();
    assert!(!folder.join(RESERVE).exists(), "the reserve was given up");
    // and fills it again: errors, and what was written is still there
    while file.write_all(&[0; 4096]).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    let (mut failed, events) = (0, Stage::new().events);
    for number in 3..200u64 {
        failed += u64::from(store.append(events.clone()).is_err());
        failed += u64::from(store.save(number, &numbered(number)).is_err());
    }
    assert!(failed > 100, "{failed}");
    let (waiting, dropped) = store.unwritten();
    assert!(waiting > 0 && waiting <= WAITING_MAX && dropped == 0);
    // space comes back: what waited is written, in order
    drop(file);
    fs::remove_file(disk.0.path().join("filler")).unwrap();
    store.append([]).unwrap();
    assert_eq!(store.unwritten(), (0, 0));
    store.save(300, &numbered(300)).unwrap();
    drop(store);
    let opened = open(&folder);
    assert_eq!((number(&opened.found), opened.problems), (300, vec![]));
    let log = audit::verify(&fs::read(folder.join(AUDIT)).unwrap(), Some(&Head::default())).unwrap();
    assert_eq!(log.head.seq, (events.len() * 197) as u64);
}

const VICTIM: &str = "RINGWAY_TEST_VICTIM";
/// How often the victim saves; without it until it is killed.
const SAVES: &str = "RINGWAY_TEST_SAVES";

/// Not a test of its own: the process that is killed. Says each number that is saved.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else { return };
    let opened = open(Path::new(&folder));
    let mut store = opened.store;
    let (events, first) = (Stage::new().events, number(&opened.found) + 1);
    if let Some(saves) = std::env::var(SAVES).ok().and_then(|text| text.parse::<u64>().ok()) {
        for at in first..first + saves {
            let is_saved = store.append(events.clone()).and_then(|()| store.save(at, &numbered(at))).is_ok();
            println!("\n{} {at}", if is_saved { "saved" } else { "refused" });
        }
        return;
    }
    for at in first.. {
        store.append(events.clone()).unwrap();
        store.save(at, &numbered(at)).unwrap();
        println!("\nsaved {at}");
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_had_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let kills = std::env::var("RINGWAY_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for round in 0..kills {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "control::journal::store::tests::victim", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut saved = lines.filter_map(|line| line.strip_prefix("saved ")?.parse::<u64>().ok());
        for _ in 0..=round % 7 {
            acknowledged = saved.next().expect("the victim saves");
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        acknowledged = saved.last().unwrap_or(acknowledged);
        let opened = open(folder.path());
        assert!(number(&opened.found) >= acknowledged, "{:?} after {acknowledged}", opened.found);
        assert!(opened.problems.iter().all(|problem| problem.contains("cut off")), "{:?}", opened.problems);
    }
    assert!(acknowledged >= kills);
}

/// Calls of the kernel that are made to fail, one after the other, while state and audit log are written.
const CALLS: [&str; 6] = ["write", "fsync", "fdatasync", "rename", "openat", "linkat"];

/// What is written while calls fail is written, or not acknowledged: whatever fails, and whenever.
#[test]
fn calls_that_fail_lose_nothing_that_was_acknowledged() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: strace is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut tried, mut acknowledged, mut refused) = (0, 0, 0);
    for (call, error) in CALLS.iter().zip(["EIO", "ENOSPC", "EROFS"].iter().cycle()) {
        // from the third time on every second one: the first are those of opening
        let inject = format!("inject={call}:error={error}:when=3+2");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]);
        for name in ["state.json.new", STATE, PREVIOUS, AUDIT, RESERVE, "state.json.spare", ""] {
            command.arg("-P").arg(folder.path().join(name));
        }
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "control::journal::store::tests::victim", "--nocapture"]);
        let output = command.env(VICTIM, folder.path()).env(SAVES, "20").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        refused += said.lines().filter(|line| line.starts_with("refused ")).count();
        let mut saved = said.lines().rev().filter_map(|line| line.strip_prefix("saved ")?.parse::<u64>().ok());
        acknowledged = saved.next().unwrap_or(acknowledged);
        let opened = open(folder.path());
        // of a state that was never written nothing can be lost, and that it is not there is told
        let is_unborn = acknowledged == 0 && opened.found == Found::Lost;
        assert!(is_unborn || number(&opened.found) >= acknowledged, "{call}: {:?} after {acknowledged}", opened.found);
        let is_known =
            |problem: &String| problem.contains("cut off") || is_unborn && problem.contains("is missing, and");
        assert!(opened.problems.iter().all(is_known), "{:?}", opened.problems);
        tried += 1;
    }
    println!("{tried} calls made to fail, {refused} writes refused, {acknowledged} acknowledged, 0 lost");
    assert!(refused >= 10, "nothing failed: {refused}");
}
