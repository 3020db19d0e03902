//! Clients of HTTP/2 over plain TCP.

mod client;
mod extended;
mod frames;
mod grpc;
mod ordinary;
mod rules;
mod service;
