//! What the integration tests of the data plane share: a client, a service and a process, all real, on loopback.

pub mod raw;
pub mod recording;
pub mod server;
