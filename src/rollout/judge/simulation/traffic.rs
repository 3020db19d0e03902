use super::{Fault, World};
use crate::rollout::judge::latency::Thresholds;
use crate::rollout::judge::tick::{QUANTILES, Side, Tally, Tick, Users};

/// Entries of the table from which users are drawn by their activity, and of that of latencies.
const PICKS: usize = 1 << 16;
const LATENCIES: usize = 1 << 12;

/// Buckets of the histogram of latencies: 32 for each doubling.
const BUCKETS: usize = 32 * 32;

const ERROR: u8 = 1 << QUANTILES;
const KNOWN: u8 = ERROR << 1;
const TIMED: u8 = KNOWN << 1;

/// One world's requests, second by second.
#[derive(Debug)]
pub struct Traffic {
    world: World,
    rng: fastrand::Rng,
    picks: Vec<u32>,
    latencies: Vec<u32>,
    people: Vec<Person>,
    broken: Vec<u32>,
    histogram: Vec<u64>,
    /// Stable's errors so far.
    pub stable_errors: Tally,
    /// The last second.
    pub tick: Tick,
    /// Canary requests of the last second that met the fault.
    pub harmed: u64,
    /// Users who got an answer of the canary since its fault began.
    pub exposed: u64,
    /// Part of the canary's outcomes that do not happen while it has a fault.
    lost_outcomes: f64,
    /// How much longer all answers of this second take.
    load_us: u64,
    /// Latencies of the canary's last second.
    canary_latencies: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    /// Where the user's bucket lies, 0 to 1.
    place: f32,
    is_broken: bool,
    is_slow: bool,
    /// What happened before this second, and in it.
    before: u8,
    now: u8,
    /// Outcomes that the user has had before this second, has had in it, and could have had in it: a bit each.
    had: u8,
    had_now: u8,
    could_now: u8,
    epoch: u32,
    seen_s: u32,
    is_exposed: bool,
}

/// One request.
struct Request {
    user: u32,
    is_canary: bool,
    is_error: bool,
    latency_us: u64,
}

impl Traffic {
    /// A world before its first second.
    pub fn new(world: &World, seed: u64) -> Traffic {
        let mut rng = fastrand::Rng::with_seed(seed);
        let person = |rng: &mut fastrand::Rng| Person {
            place: rng.f32(),
            is_broken: rng.f64() < world.broken_users,
            is_slow: rng.f64() < world.slow_users,
            before: 0,
            now: 0,
            had: 0,
            had_now: 0,
            could_now: 0,
            epoch: 0,
            seen_s: u32::MAX,
            is_exposed: false,
        };
        let people: Vec<Person> = (0..world.users.max(1)).map(|_| person(&mut rng)).collect();
        let broken = (0..).zip(&people).filter(|(_, person)| person.is_broken).map(|(at, _)| at).collect();
        let latency = |at: usize| {
            let z = inverse_normal((at as f64 + 0.5) / LATENCIES as f64);
            (world.median_us * (world.spread * z).exp()).min(60e6) as u32
        };
        Traffic {
            picks: picks(people.len(), &mut rng),
            latencies: (0..LATENCIES).map(latency).collect(),
            world: world.clone(),
            rng,
            people,
            broken,
            histogram: vec![0; BUCKETS],
            stable_errors: Tally::default(),
            tick: Tick::default(),
            harmed: 0,
            exposed: 0,
            lost_outcomes: 0.0,
            load_us: 0,
            canary_latencies: Vec::new(),
        }
    }

    /// From now on the canary has this fault.
    pub fn break_canary(&mut self, fault: Fault) {
        self.world.fault = fault;
    }

    /// From now on this part of the canary's outcomes does not happen (0 to 1).
    pub fn lose_outcomes(&mut self, part: f64) {
        self.lost_outcomes = part;
    }

