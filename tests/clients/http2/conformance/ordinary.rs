//! What every server must do: the uses that the standard has in mind.

use super::*;

pub fn rows() -> Vec<Row> {
    [requests(), frames()].into_iter().flatten().collect()
}

fn requests() -> Vec<Row> {
    let head = headers(WHOLE, 1, HEAD);
    let options = headers(
        WHOLE,
        1,
        fields(&[(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"*"), (b":authority", b"shop")]),
    );
    let trailers = headers(WHOLE, 1, fields(&[(b"x-test", b"ok")]));
    let many: Vec<u8> = (0..100).flat_map(|n| get(2 * n + 1)).collect();
    vec![
        row("8", "GET").send(get(1)).status(1, 200),
        row("8", "HEAD").send(head).status(1, 200),
        row("8", "OPTIONS *").send(options).status(1, 204),
        row("8", "POST").send([post(1), data(END_STREAM, 1, b"test")].concat()).status(1, 200),
        row("8", "POST with trailers").send([post(1), data(0, 1, b"test"), trailers].concat()).status(1, 200),
        row("8", "POST without a body").send(headers(WHOLE, 1, POST)).status(1, 200),
        row("8", "a body in frames of one byte")
            .send(post(1))
            .send(data(0, 1, b"a").repeat(200))
            .send(data(END_STREAM, 1, b""))
            .status(1, 200),
        row("8", "GET with a body")
            .send([headers(END_HEADERS, 1, GET), data(END_STREAM, 1, b"test")].concat())
            .status(1, 200),
        row("5", "a hundred requests at once").send(many).answered(1).answered(99).answered(199),
        row("5", "two bodies, in turn")
            .send([post(1), post(3), data(0, 1, b"a"), data(0, 3, b"b"), data(END_STREAM, 1, b"c")].concat())
            .send(data(END_STREAM, 3, b"d"))
            .answered(3)
            .status(1, 200),
        row("5.1.1", "numbers with gaps")
            .send([get(1), get(77), get(901)].concat())
            .answered(77)
            .answered(901)
            .status(1, 200),
    ]
}

fn frames() -> Vec<Row> {
    let depends =
        |stream: u32, on: u32, weight: u8| frame(PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[weight]].concat());
    vec![
        row("5.3", "priorities before, within and after")
            .send([depends(1, 0, 255), depends(3, 0x8000_0001, 0), get(1), depends(1, 7, 15)].concat())
            .answered(1)
            .send(depends(1, 0, 15)),
        row("6.9", "windows as large as they may be")
            .send([window(0, (1 << 31) - 1 - 65_535), get(1), window(1, 1 << 30)].concat())
            .status(1, 200),
        row("6.9", "a hundred small windows").send([window(0, 1).repeat(100), get(1)].concat()).status(1, 200),
        row("6.4", "RST_STREAM of a request that waits for its body").send([post(1), reset(1, 8)].concat()),
        row("6.5", "settings between head and body")
            .send([post(1), settings(&[(3, 100), (4, 1 << 20)]), data(END_STREAM, 1, b"a")].concat())
            .acked(2)
            .status(1, 200),
        row("6.5", "our settings are acknowledged").send(frame(SETTINGS, ACK, 0, &[])).send(get(1)).status(1, 200),
        row("6.7", "ten PINGs")
            .send(frame(PING, 0, 0, b"ten ping").repeat(10))
            .pong(*b"ten ping")
            .send(get(1))
            .status(1, 200),
    ]
}
