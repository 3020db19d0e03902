//! A client that sends exactly the bytes it is told to, and reads answers strictly: what is not HTTP/1.1 to the letter
//! fails the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long anything may take that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and what was read from it but not looked at.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
    patience: Duration,
}

/// Name and value as they came.
pub type Lines = Vec<(String, String)>;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status of each informational answer before it.
    pub informational: Vec<u16>,
    /// `HTTP/1.1`, or `HTTP/1.0` for those who speak no more.
    pub version: String,
    pub status: u16,
    pub reason: String,
    pub headers: Lines,
    pub body: Vec<u8>,
    pub trailers: Lines,
    /// The body had the length that was said, or its last chunk.
    pub is_complete: bool,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

impl Raw {
    pub fn connect(to: SocketAddr) -> Raw {
        Raw::of(TcpStream::connect(to).expect("the proxy accepts connections"))
    }

    /// Comes from an address of its own, such as 127.0.0.9: every address of 127.0.0.0/8 is this machine.
    pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Raw {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Raw::of(socket.into())
    }

    /// Takes in so little at a time that a fast sender is held up soon.
    pub fn connect_with_small_window(to: SocketAddr) -> Raw {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&to.into()).unwrap();
        Raw::of(socket.into())
    }

    pub fn of(stream: TcpStream) -> Raw {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw { stream, read: Vec::new(), patience: PATIENCE }
    }

    pub fn with_patience(mut self, patience: Duration) -> Raw {
        self.patience = patience;
        self
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes; a peer that has closed already is no error here, as its answer will tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        let _ = self.try_send(bytes);
        self
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> &mut Raw {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Closes with a reset, as a client that was killed does.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// The answer to a request that was not HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The answer to a request with this method, after any informational ones.
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response_to(method) {
            Ok(response) => response,
            Err(error) => panic!("no answer: {error}; read: {:?}", String::from_utf8_lossy(&self.read)),
        }
    }

    /// The answer, or why there is none.
    pub fn try_response_to(&mut self, method: &str) -> Result<Response, String> {
        let mut informational = Vec::new();
        loop {
            let mut response = self.head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                informational.push(response.status);
                continue;
            }
            response.informational = informational;
            self.body_of(&mut response, method)?;
            return Ok(response);
        }
    }

    /// The head of the next answer. Its body stays to be read.
    pub fn head(&mut self) -> Result<Response, String> {
        let end = self.read_until(|read| find(read, b"\r\n\r\n"), "the end of a head")?;
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        parse_head(&head[..end + 2])
    }

    fn body_of(&mut self, response: &mut Response, method: &str) -> Result<(), String> {
        response.is_complete = true;
        match response.framing(method)? {
            Framing::Empty => {}
            Framing::Length(length) => {
                let came = self.read_until(|read| (read.len() >= length).then_some(length), "a body");
                response.is_complete = came.is_ok();
                let count = length.min(self.read.len());
                response.body = self.read.drain(..count).collect();
            }
            Framing::Chunked => response.is_complete = self.chunks_of(response)?,
            Framing::UntilClose => response.body = self.rest(),
        }
        Ok(())
    }

    /// Reads chunks and trailers; false when the connection ended in the middle.
    fn chunks_of(&mut self, response: &mut Response) -> Result<bool, String> {
        loop {
            let Ok(end) = self.read_until(|read| find(read, b"\r\n"), "a chunk size") else { return Ok(false) };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            let size = std::str::from_utf8(&line[..end]).ok().and_then(|line| usize::from_str_radix(line, 16).ok());
            let size = size.ok_or_else(|| format!("chunk size {:?}", String::from_utf8_lossy(&line)))?;
            if size == 0 {
                break;
            }
            if self.read_until(|read| (read.len() >= size + 2).then_some(0), "a chunk").is_err() {
                return Ok(false);
            }
            let chunk: Vec<u8> = self.read.drain(..size + 2).collect();
            if !chunk.ends_with(b"\r\n") {
                return Err("a chunk does not end with CRLF".to_owned());
            }
            response.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let Ok(end) = self.read_until(|read| find(read, b"\r\n"), "a trailer") else { return Ok(false) };
            let line: Vec<u8> = self.read.drain(..end + 2).collect();
            if end == 0 {
                return Ok(true);
            }
            response.trailers.push(parse_line(&line[..end])?);
        }
    }

    /// Bytes that have come and belong to no answer so far.
    pub fn leftover(&self) -> &[u8] {
        &self.read
    }

    /// At least so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.read_until(|read| (read.len() >= count).then_some(0), "bytes").unwrap();
        std::mem::take(&mut self.read)
    }

    /// At least so many bytes, or `None` when they do not come.
    pub fn try_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        self.read_until(|read| (read.len() >= count).then_some(0), "bytes").ok()?;
        Some(std::mem::take(&mut self.read))
    }

    /// All that comes until the peer closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        while self.fill(deadline).is_ok_and(|count| count > 0) {}
        std::mem::take(&mut self.read)
    }

    /// Waits for the peer to close, and fails when it sends something first.
    pub fn expect_close(&mut self) {
        let deadline = Instant::now() + self.patience;
        match self.fill(deadline) {
            Ok(0) => assert!(self.read.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.read)),
            Ok(_) => panic!("more came: {:?}", String::from_utf8_lossy(&self.read)),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }

    /// True when the peer has closed or reset the connection, right now.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        match peeked {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// True when the peer has sent nothing and not closed, right now.
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.read.is_empty() && matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    fn read_until<T>(&mut self, done: impl Fn(&[u8]) -> Option<T>, what: &str) -> Result<T, String> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(found) = done(&self.read) {
                return Ok(found);
            }
            match self.fill(deadline) {
                Ok(0) => return Err(format!("closed before {what}")),
                Ok(_) => {}
                Err(error) => return Err(format!("waiting for {what}: {error}")),
            }
        }
    }

    fn fill(&mut self, deadline: Instant) -> std::io::Result<usize> {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(rest))?;
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Response {
    /// The only value of a header; `None` without one.
    pub fn header(&self, name: &str) -> Option<&str> {
        only(&self.headers, name)
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// How its body is delimited (RFC 9112 §6.3).
    pub fn framing(&self, method: &str) -> Result<Framing, String> {
        let has_none = method == "HEAD" || self.status < 200 || self.status == 204 || self.status == 304;
        let (coding, length) = (self.all("transfer-encoding"), self.all("content-length"));
        if (self.status < 200 || self.status == 204) && !(coding.is_empty() && length.is_empty()) {
            return Err(format!("{} with a framing field: {:?}", self.status, self.headers));
        }
        match (&coding[..], &length[..]) {
            _ if has_none => Ok(Framing::Empty),
            (["chunked"], []) => Ok(Framing::Chunked),
            ([], [length]) => Ok(Framing::Length(length.parse().map_err(|_| format!("content-length {length}"))?)),
            ([], []) => Ok(Framing::UntilClose),
            _ => Err(format!("ambiguous framing: {:?}", self.headers)),
        }
    }
}

/// All values of a header, in order.
pub fn all<'l>(lines: &'l Lines, name: &str) -> Vec<&'l str> {
    lines.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
}

