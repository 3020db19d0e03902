//! Certificates that change, and ones that must not be taken.

use crate::authority::{Authority, Issued};
use crate::client::Client;
use crate::handshakes::proxy;
use crate::support::recording::Recording;
use crate::support::server::Proxy;
use ringway::control::ReloadResult;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

fn put(proxy: &Proxy, issued: &Issued) {
    std::fs::write(proxy.file("0.key"), &issued.key).unwrap();
    std::fs::write(proxy.file("0.crt"), &issued.certificate).unwrap();
}

/// What a reload is refused for.
fn refused(proxy: &Proxy) -> String {
    match proxy.running.reload().unwrap() {
        ReloadResult::Rejected(rejected) => rejected.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_served_is_refused_by_name_and_the_last_good_stays() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let good = authority.issue(&["a.example"]);
    let proxy = proxy(&upstream, &[&good], "", &[]);
    let expired = authority.issue_with(&["a.example"], 2, (2020, 2021));
    let early = authority.issue_with(&["a.example"], 2, (2038, 2039));
    let other = authority.issue(&["a.example"]);
    let mismatched = Issued { key: other.key.clone(), ..authority.issue(&["a.example"]) };
    let swapped = Issued { key: good.certificate.clone(), ..authority.issue(&["a.example"]) };
    let text = Issued { certificate: "hello".to_owned(), ..authority.issue(&["a.example"]) };
    for (wrong, file, word) in [
        (&expired, "0.crt", "expired at 2021"),
        (&early, "0.crt", "not valid before 2038"),
        (&mismatched, "0.key", "not the key of the certificate"),
        (&swapped, "0.key", "has no private key"),
        (&text, "0.crt", "has no certificate"),
    ] {
        put(&proxy, wrong);
        let message = refused(&proxy);
        assert!(message.contains(file) && message.contains(word) && message.contains("RW0601"), "{message}");
        let connected = Client::new(&authority, "a.example").connect(proxy.address()).unwrap();
        assert_eq!(connected.certificate(), good.chain()[0], "{word}");
    }
    put(&proxy, &good);
    std::fs::set_permissions(proxy.file("0.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&proxy).contains("0.key is a secret but has mode 0644"));
    std::fs::remove_file(proxy.file("0.key")).unwrap();
    assert!(refused(&proxy).contains("0.key does not exist"));
    assert_eq!(Client::new(&authority, "a.example").get(proxy.address(), "a.example").status, 200);
    assert_eq!(proxy.metrics().sum("ringway_config_last_reload_successful", &[]), 0.0);
}

#[test]
fn certificates_change_under_load_and_nobody_notices() {
    let upstream = Recording::text("hello");
    let authority = Arc::new(Authority::new("test"));
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let address = proxy.address();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (stop, answered, authority) = (stop.clone(), answered.clone(), authority.clone());
            std::thread::spawn(move || {
                let client = Client::new(&authority, "a.example");
                let mut kept = client.connect(address).unwrap();
                while !stop.load(SeqCst) {
                    // one half keeps its connection, the other opens new ones
                    let answer = if number % 2 == 0 { kept.get("a.example") } else { client.get(address, "a.example") };
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut reloads = 0;
    while reloads < 30 || answered.load(SeqCst) < 300 {
        let renewed = authority.issue(&["a.example"]);
        put(&proxy, &renewed);
        assert!(!matches!(proxy.running.reload().unwrap(), ReloadResult::Rejected(_)));
        let fresh = Client::new(&authority, "a.example").connect(address).unwrap();
        assert_eq!(fresh.certificate(), renewed.chain()[0]);
        reloads += 1;
    }
    stop.store(true, SeqCst);
    for thread in threads {
        thread.join().expect("no request failed");
    }
    assert_eq!(proxy.metrics().sum("ringway_unrouted_requests_total", &[]), 0.0);
}
