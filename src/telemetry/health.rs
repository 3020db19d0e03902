//! How the process is: started, draining, and what came of the last reload.

use super::overload::Overload;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How the process is: shared by those who change it and the telemetry door, which tells it.
#[derive(Debug, Default)]
pub struct Health {
    is_started: AtomicBool,
    is_draining: AtomicBool,
    reloads: ArcSwap<Reloads>,
    overload: Arc<Overload>,
}

/// What came of the configuration's loads so far, the first one included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// How many were put in force.
    pub applied: u64,
    /// How many were rejected and changed nothing.
    pub rejected: u64,
    /// When the last one was put in force, in seconds since 1970; 0 before.
    pub applied_unix_seconds: u64,
    /// Why the last one was rejected, in one line; absent when it was put in force.
    pub problem: Option<String>,
}

impl Health {
    /// Not started, not draining, nothing loaded.
    pub fn new() -> Arc<Health> {
        Arc::default()
    }

    /// How short of memory the process is.
    pub fn overload(&self) -> &Arc<Overload> {
        &self.overload
    }

    /// All listeners accept connections.
    pub fn start(&self) {
        self.is_started.store(true, Ordering::Release);
    }

    /// No new work should come: readiness fails from now on.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// A configuration was put in force.
    pub fn reload_applied(&self, unix_seconds: u64) {
        self.reloads.rcu(|reloads| Reloads {
            applied: reloads.applied + 1,
            applied_unix_seconds: unix_seconds,
            problem: None,
            ..Reloads::clone(reloads)
        });
    }

    /// A configuration was rejected; the one in force stays.
    pub fn reload_rejected(&self, problem: &str) {
        self.reloads.rcu(|reloads| Reloads {
            rejected: reloads.rejected + 1,
            problem: Some(problem.to_owned()),
            ..Reloads::clone(reloads)
        });
    }

    /// True from [`Health::start`] on.
    pub fn is_started(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// True from [`Health::drain`] on.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// True while new requests are welcome. A rejected reload does not change that: the last good one serves.
    pub fn is_ready(&self) -> bool {
        self.is_started() && !self.is_draining()
    }

    /// What came of the loads so far.
    pub fn reloads(&self) -> Arc<Reloads> {
        self.reloads.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_after_the_start_and_before_the_drain() {
        let health = Health::new();
        assert!(!health.is_ready());
        health.start();
        assert!(health.is_ready());
        health.drain();
        assert!(!health.is_ready() && health.is_started());
    }

    #[test]
    fn a_rejected_reload_is_remembered_until_the_next_good_one() {
        let health = Health::new();
        health.start();
        health.reload_applied(10);
        health.reload_rejected("line 3: no such variant");
        assert!(health.is_ready());
        let reloads = health.reloads();
        assert_eq!((reloads.applied, reloads.rejected, reloads.applied_unix_seconds), (1, 1, 10));
        assert_eq!(reloads.problem.as_deref(), Some("line 3: no such variant"));
        health.reload_applied(20);
        assert_eq!(health.reloads().problem, None);
    }
}
