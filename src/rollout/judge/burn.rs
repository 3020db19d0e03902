//! The error budget: how fast a cohort, both variants together, spends what its objective leaves.
//!
//! Absolute, so it also catches a canary that hurts stable as much as itself, and a shared dependency that fails.

use super::rules::{BurnRules, BurnWindow};
use super::tick::Tally;
use std::collections::VecDeque;

/// Cells of one window: a window is exact to one part in this.
pub const CELLS: u64 = 120;

/// Bad requests in the short window below which nothing is said: one failure of two requests is no burn.
const BAD_MIN: u64 = 3;

/// The windows of one cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnGate {
    pub(crate) budget: f64,
    pub(crate) pairs: Vec<Pair>,
}

/// What the windows say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurnReading {
    /// Which pair of windows, by its place in the rules.
    pub window: usize,
    /// How many times faster than allowed the budget goes, over the long window.
    pub long: f64,
    /// The same over the short one.
    pub short: f64,
    /// Whether both exceed what is allowed.
    pub fires: bool,
}

/// One pair of windows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    rules: BurnWindow,
    pub(crate) long: Window,
    pub(crate) short: Window,
}

/// What happened in the last seconds, in cells of equal length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    cell_s: u64,
    length: usize,
    /// The cell's number on the clock, with what happened in it.
    pub(crate) cells: VecDeque<(u64, Tally)>,
    pub(crate) sum: Tally,
}

impl BurnGate {
    /// Empty windows by these rules.
    pub fn new(rules: &BurnRules) -> BurnGate {
        let pair = |window: &BurnWindow| Pair {
            rules: *window,
            long: Window::new(window.long_s),
            short: Window::new(window.short_s),
        };
        BurnGate { budget: (1.0 - rules.slo).max(1e-9), pairs: rules.windows.iter().map(pair).collect() }
    }

    /// Errors among all requests of both variants in one tick.
    pub fn add(&mut self, at_s: u64, errors: Tally) {
        for pair in &mut self.pairs {
            pair.long.add(at_s, errors);
            pair.short.add(at_s, errors);
        }
    }

    /// The pair that fires, or else the one that is the closest to it; `None` without windows.
    pub fn reading(&self) -> Option<BurnReading> {
        let readings = self.pairs.iter().enumerate().map(|(window, pair)| {
            let (long, short) = (pair.long.sum.rate() / self.budget, pair.short.sum.rate() / self.budget);
            let fires = long > pair.rules.above && short > pair.rules.above && pair.short.sum.events >= BAD_MIN;
            (long.min(short) / pair.rules.above, BurnReading { window, long, short, fires })
        });
        let loudest = readings.max_by(|(a, one), (b, other)| {
            (one.fires, *a).partial_cmp(&(other.fires, *b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        loudest.map(|(_, reading)| reading)
    }
}

impl Window {
    fn new(length_s: u64) -> Window {
        let cell_s = length_s.div_ceil(CELLS).max(1);
        let length = length_s.div_ceil(cell_s).max(1) as usize;
        Window { cell_s, length, cells: VecDeque::new(), sum: Tally::default() }
    }

    pub(crate) fn add(&mut self, at_s: u64, errors: Tally) {
        let cell = at_s / self.cell_s;
        match self.cells.back_mut() {
            Some((last, tally)) if *last >= cell => tally.add(errors),
            _ => self.cells.push_back((cell, errors)),
        }
        self.sum.add(errors);
        let oldest = (cell + 1).saturating_sub(self.length as u64);
        while let Some((_, gone)) = self.cells.front().filter(|(at, _)| *at < oldest).copied() {
            self.cells.pop_front();
            self.sum.events = self.sum.events.saturating_sub(gone.events);
            self.sum.of = self.sum.of.saturating_sub(gone.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(windows: &[(u64, u64, f64)]) -> BurnGate {
        let windows = windows.iter().map(|(long_s, short_s, above)| BurnWindow {
            long_s: *long_s,
            short_s: *short_s,
            above: *above,
        });
        BurnGate::new(&BurnRules { slo: 0.999, windows: windows.collect(), ..BurnRules::default() })
    }

    fn run(gate: &mut BurnGate, from: u64, seconds: u64, bad: u64) {
        (from..from + seconds).for_each(|at_s| gate.add(at_s, Tally::new(bad, 1_000)));
    }

    #[test]
    fn both_windows_must_exceed() {
        let mut gate = gate(&[(600, 50, 8.64)]);
        run(&mut gate, 0, 600, 1);
        assert!(!gate.reading().unwrap().fires);
        run(&mut gate, 600, 60, 50);
        let reading = gate.reading().unwrap();
        assert!(reading.short > 49.0 && reading.long < 8.64 && !reading.fires);
        run(&mut gate, 660, 60, 50);
        assert!(gate.reading().unwrap().fires);
        run(&mut gate, 720, 60, 0);
        assert!(!gate.reading().unwrap().fires);
    }

    #[test]
    fn few_failures_of_few_requests_are_no_burn() {
        let mut gate = gate(&[(600, 50, 8.64)]);
        gate.add(0, Tally::new(2, 3));
        assert!(!gate.reading().unwrap().fires);
        gate.add(1, Tally::new(1, 1));
        assert!(gate.reading().unwrap().fires);
    }

    #[test]
    fn windows_of_days_are_small_and_forget() {
        let mut gate = gate(&[(259_200, 21_600, 1.0)]);
        run(&mut gate, 0, 100, 500);
        for at_s in (100..259_200 + 4_400).step_by(100) {
            gate.add(at_s, Tally::new(0, 1_000));
        }
        assert!(gate.pairs[0].long.cells.len() <= CELLS as usize);
        assert_eq!(gate.reading().unwrap().long, 0.0);
    }

    #[test]
    fn the_reading_is_of_the_pair_that_fires() {
        let mut gate = gate(&[(3_600, 300, 14.4), (600, 50, 8.64)]);
        run(&mut gate, 0, 60, 10);
        let reading = gate.reading().unwrap();
        assert_eq!((reading.window, reading.fires), (1, true));
    }
}
