//! HTTP/2 frames put together by hand (RFC 9113 §4, RFC 7541), for what no library would send.

use crate::support::raw::Raw;
use std::net::SocketAddr;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// What a client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection on which frames are sent as they are.
pub struct Frames {
    raw: Raw,
    read: Vec<u8>,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals without indexing (RFC 7541 §6.2.2), whatever bytes they have.
pub fn fields(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length is enough here");
            block.push(text.len() as u8);
            block.extend_from_slice(text);
        }
    }
    block
}

impl Frames {
    /// Sends the preface and empty settings.
    pub fn connect(to: SocketAddr) -> Frames {
        let mut frames = Frames::silent(to);
        frames.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        frames
    }

    /// Sends nothing yet.
    pub fn silent(to: SocketAddr) -> Frames {
        Frames::of(Raw::connect(to))
    }

    pub fn of(raw: Raw) -> Frames {
        Frames { raw, read: Vec::new() }
    }

    /// After the last frame: whether the other end has closed, and has not only fallen silent.
    pub fn is_closed(&mut self) -> bool {
        self.raw.is_closed()
    }

    pub fn send(&mut self, frame: impl AsRef<[u8]>) -> &mut Frames {
        self.raw.send(frame);
        self
    }

    /// The next frame; `None` when the connection has ended.
    pub fn next(&mut self) -> Option<Frame> {
        while self.read.len() < 9 || self.read.len() < 9 + self.length() {
            let more = self.raw.try_bytes(1)?;
            self.read.extend(more);
        }
        let whole: Vec<u8> = self.read.drain(..9 + self.length()).collect();
        let stream = u32::from_be_bytes([whole[5] & 0x7f, whole[6], whole[7], whole[8]]);
        Some(Frame { kind: whole[3], flags: whole[4], stream, payload: whole[9..].to_vec() })
    }

    /// What ends a stream: its answer's head, a reset, or the end of the connection (`None`).
    pub fn end_of(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            let is_of_stream = frame.stream == stream && [HEADERS, RST_STREAM].contains(&frame.kind);
            if is_of_stream || frame.kind == GOAWAY {
                return Some(frame);
            }
        }
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]) as usize
    }
}
