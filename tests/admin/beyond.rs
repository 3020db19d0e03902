//! The door beyond loopback: only with tokens, and within TLS or where the file allows plain text; and commands that come
//! from elsewhere.

use super::house::{Answer, House, Tokens, exchange};
use crate::support::raw::eventually;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

/// A certificate of its own making: PEM of it and of its key, and what a client trusts.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Made {
    fn new() -> Made {
        let names = vec!["ringway.example.com".to_owned(), "localhost".to_owned(), own_address().to_string()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        Made { certificate: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
    }

    /// In the place of the one that a house has.
    fn replace(&self, house: &House) {
        for (name, text) in [("door.crt", &self.certificate), ("door.key", &self.key)] {
            std::fs::write(house.proxy.file(name), text).unwrap();
        }
    }
}

/// An address of this machine that is not loopback, where it has one.
fn own_address() -> IpAddr {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // nothing is sent: it tells which address would be used
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    asked.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

fn elsewhere(house: &House) -> SocketAddr {
    (own_address(), house.door().port()).into()
}

fn with_certificate(made: &Made) -> House {
    let admin = "admin:\n  address: 0.0.0.0:0\n  tokensFile: tokens\n  tls: { certFile: door.crt, keyFile: door.key }\n  \
                 hosts: [ringway.example.com]\n";
    House::with_files(admin, &[("door.crt", &made.certificate), ("door.key", &made.key)])
}

fn by_tls(house: &House, made: &Made, line: &str, headers: &str, body: &str) -> Answer {
    let mut roots = RootCertStore::empty();
    roots.add(made.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("ringway.example.com").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = StreamOwned::new(connection, TcpStream::connect(elsewhere(house)).unwrap());
    exchange(stream, line, headers, body)
}

/// Runs a command as somebody elsewhere would; `config` is the file that it finds.
fn command(words: &[&str], config: &Path, token: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.args(words).env_remove("RINGWAY_TOKEN").env("RINGWAY_CONFIG", config).env("NO_COLOR", "1");
    if !token.is_empty() {
        command.env("RINGWAY_TOKEN", token);
    }
    command.output().unwrap()
}

#[test]
fn a_door_that_nobody_guards_is_a_start_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_, tokens) = Tokens::new();
    std::fs::write(dir.path().join("tokens"), tokens).unwrap();
    std::fs::set_permissions(dir.path().join("tokens"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = dir.path().join("ringway.yaml");
    for (admin, told) in [
        ("{ address: 0.0.0.0:0 }", "nothing tells who asks"),
        ("{ address: 0.0.0.0:0, plaintext: allow }", "nothing tells who asks"),
        ("{ address: 0.0.0.0:0, tokensFile: tokens }", "in plain text"),
        ("{ address: \"[::]:0\", tokensFile: tokens }", "in plain text"),
        ("{ address: \"unix:a.sock\", tls: { certFile: a, keyFile: b } }", "RW0960"),
    ] {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:0 }}]\ntelemetry: {{ address: 127.0.0.1:0 }}\nadmin: {admin}\n\
             services: {{ shop: {{ variants: {{ stable: {{ endpoints: [127.0.0.1:1] }} }} }} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        let run = command(&["run", "-c", path.to_str().unwrap()], &path, "");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && said.contains(told), "{admin}: {said}");
    }
}

#[test]
fn a_certificate_lets_other_machines_in_who_have_a_token() {
    let made = Made::new();
    let house = with_certificate(&made);
    let at = elsewhere(&house);
    let bearer = format!("authorization: Bearer {}\r\n", house.tokens.operator);
    for (expected, headers) in [
        (401, format!("host: {at}\r\n")),
        (200, format!("host: {at}\r\n{bearer}")),
        (200, format!("host: ringway.example.com:{}\r\n{bearer}", at.port())),
        // what a network in between makes of it is an address as well
        (200, format!("host: 203.0.113.7:30901\r\n{bearer}")),
        (421, format!("host: evil.example\r\n{bearer}")),
        (200, format!("host: {at}\r\norigin: https://{at}\r\n{bearer}")),
        (403, format!("host: {at}\r\norigin: http://{at}\r\n{bearer}")),
        (403, format!("host: {at}\r\norigin: https://evil.example\r\n{bearer}")),
    ] {
        let answer = by_tls(&house, &made, "GET /api/v1/status", &headers, "");
        assert_eq!(answer.status, expected, "{headers}{answer:?}");
    }
    let page = format!(
        "host: {at}\r\norigin: https://{at}\r\nsec-fetch-site: same-origin\r\ncontent-type: application/json\r\n"
    );
    let secret = format!("{{\"secret\":\"{}\"}}", house.tokens.operator);
    let signed = by_tls(&house, &made, "POST /api/v1/session", &page, &secret);
    assert_eq!(signed.status, 200, "{signed:?}");
    assert!(signed.header("set-cookie").unwrap().ends_with("; Secure"), "{signed:?}");
    // a change by the cookie and the header that proves the page
    let cookie = signed.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let proof = format!("{page}cookie: {cookie}\r\nx-ringway-csrf: {}\r\n", signed.json()["csrf"].as_str().unwrap());
    let paused = by_tls(&house, &made, "POST /api/v1/rollouts/shop/pause", &proof, "{}");
    assert_eq!((paused.status, house.phase()), (200, "paused"), "{paused:?}");

    // plain text tells nothing, and is told what to do
    let plain = exchange(TcpStream::connect(at).unwrap(), "GET /api/v1/status", &format!("host: {at}\r\n{bearer}"), "");
    assert_eq!(plain.status, 400);
    assert!(plain.body.contains("https"), "{plain:?}");
}

#[test]
fn commands_come_from_elsewhere_with_a_token_and_a_certificate_that_they_believe() {
    let made = Made::new();
    let house = with_certificate(&made);
    let ca = house.proxy.file("door.crt");
    let (ca, url) = (ca.to_str().unwrap(), format!("https://localhost:{}", house.door().port()));
    let none = house.proxy.file("none.yaml");
    let status = ["status", "--admin", &url, "--ca-file", ca, "-o", "json"];
    let answer = command(&status, &none, &house.tokens.viewer);
    assert!(answer.status.success(), "{answer:?}");
    let told: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(told["services"][0]["name"], "shop");

    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let stranger = command(&["status", "--admin", &url], &none, &house.tokens.viewer);
    assert_eq!(stranger.status.code(), Some(3), "{stranger:?}");
    assert!(said(&stranger).contains("--ca-file"), "{stranger:?}");
    let nobody = command(&status, &none, "");
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
    let viewer = command(&["rollback", "shop", "--admin", &url, "--ca-file", ca], &none, &house.tokens.viewer);
    assert_eq!(viewer.status.code(), Some(3), "{viewer:?}");
    let back = command(&["rollback", "shop", "--admin", &url, "--ca-file", ca], &none, &house.tokens.operator);
    assert!(back.status.success(), "{back:?}");
    assert_eq!(house.phase(), "rolled-back");
    let link = command(&["dashboard", "--admin", &url, "--ca-file", ca], &none, &house.tokens.viewer);
    let link = String::from_utf8_lossy(&link.stdout).into_owned();
    assert!(link.starts_with("https://ringway.example.com:"), "{link}");
}

#[test]
fn a_renewed_certificate_is_presented_without_a_restart() {
    let (first, second) = (Made::new(), Made::new());
    let house = with_certificate(&first);
    let headers = format!("host: localhost\r\nauthorization: Bearer {}\r\n", house.tokens.viewer);
    let status = |made: &Made| by_tls(&house, made, "GET /api/v1/status", &headers, "").status;
    assert_eq!((status(&first), status(&second)), (200, 0));
    second.replace(&house);
    house.proxy.running.reload();
    eventually("the new certificate", || status(&second) == 200);
    assert_eq!(status(&first), 0);
}

#[test]
fn plain_text_is_spoken_beyond_this_machine_only_where_the_file_allows_it() {
    let house = House::with_files("admin: { address: 0.0.0.0:0, tokensFile: tokens, plaintext: allow }\n", &[]);
    let at = elsewhere(&house);
    let ask = |headers: &str| exchange(TcpStream::connect(at).unwrap(), "GET /api/v1/status", headers, "").status;
    let token = format!("authorization: Bearer {}\r\n", house.tokens.viewer);
    assert_eq!(ask(&format!("host: {at}\r\n")), 401);
    assert_eq!(ask(&format!("host: {at}\r\n{token}")), 200);
    assert_eq!(ask(&format!("host: ringway.example.com\r\n{token}")), 421);
}
