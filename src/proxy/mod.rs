//! The data plane. The files stand in the order in which a request meets them:
//! listener → handshake → connection → request → headers → forward → send → answer, with `record` all along, and `tunnel` for upgraded connections.
//!
//! It knows nothing of files, reloads and rollouts: with all of that gone, it serves its last snapshot.

mod additions;
mod answer;
mod arrived;
mod cache;
mod client_counts;
mod connection;
mod date;
mod edit;
mod error;
mod exchange;
mod extended;
mod fault;
mod forward;
mod grpc;
mod handshake;
mod headers;
mod http1;
mod http2;
mod idle;
mod limit;
mod listener;
mod mirror;
mod probe;
mod proxy_protocol;
mod record;
mod redirect;
mod retry;
mod room;
mod send;
mod stall;
mod traced;
mod tunnel;
mod upload;
mod worker;

pub use client_counts::ClientCounts;
pub use error::ProxyError;
pub use headers::ViaName;
pub use listener::bind;
pub use mirror::Comparer;
pub use proxy_protocol::parse as parse_proxy_header;
pub use worker::{Command, Shared, Worker, WorkerHandle, serve, start};
