//! What a step can see, before it begins.

use super::history::slow_at_most;
use super::tick::QUANTILES;
use crate::model::{grouped, percent};

/// What is known before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preview {
    /// Requests of the cohort per second.
    pub requests_per_s: f64,
    /// The canary's share, 0 to 1.
    pub canary_share: f64,
    /// How long the step lasts, in seconds.
    pub hold_s: u64,
    /// Stable's error rate.
    pub error_rate: f64,
    /// How often a healthy rollout may be taken back.
    pub alpha: f64,
    /// Among how many starts the evidence is spread ([`starts_of_step`](super::starts_of_step)).
    pub starts: f64,
    /// Rates up to this are never harm.
    pub floor: f64,
    /// Bad events below which nothing is harm.
    pub min_bad: u64,
    /// Requests below which nothing is harm.
    pub min_requests: u64,
}

/// What the evidence costs beside `ln(1/α) + ln(starts)`: the alternative that fits best is one of several.
const LN_OF_CHOICE: f64 = 0.5;

/// Rates of which the preview gives the time that they take to be noticed.
const EXAMPLES: [f64; 5] = [2.0, 3.0, 5.0, 10.0, 30.0];

/// Requests of the canary that are needed to notice `ratio` times the base rate, on average:
/// `(ln(1/α) + ln(starts) + ½) / (p·(r·ln r − r + 1))`. Infinite where there is nothing to notice.
pub fn requests_needed(ratio: f64, error_rate: f64, alpha: f64, starts: f64) -> f64 {
    let information = error_rate * (ratio * ratio.ln() - ratio + 1.0);
    if ratio <= 1.0 || information <= 0.0 {
        return f64::INFINITY;
    }
    ((1.0 / alpha).ln() + starts.max(1.0).ln() + LN_OF_CHOICE) / information
}

/// Requests of the canary that could bring an outcome until it is noticed that only a part of it is left, on average. `rate`
/// of stable's bring it, and `tolerated` of that would pass.
pub fn outcomes_needed(part: f64, rate: f64, tolerated: f64, alpha: f64, starts: f64) -> f64 {
    let (ratio, base) = (part / tolerated, rate * tolerated);
    let of_ratio = if ratio > 0.0 { ratio * ratio.ln() } else { 0.0 };
    let information = base * (of_ratio - ratio + 1.0);
    if ratio >= 1.0 || information <= 0.0 {
        return f64::INFINITY;
    }
    ((1.0 / alpha).ln() + starts.max(1.0).ln() + LN_OF_CHOICE) / information
}

impl Preview {
    /// The same of answers slower than a quantile of stable's: 1 of 100 are beyond p99. Any excess counts, and the evidence is
    /// spread over all quantiles.
    fn of_slow(&self, level: f64, has_control: bool) -> Preview {
        let starts = self.starts * QUANTILES as f64;
        let floor = if has_control { f64::MIN_POSITIVE } else { slow_at_most(level) };
        Preview { error_rate: 1.0 - level, floor, starts, ..*self }
    }

    /// In plain words: `sees 1 % → 3.1 % slower than p99 (181 ms) in about 5 minutes`. `limit` is what counts as slow, where
    /// it is known. Without stable traffic at the same time more is tolerated.
    pub fn slow_text(&self, level: f64, has_control: bool, limit: Option<&str>) -> String {
        let slow = self.of_slow(level, has_control);
        let quantile = format!("p{}", (level * 1e4).round() / 100.0);
        let beyond = limit.map_or(quantile.clone(), |limit| format!("{quantile} ({limit})"));
        match slow.smallest_visible().map(rounded_up) {
            None => "cannot see slower answers within the hold".to_owned(),
            Some(seen) => format!(
                "sees {} → {} slower than {beyond} in about {}",
                percent(short(slow.error_rate)),
                percent(seen.min(1.0)),
                duration(slow.seconds_until(seen.min(1.0)))
            ),
        }
    }

