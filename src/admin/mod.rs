//! The admin door: the API for people and scripts that change things.
//!
//! ```text
//! connection → guard (Host, Origin, Content-Type) → pages (who asks, their role, the body) → a page → control::Handle
//! ```
//!
//! It is reached from this machine, or from others with a token and TLS. A web page that somebody looks at there must not
//! get through: see `guard`. Who asks is found by `caller`, what they may do stands in the table of `pages`. It runs on the
//! control thread, apart from the workers.

mod actions;
mod api;
mod asked;
mod caller;
mod change;
mod channel;
mod configs;
mod dashboard;
mod data;
mod differences;
mod drill;
mod endpoints;
mod events;
mod explain;
mod guard;
mod history;
mod log_level;
mod mirror;
mod openapi;
mod outcomes;
mod pages;
mod problem;
mod progress;
mod rollouts;
mod room;
mod seats;
mod sentence;
mod series;
mod services;
mod session;
mod simulate;
mod socket;
mod status;
mod stay;
mod stream;
mod tap;

pub use openapi::document as openapi;
pub use session::{LINK_TIME_MAX, Sessions, sign_in_url};
pub use socket::{Door, bind};

use crate::control::Handle;
use axum::{Extension, Router};
use caller::Peer;
use channel::{Channel, Channels, IsEncrypted, shake_hands};
use configs::Bench;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use room::Room;
use rustls::ServerConfig;
use seats::Seats;
use stay::{Stay, Streams};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use stream::Viewers;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// From the first byte of a connection, or from the last response, to the end of the next request's headers.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(10);
/// What an answer may take when the door closes.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(1);
/// After a failed accept, such as for want of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How the door is served.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Links to sign in, and who has signed in.
    pub sessions: Sessions,
    /// The process is `ringway demo`.
    pub is_demo: bool,
}

/// Serves the door until it is to be closed; who is being answered then has a second for it.
pub async fn serve(door: Door, handle: Handle, terms: Terms, close: impl Future<Output = ()>) {
    tokio::pin!(close);
    let Terms { sessions, is_demo } = terms;
    let room = Room {
        handle,
        sessions,
        streams: Streams::default(),
        viewers: Viewers::default(),
        bench: Bench::default(),
        log_changes: Default::default(),
        is_demo,
        bound: door.bound(),
    };
    let router = guard::guarded(pages::router(room.clone()), room.clone());
    let mut connections = JoinSet::new();
    let (mut channels, mut seats) = (Channels::default(), Seats::default());
    loop {
        tokio::select! {
            () = &mut close => break,
            Some(ended) = connections.join_next_with_id() => {
                seats.leave(ended.map_or_else(|broken| broken.id(), |(id, ())| id));
            }
            accepted = door.accept() => match accepted {
                // closed at once: all others are being answered
                Ok((_, peer)) if !seats.make_room(peer) => {}
                Ok((stream, peer)) => {
                    let stay = Stay::default();
                    let (router, after) = (router.clone(), stay.clone());
                    let task = match (stream, channels.of(room.handle.in_force())) {
                        (socket::Stream::Unix(stream), _) => connections.spawn(connection(stream, peer, after, router)),
                        (socket::Stream::Tcp(stream), Channel::Plain) => {
                            connections.spawn(connection(stream, peer, after, router))
                        }
                        (socket::Stream::Tcp(stream), Channel::Tls(config)) => {
                            connections.spawn(encrypted(stream, config, peer, after, router))
                        }
                        (socket::Stream::Tcp(_), Channel::Shut) => continue,
                    };
                    seats.take(task.id(), peer, stay);
                    // who comes in is heard before the next, or a rush would end them unheard
                    tokio::task::yield_now().await;
                }
                // for want of descriptors: whoever says nothing gives theirs back
                Err(_) if seats.give_one_back() => tokio::task::yield_now().await,
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

async fn encrypted(stream: TcpStream, config: Arc<ServerConfig>, peer: Peer, stay: Stay, router: Router) {
    let shaken = tokio::select! {
        shaken = shake_hands(stream, config) => shaken,
        () = stay.over() => return,
    };
    match shaken {
        Ok(stream) => connection_of(stream, peer, IsEncrypted(true), stay, router).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake at the admin door failed"),
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: Peer, stay: Stay, router: Router) {
    connection_of(stream, peer, IsEncrypted(false), stay, router).await;
}

async fn connection_of(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: Peer,
    is_encrypted: IsEncrypted,
    stay: Stay,
    router: Router,
) {
    let router = router.layer(Extension(peer)).layer(Extension(is_encrypted)).layer(Extension(stay.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::select! {
        // who breaks off or takes too long has nobody to be told
        _ = connection => {}
        () = stay.over() => {}
    }
}

#[cfg(test)]
mod tests;
