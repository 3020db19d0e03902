//! What is recorded about requests, and how people and programs read it.
//!
//! ```text
//! worker:   Shard::begin, finish, fallback …   LogShard::write
//!               │ plain stores, one writer        │ blocks over a bounded channel
//! control:  Windows::tick (once a second)      writer thread
//!           Metrics (at a scrape)  →  door: /metrics, /livez, /readyz, /startupz
//! ```
//!
//! Spans of sampled requests go to the control thread by a bounded channel (`spans`), which sends them on.
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
pub(crate) mod protobuf;
pub mod recorder;
pub mod spans;
pub mod tap;
pub mod windows;

pub use recorder::{ConnectionRefused, Finished, Judged, Registry, Shard, Slot};
