//! Preface, frames and their lengths, header blocks in pieces (RFC 9113 §3, §4, §6).

use super::code::{COMPRESSION, FRAME_SIZE, PROTOCOL, STREAM_CLOSED};
use super::*;

/// What the library cannot tell apart.
const HPACK_REASON: &str = "the library says PROTOCOL_ERROR; the connection ends all the same";

pub fn rows() -> Vec<Row> {
    [preface(), format(), sizes(), data_frames(), header_frames(), continuation(), lengths()]
        .into_iter()
        .flatten()
        .collect()
}

fn preface() -> Vec<Row> {
    let settings = frame(SETTINGS, 0, 0, &[]);
    vec![
        row("3.4", "a preface that is none").opening(b"INVALID CONNECTION PREFACE\r\n\r\n").closed(),
        row("3.4", "a preface with a wrong end").opening([&PREFACE[..20], b"XX\r\n"].concat()).closed(),
        row("3.4", "settings after the preface").opening(PREFACE).send(&settings).send(get(1)).status(1, 200),
        row("3.4", "a preface in pieces")
            .opening(&PREFACE[..3])
            .send(&PREFACE[3..20])
            .send(&PREFACE[20..])
            .send(&settings),
        row("3.4", "PING instead of settings")
            .opening([PREFACE, &frame(PING, 0, 0, &[0; 8])].concat())
            .connection(&[PROTOCOL]),
        row("3.4", "a request instead of settings").opening([PREFACE, &get(1)].concat()).connection(&[PROTOCOL]),
        row("3.4", "an acknowledgement instead of settings")
            .opening([PREFACE, &frame(SETTINGS, ACK, 0, &[])].concat())
            .connection(&[PROTOCOL]),
        row("3.4", "a request at once").opening([PREFACE, &settings, &get(1)].concat()).status(1, 200),
    ]
}

fn format() -> Vec<Row> {
    let on_reserved = |kind, payload: &[u8]| {
        let mut bytes = frame(kind, 0, 0, payload);
        bytes[5] |= 0x80;
        bytes
    };
    vec![
        row("4.1", "a frame of no known type").send(frame(0x16, 0, 0, b"abcdefgh")),
        row("4.1", "the same on a stream").send(frame(0xfe, 0xff, 7, b"abcdefgh")),
        row("4.1", "flags that PING does not have").send(frame(PING, 0x16, 0, b"undefine")).pong(*b"undefine"),
        row("4.1", "flags that SETTINGS does not have").send(frame(SETTINGS, 0xfe, 0, &[])).acked(2),
        row("4.1", "flags that HEADERS does not have").send(headers(WHOLE | 0x52, 1, GET)).status(1, 200),
        row("4.1", "flags that RST_STREAM does not have").send(post(1)).send(frame(RST_STREAM, 0xff, 1, &[0, 0, 0, 8])),
        row("4.1", "the reserved bit of PING").send(on_reserved(PING, b"reserved")).pong(*b"reserved"),
        row("4.1", "the reserved bit of SETTINGS").send(on_reserved(SETTINGS, &[])).acked(2),
        row("4.1", "the reserved bit of WINDOW_UPDATE, twice").send(on_reserved(WINDOW_UPDATE, &[0x80, 0, 0, 1])),
        row("5.5", "a frame of no known type before the settings are acknowledged")
            .send(frame(0x42, 0, 0, &[]))
            .send(get(1))
            .status(1, 200),
        row("5.5", "a frame of no known type between a head and its body")
            .send([post(1), frame(0x42, 0, 1, b"x"), data(END_STREAM, 1, b"abc")].concat())
            .status(1, 200),
        row("5.5", "a frame of no known type within a header block")
            .send([headers(END_STREAM, 1, &GET[..3]), frame(0x42, 0, 0, b"x")].concat())
            .connection(&[PROTOCOL]),
    ]
}

