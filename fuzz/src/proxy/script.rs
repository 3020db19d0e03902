//! What an input of the whole proxy says: what a client sends and how, and how a service answers.
//!
//! ```text
//! GET / HTTP/1.1 ..  FE a HTTP/1.1 200 OK ..  FE c GET /second ..  FE d HTTP/1.1 200 OK ..
//! ```
//!
//! Pieces stand between bytes of the value 0xFE, and the first byte of each but the first says what it is. Whoever
//! writes one by hand writes HTTP, and the fuzzer can cut it at any byte.

use std::time::Duration;

/// What stands between two pieces.
const CUT: u8 = 0xfe;
/// Pieces of an input that are looked at.
const PIECES_MAX: usize = 64;
/// A pause in which nothing is over yet: what comes after it is read apart from what came before.
const SHORT: Duration = Duration::from_millis(2);
/// A pause of which a few are longer than what the proxy waits for.
const LONG: Duration = Duration::from_millis(300);

/// An input.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub client: Vec<Act>,
    pub answers: Vec<Answering>,
}

/// What the client does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Says that it will send nothing more.
    Finish,
}

/// How the service answers a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// It does so when it has read the head, without waiting for the body.
    pub is_early: bool,
    /// Its bytes, with a pause after each part but the last.
    pub parts: Vec<Vec<u8>>,
    pub end: End,
}

/// What the service does with its connection after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Stays,
    Closes,
    Resets,
}

impl Script {
    /// An input that begins with what a client sends over HTTP/1.1.
    pub fn of_http1(data: &[u8]) -> Script {
        let mut script = Script::default();
        let mut pieces = data.split(|byte| *byte == CUT).take(PIECES_MAX);
        script.client.push(Act::Send(pieces.next().unwrap_or_default().to_vec()));
        for piece in pieces {
            let Some((kind, rest)) = piece.split_first() else { continue };
            if !script.take_common(*kind, rest) {
                script.client.extend([Act::Wait(SHORT), Act::Send(rest.to_vec())]);
            }
        }
        script
    }

    /// An input that says which frames a client sends over HTTP/2, each in a piece:
    ///
    /// - `H`, flags, stream, and fields: a header block, with 0xFD between fields and 0xFC between name and value
    /// - `D`, flags, stream, and data
    /// - `F`, kind, flags, stream, and a payload: any frame
    /// - `R` and bytes as they are
    pub fn of_http2(data: &[u8]) -> Script {
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
        let mut script = Script { client: vec![Act::Send(preface)], ..Script::default() };
        for piece in data.split(|byte| *byte == CUT).take(PIECES_MAX) {
            let bytes = match piece {
                [b'H', flags, stream, fields @ ..] => frame(1, *flags, *stream, &block(fields)),
                [b'D', flags, stream, data @ ..] => frame(0, *flags, *stream, data),
                [b'F', kind, flags, stream, payload @ ..] => frame(*kind, *flags, *stream, payload),
                [b'R', bytes @ ..] => bytes.to_vec(),
                [kind, rest @ ..] => {
                    script.take_common(*kind, rest);
                    continue;
                }
                [] => continue,
            };
            script.client.push(Act::Send(bytes));
        }
        script
    }

    /// Takes a piece that both protocols have; false when it is none.
    fn take_common(&mut self, kind: u8, rest: &[u8]) -> bool {
        let answer = |is_early, end| Answering { is_early, parts: vec![rest.to_vec()], end };
        match kind {
            b'a' => self.answers.push(answer(false, End::Stays)),
            b'h' => self.answers.push(answer(true, End::Stays)),
            b'd' => self.answers.push(answer(false, End::Closes)),
            b'r' => self.answers.push(answer(false, End::Resets)),
            b'l' => {
                if let Some(last) = self.answers.last_mut() {
                    last.parts.push(rest.to_vec());
                }
            }
            b'p' => self.client.extend([Act::Wait(LONG), Act::Send(rest.to_vec())]),
            b'f' => self.client.push(Act::Finish),
            _ => return false,
        }
        true
    }

    /// All that the client sends.
    pub fn sent(&self) -> Vec<u8> {
        let sends = self.client.iter().take_while(|act| **act != Act::Finish);
        sends
            .filter_map(|act| if let Act::Send(bytes) = act { Some(&**bytes) } else { None })
            .collect::<Vec<_>>()
            .concat()
    }

    /// The client neither waits for long nor says that it has finished.
    pub fn is_calm(&self) -> bool {
        !self.client.iter().any(|act| matches!(act, Act::Finish) || *act == Act::Wait(LONG))
    }
}

impl Answering {
    /// 200, once the request was read.
    pub fn ok() -> Answering {
        Answering { parts: vec![b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()], ..Answering::default() }
    }
}

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Fields as literals without indexing (RFC 7541 §6.2.2), whatever bytes they have.
fn block(fields: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for field in fields.split(|byte| *byte == 0xfd) {
        let mut halves = field.splitn(2, |byte| *byte == 0xfc);
        block.push(0);
        for _ in 0..2 {
            let text = halves.next().unwrap_or_default();
            // a length of 7 bits, or 127 and what is beyond in 7 bits each (RFC 7541 §5.1)
            block.push(text.len().min(127) as u8);
            let mut rest = text.len().checked_sub(127);
            while let Some(more) = rest {
                block.push((more & 127) as u8 | if more > 127 { 128 } else { 0 });
                rest = Some(more >> 7).filter(|more| *more > 0);
            }
            block.extend_from_slice(text);
        }
    }
    block
}