/// The only value of a header. Two lines fail the test.
pub fn only<'l>(lines: &'l Lines, name: &str) -> Option<&'l str> {
    let values = all(lines, name);
    assert!(values.len() <= 1, "{name} comes {} times: {values:?}", values.len());
    values.first().copied()
}

/// The place of some bytes within others.
pub fn find(within: &[u8], bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(within, bytes)
}

/// A status line and header lines, each with its line end.
fn parse_head(head: &[u8]) -> Result<Response, String> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let status_line = lines.next().and_then(|line| line.strip_suffix(b"\r\n")).ok_or("no status line")?;
    let status_line = std::str::from_utf8(status_line).map_err(|error| error.to_string())?;
    let (version, rest) = status_line.split_once(' ').unwrap_or_default();
    if !["HTTP/1.1", "HTTP/1.0"].contains(&version) {
        return Err(format!("status line {status_line:?}"));
    }
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut response = Response { version: version.to_owned(), reason: reason.to_owned(), ..Response::default() };
    response.status = status.parse().map_err(|_| format!("status {status:?}"))?;
    for line in lines {
        let line = line.strip_suffix(b"\r\n").ok_or("a line without CRLF")?;
        response.headers.push(parse_line(line)?);
    }
    Ok(response)
}

/// A header line without its line end. Bytes beyond ASCII are read as Latin-1.
pub fn parse_line(line: &[u8]) -> Result<(String, String), String> {
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let (name, value) = line.split_once(':').ok_or_else(|| format!("no colon in {line:?}"))?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(format!("header name {name:?}"));
    }
    if value.contains(['\r', '\n', '\0']) {
        return Err(format!("header value {value:?}"));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// Polls until something is so. For what has no event to wait for; fails after [`PATIENCE`].
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
