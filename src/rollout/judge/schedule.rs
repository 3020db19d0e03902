//! When the tests begin anew, and with how much of the whole.

/// Restarts come this long after a step began, and then each time after twice as long.
const FIRST_RESTART_S: u64 = 300;

/// What the first step of several gets of the whole.
const FIRST_STEP: f64 = 0.8;

/// What the beginning of a step gets of the step's part.
const FIRST_PART: f64 = 0.8;

/// Restarts within a step: 5, 10, 20, 40, 80, 160 minutes after it began.
pub const RESTARTS_MAX: u32 = 6;

/// Spreads the evidence over the starts: the first step has four fifths, as most of what is wrong is wrong from the first
/// second, and the others share the rest evenly. Of a step's part its beginning gets four fifths, and the restarts
/// within it a tenth, a twentieth, and so on.
///
/// A test that only ever began once would have to win back what a long healthy time took from it, before it could
/// notice a canary that turns bad late. What a step leaves over is for later ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub(crate) steps_left: u32,
    pub(crate) stake: f64,
    pub(crate) step_part: f64,
    pub(crate) began_s: u64,
    pub(crate) restarts: u32,
}

impl Schedule {
    /// For so many steps; 0 counts as 1.
    pub fn new(steps: u32) -> Schedule {
        Schedule { steps_left: steps.max(1), stake: 1.0, step_part: 0.0, began_s: 0, restarts: RESTARTS_MAX }
    }

    /// A step begins: the weight of its start. More steps than planned share what is left, half of it each time.
    pub fn begin_step(&mut self, at_s: u64) -> f64 {
        let part = match (self.steps_left, self.stake) {
            (0, left) => left / 2.0,
            (1, left) => left,
            // nothing has begun yet
            (_, 1.0) => FIRST_STEP,
            (steps, left) => left / f64::from(steps),
        };
        self.steps_left = self.steps_left.saturating_sub(1);
        (self.step_part, self.began_s, self.restarts) = (part, at_s, 0);
        self.spend(FIRST_PART * part)
    }

    /// The weight of a restart, if one is due.
    pub fn restart(&mut self, at_s: u64) -> Option<f64> {
        let due_s = FIRST_RESTART_S << self.restarts.min(RESTARTS_MAX);
        if self.restarts >= RESTARTS_MAX || at_s.saturating_sub(self.began_s) < due_s {
            return None;
        }
        self.restarts += 1;
        Some(self.spend((1.0 - FIRST_PART) * self.step_part / f64::from(1u32 << self.restarts)))
    }

    fn spend(&mut self, weight: f64) -> f64 {
        let weight = weight.min(self.stake);
        self.stake -= weight;
        weight
    }
}

/// Among how many starts the evidence of a step is spread (from 0), for the preview: one over the weight of its
/// beginning, when no restart came before it.
pub fn starts_of_step(step: u32, steps: u32) -> f64 {
    let mut schedule = Schedule::new(steps);
    let weight = (0..=step.min(steps.max(1) - 1)).map(|_| schedule.begin_step(0)).last();
    1.0 / weight.unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_plan_of_one_step_gives_most_to_its_beginning() {
        let mut schedule = Schedule::new(1);
        assert_eq!(schedule.begin_step(100), 0.8);
        assert_eq!(schedule.restart(399), None);
        assert!(schedule.restart(400).is_some_and(|weight| (weight - 0.1).abs() < 1e-12));
        assert_eq!(schedule.restart(699), None);
        assert!(schedule.restart(700).is_some_and(|weight| (weight - 0.05).abs() < 1e-12));
    }

    #[test]
    fn the_first_step_gets_most_and_what_is_left_over_is_for_later_ones() {
        let mut schedule = Schedule::new(4);
        let weights = [0, 60, 120, 180].map(|at_s| schedule.begin_step(at_s));
        // the second: a third of the 0.36 that the first has left, and four fifths of that
        for (weight, expected) in weights.into_iter().zip([0.64, 0.096, 0.1056, 0.126_72]) {
            assert!((weight - expected).abs() < 1e-12, "{weights:?}");
        }
        for (step, weight) in (0..).zip(weights) {
            assert!((starts_of_step(step, 4) * weight - 1.0).abs() < 1e-12);
        }
        assert!((starts_of_step(9, 1) - 1.25).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn weights_never_exceed_the_whole(steps in 0u32..20, lengths in proptest::collection::vec(0u64..40_000, 1..40)) {
            let (mut schedule, mut sum, mut now) = (Schedule::new(steps), 0.0, 0);
            for length in lengths {
                let weight = schedule.begin_step(now);
                prop_assert!(weight > 0.0);
                sum += weight;
                for at in (0..length).step_by(50) {
                    sum += schedule.restart(now + at).unwrap_or_default();
                }
                now += length;
            }
            prop_assert!(sum <= 1.0 + 1e-9 && (sum + schedule.stake - 1.0).abs() < 1e-9);
        }
    }
}
