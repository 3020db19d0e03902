//! What probes come to. Pure.

use super::super::asked::Word;
use super::exchange::Came;

/// Failures one after the other that are harm.
const FAILURES_MAX: u32 = 3;

/// Counts of a probe, and where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// By [`Came::index`].
    pub(super) of_to: [u64; Came::KINDS.len()],
    pub(super) of_from: [u64; Came::KINDS.len()],
    latest: Option<Latest>,
    /// Times in a row at which `to` failed and `from` did not.
    failures: u32,
    /// As sentences call it.
    name: String,
}

#[derive(Clone, Debug)]
enum Latest {
    Passed,
    Failed(String),
    /// Nothing that speaks of the release.
    Unclear(String),
}

impl Tally {
    /// Of a probe that sentences call so.
    pub(super) fn of(name: String) -> Tally {
        Tally { name, ..Tally::default() }
    }

    /// Takes in what came of a probe of `to` and, when it failed, of the same of `from`.
    pub(super) fn note(&mut self, came: Came, other: Option<Came>, from: &str) {
        self.of_to[came.index()] += 1;
        if let Some(other) = &other {
            self.of_from[other.index()] += 1;
        }
        let latest = match (came, other) {
            (Came::Passed, _) => Latest::Passed,
            (Came::Misrouted(text), _) => Latest::Unclear(text),
            (Came::Unexpected(text) | Came::Failed(text), Some(Came::Passed)) => Latest::Failed(text),
            (Came::Unexpected(text) | Came::Failed(text), _) => {
                Latest::Unclear(format!("{text}, and {from} does no better"))
            }
        };
        self.failures = match &latest {
            Latest::Passed => 0,
            Latest::Failed(_) => self.failures.saturating_add(1),
            Latest::Unclear(_) => self.failures,
        };
        self.latest = Some(latest);
    }

    pub(super) fn passed(&self) -> u64 {
        self.of_to[Came::Passed.index()]
    }

    /// Where it stands is not known any more.
    pub(super) fn forget(&mut self) {
        (self.latest, self.failures) = (None, 0);
    }

    /// What it says now, with a sentence.
    pub(super) fn word(&self) -> (Word, String) {
        let name = &self.name;
        match &self.latest {
            None => (Word::Waiting, format!("the probe {name} was not answered yet")),
            Some(Latest::Passed) => (Word::Pass, format!("the probe {name} passed, {} so far", self.passed())),
            Some(Latest::Unclear(text)) => (Word::Unknown, format!("the probe {name} says nothing: {text}")),
            Some(Latest::Failed(text)) if self.failures >= FAILURES_MAX => {
                (Word::Harm, format!("the probe {name} failed {} times in a row: {text}", self.failures))
            }
            Some(Latest::Failed(text)) => (Word::Unknown, format!("the probe {name} failed: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unexpected() -> Came {
        Came::Unexpected("canary answered 500, not 200 to 399".to_owned())
    }

    #[test]
    fn only_failures_in_a_row_that_the_other_version_does_not_share_are_harm() {
        let mut tally = Tally::of("GET /checkout of beta".to_owned());
        let mut word = |came: Came, other: Option<Came>| {
            tally.note(came, other, "stable");
            tally.word()
        };
        assert_eq!(word(Came::Passed, None).0, Word::Pass);
        assert_eq!(word(unexpected(), Some(Came::Passed)).0, Word::Unknown);
        assert_eq!(word(unexpected(), Some(Came::Passed)).0, Word::Unknown);
        assert_eq!(word(Came::Passed, None).0, Word::Pass);
        for _ in 0..5 {
            let (unknown, text) = word(unexpected(), Some(unexpected()));
            assert_eq!(unknown, Word::Unknown);
            assert!(text.ends_with("canary answered 500, not 200 to 399, and stable does no better"), "{text}");
        }
        word(unexpected(), Some(Came::Passed));
        word(unexpected(), Some(Came::Passed));
        let harm = "the probe GET /checkout of beta failed 3 times in a row: canary answered 500, not 200 to 399";
        assert_eq!(word(unexpected(), Some(Came::Passed)), (Word::Harm, harm.to_owned()));
        assert_eq!(word(Came::Misrouted("x".to_owned()), None).0, Word::Unknown);
        assert_eq!((tally.of_to, tally.of_from), ([2, 10, 0, 1], [5, 5, 0, 0]));
        tally.forget();
        assert_eq!((tally.word().0, tally.passed()), (Word::Waiting, 2));
    }
}
