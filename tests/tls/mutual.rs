//! Clients that must, or may, prove who they are.

use crate::authority::{Authority, Issued};
use crate::client::Client;
use crate::handshakes::proxy;
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use rustls::version::{TLS12, TLS13};

struct World {
    authority: Authority,
    clients: Authority,
    strangers: Authority,
    _upstream: Recording,
    proxy: Proxy,
}

fn world(more: &str, revoked: &[u8]) -> World {
    let (authority, clients, strangers) = (Authority::new("test"), Authority::new("clients"), Authority::new("x"));
    let upstream = Recording::text("hello");
    let files = [("clients.pem", clients.pem()), ("revoked.pem", clients.revoke(revoked))];
    let tls = format!(", clientCaFile: clients.pem{more}");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], &tls, &files);
    World { authority, clients, strangers, _upstream: upstream, proxy }
}

impl World {
    /// The status that a client with this certificate gets with each version; 0 for no connection.
    fn statuses(&self, certificate: Option<&Issued>) -> [u16; 2] {
        [&TLS12, &TLS13].map(|version| {
            let client = Client::with(&self.authority, "a.example", certificate, &[version]);
            client.try_get(self.proxy.address(), "a.example").map_or(0, |(answer, _)| answer.status)
        })
    }
}

#[test]
fn required_means_that_nobody_comes_in_without() {
    let world = world("", &[]);
    assert_eq!(world.statuses(Some(&world.clients.issue(&["member"]))), [200, 200]);
    assert_eq!(world.statuses(None), [0, 0]);
    assert_eq!(world.statuses(Some(&world.strangers.issue(&["member"]))), [0, 0]);
    assert_eq!(world.statuses(Some(&world.clients.issue_with(&["member"], 1, (2020, 2021)))), [0, 0], "expired");
    assert_eq!(world.statuses(Some(&world.clients.issue_with(&["member"], 1, (2038, 2039)))), [0, 0], "not yet");
    assert_eq!(world.statuses(Some(&world.authority.issue(&["a.example"]))), [0, 0], "the wrong authority");
}

#[test]
fn optional_means_that_a_wrong_one_is_still_wrong() {
    let world = world(", clientAuth: optional", &[]);
    assert_eq!(world.statuses(Some(&world.clients.issue(&["member"]))), [200, 200]);
    assert_eq!(world.statuses(None), [200, 200]);
    assert_eq!(world.statuses(Some(&world.strangers.issue(&["member"]))), [0, 0]);
}

#[test]
fn a_revoked_one_is_refused_also_when_it_is_revoked_later() {
    let world = world(", crlFile: revoked.pem", &[7]);
    let (member, gone) =
        (world.clients.issue_with(&["m"], 6, (2020, 2040)), world.clients.issue_with(&["g"], 7, (2020, 2040)));
    assert_eq!(world.statuses(Some(&member)), [200, 200]);
    assert_eq!(world.statuses(Some(&gone)), [0, 0]);

    let client = Client::with(&world.authority, "a.example", Some(&member), rustls::DEFAULT_VERSIONS);
    assert!(!client.resumes(world.proxy.address()));
    assert!(client.resumes(world.proxy.address()));
    std::fs::write(world.proxy.file("revoked.pem"), world.clients.revoke(&[6, 7])).unwrap();
    world.proxy.running.reload().unwrap();
    assert!(client.try_get(world.proxy.address(), "a.example").is_err(), "a ticket does not outlive the revocation");
    assert_eq!(world.statuses(Some(&member)), [0, 0]);
}
