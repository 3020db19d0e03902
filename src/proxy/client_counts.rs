//! How many connections each client address has open, over all workers.
//!
//! A table of a fixed size, of words that each hold whom they count (a keyed hash) and how many: no worker waits for
//! another, and a flood of addresses makes it no larger. An address is looked for in a few neighbouring words; when all
//! of them count others it is let in uncounted, as the limit of all connections still holds.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The counts of all listeners. Nothing is allocated before the first one.
pub struct ClientCounts {
    words: OnceLock<Box<[AtomicU64]>>,
    secret: (u64, u64),
}

/// A connection that is counted, until it is dropped.
pub(super) struct Counted {
    /// `None` for one that is not.
    of: Option<(Arc<ClientCounts>, usize)>,
}

/// Words of the table, 8 bytes each.
const WORDS: usize = 1 << 16;
/// Words in which an address is looked for.
const NEIGHBOURS: usize = 16;
/// Bits of a word that count; the others are the address's.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl ClientCounts {
    /// No connections.
    pub fn new() -> ClientCounts {
        ClientCounts { words: OnceLock::new(), secret: (fastrand::u64(..), fastrand::u64(..)) }
    }

    /// Counts a connection of a listener, unless its client has `most` of them. IPv6 addresses count by networks of 64
    /// bits, of which any client has all.
    pub(super) fn enter(self: &Arc<Self>, listener: SocketAddr, client: IpAddr, most: u32) -> Option<Counted> {
        let words = self.words.get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let hash = self.hash(listener, client);
        let first = hash as usize % (WORDS - NEIGHBOURS);
        // never zero, which is a word that counts nobody
        let tag = (hash & !COUNT_MASK) | (1 << COUNT_BITS);
        let places = || first..first + NEIGHBOURS;
        let most = u64::from(most).min(COUNT_MASK);
        if let Some(place) = places().find(|place| words[*place].load(Relaxed) & !COUNT_MASK == tag) {
            let more = |word: u64| match word {
                // it left meanwhile
                0 => Some(tag | 1),
                _ if word & !COUNT_MASK != tag || word & COUNT_MASK >= most => None,
                _ => Some(word + 1),
            };
            return match words[place].fetch_update(Relaxed, Relaxed, more) {
                Ok(_) => Some(Counted { of: Some((self.clone(), place)) }),
                // somebody else has its place: as rare as two workers at the same word
                Err(word) if word & !COUNT_MASK != tag => Some(Counted { of: None }),
                Err(_) => None,
            };
        }
        let free = places().find(|place| words[*place].compare_exchange(0, tag | 1, Relaxed, Relaxed).is_ok());
        Some(Counted { of: free.map(|place| (self.clone(), place)) })
    }

    fn hash(&self, listener: SocketAddr, client: IpAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        let mut write = |address: IpAddr, bytes_of_v6: usize| match address {
            IpAddr::V4(address) => hasher.write(&address.octets()),
            IpAddr::V6(address) => hasher.write(&address.octets()[..bytes_of_v6]),
        };
        write(client.to_canonical(), 8);
        write(listener.ip(), 16);
        hasher.write_u16(listener.port());
        hasher.finish()
    }
}

impl Default for ClientCounts {
    fn default() -> ClientCounts {
        ClientCounts::new()
    }
}

impl Counted {
    /// A connection that nobody limits.
    pub(super) fn not_at_all() -> Counted {
        Counted { of: None }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((counts, place)) = &self.of else { return };
        let Some(words) = counts.words.get() else { return };
        let less = |word: u64| Some(if word & COUNT_MASK <= 1 { 0 } else { word - 1 });
        // it always answers, as the closure does
        let _ = words[*place].fetch_update(Relaxed, Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_count_and_a_network_of_64_bits_one() {
        let counts = Arc::new(ClientCounts::new());
        let enter = |port, client| counts.enter(listener(port), address(client), 2);
        let open = [enter(80, "192.0.2.1"), enter(80, "::ffff:192.0.2.1"), enter(80, "192.0.2.2")];
        assert!(open.iter().all(Option::is_some));
        assert!(enter(80, "192.0.2.1").is_none());
        assert!(enter(81, "192.0.2.1").is_some(), "another listener");
        let network = [enter(80, "2001:db8::1"), enter(80, "2001:db8::ffff:1")];
        assert!(network.iter().all(Option::is_some) && enter(80, "2001:db8::2").is_none());
        assert!(enter(80, "2001:db8:0:1::1").is_some());
        drop(open);
        assert!(enter(80, "192.0.2.1").is_some(), "who has left is not counted");
    }

    #[test]
    fn threads_agree_and_nothing_is_left_behind() {
        const EACH: usize = 2_000;
        let counts = Arc::new(ClientCounts::new());
        let held: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let held: Vec<Counted> = (0..EACH)
                            .filter_map(|n| counts.enter(listener(80), address(&format!("10.0.0.{}", n % 8)), 100))
                            .collect();
                        let number = held.len();
                        drop(held);
                        number
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(held >= 8 * 100, "{held}");
        assert!(counts.words.get().unwrap().iter().all(|word| word.load(Relaxed) == 0));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_room_and_shuts_nobody_out() {
        let counts = Arc::new(ClientCounts::new());
        let flood: Vec<_> =
            (0..100_000_u32).map(|n| counts.enter(listener(80), IpAddr::from(n.to_be_bytes()), 1)).collect();
        assert!(flood.iter().all(Option::is_some));
        assert_eq!(counts.words.get().unwrap().len(), WORDS);
        drop(flood);
        assert!(counts.words.get().unwrap().iter().all(|word| word.load(Relaxed) == 0));
    }
}
