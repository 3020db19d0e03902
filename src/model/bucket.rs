use aws_lc_rs::digest::{SHA256, digest};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// How many buckets users fall into. A weight is exact to one bucket, that is, to one in a million.
pub const BUCKETS: u32 = 1_000_000;

/// Where the hash of salt and user key falls: 0 to [`BUCKETS`] − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u32);

/// The key of the bucket hash: the first 16 bytes of SHA-256 of the salt, as two little-endian words.
///
/// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) is keyed, so that with a
/// secret salt nobody outside can look for user keys that fall into the canary.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltKey {
    words: (u64, u64),
}

impl Bucket {
    /// The bucket of this number; `None` when it is not below [`BUCKETS`].
    pub fn new(number: u32) -> Option<Bucket> {
        (number < BUCKETS).then_some(Bucket(number))
    }

    /// The bucket of a 64-bit hash: the hash scaled to the number of buckets, without modulo bias.
    pub fn of_hash(hash: u64) -> Bucket {
        Bucket(((u128::from(hash) * u128::from(BUCKETS)) >> 64) as u32)
    }

    /// The bucket's number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl SaltKey {
    /// The key of a salt, which is read as bytes.
    pub fn new(salt: &[u8]) -> SaltKey {
        let hash = digest(&SHA256, salt);
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash.as_ref()[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        SaltKey { words: (word(0), word(8)) }
    }

    /// The keyed 64-bit hash of a user key.
    pub fn hash(&self, user_key: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_keys(self.words.0, self.words.1);
        hasher.write(user_key);
        hasher.finish()
    }

    /// The bucket of a user key.
    pub fn bucket(&self, user_key: &[u8]) -> Bucket {
        Bucket::of_hash(self.hash(user_key))
    }
}

impl std::fmt::Debug for SaltKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SaltKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors of the assignment contract.
    #[test]
    fn buckets_are_those_of_the_contract() {
        for (salt, user, bucket) in [
            ("shop-v42", "u-1842", 161_139),
            ("shop-v42", "alice@example.com", 94_449),
            ("shop-v42", "1", 374_647),
            ("shop-v42", "你好", 622_469),
            ("search@v2", "u-1842", 210_590),
            ("search@v2", "alice@example.com", 648_805),
            ("search@v2", "1", 342_844),
            ("search@v2", "你好", 711_231),
        ] {
            let key = SaltKey::new(salt.as_bytes());
            assert_eq!(key.bucket(user.as_bytes()).number(), bucket, "{salt} {user}");
        }
    }

    #[test]
    fn the_ends_of_the_hash_are_the_ends_of_the_buckets() {
        assert_eq!(Bucket::of_hash(0).number(), 0);
        assert_eq!(Bucket::of_hash(u64::MAX).number(), BUCKETS - 1);
        assert_eq!(Bucket::new(BUCKETS), None);
    }

    #[test]
    fn a_salt_is_not_printed() {
        assert_eq!(format!("{:?}", SaltKey::new(b"secret")), "SaltKey(hidden)");
    }
}
