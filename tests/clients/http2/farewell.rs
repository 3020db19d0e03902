//! How a connection ends (RFC 9113 §6.8): nothing is lost of what was taken, and who was not heard learns it.

use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::raw::{Raw, eventually};
use crate::support::recording::{Gate, Recording};
use crate::support::server::Proxy;

/// `GET http://shop/`.
const GET: &[u8] = b"\x82\x86\x84\x01\x04shop";
/// The last stream of a goodbye that leaves it open.
const ALL: u32 = i32::MAX as u32;

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

fn number(frame: &Frame, at: usize) -> u32 {
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

/// The last stream and the reason of the next GOAWAY.
fn goodbye(client: &mut Frames) -> (u32, u32) {
    let told = until(client, |frame| frame.kind == GOAWAY);
    (number(&told, 0), number(&told, 4))
}

/// The payload of the next PING, which is not answered.
fn ping(client: &mut Frames) -> Vec<u8> {
    until(client, |frame| frame.kind == PING && frame.flags & ACK == 0).payload
}

fn until(client: &mut Frames, is_it: impl Fn(&Frame) -> bool) -> Frame {
    loop {
        let frame = client.next().expect("a frame");
        if is_it(&frame) {
            return frame;
        }
    }
}

fn is_end_of(stream: u32) -> impl Fn(&Frame) -> bool {
    move |frame| frame.stream == stream && frame.kind == DATA && frame.flags & END_STREAM != 0
}

fn pong(payload: &[u8]) -> Vec<u8> {
    frame(PING, ACK, 0, payload)
}

/// A client on a slow way reads an answer long after the last of it was handed to the system here, and opens its windows
/// meanwhile. When nobody reads what it sends, the system resets the connection, and the rest of the answer is gone.
#[test]
fn the_end_of_an_answer_outlives_its_connection() {
    const SIZE: usize = 1 << 20;
    let big: &'static str = Box::leak("x".repeat(SIZE).into_boxed_str());
    let upstream = Recording::text(big);
    let proxy = Proxy::before_with(&upstream, "limits: { maxRequestsPerConnection: 1 }");
    let mut client = Frames::of(Raw::connect_with_small_window(proxy.address()));
    client.send(PREFACE);
    client.send(frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).send(frame(
        WINDOW_UPDATE,
        0,
        0,
        &[0x7f, 0, 0, 0],
    ));
    client.send(get(1));
    let payload = ping(&mut client);
    client.send(pong(&payload));
    let mut came = 0;
    let mut told = None;
    while let Some(frame) = client.next() {
        match frame.kind {
            DATA => {
                came += frame.payload.len();
                client.send(self::frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
            }
            GOAWAY => told = Some(number(&frame, 0)),
            _ => {}
        }
    }
    assert_eq!((came, told), (SIZE, Some(1)));
}

/// The time of a silent connection is up in the moment in which its client asks again.
#[test]
fn a_silent_client_is_told_before_its_connection_is_closed() {
    let upstream = Recording::text("hello");
    let proxy = Proxy::before_with(&upstream, "timeouts: { keepAlive: 200ms }");
    let mut client = Frames::connect(proxy.address());
    client.send(get(1));
    until(&mut client, is_end_of(1));
    assert_eq!(goodbye(&mut client), (ALL, 0));
    let payload = ping(&mut client);
    // this one was on its way
    client.send(get(3));
    until(&mut client, is_end_of(3));
    client.send(pong(&payload));
    assert_eq!(goodbye(&mut client), (3, 0));
    assert!(client.next().is_none() && client.is_closed());
    // one that does not answer is not waited for
    let mut mute = Frames::connect(proxy.address());
    mute.send(get(1));
    assert_eq!(goodbye(&mut mute), (ALL, 0));
    while mute.next().is_some() {}
    assert!(mute.is_closed());
}

/// A draining process takes what comes until its client has heard, answers it, and not what comes after.
#[test]
fn a_drain_answers_all_that_it_names() {
    let gate = Gate::new();
    let shut = gate.clone();
    let upstream = Recording::start(move |exchange| {
        shut.pass();
        exchange.ok("hello");
    });
    let proxy = Proxy::before(&upstream);
    let mut client = Frames::connect(proxy.address());
    client.send([get(1), get(3)].concat());
    eventually("two requests", || upstream.count() == 2);
    proxy.running.drain();
    assert_eq!(goodbye(&mut client), (ALL, 0));
    let payload = ping(&mut client);
    client.send(get(5)).send(pong(&payload));
    assert_eq!(goodbye(&mut client), (5, 0));
    client.send(get(7));
    gate.open();
    let mut ended = Vec::new();
    while let Some(frame) = client.next() {
        if frame.kind == DATA && frame.flags & END_STREAM != 0 {
            ended.push(frame.stream);
        }
    }
    ended.sort_unstable();
    assert!(client.is_closed());
    assert_eq!((ended, upstream.count()), (vec![1, 3, 5], 3));
}
