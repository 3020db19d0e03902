//! Which endpoint a request gets.

use smallvec::SmallVec;
use std::time::{Duration, Instant};

use super::endpoints::Members;
use super::maglev::mix;
use super::{Checked, Endpoint, Resilience};

/// A choice among a variant's endpoints, one after the other until one can be used.
pub(super) struct Choice<'c> {
    pub(super) members: &'c Members,
    pub(super) resilience: &'c Resilience,
    pub(super) now: Instant,
    pub(super) standard: Standard,
    /// An endpoint that was tried before, and is to be tried again only when there is no other.
    pub(super) avoid: Option<u32>,
    pub(super) tried: SmallVec<[usize; 8]>,
}

/// How the choice is made.
pub(super) enum By<'c> {
    /// This turn.
    Turn(usize),
    /// Fewer requests in flight, of two at random.
    Load(&'c dyn Fn(&Endpoint) -> u32),
    /// The hash of the user.
    Hash(u64),
}

/// Which endpoints may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standard {
    /// Those to which nothing speaks against.
    Usable,
    /// Also unhealthy and ejected ones, as long as connections can be opened.
    Reachable,
    /// Any.
    Any,
}

/// How often a random choice is made again when it met an endpoint that cannot be used, or that is starting slowly.
const SAMPLES_MAX: u32 = 12;

impl Choice<'_> {
    /// The next endpoint; `None` when all that may be chosen have been.
    pub(super) fn next(&mut self, by: &By<'_>) -> Option<usize> {
        let chosen = self.choose(by).or_else(|| {
            self.avoid.take()?;
            self.choose(by)
        })?;
        self.tried.push(chosen);
        Some(chosen)
    }

    fn choose(&self, by: &By<'_>) -> Option<usize> {
        let count = self.members.len();
        if count == 1 {
            return self.may(0).then_some(0);
        }
        match by {
            By::Turn(turn) => {
                let at = turn % count;
                if self.may(at) && self.is_grown(at) { Some(at) } else { self.sample() }
            }
            By::Load(load) => {
                let one = self.sample()?;
                let other = self.sample()?;
                Some(if load(&self.members[other]) < load(&self.members[one]) { other } else { one })
            }
            By::Hash(hash) => self.find(*hash),
        }
    }

    /// One at random, by share. Taken from all and thrown away when it cannot be used, so that the share of one that
    /// cannot is spread over all others and does not fall to its neighbour.
    fn sample(&self) -> Option<usize> {
        let count = self.members.len();
        for _ in 0..SAMPLES_MAX {
            let at = fastrand::usize(..count);
            if self.may(at) && self.is_grown(at) {
                return Some(at);
            }
        }
        let first = fastrand::usize(..count);
        (0..count).map(|step| (first + step) % count).find(|at| self.may(*at))
    }

    /// The one of a hash. When it cannot be used, its users are spread over the others, each always to the same one,
    /// and come back when it does.
    fn find(&self, hash: u64) -> Option<usize> {
        let count = self.members.len();
        let table = self.members.table.as_ref()?;
        for turn in 0..u64::from(SAMPLES_MAX) {
            let at = table.find(mix(hash, turn));
            if self.may(at) && self.is_grown_for(at, hash) {
                return Some(at);
            }
        }
        let first = table.find(mix(hash, 0));
        (0..count).map(|step| (first + step) % count).find(|at| self.may(*at))
    }

    fn may(&self, at: usize) -> bool {
        let endpoint = &self.members[at];
        is_up(endpoint, self.resilience, self.standard, self.now)
            && !self.tried.contains(&at)
            && self.avoid != Some(endpoint.id())
    }

    fn is_grown(&self, at: usize) -> bool {
        let share = self.share(at);
        share >= 1.0 || fastrand::f64() < share
    }

    /// The same for a user: once it has become theirs it stays so while it grows.
    fn is_grown_for(&self, at: usize, hash: u64) -> bool {
        let share = self.share(at);
        share >= 1.0 || (mix(hash, u64::from(self.members[at].id()) << 8) as f64) < share * u64::MAX as f64
    }

    fn share(&self, at: usize) -> f64 {
        match self.resilience.slow_start {
            Duration::ZERO => 1.0,
            slow_start => self.members[at].share(slow_start, self.now),
        }
    }
}

