//! Descriptors that requests leave alone, so that the doors, the journal and the files of a reload find some when
//! clients have used up all others.
//!
//! The kernel gives the lowest number that is free. So a number close to the limit says that nearly all are in use,
//! and nothing has to be counted.

use rustix::process::{Resource, getrlimit};
use std::os::fd::{AsFd, AsRawFd};

/// Descriptors that no connection of a client or to an endpoint may have.
const RESERVED: u64 = 16;
/// Where there are few, they are no more than one of so many.
const SHARE: u64 = 4;

/// True for a descriptor that must be given back at once, as only the reserve is left.
pub fn is_of_reserve(descriptor: &impl AsFd) -> bool {
    let number = descriptor.as_fd().as_raw_fd();
    getrlimit(Resource::Nofile).current.is_some_and(|limit| is_reserved(u64::try_from(number).unwrap_or(0), limit))
}

fn is_reserved(number: u64, limit: u64) -> bool {
    number >= limit.saturating_sub(RESERVED.min(limit / SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_reserved() {
        for (limit, first) in [(1024, 1008), (64, 48), (40, 30), (8, 6), (1, 1)] {
            assert!(is_reserved(first, limit) && !is_reserved(first - 1, limit), "{limit}");
        }
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_of_reserve(&socket));
    }
}
