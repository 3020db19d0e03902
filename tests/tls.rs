//! TLS on both sides, and the PROXY protocol, over real sockets with certificates made for the test (row D28 of the
//! battery). Figures are in docs/reliability.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "tls/authority.rs"]
mod authority;
#[path = "tls/client.rs"]
mod client;
#[path = "tls/endpoints.rs"]
mod endpoints;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/hosts.rs"]
mod hosts;
#[path = "tls/http2.rs"]
mod http2;
#[path = "tls/mutual.rs"]
mod mutual;
#[path = "tls/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "tls/reloads.rs"]
mod reloads;
#[path = "tls/resumption.rs"]
mod resumption;
#[path = "tls/service.rs"]
mod service;
