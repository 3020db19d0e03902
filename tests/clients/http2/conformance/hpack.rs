//! Header blocks, byte by byte (RFC 7541).

use super::code::{COMPRESSION, PROTOCOL};
use super::*;

/// The library has one reason for all of this.
const REASON: &str = "the library says PROTOCOL_ERROR, and not COMPRESSION_ERROR; the connection ends all the same";

pub fn rows() -> Vec<Row> {
    [broken(), sizes(), representations()].into_iter().flatten().collect()
}

/// A request with more in its header block.
fn and(what: &'static str, section: &'static str, more: &[u8]) -> Row {
    row(section, what).send(headers(WHOLE, 1, [GET, more].concat()))
}

fn broken() -> Vec<Row> {
    let refused =
        |section, what, more: &[u8]| and(what, section, more).connection(&[COMPRESSION, PROTOCOL]).deviates(REASON);
    vec![
        refused("7541 2.3.3", "an index beyond both tables", b"\xc6"),
        refused("7541 2.3.3", "a name by an index beyond both tables", b"\x7f\x07\x05empty"),
        refused("7541 2.3.3", "the first index of a table that is empty", b"\xbe"),
        refused("7541 6.1", "index 0", b"\x80"),
        refused("7541 5.1", "an index beyond 2^32", b"\xff\xff\xff\xff\xff\xff\x0f"),
        refused("7541 5.1", "an index that never ends", b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        refused("7541 5.1", "an index that is cut off", b"\xff\x80"),
        refused("7541 5.1", "a length beyond 2^32", b"\0\x01a\x7f\xff\xff\xff\xff\xff\x0f"),
        refused("7541 5.2", "a string that is cut off", b"\0\x01a\x05abc"),
        refused("7541 5.2", "a name that is cut off", b"\0\x0aabc"),
        refused("7541 5.2", "a value that is missing", b"\0\x01a"),
        refused("7541 5.2", "padding of more than 7 bits", b"\0\x84\xf2\xb2\x4a\x7f\x84\xa0\xe4\x1d\x7f\xff"),
        refused("7541 5.2", "padding of zeros", b"\0\x01a\x81\x1e"),
        refused("7541 5.2", "padding of a whole byte", b"\0\x01a\x82\x1f\xff"),
        refused("7541 5.2", "the end of all strings within one", b"\0\x01a\x84\xff\xff\xff\xff"),
        refused("7541 5.2", "the same after a letter", b"\0\x01a\x85\x1f\xff\xff\xff\xfc"),
    ]
}

fn sizes() -> Vec<Row> {
    let before = |what, section, update: &[u8]| row(section, what).send(headers(WHOLE, 1, [update, GET].concat()));
    vec![
        before("the table made smaller", "7541 6.3", b"\x20").status(1, 200),
        before("the table made smaller, and as large as before", "7541 4.2", b"\x20\x3f\xe1\x1f").status(1, 200),
        before("the table made larger than it may be", "7541 6.3", b"\x3f\xe2\x1f")
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(REASON),
        before("a size beyond 2^32", "7541 5.1", b"\x3f\xff\xff\xff\xff\xff\x0f")
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(REASON),
        and("a size at the end of a block", "7541 4.2", b"\x3f\xe1\x1f")
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(REASON),
        row("7541 4.2", "a size within a block")
            .send(headers(WHOLE, 1, [&GET[..1], b"\x20", &GET[1..]].concat()))
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(REASON),
        row("7541 4.3", "an entry is gone when the table was made smaller")
            .send(headers(WHOLE, 1, [GET, b"\x40\x01a\x01b"].concat()))
            .answered(1)
            .send(headers(WHOLE, 3, [b"\x20", GET, b"\xbe"].concat()))
            .connection(&[COMPRESSION, PROTOCOL])
            .deviates(REASON),
        row("7541 4.4", "an entry larger than the table empties it")
            .send(headers(WHOLE, 1, [b"\x3f\x21".as_slice(), GET, b"\x40\x01a\x01b"].concat()))
            .answered(1)
            .send(headers(WHOLE, 3, [GET, b"\x40\x01c\x3c", &[b'd'; 60], b"\x40\x01e\x01f\xbe"].concat()))
            .status(3, 200),
    ]
}

fn representations() -> Vec<Row> {
    let huffman_host = b"\x82\x86\x84\x01\x83\x41\xcf\x5f";
    vec![
        and("a literal with indexing, new name", "7541 6.2.1", b"\x40\x06x-test\x02ok").status(1, 200),
        and("a literal with indexing, known name", "7541 6.2.1", b"\x7a\x02ok").status(1, 200),
        and("a literal without indexing, new name", "7541 6.2.2", b"\0\x06x-test\x02ok").status(1, 200),
        and("a literal without indexing, known name", "7541 6.2.2", b"\x0f\x2b\x02ok").status(1, 200),
        and("a literal never indexed, new name", "7541 6.2.3", b"\x10\x06x-test\x02ok").status(1, 200),
        and("a literal never indexed, known name", "7541 6.2.3", b"\x1f\x2b\x02ok").status(1, 200),
        and("an index of the static table", "7541 6.1", b"\x90").status(1, 200),
        and("an index of the dynamic table at once", "7541 6.1", b"\x40\x01a\x01b\xbe\xbe").status(1, 200),
        and("a name of the dynamic table", "7541 6.2", b"\x40\x01a\x01b\x0f\x2f\x01c").status(1, 200),
        and("a length in two bytes", "7541 5.1", &[&b"\0\x01a\x7f\x81\x01"[..], &[b'x'; 256]].concat()).status(1, 200),
        and("a value of Huffman code", "7541 5.2", b"\x40\x01a\x86\xa8\xeb\x10\x64\x9c\xbf").status(1, 200),
        row("7541 5.2", "a name of Huffman code")
            .send(headers(WHOLE, 1, [GET, b"\0\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x01a"].concat()))
            .status(1, 200),
        row("7541 C.4", ":authority of Huffman code").send(headers(WHOLE, 1, huffman_host)).status(1, 200),
        row("7541 2.3.2", "an entry of one request in the next")
            .send(headers(WHOLE, 1, [GET, b"\x40\x01a\x01b"].concat()))
            .answered(1)
            .send(headers(WHOLE, 3, [GET, b"\xbe"].concat()))
            .status(3, 200),
        row("7541 2.2", "an entry of a request that is malformed in the next")
            .send(headers(WHOLE, 1, [GET, b"\x40\x01a\x01b", &fields(&[(b"connection", b"x")])].concat()))
            .send(headers(WHOLE, 3, [GET, b"\xbe"].concat()))
            .status(3, 200),
        row("7541 2.2", "an entry of a request that is reset in the next")
            .send([headers(END_HEADERS, 1, [POST, b"\x40\x01a\x01b"].concat()), reset(1, 8)].concat())
            .send(headers(WHOLE, 3, [GET, b"\xbe"].concat()))
            .status(3, 200),
        row("7541 2.2", "an entry of a request beyond the limit of streams in the next")
            .send(refused_with_an_entry())
            .status(203, 200),
    ]
}

/// Streams that are held, one too many with a new entry, and one that uses it when there is room again.
fn refused_with_an_entry() -> Vec<u8> {
    let held = (0..100).flat_map(|n| headers(END_HEADERS, 2 * n + 1, POST)).collect::<Vec<u8>>();
    let refused = headers(WHOLE, 201, [GET, b"\x40\x01a\x01b"].concat());
    let freed = [reset(1, 8), headers(WHOLE, 203, [GET, b"\xbe"].concat())].concat();
    [held, refused, freed].concat()
}
