//! The other side: services that misbehave, vanish and return, while the process that stands before them is edited,
//! drained and starved.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code)]

#[path = "upstreams/balance.rs"]
mod balance;
#[path = "upstreams/behaviours.rs"]
mod behaviours;
#[path = "upstreams/client.rs"]
mod client;
#[path = "upstreams/fallback.rs"]
mod fallback;
#[path = "upstreams/hostile.rs"]
mod hostile;
#[path = "upstreams/service.rs"]
mod service;
#[path = "upstreams/story.rs"]
mod story;
