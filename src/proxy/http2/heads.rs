//! What the head of a frame tells to be wrong by itself, where the library lets it pass or names another reason.

use h2::Reason;

/// The frames of a connection, as their heads tell.
#[derive(Debug, Default)]
pub(super) struct Heads {
    has_begun: bool,
    /// A header block has begun, and goes on in the next frame.
    is_within_block: bool,
    /// The highest stream that has had a header block.
    newest: u32,
    /// Streams that their client has ended, the last ones; 0 for none.
    ended: [u32; ENDED_MAX],
    ended_count: usize,
}

/// Streams of which is known that their client has ended them.
const ENDED_MAX: usize = 16;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// Also `ACK`, of SETTINGS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Heads {
    /// Looks at the next head, with the length of its payload in bytes. A reason ends the connection.
    pub(super) fn wrong(&mut self, length: usize, kind: u8, flags: u8, stream: u32) -> Option<Reason> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        // RFC 9113 §3.4: the preface goes on with the client's settings
        if is_first && (kind != SETTINGS || flags & END_STREAM != 0) {
            return Some(Reason::PROTOCOL_ERROR);
        }
        if self.is_within_block {
            // anything but its continuation is for the library to refuse
            self.is_within_block = kind != CONTINUATION || flags & END_HEADERS == 0;
            return None;
        }
        if is_wrong_length(length, kind, flags) {
            return Some(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            DATA | HEADERS if self.has_ended(stream) => return Some(Reason::STREAM_CLOSED),
            DATA | HEADERS if flags & END_STREAM != 0 => {
                self.ended[self.ended_count % ENDED_MAX] = stream;
                self.ended_count = self.ended_count.wrapping_add(1);
            }
            _ => {}
        }
        if kind == HEADERS {
            self.newest = self.newest.max(stream);
            self.is_within_block = flags & END_HEADERS == 0;
        }
        None
    }

    /// True for a stream that may get neither a body nor trailers any more (RFC 9113 §5.1).
    fn has_ended(&self, stream: u32) -> bool {
        stream != 0 && stream <= self.newest && self.ended.contains(&stream)
    }
}

/// RFC 9113 §6: frames whose payload has one length, or a multiple of one.
fn is_wrong_length(length: usize, kind: u8, flags: u8) -> bool {
    match kind {
        PRIORITY => length != 5,
        RST_STREAM | WINDOW_UPDATE => length != 4,
        SETTINGS if flags & END_STREAM != 0 => length != 0,
        SETTINGS => !length.is_multiple_of(6),
        PING => length != 8,
        GOAWAY => length < 8,
        _ => false,
    }
}
