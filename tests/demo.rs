//! `ringway demo` as people run it: the whole program, its output, and the file that they edit.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A demo in a directory of its own, and the lines that it has written.
struct Demo {
    dir: TempDir,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// Demos that are judged run one after the other: each has latencies, and their machine may be small.
static ALONE: Mutex<()> = Mutex::new(());

/// For what takes as long as the machine is slow.
const PATIENCE: Duration = Duration::from_secs(15);

impl Demo {
    fn start() -> Demo {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let mut child = ringway(&dir, &["demo", "--port", "0", "--for", "180s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        Demo { dir, child, lines, said: Vec::new(), _alone: alone }
    }

    /// Waits for a line that comes from now on.
    fn line(&mut self, what: &str, within: Duration, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{what} did not come within {within:?} after:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ringway-demo/ringway.yaml")
    }

    fn edit(&self, pairs: &[(&str, &str)]) {
        let mut text = fs::read_to_string(self.file()).unwrap();
        for (old, new) in pairs {
            assert!(text.contains(old), "{old} does not stand in the file");
            text = text.replacen(old, new, 1);
        }
        fs::write(self.file(), text).unwrap();
    }

    /// Ends it as Ctrl-C does: the exit code, how long it took, and the last words.
    fn interrupt(mut self) -> (Option<i32>, Duration, String) {
        let began = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, began.elapsed(), self.lines.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // it has ended already, unless a test failed
        let _ = self.child.kill();
    }
}

fn ringway(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("ringway"));
    command.current_dir(dir.path()).args(args);
    command
}

fn run(dir: &TempDir, args: &[&str]) -> Output {
    ringway(dir, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The share in a line such as `12s 300 requests/s, 0 dropped; beta canary 50.2 %, everyone canary 5.1 %`.
fn share(line: &str, of: &str) -> Option<f64> {
    let (_, rest) = line.split_once(&format!("{of} "))?;
    rest.split_once(" %")?.0.parse().ok()
}

#[test]
fn an_edit_moves_users_and_a_broken_one_moves_nobody() {
    let mut demo = Demo::start();
    let url = demo.line("the address", PATIENCE, |line| line.starts_with("  open"));
    demo.line("the first ring", PATIENCE, |line| line == "  release-v42: staff 100 %");
    demo.line("its traffic", PATIENCE, |line| share(line, "staff canary") == Some(100.0));
    let answer = ask(&url, "x-employee: 1");
    assert!(answer.contains("x-ringway-variant: canary") && answer.contains("\"version\": \"v42\""), "{answer}");

    demo.edit(&[("weight: 100,", "weight: 50,"), ("weight: 0,", "weight: 50,")]);
    let seconds = Duration::from_secs(3);
    demo.line("the edit", seconds, |line| line.starts_with("✔ edit in force"));
    demo.line("the weights", seconds, |line| line == "  everyone: canary 0 % → 50 %, stable 100 % → 50 %");
    demo.line("who moves", seconds, |line| line.contains(" users move, all others stay:"));
    demo.line("their arrival", PATIENCE, |line| {
        line.starts_with("  seen: ") && line.ends_with(" at their new place, nobody else moved, 0 requests dropped")
    });
    demo.line("the shares", PATIENCE, |line| share(line, "everyone canary").is_some_and(|share| share > 35.0));
    assert!(demo.said.iter().any(|line| line.starts_with("• release-v42: superseded")), "{}", demo.said.join("\n"));

    demo.edit(&[("to: canary", "to: kanary")]);
    demo.line("the refusal", seconds, |line| line == "✘ edit refused, nothing changed");
    let problem = demo.line("the problem", seconds, |line| line.contains("ringway.yaml:"));
    assert!(problem.contains(": RW") && problem.contains("`kanary`"), "{problem}");
    let line = demo.line("the next second", PATIENCE, |line| share(line, "everyone canary").is_some());
    assert!(share(&line, "everyone canary") > Some(35.0) && share(&line, "beta canary") > Some(30.0), "{line}");

    let (code, took, summary) = demo.interrupt();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(summary.contains(" 0 dropped\nreleases: 0 out, 0 taken back; edits: 1 taken, 1 refused\n"), "{summary}");
}

/// All of what Ringway is for, without a hand on it.
#[test]
fn a_good_release_reaches_everyone_and_a_bad_one_is_taken_back_from_the_ring_that_it_hurts() {
    let mut demo = Demo::start();
    let while_it_lasts = Duration::from_secs(90);
    for ring in ["staff", "beta", "asia", "everyone"] {
        let line = format!("  release-v42: {ring} 100 %");
        demo.line(ring, while_it_lasts, |said| said == line);
    }
    demo.line("the end", PATIENCE, |line| line.starts_with("✔ release-v42 is out to everyone after "));

    demo.line("the next", while_it_lasts, |line| line == "  release-v43: beta 100 %");
    let why = demo.line("the way back", while_it_lasts, |line| line.starts_with('✘'));
    let percent = why.strip_prefix("✘ rolled back shop/asia ").and_then(|rest| rest.split_once(" % → 0 %: errors "));
    let ring: f64 = percent.and_then(|(share, _)| share.parse().ok()).unwrap_or_else(|| panic!("{why}"));
    assert!((25.0..=100.0).contains(&ring) && why.contains(" against stable ") && why.contains(" of 20"), "{why}");
    // the other rings keep it, and users of the one that was hurt are served by stable
    demo.line("who has it now", PATIENCE, |line| {
        share(line, "staff canary") == Some(100.0)
            && share(line, "beta canary") == Some(100.0)
            && share(line, "asia canary").is_none()
    });

    let audit = run(&demo.dir, &["audit", "verify", "ringway-demo/state/audit.jsonl"]);
    assert!(audit.status.success(), "{audit:?}");
    let (_, _, summary) = demo.interrupt();
    assert!(summary.contains(" 0 dropped\nreleases: 1 out, 1 taken back; edits: 0 taken, 0 refused\n"), "{summary}");
}

#[test]
fn it_ends_by_itself_and_says_which_port_stood_in_for_a_taken_one() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&dir, &["demo", "--for", "2s", "--port", &port, "--rate", "50"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains(&format!("port {port} is taken, so the listener is on port ")), "{said}");
    assert!(said.contains(" 0 dropped\nreleases: 0 out, 0 taken back; edits: 0 taken, 0 refused\n"), "{said}");
    assert!(!said.contains('\x1b'), "no terminal, no escape sequences: {said:?}");

    // the same again, once the file is the user's own
    let file = dir.path().join("ringway-demo/ringway.yaml");
    let edited = fs::read_to_string(&file).unwrap().replace("weight: 100,", "weight: 94,");
    let listener = edited.split_once("address: ").unwrap().1.lines().next().unwrap().to_owned();
    fs::write(&file, &edited).unwrap();
    let taken = TcpListener::bind(&listener).unwrap();
    let output = run(&dir, &["demo", "--for", "2s"]);
    drop(taken);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains(&format!("cannot listen on {listener}")) && said.contains("or use another --dir"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), edited, "the file stays");
}

#[test]
fn rubbish_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a-file"), "").unwrap();
    fs::create_dir(dir.path().join("broken")).unwrap();
    fs::write(dir.path().join("broken/ringway.yaml"), "services: [").unwrap();
    for (args, message) in [
        (["--for", "soon"], "30s"),
        (["--rate", "0"], "1..=2000"),
        (["--rate", "many"], "--rate"),
        (["--port", "70000"], "65535"),
        (["--dir", "a-file"], "cannot write a-file"),
        (["--dir", "broken"], "broken/ringway.yaml:1"),
        (["--color", "red"], "unexpected argument"),
    ] {
        let output = run(&dir, &["demo", args[0], args[1]]);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = ringway(&dir, &["demo", "--port", "0", "--for", "60s"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Needs `script` (Debian's bsdutils), which lends a terminal.
#[test]
fn a_terminal_gets_a_picture_and_its_cursor_back() {
    let dir = tempfile::tempdir().unwrap();
    let program = assert_cmd::cargo::cargo_bin("ringway");
    let line = format!("{} demo --port 0 --for 3s", program.display());
    let terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(dir.path())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = terminal else {
        assert!(std::env::var_os("RINGWAY_REQUIRE_TOOLS").is_none(), "`script` is missing");
        eprintln!("skipped: `script` is missing");
        return;
    };
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with("\x1b[?25l") && said.ends_with("\x1b[?25h"), "{said:?}");
    let goes_up = said
        .split("\r\x1b[")
        .skip(1)
        .any(|rest| rest.split_once('A').is_some_and(|(n, _)| n.parse::<u16>().is_ok_and(|rows| rows > 9)));
    assert!(said.contains("COHORT") && goes_up, "the picture is drawn again in its place: {said:?}");
    assert!(!said.contains("\x1b[3") && !said.contains("\x1b[1m"), "NO_COLOR: {said:?}");
}

/// The answer to a request of one user, at the address of a line such as `  open  http://127.0.0.1:8080/`.
fn ask(line: &str, header: &str) -> String {
    let address = line.split_once("http://").unwrap().1.trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\n{header}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
