//! The users: who they are, and what they send, without an end, until they are told to stop.

use crate::routing::explain::ImaginedRequest;
use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    id: String,
    /// Where from, as X-Forwarded-For tells it.
    address: IpAddr,
    is_employee: bool,
}

/// The group and the version that a user has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) cohort: String,
    pub(super) variant: String,
}

/// All users, and what they have seen so far.
pub(super) struct Crowd {
    pub(super) users: Vec<User>,
    /// Where each user was served last, by position.
    seen: Mutex<Vec<Option<Place>>>,
    next: AtomicUsize,
    /// Answers of any status.
    pub(super) answered: AtomicU64,
    /// Answers with 5xx.
    pub(super) failed: AtomicU64,
    /// Requests without an answer: what a proxy must never do.
    pub(super) dropped: AtomicU64,
}

/// Users at work. They stop when this is dropped.
pub(super) struct Traffic {
    listener: watch::Sender<Option<SocketAddr>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Volunteers whom one can name in a curl line.
const NAMES: [&str; 12] =
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "trent"];

const STAFF: usize = 20;
const BETA: usize = 60;
/// Users of each network who are neither staff nor volunteers.
const PER_NETWORK: usize = 40;

/// Networks of countries.csv: two in Europe, two in the Americas, two in Asia, and of IPv6 one in Asia and in Europe.
const NETWORKS: [&str; 8] = [
    "192.0.2.0",
    "192.0.2.128",
    "198.51.100.0",
    "198.51.100.128",
    "203.0.113.0",
    "203.0.113.128",
    "2001:db8:1::",
    "2001:db8:2::",
];

/// Connections that stay open, and so the most requests at a time.
const CONNECTIONS: u32 = 64;

/// A connection that is late by more than this does not catch up.
const LATE_MAX: Duration = Duration::from_secs(1);

/// How long the last answers may take once the users are told to stop.
const STOP_MAX: Duration = Duration::from_millis(500);

/// How long it may take until users are told that the listener has moved or ended.
const FOLLOW_MAX: Duration = Duration::from_millis(100);

/// An answer that takes longer counts as dropped: above the 30 s that the proxy itself waits.
const ANSWER_MAX: Duration = Duration::from_secs(35);

/// The users who are in beta.txt, one a line.
pub(super) fn beta_list() -> String {
    let ids: String = beta_ids().map(|id| id + "\n").collect();
    format!("# Volunteers, one a line: the value of the cookie uid.\n{ids}")
}

fn beta_ids() -> impl Iterator<Item = String> {
    let others = (NAMES.len()..BETA).map(|number| format!("b-{number}"));
    NAMES.iter().map(|name| (*name).to_owned()).chain(others)
}

/// 20 staff, 60 volunteers, and 40 users of each network. Staff and volunteers live everywhere.
fn population() -> Vec<User> {
    let home = |number: usize| address(NETWORKS[number % NETWORKS.len()], number / NETWORKS.len() + 1);
    let staff = (0..STAFF).map(|n| User { id: format!("e-{n}"), address: home(n), is_employee: true });
    let beta = beta_ids().enumerate().map(|(n, id)| User { id, address: home(n), is_employee: false });
    let others = (0..PER_NETWORK * NETWORKS.len()).map(|n| User {
        id: format!("u-{}", 1_001 + n),
        address: home(n + 100),
        is_employee: false,
    });
    staff.chain(beta).chain(others).collect()
}

