//! DNS names of endpoints, looked up again and again.

use crate::upstream::{Upstream, Upstreams, resolve_all};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often names are looked up again.
pub(super) const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// How long the start waits for names.
pub(super) const FIRST_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a reload waits for names that are new.
pub(super) const RELOAD_TIME_MAX: Duration = Duration::from_secs(1);
/// Look-ups at a time. One that timed out still holds a thread for the system's own patience, so they are few.
const LOOKUPS_MAX: usize = 8;

/// What failed at the last look-up, by name.
pub(super) type Failures = BTreeMap<String, String>;

/// Looks up names for as long as the runtime lives. Tells a failure once, and its end.
pub(super) async fn resolve_forever(upstreams: Arc<Upstreams>, mut known: Failures) {
    loop {
        tokio::time::sleep(RESOLVE_EVERY).await;
        let failures = resolve(upstreams.in_use()).await;
        tell_changes(&known, &failures);
        known = failures;
    }
}

/// Looks up the names of some upstreams, giving up the wait (not the look-ups) after `time_max`.
pub(super) async fn resolve_within(upstreams: Vec<Arc<Upstream>>, time_max: Duration) -> Failures {
    if upstreams.is_empty() {
        return Failures::new();
    }
    let names: Vec<String> = upstreams.iter().map(|upstream| upstream.spec().service.clone()).collect();
    match tokio::time::timeout(time_max, tokio::spawn(resolve(upstreams))).await {
        Ok(Ok(failures)) => {
            tell_changes(&Failures::new(), &failures);
            failures
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(services = names.join(","), "names of endpoints are not looked up yet; going on without");
            Failures::new()
        }
    }
}

/// The upstreams whose names were never looked up.
pub(super) fn unresolved(upstreams: &Upstreams) -> Vec<Arc<Upstream>> {
    upstreams.in_use().into_iter().filter(|upstream| !upstream.is_resolved()).collect()
}

async fn resolve(upstreams: Vec<Arc<Upstream>>) -> Failures {
    let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
    let mut lookups = JoinSet::new();
    for upstream in upstreams {
        let permits = Arc::clone(&permits);
        lookups.spawn(async move {
            let _permit = permits.acquire_owned().await;
            resolve_all(&upstream).await
        });
    }
    lookups.join_all().await.into_iter().flatten().collect()
}

fn tell_changes(before: &Failures, now: &Failures) {
    for (name, reason) in now.iter().filter(|(name, reason)| before.get(*name) != Some(reason)) {
        tracing::warn!(name, reason, "name of an endpoint cannot be looked up; its last addresses stay in use");
    }
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        tracing::info!(name, "name of an endpoint can be looked up again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Spec, Target};

    fn spec(name: &str) -> Spec {
        Spec::plain("shop", name, vec![Target::Name(name.to_owned(), 80)])
    }

    #[tokio::test]
    async fn names_are_looked_up_and_failures_are_by_name() {
        let upstreams = Upstreams::default();
        let good = upstreams.obtain(spec("localhost"));
        let bad = upstreams.obtain(spec("does-not-exist.invalid"));
        assert_eq!(unresolved(&upstreams).len(), 2);
        let failures = resolve_within(unresolved(&upstreams), FIRST_TIME_MAX).await;
        assert!(good.is_resolved() && !good.endpoints().is_empty());
        assert_eq!(failures.keys().collect::<Vec<_>>(), ["does-not-exist.invalid"]);
        assert!(bad.endpoints().is_empty());
    }
}
