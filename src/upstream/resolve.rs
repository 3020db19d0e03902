use std::net::SocketAddr;
use std::time::Duration;

use super::{Target, Upstream};

/// How long one look-up may take.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// The most addresses taken of one name.
const ADDRESSES_MAX: usize = 64;

/// Looks up every name of an upstream and takes over what was found.
///
/// A name whose look-up fails keeps the addresses that it had: a broken resolver must not take a service down.
/// Returns the names that could not be looked up, with the reason.
pub async fn resolve_all(upstream: &Upstream) -> Vec<(String, String)> {
    let mut failures = Vec::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for target in &upstream.spec().targets {
        match target {
            Target::Address(address) => addresses.push(*address),
            Target::Name(name, port) => match lookup(name, *port).await {
                Ok(found) => addresses.extend(found),
                Err(reason) => failures.push((name.clone(), reason)),
            },
        }
    }
    if failures.is_empty() {
        upstream.set_addresses(&addresses);
    } else {
        let kept = upstream.endpoints();
        addresses.extend(kept.iter().map(|endpoint| endpoint.address()));
        upstream.set_addresses(&addresses);
    }
    failures
}

async fn lookup(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::time::timeout(LOOKUP_MAX, tokio::net::lookup_host((name, port))).await;
    let mut addresses: Vec<SocketAddr> = match found {
        Err(_) => return Err(format!("no answer within {} s", LOOKUP_MAX.as_secs())),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
    };
    if addresses.is_empty() {
        return Err("no address".to_owned());
    }
    // resolvers rotate their answers: without an order every look-up would look like a change
    addresses.sort_unstable();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Spec;

    fn upstream(name: &str) -> Upstream {
        let targets = vec![Target::Name(name.to_owned(), 80), Target::Address(([127, 0, 0, 9], 81).into())];
        Upstream::new(Spec::plain("shop", "stable", targets))
    }

    #[tokio::test]
    async fn names_become_addresses() {
        let upstream = upstream("localhost");
        assert!(!upstream.is_resolved());
        assert_eq!(resolve_all(&upstream).await, []);
        assert!(upstream.is_resolved());
        assert!(upstream.endpoints().iter().any(|endpoint| endpoint.address().port() == 80));
    }

    #[tokio::test]
    async fn a_name_that_fails_keeps_what_it_had() {
        let upstream = upstream("does-not-exist.invalid");
        upstream.set_addresses(&["127.0.0.1:80".parse().unwrap()]);
        let failures = resolve_all(&upstream).await;
        assert_eq!(failures[0].0, "does-not-exist.invalid");
        assert_eq!(upstream.endpoints().len(), 2);
    }
}
