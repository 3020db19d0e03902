//! From a file to the snapshot that serves requests, and the look-ups on it: route, cohort, assign.
//!
//! Nothing here changes a request, waits, or knows who asks: the proxy asks for real requests, `explain` and the
//! file's own `tests:` ask for imagined ones, and both get the same answer from the same code.

mod assign;
pub mod client;
pub(crate) mod compare;
mod compile;
pub mod condition;
#[cfg(test)]
mod contract;
pub mod cookies;
pub(crate) mod curl_line;
pub mod device;
pub mod edit;
pub mod expect;
pub mod explain;
pub mod fault;
pub mod forged;
pub mod host;
pub mod host_pattern;
pub mod limit;
pub mod mirror;
pub mod outcome;
pub mod overlay;
pub mod path;
pub mod prepare;
pub mod query;
pub mod redirect;
pub mod request;
pub mod resilience;
pub mod routes;
pub mod snapshot;
mod test;
mod ticketer;
pub mod tls;
pub mod user_key;
pub mod vary;
pub mod view;

pub use assign::Assignment;
pub use compile::{CompileError, Foundation, compile};
pub use overlay::{Overlay, Ruled, WeightSource};
pub use prepare::{Prepared, prepare, recompile};
pub use snapshot::Snapshot;
pub use test::Test;
pub use view::{RequestView, Trust, unix_seconds};