/// The host of this number in a network.
fn address(network: &str, host: usize) -> IpAddr {
    match network.parse() {
        Ok(IpAddr::V4(ip)) => Ipv4Addr::from_bits(ip.to_bits() + host as u32).into(),
        Ok(IpAddr::V6(ip)) => std::net::Ipv6Addr::from_bits(ip.to_bits() + host as u128).into(),
        Err(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

impl User {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, text: &str| {
            // ids and addresses have no character that a header cannot have
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        add(COOKIE, &format!("uid={}", self.id));
        add(HeaderName::from_static("x-forwarded-for"), &self.address.to_string());
        if self.is_employee {
            add(HeaderName::from_static("x-employee"), "1");
        }
        headers
    }

    /// The request that this user sends to a listener, without sending it.
    pub(super) fn imagined(&self, listener: SocketAddr) -> ImaginedRequest {
        let (method, url) = (Method::GET, format!("http://{listener}/"));
        ImaginedRequest { method, url, headers: self.headers(), peer: Ipv4Addr::LOCALHOST.into(), listener: None }
    }
}

impl Crowd {
    /// The same users each time.
    pub(super) fn new() -> Arc<Crowd> {
        let mut users = population();
        // so that a second of requests is a fair sample of all
        fastrand::Rng::with_seed(42).shuffle(&mut users);
        let seen = Mutex::new(vec![None; users.len()]);
        let (next, count) = (AtomicUsize::new(0), || AtomicU64::new(0));
        Arc::new(Crowd { users, seen, next, answered: count(), failed: count(), dropped: count() })
    }

    /// Where each user was served last.
    pub(super) fn seen(&self) -> MutexGuard<'_, Vec<Option<Place>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody gets a turn before anybody gets another.
    fn next(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.users.len()
    }

    fn note<B>(&self, user: usize, response: &Response<B>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        if response.status().is_server_error() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        let told = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        if let (Some(cohort), Some(variant)) = (told("x-ringway-cohort"), told("x-ringway-variant")) {
            self.seen()[user] = Some(Place { cohort, variant });
        }
    }
}

impl Traffic {
    /// Lets the users send `rate` requests a second.
    pub(super) fn start(crowd: &Arc<Crowd>, listener: SocketAddr, rate: u32) -> io::Result<Traffic> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, told) = watch::channel(Some(listener));
        let connections: Vec<_> =
            (0..CONNECTIONS).map(|_| runtime.spawn(send_forever(Arc::clone(crowd), told.clone(), rate))).collect();
        let mut stopped = tell.subscribe();
        let run = move || {
            runtime.block_on(async {
                // an error is a sender that is gone: the end as well
                let _ = stopped.wait_for(Option::is_none).await;
                let all_answered = async {
                    for connection in connections {
                        // a panic of its own was told by the panic hook
                        let _ = connection.await;
                    }
                };
                // what hangs is left behind
                let _ = tokio::time::timeout(STOP_MAX, all_answered).await;
            });
        };
        let thread = thread::Builder::new().name("demo-users".into()).spawn(run)?;
        Ok(Traffic { listener: tell, thread: Some(thread) })
    }

    /// Where the listener is now.
    pub(super) fn follow(&self, listener: SocketAddr) {
        self.listener.send_if_modified(|known| known.replace(listener) != Some(listener));
    }
}

impl Drop for Traffic {
    /// Waits for the answers to what was sent.
    fn drop(&mut self) {
        self.listener.send_replace(None);
        if let Some(thread) = self.thread.take() {
            // its tasks contain their own panics
            let _ = thread.join();
        }
    }
}

/// One connection: requests at random moments, each of the next user, until there is no listener any more.
async fn send_forever(crowd: Arc<Crowd>, mut listener: watch::Receiver<Option<SocketAddr>>, rate: u32) {
    let mean_seconds = f64::from(CONNECTIONS) / f64::from(rate.max(1));
    let mut connection = None;
    let mut next = Instant::now();
    loop {
        // exponential gaps: users do not wait for each other
        next += Duration::from_secs_f64(mean_seconds * -(1.0 - fastrand::f64()).ln());
        if next.elapsed() > LATE_MAX {
            next = Instant::now();
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            _ = listener.changed() => connection = None,
        }
        let Some(address) = *listener.borrow_and_update() else { return };
        let user = crowd.next();
        let exchange = exchange(&crowd, user, address, &mut connection);
        let ended = tokio::time::timeout(ANSWER_MAX, exchange).await;
        if matches!(ended, Ok(Ok(()))) {
            continue;
        }
        connection = None;
        let is_connected = !matches!(ended, Ok(Err(error)) if error.is::<io::Error>());
        // nobody accepts any more: the listener has moved or ended, which the users are told in a moment
        if is_connected || tokio::time::timeout(FOLLOW_MAX, listener.changed()).await.is_err() {
            crowd.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if listener.borrow().is_none() {
            return;
        }
    }
}

type Connection = SendRequest<Empty<Bytes>>;

/// Sends a request and reads the answer to its end.
async fn exchange(
    crowd: &Crowd,
    user: usize,
    address: SocketAddr,
    connection: &mut Option<Connection>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let response = match send(&crowd.users[user], address, connection).await {
        // the proxy may close an idle connection at any time; what was not sent is sent on another one
        Err(error) if error.downcast_ref::<hyper::Error>().is_some_and(was_not_sent) => {
            *connection = None;
            send(&crowd.users[user], address, connection).await?
        }
        sent => sent?,
    };
    let is_last = response.headers().get("connection").is_some_and(|value| value == "close");
    crowd.note(user, &response);
    response.into_body().collect().await?;
    if is_last {
        *connection = None;
    }
    Ok(())
}

fn was_not_sent(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed()
}

async fn send(
    user: &User,
    address: SocketAddr,
    connection: &mut Option<Connection>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        _ => connection.insert(connect(address).await?),
    };
    sender.ready().await?;
    let mut request = Request::get("/").header(HOST, address.to_string()).body(Empty::new())?;
    request.headers_mut().extend(user.headers());
    Ok(sender.send_request(request).await?)
}

async fn connect(address: SocketAddr) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // how it ends is told to the sender
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn four_hundred_users_have_their_own_ids_and_addresses_within_their_networks() {
        let users = population();
        let ids: HashSet<_> = users.iter().map(|user| &user.id).collect();
        assert_eq!((users.len(), ids.len()), (400, 400));
        assert_eq!(users.iter().filter(|user| user.is_employee).count(), STAFF);
        for user in users {
            let IpAddr::V4(ip) = user.address else { continue };
            assert!((1..128).contains(&(ip.octets()[3] % 128)), "{user:?}");
        }
    }

    #[test]
    fn everybody_gets_a_turn() {
        let crowd = Crowd::new();
        let turns: HashSet<_> = (0..400).map(|_| crowd.next()).collect();
        assert_eq!(turns.len(), 400);
    }

    #[test]
    fn volunteers_are_in_the_list() {
        let list = beta_list();
        assert_eq!(list.lines().filter(|line| !line.starts_with('#')).count(), BETA);
        assert!(list.contains("\nalice\n"));
    }
}
