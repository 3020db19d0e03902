//! Tickets resume, and resume nothing that they were not given for.

use crate::authority::Authority;
use crate::client::Client;
use crate::handshakes::proxy;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use ringway::control::ReloadResult;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

#[test]
fn sessions_resume_also_on_other_workers_and_after_a_new_certificate() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    for versions in VERSIONS {
        let client = Client::with(&authority, "a.example", None, versions);
        assert!(!client.resumes(proxy.address()), "there is no ticket yet");
        for _ in 0..10 {
            assert!(client.resumes(proxy.address()));
        }
        let renewed = authority.issue(&["a.example"]);
        std::fs::write(proxy.file("0.crt"), &renewed.certificate).unwrap();
        std::fs::write(proxy.file("0.key"), &renewed.key).unwrap();
        // the watch may have been faster
        assert!(!matches!(proxy.running.reload().unwrap(), ReloadResult::Rejected(_)));
        assert!(client.resumes(proxy.address()), "what was agreed upon does not depend on the certificate");
        let fresh = Client::with(&authority, "a.example", None, versions).connect(proxy.address()).unwrap();
        assert_eq!(fresh.certificate(), renewed.chain()[0]);
    }
}

#[test]
fn a_ticket_is_for_one_name() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"]), &authority.issue(&["b.example"])], "", &[]);
    let client = Client::new(&authority, "a.example");
    assert!(!client.resumes(proxy.address()));
    let other = Client { name: "b.example".to_owned(), ..client.clone() };
    assert!(!other.resumes(proxy.address()));
    assert!(client.resumes(proxy.address()));
}

/// Two listeners: one asks for nothing, one for a certificate of a client.
fn open_and_closed(upstream: &Recording, authority: &Authority, clients: &Authority, closed: &str) -> Proxy {
    let issued = authority.issue(&["a.example"]);
    let files =
        vec![("a.crt", issued.certificate.clone()), ("a.key", issued.key.clone()), ("clients.pem", clients.pem())];
    let setup = Setup { upstreams: vec![("stable", upstream.address)], files, workers: 1 };
    let certificates = "certificates: [{ certFile: a.crt, keyFile: a.key }]";
    let yaml = format!(
        "listeners:\n  - {{ address: 127.0.0.1:0, tls: {{ {certificates} }} }}\n  \
         - {{ address: \"[::1]:0\", tls: {{ {certificates}, clientCaFile: clients.pem{closed} }} }}\n\
         services: {{ shop: {{ variants: {{ stable: {{ endpoints: [$stable] }} }} }} }}\n"
    );
    Proxy::set_up(&yaml, &setup)
}

#[test]
fn a_ticket_of_an_open_listener_does_not_open_one_that_asks_for_a_certificate() {
    let (upstream, authority, clients) = (Recording::text("hello"), Authority::new("test"), Authority::new("clients"));
    let proxy = open_and_closed(&upstream, &authority, &clients, "");
    let (open, closed) = (proxy.running.listeners[0].1, proxy.running.listeners[1].1);
    for versions in VERSIONS {
        let client = Client::with(&authority, "a.example", None, versions);
        assert!(!client.resumes(open));
        assert!(client.resumes(open));
        let refused = client.try_get(closed, "a.example").err().unwrap();
        assert!(refused.contains("CertificateRequired") || refused.contains("HandshakeFailure"), "{refused}");
    }
    // nor the other way round, and who has a certificate comes in
    let member = Client::with(&authority, "a.example", Some(&clients.issue(&["member"])), rustls::DEFAULT_VERSIONS);
    assert!(!member.resumes(closed));
    assert!(member.resumes(closed));
    assert!(!member.resumes(open));
}

#[test]
fn a_ticket_of_an_optional_listener_stays_without_a_certificate() {
    let (upstream, authority, clients) = (Recording::text("hello"), Authority::new("test"), Authority::new("clients"));
    let proxy = open_and_closed(&upstream, &authority, &clients, ", clientAuth: optional");
    let (open, optional) = (proxy.running.listeners[0].1, proxy.running.listeners[1].1);
    let client = Client::new(&authority, "a.example");
    assert!(!client.resumes(optional));
    assert!(client.resumes(optional));
    assert!(!client.resumes(open), "another policy is another full handshake");
}

#[test]
fn a_ticket_does_not_outlive_the_authority_that_it_was_earned_with() {
    let (upstream, authority, clients) = (Recording::text("hello"), Authority::new("test"), Authority::new("clients"));
    let proxy = open_and_closed(&upstream, &authority, &clients, "");
    let closed = proxy.running.listeners[1].1;
    for versions in VERSIONS {
        std::fs::write(proxy.file("clients.pem"), clients.pem()).unwrap();
        assert!(!matches!(proxy.running.reload().unwrap(), ReloadResult::Rejected(_)));
        let member = Client::with(&authority, "a.example", Some(&clients.issue(&["member"])), versions);
        assert!(!member.resumes(closed));
        assert!(member.resumes(closed));
        std::fs::write(proxy.file("clients.pem"), Authority::new("others").pem()).unwrap();
        assert!(!matches!(proxy.running.reload().unwrap(), ReloadResult::Rejected(_)));
        assert!(member.try_get(closed, "a.example").is_err(), "its authority is believed no longer");
    }
}

#[test]
fn nothing_is_said_before_the_handshake_has_ended() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let mut client = Client::with(&authority, "a.example", None, &[&TLS13]);
    client.config.enable_early_data = true;
    client.resumes(proxy.address());
    let mut connected = client.connect(proxy.address()).unwrap();
    assert_eq!(connected.kind(), HandshakeKind::Resumed);
    assert!(!connected.0.conn.is_early_data_accepted());
    assert_eq!(connected.get("a.example").status, 200);
}
