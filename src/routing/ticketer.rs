//! Session tickets: one set of keys for the process, and each ticket bound to the rules that it was earned under.
//!
//! rustls resumes whatever it can decrypt, and takes over the client certificate of the first handshake without looking
//! at it again. With one set of keys a ticket of a listener that asks for no certificate would open one that does, and
//! a ticket earned with a certificate would outlive its authority. So a ticket carries a hash of the rules, and one of
//! other rules counts as none: the client then makes a full handshake.

use rustls::server::ProducesTickets;
use std::sync::{Arc, OnceLock};

/// What must be the same for a ticket to count.
pub(super) type Binding = [u8; 32];

/// Tickets of one set of rules.
#[derive(Debug)]
pub(super) struct BoundTicketer {
    keys: Arc<dyn ProducesTickets>,
    binding: Binding,
}

impl BoundTicketer {
    /// Tickets by the keys of the process, which change every six hours and are gone with it.
    pub(super) fn new(binding: Binding) -> Result<BoundTicketer, rustls::Error> {
        static KEYS: OnceLock<Arc<dyn ProducesTickets>> = OnceLock::new();
        let keys = match KEYS.get() {
            Some(keys) => keys.clone(),
            None => {
                let made = rustls::crypto::aws_lc_rs::Ticketer::new()?;
                KEYS.get_or_init(|| made).clone()
            }
        };
        Ok(BoundTicketer { keys, binding })
    }
}

impl ProducesTickets for BoundTicketer {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&[&self.binding, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.keys.decrypt(cipher)?;
        if !plain.starts_with(&self.binding) {
            return None;
        }
        plain.drain(..self.binding.len());
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_counts_under_its_own_rules_only() {
        let (ours, again, other) = (
            BoundTicketer::new([1; 32]).unwrap(),
            BoundTicketer::new([1; 32]).unwrap(),
            BoundTicketer::new([2; 32]).unwrap(),
        );
        let mut ticket = ours.encrypt(b"state").unwrap();
        assert_eq!(again.decrypt(&ticket).unwrap(), b"state");
        assert_eq!(other.decrypt(&ticket), None);
        ticket[20] ^= 1;
        assert_eq!(ours.decrypt(&ticket), None);
        assert_eq!(ours.decrypt(b""), None);
    }
}
