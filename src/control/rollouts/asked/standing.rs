//! What a gate's answers come to. Pure: the time is an argument.

use std::time::{Duration, Instant};

use crate::control::outside::TIME_MAX;

/// Errors one after the other that make a gate unknown.
pub(super) const ERRORS_MAX: u32 = 4;

/// What a question came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// As it should be; what was answered.
    Pass(String),
    /// As it should not be; what was answered.
    Harm(String),
    /// No answer, or none that says anything; why.
    Error(String),
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control::rollouts) enum Word {
    Pass,
    Harm,
    /// It was not answered yet.
    Waiting,
    /// Its source fails.
    Unknown,
}

/// The latest answer, and what went wrong since.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    answer: Option<(Instant, bool, String)>,
    errors: u32,
    error: String,
}

impl Word {
    /// The graver of several is shown.
    pub(in crate::control::rollouts) fn gravity(self) -> u8 {
        match self {
            Word::Pass => 0,
            Word::Waiting => 1,
            Word::Unknown => 2,
            Word::Harm => 3,
        }
    }

    pub(in crate::control::rollouts) fn as_str(self) -> &'static str {
        match self {
            Word::Pass => "pass",
            Word::Harm => "harm",
            Word::Waiting => "waiting",
            Word::Unknown => "unknown",
        }
    }
}

impl Standing {
    /// Takes in an answer; says whether it was an error.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) -> bool {
        match heard {
            Heard::Pass(text) => (self.answer, self.errors) = (Some((now, true, text)), 0),
            Heard::Harm(text) => (self.answer, self.errors) = (Some((now, false, text)), 0),
            Heard::Error(why) => {
                self.errors = self.errors.saturating_add(1);
                self.error = why;
            }
        }
        self.errors > 0
    }

    /// What a gate that is asked so often says now, with a sentence.
    pub(super) fn word(&self, name: &str, every: Duration, now: Instant) -> (Word, String) {
        // a question may take its time beyond the two intervals
        let too_old = every * 2 + TIME_MAX;
        let since = if self.errors > 0 { format!(": {}", self.error) } else { String::new() };
        match &self.answer {
            _ if self.errors >= ERRORS_MAX => {
                let errors = self.errors;
                (Word::Unknown, format!("the gate {name} was asked {errors} times without an answer{since}"))
            }
            Some((at, _, _)) if now.saturating_duration_since(*at) > too_old => {
                let age = now.saturating_duration_since(*at).as_secs();
                (Word::Unknown, format!("the gate {name} has had no answer for {age} s{since}"))
            }
            Some((_, true, text)) => (Word::Pass, format!("the gate {name} answered {text}")),
            Some((_, false, text)) => (Word::Harm, format!("the gate {name} answered {text}")),
            None => (Word::Waiting, format!("the gate {name} was not answered yet{since}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn error() -> Heard {
        Heard::Error("no connection to prometheus".to_owned())
    }

    #[test]
    fn a_source_that_fails_is_unknown_and_neither_pass_nor_harm() {
        let began = Instant::now();
        let mut standing = Standing::default();
        let word = |standing: &Standing, seconds| standing.word("memory", EVERY, began + Duration::from_secs(seconds));
        assert_eq!(word(&standing, 0).0, Word::Waiting);
        standing.hear(Heard::Pass("1.4, which is < 2".to_owned()), began);
        for errors in 1..ERRORS_MAX {
            assert!(standing.hear(error(), began));
            assert_eq!(word(&standing, 10).0, Word::Pass, "{errors} errors");
        }
        standing.hear(error(), began);
        let (unknown, text) = word(&standing, 10);
        assert_eq!(unknown, Word::Unknown);
        assert_eq!(text, "the gate memory was asked 4 times without an answer: no connection to prometheus");
        assert!(!standing.hear(Heard::Harm("2.4, which is not < 2".to_owned()), began));
        assert_eq!(word(&standing, 10), (Word::Harm, "the gate memory answered 2.4, which is not < 2".to_owned()));
    }

    #[test]
    fn an_answer_that_is_too_old_says_nothing() {
        let began = Instant::now();
        for heard in [Heard::Pass(String::new()), Heard::Harm(String::new())] {
            let mut standing = Standing::default();
            standing.hear(heard, began);
            let word = |seconds| standing.word("memory", EVERY, began + Duration::from_secs(seconds)).0;
            assert_ne!(word(65), Word::Unknown);
            assert_eq!(word(66), Word::Unknown);
        }
    }

    #[test]
    fn a_gate_that_was_never_answered_becomes_unknown_too() {
        let began = Instant::now();
        let mut standing = Standing::default();
        let words: Vec<Word> = (0..5)
            .map(|_| {
                standing.hear(error(), began);
                standing.word("memory", EVERY, began).0
            })
            .collect();
        assert_eq!(words, [Word::Waiting, Word::Waiting, Word::Waiting, Word::Unknown, Word::Unknown]);
    }
}
