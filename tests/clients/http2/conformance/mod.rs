//! RFC 9113 and RFC 7541, section by section: what a client sends, frame by frame, and what must come of it. Written to
//! stand where h2spec stands, and stricter: a reason is checked, and what must survive an error is used again.

mod flow;
mod frames;
mod hpack;
mod messages;
mod ordinary;
mod settings;
mod streams;

use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, fields, frame,
};
use crate::support::raw::Raw;
use crate::support::recording::{Gate, Recording};
use crate::support::server::Proxy;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub const PRIORITY: u8 = 2;
pub const PUSH_PROMISE: u8 = 5;
pub const CONTINUATION: u8 = 9;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 0x20;
/// A request that is whole.
pub const WHOLE: u8 = END_STREAM | END_HEADERS;

/// RFC 9113 §7.
pub mod code {
    pub const NONE: u32 = 0;
    pub const PROTOCOL: u32 = 1;
    pub const FLOW_CONTROL: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE: u32 = 6;
    pub const REFUSED: u32 = 7;
    pub const COMPRESSION: u32 = 9;
    pub const CALM: u32 = 11;
}

/// `GET http://shop/`, as far as the static table has it (RFC 7541, appendix A).
pub const GET: &[u8] = b"\x82\x86\x84\x01\x04shop";
/// The same with POST.
pub const POST: &[u8] = b"\x83\x86\x84\x01\x04shop";
/// The same with HEAD, whose answer needs no window.
pub const HEAD: &[u8] = b"\x02\x04HEAD\x86\x84\x01\x04shop";
/// What the service answers to GET.
const HELLO: &str = "hello";
/// Bytes of its answer at `/big`.
pub const BIG: usize = 200_000;
/// How long anything may take. A connection that is ended must be closed by then.
const PATIENCE: Duration = Duration::from_secs(5);
/// The request that shows that a connection goes on.
const LAST: u32 = 1_000_001;

/// Something that a client does, and what must come of it.
pub struct Row {
    section: &'static str,
    what: &'static str,
    /// Instead of the preface and empty settings.
    opening: Option<Vec<u8>>,
    steps: Vec<Step>,
    expected: Expected,
    /// Why it is not what the RFC asks for.
    deviation: Option<&'static str>,
}

enum Step {
    Send(Vec<u8>),
    /// Waits for the end of an answer with 200.
    Answered(u32),
    /// Waits for so many bytes of a body, and makes sure that no more come.
    Data(u32, usize),
    /// Waits for a PING with these bytes to be answered.
    Pong([u8; 8]),
    /// Waits until so many settings are acknowledged.
    Acked(usize),
}

