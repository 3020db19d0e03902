//! What is recorded about requests, and how people and programs read it.
//!
//! ```text
//! worker:   Shard::begin, finish, fallback …   LogShard::write
//!               │ plain stores, one writer        │ blocks over a bounded channel
//! control:  Windows::tick (once a second)      writer thread
//!           Metrics (at a scrape)  →  door: /metrics, /livez, /readyz, /startupz
//! ```
//!
//! The module knows the names of services, cohorts and variants, and nothing of how requests get to them.

pub mod access_log;
pub mod door;
pub mod health;
pub mod log_level;
pub mod metrics;
pub mod mirror;
pub mod overload;
pub mod panics;
pub mod recorder;
pub mod tap;
pub mod windows;

pub use recorder::{ConnectionRefused, Finished, Judged, Registry, Shard, Slot};