    /// In plain words, of an outcome that `rate` of the requests bring: `half as many after 700 requests in about 2 minutes, a
    /// tenth fewer cannot be seen within the hold`. `is_all` says that every request could bring one, so that times are known.
    pub fn outcome_text(&self, rate: f64, tolerated: f64, is_all: bool) -> String {
        let of = |(part, name): (f64, &str)| {
            let needed = outcomes_needed(part, rate, tolerated, self.alpha, self.starts).max(self.min_requests as f64);
            let seconds = needed / (self.requests_per_s * self.canary_share);
            match needed {
                _ if !needed.is_finite() => format!("{name} is tolerated"),
                _ if !is_all || !seconds.is_finite() => {
                    format!("{name} after {} requests", grouped(needed.ceil() as u64))
                }
                _ if seconds > self.hold_s as f64 => format!("{name} cannot be seen within the hold"),
                _ => format!("{name} in about {}", duration(seconds)),
            }
        };
        [(0.5, "half as many"), (0.9, "a tenth fewer")].map(of).join(", ")
    }

    /// Requests of the canary until an error rate of `rate` is noticed, on average.
    ///
    /// Two tests must speak, that against stable and that against the floor, and there are the least numbers of
    /// bad events and of requests. The slowest of all decides.
    pub fn requests_until(&self, rate: f64) -> f64 {
        let base = self.error_rate.max(1e-6);
        let against_stable = requests_needed(rate / base, base, self.alpha, self.starts);
        let against_floor = requests_needed(rate / self.floor, self.floor, self.alpha, self.starts);
        let least = (self.min_bad as f64 / rate.max(1e-9)).max(self.min_requests as f64);
        against_stable.max(against_floor).max(least)
    }

    /// Seconds until an error rate of `rate` is noticed, on average; infinite without traffic.
    pub fn seconds_until(&self, rate: f64) -> f64 {
        let per_s = self.requests_per_s * self.canary_share;
        if per_s > 0.0 { (self.requests_until(rate) / per_s).max(1.0) } else { f64::INFINITY }
    }

    /// The smallest error rate that the step notices before it ends; `None` when not even a total failure.
    pub fn smallest_visible(&self) -> Option<f64> {
        let is_visible = |rate: f64| self.seconds_until(rate) <= self.hold_s as f64;
        if !is_visible(1.0) {
            return None;
        }
        let (mut unseen, mut seen) = (self.error_rate.min(1.0), 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (unseen + seen);
            if is_visible(middle) { seen = middle } else { unseen = middle }
        }
        Some(seen)
    }

    /// In plain words: `sees 0.2 % → 1 % in about 3 minutes; cannot see ×2 within the hold`.
    pub fn text(&self) -> String {
        let Some(smallest) = self.smallest_visible() else {
            let all = (self.requests_per_s * self.canary_share * self.hold_s as f64) as u64;
            return format!(
                "cannot see anything within the hold: about {} {} for the canary in {}",
                grouped(all),
                if all == 1 { "request" } else { "requests" },
                duration(self.hold_s as f64)
            );
        };
        let base = self.error_rate;
        let seen = EXAMPLES.iter().map(|ratio| ratio * base).find(|rate| *rate >= smallest && *rate < 1.0);
        let seen = seen.unwrap_or(rounded_up(smallest));
        let sees = format!(
            "sees {} → {} in about {}",
            percent(short(base)),
            percent(short(seen)),
            duration(self.seconds_until(seen))
        );
        let unseen = EXAMPLES.iter().rfind(|ratio| *ratio * base < smallest);
        match unseen.filter(|_| base > 0.0) {
            Some(ratio) => format!("{sees}; cannot see ×{ratio} within the hold"),
            None => sees,
        }
    }
}

/// To two significant digits, upward.
fn rounded_up(rate: f64) -> f64 {
    let unit = 10f64.powf(rate.log10().floor() - 1.0);
    (rate / unit - 1e-9).ceil() * unit
}

/// To two significant digits.
fn short(rate: f64) -> f64 {
    if rate <= 0.0 {
        return 0.0;
    }
    let unit = 10f64.powf(rate.log10().floor() - 1.0);
    (rate / unit).round() * unit
}

