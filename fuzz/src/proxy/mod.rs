//! The whole proxy: arbitrary bytes of a client, arbitrary bytes of a service, and what must come of them.

mod answers;
mod house;
mod judge;
#[path = "../../../tests/clients/framing/oracle.rs"]
#[allow(dead_code, clippy::panic, clippy::unwrap_used)]
mod oracle;
mod script;
mod service;

use script::Script;

/// A client and a service that speak HTTP/1.1 or something like it.
///
/// Nothing panics, hangs or stays open; the service is sent requests to the letter of RFC 9112, and those that the
/// client has sent; the client is sent answers to the letter, at most one for each request, and that one's; and no
/// connection is used again after a doubt.
pub fn http1(data: &[u8]) {
    let script = Script::of_http1(data);
    let observed = house::run(script.clone());
    // who begins like that speaks HTTP/2, and all that is said here of answers is about HTTP/1.1
    let is_http2 = script.sent().starts_with(b"PRI * HTTP/2.0\r\n");
    let judged = if is_http2 { judge::forwarded_well(&observed) } else { judge::judge(&script, &observed) };
    if let Err(why) = judged {
        panic!("{why}\nsaid: {}\nsent: {}", data.escape_ascii(), observed.client.escape_ascii());
    }
}

/// A client that speaks HTTP/2 or something like it, and a service that speaks HTTP/1.1: nothing panics, hangs or stays
/// open, and the service is sent requests to the letter.
pub fn http2(data: &[u8]) {
    let script = Script::of_http2(data);
    let observed = house::run(script.clone());
    if let Err(why) = judge::forwarded_well(&observed) {
        panic!("{why}\nsaid: {}\nsent: {}", data.escape_ascii(), observed.client.escape_ascii());
    }
}
