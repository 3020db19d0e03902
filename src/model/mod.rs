//! The words of the domain. No I/O, no async, no serde: everything here can be reasoned about on paper.
//!
//! The words are those of the contract with users: a *service* has *variants*; a *cohort* is a group of
//! requests chosen by conditions; an *assignment* is the variant that a request got and the *reason* why.

mod bucket;
#[cfg(test)]
mod evenness;
mod json_path;
mod layout;
mod outcome;
mod public;
mod text;
mod weight;

pub use bucket::{BUCKETS, Bucket, SaltKey};
pub use json_path::{JsonPath, JsonStep, Places};
pub use layout::{Layout, LayoutError, Range};
pub use outcome::{Failure, FallbackCause, Fault, InjectedKind, Outcome, Reason, RetryResult};
pub use public::is_public;
pub use text::{grouped, is_deceiving, percent, printable, push_printable};
pub use weight::{Weight, WeightError};

/// The cohort that takes every request that no named cohort took. It is always the last one.
pub const EVERYONE: &str = "everyone";

/// The route of a file that has one service and no routes: every request takes it.
pub const DEFAULT_ROUTE: &str = "default";

/// The variant that is the remainder (see [`Layout`]) when a service has one of this name.
pub const STABLE: &str = "stable";

/// The smallest latency that a histogram tells apart, in microseconds.
pub const LATENCY_MIN_US: u64 = 1;

/// The largest latency that a histogram holds, in microseconds (60 s); longer ones count as this.
pub const LATENCY_MAX_US: u64 = 60_000_000;