    /// Stable's latencies so far, as buckets with their largest latency.
    pub fn histogram(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..BUCKETS).map(|at| (lowest_us(at + 1).saturating_sub(1), self.histogram[at]))
    }

    /// The canary's latencies of the last second.
    pub fn p99_sample(&self) -> &[u64] {
        &self.canary_latencies
    }

    /// One second with a share of the canary (0 to 1). `epoch` is that of the judge, `is_faulty` lets the world's fault be.
    pub fn second(&mut self, at_s: u64, share: f64, thresholds: Option<&Thresholds>, epoch: u64, is_faulty: bool) {
        let outcomes = vec![Tally::default(); self.world.outcomes.len()];
        let side = || Side {
            users: Some(Users::default()),
            outcomes: outcomes.clone(),
            user_outcomes: outcomes.clone(),
            ..Side::default()
        };
        self.tick = Tick { at_s, canary_share: share, canary: side(), stable: side() };
        self.harmed = 0;
        self.canary_latencies.clear();
        let wave = 1.0 + self.world.swing * (std::f64::consts::TAU * at_s as f64 / self.world.swing_s).sin();
        let rollout_s = at_s.saturating_sub(super::WARM_S);
        let load = self.world.load.filter(|load| at_s >= super::WARM_S + load.from_s);
        self.load_us = match load {
            Some(load) if self.rng.f64() < load.seconds => load.by_us / 2 + self.rng.u64(0..=load.by_us),
            Some(_) | None => 0,
        };
        let outage = self
            .world
            .outage
            .filter(|outage| share > 0.0 && rollout_s >= outage.from_s && rollout_s - outage.from_s < outage.for_s);
        let error_rate = (self.world.error_rate * wave + outage.map_or(0.0, |outage| outage.error_rate)).min(1.0);
        let retries = poisson(&mut self.rng, self.broken.len() as f64 / self.world.retry_s);
        for _ in 0..retries {
            let user = self.broken[self.rng.usize(..self.broken.len())];
            self.request(user, error_rate, share, is_faulty, thresholds, epoch as u32);
        }
        for _ in 0..poisson(&mut self.rng, self.world.requests_per_s * wave) {
            let user = self.picks[self.rng.u64(..) as usize % PICKS];
            self.request(user, error_rate, share, is_faulty, thresholds, epoch as u32);
        }
    }

    fn request(
        &mut self,
        user: u32,
        error_rate: f64,
        share: f64,
        is_faulty: bool,
        thresholds: Option<&Thresholds>,
        epoch: u32,
    ) {
        let person = self.people[user as usize];
        let is_canary = f64::from(person.place) < share;
        if is_canary && is_faulty && !person.is_exposed {
            self.people[user as usize].is_exposed = true;
            self.exposed += 1;
        }
        let mut is_error = person.is_broken || self.rng.f64() < error_rate;
        let mut latency_us = u64::from(self.latencies[self.rng.u64(..) as usize % LATENCIES]);
        if person.is_slow {
            latency_us *= 5;
        }
        latency_us += self.load_us;
        if is_canary && is_faulty && self.world.fault.is_any() {
            let fault = self.world.fault;
            let fails = fault.errors > 0.0 && self.rng.f64() < fault.errors;
            let slower = fault.slow_share > 0.0 && self.rng.f64() < fault.slow_share;
            self.harmed += u64::from((fails && !is_error) || slower || fault.slower_by > 0.0);
            is_error |= fails;
            latency_us =
                (latency_us as f64 * (1.0 + fault.slower_by)) as u64 + if slower { fault.slow_by_us } else { 0 };
        }
        if !is_canary {
            self.stable_errors.add(Tally::new(u64::from(is_error), 1));
            if !is_error {
                self.histogram[bucket_of(latency_us)] += 1;
            }
        } else if !is_error {
            self.canary_latencies.push(latency_us);
        }
        self.count(Request { user, is_canary, is_error, latency_us }, thresholds, epoch);
        if !is_error {
            self.count_outcomes(user, is_canary, is_faulty);
        }
    }

    /// What a successful request brings: by request, and by user until they had it once.
    fn count_outcomes(&mut self, user: u32, is_canary: bool, is_faulty: bool) {
        let left = if is_canary && is_faulty { 1.0 - self.lost_outcomes } else { 1.0 };
        let person = &mut self.people[user as usize];
        let side = if is_canary { &mut self.tick.canary } else { &mut self.tick.stable };
        for (at, rate) in self.world.outcomes.iter().enumerate().filter(|(_, rate)| **rate > 0.0) {
            let (has_it, bit) = (self.rng.f64() < rate * left, 1u8 << (at % 8));
            self.harmed +=
                u64::from(left < 1.0 && !has_it && self.rng.f64() < rate * (1.0 - left) / (1.0 - rate * left));
            side.outcomes[at].add(Tally::new(u64::from(has_it), 1));
            let is_new = person.had & bit == 0;
            side.user_outcomes[at].of += u64::from(is_new && person.could_now & bit == 0);
            side.user_outcomes[at].events += u64::from(is_new && has_it && person.had_now & bit == 0);
            person.could_now |= bit;
            person.had_now |= if has_it { bit } else { 0 };
        }
    }

    /// Counts by request and by user: what the sets of `buckets.rs` do, for one request at a time.
    fn count(&mut self, request: Request, thresholds: Option<&Thresholds>, epoch: u32) {
        let person = &mut self.people[request.user as usize];
        let at_s = self.tick.at_s as u32;
        let side = if request.is_canary { &mut self.tick.canary } else { &mut self.tick.stable };
        let users = side.users.get_or_insert_default();
        if person.epoch != epoch {
            (person.epoch, person.before, person.now, person.seen_s) = (epoch, 0, 0, u32::MAX);
            (person.had, person.had_now) = (0, 0);
        }
        if person.seen_s != at_s {
            person.before |= person.now & !TIMED;
            person.had |= person.had_now;
            (person.had_now, person.could_now) = (0, 0);
            (person.seen_s, person.now) = (at_s, KNOWN);
            users.errors.of += u64::from(person.before & ERROR == 0);
            users.new += u64::from(person.before & KNOWN == 0);
        }
        side.errors.add(Tally::new(u64::from(request.is_error), 1));
        if request.is_error {
            users.errors.events += u64::from((person.before | person.now) & ERROR == 0);
            person.now |= ERROR;
            return;
        }
        let Some(thresholds) = thresholds else { return };
        let is_first = person.now & TIMED == 0;
        person.now |= TIMED;
        let limits = if request.is_canary { &thresholds.canary_us } else { &thresholds.stable_us };
        for (at, limit) in limits.iter().enumerate() {
            let (slow, bit) = (request.latency_us > *limit, 1u8 << at);
            side.slow[at].add(Tally::new(u64::from(slow), 1));
            if !request.is_canary {
                side.late[at].add(Tally::new(u64::from(request.latency_us > thresholds.canary_us[at]), 1));
            }
            users.slow[at].of += u64::from(is_first && person.before & bit == 0);
            if slow {
                users.slow[at].events += u64::from((person.before | person.now) & bit == 0);
                person.now |= bit;
            }
        }
    }
}

