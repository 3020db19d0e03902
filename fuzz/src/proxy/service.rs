//! The service of an input: it reads requests to the letter of RFC 9112, and answers as the input says.

use super::answers::{self, Answer, Ended};
use super::house::Scene;
use super::oracle::{self, Expected, First, Request};
use super::script::{Answering, End};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// One connection of the proxy.
#[derive(Debug, Default)]
pub struct Connection {
    pub requests: Vec<Seen>,
    /// What a proxy must never do.
    pub violations: Vec<String>,
    /// The service has switched protocols, and this is what came then.
    pub tunnel: Option<Vec<u8>>,
}

/// A request as it came.
#[derive(Debug)]
pub struct Seen {
    pub request: Request,
    /// All of the body came.
    pub is_whole: bool,
    /// What was answered, if anything was.
    pub answering: Option<Answering>,
    /// Parts of it that were sent.
    pub parts: usize,
}

/// What a strict client makes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// This, and nothing else.
    Clear(Answer),
    /// It breaks a rule, or something follows it that answers nothing: some take this for an answer, and some do not.
    Doubtful,
    /// Lines end with line feeds alone, which a client may take or leave (RFC 9112 §2.2).
    Odd,
    /// Nothing.
    None,
}

/// How long the service waits between two parts of an answer.
const BETWEEN_PARTS: Duration = Duration::from_millis(20);

impl Seen {
    /// What was sent as the answer.
    pub fn reading(&self) -> Reading {
        let Some(answering) = self.answering.as_ref().filter(|_| self.parts > 0) else { return Reading::None };
        let bytes = answering.parts[..self.parts].concat();
        let ended = if answering.end == End::Closes { Ended::InPeace } else { Ended::Broken };
        match answers::first(&bytes, &self.request.method, ended) {
            Ok(Some(answer)) if answer.length == bytes.len() => Reading::Clear(answer),
            Ok(None) if bytes.is_empty() => Reading::None,
            Ok(None) | Err(_) if has_bare_feeds(&bytes) => Reading::Odd,
            Ok(_) | Err(_) => Reading::Doubtful,
        }
    }

    /// Another request may follow on the same connection.
    fn may_be_followed(&self) -> bool {
        let stays = self.answering.as_ref().is_some_and(|answering| answering.end == End::Stays);
        let goes_on = match self.reading() {
            Reading::Clear(answer) => !answer.is_last,
            Reading::Odd => true,
            Reading::Doubtful | Reading::None => false,
        };
        stays && self.is_whole && goes_on
    }
}

fn has_bare_feeds(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r')
}

/// Accepts connections until the end.
pub async fn accept(listener: std::net::TcpListener, scene: Rc<Scene>) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let number = scene.observed.borrow().connections.len();
        scene.observed.borrow_mut().connections.push(Connection::default());
        spawn_local(serve(stream, number, scene.clone()));
    }
}

async fn serve(mut stream: TcpStream, number: usize, scene: Rc<Scene>) {
    let mut read = Vec::new();
    // the request at hand has been noted
    let mut is_noted = false;
    loop {
        let First { expected, length, framed, .. } = oracle::first(&read);
        let expected = match (expected, framed) {
            // for no host in particular (RFC 9110 §7.2): a client of HTTP/1.0 need not name one
            (Expected::Hostless(_), Some(request)) if memchr::memmem::find(&read, b"\r\nhost: \r\n").is_some() => {
                Expected::Request { request, may_be_refused: false }
            }
            (expected, _) => expected,
        };
        match expected {
            Expected::Open => {}
            Expected::Refused if memchr::memmem::find(&read, b"\r\n\r\n").is_none() => {}
            Expected::Refused | Expected::Hostless(_) | Expected::Request { may_be_refused: true, .. } => {
                return scene.violates(number, format!("the service was sent {}", read.escape_ascii()));
            }
            Expected::Unfinished(request) => {
                is_noted = scene.note(number, request, false, is_noted);
                let is_early = scene.next_answer().is_early;
                if is_early && !scene.is_answered(number) && !answer(&mut stream, number, &scene).await {
                    return;
                }
            }
            Expected::Request { request, .. } => {
                scene.note(number, request, true, is_noted);
                read.drain(..length);
                if !scene.is_answered(number) && !answer(&mut stream, number, &scene).await {
                    return;
                }
                is_noted = false;
                continue;
            }
        }
        if !fill(&mut stream, &mut read, &scene).await {
            return;
        }
    }
}

