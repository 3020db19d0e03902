//! D5: what can be read in two ways must not be passed on (RFC 9112 §6 and §7). Thousands of heads and bodies are put
//! together from good and bad parts; what reaches the service is compared with what an [`oracle`] says.

mod oracle;

use crate::support::raw::{Raw, Response};
use crate::support::recording::{Exchange, Recording};
use crate::support::server::Proxy;
use oracle::{Expected, Request};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many streams are tried in a few seconds; `RINGWAY_TEST_FRAMING=200000` asks for more.
const STREAMS: u64 = 6_000;
/// Streams that are under way at a time.
const THREADS: u64 = 4;

const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
const VERSIONS: [&str; 4] = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"];
/// Names of fields, with what stands between name and value. `#` is the name.
const NAMES: [&str; 24] = [
    "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#: ", "#:", "#:", "#:\t", "#: \t ",
    "# : ", "#\t: ", " #: ", "\x0b#: ", "#\0: ", "x-#: ", "#:\x0b", "#\r: ",
];
const ENDS: [&str; 16] = [
    "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", " \r\n", "\t\r\n",
    "\n", "\r\r\n",
];
const LENGTHS: [&str; 24] = [
    "5",
    "5",
    "5",
    "0",
    "05",
    "+5",
    "-5",
    "5, 5",
    "5,5",
    "5, 6",
    "5 5",
    "",
    "0x5",
    "5.0",
    "5;",
    "\"5\"",
    "5e0",
    "5,",
    ",5",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "00000000000000000000005",
    "V",
];
const CODINGS: [&str; 22] = [
    "chunked",
    "chunked",
    "chunked",
    "Chunked",
    "CHUNKED",
    "xchunked",
    "chunked;q=1",
    "identity",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, chunked",
    ",chunked",
    "chunked,",
    "\"chunked\"",
    "",
    "chunked, identity",
    "chunked chunked",
    "chunked\t",
    "gzip",
    "chunked\x0b",
    "\u{e9}chunked",
    "trailers",
];
const BODIES: [&str; 24] = [
    "hello",
    "",
    "hell",
    "hello, world",
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 1\r\n\r\n",
    "0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "0000000005\r\nhello\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "5;\n\r\nhello\r\n0\r\n\r\n",
];

/// One client's bytes, and what came of them.
struct Tried {
    bytes: Vec<u8>,
    answers: Vec<Response>,
    has_closed: bool,
}

type Observed = Arc<Mutex<HashMap<u64, Vec<(Request, bool)>>>>;

#[test]
fn what_can_be_read_in_two_ways_is_not_passed_on() {
    let streams = std::env::var("RINGWAY_TEST_FRAMING").ok().and_then(|count| count.parse().ok()).unwrap_or(STREAMS);
    let observed = Observed::default();
    let noted = observed.clone();
    let upstream = Recording::start(move |exchange| note_and_answer(exchange, &noted));
    let proxy = Proxy::before_with(&upstream, "limits: { maxRequestsPerConnection: 100 }");
    let address = proxy.address();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| std::thread::spawn(move || try_all((thread..streams).step_by(THREADS as usize), address)))
        .collect();
    let tried: HashMap<u64, Tried> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    drop(proxy);
    crate::support::raw::eventually("the end of all connections", || upstream.open() == 0);
    let observed = observed.lock().unwrap();
    let none = Vec::new();
    let mut refused = 0;
    let mut violations = Vec::new();
    for (id, tried) in &tried {
        let seen = observed.get(id).unwrap_or(&none);
        refused += u64::from(seen.is_empty());
        if let Err(why) = judge(tried, seen) {
            violations.push(format!("stream {id}: {why}\n  sent {:?}", String::from_utf8_lossy(&tried.bytes)));
        }
    }
    println!("{streams} streams, {refused} of them without a byte for the service, {} violations", violations.len());
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations[..violations.len().min(20)].join("\n")
    );
    // a proxy that refuses everything breaks no rule and is of no use
    assert!(refused < streams * 9 / 10 && refused > streams / 4, "{refused} of {streams} refused");
}

/// Writes down a request and whether it was whole, and answers with what was understood.
fn note_and_answer(exchange: &mut Exchange, observed: &Observed) {
    exchange.body();
    let seen = &exchange.seen;
    let id = seen.target.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(u64::MAX);
    let request = Request { method: seen.method.clone(), target: seen.target.clone(), body: seen.body.clone() };
    let is_head = seen.method == "HEAD";
    let text = format!("{} {}", seen.method, seen.target);
    observed.lock().unwrap().entry(id).or_default().push((request, seen.is_complete));
    let body = if is_head { "" } else { &text };
    exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", text.len()));
}

fn try_all(ids: impl Iterator<Item = u64>, address: SocketAddr) -> Vec<(u64, Tried)> {
    ids.map(|id| (id, try_one(stream(id), address))).collect()
}

