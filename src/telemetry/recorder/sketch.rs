use std::sync::atomic::{AtomicU8, Ordering};

/// Bits of a hash that choose its register.
const INDEX_BITS: u32 = 14;
/// Bits of a hash that are left for counting leading zeros.
const RANK_BITS: usize = 64 - INDEX_BITS as usize;

/// How many registers, and bytes, a sketch has.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// How many distinct users there were, in 16 KiB: standard error 0.8 %.
///
/// HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog: the analysis of a near-optimal cardinality
/// estimation algorithm", 2007). One writer, any number of readers.
#[derive(Debug)]
pub struct Sketch {
    registers: [AtomicU8; REGISTERS],
}

/// The union of sketches, owned by one thread.
#[derive(Clone, Debug)]
pub struct UserCount {
    registers: Box<[u8; REGISTERS]>,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { registers: [const { AtomicU8::new(0) }; REGISTERS] }
    }
}

impl Sketch {
    /// Counts a user by the 64-bit hash of the user key. A user seen before changes nothing.
    ///
    /// A variant sees only users whose hash lies in the variant's share, so the hash is mixed once more: its
    /// own leading bits are anything but uniform within one sketch.
    pub fn insert(&self, user: u64) {
        let hash = mixed(user);
        let register = &self.registers[(hash >> RANK_BITS) as usize];
        let rank = ((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))).leading_zeros() as u8 + 1;
        if register.load(Ordering::Relaxed) < rank {
            register.store(rank, Ordering::Relaxed);
        }
    }
}

impl Default for UserCount {
    fn default() -> Self {
        UserCount { registers: Box::new([0; REGISTERS]) }
    }
}

impl UserCount {
    /// Adds the users of a sketch; those already counted count once.
    pub fn add(&mut self, sketch: &Sketch) {
        for (own, register) in self.registers.iter_mut().zip(&sketch.registers) {
            *own = (*own).max(register.load(Ordering::Relaxed));
        }
    }

    /// Adds the users of another union.
    pub fn merge(&mut self, other: &UserCount) {
        for (own, register) in self.registers.iter_mut().zip(other.registers.iter()) {
            *own = (*own).max(*register);
        }
    }

    /// The estimated number of distinct users.
    ///
    /// The improved raw estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches",
    /// 2017, algorithm 6), which needs no correction tables and is unbiased from the first user on.
    pub fn estimate(&self) -> u64 {
        let mut of_rank = [0u32; RANK_BITS + 2];
        for rank in self.registers.iter() {
            of_rank[usize::from(*rank).min(RANK_BITS + 1)] += 1;
        }
        let registers = REGISTERS as f64;
        let mut z = registers * tau(1.0 - f64::from(of_rank[RANK_BITS + 1]) / registers);
        for count in of_rank[1..=RANK_BITS].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += registers * sigma(f64::from(of_rank[0]) / registers);
        (registers * registers / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood, 2014): a bijection, so distinct users stay distinct.
fn mixed(user: u64) -> u64 {
    let user = (user ^ (user >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let user = (user ^ (user >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    user ^ (user >> 31)
}

/// `x + Σ x^(2^k)·2^(k−1)`: what the empty registers say. Infinite when all are empty.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// `(1 − x − Σ (1 − x^(2^−k))²·2^−k) / 3`: what the full registers say.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(users: impl Iterator<Item = u64>) -> f64 {
        let sketch = Sketch::default();
        users.for_each(|user| sketch.insert(user));
        let mut count = UserCount::default();
        count.add(&sketch);
        count.estimate() as f64
    }

    fn hashes(seed: u64, n: u64) -> impl Iterator<Item = u64> {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..n).map(move |_| rng.u64(..))
    }

    #[test]
    fn nobody_is_nobody_and_few_are_exact() {
        for n in [0, 1, 2, 5] {
            assert_eq!(estimate(hashes(1, n)), n as f64);
        }
    }

    #[test]
    fn users_are_counted_to_three_percent() {
        for (seed, n) in [(1, 100), (2, 1_000), (3, 10_000), (4, 30_000), (5, 60_000), (6, 100_000), (7, 1_000_000)] {
            let error = estimate(hashes(seed, n)) / n as f64 - 1.0;
            assert!(error.abs() < 0.03, "{n} users: {:.2} % off", error * 100.0);
        }
    }

    #[test]
    fn users_of_a_small_share_are_counted_as_well() {
        let of_one_percent = hashes(8, 50_000).map(|hash| hash / 100);
        let error = estimate(of_one_percent) / 50_000.0 - 1.0;
        assert!(error.abs() < 0.03, "{:.2} % off", error * 100.0);
    }

    #[test]
    fn a_user_seen_by_two_workers_counts_once() {
        let (one, two) = (Sketch::default(), Sketch::default());
        for user in hashes(9, 1_000) {
            one.insert(user);
            two.insert(user);
            two.insert(user);
        }
        let (mut alone, mut both) = (UserCount::default(), UserCount::default());
        alone.add(&one);
        both.add(&one);
        both.add(&two);
        assert_eq!(alone.estimate(), both.estimate());
    }
}
