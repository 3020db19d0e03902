use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Check, Load, Resilience};

/// One address of a variant, with all that is known of its health. Shared by all workers; nobody waits for it.
///
/// Three things keep it out of use, each with an end of its own: connections that fail (a pause, ended by the first
/// request that gets through), health checks that fail (ended by checks that pass), and answers that fail (an
/// ejection, ended by time).
#[derive(Debug)]
pub struct Endpoint {
    id: u32,
    address: SocketAddr,
    text: Box<str>,
    load: Arc<Load>,
    /// Milliseconds since [`epoch`] until which no connection is tried; 0 when it is in use.
    paused_until: AtomicU64,
    failures_in_a_row: AtomicU32,
    /// Milliseconds since [`epoch`] when the last of them was noted; 0 for never.
    failed_at: AtomicU64,
    checked: AtomicU8,
    checks_passed: AtomicU32,
    checks_failed: AtomicU32,
    /// Milliseconds since [`epoch`]; 0 for never.
    ejected_until: AtomicU64,
    /// Ejections that are not forgiven yet.
    pub(super) ejections: AtomicU32,
    pub(super) errors_in_a_row: AtomicU32,
    /// Since success rates were last compared.
    pub(super) answers: AtomicU32,
    /// Those of them that were errors.
    pub(super) errors: AtomicU32,
    /// Milliseconds since [`epoch`] from which it grows to its full share; 0 for ever.
    usable_since: AtomicU64,
    /// A person took it out of use.
    is_drained: AtomicBool,
}

/// What health checks say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing yet: it is in use until checks fail.
    Unknown,
    /// It is in use.
    Healthy,
    /// It is not.
    Unhealthy,
}

/// How an endpoint is, in one word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// In use.
    Healthy,
    /// Not in use: health checks fail.
    Unhealthy,
    /// Left alone for a while: connections to it, or its answers, failed.
    Ejected,
    /// A person took it out of use.
    Draining,
}

/// How long an endpoint is left alone after its first failed connection; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest time that an endpoint is left alone before it is tried again.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The share that an endpoint begins with.
const SHARE_MIN: f64 = 0.1;

