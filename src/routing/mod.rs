//! From a configuration to what serves requests, and the look-ups on it.
//!
//! The modules here read a request without changing anything: who the client is, what it asks for.

pub mod client;
pub mod cookies;
pub mod device;
pub mod host;
pub mod path;
pub mod query;
