use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Spec, Upstream};

/// All upstreams in use, so that a reload carries over those whose spec is unchanged.
#[derive(Debug, Default)]
pub struct Upstreams {
    known: Mutex<HashMap<Spec, Weak<Upstream>>>,
}

impl Upstreams {
    /// The upstream of a spec: the one in use, or a new one.
    pub fn obtain(&self, spec: Spec) -> Arc<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = known.get(&spec).and_then(Weak::upgrade) {
            return upstream;
        }
        known.retain(|_, upstream| upstream.strong_count() > 0);
        let upstream = Arc::new(Upstream::new(spec.clone()));
        known.insert(spec, Arc::downgrade(&upstream));
        upstream
    }

    /// Every upstream that a snapshot still uses.
    pub fn in_use(&self) -> Vec<Arc<Upstream>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Balance, Protocol};

    fn spec(variant: &str) -> Spec {
        let (service, variant) = ("shop".to_owned(), variant.to_owned());
        Spec {
            service,
            variant,
            targets: vec![],
            protocol: Protocol::Http1,
            is_tls: false,
            proxy_protocol: None,
            balance: Balance::RoundRobin,
        }
    }

    #[test]
    fn an_unchanged_spec_is_the_same_upstream_and_an_unused_one_is_forgotten() {
        let upstreams = Upstreams::default();
        let stable = upstreams.obtain(spec("stable"));
        assert_eq!(upstreams.obtain(spec("stable")).id(), stable.id());
        let old = stable.id();
        drop(stable);
        assert!(upstreams.in_use().is_empty());
        assert_ne!(upstreams.obtain(spec("stable")).id(), old);
    }
}
