//! Clients that others wrote. A tool that is not there is skipped, loudly; `tests/run.sh` installs them.

use crate::example::{Edge, SHOP};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program, or why the test is skipped. With `RINGWAY_REQUIRE_TOOLS` nothing may be.
fn tool(program: &str, args: &[&str]) -> Option<Command> {
    let found = Command::new(program).args(args).stdin(Stdio::null()).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(program));
    }
    eprintln!("SKIPPED: `{program} {}` does not run; tests/run.sh installs it", args.join(" "));
    assert!(std::env::var_os("RINGWAY_REQUIRE_TOOLS").is_none(), "{program} is required");
    None
}

/// Where `tests/run.sh` puts clients that are libraries.
fn clients() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("clients")
}

/// Python with this package, of `target/clients/venv` or else the system's.
fn python(package: &str) -> Option<Command> {
    let own = clients().join("venv/bin/python");
    let program = if own.exists() { own.to_str().unwrap().to_owned() } else { "python3".to_owned() };
    let mut python = tool(&program, &["-c", &format!("import {package}")])?;
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    Some(python)
}

fn output(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// Without the limit of rates, which these clients would meet.
fn edge() -> Edge {
    Edge::start_with(|text| text.replace("requests: 200, per: 1s, burst: 400", "requests: 1000000, per: 1s"))
}

fn authority(edge: &Edge) -> String {
    edge.folder.dir.path().join("certs/authority.crt").to_str().unwrap().to_owned()
}

#[test]
fn curl_speaks_both_protocols() {
    if tool("curl", &["--version"]).is_none() {
        return;
    }
    let edge = edge();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", option, "--cacert", &authority(&edge)]);
        curl.args(["--connect-to", &format!("::{}", edge.tls), "-w", "\n%{http_version} %{response_code}"]);
        curl.args(["-H", "cookie: uid=u-1842", &format!("https://{SHOP}:8443/cart")]);
        let (_, text) = output(&mut curl);
        assert!(text.ends_with(&format!(" /cart\n{version} 200")), "{text}");
    }
}

#[test]
fn h2load_loses_no_request() {
    if tool("h2load", &["--version"]).is_none() {
        return;
    }
    let edge = edge();
    let mut h2load = Command::new("h2load");
    h2load.args(["-n", "10000", "-c", "8", "-m", "16", "--connect-to", &edge.tls.to_string()]);
    h2load.args(["-H", "cookie: uid=u-1842", &format!("https://{SHOP}:8443/cart")]);
    let (_, text) = output(&mut h2load);
    assert!(text.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert!(text.contains("status codes: 10000 2xx"), "{text}");
}

#[test]
fn sslyze_finds_what_mozilla_recommends() {
    let Some(mut sslyze) = python("sslyze") else { return };
    let edge = edge();
    sslyze.args(["-m", "sslyze", "--mozilla_config=intermediate", &format!("--sni={SHOP}")]);
    let (_, text) = output(sslyze.args(["--certinfo_ca_file", &authority(&edge), &edge.tls.to_string()]));
    let verdict = text.split("COMPLIANCE AGAINST").nth(1).unwrap_or_else(|| panic!("{text}"));
    println!("{verdict}");
    let complaints = verdict.lines().filter(|line| line.trim_start().starts_with("* "));
    // the authority of the test is nobody's, and its certificates last longer than Mozilla wants
    let is_known = |line: &&str| {
        ["certificate_path_validation", "maximum_certificate_lifespan"].iter().any(|known| line.contains(known))
    };
    let others: Vec<&str> = complaints.filter(|line| !is_known(line)).collect();
    assert!(others.is_empty(), "{verdict}");
}

/// Row D28, as far as no library would send it.
#[test]
fn hellos_that_are_none_are_refused_at_once() {
    let Some(mut python) = python("sys") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/tls_hello.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.contains("1986 hellos"), "{text}");
}

#[test]
fn who_breaks_the_rules_of_tls_sends_no_request() {
    let Some(mut python) = python("tlslite") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/tls_talk.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.contains(" ways to break the rules"), "{text}");
}

/// Row D18 with loads that others wrote.
#[test]
fn edits_and_upgrades_under_h2load_and_wrk_lose_no_request() {
    let has = |program: &str| tool("sh", &["-c", &format!("command -v {program}")]).is_some();
    if !has("h2load") || !has("wrk") {
        return;
    }
    let Some(mut python) = python("sys") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/load_talk.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.matches("0 failed").count() == 2, "{text}");
    println!("{text}");
}

#[test]
fn grpcio_talks_to_grpcio() {
    let Some(mut python) = python("grpc") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/grpc_talk.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.contains("5 ways of talking"), "{text}");
}

#[test]
fn websockets_of_python_talk_through() {
    let Some(mut python) = python("websockets") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/websocket_talk.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.contains("200 messages"), "{text}");
}

#[test]
fn the_sdk_of_openfeature_asks_for_flags() {
    let Some(mut python) = python("openfeature.contrib.provider.ofrep") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/flags_talk.py");
    let (done, text) = output(python.arg(script).arg(env!("CARGO_BIN_EXE_ringway")));
    assert!(done.status.success() && text.contains("4 ways of asking"), "{text}");
}

#[test]
fn the_sdk_of_openfeature_for_node_asks_for_flags() {
    let packages = clients().join("npm");
    let import =
        format!("require('node:module').createRequire('{}/')('@openfeature/ofrep-provider')", packages.display());
    if tool("python3", &["--version"]).is_none() || tool("node", &["-e", &import]).is_none() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge/flags_node.py");
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg(env!("CARGO_BIN_EXE_ringway")).arg(packages);
    let (done, text) = output(&mut python);
    assert!(done.status.success() && text.contains("4 ways of asking"), "{text}");
}