/// Answers the last request of a connection. False when the connection serves no more.
async fn answer(stream: &mut TcpStream, number: usize, scene: &Scene) -> bool {
    let answering = scene.next_answer();
    scene.answered.set(scene.answered.get() + 1);
    scene.with_last(number, |seen| seen.answering = Some(answering.clone()));
    for (at, part) in answering.parts.iter().enumerate() {
        if at > 0 {
            tokio::time::sleep(BETWEEN_PARTS).await;
            // more than a whole answer is for nobody; but once the next request is there, it would be for that one
            if scene.with_last(number, |seen| seen.may_be_followed()) && has_come(stream) {
                break;
            }
        }
        if stream.write_all(part).await.is_err() {
            return false;
        }
        scene.with_last(number, |seen| seen.parts = at + 1);
        scene.noticed();
    }
    match answering.end {
        End::Closes => {
            // what was not read would turn the end into a reset
            while matches!(stream.try_read(&mut [0; 4096]), Ok(1..)) {}
            return false;
        }
        End::Resets => {
            let _ = stream.set_zero_linger();
            return false;
        }
        End::Stays => {}
    }
    let is_switch = scene.with_last(number, |seen| match seen.reading() {
        Reading::Clear(answer) => answer.status == 101,
        // who knows
        Reading::Doubtful | Reading::Odd => answering.parts.concat().windows(4).any(|bytes| bytes == b" 101"),
        Reading::None => false,
    });
    if is_switch {
        let mut came = Vec::new();
        while fill(stream, &mut came, scene).await {}
        scene.observed.borrow_mut().connections[number].tunnel = Some(came);
    }
    !is_switch
}

/// There is something to be read.
fn has_come(stream: &TcpStream) -> bool {
    let mut one = [0];
    let mut peeked = pin!(stream.peek(&mut one));
    peeked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

async fn fill(stream: &mut TcpStream, read: &mut Vec<u8>, scene: &Scene) -> bool {
    use tokio::io::AsyncReadExt;
    let came = stream.read_buf(read).await.is_ok_and(|count| count > 0);
    if came {
        scene.noticed();
    }
    came
}

impl Scene {
    fn next_answer(&self) -> Answering {
        self.script.answers.get(self.answered.get()).cloned().unwrap_or_else(Answering::ok)
    }

    fn violates(&self, number: usize, what: String) {
        self.observed.borrow_mut().connections[number].violations.push(what);
    }

    fn with_last<T>(&self, number: usize, with: impl FnOnce(&mut Seen) -> T) -> T {
        let mut observed = self.observed.borrow_mut();
        with(observed.connections[number].requests.last_mut().expect("a request"))
    }

    fn is_answered(&self, number: usize) -> bool {
        self.with_last(number, |seen| seen.answering.is_some())
    }

    /// Writes a request down, or what is new of it.
    fn note(&self, number: usize, request: Request, is_whole: bool, is_noted: bool) -> bool {
        let observed = &mut *self.observed.borrow_mut();
        let Connection { requests, violations, .. } = &mut observed.connections[number];
        if is_noted {
            let last = requests.last_mut().expect("a request");
            (last.request, last.is_whole) = (request, is_whole);
            return true;
        }
        if let Some(before) = requests.last().filter(|before| !before.may_be_followed()) {
            violations.push(format!("a connection is used again after {before:?}"));
        }
        observed.order.push((number, requests.len()));
        requests.push(Seen { request, is_whole, answering: None, parts: 0 });
        true
    }
}