/// A duration to one unit: `1 second`, `3 minutes`, `2 hours`.
fn duration(seconds: f64) -> String {
    let (count, unit) = match seconds {
        0.0..99.5 => (seconds.max(1.0).round(), "second"),
        99.5..5_970.0 => ((seconds / 60.0).round(), "minute"),
        _ => ((seconds / 3_600.0).round(), "hour"),
    };
    format!("{count} {unit}{}", if count == 1.0 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: Preview = Preview {
        requests_per_s: 500.0,
        canary_share: 0.01,
        hold_s: 600,
        error_rate: 0.002,
        alpha: 0.05,
        starts: 4.0,
        floor: 0.001,
        min_bad: 3,
        min_requests: 10,
    };

    #[test]
    fn requests_are_those_of_the_table() {
        for (ratio, requests) in [(2.0, 6_500.0), (3.0, 1_900.0), (5.0, 620.0), (26.0, 42.0)] {
            let found = requests_needed(ratio, 0.002, 0.05, 4.5);
            assert!((found / requests - 1.0).abs() < 0.04, "{ratio}: {found}");
        }
        assert_eq!(requests_needed(1.0, 0.002, 0.05, 4.0), f64::INFINITY);
        assert_eq!(requests_needed(2.0, 0.0, 0.05, 4.0), f64::INFINITY);
    }

    #[test]
    fn a_step_says_what_it_sees_and_what_it_cannot() {
        assert_eq!(SHOP.text(), "sees 0.2 % → 0.6 % in about 6 minutes; cannot see ×2 within the hold");
        let short = Preview { hold_s: 180, ..SHOP };
        assert_eq!(short.text(), "sees 0.2 % → 1 % in about 2 minutes; cannot see ×3 within the hold");
    }

    #[test]
    fn a_step_without_traffic_sees_nothing() {
        let idle = Preview { requests_per_s: 0.01, ..SHOP };
        assert_eq!(idle.smallest_visible(), None);
        assert_eq!(idle.text(), "cannot see anything within the hold: about 0 requests for the canary in 10 minutes");
    }

    #[test]
    fn the_floor_and_the_least_numbers_count() {
        let spotless = Preview { error_rate: 0.0, ..SHOP };
        let seen = spotless.smallest_visible().unwrap();
        assert!(seen > 0.001, "{seen}");
        assert!(spotless.text().starts_with("sees 0 % → "), "{}", spotless.text());
        assert_eq!(SHOP.requests_until(1.0), 10.0);
    }

    #[test]
    fn slower_answers_and_missing_outcomes_are_seen_too() {
        assert_eq!(
            SHOP.slow_text(0.99, true, Some("181 ms")),
            "sees 1 % → 1.8 % slower than p99 (181 ms) in about 8 minutes"
        );
        let brief = Preview { hold_s: 1, ..SHOP };
        assert_eq!(brief.slow_text(0.95, true, None), "cannot see slower answers within the hold");
        assert!(SHOP.slow_text(0.99, false, None).contains("1 % → 2.4 %"), "{}", SHOP.slow_text(0.99, false, None));
        let half = outcomes_needed(0.5, 0.05, 0.97, 0.05, 4.0);
        assert!((half / 670.0 - 1.0).abs() < 0.1, "{half}");
        assert_eq!(outcomes_needed(0.98, 0.05, 0.97, 0.05, 4.0), f64::INFINITY);
        assert!(outcomes_needed(0.0, 0.05, 0.97, 0.05, 4.0) < half / 2.0);
        let text = SHOP.outcome_text(0.05, 0.97, true);
        assert_eq!(text, "half as many in about 2 minutes, a tenth fewer cannot be seen within the hold");
        assert!(SHOP.outcome_text(0.05, 0.97, false).contains("half as many after 7"), "{text}");
    }

    #[test]
    fn durations_have_one_unit() {
        for (seconds, text) in [(0.2, "1 second"), (99.0, "99 seconds"), (180.0, "3 minutes"), (7_300.0, "2 hours")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
