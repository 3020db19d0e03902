//! A service that goes away in the middle: what it has not looked at goes out again (RFC 9113 §6.8, §8.7).

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use crate::client::{Answer, Client2};
use crate::story::{DOORS, PATIENCE, Story};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame: kind, flags, stream.
fn next(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
}

/// Answers what ends on the connection; after `until` requests have begun, it says that it has looked at the first one
/// alone, and answers that. Tells each stream that it got.
fn serve(mut stream: TcpStream, until: Option<usize>, tell: &mpsc::Sender<u32>) -> Option<()> {
    stream.read_exact(&mut [0; 24]).ok()?;
    stream.write_all(&frame(4, 0, 0, &[])).ok()?;
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    loop {
        let (kind, flags, number) = next(&mut stream)?;
        match kind {
            4 if flags == 0 => stream.write_all(&frame(4, 1, 0, &[])).ok()?,
            1 => {
                begun.push(number);
                let _ = tell.send(number);
            }
            _ => {}
        }
        if matches!(kind, 0 | 1) && flags & END_STREAM > 0 {
            ended.push(number);
        }
        let looked_at = match until {
            Some(until) if begun.len() == until && ended.contains(&begun[0]) => {
                stream.write_all(&frame(7, 0, 0, &[begun[0].to_be_bytes(), [0; 4]].concat())).ok()?;
                vec![begun[0]]
            }
            Some(_) => continue,
            None => std::mem::take(&mut ended),
        };
        for number in looked_at {
            // `:status: 200` of the static table
            stream.write_all(&frame(1, END_STREAM | END_HEADERS, number, &[0x88])).ok()?;
        }
        if until.is_some() {
            while next(&mut stream).is_some() {}
            return None;
        }
    }
}

/// The first connection goes away after so many requests, the others stay.
fn service(until: usize) -> (SocketAddr, mpsc::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let tell = tell.clone();
            std::thread::spawn(move || serve(stream, (number == 0).then_some(until), &tell));
        }
    });
    (address, told)
}

#[test]
fn streams_beyond_the_last_one_are_sent_again() {
    const REQUESTS: usize = 5;
    let (address, told) = service(REQUESTS);
    let story = Story::begin(&format!(
        "{DOORS}services: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"{address}\"], protocol: h2c }} }} }} }}\n"
    ));
    let mut client = Client2::connect(story.at());
    // not idempotent, with a body: safe all the same, as nobody has looked at it
    let post = |_| Request::post("http://shop/pay").body(Full::from(Bytes::from("ten bytes."))).unwrap();
    let answers = client.ask_all((0..REQUESTS).map(post).collect());
    assert!(answers.iter().all(Answer::is_ok), "{answers:?}");
    // one was answered on the first connection, and each of the others was seen on both
    let seen: Vec<u32> = (0..2 * REQUESTS - 1).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(told.try_recv().is_err(), "no more than that: {seen:?}");
    story.expect_metric("ringway_http_requests_total", &[("code", "200")], REQUESTS as f64);
    assert_eq!(story.metrics().sum("ringway_http_request_duration_seconds_count", &[("outcome", "error")]), 0.0);
    assert_eq!(story.metrics().sum("ringway_upstream_connections_total", &[]), 2.0);
}
