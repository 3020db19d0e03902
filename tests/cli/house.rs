use crate::support::Desk;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

#[test]
fn init_writes_a_file_that_is_valid_and_never_overwrites_one() {
    let desk = Desk::new();
    let done = desk.run(&["init"]).ended_with(0);
    assert!(done.stderr.contains("ringway check -c ringway.yaml"), "{}", done.stderr);
    assert!(desk.run(&["check", "--deny-warnings"]).ended_with(0).stdout.contains("1 test passed"));
    let schema = std::fs::read_to_string(desk.path("ringway.schema.json")).unwrap();
    assert_eq!(schema, desk.run(&["schema"]).ended_with(0).stdout);

    desk.write("ringway.yaml", "mine");
    assert!(desk.run(&["init"]).ended_with(1).stderr.contains("--force"));
    assert_eq!(std::fs::read_to_string(desk.path("ringway.yaml")).unwrap(), "mine");
    desk.run(&["init", "--force"]).ended_with(0);
    desk.run(&["check"]).ended_with(0);
    desk.run(&["init", "nowhere/ringway.yaml"]).ended_with(2);
}

#[test]
fn tokens_need_a_secret_and_a_time() {
    let desk = Desk::new();
    let token = |secret: &str, ttl: &str| {
        desk.run(&["token", "override", "--secret-file", secret, "--service", "shop", "--value", "never", "--ttl", ttl])
    };
    assert!(token("override.key", "30m").ended_with(0).stdout.starts_with("never;exp="));
    token("nowhere.key", "1h").ended_with(2);
    token("override.key", "0s").ended_with(2);
    token("override.key", "soon").ended_with(2);
    desk.run(&["token", "override", "--value", "maybe"]).ended_with(2);
}

#[test]
fn completions_and_manual_pages_cover_the_commands() {
    let desk = Desk::new();
    for shell in ["fish", "elvish"] {
        assert!(desk.run(&["completions", shell]).ended_with(0).stdout.contains("explain"), "{shell}");
    }
    desk.run(&["completions", "csh"]).ended_with(2);
    assert!(desk.run(&["man"]).ended_with(0).stdout.contains(".TH ringway"));
    desk.run(&["man", "pages"]).ended_with(0);
    for page in ["ringway.1", "ringway-check.1", "ringway-token-override.1", "ringway-top.1", "ringway-doctor.1"] {
        assert!(desk.path("pages").join(page).exists(), "{page}");
    }
    assert!(!desk.path("pages/ringway-__complete.1").exists());
}

#[test]
fn the_version_is_told() {
    let desk = Desk::new();
    let version = env!("CARGO_PKG_VERSION");
    assert!(desk.run(&["version"]).ended_with(0).stdout.starts_with(&format!("ringway {version} (")));
    assert_eq!(desk.run(&["--version"]).ended_with(0).stdout, format!("ringway {version}\n"));
    assert_eq!(desk.run(&["version", "-o", "json"]).ended_with(0).json()["version"], version);
}

#[test]
fn a_command_that_is_not_there_is_answered_with_the_one_that_was_meant() {
    let desk = Desk::new();
    assert!(desk.run(&["chek"]).ended_with(2).stderr.contains("check"));
    desk.run(&[]).ended_with(2);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("ringway"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn healthcheck_tells_ready_unready_and_gone_apart() {
    let desk = Desk::new();
    for (answer, code) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 1),
        ("SSH-2.0-nonsense\r\n", 3),
    ] {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = door.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = door.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        desk.run(&["healthcheck", "--address", &address]).ended_with(code);
        assert!(serving.join().unwrap().starts_with("GET /readyz?verbose HTTP/1.1\r\n"));
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    desk.run(&["healthcheck", "--address", &gone, "--live"]).ended_with(3);
}
