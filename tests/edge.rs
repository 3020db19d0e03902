//! All of it together: the example of the edge on the real program, every pair of protocols, and clients that others
//! wrote. Figures are in docs/reliability.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "tls/authority.rs"]
mod authority;
#[path = "edge/caller.rs"]
mod caller;
#[path = "edge/example.rs"]
mod example;
#[path = "edge/folder.rs"]
mod folder;
#[path = "edge/gaps.rs"]
mod gaps;
#[path = "edge/pairs.rs"]
mod pairs;
#[path = "edge/service.rs"]
mod service;
#[path = "edge/tools.rs"]
mod tools;
