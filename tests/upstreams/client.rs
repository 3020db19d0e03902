//! Clients that see every byte: one for HTTP/1.1, one for HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tokio::runtime::Runtime;

use crate::story::PATIENCE;

/// An HTTP/1.1 connection.
pub struct Client {
    pub stream: TcpStream,
    waiting: Vec<u8>,
}

/// An HTTP/2 connection with prior knowledge, and the runtime that it lives on.
pub struct Client2 {
    runtime: Runtime,
    sender: http2::SendRequest<Full<Bytes>>,
}

/// What a client got to see of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 0 for none.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
    /// False when the connection or the stream broke before the end.
    pub is_whole: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn is_ok(&self) -> bool {
        self.status == 200 && self.is_whole
    }
}

impl Client {
    pub fn connect(to: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, waiting: Vec::new() }
    }

    /// Asks with GET; `lines` are further header lines, each with its line end.
    pub fn get(&mut self, path: &str, lines: &str) -> Answer {
        self.ask("GET", path, lines, "")
    }

    pub fn ask(&mut self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let host = if lines.contains("host:") { "" } else { "host: shop\r\n" };
        // whether all of it was taken or not, there may be an answer
        let _ = self.send(format!("{method} {path} HTTP/1.1\r\n{host}{lines}{length}\r\n{body}").as_bytes());
        self.answer(method)
    }

    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the answer to a request with this method.
    pub fn answer(&mut self, method: &str) -> Answer {
        let mut answer = Answer::default();
        let Some(head) = self.until(b"\r\n\r\n") else {
            answer.body = text(std::mem::take(&mut self.waiting));
            return answer;
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        answer.status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        if matches!(answer.status, 102 | 103) {
            // an answer before the answer
            return self.answer(method);
        }
        answer.headers = fields(lines);
        let is_bodiless = method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304);
        let length: Option<usize> = answer.header("content-length").map(|length| length.parse().unwrap());
        let body = match (length, answer.header("transfer-encoding").is_some()) {
            _ if is_bodiless => Some(Vec::new()),
            (_, true) => return self.chunks(answer),
            (Some(length), false) => self.exactly(length),
            (None, false) => self.rest(),
        };
        answer.is_whole = body.is_some();
        answer.body = text(body.unwrap_or_else(|| std::mem::take(&mut self.waiting)));
        answer
    }

    fn chunks(&mut self, mut answer: Answer) -> Answer {
        let mut body = Vec::new();
        while let Some(line) = self.until(b"\r\n") {
            let size = usize::from_str_radix(text(line).trim(), 16).unwrap();
            if size == 0 {
                while let Some(line) = self.until(b"\r\n").map(text) {
                    if line.trim().is_empty() {
                        answer.is_whole = true;
                        break;
                    }
                    answer.trailers.extend(fields([line.trim()].into_iter()));
                }
                break;
            }
            let Some(chunk) = self.exactly(size + 2) else { break };
            body.extend_from_slice(&chunk[..size]);
        }
        answer.body = text(body);
        answer
    }

    /// What comes until the connection is closed; `None` when it is broken.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        while self.more()? > 0 {}
        Some(std::mem::take(&mut self.waiting))
    }

    /// So many bytes, or `None` when fewer came.
    pub fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.waiting.len() < count {
            if self.more()? == 0 {
                return None;
            }
        }
        Some(self.waiting.drain(..count).collect())
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.waiting.windows(end.len()).position(|window| window == end) {
                return Some(self.waiting.drain(..at + end.len()).collect());
            }
            if self.more()? == 0 {
                return None;
            }
        }
    }

    fn more(&mut self) -> Option<usize> {
        let mut buffer = [0; 16 * 1024];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) => {
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) {
                    self.waiting.extend_from_slice(format!("<a hang: {} s>", PATIENCE.as_secs()).as_bytes());
                }
                return None;
            }
        };
        self.waiting.extend_from_slice(&buffer[..count]);
        Some(count)
    }
}

impl Client2 {
    pub fn connect(to: SocketAddr) -> Client2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(to).await.unwrap();
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Client2 { runtime, sender }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask(Request::get(format!("http://shop{path}")).body(Full::default()).unwrap())
    }

    pub fn ask(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let asked = ask(self.sender.clone(), request);
        let within = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        within.unwrap_or_else(|_| Answer { body: "<a hang>".into(), ..Answer::default() })
    }

    /// Asks many at once.
    pub fn ask_all(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Vec<Answer> {
        let sender = &self.sender;
        self.runtime.block_on(async {
            let asked: Vec<_> =
                requests.into_iter().map(|request| tokio::spawn(ask(sender.clone(), request))).collect();
            let mut answers = Vec::new();
            for answer in asked {
                answers.push(tokio::time::timeout(PATIENCE, answer).await.expect("a hang").unwrap());
            }
            answers
        })
    }
}

async fn ask(mut sender: http2::SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Answer {
    let mut answer = Answer::default();
    let Ok(()) = sender.ready().await else { return answer };
    let Ok(response) = sender.send_request(request).await else { return answer };
    let (head, mut incoming) = response.into_parts();
    answer.status = head.status.as_u16();
    answer.headers = of_map(&head.headers);
    let mut body = Vec::new();
    loop {
        match incoming.frame().await {
            None => break answer.is_whole = true,
            Some(Err(_)) => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => answer.trailers = frame.trailers_ref().map(of_map).unwrap_or_default(),
            },
        }
    }
    answer.body = text(body);
    answer
}

fn of_map(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

fn fields<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<(String, String)> {
    let split = lines.map(|line| line.split_once(':').unwrap_or_else(|| panic!("no header line: {line:?}")));
    split.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
