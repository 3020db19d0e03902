//! Windows (RFC 9113 §5.2, §6.9). The service's answer is [`HELLO`] or [`BIG`] bytes.

use super::code::{FLOW_CONTROL, PROTOCOL};
use super::*;

/// The number of SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;
/// The window of a connection, which no setting changes.
const FIRST: usize = 65_535;
const MOST: u32 = i32::MAX as u32;

pub fn rows() -> Vec<Row> {
    [updates(), ours(), theirs()].into_iter().flatten().collect()
}

fn big(stream: u32) -> Vec<u8> {
    headers(WHOLE, stream, b"\x82\x86\x01\x04shop\x04\x04/big")
}

fn updates() -> Vec<Row> {
    let with_high_bit = frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 5]);
    vec![
        row("6.9", "WINDOW_UPDATE by 0").send(window(0, 0)).connection(&[PROTOCOL]),
        row("6.9", "WINDOW_UPDATE by 0 on a stream").send([post(1), window(1, 0)].concat()).either(1, &[PROTOCOL]),
        row("6.9", "the reserved bit").send(with_high_bit),
        row("6.9", "the reserved bit, and nothing else")
            .send(frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 0]))
            .connection(&[PROTOCOL]),
        row("6.9.1", "a connection's window beyond 2^31-1")
            .send([window(0, MOST), window(0, MOST)].concat())
            .connection(&[FLOW_CONTROL]),
        row("6.9.1", "a connection's window beyond it by one")
            .send(window(0, MOST - FIRST as u32 + 1))
            .connection(&[FLOW_CONTROL]),
        row("6.9.1", "a connection's window of 2^31-1")
            .send([window(0, MOST - FIRST as u32), get(1)].concat())
            .status(1, 200),
        row("6.9.1", "a stream's window beyond 2^31-1")
            .send([post(1), window(1, MOST), window(1, MOST)].concat())
            .stream(1, &[FLOW_CONTROL]),
        row("6.9.1", "a stream's window of 2^31-1")
            .send([post(1), window(1, MOST - FIRST as u32), data(END_STREAM, 1, b"a")].concat())
            .status(1, 200),
        row("6.9.2", "a setting that brings a stream's window beyond 2^31-1")
            .send([post(1), window(1, MOST - FIRST as u32), settings(&[(WINDOW, FIRST as u32 + 1)])].concat())
            .connection(&[FLOW_CONTROL]),
    ]
}

/// Windows for what we send.
fn ours() -> Vec<Row> {
    let window_of = |bytes: u32| settings(&[(WINDOW, bytes)]);
    vec![
        row("6.9.1", "a window of one byte").send([window_of(1), get(1)].concat()).data(1, 1),
        row("6.9.1", "a window of one byte, then of one more, then of all")
            .send([window_of(1), get(1)].concat())
            .data(1, 1)
            .send(window(1, 1))
            .data(1, 2)
            .send(window(1, 100))
            .status(1, 200),
        row("6.9.2", "no window, then one by a setting")
            .send([window_of(0), get(1)].concat())
            .data(1, 0)
            .send(window_of(1))
            .data(1, 1),
        row("6.9.2", "no window, then one by WINDOW_UPDATE")
            .send([window_of(0), get(1)].concat())
            .data(1, 0)
            .send(window(1, 3))
            .data(1, 3),
        row("6.9.2", "a window that becomes negative, and positive again")
            .send([window_of(3), get(1)].concat())
            .data(1, 3)
            .send(window_of(2))
            .data(1, 3)
            .send(window(1, 1))
            .data(1, 3)
            .send(window(1, 1))
            .data(1, 4)
            .send(window_of(100))
            .status(1, 200),
        row("6.9.2", "far negative, and back by settings alone")
            .send([window_of(4), get(1)].concat())
            .data(1, 4)
            .send([window_of(0), window_of(4)].concat())
            .data(1, 4)
            .send(window_of(5))
            .status(1, 200),
        row("6.9.1", "the connection's window is the least").send([window_of(1 << 20), big(1)].concat()).data(1, FIRST),
        row("6.9.1", "the connection's window is used up, and opened")
            .send([window_of(1 << 20), big(1)].concat())
            .data(1, FIRST)
            .send(window(0, 1))
            .data(1, FIRST + 1)
            .send(window(0, 1 << 20))
            .status(1, 200),
        row("6.9.1", "two streams share the connection's window")
            .send([window_of(1 << 20), big(1)].concat())
            .data(1, FIRST)
            .send(get(3))
            .data(3, 0)
            .send(window(0, 1 << 20))
            .answered(3)
            .status(1, 200),
        row("6.9.1", "a stream without a window holds up no other")
            .send([window_of(0), get(1), window_of(FIRST as u32), window_of(0), get(3), window(3, 100)].concat())
            .answered(3)
            .send(window(1, 100))
            .status(1, 200),
        row("6.9.1", "a stream that is reset gives back what it has not used")
            .send([window_of(1 << 20), big(1)].concat())
            .data(1, FIRST)
            .send([reset(1, 8), window(0, 5), get(3)].concat())
            .answered(3)
            .send(window(0, 100)),
    ]
}

/// Windows for what the client sends.
fn theirs() -> Vec<Row> {
    let piece = || data(0, 1, [b'a'; 16_384]);
    vec![
        row("5.2", "a body of more than all windows, which are opened as it is taken")
            .send(headers(END_HEADERS, 1, POST))
            .send(piece().repeat(3))
            .send(data(END_STREAM, 1, b"end"))
            .status(1, 200),
        row("6.9.1", "DATA beyond the windows, which nobody takes")
            .send(held(1))
            .send(piece().repeat(1000))
            .either(1, &[FLOW_CONTROL]),
    ]
}

/// The head of a POST whose body the service does not read.
fn held(stream: u32) -> Vec<u8> {
    headers(END_HEADERS, stream, b"\x83\x86\x01\x04shop\x04\x05/held")
}
