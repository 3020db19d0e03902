//! D21: a file that is replaced again and again, by good ones and by all kinds of bad ones, while requests come.

use ringway::control::ReloadResult;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::rollouts::Release;
use crate::service::Service;
use crate::story::{Story, eventually, shop};

/// How often: `RINGWAY_TEST_RENAMES`, or this.
fn renames() -> usize {
    std::env::var("RINGWAY_TEST_RENAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(160)
}

/// Bytes that are no file of ours, whatever they were meant to be.
fn rubbish(good: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let deep = format!("services: {}{}", "[".repeat(2_000), "]".repeat(2_000));
    let bomb: String = (1..12).map(|at| format!("a{at}: &a{at} [{}]\n", format!("*a{},", at - 1).repeat(9))).collect();
    match random.u8(..9) {
        0 => good.as_bytes()[..random.usize(..good.len())].to_vec(),
        1 => Vec::new(),
        2 => b"\xff\xfe\x00s\x00e\x00r\x00v\x00i\x00c\x00e\x00s".to_vec(),
        3 => format!("{good}\n\u{0}").into_bytes(),
        4 => deep.into_bytes(),
        5 => format!("a0: &a0 [x]\n{bomb}{good}").into_bytes(),
        6 => vec![b'#'; (1 << 20) + 1],
        7 => good.replace("weight: ", "weight: -").into_bytes(),
        _ => (0..random.usize(1..4_000)).map(|_| random.u8(..)).collect(),
    }
}

fn put(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(&new, path).unwrap();
}

#[test]
fn a_file_that_is_replaced_again_and_again_never_takes_the_service_down() {
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let good = |weight| shop(&stable.address.to_string(), &canary.address.to_string(), weight);
    let story = Story::begin(&good(0));
    let (path, mut client, mut random) = (story.path(), story.client(), fastrand::Rng::with_seed(21));
    let (mut bad, mut loads, mut refused, mut last_good) = (0, 0, 0, 0);
    for turn in 0..renames() {
        match random.u8(..10) {
            0..=2 => {
                last_good = random.u32(0..=100);
                put(&path, good(last_good).as_bytes());
            }
            3 => {
                // to itself, to nothing, to a folder: a link that leads nowhere is no file
                let to = [path.as_path(), Path::new("/nowhere"), story.dir.path()][random.usize(..3)];
                let new = path.with_extension("link");
                let _ = std::fs::remove_file(&new);
                symlink(to, &new).unwrap();
                std::fs::rename(&new, &path).unwrap();
                bad += 1;
            }
            _ => {
                put(&path, &rubbish(&good(50), &mut random));
                bad += 1;
            }
        }
        // half of them are found by the watch, or not before the next one
        if turn % 2 == 0 {
            loads += 1;
            refused += usize::from(matches!(story.running.reload(), Some(ReloadResult::Rejected(_))));
        }
        let answer = client.get("/", &format!("cookie: uid=u-{turn}\r\n"));
        assert!(answer.is_ok(), "{turn}: {answer:?}");
        if !answer.is_whole || answer.header("connection") == Some("close") {
            client = story.client();
        }
    }
    // the last good one comes into force, whatever stood there before
    put(&path, good(100).as_bytes());
    eventually("the last file", || match story.client().get("/", "cookie: uid=u-1\r\n") {
        answer if answer.body.starts_with("canary") => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
    println!(
        "{} files in turn, {bad} of them bad; {refused} of {loads} loads refused, the last good weight {last_good}",
        renames()
    );
    assert!(refused > loads / 3, "{refused} of {loads}");
}

/// T23: who is in the middle of an edit can take a version back, by the doors of the file that is broken.
#[test]
fn a_rollback_works_while_the_file_is_broken() {
    let (stable, canary) = (Service::named("stable"), Service::named("canary"));
    let text = crate::rollouts::file(&stable.address.to_string(), &canary.address.to_string(), "v1", 0);
    let release = Release::of(stable, canary, &text);
    release.wait_for("progressing");
    release.binary.write(&format!("{text}broken: ["));
    eventually("a load that was refused", || match release.binary.log_has("reload rejected") {
        true => Ok(()),
        false => Err(release.binary.log()),
    });
    release.done(&["rollback", "shop", "--reason", "in the middle of an edit"]);
    assert_eq!(release.share(), 0.0);
    release.binary.signal(rustix::process::Signal::KILL);
    // it does not begin with a file that it cannot read, and the state is what it was
    let output = release.binary.command(&["run"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    release.binary.write(&text);
    let mut release = release;
    release.binary.restart();
    assert_eq!((release.phase().as_str(), release.share()), ("rolled-back", 0.0));
}
