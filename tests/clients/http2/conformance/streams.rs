//! What may come on a stream, by its state; stream numbers; how many there may be (RFC 9113 §5).

use super::code::{PROTOCOL, REFUSED, STREAM_CLOSED};
use super::*;

const EITHER: &[u32] = &[STREAM_CLOSED, PROTOCOL];

pub fn rows() -> Vec<Row> {
    [idle(), half_closed(), closed(), taken_back(), numbers(), priorities()].into_iter().flatten().collect()
}

fn idle() -> Vec<Row> {
    vec![
        row("5.1", "idle: DATA").send(data(END_STREAM, 1, b"test")).connection(&[PROTOCOL]),
        row("5.1", "idle: RST_STREAM").send(reset(1, 8)).connection(&[PROTOCOL]),
        row("5.1", "idle: WINDOW_UPDATE").send(window(1, 100)).connection(&[PROTOCOL]),
        row("5.1", "idle: CONTINUATION").send(frame(CONTINUATION, END_HEADERS, 1, GET)).connection(&[PROTOCOL]),
        row("5.1", "idle: PRIORITY").send(frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 9])).send(get(1)).status(1, 200),
        row("5.1", "idle, above one that is open: WINDOW_UPDATE")
            .send([post(1), window(3, 1)].concat())
            .connection(&[PROTOCOL]),
        row("5.1", "open: all that there may be, then the end")
            .send([post(1), window(1, 1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), data(0, 1, b"a")].concat())
            .send([data(0, 1, b""), data(END_STREAM, 1, b"")].concat())
            .status(1, 200),
    ]
}

fn half_closed() -> Vec<Row> {
    vec![
        row("5.1", "half-closed: DATA")
            .send([get(1), data(END_STREAM, 1, b"test")].concat())
            .either(1, &[STREAM_CLOSED]),
        row("5.1", "half-closed: HEADERS").send([get(1), get(1)].concat()).either(1, &[STREAM_CLOSED]),
        row("5.1", "half-closed by DATA: DATA")
            .send([post(1), data(END_STREAM, 1, b"a"), data(0, 1, b"b")].concat())
            .either(1, &[STREAM_CLOSED]),
        row("5.1", "half-closed by trailers: DATA")
            .send([post(1), headers(WHOLE, 1, fields(&[(b"x-a", b"1")])), data(0, 1, b"b")].concat())
            .either(1, &[STREAM_CLOSED]),
        row("5.1", "half-closed: CONTINUATION")
            .send([get(1), frame(CONTINUATION, END_HEADERS, 1, GET)].concat())
            .either(1, EITHER),
        row("5.1", "half-closed: WINDOW_UPDATE").send([get(1), window(1, 1)].concat()).status(1, 200),
        row("5.1", "half-closed: PRIORITY")
            .send([get(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat())
            .status(1, 200),
        row("5.1", "half-closed: RST_STREAM").send([get(1), reset(1, 8)].concat()),
    ]
}

fn closed() -> Vec<Row> {
    let done = |what| row("5.1", what).send(get(1)).answered(1);
    vec![
        done("closed: DATA").send(data(END_STREAM, 1, b"test")).connection(&[STREAM_CLOSED]),
        done("closed: DATA without an end").send(data(0, 1, b"test")).connection(&[STREAM_CLOSED]),
        done("closed: HEADERS").send(get(1)).connection(EITHER),
        done("closed: CONTINUATION").send(frame(CONTINUATION, END_HEADERS, 1, GET)).connection(EITHER),
        done("closed: WINDOW_UPDATE").send(window(1, 1)),
        done("closed: RST_STREAM").send(reset(1, 8)),
        done("closed: PRIORITY").send(frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        done("closed, as a higher one was opened: HEADERS").send(get(9)).answered(9).send(get(5)).connection(EITHER),
        done("closed, as a higher one was opened: DATA")
            .send(get(9))
            .answered(9)
            .send(data(0, 5, b"x"))
            .either(5, EITHER),
    ]
}

/// Streams that the client has reset, or we have.
fn taken_back() -> Vec<Row> {
    let back = |what| row("5.1", what).send([post(1), reset(1, 8)].concat());
    let malformed =
        |what| row("5.1", what).send(headers(END_HEADERS, 1, [POST, &fields(&[(b"connection", b"x")])].concat()));
    vec![
        back("reset by its client: nothing more"),
        back("reset by its client: DATA").send(data(END_STREAM, 1, b"test")).either(1, EITHER),
        back("reset by its client: HEADERS").send(get(1)).either(1, EITHER),
        back("reset by its client: CONTINUATION").send(frame(CONTINUATION, END_HEADERS, 1, GET)).either(1, EITHER),
        back("reset by its client: RST_STREAM").send(reset(1, 8).repeat(3)),
        back("reset by its client: WINDOW_UPDATE, PRIORITY")
            .send([window(1, 1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat()),
        malformed("reset by us: DATA that was on its way").send(data(END_STREAM, 1, b"test")).stream(1, &[PROTOCOL]),
        malformed("reset by us: trailers that were on their way")
            .send(headers(WHOLE, 1, fields(&[(b"x-a", b"1")])))
            .stream(1, &[PROTOCOL]),
        malformed("reset by us: WINDOW_UPDATE, PRIORITY")
            .send([window(1, 1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])].concat())
            .stream(1, &[PROTOCOL]),
    ]
}

fn numbers() -> Vec<Row> {
    let many: Vec<u8> = (0..101).flat_map(|n| headers(END_HEADERS, 2 * n + 1, POST)).collect();
    let stalled: Vec<u8> = (0..=100).flat_map(|n| get(2 * n + 1)).collect();
    vec![
        row("5.1.1", "an even number").send(get(2)).connection(&[PROTOCOL]),
        row("5.1.1", "a number below one that was used").send(get(5)).answered(5).send(get(3)).connection(EITHER),
        row("5.1.1", "the highest number").send(get(i32::MAX as u32)).data(i32::MAX as u32, HELLO.len()),
        row("5.1.1", "an even number: RST_STREAM").send(reset(2, 8)).connection(&[PROTOCOL]),
        row("5.1.1", "an even number: WINDOW_UPDATE").send(window(2, 1)).connection(&[PROTOCOL]),
        row("5.1.1", "an even number: DATA").send(data(0, 2, b"x")).connection(&[PROTOCOL]),
        row("5.1.2", "one more stream than there may be, all of them open")
            .send(many)
            .refused(201, &[REFUSED, PROTOCOL]),
        row("5.1.2", "one more, and no answer has a window")
            .send(settings(&[(4, 0)]))
            .send(stalled)
            .refused(201, &[REFUSED, PROTOCOL]),
    ]
}

fn priorities() -> Vec<Row> {
    vec![
        row("5.3.1", "PRIORITY on itself, idle").send(frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1])).either(1, &[PROTOCOL]),
        row("5.3.1", "PRIORITY on itself, open")
            .send([post(1), frame(PRIORITY, 0, 1, &[0x80, 0, 0, 1, 1])].concat())
            .stream(1, &[PROTOCOL]),
        row("6.3", "PRIORITY on stream 0").send(frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1])).connection(&[PROTOCOL]),
        row("6.4", "RST_STREAM on stream 0").send(reset(0, 8)).connection(&[PROTOCOL]),
        row("5.3", "priorities of streams that are not there, in a circle")
            .send([frame(PRIORITY, 0, 3, &[0, 0, 0, 5, 1]), frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])].concat())
            .send(get(7))
            .status(7, 200),
    ]
}