fn is_up(endpoint: &Endpoint, resilience: &Resilience, standard: Standard, now: Instant) -> bool {
    if endpoint.is_drained() {
        return false;
    }
    match standard {
        Standard::Any => true,
        Standard::Reachable => !endpoint.is_paused(now),
        Standard::Usable => {
            !endpoint.is_paused(now)
                && (resilience.check.is_none() || endpoint.checked() != Checked::Unhealthy)
                && (resilience.outliers.is_none() || !endpoint.is_ejected(now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Balance, Check, Outliers, Probe, Spec, Target, Upstream};
    use super::*;
    use proptest::prelude::*;

    const REQUESTS: usize = 20_000;

    fn upstream(count: u16, slow_start: Duration) -> Upstream {
        let targets = (1..=count).map(|port| Target::Address(([127, 0, 0, 1], port).into())).collect();
        let second = Duration::from_secs(1);
        let (healthy_after, unhealthy_after) = (1, 1);
        let resilience = Resilience {
            check: Some(Check {
                probe: Probe::Tcp,
                interval: second,
                timeout: second,
                healthy_after,
                unhealthy_after,
                port: None,
            }),
            outliers: Some(Outliers {
                consecutive: 5,
                success_rate: None,
                eject_for: second,
                max_ejected_ppm: 1_000_000,
                interval: second,
            }),
            slow_start,
            ..Resilience::default()
        };
        Upstream::new(Spec { balance: Balance::ConsistentHash, resilience, ..Spec::plain("shop", "stable", targets) })
    }

    fn choose(upstream: &Upstream, by: &By<'_>, now: Instant) -> Option<usize> {
        let members = upstream.endpoints();
        let resilience = &upstream.spec().resilience;
        let (standard, avoid, tried) = (Standard::Usable, None, SmallVec::new());
        Choice { members: &members, resilience, now, standard, avoid, tried }.next(by)
    }

    /// How many of the requests each endpoint gets.
    fn spread(upstream: &Upstream, kind: usize, now: Instant) -> Vec<usize> {
        let mut got = vec![0; upstream.endpoints().len()];
        let in_flight: Vec<std::cell::Cell<u32>> = got.iter().map(|_| std::cell::Cell::new(0)).collect();
        for request in 0..REQUESTS {
            let load = |endpoint: &Endpoint| in_flight[usize::from(endpoint.address().port()) - 1].get();
            let by = match kind {
                0 => By::Turn(request),
                1 => By::Load(&load),
                _ => By::Hash(mix(request as u64, 99)),
            };
            let chosen = choose(upstream, &by, now).unwrap();
            in_flight[chosen].set(in_flight[chosen].get() + 1);
            got[chosen] += 1;
        }
        got
    }

    fn down(upstream: &Upstream, at: usize, now: Instant) {
        let check = upstream.spec().resilience.check.clone().unwrap();
        upstream.endpoints()[at].note_check(false, &check, now);
    }

    #[test]
    fn one_that_is_down_gets_nothing_and_its_share_goes_to_all_others() {
        let now = Instant::now();
        for kind in 0..3 {
            let upstream = upstream(5, Duration::ZERO);
            down(&upstream, 1, now);
            upstream.endpoints()[3].eject_until(now + Duration::from_secs(9));
            let got = spread(&upstream, kind, now);
            assert_eq!((got[1], got[3]), (0, 0), "{kind}");
            for at in [0, 2, 4] {
                let share = got[at] as f64 / REQUESTS as f64;
                assert!((share - 1.0 / 3.0).abs() < 0.04, "{kind}: {got:?}");
            }
        }
    }

    #[test]
    fn one_that_starts_slowly_gets_a_growing_part() {
        let slow_start = Duration::from_secs(100);
        for kind in [0, 2] {
            let (upstream, now) = (upstream(4, slow_start), Instant::now());
            upstream.endpoints()[2].join(now);
            let part = |after: u64| {
                let got = spread(&upstream, kind, now + Duration::from_secs(after));
                got[2] as f64 / (REQUESTS - got[2]) as f64 * 3.0
            };
            let parts = [0, 30, 70, 100].map(part);
            let wanted = [0.1, 0.3, 0.7, 1.0];
            for (part, wanted) in parts.iter().zip(wanted) {
                assert!((part - wanted).abs() < 0.08, "{kind}: {parts:?}");
            }
        }
    }

    #[test]
    fn another_one_is_preferred_for_a_second_try_and_standards_fall_as_told() {
        let (upstream, now) = (upstream(2, Duration::ZERO), Instant::now());
        let members = upstream.endpoints();
        let choice = |standard, avoid| {
            let resilience = &upstream.spec().resilience;
            Choice { members: &members, resilience, now, standard, avoid, tried: SmallVec::new() }
        };
        let first = members[0].id();
        for turn in 0..10 {
            let mut choice = choice(Standard::Usable, Some(first));
            assert_eq!([0, 1, 2].map(|_| choice.next(&By::Turn(turn))), [Some(1), Some(0), None]);
        }
        down(&upstream, 0, now);
        down(&upstream, 1, now);
        members[1].note_connect_failure(now, now);
        let all = |standard| {
            let mut choice = choice(standard, None);
            let mut all: Vec<usize> = std::iter::from_fn(|| choice.next(&By::Turn(0))).collect();
            all.sort();
            all
        };
        assert_eq!(all(Standard::Usable), [0; 0]);
        assert_eq!(all(Standard::Reachable), [0]);
        assert_eq!(all(Standard::Any), [0, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        /// With endpoints down, exactly their users move; when they are back, so are the users.
        #[test]
        fn only_users_of_those_that_are_down_move(
            count in 2u16..30,
            down_at in proptest::collection::vec(any::<prop::sample::Index>(), 1..5),
        ) {
            let (upstream, now) = (upstream(count, Duration::ZERO), Instant::now());
            let users = || (0..2_000u64).map(|user| choose(&upstream, &By::Hash(mix(user, 5)), now));
            let before: Vec<_> = users().collect();
            let gone: std::collections::BTreeSet<usize> =
                down_at.iter().map(|at| at.index(usize::from(count))).take(usize::from(count) - 1).collect();
            let until = now + Duration::from_secs(60);
            gone.iter().for_each(|at| upstream.endpoints()[*at].eject_until(until));
            for (was, is) in before.iter().zip(users()) {
                let is = is.unwrap();
                prop_assert!(!gone.contains(&is));
                prop_assert!(*was == Some(is) || gone.contains(&was.unwrap()));
            }
            gone.iter().for_each(|at| upstream.endpoints()[*at].eject_until(now));
            prop_assert_eq!(before, users().collect::<Vec<_>>());
        }
    }
}
