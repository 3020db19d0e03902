//! Clients of HTTP/2 over plain TCP.

mod client;
mod conformance;
mod extended;
mod farewell;
mod frames;
mod grpc;
mod ordinary;
mod rules;
mod service;
