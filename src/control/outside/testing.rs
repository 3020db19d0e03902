//! Servers for tests of what leaves the machine.

#![cfg(test)]

use super::{Allowed, Names, Outside, Roots};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;

/// Answers of a name server, one look-up after another; the last one stays.
pub(crate) struct Told {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    pub(crate) asked: AtomicUsize,
}

impl Told {
    pub(super) fn lookup(&self, _: &str) -> Vec<IpAddr> {
        self.asked.fetch_add(1, SeqCst);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
    }
}

/// A client that may ask these networks, and believes the system's authorities.
pub(crate) fn outside(allow: &[&str]) -> Outside {
    outside_with(allow, Names::System)
}

/// The same with a name server of its own.
pub(crate) fn outside_told(allow: &[&str], answers: &[&[&str]]) -> Outside {
    let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
    let answers = Mutex::new(answers.iter().map(parse).collect());
    outside_with(allow, Names::Told(Told { answers, asked: AtomicUsize::new(0) }))
}

fn outside_with(allow: &[&str], names: Names) -> Outside {
    let allow = allow.iter().map(|network| network.parse().unwrap()).collect();
    let roots = Roots { own: None, all: OnceCell::new() };
    let (allowed, names, roots) = (Arc::new(Allowed::new(allow)), Arc::new(names), Arc::new(roots));
    Outside { allowed, names, roots, time_max: super::TIME_MAX }
}

impl Outside {
    /// How often a name was looked up.
    pub(crate) fn lookups(&self) -> usize {
        match self.names.as_ref() {
            Names::System => 0,
            Names::Told(told) => told.asked.load(SeqCst),
        }
    }
}

/// A server that reads one request from each connection, and writes what it is told to.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The requests so far, as text.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves these answers in their order; the last one stays. With `"…"` at its end an answer never ends.
    pub(crate) async fn with(answers: &[&str]) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut answers: VecDeque<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() };
                tokio::spawn(serve(stream, answer, Arc::clone(&seen)));
            }
        });
        Server { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: String, seen: Arc<Mutex<Vec<String>>>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                seen.lock().unwrap().push(text);
                break;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
    let (start, is_endless) = match answer.strip_suffix('…') {
        Some(start) => (start, true),
        None => (answer.as_str(), false),
    };
    let _ = stream.write_all(start.as_bytes()).await;
    // whoever waits for the end of this must give up, or hang up, by itself
    while is_endless && stream.write_all(&[b'x'; 16 << 10]).await.is_ok() {}
    let _ = stream.shutdown().await;
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("not so within 20 s");
}
