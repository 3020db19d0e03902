//! Settings, PING and GOAWAY of a client (RFC 9113 §6.5, §6.7, §6.8, §7).

use super::code::{FLOW_CONTROL, NONE, PROTOCOL};
use super::*;

pub fn rows() -> Vec<Row> {
    [values(), pings(), goodbyes()].into_iter().flatten().collect()
}

fn values() -> Vec<Row> {
    const TABLE_SIZE: u16 = 1;
    const ENABLE_PUSH: u16 = 2;
    const CONCURRENT: u16 = 3;
    const WINDOW: u16 = 4;
    const FRAME_SIZE: u16 = 5;
    const LIST_SIZE: u16 = 6;
    const CONNECT_PROTOCOL: u16 = 8;
    let refused = |section, what, number, value, reasons| {
        row(section, what).send(settings(&[(number, value)])).connection(reasons)
    };
    let served =
        |what, values: &[(u16, u32)]| row("6.5.2", what).send(settings(values)).acked(2).send(get(1)).status(1, 200);
    vec![
        row("6.5", "SETTINGS on a stream").send(frame(SETTINGS, 0, 1, &[])).connection(&[PROTOCOL]),
        row("6.5", "an acknowledgement on a stream").send(frame(SETTINGS, ACK, 1, &[])).connection(&[PROTOCOL]),
        row("6.5", "an acknowledgement of settings that nobody sent, beside that of ours")
            .send(frame(SETTINGS, ACK, 0, &[]).repeat(2))
            .connection(&[PROTOCOL]),
        refused("6.5.2", "ENABLE_PUSH of 2", ENABLE_PUSH, 2, &[PROTOCOL]),
        refused("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", WINDOW, 1 << 31, &[FLOW_CONTROL, PROTOCOL])
            .deviates("the library says PROTOCOL_ERROR, and not FLOW_CONTROL_ERROR; the connection ends all the same"),
        refused("6.5.2", "MAX_FRAME_SIZE of 16,383", FRAME_SIZE, 16_383, &[PROTOCOL]),
        refused("6.5.2", "MAX_FRAME_SIZE of 2^24", FRAME_SIZE, 1 << 24, &[PROTOCOL]),
        refused("RFC 8441 3", "ENABLE_CONNECT_PROTOCOL of 2", CONNECT_PROTOCOL, 2, &[PROTOCOL]),
        served("a setting that nobody knows", &[(0xff, 1), (0, 7)]),
        served("no table for header compression", &[(TABLE_SIZE, 0)]),
        served("a large table for header compression", &[(TABLE_SIZE, u32::MAX)]),
        served("no push, no streams of ours", &[(ENABLE_PUSH, 0), (CONCURRENT, 0)]),
        served("push", &[(ENABLE_PUSH, 1)]),
        served("the largest window", &[(WINDOW, (1 << 31) - 1)]),
        served("the largest and the smallest frame", &[(FRAME_SIZE, (1 << 24) - 1), (FRAME_SIZE, 16_384)]),
        served("a limit of header lists that our answer does not keep", &[(LIST_SIZE, 1)]),
        row("6.5.3", "each is acknowledged").send(settings(&[(WINDOW, 10)]).repeat(20)).acked(21),
        row("6.5.3", "the last of several values counts")
            .send([settings(&[(WINDOW, 100), (WINDOW, 1)]), get(1)].concat())
            .data(1, 1),
    ]
}

fn pings() -> Vec<Row> {
    vec![
        row("6.7", "PING")
            .send(frame(PING, 0, 0, b"\0\x01\x02\x03\xfc\xfd\xfe\xff"))
            .pong([0, 1, 2, 3, 252, 253, 254, 255]),
        row("6.7", "PING on a stream").send(frame(PING, 0, 1, &[0; 8])).connection(&[PROTOCOL]),
        row("6.7", "an answer to a PING that nobody sent")
            .send(frame(PING, ACK, 0, b"nobody's").repeat(3))
            .send(frame(PING, 0, 0, b"somebody"))
            .pong(*b"somebody"),
        row("6.7", "PING among the frames of a body")
            .send([post(1), data(0, 1, b"a"), frame(PING, 0, 0, b"between!"), data(END_STREAM, 1, b"b")].concat())
            .pong(*b"between!")
            .status(1, 200),
    ]
}

fn goodbyes() -> Vec<Row> {
    let goaway = |last: u32, reason: u32, more: &[u8]| {
        frame(GOAWAY, 0, 0, &[&last.to_be_bytes()[..], &reason.to_be_bytes(), more].concat())
    };
    vec![
        row("6.8", "GOAWAY on a stream").send(frame(GOAWAY, 0, 1, &[0; 8])).connection(&[PROTOCOL]),
        row("6.8", "GOAWAY").send(goaway(0, NONE, b"")).connection(&[NONE]),
        row("6.8", "GOAWAY with a text").send(goaway(0, NONE, b"that is all")).connection(&[NONE]),
        row("6.8", "GOAWAY while an answer is under way: it is finished")
            .send([get(1), goaway(0, NONE, b"")].concat())
            .answered(1)
            .connection(&[NONE]),
        row("6.8", "GOAWAY while a body is under way: it is finished")
            .send([post(1), goaway(0, NONE, b""), data(END_STREAM, 1, b"abc")].concat())
            .answered(1)
            .connection(&[NONE]),
        row("6.8", "two of them, the second with a lower stream")
            .send([get(1), goaway(i32::MAX as u32, NONE, b""), goaway(0, NONE, b"")].concat())
            .answered(1)
            .connection(&[NONE]),
        row("7", "GOAWAY with a reason that nobody knows").send(goaway(0, 0xff, b"")).connection(&[NONE]),
        row("7", "RST_STREAM with a reason that nobody knows").send([post(1), reset(1, 0xff)].concat()),
    ]
}
