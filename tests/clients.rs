//! What clients do to a proxy, good and bad, byte by byte: the duties of RFC 9110, 9112 and 9113, and the rows of the
//! battery that a client can try. Figures are in docs/reliability.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "clients/bodies.rs"]
mod bodies;
#[path = "clients/caches.rs"]
mod caches;
#[path = "clients/cohorts.rs"]
mod cohorts;
#[path = "clients/crowds.rs"]
mod crowds;
#[path = "clients/drills.rs"]
mod drills;
#[path = "clients/duties.rs"]
mod duties;
#[path = "clients/explained.rs"]
mod explained;
#[path = "clients/forgeries.rs"]
mod forgeries;
#[path = "clients/framing/mod.rs"]
mod framing;
#[path = "clients/hosts.rs"]
mod hosts;
#[path = "clients/http2/mod.rs"]
mod http2;
#[path = "clients/limits.rs"]
mod limits;
#[path = "clients/logs.rs"]
mod logs;
#[path = "clients/ordinary.rs"]
mod ordinary;
#[path = "clients/rates.rs"]
mod rates;
#[path = "clients/smuggling.rs"]
mod smuggling;
#[path = "clients/traffic.rs"]
mod traffic;
#[path = "clients/trust.rs"]
mod trust;
#[path = "clients/upgrades.rs"]
mod upgrades;