/// The bytes of a stream: a request made of random parts, and a good one after it that asks to close.
fn stream(id: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(id ^ 0x9e37_79b9_7f4a_7c15);
    let mut lines = Vec::new();
    let mut field = |random: &mut fastrand::Rng, name: &str, values: &[&str]| {
        let value = random.choice(values).unwrap().replace('V', "\x0b5");
        let before = random.choice(NAMES).unwrap();
        let name = if random.u8(..) < 16 { name.replace('-', "_") } else { name.to_owned() };
        let name = if random.bool() { name } else { name.to_ascii_lowercase() };
        lines.push(format!("{}{value}{}", before.replace('#', &name), random.choice(ENDS).unwrap()));
    };
    let shape = random.u8(0..16);
    let lengths = [0, 1, 0, 1, 2, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 2][usize::from(shape)];
    let codings = [0, 0, 1, 1, 0, 2, 1, 0, 1, 0, 1, 0, 1, 0, 2, 0][usize::from(shape)];
    (0..lengths).for_each(|_| field(&mut random, "Content-Length", &LENGTHS));
    (0..codings).for_each(|_| field(&mut random, "Transfer-Encoding", &CODINGS));
    lines.push("Host: shop\r\n".to_owned());
    if random.u8(..) < 32 {
        lines.push("Connection: keep-alive\r\n".to_owned());
    }
    random.shuffle(&mut lines);
    let (method, version) = (random.choice(METHODS).unwrap(), random.choice(VERSIONS).unwrap());
    let body = random.choice(BODIES).unwrap();
    let next = format!("GET /next/{id} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
    let mut text = format!("{}\r\n{body}", lines.concat());
    if random.bool() {
        damage(&mut text, &mut random);
    }
    format!("{method} /first/{id} {version}\r\n{text}{next}").chars().map(|c| c as u8).collect()
}

/// Changes, takes out or adds one byte.
fn damage(text: &mut String, random: &mut fastrand::Rng) {
    const BYTES: [char; 20] = [
        '\r', '\n', '\0', ' ', '\t', ':', ';', ',', '0', '5', 'a', 'f', 'x', '-', '+', '_', '"', '\x0b', '\u{85}',
        '\u{ff}',
    ];
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.usize(..chars.len());
    match random.u8(0..3) {
        0 => chars[at] = *random.choice(&BYTES).unwrap(),
        1 => drop(chars.remove(at)),
        _ => chars.insert(at, *random.choice(&BYTES).unwrap()),
    }
    *text = chars.into_iter().collect();
}

fn try_one(bytes: Vec<u8>, address: SocketAddr) -> Tried {
    let expected = oracle::read(&bytes);
    let mut client = Raw::connect(address).with_patience(Duration::from_secs(5));
    client.send(&bytes);
    if matches!(expected.last(), Some(Expected::Unfinished(_))) {
        // nothing more will come
        client.finish();
    }
    let mut answers = Vec::new();
    for expected in &expected {
        let method = match expected {
            Expected::Request { request, .. } | Expected::Unfinished(request) => &request.method,
            Expected::Hostless(method) => method,
            Expected::Refused => "",
            Expected::Open => {
                client.finish();
                break;
            }
        };
        match client.try_response_to(method) {
            Ok(response) => answers.push(response),
            Err(_) => break,
        }
    }
    answers.extend(client.try_response_to(""));
    let has_closed = client.rest().is_empty() && client.is_closed();
    Tried { bytes, answers, has_closed }
}

/// Compares what the service got and what the client got with what the bytes mean.
fn judge(tried: &Tried, seen: &[(Request, bool)]) -> Result<(), String> {
    if !tried.has_closed {
        return Err("the connection was not closed".to_owned());
    }
    let expected = oracle::read(&tried.bytes);
    let mut seen = seen.iter();
    let mut answers = tried.answers.iter();
    for expected in expected.iter().filter(|expected| **expected != Expected::Open) {
        let answer = answers.next();
        let is_refused = answer.is_none_or(|answer| (400..500).contains(&answer.status));
        match expected {
            Expected::Request { request, may_be_refused } => {
                if *may_be_refused && is_refused {
                    // the head may have been passed on when the doubt is in a chunk
                    let more: Vec<_> = seen.filter(|(_, is_complete)| *is_complete).collect();
                    return if more.is_empty() { Ok(()) } else { Err(format!("refused, but passed on: {more:?}")) };
                }
                match seen.next() {
                    Some((got, true)) if got == request => {}
                    other => return Err(format!("expected {request:?}, the service saw {other:?}")),
                }
                let text = format!("{} {}", request.method, request.target);
                let is_own =
                    |answer: &Response| answer.status == 200 && (request.method == "HEAD" || answer.text() == text);
                if !answer.is_some_and(is_own) {
                    return Err(format!("{text} was answered with {answer:?}"));
                }
            }
            Expected::Hostless(_) => {
                if answer.is_none_or(|answer| answer.status != 400) {
                    return Err(format!("a request for no host was answered with {answer:?}"));
                }
                if answers.len() == 0 && seen.len() == 0 {
                    return Ok(());
                }
            }
            Expected::Unfinished(request) => {
                return match seen.next() {
                    None => Ok(()),
                    Some((got, false)) if request.body.starts_with(&got.body) && got.target == request.target => Ok(()),
                    other => Err(format!("expected the begin of {request:?}, the service saw {other:?}")),
                };
            }
            Expected::Open => {}
            Expected::Refused if is_refused && seen.next().is_none() => return Ok(()),
            Expected::Refused => return Err(format!("to be refused, but answered with {answer:?}")),
        }
    }
    match (seen.next(), answers.next()) {
        (None, None) => Ok(()),
        more => Err(format!("more than there is: {more:?}")),
    }
}
