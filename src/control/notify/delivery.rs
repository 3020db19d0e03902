//! What became of a delivery, and when it is tried again.

use std::time::Duration;

use crate::control::outside::{Answered, Failed};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Another attempt may help, this long later at the earliest.
    Again {
        why: String,
        not_before: Duration,
    },
    /// None will.
    Refused {
        why: String,
    },
}

/// How patient a line is.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Patience {
    /// Before the second attempt.
    pub(in crate::control) first: Duration,
    /// Between attempts at most.
    pub(in crate::control) most: Duration,
    /// What is older is given up after an attempt.
    pub(in crate::control) give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(60));
        Patience { first, most, give_up_after: Duration::from_secs(3_600) }
    }
}

/// Judges what came back.
pub(crate) fn verdict(answered: &Result<Answered, Failed>) -> Verdict {
    let answered = match answered {
        Ok(answered) => answered,
        Err(failed) if failed.is_final() => return Verdict::Refused { why: failed.to_string() },
        Err(failed) => return Verdict::Again { why: failed.to_string(), not_before: Duration::ZERO },
    };
    let why = || answered.complaint(&answered.body);
    match answered.status {
        200..=299 => Verdict::Delivered,
        408 | 425 | 429 | 500..=599 => {
            Verdict::Again { why: why(), not_before: answered.retry_after.unwrap_or_default() }
        }
        _ => Verdict::Refused { why: why() },
    }
}

/// The pause before the next attempt after so many: twice as long each time, by chance up to half of it less.
pub(in crate::control) fn pause(patience: &Patience, attempts: u32, chance: f64) -> Duration {
    let doubled = patience.first.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(patience.most).mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn what_may_go_well_later_is_tried_again() {
        let answered = |status| {
            let body = Bytes::from_static(b"no_service\x1b[2J");
            Ok(Answered { status, retry_after: Some(Duration::from_secs(7)), body, is_cut: false })
        };
        let refused = |why: &str| Verdict::Refused { why: why.to_owned() };
        assert_eq!(verdict(&answered(202)), Verdict::Delivered);
        for status in [408, 425, 429, 500, 503] {
            let again = verdict(&answered(status));
            assert!(matches!(again, Verdict::Again { not_before, .. } if not_before.as_secs() == 7), "{again:?}");
        }
        for status in [301, 400, 401, 403, 404, 410] {
            assert!(matches!(verdict(&answered(status)), Verdict::Refused { .. }), "{status}");
        }
        assert!(!format!("{:?}", verdict(&answered(404))).contains('\u{1b}'));
        let host = || "a".to_owned();
        assert!(matches!(verdict(&Err(Failed::Connect { host: host() })), Verdict::Again { .. }));
        assert_eq!(verdict(&Err(Failed::NotUrl)), refused("the address is not an absolute http or https URL"));
    }

    #[test]
    fn pauses_double_to_a_limit_and_no_two_processes_keep_time() {
        let patience = Patience::default();
        let pauses: Vec<u64> = (1..9).map(|attempts| pause(&patience, attempts, 0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(&patience, 7, 1.0).as_secs(), 30);
        assert_eq!(pause(&patience, 1_000, 0.5).as_secs(), 45);
    }
}
