use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

use super::balance::{By, Choice};
use super::connect::ConnectError;
use super::http1::Http1;
use super::http2::Http2;
use super::lease::{Borrowed, Lease};
use super::{
    Alpn, Balance, ClientTls, ConnectionPermit, Endpoint, Limits, Members, Overflow, Standard, Upstream, outliers,
};
use crate::model::FallbackCause;

mod open;

pub use open::Wanted;

/// One worker's connections to all endpoints. Never shared between threads.
#[derive(Default)]
pub struct Pools {
    pools: RefCell<HashMap<u32, Rc<Pool>>>,
    turns: RefCell<HashMap<u32, usize>>,
    /// The time of the last request or sweep: good enough to age idle connections, and free.
    now: Cell<Option<Instant>>,
}

/// One worker's connections to one endpoint.
pub(super) struct Pool {
    pub(super) endpoint: Arc<Endpoint>,
    idle: RefCell<Vec<Idle>>,
    /// Told when a connection has come back and a request of this worker waits for one.
    returned: Notify,
    waiting: Cell<u32>,
    pub(super) http2: tokio::sync::Mutex<Option<Http2>>,
    pub(super) in_flight: Cell<u32>,
    /// How its connections speak TLS. When that changes, the ones before are used no longer.
    tls: RefCell<Option<Arc<ClientTls>>>,
    pub(super) generation: Cell<u32>,
    /// The endpoint chose HTTP/1.1 when it was left the choice.
    chose_http1: Cell<bool>,
    /// How the last attempt to connect failed.
    last_failure: Cell<ConnectError>,
    /// The upstream that the endpoint was last chosen for, by its id; reloads replace it.
    upstream_id: Cell<u32>,
    upstream: RefCell<Weak<Upstream>>,
    /// Its answers are looked at.
    pub(super) is_watched: Cell<bool>,
}

struct Idle {
    connection: Box<Http1>,
    permit: ConnectionPermit,
    since: Instant,
    /// The client that it belongs to, where the endpoint was told of one.
    client: Option<SocketAddr>,
}

/// What a request wants of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// The protocol, and the client.
    pub wanted: Wanted,
    /// How long it may take to open one, and how long to wait for room where there is a limit.
    pub connect_timeout: Duration,
    /// Now.
    pub now: Instant,
    /// A hash of the user, evenly spread; looked at for [`Balance::ConsistentHash`] only.
    pub hash: u64,
    /// An endpoint that failed this request already.
    pub avoid: Option<u32>,
    /// Which endpoints will do when nothing better is there.
    pub at_worst: Standard,
}

/// Why no connection could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickError {
    /// The variant has none to give.
    Variant(FallbackCause),
    /// This machine has no descriptor, port or memory left: the variant is not to blame.
    Exhausted,
}

/// How long a connection waits for its next request.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How many connections to one endpoint one worker keeps waiting.
const IDLE_CONNECTIONS_MAX: usize = 1024;
impl Pools {
    /// Tells the time, at least once a second.
    pub fn set_now(&self, now: Instant) {
        self.now.set(Some(now));
    }

    /// The time that was told last.
    pub(super) fn now(&self) -> Instant {
        self.now.get().unwrap_or_else(Instant::now)
    }

