//! The admin door: the API for people and scripts that change things.
//!
//! ```text
//! connection → guard (Host, Origin, Content-Type, body) → api → control::Handle
//! ```
//!
//! It is for this machine only, and a web page that somebody on this machine looks at must not get through: see
//! `guard`. It runs on the control thread, apart from the workers.

mod api;
mod guard;
mod mirror;
mod outcomes;
mod problem;
mod rollouts;
mod socket;
mod status;

pub use guard::Hosts;
pub use socket::{Door, bind};

use crate::control::Handle;
use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Open connections; further ones are closed at once.
const CONNECTIONS_MAX: usize = 32;
/// From the first byte of a connection, or from the last response, to the end of the next request's headers.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(10);
/// The most that a connection may take, from accepting it to closing it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// What an answer may take when the door closes.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(1);
/// After a failed accept, such as for want of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Serves the door until it is to be closed; who is being answered then has a second for it.
pub async fn serve(door: Door, handle: Handle, close: impl Future<Output = ()>) {
    tokio::pin!(close);
    let router = guard::guarded(api::router(handle), door.hosts());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut close => break,
            Some(_) = connections.join_next() => {}
            accepted = door.accept() => match accepted {
                Ok(_) if connections.len() >= CONNECTIONS_MAX => {}
                Ok(socket::Stream::Tcp(stream)) => drop(connections.spawn(connection(stream, router.clone()))),
                Ok(socket::Stream::Unix(stream)) => drop(connections.spawn(connection(stream, router.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "admin door cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(door);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // those that are still open then are cut when the set is dropped
    let _ = tokio::time::timeout(CLOSING_TIME_MAX, all_ended).await;
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Who breaks off or takes too long has nobody to be told.
    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
}

#[cfg(test)]
mod tests;