fn sizes() -> Vec<Row> {
    const MOST: usize = 16_384;
    let large = [POST, &fields(&[(b"x-large", b"1")])].concat();
    vec![
        row("4.2", "DATA of the largest size").send(post(1)).send(data(END_STREAM, 1, [b'a'; MOST])).status(1, 200),
        row("4.2", "DATA that is larger")
            .send(post(1))
            .send(data(END_STREAM, 1, [b'a'; MOST + 1]))
            .either(1, &[FRAME_SIZE]),
        row("4.2", "HEADERS that is larger")
            .send(headers(WHOLE, 1, [&large[..], &vec![0; MOST]].concat()))
            .connection(&[FRAME_SIZE]),
        row("4.2", "SETTINGS that is larger").send(settings(&vec![(0xff, 0); MOST / 6 + 1])).connection(&[FRAME_SIZE]),
        row("4.2", "a frame of no known type that is larger")
            .send(frame(0x42, 0, 0, &vec![0; MOST + 1]))
            .connection(&[FRAME_SIZE]),
        row("4.2", "the largest length that there is").send(b"\xff\xff\xff\x42\0\0\0\0\0").connection(&[FRAME_SIZE]),
        row("4.3", "a header block that is none")
            .send(headers(WHOLE, 1, b"\xff\xff\xff\xff\xff\xff"))
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(HPACK_REASON),
        row("4.3", "an empty header block").send(headers(WHOLE, 1, b"")).stream(1, &[PROTOCOL]),
        row("4.3", "PRIORITY within a header block")
            .send([headers(END_STREAM, 1, &GET[..3]), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat())
            .connection(&[PROTOCOL]),
        row("4.3", "HEADERS of another stream within a header block")
            .send([headers(END_STREAM, 1, &GET[..3]), get(3)].concat())
            .connection(&[PROTOCOL]),
        row("4.3", "PING within a header block")
            .send([headers(END_STREAM, 1, &GET[..3]), frame(PING, 0, 0, &[0; 8])].concat())
            .connection(&[PROTOCOL]),
        row("4.3", "DATA within a header block that ends the stream")
            .send([headers(END_STREAM, 1, &GET[..3]), data(0, 1, b"x")].concat())
            .connection(&[PROTOCOL]),
    ]
}

fn data_frames() -> Vec<Row> {
    let padded = |pad: u8, text: &[u8], zeros: usize| [&[pad], text, &vec![0; zeros]].concat();
    vec![
        row("6.1", "DATA on stream 0").send(data(0, 0, b"test")).connection(&[PROTOCOL]),
        row("6.1", "DATA after the end of the request")
            .send(get(1))
            .send(data(END_STREAM, 1, b"test"))
            .either(1, &[STREAM_CLOSED]),
        row("6.1", "padding of the payload's length")
            .send(post(1))
            .send(data(END_STREAM | PADDED, 1, padded(5, b"test", 0)))
            .connection(&[PROTOCOL]),
        row("6.1", "padding longer than the payload")
            .send(post(1))
            .send(data(END_STREAM | PADDED, 1, padded(255, b"test", 0)))
            .connection(&[PROTOCOL]),
        row("6.1", "padding without its length")
            .send(post(1))
            .send(data(END_STREAM | PADDED, 1, b""))
            .connection(&[PROTOCOL, FRAME_SIZE]),
        row("6.1", "padding").send(post(1)).send(data(END_STREAM | PADDED, 1, padded(9, b"test", 9))).status(1, 200),
        row("6.1", "nothing but padding")
            .send(post(1))
            .send(data(PADDED, 1, padded(255, b"", 255)))
            .send(data(END_STREAM | PADDED, 1, padded(0, b"", 0)))
            .status(1, 200),
        row("6.1", "padding that is not of zeros")
            .send(post(1))
            .send(data(END_STREAM | PADDED, 1, b"\x02testxx"))
            .status(1, 200),
    ]
}

fn header_frames() -> Vec<Row> {
    let padded = |pad: u8, zeros: usize| [&[pad], GET, &vec![0; zeros]].concat();
    let on = |stream: u32| [&stream.to_be_bytes()[..], &[15], GET].concat();
    vec![
        row("6.2", "HEADERS on stream 0").send(headers(WHOLE, 0, GET)).connection(&[PROTOCOL]),
        row("6.2", "padding").send(headers(WHOLE | PADDED, 1, padded(20, 20))).status(1, 200),
        row("6.2", "padding longer than the payload")
            .send(headers(WHOLE | PADDED, 1, padded(200, 0)))
            .connection(&[PROTOCOL]),
        row("6.2", "padding without its length")
            .send(headers(WHOLE | PADDED, 1, b""))
            .connection(&[PROTOCOL, FRAME_SIZE]),
        row("6.2", "a priority").send(headers(WHOLE | WITH_PRIORITY, 1, on(0))).status(1, 200),
        row("6.2", "an exclusive priority on a stream that is not there")
            .send(headers(WHOLE | WITH_PRIORITY, 1, on(0x8000_0007)))
            .status(1, 200),
        row("6.2", "a priority, and padding")
            .send(headers(WHOLE | WITH_PRIORITY | PADDED, 1, [&[3][..], &on(0), &[0; 3]].concat()))
            .status(1, 200),
        row("6.2", "a priority that is cut off")
            .send(headers(WHOLE | WITH_PRIORITY, 1, &on(0)[..4]))
            .connection(&[PROTOCOL, FRAME_SIZE]),
        row("5.3.1", "HEADERS that depends on itself")
            .send(headers(WHOLE | WITH_PRIORITY, 1, on(1)))
            .stream(1, &[PROTOCOL]),
        row("6.6", "PUSH_PROMISE from a client")
            .send(post(1))
            .send(frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], GET].concat()))
            .connection(&[PROTOCOL]),
        row("6.6", "PUSH_PROMISE on stream 0")
            .send(frame(PUSH_PROMISE, END_HEADERS, 0, &[&[0, 0, 0, 2], GET].concat()))
            .connection(&[PROTOCOL]),
    ]
}

