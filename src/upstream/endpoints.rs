use arc_swap::{ArcSwap, ArcSwapOption};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Balance, ClientTls, Endpoint, Load, Maglev, Spec, Target};

/// A variant's endpoints, shared by all workers.
#[derive(Debug)]
pub struct Upstream {
    spec: Spec,
    id: u32,
    members: ArcSwap<Members>,
    /// Endpoints of the upstream that this one follows: one whose address comes back is still the same.
    elders: Vec<Weak<Endpoint>>,
    tls: ArcSwapOption<ClientTls>,
    is_resolved: AtomicBool,
    load: Arc<Load>,
    /// Held for the moment in which an endpoint is ejected, so that never too many are. Nobody waits for it.
    pub(super) is_ejecting: AtomicBool,
}

/// The endpoints of one moment.
#[derive(Debug)]
pub struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    /// Which one a user gets, for [`Balance::ConsistentHash`].
    pub(super) table: Option<Maglev>,
}

impl Upstream {
    /// An upstream with the literal addresses of its spec; names wait for [`Upstream::set_addresses`].
    pub fn new(spec: Spec) -> Upstream {
        Upstream::with(spec, Vec::new(), Arc::default())
    }

    /// One that follows another of the same variant: endpoints that stay keep their health and their connections, and
    /// what is in use counts on.
    pub(super) fn following(spec: Spec, old: &Upstream) -> Upstream {
        let elders = old.endpoints().iter().map(Arc::downgrade).collect();
        let upstream = Upstream::with(spec, elders, old.load.clone());
        upstream.set_tls(old.tls());
        upstream
    }

    fn with(spec: Spec, elders: Vec<Weak<Endpoint>>, load: Arc<Load>) -> Upstream {
        let names = spec.targets.iter().any(|target| matches!(target, Target::Name(..)));
        let upstream = Upstream {
            id: super::next_id(),
            members: ArcSwap::from_pointee(Members { endpoints: Vec::new(), table: None }),
            elders,
            tls: ArcSwapOption::empty(),
            is_resolved: AtomicBool::new(!names),
            load,
            is_ejecting: AtomicBool::new(false),
            spec,
        };
        let literal = upstream.spec.targets.iter().filter_map(|target| match target {
            Target::Address(address) => Some(*address),
            Target::Name(..) => None,
        });
        upstream.replace(&literal.collect::<Vec<_>>());
        upstream
    }

    /// What it is made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// A number of its own in this process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> arc_swap::Guard<Arc<Members>> {
        self.members.load()
    }

    /// How new connections speak TLS; `None` for plain ones.
    pub fn tls(&self) -> Option<Arc<ClientTls>> {
        if self.spec.is_tls { self.tls.load_full() } else { None }
    }

    /// New connections use this from now on.
    pub fn set_tls(&self, tls: Option<Arc<ClientTls>>) {
        self.tls.store(tls);
    }

    /// What is in use of it.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// True once every name has been looked up at least once.
    pub fn is_resolved(&self) -> bool {
        self.is_resolved.load(Relaxed)
    }

    /// Takes over the addresses that names resolve to now; an endpoint whose address stays keeps its health.
    pub fn set_addresses(&self, addresses: &[SocketAddr]) {
        self.replace(addresses);
        self.is_resolved.store(true, Relaxed);
    }

    fn replace(&self, addresses: &[SocketAddr]) {
        let old = self.members.load();
        let elders: Vec<Arc<Endpoint>> = self.elders.iter().filter_map(Weak::upgrade).collect();
        let known =
            |address: &SocketAddr| old.iter().chain(&elders).find(|endpoint| endpoint.address() == *address).cloned();
        let joins_others = !old.is_empty() || !elders.is_empty();
        let mut new: Vec<Arc<Endpoint>> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if new.iter().any(|endpoint| endpoint.address() == *address) {
                continue;
            }
            new.push(known(address).unwrap_or_else(|| {
                let endpoint = Endpoint::new(*address, self.load.clone());
                if joins_others {
                    endpoint.join(Instant::now());
                }
                Arc::new(endpoint)
            }));
        }
        let is_same = new.len() == old.len() && new.iter().zip(old.iter()).all(|(a, b)| a.address() == b.address());
        if !is_same {
            let wants_table = self.spec.balance == Balance::ConsistentHash && new.len() > 1;
            let table = wants_table.then(|| Maglev::new(new.iter().map(|endpoint| endpoint.text())));
            self.members.store(Arc::new(Members { endpoints: new, table }));
        }
    }
}

impl Deref for Members {
    type Target = [Arc<Endpoint>];

    fn deref(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn targets(addresses: &[&str]) -> Vec<Target> {
        addresses.iter().map(|address| Target::Address(address.parse().unwrap())).collect()
    }

    #[test]
    fn an_address_that_stays_keeps_its_health() {
        let upstream = Upstream::new(Spec::plain("shop", "canary", targets(&["127.0.0.1:1", "127.0.0.1:2"])));
        let now = Instant::now();
        upstream.endpoints()[1].note_connect_failure(now, now);
        upstream.set_addresses(&["127.0.0.1:2".parse().unwrap(), "127.0.0.1:3".parse().unwrap()]);
        let paused: Vec<bool> = upstream.endpoints().iter().map(|endpoint| endpoint.is_paused(now)).collect();
        assert_eq!(paused, [true, false]);
    }

    #[test]
    fn who_comes_later_starts_slowly_and_who_was_there_does_not() {
        let slow_start = Duration::from_secs(30);
        let first = Upstream::new(Spec::plain("shop", "stable", targets(&["127.0.0.1:1"])));
        let more = targets(&["127.0.0.1:1", "127.0.0.1:2"]);
        let second = Upstream::following(Spec::plain("shop", "stable", more), &first);
        let shares: Vec<f64> =
            second.endpoints().iter().map(|endpoint| endpoint.share(slow_start, Instant::now())).collect();
        assert_eq!(shares[0], 1.0);
        assert!(shares[1] < 0.2, "{shares:?}");
        assert_eq!(second.endpoints()[0].id(), first.endpoints()[0].id());
    }
}
