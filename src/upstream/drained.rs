use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use super::Upstream;

/// The most endpoints that people have taken out of use at the same time.
const DRAINED_MAX: usize = 1_000;

/// Endpoints that people took out of use, by service, variant and address. It outlives the endpoints themselves, so that
/// neither a reload nor a name that is looked up again brings one back.
#[derive(Debug, Default)]
pub(super) struct Drained(Mutex<BTreeSet<(String, String, SocketAddr)>>);

impl Drained {
    /// Takes an endpoint out of use, or puts it back; false when there is no room for another one.
    pub(super) fn set(&self, service: &str, variant: &str, address: SocketAddr, is_drained: bool) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (service.to_owned(), variant.to_owned(), address);
        if !is_drained {
            known.remove(&key);
            return true;
        }
        let has_room = known.len() < DRAINED_MAX || known.contains(&key);
        if has_room {
            known.insert(key);
        }
        has_room
    }

    /// Tells the endpoints of an upstream.
    pub(super) fn tell(&self, upstream: &Upstream) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spec = upstream.spec();
        for endpoint in upstream.endpoints().iter() {
            let key = || (spec.service.clone(), spec.variant.clone(), endpoint.address());
            endpoint.set_drained(!known.is_empty() && known.contains(&key()));
        }
    }
}
