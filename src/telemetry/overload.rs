//! How short of memory the process is: said by the control thread, asked by workers for each request with one load.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How short of memory the process is. Each stage does what the ones before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// There is enough.
    #[default]
    Ease = 0,
    /// HTTP/1.1 connections are closed after their answer.
    Tight = 1,
    /// New requests are answered with 503.
    Short = 2,
    /// Answers are broken off, those first that hold the most.
    Out = 3,
}

/// The stage of now, shared by all threads.
#[derive(Debug, Default)]
pub struct Overload {
    stage: AtomicU8,
}

/// Percent of the limit at which a stage begins.
const BEGINS: [(Stage, u64); 3] = [(Stage::Tight, 85), (Stage::Short, 92), (Stage::Out, 97)];
/// A stage ends that many percent below where it began, so that it does not come and go.
const EASES: u64 = 3;

impl Stage {
    /// The stage after this one, with so many bytes of the limit in use.
    pub fn next(self, used: u64, limit: u64) -> Stage {
        let percent = used.saturating_mul(100) / limit.max(1);
        let is_on = |(stage, begins): (Stage, u64)| {
            let least = if self >= stage { begins - EASES } else { begins };
            (percent >= least).then_some(stage)
        };
        BEGINS.into_iter().rev().find_map(is_on).unwrap_or_default()
    }
}

impl Overload {
    /// The stage of now.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Ease,
            1 => Stage::Tight,
            2 => Stage::Short,
            _ => Stage::Out,
        }
    }

    /// Sets the stage.
    pub fn set(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_begin_where_they_should_and_end_a_little_below() {
        let story = [
            (0, Stage::Ease),
            (84, Stage::Ease),
            (85, Stage::Tight),
            (83, Stage::Tight),
            (82, Stage::Tight),
            (81, Stage::Ease),
            (84, Stage::Ease),
            (97, Stage::Out),
            (95, Stage::Out),
            (93, Stage::Short),
            (89, Stage::Short),
            (88, Stage::Tight),
            (100, Stage::Out),
            (10, Stage::Ease),
        ];
        let overload = Overload::default();
        for (percent, expected) in story {
            overload.set(overload.stage().next(percent << 20, 100 << 20));
            assert_eq!(overload.stage(), expected, "{percent} %");
        }
        assert_eq!(Stage::Ease.next(u64::MAX, 0), Stage::Out);
    }
}
