//! Sockets that go over a pair of sockets.

#![cfg(test)]

use super::take::Inheritance;
use super::wire::Wire;
use super::*;
use serde_json::json;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

const SHORT: Duration = Duration::from_millis(50);

fn pair() -> (Wire, UnixStream) {
    let (old, new) = UnixStream::pair().unwrap();
    (Wire::new(old, PATIENCE).unwrap(), new)
}

#[test]
fn sockets_arrive_with_their_purpose_and_their_queue() {
    let sockets: Vec<TcpListener> = (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let waiting = std::net::TcpStream::connect(sockets[149].local_addr().unwrap()).unwrap();
    let (mut old, new) = pair();
    let taking = thread::spawn(move || Inheritance::ask(new).unwrap_or_else(|problem| panic!("{problem}")));
    assert_eq!(old.hear().unwrap()["schema"], SCHEMA);
    let word = |n| json!({ "kind": "listener", "address": format!("127.0.0.1:{n}") });
    let list: Vec<_> = (0..150).map(|n| word(if n == 149 { 80 } else { 81 })).collect();
    old.say(&json!({ "schema": SCHEMA, "pid": 7, "sockets": list })).unwrap();
    let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    old.send_descriptors(&descriptors).unwrap();
    let mut inheritance = taking.join().unwrap();
    drop(sockets);
    let listeners = inheritance.listeners();
    assert_eq!(inheritance.from, 7);
    assert_eq!(listeners.values().map(Vec::len).collect::<Vec<_>>(), [1, 149]);
    let (_, peer) = listeners[&"127.0.0.1:80".parse().unwrap()][0].accept().unwrap();
    assert_eq!(peer, waiting.local_addr().unwrap());
    let begun = thread::spawn(move || {
        inheritance.begin().map_err(|problem| problem.to_string())?.finish().map_err(|problem| problem.to_string())
    });
    old.expect_word("ready").unwrap();
    old.say(&json!("go")).unwrap();
    old.expect_word("serving").unwrap();
    old.say(&json!("done")).unwrap();
    assert_eq!(begun.join().unwrap(), Ok(()));
}

#[test]
fn whatever_else_is_said_is_a_problem() {
    let offers = [
        json!(1),
        json!({ "schema": "ringway.upgrade/v9" }),
        json!({ "schema": SCHEMA }),
        json!({ "schema": SCHEMA, "sockets": [{ "kind": "kettle", "address": "a" }] }),
        json!({ "schema": SCHEMA, "sockets": [{ "kind": "listener", "address": "a" }] }),
        json!({ "schema": SCHEMA, "sockets": [{ "kind": "admin", "address": "a" }] }),
    ];
    for offer in offers {
        let (mut old, new) = pair();
        let taking = thread::spawn(move || Inheritance::ask(new).err().map(|problem| problem.to_string()));
        old.hear().unwrap();
        old.say(&offer).unwrap();
        // no listening socket
        let _ = old.send_descriptors(&[std::io::stderr().as_fd()]);
        let problem = taking.join().unwrap();
        assert!(problem.as_ref().is_some_and(|text| text.contains("not understood")), "{offer}: {problem:?}");
    }
}

#[test]
fn silence_ends_in_time() {
    let (old, _new) = UnixStream::pair().unwrap();
    let mut old = Wire::new(old, SHORT).unwrap();
    assert!(matches!(old.hear(), Err(Problem::Silent(_))));
    let (old, new) = UnixStream::pair().unwrap();
    let mut old = Wire::new(old, PATIENCE).unwrap();
    drop(new);
    assert!(matches!(old.hear(), Err(Problem::Silent(_))));
}
