//! How a request gets a connection to one endpoint: a waiting one, or a new one, in the protocol that both speak.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::super::connect::{Connect, ConnectError, connect};
use super::super::http1::Http1;
use super::super::http2::Http2;
use super::super::lease::{Borrowed, Lease};
use super::super::{Alpn, ClientTls, Limits, ProxyHeader, Stream, Upstream, has_agreed_on_http2};
use super::{Pool, Pools, Unopened, Want};

/// What a request wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The protocol.
    pub alpn: Alpn,
    /// The client, for endpoints that are told of it by the PROXY protocol.
    pub client: SocketAddr,
}

/// How to get a connection to one endpoint.
struct Way<'w> {
    pool: &'w Rc<Pool>,
    alpn: Alpn,
    tls: Option<Arc<ClientTls>>,
    proxy_header: Option<ProxyHeader>,
    want: &'w Want,
    limits: &'w Limits,
}

impl Pools {
    /// What seldom happens (waiting, connecting, shaking hands) is boxed: else each request would carry room for it.
    pub(super) async fn open(
        self: &Rc<Self>,
        upstream: &Upstream,
        pool: &Rc<Pool>,
        want: &Want,
    ) -> Result<Lease, Unopened> {
        let spec = upstream.spec();
        let tls = upstream.tls();
        if spec.is_tls {
            pool.follow(tls.as_ref().ok_or(ConnectError::Tls)?);
        }
        let proxy_header = spec.proxy_protocol.map(|version| ProxyHeader { version, client: want.wanted.client });
        let way = Way { pool, alpn: want.wanted.alpn, tls, proxy_header, want, limits: &spec.resilience.limits };
        let is_http1 = way.alpn == Alpn::Http1 || (way.alpn == Alpn::Either && pool.chose_http1.get());
        if is_http1 { self.open_http1(&way).await } else { Box::pin(self.open_shared(&way)).await }
    }

    async fn open_http1(self: &Rc<Self>, way: &Way<'_>) -> Result<Lease, Unopened> {
        let pool = way.pool;
        if let Some(idle) = pool.take_idle(way.client()) {
            return Ok(self.lend(way, idle, true));
        }
        let permit = match Box::pin(self.room(pool, way.limits, way.want, way.client())).await? {
            Ok(permit) => permit,
            Err(idle) => return Ok(self.lend(way, idle, true)),
        };
        let stream = Box::pin(way.connect()).await?;
        if way.alpn == Alpn::Either && has_agreed_on_http2(&stream) {
            // the endpoint has learned it meanwhile
            pool.chose_http1.set(false);
            let connection = Box::pin(Http2::handshake(stream, permit)).await.map_err(|_| ConnectError::Refused)?;
            return Ok(self.lend(way, Borrowed::Http2(connection), false));
        }
        Ok(self.lend(way, Borrowed::Http1(Box::new(Http1::new(stream)), permit), false))
    }

    /// A connection that serves many requests, unless the endpoint is left the choice and chooses otherwise.
    async fn open_shared(self: &Rc<Self>, way: &Way<'_>) -> Result<Lease, Unopened> {
        let pool = way.pool;
        let mut kept = None;
        loop {
            // held while connecting, so that a burst of requests opens one connection and not one each
            let failures = pool.endpoint.failures_in_a_row();
            let mut shared = pool.http2.lock().await;
            if pool.endpoint.failures_in_a_row() != failures {
                // what another request found out: else each of a burst would wait for the timeout in its turn
                return Err(Unopened::Failed(pool.last_failure.get()));
            }
            let generation = pool.generation.get();
            let is_current = |connection: &&Http2| connection.is_open() && connection.generation == generation;
            if let Some(connection) = shared.as_ref().filter(is_current) {
                return Ok(self.lend(way, Borrowed::Http2(connection.clone()), true));
            }
            if way.alpn == Alpn::Either && pool.chose_http1.get() {
                drop(shared);
                return self.open_http1(way).await;
            }
            // one that has ended makes room
            *shared = None;
            let Some(permit) = kept.take().or_else(|| pool.endpoint.load().try_connection(way.limits)) else {
                // not held while waiting, for the same reason
                drop(shared);
                match Box::pin(self.room(pool, way.limits, way.want, way.client())).await? {
                    Ok(permit) => kept = Some(permit),
                    Err(idle) => return Ok(self.lend(way, idle, true)),
                }
                continue;
            };
            let stream = Box::pin(way.connect()).await?;
            if way.alpn == Alpn::Either && !has_agreed_on_http2(&stream) {
                pool.chose_http1.set(true);
                return Ok(self.lend(way, Borrowed::Http1(Box::new(Http1::new(stream)), permit), false));
            }
            let mut connection = Box::pin(Http2::handshake(stream, permit)).await.map_err(|_| ConnectError::Refused)?;
            connection.generation = generation;
            *shared = Some(connection.clone());
            return Ok(self.lend(way, Borrowed::Http2(connection), false));
        }
    }

    fn lend(self: &Rc<Self>, way: &Way<'_>, connection: Borrowed, is_reused: bool) -> Lease {
        let pool = way.pool.clone();
        pool.in_flight.set(pool.in_flight.get() + 1);
        let (generation, client) = (pool.generation.get(), way.client());
        Lease { pools: self.clone(), pool, connection: Some(connection), is_reused, generation, client }
    }
}

impl Pool {
    /// Connections that were opened with other authorities, or another certificate of ours, are not used again.
    fn follow(&self, tls: &Arc<ClientTls>) {
        let mut known = self.tls.borrow_mut();
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, tls)) {
            return;
        }
        if known.replace(tls.clone()).is_some() {
            self.generation.set(self.generation.get().wrapping_add(1));
            self.idle.borrow_mut().clear();
            self.chose_http1.set(false);
        }
    }
}

impl Way<'_> {
    fn client(&self) -> Option<SocketAddr> {
        self.proxy_header.map(|header| header.client)
    }

    async fn connect(&self) -> Result<Stream, ConnectError> {
        let tls = self.tls.as_deref().map(|tls| (tls, self.alpn));
        let how = Connect { address: self.pool.endpoint.address(), proxy_header: self.proxy_header.as_ref(), tls };
        let stream = connect(&how, self.want.connect_timeout).await?;
        self.pool.endpoint.note_connected(self.want.now);
        Ok(stream)
    }
}
