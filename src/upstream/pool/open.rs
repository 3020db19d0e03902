//! How a request gets a connection to one endpoint: a waiting one, or a new one, in the protocol that both speak.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::connect::{Connect, ConnectError, connect};
use super::super::http1::Http1;
use super::super::http2::Http2;
use super::super::{Alpn, ClientTls, ProxyHeader, Stream, Upstream, has_agreed_on_http2};
use super::{Borrowed, Idle, Lease, Pool, Pools};

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
    timeout: Duration,
}

impl Pools {
    pub(super) async fn open(
        self: &Rc<Self>,
        upstream: &Upstream,
        pool: &Rc<Pool>,
        wanted: Wanted,
        timeout: Duration,
    ) -> Result<Lease, ConnectError> {
        let spec = upstream.spec();
        let tls = upstream.tls();
        if spec.is_tls {
            pool.follow(tls.as_ref().ok_or(ConnectError::Tls)?);
        }
        let proxy_header = spec.proxy_protocol.map(|version| ProxyHeader { version, client: wanted.client });
        let way = Way { pool, alpn: wanted.alpn, tls, proxy_header, timeout };
        let is_http1 = way.alpn == Alpn::Http1 || (way.alpn == Alpn::Either && pool.chose_http1.get());
        if is_http1 { self.open_http1(&way).await } else { self.open_shared(&way).await }
    }

    async fn open_http1(self: &Rc<Self>, way: &Way<'_>) -> Result<Lease, ConnectError> {
        let pool = way.pool;
        while let Some(mut waiting) = pool.take_idle(way.client()) {
            if waiting.connection.is_reusable() {
                return Ok(self.lend(way, Borrowed::Http1(waiting.connection), true));
            }
        }
        let stream = way.connect().await?;
        if way.alpn == Alpn::Either && has_agreed_on_http2(&stream) {
            // the endpoint has learned it meanwhile
            pool.chose_http1.set(false);
            let connection = Http2::handshake(stream).await.map_err(|_| ConnectError::Refused)?;
            return Ok(self.lend(way, Borrowed::Http2(connection), false));
        }
        Ok(self.lend(way, Borrowed::Http1(Box::new(Http1::new(stream))), false))
    }

    /// A connection that serves many requests, unless the endpoint is left the choice and chooses otherwise.
    async fn open_shared(self: &Rc<Self>, way: &Way<'_>) -> Result<Lease, ConnectError> {
        // held while connecting, so that a burst of requests opens one connection and not one each
        let pool = way.pool;
        let failures = pool.endpoint.failures_in_a_row();
        let mut shared = pool.http2.lock().await;
        if pool.endpoint.failures_in_a_row() != failures {
            // what another request found out meanwhile: else each of a burst would wait for the timeout in its turn
            return Err(pool.last_failure.get());
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
        let stream = way.connect().await?;
        if way.alpn == Alpn::Either && !has_agreed_on_http2(&stream) {
            pool.chose_http1.set(true);
            return Ok(self.lend(way, Borrowed::Http1(Box::new(Http1::new(stream))), false));
        }
        let mut connection = Http2::handshake(stream).await.map_err(|_| ConnectError::Refused)?;
        connection.generation = generation;
        *shared = Some(connection.clone());
        Ok(self.lend(way, Borrowed::Http2(connection), false))
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

    /// A waiting connection. One that the endpoint takes for a client's serves that client only.
    fn take_idle(&self, client: Option<SocketAddr>) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        if client.is_none() {
            return idle.pop();
        }
        let at = idle.iter().rposition(|waiting| waiting.client == client)?;
        Some(idle.remove(at))
    }
}

impl Way<'_> {
    fn client(&self) -> Option<SocketAddr> {
        self.proxy_header.map(|header| header.client)
    }

    async fn connect(&self) -> Result<Stream, ConnectError> {
        let tls = self.tls.as_deref().map(|tls| (tls, self.alpn));
        let how = Connect { address: self.pool.endpoint.address(), proxy_header: self.proxy_header.as_ref(), tls };
        let stream = connect(&how, self.timeout).await?;
        self.pool.endpoint.note_connected();
        Ok(stream)
    }
}
