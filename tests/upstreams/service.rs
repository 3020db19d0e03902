//! Services behind the proxy: good ones, and ones that do what they should not.

use socket2::{Domain, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::story::PATIENCE;

/// An address on loopback at which somebody listens, or nobody does. It is kept for as long as this lives.
pub struct Service {
    pub address: SocketAddr,
    _kept: Socket,
    accepting: Option<thread::JoinHandle<()>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    requests: AtomicUsize,
    is_closed: AtomicBool,
    open: Mutex<BTreeMap<usize, TcpStream>>,
}

/// A connection from the proxy.
pub struct Wire {
    pub stream: TcpStream,
    /// Counted from 0.
    pub number: usize,
    waiting: Vec<u8>,
    state: Arc<State>,
}

/// A request as it came.
pub struct Received {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Service {
    /// An address at which nobody listens: connections are refused.
    pub fn absent() -> Service {
        let kept = bind("127.0.0.1:0".parse().unwrap());
        let address = kept.local_addr().unwrap().as_socket().unwrap();
        Service { address, _kept: kept, accepting: None, state: Arc::default() }
    }

    /// An address that takes no connection and refuses none: its queue is full, and nobody empties it.
    pub fn black_hole() -> (Service, Vec<Socket>) {
        let service = Service::absent();
        service._kept.listen(0).unwrap();
        let fill = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&service.address.into());
            socket
        };
        let waiting = (0..8).map(fill).collect();
        (service, waiting)
    }

    /// Answers each request with its name and the path.
    pub fn named(name: &str) -> Service {
        let mut service = Service::absent();
        service.open_named(name);
        service
    }

    /// Serves each connection as told.
    pub fn wired(serve: impl Fn(&mut Wire) + Send + Sync + 'static) -> Service {
        let mut service = Service::absent();
        service.open(serve);
        service
    }

    pub fn open_named(&mut self, name: &str) {
        let name = name.to_owned();
        self.open(move |wire| {
            while let Some(request) = wire.request() {
                wire.ok(&format!("{name} {}", request.path));
            }
        });
    }

    /// Listens from now on.
    pub fn open(&mut self, serve: impl Fn(&mut Wire) + Send + Sync + 'static) {
        self.close();
        let socket = bind(self.address);
        socket.listen(1024).unwrap();
        self.state = Arc::default();
        let (state, serve) = (self.state.clone(), Arc::new(serve));
        self.accepting = Some(thread::spawn(move || accept(&socket.into(), &state, &serve)));
    }

    /// Stops to listen, and breaks all connections.
    pub fn close(&mut self) {
        if !self.state.is_closed.swap(true, SeqCst) {
            if let Some(accepting) = self.accepting.take() {
                // wakes it; once it has ended, connections are refused
                let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
                accepting.join().unwrap();
            }
            self.state.open().values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    }

    /// Connections that were accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// Requests that were read.
    pub fn requests(&self) -> usize {
        self.state.requests.load(SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn open(&self) -> MutexGuard<'_, BTreeMap<usize, TcpStream>> {
        self.open.lock().unwrap()
    }
}

/// With `SO_REUSEPORT`, so that one socket keeps the port while another listens.
fn bind(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

fn accept<S: Fn(&mut Wire) + Send + Sync + 'static>(listener: &TcpListener, state: &Arc<State>, serve: &Arc<S>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let mut open = state.open();
        if state.is_closed.load(SeqCst) {
            return;
        }
        let number = state.connections.fetch_add(1, SeqCst);
        stream.set_nodelay(true).unwrap();
        open.insert(number, stream.try_clone().unwrap());
        let (state, serve) = (state.clone(), serve.clone());
        thread::spawn(move || {
            let mut wire = Wire { stream, number, waiting: Vec::new(), state: state.clone() };
            serve(&mut wire);
            // before the wire is dropped, so that this drop is what closes the connection
            state.open().remove(&number);
        });
    }
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

impl Wire {
    /// The next request with its body; `None` when the connection has ended.
    pub fn request(&mut self) -> Option<Received> {
        let mut request = self.head()?;
        let lower = request.head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        request.body = match length {
            Some(length) => self.exactly(length)?,
            None if lower.contains("transfer-encoding: chunked") => self.chunks()?,
            None => Vec::new(),
        };
        Some(request)
    }

    /// The next request's head; its body is left.
    pub fn head(&mut self) -> Option<Received> {
        let head = String::from_utf8(self.until(b"\r\n\r\n")?).unwrap();
        let path = head.split(' ').nth(1)?.to_owned();
        self.state.requests.fetch_add(1, SeqCst);
        Some(Received { path, head, body: Vec::new() })
    }

    /// Sends bytes; false when nobody takes them any more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub fn ok(&mut self, body: &str) -> bool {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    /// Breaks the connection: the next read at the other end fails.
    pub fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
        // the last other descriptor; what holds the wire drops it at once
        self.state.open().remove(&self.number);
    }

    /// Says nothing until the other end closes.
    pub fn wait_for_end(&mut self) {
        self.stream.set_read_timeout(None).unwrap();
        while self.more().is_some_and(|count| count > 0) {}
    }

    /// Sends a piece whenever the other end was silent for `every`, until it closes.
    pub fn drip(&mut self, every: Duration, pieces: impl Iterator<Item = Vec<u8>>) {
        for piece in pieces {
            let until = Instant::now() + every;
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                self.stream.set_read_timeout(Some(left)).unwrap();
                match self.stream.read(&mut [0; 1024]) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(_) => return,
                }
            }
            if !self.send(piece) {
                return;
            }
        }
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")?).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                while self.until(b"\r\n")? != b"\r\n" {}
                return Some(body);
            }
            body.extend_from_slice(&self.exactly(size + 2)?[..size]);
        }
    }

    /// So many bytes.
    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.waiting.len() < count {
            self.more().filter(|count| *count > 0)?;
        }
        Some(self.waiting.drain(..count).collect())
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.waiting.windows(end.len()).position(|window| window == end) {
                return Some(self.waiting.drain(..at + end.len()).collect());
            }
            self.more().filter(|count| *count > 0)?;
        }
    }

    fn more(&mut self) -> Option<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).ok()?;
        self.waiting.extend_from_slice(&buffer[..count]);
        Some(count)
    }
}
