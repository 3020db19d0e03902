//! A service that writes down each byte it is sent, reads requests strictly, and answers as a script says.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use super::raw::{Lines, all, find, only, parse_line};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// A running service. It stops to accept when dropped.
pub struct Recording {
    pub address: SocketAddr,
    log: Arc<Log>,
}

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The connection it came on, counted from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub headers: Lines,
    /// The head as bytes, its empty line included.
    pub head: Vec<u8>,
    /// As far as the script has read it.
    pub body: Vec<u8>,
    pub trailers: Lines,
    /// The whole body has been read.
    pub is_complete: bool,
}

/// One request at a script's hands. What the script does not read of the body is read after it.
pub struct Exchange {
    pub seen: Seen,
    stream: TcpStream,
    read: Vec<u8>,
    log: Arc<Log>,
    /// Its place in the log.
    number: usize,
    is_closed: bool,
}

/// A request that breaks the rules of RFC 9112: a proxy must never send one.
type Violation = String;

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Seen>>,
    bytes: Mutex<Vec<Vec<u8>>>,
    violations: Mutex<Vec<Violation>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    is_stopped: AtomicBool,
}

/// How long a script waits for bytes that do not come.
const PATIENCE: Duration = Duration::from_secs(20);

impl Recording {
    /// Answers each request with its body.
    pub fn echo() -> Recording {
        Recording::start(Exchange::echo)
    }

    /// Answers each request with 200 and this text.
    pub fn text(text: &'static str) -> Recording {
        Recording::start(move |exchange| exchange.ok(text))
    }

    /// Answers each request with these bytes.
    pub fn bytes_always(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Recording {
        Recording::start(move |exchange| {
            exchange.body();
            exchange.send(bytes.as_ref());
        })
    }

    /// Hands each request to a script.
    pub fn start(script: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Recording {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (shared, script) = (log.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_stopped.load(SeqCst) {
                    return;
                }
                let number = shared.connections.fetch_add(1, SeqCst);
                lock(&shared.bytes).push(Vec::new());
                let (log, script) = (shared.clone(), script.clone());
                let builder = thread::Builder::new().stack_size(256 * 1024);
                builder.spawn(move || serve(stream, number, &log, &*script)).unwrap();
            }
        });
        Recording { address, log }
    }

    /// All requests, in the order in which their heads were complete.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.log.requests).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.log.requests).len()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        lock(&self.log.requests).last().cloned().expect("the service got a request")
    }

    /// Waits for a number of requests with all of their bodies.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        super::raw::eventually("the service's requests", || {
            let requests = lock(&self.log.requests);
            requests.len() >= count && requests.iter().all(|seen| seen.is_complete)
        });
        self.seen()
    }

    /// Each byte of each connection.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        lock(&self.log.bytes).clone()
    }

    /// Bytes of all connections.
    pub fn byte_count(&self) -> usize {
        lock(&self.log.bytes).iter().map(Vec::len).sum()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.log.connections.load(SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.log.open.load(SeqCst)
    }

    /// Requests that break the rules of RFC 9112.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.log.violations).clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.log.is_stopped.store(true, SeqCst);
        // wakes the thread that accepts
        let _ = TcpStream::connect(self.address);
        let violations = lock(&self.log.violations);
        if !thread::panicking() {
            assert!(violations.is_empty(), "the service was sent requests that break RFC 9112: {violations:?}");
        }
    }
}

impl Exchange {
    /// Reads the rest of the body.
    pub fn body(&mut self) -> &[u8] {
        while !self.seen.is_complete && self.read_some() {}
        &self.seen.body
    }

    /// Reads some more of the body; false at its end, or when the peer is gone.
    pub fn read_some(&mut self) -> bool {
        if self.seen.is_complete {
            return false;
        }
        let more = match self.framing() {
            Ok(Some(length)) => self.read_sized(length),
            Ok(None) => self.read_chunk(),
            Err(violation) => Err(violation),
        };
        let more = more.unwrap_or_else(|violation| {
            lock(&self.log.violations).push(violation);
            false
        });
        self.note();
        more
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// 200 with a text, after the request's body was read.
    pub fn ok(&mut self, text: &str) {
        self.body();
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
    }

    /// 200 with the request's body.
    pub fn echo(&mut self) {
        let body = self.body().to_vec();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), &body].concat());
    }

    /// Closes the connection in the ordinary way.
    pub fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        self.is_closed = true;
    }

    /// Closes the connection with a reset.
    pub fn reset(&mut self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        self.is_closed = true;
    }

    /// Waits until the peer closes; false when it does not.
    pub fn wait_for_close(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// The socket, for what is no HTTP, and what was read of it already. The exchange ends with it.
    pub fn take_stream(&mut self) -> (TcpStream, Vec<u8>) {
        self.is_closed = true;
        self.seen.is_complete = true;
        (self.stream.try_clone().unwrap(), std::mem::take(&mut self.read))
    }

    /// Writes down what is new.
    fn note(&self) {
        if let Some(kept) = lock(&self.log.requests).get_mut(self.number) {
            let known = kept.body.len();
            kept.body.extend_from_slice(&self.seen.body[known..]);
            kept.trailers.clone_from(&self.seen.trailers);
            kept.is_complete = self.seen.is_complete;
        }
    }

    /// The length of the body, or `None` when it is chunked.
    fn framing(&self) -> Result<Option<usize>, Violation> {
        let headers = &self.seen.headers;
        match (&all(headers, "transfer-encoding")[..], &all(headers, "content-length")[..]) {
            ([], []) => Ok(Some(0)),
            (["chunked"], []) => Ok(None),
            ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(Some).map_err(|_| format!("content-length {length}"))
            }
            _ => Err(format!("ambiguous framing: {}", String::from_utf8_lossy(&self.seen.head))),
        }
    }

    fn read_sized(&mut self, length: usize) -> Result<bool, Violation> {
        let missing = length - self.seen.body.len();
        if missing > 0 && self.read.is_empty() && self.fill().unwrap_or(0) == 0 {
            return Ok(false);
        }
        let count = missing.min(self.read.len());
        self.seen.body.extend(self.read.drain(..count));
        self.seen.is_complete = self.seen.body.len() == length;
        Ok(!self.seen.is_complete)
    }

    fn read_chunk(&mut self) -> Result<bool, Violation> {
        let Some(line) = self.line() else { return Ok(false) };
        let size = std::str::from_utf8(&line).ok().and_then(|line| usize::from_str_radix(line, 16).ok());
        let Some(size) = size else { return Err(format!("chunk size {:?}", String::from_utf8_lossy(&line))) };
        if size > 0 {
            while self.read.len() < size + 2 {
                if self.fill().unwrap_or(0) == 0 {
                    return Ok(false);
                }
            }
            self.seen.body.extend(self.read.drain(..size));
            let end: Vec<u8> = self.read.drain(..2).collect();
            return if end == b"\r\n" { Ok(true) } else { Err("a chunk does not end with CRLF".to_owned()) };
        }
        loop {
            let Some(line) = self.line() else { return Ok(false) };
            if line.is_empty() {
                self.seen.is_complete = true;
                return Ok(false);
            }
            self.seen.trailers.push(parse_line(&line)?);
        }
    }

    /// The next line without its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let mut line: Vec<u8> = self.read.drain(..end + 2).collect();
                line.truncate(end);
                return Some(line);
            }
            if self.fill().unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        fill(&mut self.stream, &mut self.read, &self.log, self.seen.connection)
    }
}

