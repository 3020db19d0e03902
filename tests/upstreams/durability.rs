//! D23: what is left of a rollout when the process is killed in the middle of a command, and when the disk is full, tiny or
//! read-only.

use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::Binary;
use crate::rollouts::{Release, file};
use crate::service::Service;
use crate::story::{eventually, pause};

/// How often a process is killed: `RINGWAY_TEST_KILLS`, or this.
fn kills() -> u64 {
    std::env::var("RINGWAY_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// Asks something of the rollout; the answer, or `None` when the process ended before it came.
fn ask(socket: &Path, command: &str, body: &Value) -> Option<(u16, String)> {
    let mut door = UnixStream::connect(socket).ok()?;
    door.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let body = body.to_string();
    let head = format!(
        "POST /api/v1/rollouts/shop/{command} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    door.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    door.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// A command, and the share of the new version once it is done.
fn commands(random: &mut fastrand::Rng) -> (&'static str, Value, f64) {
    let share = f64::from(random.u32(1..=40));
    match random.u8(..6) {
        0 => ("rollback", json!({}), 0.0),
        1 => ("retry", json!({}), 20.0),
        _ => ("set-weight", json!({ "cohort": "everyone", "variant": "canary", "weight": share }), share),
    }
}

/// Whatever was going on: the share is the last one that was acknowledged, or that which was being asked for.
#[test]
fn a_kill_at_any_point_loses_no_acknowledged_command() {
    let stable = Service::named("stable");
    let text = file(&stable.address.to_string(), &stable.address.to_string(), "v1", 0);
    let mut release = Release::of(Service::absent(), Service::absent(), &text);
    release.wait_for("progressing");
    let mut random =
        fastrand::Rng::with_seed(std::env::var("RINGWAY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(23));
    let (mut known, mut acknowledged, mut unanswered) = (20.0, 0, 0);
    for kill in 0..kills() {
        let socket = release.binary.dir.path().join("admin.sock");
        let delay = Duration::from_micros(random.u64(..400_000));
        let (mut asked, mut is_over) = (None, false);
        std::thread::scope(|scope| {
            let binary = &release.binary;
            let killer = scope.spawn(move || {
                pause(delay);
                binary.signal(Signal::KILL);
            });
            while !is_over {
                let (command, body, share) = commands(&mut random);
                match ask(&socket, command, &body) {
                    Some((200, _)) => (known, acknowledged) = (share, acknowledged + 1),
                    // a rollback of what is back, a retry of what is not
                    Some((409, _)) => {}
                    Some((status, answer)) => panic!("{status}: {answer}"),
                    None => (asked, is_over, unanswered) = (Some(share), true, unanswered + 1),
                }
            }
            killer.join().unwrap();
        });
        release.binary.restart();
        let share = release.share();
        assert!(share == known || Some(share) == asked, "kill {kill}: {share} %, known {known}, asked {asked:?}");
        known = share;
    }
    println!("{} kills, {acknowledged} commands acknowledged, {unanswered} cut off: none lost", kills());
    release.done(&["audit", "verify", "state/audit.jsonl"]);
}

/// A file system of this many KiB; `None` where this user may make none.
struct Disk(PathBuf);

impl Disk {
    fn at(folder: &Path, kib: u32) -> Option<Disk> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={kib}k,mode=700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "ringway-test"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then(|| Disk(folder.to_owned()))
    }

    fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }

    /// Lays itself over itself, read-only, or takes that away: what has files open for writing cannot be made read-only.
    fn make_read_only(&self, is_read_only: bool) -> bool {
        let run = |program: &str, args: &[&str]| {
            let status = Command::new(program).args(args).arg(&self.0).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let own = self.0.to_string_lossy();
        match is_read_only {
            true => run("mount", &["--bind", &own]) && run("mount", &["-o", "remount,bind,ro"]),
            false => run("umount", &[]),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // itself, and what may still lie over it; lazily: the process that holds files on it ends later
        for _ in 0..2 {
            let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
        }
    }
}

/// A release whose state is on a disk of its own.
fn on_a_disk(kib: u32) -> Option<(Release, Disk)> {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::at(&dir.path().join("state"), kib)?;
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let binary = Binary::start_in(dir, &text);
    let release = Release { stable, canary, binary };
    release.wait_for("progressing");
    Some((release, disk))
}

/// A rollback works within a second of a debug build's patience, and everybody is on stable.
fn roll_back(release: &Release) -> String {
    let begun = Instant::now();
    let said = release.done(&["rollback", "shop", "--reason", "the disk"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(release.share(), 0.0);
    assert!(!release.ask_all().contains_key("canary"));
    said
}

/// 1 MiB holds the reserve: the rollback is on the disk although it is full. 256 KiB does not hold it: the rollback is in force,
/// whoever asked is told that it is not written, and a process that is started on such a disk raises nothing.
#[test]
fn a_full_disk_holds_up_no_rollback_and_never_brings_the_version_back() {
    for kib in [1_024, 256] {
        let Some((mut release, disk)) = on_a_disk(kib) else {
            eprintln!("skipped: no file system can be mounted here");
            return;
        };
        disk.fill();
        let said = roll_back(&release);
        println!("{kib} KiB, full: {said}");
        if kib == 256 {
            assert!(said.contains("not written yet"), "{said}");
        }
        release.kill_and_restart();
        assert_eq!(release.share(), 0.0, "{kib} KiB: {:#}\n{}", release.status(), release.binary.log());
        disk.free();
        eventually("the state on the disk", || {
            match release.binary.metrics().sum("ringway_rollout_state_durable", &[]) {
                1.0 => Ok(()),
                _ => Err(release.binary.log()),
            }
        });
        release.kill_and_restart();
        assert_eq!(release.share(), 0.0, "{kib} KiB, once it could be written");
    }
}

#[test]
fn a_disk_that_becomes_read_only_holds_up_no_rollback() {
    let Some((release, disk)) = on_a_disk(1_024) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    if !disk.make_read_only(true) {
        eprintln!("skipped: what is written to cannot be made read-only here");
        return;
    }
    roll_back(&release);
    let (code, said) = release.ask(&["retry", "shop", "--yes"]);
    assert_eq!((code, release.share()), (0, 0.0), "nothing rises that cannot be written: {said}");
    assert!(said.contains("what rises waits"), "{said}");
    assert!(disk.make_read_only(false));
    eventually("what was asked, once it is written", || match release.share() {
        20.0 => Ok(()),
        share => Err(format!("{share}\n{}", release.binary.log())),
    });
}
