use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// A table that gives each hash the same endpoint for as long as there is one, and moves hardly anybody else when an
/// endpoint comes or goes (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", §3.4).
///
/// It depends on the names of the endpoints alone: all workers, replicas and restarts agree.
#[derive(Debug)]
pub struct Maglev {
    table: Box<[u16]>,
}

/// Places of the table: a prime, as the paper's. With up to 650 endpoints shares are within 1 % of each other. It is
/// the same for any number of endpoints: with another size everybody would move.
const SIZE: usize = 65_537;
/// The most endpoints; those beyond get nobody.
pub(super) const ENDPOINTS_MAX: usize = u16::MAX as usize;

impl Maglev {
    /// The table of endpoints with these names, of which there must be one.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Maglev {
        let names: Vec<&str> = names.take(ENDPOINTS_MAX).collect();
        let mut preferences: Vec<Preference> = names.iter().map(|name| Preference::of(name)).collect();
        let mut table: Vec<Option<u16>> = vec![None; SIZE];
        let mut free = if names.is_empty() { 0 } else { SIZE };
        'filling: while free > 0 {
            for (endpoint, preference) in preferences.iter_mut().enumerate() {
                let mut place = preference.next();
                while table[place].is_some() {
                    place = preference.next();
                }
                table[place] = Some(endpoint as u16);
                free -= 1;
                if free == 0 {
                    break 'filling;
                }
            }
        }
        Maglev { table: table.into_iter().map(Option::unwrap_or_default).collect() }
    }

    /// The position of the endpoint of a hash.
    pub fn find(&self, hash: u64) -> usize {
        // the hash's upper part as a fraction of the table: the hash itself was mixed by whoever made it
        let place = (u128::from(hash) * self.table.len() as u128) >> 64;
        usize::from(self.table[place as usize])
    }
}

/// The order in which an endpoint wants the places of the table.
struct Preference {
    next: usize,
    skip: usize,
}

impl Preference {
    fn of(name: &str) -> Preference {
        let hash = |key: u64| {
            let mut hasher = SipHasher24::new_with_keys(key, 0);
            hasher.write(name.as_bytes());
            hasher.finish()
        };
        let size = SIZE as u64;
        Preference { next: (hash(1) % size) as usize, skip: (hash(2) % (size - 1) + 1) as usize }
    }

    fn next(&mut self) -> usize {
        let place = self.next;
        self.next = (place + self.skip) % SIZE;
        place
    }
}

/// Spreads a hash evenly over 64 bits (the finalizer of SplitMix64), another way for each `turn`.
pub fn mix(hash: u64, turn: u64) -> u64 {
    let mut z = hash.wrapping_add((turn.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USERS: u64 = 20_000;

    fn names(count: usize, seed: u16) -> Vec<String> {
        (0..count).map(|at| format!("10.{}.{}.{at}:8080", seed >> 8, seed & 255)).collect()
    }

    fn table(names: &[String]) -> Maglev {
        Maglev::new(names.iter().map(String::as_str))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn everybody_gets_about_the_same(count in 2usize..60, seed: u16) {
            let table = table(&names(count, seed));
            let mut shares = vec![0u64; count];
            (0..USERS).for_each(|user| shares[table.find(mix(user, 0))] += 1);
            let fair = USERS as f64 / count as f64;
            for share in shares {
                // 1 in 100 by the table, and five standard deviations by the draw of users
                prop_assert!((share as f64 - fair).abs() < 0.02 * fair + 5.0 * fair.sqrt(), "{share} of {fair}");
            }
        }

        /// All users of the one that goes move, and hardly any other.
        #[test]
        fn hardly_anybody_else_moves(count in 3usize..40, gone: prop::sample::Index, seed: u16) {
            let before = names(count, seed);
            let gone = gone.index(count);
            let mut after = before.clone();
            after.remove(gone);
            let (old, new) = (table(&before), table(&after));
            let mut moved = 0u64;
            for user in 0..USERS {
                let (was, is) = (&before[old.find(mix(user, 0))], &after[new.find(mix(user, 0))]);
                moved += u64::from(was != is && *was != before[gone]);
            }
            prop_assert!(moved as f64 / (USERS as f64) < 0.08, "{moved} of {USERS} with {count}");
        }

        #[test]
        fn everybody_is_in_the_table(count in 1usize..200) {
            let table = table(&names(count, 7));
            let used: std::collections::BTreeSet<u16> = table.table.iter().copied().collect();
            prop_assert_eq!(used.len(), count);
        }
    }
}
