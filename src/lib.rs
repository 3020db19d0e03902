//! Ringway: an edge proxy that decides who gets a new version.
//!
//! Two lines run through it, and the modules are named after their stations:
//!
//! ```text
//! request:  listener → connection → request → route → cohort → assign → pick → forward → record
//! reload:   watch → load → check → compile → test → publish → (the next request loads it)
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod migrate;
pub mod model;
pub mod ofrep;
pub mod proxy;
pub mod rollout;
pub mod routing;
pub mod server;
pub mod simulate;
pub mod telemetry;
pub mod upstream;