impl EndpointState {
    /// Every state, in the order in which they are shown.
    pub const ALL: [EndpointState; 4] =
        [EndpointState::Healthy, EndpointState::Unhealthy, EndpointState::Ejected, EndpointState::Draining];

    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            EndpointState::Healthy => "healthy",
            EndpointState::Unhealthy => "unhealthy",
            EndpointState::Ejected => "ejected",
            EndpointState::Draining => "draining",
        }
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, load: Arc<Load>) -> Endpoint {
        Endpoint {
            id: super::next_id(),
            address,
            text: address.to_string().into(),
            load,
            paused_until: AtomicU64::new(0),
            failures_in_a_row: AtomicU32::new(0),
            failed_at: AtomicU64::new(0),
            checked: AtomicU8::new(Checked::Unknown as u8),
            checks_passed: AtomicU32::new(0),
            checks_failed: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            errors_in_a_row: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            errors: AtomicU32::new(0),
            usable_since: AtomicU64::new(0),
            is_drained: AtomicBool::new(false),
        }
    }

    /// A number of its own in this process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What its variant uses.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// How it is, by what its variant looks at.
    pub fn state(&self, of: &Resilience, now: Instant) -> EndpointState {
        if self.is_drained() {
            EndpointState::Draining
        } else if of.check.is_some() && self.checked() == Checked::Unhealthy {
            EndpointState::Unhealthy
        } else if self.is_paused(now) || (of.outliers.is_some() && self.is_ejected(now)) {
            EndpointState::Ejected
        } else {
            EndpointState::Healthy
        }
    }

    /// True while a person has it out of use: nobody new is sent there, whatever else is wrong.
    pub fn is_drained(&self) -> bool {
        self.is_drained.load(Relaxed)
    }

    pub(super) fn set_drained(&self, is_drained: bool) {
        self.is_drained.store(is_drained, Relaxed);
    }

    /// True while no connection is tried because connections failed.
    pub fn is_paused(&self, now: Instant) -> bool {
        let until = self.paused_until.load(Relaxed);
        until != 0 && milliseconds(now) < until
    }

    /// True while it is left alone because of what it answered.
    pub fn is_ejected(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && milliseconds(now) < until
    }

    /// Notes that no connection could be opened. The endpoint is left alone for a while, longer each time; when that
    /// time is over the next request tries it, and finds out for the others.
    ///
    /// Attempts that ran side by side are one failure: a burst says no more about an endpoint than a request does.
    pub fn note_connect_failure(&self, began: Instant, now: Instant) {
        let last = self.failed_at.load(Relaxed);
        if last != 0 && milliseconds(began) <= last {
            return;
        }
        self.failed_at.store(milliseconds(now), Relaxed);
        let failures = self.failures_in_a_row.fetch_add(1, Relaxed).min(8);
        let pause = (PAUSE_MIN * 2u32.pow(failures)).min(PAUSE_MAX);
        self.paused_until.store(milliseconds(now + pause), Relaxed);
    }

    /// Connections that failed since the last one that was opened.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row.load(Relaxed)
    }

    /// Keeps others away while one request finds out whether an endpoint is back. True for that request.
    pub fn claim_probe(&self, now: Instant, connect_timeout: Duration) -> bool {
        let until = self.paused_until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let next = milliseconds(now + connect_timeout);
        self.paused_until.compare_exchange(until, next, Relaxed, Relaxed).is_ok()
    }

    /// Notes that a connection was opened.
    pub fn note_connected(&self, now: Instant) {
        if self.paused_until.load(Relaxed) != 0 {
            self.paused_until.store(0, Relaxed);
            self.failures_in_a_row.store(0, Relaxed);
            self.usable_since.store(milliseconds(now), Relaxed);
        }
    }

    /// What health checks say.
    pub fn checked(&self) -> Checked {
        match self.checked.load(Relaxed) {
            1 => Checked::Healthy,
            2 => Checked::Unhealthy,
            _ => Checked::Unknown,
        }
    }

    /// Notes what a health check found. Returns what checks say from now on, when that is something else.
    ///
    /// One that passes is enough for an endpoint of which nothing is known; else it takes as many in a row as the
    /// check says.
    pub fn note_check(&self, has_passed: bool, check: &Check, now: Instant) -> Option<Checked> {
        let (own, other) = match has_passed {
            true => (&self.checks_passed, &self.checks_failed),
            false => (&self.checks_failed, &self.checks_passed),
        };
        other.store(0, Relaxed);
        let in_a_row = own.load(Relaxed).saturating_add(1);
        own.store(in_a_row, Relaxed);
        let next = match (self.checked(), has_passed) {
            (Checked::Unknown, true) => Checked::Healthy,
            (Checked::Unhealthy, true) if in_a_row >= check.healthy_after => Checked::Healthy,
            (Checked::Unknown | Checked::Healthy, false) if in_a_row >= check.unhealthy_after => Checked::Unhealthy,
            _ => return None,
        };
        if self.checked() == Checked::Unhealthy {
            self.usable_since.store(milliseconds(now), Relaxed);
        }
        self.checked.store(next as u8, Relaxed);
        Some(next)
    }

    /// Leaves it alone until then. It comes back with the share of a new endpoint.
    pub(super) fn eject_until(&self, until: Instant) {
        self.ejected_until.store(milliseconds(until), Relaxed);
        self.usable_since.store(milliseconds(until), Relaxed);
        self.errors_in_a_row.store(0, Relaxed);
    }

    /// It joins others that are in use already.
    pub(super) fn join(&self, now: Instant) {
        self.usable_since.store(milliseconds(now), Relaxed);
    }

    /// The share of requests that it takes while it grows to a full one: from a tenth to 1, evenly over
    /// `slow_start`.
    pub fn share(&self, slow_start: Duration, now: Instant) -> f64 {
        let since = self.usable_since.load(Relaxed);
        if since == 0 || slow_start.is_zero() {
            return 1.0;
        }
        let grown = milliseconds(now).saturating_sub(since) as f64 / slow_start.as_millis().max(1) as f64;
        grown.clamp(SHARE_MIN, 1.0)
    }
}

/// The moment from which the milliseconds of health are counted.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(|| Instant::now() - Duration::from_secs(1))
}

