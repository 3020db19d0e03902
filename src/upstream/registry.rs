use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::drained::Drained;
use super::{LimitSpec, Limiter, Spec, Upstream};

/// All upstreams and limiters in use, so that a reload carries over those whose spec is unchanged, and endpoints of those
/// whose spec is another only in who they are, how one is chosen, or what is done about failures.
#[derive(Debug, Default)]
pub struct Upstreams {
    known: Mutex<HashMap<Spec, Weak<Upstream>>>,
    limiters: Mutex<HashMap<LimitSpec, Weak<Limiter>>>,
    drained: Drained,
}

impl Upstreams {
    /// The upstream of a spec: the one in use, or a new one.
    pub fn obtain(&self, spec: Spec) -> Arc<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = known.get(&spec).and_then(Weak::upgrade) {
            return upstream;
        }
        known.retain(|_, upstream| upstream.strong_count() > 0);
        let kin = known.values().filter_map(Weak::upgrade).filter(|upstream| upstream.spec().is_kin(&spec));
        let upstream = Arc::new(match kin.max_by_key(|upstream| upstream.id()) {
            Some(old) => Upstream::following(spec.clone(), &old),
            None => Upstream::new(spec.clone()),
        });
        self.drained.tell(&upstream);
        known.insert(spec, Arc::downgrade(&upstream));
        upstream
    }

    /// The limiter of a spec: the one in use, with its counts, or a new one.
    pub fn limiter(&self, spec: LimitSpec) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limiter) = limiters.get(&spec).and_then(Weak::upgrade) {
            return limiter;
        }
        limiters.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = Arc::new(Limiter::new(spec.clone()));
        limiters.insert(spec, Arc::downgrade(&limiter));
        limiter
    }

    /// Takes an endpoint out of use, or puts it back. It stays so over reloads; false when too many are out of use.
    pub fn set_drained(&self, service: &str, variant: &str, address: SocketAddr, is_drained: bool) -> bool {
        let has_room = self.drained.set(service, variant, address, is_drained);
        self.tell_drained();
        has_room
    }

    /// Tells all endpoints, also those that came since, which are out of use.
    pub fn tell_drained(&self) {
        self.in_use().iter().for_each(|upstream| self.drained.tell(upstream));
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
    use crate::upstream::{Balance, Protocol, Target};

    fn spec(variant: &str) -> Spec {
        Spec::plain("shop", variant, vec![Target::Address(([127, 0, 0, 1], 1).into())])
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

    #[test]
    fn another_way_to_choose_keeps_the_endpoints_and_another_protocol_does_not() {
        let upstreams = Upstreams::default();
        let stable = upstreams.obtain(spec("stable"));
        let endpoint = |spec: Spec| upstreams.obtain(spec).endpoints()[0].id();
        let kept = stable.endpoints()[0].id();
        assert_eq!(endpoint(Spec { balance: Balance::LeastRequest, ..spec("stable") }), kept);
        assert_ne!(endpoint(Spec { protocol: Protocol::H2c, ..spec("stable") }), kept);
        assert_ne!(endpoint(spec("canary")), kept);
    }

    #[test]
    fn a_drained_endpoint_stays_so_until_it_is_ready() {
        let upstreams = Upstreams::default();
        let (stable, other) = (upstreams.obtain(spec("stable")), upstreams.obtain(spec("canary")));
        let address = stable.endpoints()[0].address();
        assert!(upstreams.set_drained("shop", "stable", address, true));
        assert!(stable.endpoints()[0].is_drained() && !other.endpoints()[0].is_drained());
        // another protocol makes all of it anew
        let anew = upstreams.obtain(Spec { protocol: Protocol::H2c, ..spec("stable") });
        assert!(anew.endpoints()[0].is_drained());
        // an address that comes back later is told once a second
        let later: SocketAddr = ([127, 0, 0, 1], 2).into();
        assert!(upstreams.set_drained("shop", "stable", later, true));
        stable.set_addresses(&[address, later]);
        upstreams.tell_drained();
        assert!(stable.endpoints().iter().all(|endpoint| endpoint.is_drained()));
        assert!(upstreams.set_drained("shop", "stable", later, false));
        assert_eq!(stable.endpoints().iter().map(|endpoint| endpoint.is_drained()).collect::<Vec<_>>(), [true, false]);
    }
}
