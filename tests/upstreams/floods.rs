//! Abuse (battery D12 and the floods of HTTP/2): each attack for a moment, with ordinary traffic beside it.
//!
//! The real program serves; what is measured of it is what the kernel says. `RINGWAY_TEST_IDLE=10000` opens as many
//! idle connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::binary::Binary;
use crate::client::{Client, Client2};
use crate::service::Service;
use crate::story::{pause, shop};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET /` of `evil`, in the static table as far as possible (RFC 7541).
const GET: &[u8] = b"\x82\x86\x84\x01\x04evil";
/// `POST /` of `evil`.
const POST: &[u8] = b"\x83\x86\x84\x01\x04evil";
/// No window for any answer (RFC 9113 §6.5.2).
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Bytes of one attack, unless it is cut before.
const BYTES_MAX: usize = 8 << 20;
/// The time of one attack, unless it is cut before.
const TIME_MAX: Duration = Duration::from_millis(1500);
/// A debug build shares the machine with all other tests.
const P99_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 4000 } else { 250 });
/// What an attack may cost us for what it costs the attacker.
const CPU_RATIO_MAX: u32 = if cfg!(debug_assertions) { 200 } else { 20 };
/// What ordinary requests cost meanwhile, and the end of some hundred streams.
const CPU_FREE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 200 });
const GROWTH_MAX: usize = 128 << 20;
/// Growth that is nobody's fault: threads, pools and allocators settle, and what 300 requests within all limits may hold at
/// once while a busy machine has not answered them, 32 KiB of header each.
const GROWTH_FREE: usize = 12 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, flags, stream, block)
}

/// What is sent: an opening, and then pieces, by their number.
struct Attack {
    name: &'static str,
    opening: Vec<u8>,
    piece: Box<dyn Fn(u32) -> Vec<u8>>,
    /// Between two pieces.
    pause: Duration,
    connections: usize,
    is_cut: bool,
    /// Bytes by which we may grow whatever was sent.
    free: usize,
}

fn attack(name: &'static str, settings: &[u8], piece: impl Fn(u32) -> Vec<u8> + 'static) -> Attack {
    let opening = [PREFACE, &frame(4, 0, 0, settings)].concat();
    Attack {
        name,
        opening,
        piece: Box::new(piece),
        pause: Duration::ZERO,
        connections: 1,
        is_cut: true,
        free: GROWTH_FREE,
    }
}

impl Attack {
    fn after(mut self, more: Vec<u8>) -> Attack {
        self.opening.extend(more);
        self
    }

    fn tolerated(self) -> Attack {
        Attack { is_cut: false, ..self }
    }
}

/// A stream's number, for the n-th request.
fn odd(n: u32) -> u32 {
    2 * n + 1
}

fn get(n: u32) -> Vec<u8> {
    headers(END_STREAM | END_HEADERS, odd(n), GET)
}

fn many(count: usize, frame: &[u8]) -> Vec<u8> {
    frame.repeat(count)
}

/// Frames that bring no request.
fn frames_for_nothing() -> Vec<Attack> {
    let continued = || headers(0, 1, GET);
    let posted = || headers(END_HEADERS, 1, POST);
    vec![
        attack("empty CONTINUATION", &[], |_| many(100, &frame(9, 0, 1, b""))).after(continued()),
        attack("large CONTINUATION", &[], |n| {
            let name = format!("x-{n:012}");
            let field = [b"\0\x0e".as_slice(), name.as_bytes(), b"\x7f\x81\x7c", &[b'a'; 16_000]].concat();
            frame(9, 0, 1, &field)
        })
        .after(continued()),
        attack("empty DATA", &[], |_| many(100, &frame(0, 0, 1, b""))).after(posted()),
        attack("1-byte DATA", &[], |_| many(100, &frame(0, 0, 1, b"a"))).after(posted()).tolerated(),
        attack("PING", &[], |_| many(500, &frame(6, 0, 0, &[7; 8]))),
        attack("SETTINGS", &[], |_| many(500, &frame(4, 0, 0, b""))),
        attack("PRIORITY", &[], |n| many(500, &frame(2, 0, odd(n), &[0, 0, 0, 0, 1]))),
        attack("WINDOW_UPDATE", &[], |_| many(500, &frame(8, 0, 0, &[0, 0, 0, 1]))),
        attack("unknown frames", &[], |_| frame(0xfa, 0, 0, &[0; 16_384])),
    ]
}

/// Requests that are taken back, or that we are made to reset.
fn resets() -> Vec<Attack> {
    let post = |n| headers(END_HEADERS, odd(n), POST);
    vec![
        attack("rapid reset", &[], |n| [get(n), frame(3, 0, odd(n), &[0, 0, 0, 8])].concat()),
        attack("made to reset: window of 0", &[], move |n| [post(n), frame(8, 0, odd(n), &[0; 4])].concat()),
        attack("made to reset: window too large", &[], move |n| {
            [post(n), frame(8, 0, odd(n), &[0x7f, 0xff, 0xff, 0xff])].concat()
        }),
        attack("made to reset: DATA after the end", &[], |n| [get(n), frame(0, 0, odd(n), b"a")].concat()),
        attack("made to reset: PRIORITY on itself", &[], move |n| {
            let itself = odd(n).to_be_bytes();
            [post(n), frame(2, 0, odd(n), &[&itself[..], &[1]].concat())].concat()
        }),
    ]
}

/// Small header blocks that become large ones, on streams whose answers nobody takes.
fn bombs() -> Vec<Attack> {
    let bomb = |name, field: Vec<u8>, references: usize| {
        let first = [GET, &field].concat();
        // the newest entry of the dynamic table (RFC 7541 §2.3.3)
        let block = [GET, &vec![0xbe; references]].concat();
        let opening = headers(END_STREAM | END_HEADERS, 1, &first);
        let bomb = attack(name, NO_WINDOW, move |n| {
            if n < 100 { headers(END_STREAM | END_HEADERS, odd(n + 1), &block) } else { Vec::new() }
        });
        Attack { connections: 3, ..bomb.after(opening).tolerated() }
    };
    // what is refused holds nothing
    let refused = |name, field: &[u8]| Attack { free: 0, ..bomb(name, field.to_vec(), 480) };
    let fat = [b"\x60\x7f\xa1\x1e".as_slice(), &[b'a'; 4000]].concat();
    vec![
        refused("bomb: tiny header", b"\x40\x01a\0"),
        refused("bomb: empty cookie", b"\x60\0"),
        bomb("bomb: fat cookie", fat, 7),
    ]
}

/// Clients that take their time.
fn slow() -> Vec<Attack> {
    let stalled = attack("window stall, 1-byte drips", NO_WINDOW, |n| {
        if n < 100 { get(n) } else { (0..100).flat_map(|n| frame(8, 0, odd(n), &[0, 0, 0, 1])).collect() }
    });
    let plain = |name, opening: &str, piece: &'static str, pause_ms| Attack {
        opening: opening.as_bytes().to_vec(),
        piece: Box::new(move |_| piece.as_bytes().to_vec()),
        pause: Duration::from_millis(pause_ms),
        connections: 20,
        ..attack(name, &[], |_| Vec::new())
    };
    let idle = std::env::var("RINGWAY_TEST_IDLE").map_or(500, |count| count.parse().unwrap());
    vec![
        Attack { pause: Duration::from_millis(5), ..stalled.tolerated() },
        plain("slow head", "GET / HTTP/1.1\r\nhost: evil\r\nx: ", "a", 50),
        plain("slow body", "POST / HTTP/1.1\r\nhost: evil\r\ncontent-length: 100000\r\n\r\n", "a", 50).tolerated(),
        Attack { connections: idle, ..plain("idle connections", "", "", 50).tolerated() },
        Attack { connections: 1, ..plain("100,000 CRLF", &"\r\n".repeat(100_000), "\r\n", 1) },
    ]
}

/// What came of an attack.
#[derive(Debug, Default)]
struct Outcome {
    sent: usize,
    /// The last of its connections was closed after this.
    cut: Option<Duration>,
}

impl Attack {
    fn run(&self, to: SocketAddr) -> Outcome {
        let began = Instant::now();
        let mut connections: Vec<Option<TcpStream>> = (0..self.connections).map(|_| open(to)).collect();
        let (mut sent, mut cut) = (0, None);
        for n in 0.. {
            let piece = if n == 0 { self.opening.clone() } else { (self.piece)(n - 1) };
            for connection in &mut connections {
                let Some(stream) = connection else { continue };
                match send(stream, &piece) {
                    Some(count) => sent += count,
                    None => *connection = None,
                }
            }
            if connections.iter().all(Option::is_none) {
                cut = Some(began.elapsed());
                break;
            }
            if began.elapsed() > TIME_MAX * 2 || !self.is_cut && (sent > BYTES_MAX || began.elapsed() > TIME_MAX) {
                break;
            }
            if !self.pause.is_zero() || piece.is_empty() {
                pause(self.pause.max(Duration::from_millis(5)));
            }
        }
        Outcome { sent, cut }
    }
}

fn open(to: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nonblocking(true).unwrap();
    Some(stream)
}

/// Sends as much as is taken, and reads what is there. `None`: closed by the proxy.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    let (mut sent, mut scratch) = (0, [0; 16 * 1024]);
    let deadline = Instant::now() + TIME_MAX;
    loop {
        loop {
            match stream.read(&mut scratch) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        if sent == bytes.len() || Instant::now() > deadline {
            return Some(sent);
        }
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => pause(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
}

/// Ordinary clients: new connections, a kept one, and HTTP/2.
struct Ordinary {
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<(Vec<Duration>, usize)>,
}

impl Ordinary {
    fn begin(to: SocketAddr) -> Ordinary {
        let ends = Arc::<AtomicBool>::default();
        let is_over = Arc::clone(&ends);
        // before the attack: a connection without a request would not be kept for long
        let (mut kept, mut second) = (Client::connect(to), Client2::connect(to));
        assert!(kept.get("/", "").is_ok() && second.get("/").is_ok());
        let thread = thread::spawn(move || {
            let (mut times, mut failures) = (Vec::new(), 0);
            for n in 0.. {
                if is_over.load(SeqCst) && times.len() >= 20 {
                    break;
                }
                let began = Instant::now();
                let answer = match n % 3 {
                    0 => Client::connect(to).get("/", "connection: close\r\n"),
                    1 => kept.get("/", ""),
                    _ => second.get("/"),
                };
                times.push(began.elapsed());
                failures += usize::from(!answer.is_ok());
                pause(Duration::from_millis(20).saturating_sub(began.elapsed()));
            }
            times.sort();
            (times, failures)
        });
        Ordinary { ends, thread }
    }

    /// How many requests there were, the 99th percentile of their times, and how many have failed.
    fn end(self) -> (usize, Duration, usize) {
        self.ends.store(true, SeqCst);
        let (times, failures) = self.thread.join().unwrap();
        (times.len(), times[times.len() * 99 / 100], failures)
    }
}

/// The time that threads have run, as the scheduler says it (`schedstat`).
fn ran(threads: impl Iterator<Item = std::path::PathBuf>) -> Duration {
    // a thread may end while it is looked at
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.join("schedstat")).ok());
    Duration::from_nanos(texts.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()).sum())
}

/// The time that a process has run.
fn process_ran(process: u32) -> Duration {
    ran(std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|entry| entry.unwrap().path()))
}

fn resident_bytes(process: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn floods_hurt_nobody_else() {
    let answer: &'static str = Box::leak("x".repeat(64 * 1024).into_boxed_str());
    let victim = Service::wired(move |wire| {
        while wire.request().is_some() {
            wire.ok(answer);
        }
    });
    // a service of its own, as it is not the service that is tried here
    let service = Service::named("stable");
    let address = service.address.to_string();
    let text = format!(
        "{}  evil: {{ variants: {{ stable: {{ endpoints: [\"{}\"] }} }} }}\n\
         routes: [{{ hostnames: [evil], service: evil }}, {{ service: shop }}]\n",
        shop(&address, &address, 5),
        victim.address
    );
    let text = text.replace(
        "address: 127.0.0.1:0 }]",
        "address: 127.0.0.1:0, limits: { maxConnections: 20000 }, timeouts: { requestHeaders: 2s } }]",
    );
    let mut binary = Binary::start(&text, &["--workers", "2"]);
    let mut violations = Vec::new();
    println!("attack | sent | cut after | memory | their CPU | our CPU | ordinary requests | failed | p99");
    for attack in [frames_for_nothing(), resets(), bombs(), slow()].into_iter().flatten() {
        let before = resident_bytes(binary.id());
        let ordinary = Ordinary::begin(binary.listener);
        let this_thread = || ran(std::iter::once("/proc/thread-self".into()));
        let (theirs, ours) = (this_thread(), process_ran(binary.id()));
        let Outcome { sent, cut } = attack.run(binary.listener);
        let (theirs, ours) = (this_thread() - theirs, process_ran(binary.id()) - ours);
        let grown = resident_bytes(binary.id()).saturating_sub(before);
        let (requests, p99, failed) = ordinary.end();
        let cut_text = cut.map_or("not".to_owned(), |cut| format!("{} ms", cut.as_millis()));
        let row = format!(
            "{} | {} KiB | {cut_text} | +{} KiB | {} ms | {} ms | {requests} | {failed} | {} ms",
            attack.name,
            sent >> 10,
            grown >> 10,
            theirs.as_millis(),
            ours.as_millis(),
            p99.as_millis()
        );
        println!("{row}");
        let is_lean = grown < GROWTH_MAX && grown < (sent * 20).max(attack.free);
        let is_cheap = ours < theirs * CPU_RATIO_MAX + CPU_FREE;
        let is_good =
            is_cheap && failed * 100 <= requests && p99 < P99_MAX && is_lean && (cut.is_some() || !attack.is_cut);
        if !is_good || !binary.is_alive() {
            violations.push(row);
        }
    }
    assert!(violations.is_empty(), "{violations:#?}\n{}", binary.log());
    assert_eq!(binary.metrics().sum("ringway_panics_total", &[]), 0.0);
    binary.terminate();
    assert_eq!(binary.exit_code(), 0);
}