/// Users in proportion to their activity.
fn picks(users: usize, rng: &mut fastrand::Rng) -> Vec<u32> {
    let activity: Vec<f64> = (0..users).map(|_| rng.f64().max(1e-9).powf(-1.0 / 1.3).min(1_000.0)).collect();
    let step = activity.iter().sum::<f64>() / PICKS as f64;
    let (mut picks, mut user, mut reached) = (Vec::with_capacity(PICKS), 0, activity[0]);
    for at in 0..PICKS {
        let place = (at as f64 + 0.5) * step;
        while reached < place && user + 1 < users {
            user += 1;
            reached += activity[user];
        }
        picks.push(user as u32);
    }
    picks
}

/// A Poisson number; beyond a mean of 60 the normal that is as good.
fn poisson(rng: &mut fastrand::Rng, mean: f64) -> u64 {
    if mean > 60.0 {
        let z = inverse_normal(rng.f64().clamp(1e-12, 1.0 - 1e-12));
        return (mean + mean.sqrt() * z).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), rng.f64(), 0);
    while product > limit {
        product *= rng.f64();
        count += 1;
    }
    count
}

fn bucket_of(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(6);
    (((shift as usize) << 5) + (us >> shift) as usize).min(BUCKETS - 1)
}

fn lowest_us(bucket: usize) -> u64 {
    let shift = (bucket / 32).saturating_sub(1);
    ((bucket - shift * 32) as u64) << shift
}