/// Milliseconds since [`epoch`].
pub(super) fn milliseconds(at: Instant) -> u64 {
    at.saturating_duration_since(epoch()).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;
    use proptest::prelude::*;

    fn endpoint() -> Endpoint {
        Endpoint::new("127.0.0.1:1".parse().unwrap(), Arc::default())
    }

    #[test]
    fn a_pause_grows_ends_and_is_forgiven() {
        let endpoint = endpoint();
        let mut now = Instant::now();
        let fail = |at: Instant| endpoint.note_connect_failure(at, at);
        fail(now);
        assert!(endpoint.is_paused(now + Duration::from_millis(499)));
        assert!(!endpoint.is_paused(now + Duration::from_millis(501)));
        now += Duration::from_secs(1);
        fail(now);
        assert!(endpoint.is_paused(now + Duration::from_millis(999)));
        for _ in 0..100 {
            now += Duration::from_secs(10);
            fail(now);
        }
        assert!(!endpoint.is_paused(now + PAUSE_MAX + Duration::from_millis(1)));
        endpoint.note_connected(now);
        assert!(!endpoint.is_paused(now));
    }

    #[test]
    fn a_burst_is_one_failure() {
        let endpoint = endpoint();
        let began = Instant::now();
        for after in 0..100 {
            endpoint.note_connect_failure(began, began + Duration::from_millis(after));
        }
        assert!(!endpoint.is_paused(began + Duration::from_millis(501)));
    }

    #[test]
    fn only_one_request_finds_out() {
        let endpoint = endpoint();
        let now = Instant::now();
        endpoint.note_connect_failure(now, now);
        let later = now + Duration::from_secs(1);
        assert!(endpoint.claim_probe(later, Duration::from_secs(2)));
        assert!(endpoint.is_paused(later));
    }

    fn check(healthy_after: u32, unhealthy_after: u32) -> Check {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(2));
        Check { probe: Probe::Tcp, interval, timeout, healthy_after, unhealthy_after, port: None }
    }

    #[test]
    fn checks_count_in_a_row() {
        // results, and what is said after each: `?` nothing yet, `+` healthy, `-` unhealthy
        for (results, said) in [
            ("p", "+"),
            ("fff", "??-"),
            ("ffpff", "??+++"),
            ("fffppf", "??--++"),
            ("fffpfpp", "??----+"),
            ("pfffpp", "+++--+"),
        ] {
            let (endpoint, check, now) = (endpoint(), check(2, 3), Instant::now());
            let of = Resilience { check: Some(check.clone()), ..Resilience::default() };
            let found: String = results
                .chars()
                .map(|result| {
                    endpoint.note_check(result == 'p', &check, now);
                    assert_eq!(
                        endpoint.state(&of, now) == EndpointState::Unhealthy,
                        endpoint.checked() == Checked::Unhealthy
                    );
                    match endpoint.checked() {
                        Checked::Unknown => '?',
                        Checked::Healthy => '+',
                        Checked::Unhealthy => '-',
                    }
                })
                .collect();
            assert_eq!(found, said, "{results}");
        }
    }

    #[test]
    fn what_checks_said_does_not_count_without_a_check() {
        let (endpoint, now) = (endpoint(), Instant::now());
        for _ in 0..3 {
            endpoint.note_check(false, &check(2, 3), now);
        }
        assert_eq!(endpoint.state(&Resilience::default(), now), EndpointState::Healthy);
    }

    proptest! {
        /// A share begins at a tenth, only grows, and is whole after the slow start.
        #[test]
        fn a_share_grows_to_one(slow_start_ms in 1u64..600_000, steps in proptest::collection::vec(0u64..60_000, 1..50)) {
            let (endpoint, began) = (endpoint(), Instant::now());
            let slow_start = Duration::from_millis(slow_start_ms);
            prop_assert_eq!(endpoint.share(slow_start, began), 1.0, "one that was always there");
            endpoint.join(began);
            prop_assert_eq!(endpoint.share(slow_start, began), SHARE_MIN);
            let (mut now, mut last) = (began, 0.0);
            for step in steps {
                now += Duration::from_millis(step);
                let share = endpoint.share(slow_start, now);
                prop_assert!((SHARE_MIN..=1.0).contains(&share) && share >= last);
                last = share;
            }
            prop_assert_eq!(endpoint.share(slow_start, began + slow_start + Duration::from_millis(1)), 1.0);
            prop_assert_eq!(endpoint.share(Duration::ZERO, began), 1.0);
        }
    }
}
