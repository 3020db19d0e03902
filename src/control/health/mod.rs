//! Active health checks, and the clock of ejections.
//!
//! Every endpoint of a variant with a check has a task of its own here, on the control thread. What it finds is a few
//! numbers on the [`Endpoint`], which workers read; without this thread the last ones stay.

mod probe;

use crate::upstream::{Check, Checked, Endpoint, Upstream, Upstreams};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How often is looked for endpoints that came or went.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Checks under way at the same time.
const CHECKS_MAX: usize = 64;
/// An endpoint of which nothing is known is asked at least this often.
const UNKNOWN_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Checks endpoints, and compares their success rates, for as long as the runtime lives.
pub(super) async fn check_forever(upstreams: Arc<Upstreams>) {
    let mut rounds = Rounds::default();
    loop {
        rounds.look(&upstreams.in_use());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is under way.
struct Rounds {
    /// The task of each upstream and endpoint.
    checks: HashMap<(u32, u32), AbortHandle>,
    /// When the success rates of an upstream were last compared.
    judged: HashMap<u32, Instant>,
    permits: Arc<Semaphore>,
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds { checks: HashMap::new(), judged: HashMap::new(), permits: Arc::new(Semaphore::new(CHECKS_MAX)) }
    }
}

impl Rounds {
    fn look(&mut self, upstreams: &[Arc<Upstream>]) {
        let mut wanted = HashSet::new();
        for upstream in upstreams {
            let resilience = &upstream.spec().resilience;
            if let Some(check) = &resilience.check {
                for endpoint in upstream.endpoints().iter() {
                    let key = (upstream.id(), endpoint.id());
                    wanted.insert(key);
                    let permits = &self.permits;
                    self.checks.entry(key).or_insert_with(|| {
                        let task = Task {
                            upstream: Arc::downgrade(upstream),
                            endpoint: endpoint.clone(),
                            check: check.clone(),
                            permits: permits.clone(),
                        };
                        tokio::spawn(task.run()).abort_handle()
                    });
                }
            }
            if let Some(outliers) = &resilience.outliers {
                let now = Instant::now();
                let last = self.judged.entry(upstream.id()).or_insert(now);
                if now.saturating_duration_since(*last) >= outliers.interval {
                    *last = now;
                    tell_ejected(upstream, &upstream.judge(now.into_std()));
                }
            }
        }
        self.checks.retain(|key, task| {
            let is_wanted = wanted.contains(key);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
        let in_use: HashSet<u32> = upstreams.iter().map(|upstream| upstream.id()).collect();
        self.judged.retain(|id, _| in_use.contains(id));
    }
}

fn tell_ejected(upstream: &Upstream, ejected: &[String]) {
    let spec = upstream.spec();
    for endpoint in ejected {
        let (service, variant) = (&spec.service, &spec.variant);
        tracing::warn!(service, variant, endpoint, "endpoint ejected: its success rate is far below the others'");
    }
}

/// The checks of one endpoint.
struct Task {
    upstream: Weak<Upstream>,
    endpoint: Arc<Endpoint>,
    check: Check,
    permits: Arc<Semaphore>,
}

impl Task {
    async fn run(self) {
        // those that begin together do not stay together
        tokio::time::sleep(UNKNOWN_PAUSE_MAX.min(self.check.interval).mul_f64(fastrand::f64())).await;
        loop {
            let permit = self.permits.acquire().await;
            let Some(upstream) = self.upstream.upgrade() else { return };
            let found = probe::probe(&upstream, self.endpoint.address(), &self.check).await;
            self.note(&upstream, found);
            drop((permit, upstream));
            tokio::time::sleep(self.pause()).await;
        }
    }

    fn note(&self, upstream: &Upstream, found: Result<(), probe::Failed>) {
        let counts = &upstream.load().counts;
        let count = if found.is_ok() { &counts.checks_passed } else { &counts.checks_failed };
        count.fetch_add(1, Relaxed);
        let now = std::time::Instant::now();
        if found.is_ok() {
            // a connection was opened, whatever requests have met
            self.endpoint.note_connected(now);
        }
        let was = self.endpoint.checked();
        let (service, variant) = (&upstream.spec().service, &upstream.spec().variant);
        let endpoint = self.endpoint.text();
        match (self.endpoint.note_check(found.is_ok(), &self.check, now), found) {
            (Some(Checked::Unhealthy), Err(reason)) => {
                tracing::warn!(service, variant, endpoint, %reason, "endpoint unhealthy: it gets no requests");
            }
            (Some(Checked::Healthy), _) if was == Checked::Unhealthy => {
                tracing::info!(service, variant, endpoint, "endpoint healthy again");
            }
            _ => {}
        }
    }

    /// The interval, give or take a tenth.
    fn pause(&self) -> Duration {
        let interval = match self.endpoint.checked() {
            Checked::Unknown => self.check.interval.min(UNKNOWN_PAUSE_MAX),
            Checked::Healthy | Checked::Unhealthy => self.check.interval,
        };
        interval.mul_f64(0.9 + 0.2 * fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Probe, Resilience, Spec, Target};

    fn spec(check: Option<Check>, ports: &[u16]) -> Spec {
        let targets = ports.iter().map(|port| Target::Address(([127, 0, 0, 1], *port).into())).collect();
        let resilience = Resilience { check, ..Resilience::default() };
        Spec { resilience, ..Spec::plain("shop", "stable", targets) }
    }

    fn check() -> Check {
        let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(1));
        Check { probe: Probe::Tcp, interval, timeout, healthy_after: 1, unhealthy_after: 1, port: None }
    }

    #[tokio::test]
    async fn each_endpoint_has_one_task_for_as_long_as_it_is_there() {
        let upstreams = Upstreams::default();
        let mut rounds = Rounds::default();
        let kept = upstreams.obtain(spec(Some(check()), &[1, 2]));
        for _ in 0..3 {
            rounds.look(&upstreams.in_use());
            assert_eq!(rounds.checks.len(), 2);
        }
        kept.set_addresses(&["127.0.0.1:2".parse().unwrap()]);
        rounds.look(&upstreams.in_use());
        assert_eq!(rounds.checks.len(), 1);
        drop(kept);
        let _without = upstreams.obtain(spec(None, &[1]));
        rounds.look(&upstreams.in_use());
        assert_eq!(rounds.checks.len(), 0);
    }
}