enum Expected {
    /// GOAWAY with one of these reasons, and the end.
    Connection(&'static [u32]),
    /// RST_STREAM with one of these reasons. The connection goes on.
    Stream(u32, &'static [u32]),
    /// The same, of a connection that has no room for another request.
    Refused(u32, &'static [u32]),
    /// Either, as the RFC leaves it open.
    Either(u32, &'static [u32]),
    /// A whole answer. The connection goes on.
    Status(u32, u16),
    /// As if it had not been sent: the next request is answered.
    Ignored,
    /// The connection goes on.
    Alive,
    /// The end, with or without a word.
    Closed,
}

/// A row that expects nothing special yet.
pub fn row(section: &'static str, what: &'static str) -> Row {
    Row { section, what, opening: None, steps: Vec::new(), expected: Expected::Ignored, deviation: None }
}

impl Row {
    pub fn opening(mut self, bytes: impl AsRef<[u8]>) -> Row {
        self.opening = Some(bytes.as_ref().to_vec());
        self
    }

    pub fn send(self, bytes: impl AsRef<[u8]>) -> Row {
        let bytes = bytes.as_ref().to_vec();
        self.step(Step::Send(bytes))
    }

    pub fn answered(self, stream: u32) -> Row {
        self.step(Step::Answered(stream))
    }

    pub fn data(self, stream: u32, bytes: usize) -> Row {
        Row { expected: Expected::Alive, ..self.step(Step::Data(stream, bytes)) }
    }

    pub fn pong(self, payload: [u8; 8]) -> Row {
        self.step(Step::Pong(payload))
    }

    pub fn acked(self, count: usize) -> Row {
        self.step(Step::Acked(count))
    }

    fn step(mut self, step: Step) -> Row {
        self.steps.push(step);
        self
    }

    pub fn connection(self, reasons: &'static [u32]) -> Row {
        Row { expected: Expected::Connection(reasons), ..self }
    }

    pub fn stream(self, stream: u32, reasons: &'static [u32]) -> Row {
        Row { expected: Expected::Stream(stream, reasons), ..self }
    }

    pub fn refused(self, stream: u32, reasons: &'static [u32]) -> Row {
        Row { expected: Expected::Refused(stream, reasons), ..self }
    }

    pub fn either(self, stream: u32, reasons: &'static [u32]) -> Row {
        Row { expected: Expected::Either(stream, reasons), ..self }
    }

    pub fn status(self, stream: u32, status: u16) -> Row {
        Row { expected: Expected::Status(stream, status), ..self }
    }

    pub fn closed(self) -> Row {
        Row { expected: Expected::Closed, ..self }
    }

    pub fn deviates(self, why: &'static str) -> Row {
        Row { deviation: Some(why), ..self }
    }
}

/// A HEADERS frame.
pub fn headers(flags: u8, stream: u32, block: impl AsRef<[u8]>) -> Vec<u8> {
    frame(HEADERS, flags, stream, block.as_ref())
}

/// A whole GET.
pub fn get(stream: u32) -> Vec<u8> {
    headers(WHOLE, stream, GET)
}

/// The head of a POST.
pub fn post(stream: u32) -> Vec<u8> {
    headers(END_HEADERS, stream, POST)
}

pub fn data(flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(DATA, flags, stream, payload.as_ref())
}

/// A SETTINGS frame with these numbers and values.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload = values.iter().flat_map(|(number, value)| [&number.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())
}

pub fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// A connection, and what has come on it.
struct Talk {
    frames: Frames,
    status: BTreeMap<u32, u16>,
    data: BTreeMap<u32, usize>,
    ended: Vec<u32>,
    resets: BTreeMap<u32, u32>,
    reason: Option<u32>,
    pongs: Vec<Vec<u8>>,
    acked: usize,
    is_closed: bool,
}

impl Talk {
    fn begin(row: &Row, to: SocketAddr) -> Talk {
        let opening = row.opening.clone().unwrap_or_else(|| [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        let mut frames = Frames::of(Raw::connect(to).with_patience(PATIENCE));
        frames.send(opening);
        Talk {
            frames,
            status: BTreeMap::new(),
            data: BTreeMap::new(),
            ended: Vec::new(),
            resets: BTreeMap::new(),
            reason: None,
            pongs: Vec::new(),
            acked: 0,
            is_closed: false,
        }
    }

    /// Reads until something is so, or the connection has ended.
    fn until(&mut self, is_so: impl Fn(&Talk) -> bool) -> bool {
        while !is_so(self) {
            match self.frames.next() {
                Some(frame) => self.note(&frame),
                None => {
                    self.is_closed = self.frames.is_closed();
                    return is_so(self);
                }
            }
        }
        true
    }

    fn note(&mut self, frame: &Frame) {
        let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
        match frame.kind {
            HEADERS => {
                self.status.entry(frame.stream).or_insert_with(|| status(&frame.payload));
            }
            DATA => *self.data.entry(frame.stream).or_default() += frame.payload.len(),
            RST_STREAM => {
                self.resets.insert(frame.stream, number(0));
            }
            GOAWAY => self.reason = Some(number(4)),
            PING if frame.flags & ACK != 0 => self.pongs.push(frame.payload.clone()),
            SETTINGS if frame.flags & ACK != 0 => self.acked += 1,
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            self.ended.push(frame.stream);
        }
    }

    fn has_ended(&self, stream: u32) -> bool {
        self.ended.contains(&stream) || self.resets.contains_key(&stream) || self.reason.is_some()
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let is_done = match step {
            Step::Send(bytes) => {
                self.frames.send(bytes);
                true
            }
            Step::Answered(stream) => {
                self.until(|talk| talk.has_ended(*stream)) && self.status.get(stream) == Some(&200)
            }
            Step::Data(stream, bytes) => {
                let came = |talk: &Talk| talk.data.get(stream).copied().unwrap_or_default();
                let is_there = self.until(|talk| came(talk) >= *bytes && talk.status.contains_key(stream));
                // what is sent before the next PING is answered would have come by now
                is_there && self.pings(*b"no more?") && came(self) == *bytes
            }
            Step::Pong(payload) => self.until(|talk| talk.pongs.iter().any(|pong| pong == payload)),
            Step::Acked(count) => self.until(|talk| talk.acked >= *count) && self.acked == *count,
        };
        if is_done { Ok(()) } else { Err(format!("a step: {}", self.seen())) }
    }

    fn pings(&mut self, payload: [u8; 8]) -> bool {
        let before = self.pongs.len();
        self.frames.send(frame(PING, 0, 0, &payload));
        self.until(|talk| talk.pongs.len() > before)
    }

    /// Another request is served, and nothing is wrong.
    fn goes_on(&mut self) -> bool {
        self.frames.send(headers(WHOLE, LAST, HEAD));
        self.until(|talk| talk.has_ended(LAST)) && self.status.get(&LAST) == Some(&200) && self.reason.is_none()
    }

    fn expect(&mut self, expected: &Expected) -> Result<(), String> {
        let is_so = match expected {
            Expected::Connection(reasons) => {
                self.until(|talk| talk.is_closed);
                self.is_closed && self.reason.is_some_and(|reason| reasons.contains(&reason))
            }
            Expected::Stream(stream, reasons) => {
                self.until(|talk| talk.has_ended(*stream));
                self.resets.get(stream).is_some_and(|reason| reasons.contains(reason)) && self.goes_on()
            }
            Expected::Refused(stream, reasons) => {
                self.until(|talk| talk.has_ended(*stream));
                self.resets.get(stream).is_some_and(|reason| reasons.contains(reason)) && self.pings(*b"are you?")
            }
            Expected::Either(stream, reasons) => {
                self.until(|talk| talk.has_ended(*stream));
                self.resets.get(stream).or(self.reason.as_ref()).is_some_and(|reason| reasons.contains(reason))
            }
            Expected::Status(stream, status) => {
                self.until(|talk| talk.has_ended(*stream));
                self.ended.contains(stream) && self.status.get(stream) == Some(status) && self.goes_on()
            }
            Expected::Alive => self.pings(*b"are you?") && self.resets.is_empty(),
            Expected::Ignored => self.goes_on() && self.resets.is_empty(),
            Expected::Closed => {
                self.until(|talk| talk.is_closed);
                self.is_closed
            }
        };
        if is_so { Ok(()) } else { Err(self.seen()) }
    }

    fn seen(&self) -> String {
        let Talk { status, data, ended, resets, reason, acked, is_closed, .. } = self;
        format!(
            "status {status:?}, data {data:?}, ended {ended:?}, resets {resets:?}, goaway {reason:?}, \
             acked {acked}, closed {is_closed}"
        )
    }
}

/// The status of an answer, which comes first: of the static table, or three digits.
fn status(block: &[u8]) -> u16 {
    // a change of the table's size may come before it (RFC 7541 §4.2)
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    match block[0] {
        known @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => huffman_digits(&block[2..]),
    }
}

/// Three digits of the code of RFC 7541, appendix B: five bits up to 2, six from 3.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let mut bits = u32::from_be_bytes([bytes[0], bytes[1], *bytes.get(2).unwrap_or(&0), 0]);
    let mut number = 0;
    for _ in 0..3 {
        let (digit, length) = match bits >> 27 {
            short @ 0..=2 => (short, 5),
            _ => ((bits >> 26) - 0b01_1001 + 3, 6),
        };
        number = number * 10 + digit as u16;
        bits <<= length;
    }
    number
}

/// Battery D12 and duties R21 to R24.
#[test]
fn frames_are_taken_as_the_standard_says() {
    let big: &'static str = Box::leak("x".repeat(BIG).into_boxed_str());
    let gate = Gate::new();
    let shut = gate.clone();
    let upstream =
        Recording::start(move |exchange| match (exchange.seen.target.as_str(), exchange.seen.method.as_str()) {
            ("/big", _) => exchange.ok(big),
            ("/held", _) => drop(shut.pass()),
            (_, "GET" | "HEAD") => exchange.ok(HELLO),
            _ => exchange.echo(),
        });
    let proxy = Proxy::before(&upstream);
    let rows = [frames::rows(), settings::rows(), streams::rows(), flow::rows(), messages::rows(), hpack::rows()];
    let rows: Vec<Row> = rows.into_iter().flatten().chain(ordinary::rows()).collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let mut talk = Talk::begin(row, proxy.address());
        let steps = row.steps.iter().try_for_each(|step| talk.take(step));
        if let Err(seen) = steps.and_then(|()| talk.expect(&row.expected)) {
            wrong.push(format!("{} {}: {seen}", row.section, row.what));
        }
    }
    gate.open();
    let deviations: Vec<&Row> = rows.iter().filter(|row| row.deviation.is_some()).collect();
    println!("{} rows, of which {} deviate:", rows.len(), deviations.len());
    for row in deviations {
        println!("{} {}: {}", row.section, row.what, row.deviation.unwrap_or_default());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
