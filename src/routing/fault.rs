//! Injected faults: which requests get which one.

use std::time::Duration;

use super::view::unix_seconds;
use crate::model::BUCKETS;

/// A fault of a variant that is injected.
#[derive(Debug)]
pub struct Fault {
    /// The variant that seems to have it.
    pub variant: usize,
    /// Only requests of this cohort.
    pub cohort: Option<usize>,
    /// Holds requests back.
    pub delay: Option<Delay>,
    /// Answers instead of the variant.
    pub abort: Option<Abort>,
    /// So many of a million.
    pub share: u32,
    /// `Some` draws users rather than requests, with a number of the fault's own.
    pub sticky: Option<u64>,
    /// From this second since 1970 on it is over.
    pub until: Option<u64>,
}

/// How long requests are held back.
#[derive(Debug, PartialEq, Eq)]
pub enum Delay {
    /// All of them this long.
    Fixed(Duration),
    /// Between these quantiles, each with its share of a million; ascending, not empty.
    Quantiles(Box<[(u32, Duration)]>),
}

/// What is answered instead of the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// This status.
    Status(u16),
    /// Nothing.
    Reset,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// It is held back this long.
    pub delay: Duration,
    /// It is not sent at all.
    pub abort: Option<Abort>,
}

/// What happens to a request of a cohort and a variant. Each fault draws for itself; delays add up, and the first
/// abort counts.
pub fn draw(faults: &[Fault], cohort: usize, variant: usize, user: Option<u64>) -> Injected {
    let mut injected = Injected::default();
    for fault in faults.iter().filter(|fault| fault.is_for(cohort, variant)) {
        if !fault.hits(user) || fault.until.is_some_and(|until| unix_seconds() >= until) {
            continue;
        }
        if let Some(delay) = &fault.delay {
            injected.delay += delay.at(fastrand::u32(..BUCKETS));
        }
        injected.abort = injected.abort.or(fault.abort);
    }
    injected
}

impl Fault {
    /// True when requests of this cohort and variant may have it.
    pub fn is_for(&self, cohort: usize, variant: usize) -> bool {
        self.variant == variant && self.cohort.is_none_or(|only| only == cohort)
    }

    fn hits(&self, user: Option<u64>) -> bool {
        let drawn = match (self.sticky, user) {
            (Some(own), Some(user)) => of_user(own, user),
            // who has no key is somebody else each time
            (Some(_), None) | (None, _) => fastrand::u32(..BUCKETS),
        };
        drawn < self.share
    }
}

impl Delay {
    /// The delay of the request at this place, of a million in ascending order.
    pub fn at(&self, place: u32) -> Duration {
        let points = match self {
            Delay::Fixed(delay) => return *delay,
            Delay::Quantiles(points) => points,
        };
        let mut below = (0, Duration::ZERO);
        for &(share, delay) in points {
            if place < share {
                let part = f64::from(place - below.0) / f64::from(share - below.0);
                return below.1 + delay.saturating_sub(below.1).mul_f64(part);
            }
            below = (share, delay);
        }
        below.1
    }
}

/// Where a user falls for a fault: independent of the bucket by which variants are chosen, so that a drill does not
/// meet the same users as the first percents of a rollout.
fn of_user(own: u64, user: u64) -> u32 {
    // the finalizer of SplitMix64 (Steele, Lea, Flood 2014)
    let mut bits = user ^ own;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    ((u128::from(bits) * u128::from(BUCKETS)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(share: u32) -> Fault {
        let abort = Some(Abort::Status(503));
        Fault { variant: 1, cohort: None, delay: None, abort, share, sticky: None, until: None }
    }

    fn hit(fault: &Fault, users: impl Iterator<Item = Option<u64>>) -> Vec<bool> {
        users.map(|user| draw(std::slice::from_ref(fault), 0, 1, user).abort.is_some()).collect()
    }

    fn count(hits: &[bool]) -> usize {
        hits.iter().filter(|hit| **hit).count()
    }

    #[test]
    fn a_fault_is_for_its_variant_and_its_cohort_until_its_end() {
        let all = BUCKETS;
        for (fault, cohort, variant, expected) in [
            (fault(all), 0, 1, true),
            (fault(all), 0, 0, false),
            (fault(0), 0, 1, false),
            (Fault { cohort: Some(2), ..fault(all) }, 2, 1, true),
            (Fault { cohort: Some(2), ..fault(all) }, 0, 1, false),
            (Fault { until: Some(1), ..fault(all) }, 0, 1, false),
            (Fault { until: Some(u64::MAX), ..fault(all) }, 0, 1, true),
        ] {
            let injected = draw(std::slice::from_ref(&fault), cohort, variant, None);
            assert_eq!(injected.abort.is_some(), expected, "{fault:?} {cohort} {variant}");
        }
    }

    #[test]
    fn requests_are_drawn_at_random_and_users_for_good() {
        let ids = || (0..10_000u64).map(|id| Some(id.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let random = fault(BUCKETS / 10);
        let one_user = hit(&random, (0..10_000).map(|_| Some(7)));
        assert!((800..1_200).contains(&count(&one_user)), "{}", count(&one_user));
        let sticky = Fault { sticky: Some(1), ..fault(BUCKETS / 10) };
        let (first, second) = (hit(&sticky, ids()), hit(&sticky, ids()));
        assert_eq!(first, second);
        assert!((800..1_200).contains(&count(&first)), "{}", count(&first));
        // another fault meets other users
        let other = hit(&Fault { sticky: Some(2), ..fault(BUCKETS / 10) }, ids());
        let both = first.iter().zip(&other).filter(|(a, b)| **a && **b).count();
        assert!((50..150).contains(&both), "{both}");
    }

    #[test]
    fn delays_have_the_quantiles_of_the_file() {
        let ms = Duration::from_millis;
        let delay = Delay::Quantiles([(500_000, ms(100)), (990_000, ms(1_000))].into());
        for (place, expected) in
            [(0, 0), (250_000, 50), (500_000, 100), (745_000, 550), (990_000, 1_000), (999_999, 1_000)]
        {
            assert_eq!(delay.at(place), ms(expected), "{place}");
        }
        assert_eq!(Delay::Fixed(ms(3)).at(7), ms(3));
    }

    #[test]
    fn delays_add_up_and_the_first_abort_counts() {
        let delay = |ms| Some(Delay::Fixed(Duration::from_millis(ms)));
        let faults = [
            Fault { delay: delay(10), abort: None, ..fault(BUCKETS) },
            Fault { delay: delay(5), abort: Some(Abort::Reset), ..fault(BUCKETS) },
            fault(BUCKETS),
        ];
        let injected = draw(&faults, 0, 1, None);
        assert_eq!(injected, Injected { delay: Duration::from_millis(15), abort: Some(Abort::Reset) });
    }
}