    /// Chooses an endpoint and gives a connection to it: a waiting one, or a new one.
    ///
    /// An endpoint to which no connection can be opened is left alone for a while, and the next one is tried, so
    /// long as there is one that was not tried yet. Nothing of the request has been sent by then.
    pub async fn lease(self: &Rc<Self>, upstream: &Arc<Upstream>, want: &Want) -> Result<Lease, PickError> {
        let limits = &upstream.spec().resilience.limits;
        let admitted = upstream.load().admit(limits, want.connect_timeout).await;
        let permit = admitted.map_err(|Overflow| PickError::Variant(FallbackCause::Limit))?;
        let members = Arc::clone(&upstream.endpoints());
        if members.is_empty() {
            return Err(PickError::Variant(FallbackCause::Resolve));
        }
        let by = By::Turn(self.turn(upstream, &members, want.avoid.is_some()));
        let in_flight = |endpoint: &Endpoint| self.in_flight(endpoint);
        let by = match upstream.spec().balance {
            Balance::RoundRobin => by,
            Balance::LeastRequest => By::Load(&in_flight),
            Balance::ConsistentHash => By::Hash(want.hash),
        };
        let mut choice = Choice {
            members: &members,
            resilience: &upstream.spec().resilience,
            now: want.now,
            standard: Standard::Usable,
            avoid: want.avoid,
            tried: SmallVec::new(),
        };
        let mut last = PickError::Variant(FallbackCause::Ejected);
        loop {
            let Some(at) = choice.next(&by) else {
                if choice.standard >= want.at_worst || !choice.tried.is_empty() {
                    return Err(last);
                }
                choice.standard = want.at_worst;
                continue;
            };
            let endpoint = &members[at];
            if choice.standard != Standard::Any && !endpoint.claim_probe(want.now, want.connect_timeout) {
                continue;
            }
            match self.connect(endpoint, upstream, want).await {
                Ok(lease) => {
                    // from here on the lease holds it
                    permit.keep();
                    return Ok(lease);
                }
                // where its own limit is reached another endpoint has no more room: connections are counted together
                Err(error @ PickError::Variant(FallbackCause::Limit)) => return Err(error),
                Err(error) => last = error,
            }
        }
    }

    /// A connection to an endpoint. What is found out about it, it is told.
    async fn connect(
        self: &Rc<Self>,
        endpoint: &Arc<Endpoint>,
        upstream: &Arc<Upstream>,
        want: &Want,
    ) -> Result<Lease, PickError> {
        let pool = self.pool(endpoint, upstream);
        let began = Instant::now();
        let error = match self.open(upstream, &pool, want).await {
            Ok(lease) => return Ok(lease),
            Err(Unopened::Full) => return Err(PickError::Variant(FallbackCause::Limit)),
            Err(Unopened::Failed(error)) => error,
        };
        pool.last_failure.set(error);
        let cause = match error {
            ConnectError::Exhausted => return Err(PickError::Exhausted),
            ConnectError::Refused => FallbackCause::Connect,
            ConnectError::TimedOut => FallbackCause::ConnectTimeout,
            ConnectError::Tls => FallbackCause::Tls,
        };
        let now = Instant::now();
        endpoint.note_connect_failure(began, now);
        pool.note(true, now);
        Err(PickError::Variant(cause))
    }

    /// Closes connections that have waited too long, and forgets endpoints that nobody uses any more.
    pub fn sweep(&self, now: Instant) {
        self.set_now(now);
        self.pools.borrow_mut().retain(|_, pool| {
            let mut idle = pool.idle.borrow_mut();
            idle.retain_mut(|waiting| {
                now.saturating_duration_since(waiting.since) < IDLE_MAX && waiting.connection.is_reusable()
            });
            let is_used = pool.in_flight.get() > 0 || !idle.is_empty() || Arc::strong_count(&pool.endpoint) > 1;
            if idle.is_empty() {
                *idle = Vec::new();
            }
            is_used
        });
    }

    /// Closes idle connections of variants whose requests wait for room, here or on another worker.
    pub fn make_room(&self) {
        let pools = self.pools.borrow();
        for pool in pools.values().filter(|pool| pool.waiting.get() == 0 && pool.endpoint.load().is_short()) {
            pool.idle.borrow_mut().clear();
        }
    }

    /// Whose turn it is. A second try takes nobody's: else two endpoints, of which one fails, would meet all first
    /// tries with the one that does.
    fn turn(&self, upstream: &Upstream, members: &Members, is_second: bool) -> usize {
        if members.len() == 1 || upstream.spec().balance != Balance::RoundRobin {
            return 0;
        }
        if is_second {
            return fastrand::usize(..members.len());
        }
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(upstream.id()).or_insert_with(|| fastrand::usize(..members.len()));
        *turn = turn.wrapping_add(1);
        *turn
    }

    fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        self.pools.borrow().get(&endpoint.id()).map_or(0, |pool| pool.in_flight.get())
    }

    fn pool(&self, endpoint: &Arc<Endpoint>, upstream: &Arc<Upstream>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(endpoint.id()).or_insert_with(|| {
            Rc::new(Pool {
                endpoint: endpoint.clone(),
                idle: RefCell::default(),
                returned: Notify::new(),
                waiting: Cell::new(0),
                http2: tokio::sync::Mutex::default(),
                in_flight: Cell::new(0),
                last_failure: Cell::new(ConnectError::Refused),
                tls: RefCell::default(),
                generation: Cell::new(0),
                chose_http1: Cell::new(false),
                upstream_id: Cell::new(0),
                upstream: RefCell::default(),
                is_watched: Cell::new(false),
            })
        });
        if pool.upstream_id.get() != upstream.id() {
            pool.upstream_id.set(upstream.id());
            *pool.upstream.borrow_mut() = Arc::downgrade(upstream);
            pool.is_watched.set(upstream.spec().resilience.outliers.is_some());
        }
        pool.clone()
    }

    /// Room for another connection, or one of HTTP/1.1 that came back while waiting for it.
    async fn room(
        &self,
        pool: &Rc<Pool>,
        limits: &Limits,
        want: &Want,
        client: Option<SocketAddr>,
    ) -> Result<Result<ConnectionPermit, Borrowed>, Unopened> {
        let load = pool.endpoint.load();
        if let Some(permit) = load.try_connection(limits) {
            return Ok(Ok(permit));
        }
        // what waits idle at other endpoints of this worker is no use to anybody now
        self.make_room();
        let _waiting = Waiting::begin(pool);
        let other = || if want.wanted.alpn == Alpn::Http2 { None } else { pool.take_idle(client) };
        let found = load.wait_for_connection(limits, want.connect_timeout, &pool.returned, other).await;
        found.map_err(|Overflow| Unopened::Full)
    }
}

/// Why a connection was not opened.
enum Unopened {
    /// It could not be.
    Failed(ConnectError),
    /// The variant has as many as it may.
    Full,
}

impl From<ConnectError> for Unopened {
    fn from(error: ConnectError) -> Unopened {
        Unopened::Failed(error)
    }
}

/// A request that waits for a connection of a pool. Ends with the drop.
struct Waiting(Rc<Pool>);

impl Waiting {
    fn begin(pool: &Rc<Pool>) -> Waiting {
        pool.waiting.set(pool.waiting.get() + 1);
        Waiting(pool.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

impl Pool {
    /// A connection that waits for a request and is still open. One that the endpoint takes for a client's serves that
    /// client only.
    fn take_idle(&self, client: Option<SocketAddr>) -> Option<Borrowed> {
        loop {
            let mut idle = self.idle.borrow_mut();
            let mut waiting = match client {
                None => idle.pop()?,
                Some(_) => {
                    let at = idle.iter().rposition(|waiting| waiting.client == client)?;
                    idle.remove(at)
                }
            };
            drop(idle);
            if waiting.connection.is_reusable() {
                return Some(Borrowed::Http1(waiting.connection, waiting.permit));
            }
        }
    }

    pub(super) fn give_back(
        &self,
        connection: Box<Http1>,
        permit: ConnectionPermit,
        client: Option<SocketAddr>,
        since: Instant,
    ) {
        let is_awaited = self.waiting.get() > 0;
        if !is_awaited && self.endpoint.load().is_short() {
            return; // a request of another worker, or for another endpoint, has more use for the room
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle { connection, permit, since, client });
        }
        if is_awaited {
            self.returned.notify_one();
        }
    }

    /// What came of a request is told to whoever looks at it.
    pub(super) fn note(&self, is_error: bool, now: Instant) {
        if !self.is_watched.get() {
            return;
        }
        let upstream = self.upstream.borrow().upgrade();
        if let Some(upstream) = upstream
            && outliers::note(&upstream, &self.endpoint, is_error, now)
        {
            let spec = upstream.spec();
            tracing::warn!(
                service = spec.service,
                variant = spec.variant,
                endpoint = self.endpoint.text(),
                "endpoint ejected: too many errors in a row"
            );
        }
    }
}