impl Seen {
    /// The only value of a header; `None` without one. Two lines fail the test.
    pub fn header(&self, name: &str) -> Option<&str> {
        only(&self.headers, name)
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    /// The value of a trailer field.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        only(&self.trailers, name)
    }
}

fn serve(mut stream: TcpStream, connection: usize, log: &Arc<Log>, script: &dyn Fn(&mut Exchange)) {
    log.open.fetch_add(1, SeqCst);
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut read = Vec::new();
    while let Some(exchange) = begin(&mut stream, &mut read, connection, log) {
        let mut exchange = exchange;
        script(&mut exchange);
        if exchange.is_closed {
            break;
        }
        exchange.body();
        read = exchange.read;
    }
    log.open.fetch_sub(1, SeqCst);
}

/// Reads the head of a request; `None` when the peer has closed, or sent what is none.
fn begin(stream: &mut TcpStream, read: &mut Vec<u8>, connection: usize, log: &Arc<Log>) -> Option<Exchange> {
    let end = loop {
        if let Some(end) = find(read, b"\r\n\r\n") {
            break end + 4;
        }
        let started = Instant::now();
        match fill(stream, read, log, connection) {
            Ok(0) => return None,
            Ok(_) => {}
            // a connection that waits in the proxy's pool may be silent for long
            Err(_) if read.is_empty() && started.elapsed() >= PATIENCE && !log.is_stopped.load(SeqCst) => {}
            Err(_) => return None,
        }
    };
    let head: Vec<u8> = read.drain(..end).collect();
    let seen = match parse_request(&head, connection) {
        Ok(seen) => seen,
        Err(violation) => {
            lock(&log.violations).push(violation);
            return None;
        }
    };
    let mut requests = lock(&log.requests);
    requests.push(seen.clone());
    let number = requests.len() - 1;
    drop(requests);
    let stream = stream.try_clone().ok()?;
    let mut exchange =
        Exchange { seen, stream, read: std::mem::take(read), log: log.clone(), number, is_closed: false };
    if exchange.framing() == Ok(Some(0)) {
        exchange.read_some();
    }
    Some(exchange)
}

fn fill(stream: &mut TcpStream, read: &mut Vec<u8>, log: &Log, connection: usize) -> std::io::Result<usize> {
    let mut buffer = [0; 64 * 1024];
    let count = stream.read(&mut buffer)?;
    read.extend_from_slice(&buffer[..count]);
    lock(&log.bytes)[connection].extend_from_slice(&buffer[..count]);
    Ok(count)
}

/// The head of a request, to the letter of RFC 9112.
fn parse_request(head: &[u8], connection: usize) -> Result<Seen, Violation> {
    let violation = |what: &str| format!("{what}: {:?}", String::from_utf8_lossy(head));
    if head.iter().zip(head.iter().skip(1)).any(|(one, next)| (*next == b'\n') != (*one == b'\r')) {
        return Err(violation("a bare CR or LF"));
    }
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let request_line = lines.next().unwrap_or_default();
    let [method, target, version] = request_line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(violation("request line"));
    };
    if version != "HTTP/1.1" || !(target.starts_with('/') || target == "*") || method.is_empty() {
        return Err(violation("request line"));
    }
    let headers = lines.map(|line| parse_line(line.chars().map(|c| c as u8).collect::<Vec<_>>().as_slice()));
    let headers = headers.collect::<Result<Lines, _>>().map_err(|error| violation(&error))?;
    if all(&headers, "host").len() != 1 {
        return Err(violation("host lines"));
    }
    Ok(Seen {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers,
        head: head.to_vec(),
        ..Seen::default()
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A door that scripts wait at until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Waits until the gate is open; false when it was not opened in time.
    pub fn pass(&self) -> bool {
        let closed = lock(&self.0.0);
        let waited = self.0.1.wait_timeout_while(closed, PATIENCE, |is_open| !*is_open);
        *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}
