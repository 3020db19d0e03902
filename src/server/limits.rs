//! What the operating system grants.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most client connections of a listener that names no limit.
const CONNECTIONS_MAX: u64 = 10_000;
/// Descriptors that are not connections: files, doors, the runtime's own.
const DESCRIPTORS_OTHER: u64 = 64;

/// Raises the soft limit of descriptors to the hard one, and tells how many client connections there may be: each
/// needs a second descriptor for its service.
pub(super) fn connections_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the soft limit of descriptors stays as it is");
        }
    }
    connections_of(getrlimit(Resource::Nofile).current)
}

/// Threads that may run at the same time: one worker for each.
pub(super) fn workers_default() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get())
}

fn connections_of(descriptors: Option<u64>) -> usize {
    let half = descriptors.map_or(CONNECTIONS_MAX, |descriptors| (descriptors / 2).saturating_sub(DESCRIPTORS_OTHER));
    half.clamp(1, CONNECTIONS_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_services_and_files() {
        let cases = [(Some(64), 1), (Some(1024), 448), (Some(1 << 20), 10_000), (None, 10_000)];
        for (descriptors, expected) in cases {
            assert_eq!(connections_of(descriptors), expected, "{descriptors:?}");
        }
    }
}
