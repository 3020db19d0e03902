//! The other side: services that misbehave, vanish and return, while the process that stands before them is edited,
//! drained and starved.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "upstreams/access_log.rs"]
mod access_log;
#[path = "upstreams/agreement.rs"]
mod agreement;
#[path = "upstreams/assignment.rs"]
mod assignment;
#[path = "upstreams/balance.rs"]
mod balance;
#[path = "upstreams/behaviours.rs"]
mod behaviours;
#[path = "upstreams/binary.rs"]
mod binary;
#[path = "upstreams/client.rs"]
mod client;
#[path = "upstreams/durability.rs"]
mod durability;
#[path = "upstreams/examples.rs"]
mod examples;
#[path = "upstreams/exhaustion.rs"]
mod exhaustion;
#[path = "upstreams/fallback.rs"]
mod fallback;
#[path = "upstreams/floods.rs"]
mod floods;
#[path = "upstreams/gates.rs"]
mod gates;
#[path = "upstreams/goaway.rs"]
mod goaway;
#[path = "upstreams/hostile.rs"]
mod hostile;
#[path = "upstreams/http2.rs"]
mod http2;
#[path = "upstreams/lifecycle.rs"]
mod lifecycle;
#[path = "upstreams/machine.rs"]
mod machine;
#[path = "upstreams/mirror.rs"]
mod mirror;
#[path = "upstreams/peer.rs"]
mod peer;
#[path = "upstreams/poisoning.rs"]
mod poisoning;
#[path = "upstreams/races.rs"]
mod races;
#[path = "upstreams/reload.rs"]
mod reload;
#[path = "upstreams/resilience/mod.rs"]
mod resilience;
#[path = "upstreams/rings.rs"]
mod rings;
#[path = "upstreams/rollouts.rs"]
mod rollouts;
#[path = "upstreams/service.rs"]
mod service;
#[path = "upstreams/story.rs"]
mod story;
#[path = "upstreams/traces.rs"]
mod traces;
#[path = "upstreams/upgrade.rs"]
mod upgrade;
#[path = "upstreams/upgrade_http2.rs"]
mod upgrade_http2;