/// The quantile of the normal distribution, to 1e-3: Abramowitz and Stegun, 26.2.23.
fn inverse_normal(p: f64) -> f64 {
    let tail = p.min(1.0 - p);
    let t = (-2.0 * tail.ln()).sqrt();
    let z =
        t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if p < 0.5 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::judge::buckets::{Counted, GroupSet, Met};

    #[test]
    fn traffic_is_that_of_the_world() {
        let world = World { users: 5_000, error_rate: 0.02, ..World::default() };
        let mut traffic = Traffic::new(&world, 1);
        let (mut all, mut canary) = (0, 0);
        for at_s in 0..200 {
            traffic.second(at_s, 0.1, None, 0, false);
            all += traffic.tick.canary.errors.of + traffic.tick.stable.errors.of;
            canary += traffic.tick.canary.errors.of;
        }
        assert!((all as f64 / 200.0 / 500.0 - 1.0).abs() < 0.02, "{all}");
        assert!((canary as f64 / all as f64 - 0.1).abs() < 0.05);
        assert!((traffic.stable_errors.rate() - 0.02).abs() < 0.004);
        let total: u64 = traffic.histogram().map(|(_, count)| count).sum();
        let below: u64 = traffic.histogram().filter(|(us, _)| *us <= 40_500).map(|(_, count)| count).sum();
        assert!((below as f64 / total as f64 - 0.5).abs() < 0.03);
    }

    #[test]
    fn buckets_of_latency_follow_each_other() {
        for bucket in 1..600 {
            assert_eq!(bucket_of(lowest_us(bucket)), bucket);
            assert_eq!(bucket_of(lowest_us(bucket + 1) - 1), bucket);
        }
    }

    /// Counting request by request gives what the sets give.
    #[test]
    fn users_count_as_the_sets_count_them() {
        let world = World { users: 300, error_rate: 0.1, requests_per_s: 50.0, broken_users: 0.05, ..World::default() };
        let mut traffic = Traffic::new(&world, 3);
        let thresholds = Thresholds {
            stable_us: [40_000, 80_000, 100_000, 150_000, 190_000],
            canary_us: [50_000, 90_000, 120_000, 170_000, 195_000],
        };
        let (mut counted, mut rng) = (Counted::default(), fastrand::Rng::with_seed(4));
        for at_s in 0..60 {
            if at_s == 30 {
                counted.clear();
            }
            let side = || Side { users: Some(Users::default()), ..Side::default() };
            traffic.tick = Tick { at_s, canary_share: 0.3, canary: side(), stable: side() };
            let (mut canary, mut stable) = (Met::default(), Met::default());
            for _ in 0..50 {
                let user = rng.u32(..300);
                let is_canary = user < 90;
                let (is_error, latency_us) = (rng.f64() < 0.1, rng.u64(10_000..200_000));
                let (met, limits) = match is_canary {
                    true => (&mut canary, thresholds.canary_us),
                    false => (&mut stable, thresholds.stable_us),
                };
                let fill = |set: &mut GroupSet, is_in: bool| is_in.then(|| set.insert(user));
                fill(&mut met.seen, true);
                fill(&mut met.errors, is_error);
                fill(&mut met.timed, !is_error);
                for (slow, limit) in met.slow.iter_mut().zip(limits) {
                    fill(slow, !is_error && latency_us > limit);
                }
                let epoch = u32::from(at_s >= 30);
                traffic.count(Request { user, is_canary, is_error, latency_us }, Some(&thresholds), epoch);
            }
            let (by_sets, stable_by_sets) = counted.count(&canary, &stable);
            assert_eq!((traffic.tick.canary.users, traffic.tick.stable.users), (Some(by_sets), Some(stable_by_sets)));
        }
    }
}