fn continuation() -> Vec<Row> {
    let more = |flags, stream, block: &[u8]| frame(CONTINUATION, flags, stream, block);
    let begun = || headers(END_STREAM, 1, &GET[..2]);
    vec![
        row("6.10", "a header block in three frames")
            .send([begun(), more(0, 1, &GET[2..5]), more(END_HEADERS, 1, &GET[5..])].concat())
            .status(1, 200),
        row("6.10", "frames of one byte, and an empty one")
            .send(begun())
            .send([more(0, 1, &GET[2..3]), more(0, 1, b""), more(0, 1, &GET[3..4])].concat())
            .send(more(END_HEADERS, 1, &GET[4..]))
            .status(1, 200),
        row("6.10", "an empty HEADERS, and all in CONTINUATION")
            .send([headers(END_STREAM, 1, b""), more(END_HEADERS, 1, GET)].concat())
            .status(1, 200),
        row("6.10", "DATA instead").send([begun(), data(END_STREAM, 1, b"x")].concat()).connection(&[PROTOCOL]),
        row("6.10", "on stream 0").send([begun(), more(END_HEADERS, 0, &GET[2..])].concat()).connection(&[PROTOCOL]),
        row("6.10", "on another stream")
            .send([begun(), more(END_HEADERS, 3, &GET[2..])].concat())
            .connection(&[PROTOCOL]),
        row("6.10", "after a whole block").send([get(1), more(END_HEADERS, 1, GET)].concat()).connection(&[PROTOCOL]),
        row("6.10", "after a block's last CONTINUATION")
            .send([begun(), more(END_HEADERS, 1, &GET[2..]), more(END_HEADERS, 1, b"")].concat())
            .connection(&[PROTOCOL]),
        row("6.10", "after DATA")
            .send([post(1), data(0, 1, b"x"), more(END_HEADERS, 1, b"")].concat())
            .connection(&[PROTOCOL]),
        row("6.10", "on an idle stream").send(more(END_HEADERS, 1, GET)).connection(&[PROTOCOL]),
        row("6.10", "a thousand of them").send(begun()).send(more(0, 1, b"").repeat(1000)).connection(&[code::CALM]),
    ]
}

/// Frames that have one length.
fn lengths() -> Vec<Row> {
    let on_open = |kind, stream, payload: &[u8]| [post(1), frame(kind, 0, stream, payload)].concat();
    vec![
        row("6.3", "PRIORITY of 4 bytes").send(on_open(PRIORITY, 1, &[0; 4])).either(1, &[FRAME_SIZE]),
        row("6.3", "PRIORITY of 6 bytes").send(on_open(PRIORITY, 1, &[0; 6])).either(1, &[FRAME_SIZE]),
        row("6.4", "RST_STREAM of 3 bytes").send(on_open(RST_STREAM, 1, &[0; 3])).connection(&[FRAME_SIZE]),
        row("6.4", "RST_STREAM of 5 bytes").send(on_open(RST_STREAM, 1, &[0; 5])).connection(&[FRAME_SIZE]),
        row("6.5", "SETTINGS of 3 bytes").send(frame(SETTINGS, 0, 0, &[0; 3])).connection(&[FRAME_SIZE]),
        row("6.5", "SETTINGS of 7 bytes").send(frame(SETTINGS, 0, 0, &[0; 7])).connection(&[FRAME_SIZE]),
        row("6.5", "an acknowledgement with settings").send(frame(SETTINGS, ACK, 0, &[0; 6])).connection(&[FRAME_SIZE]),
        row("6.7", "PING of 6 bytes").send(frame(PING, 0, 0, &[0; 6])).connection(&[FRAME_SIZE]),
        row("6.7", "PING of 9 bytes").send(frame(PING, 0, 0, &[0; 9])).connection(&[FRAME_SIZE]),
        row("6.7", "an empty PING, acknowledged").send(frame(PING, ACK, 0, &[])).connection(&[FRAME_SIZE]),
        row("6.8", "GOAWAY of 7 bytes").send(frame(GOAWAY, 0, 0, &[0; 7])).connection(&[FRAME_SIZE]),
        row("6.9", "WINDOW_UPDATE of 3 bytes").send(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])).connection(&[FRAME_SIZE]),
        row("6.9", "WINDOW_UPDATE of 5 bytes")
            .send(on_open(WINDOW_UPDATE, 1, &[0, 0, 0, 1, 0]))
            .connection(&[FRAME_SIZE]),
        row("6.9", "WINDOW_UPDATE of 0 bytes").send(on_open(WINDOW_UPDATE, 1, &[])).connection(&[FRAME_SIZE]),
    ]
}
