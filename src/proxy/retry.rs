//! Sending a request again after it failed: only where that is harmless, seldom, and not at once.
//!
//! What a request counts for is its first attempt: a variant that fails every first attempt is a bad one, however many
//! of its users are saved by the second.

use http::{HeaderMap, header};
use std::pin::pin;
use std::time::{Duration, Instant};

use super::error::ProxyError;
use super::record::Record;
use super::send::{Attempt, Outgoing, Sending, within};
use crate::config::schema::RetryOn;
use crate::model::{Failure, FallbackCause, Outcome, RetryResult};
use crate::routing::resilience::Retry;
use crate::telemetry::Slot;
use crate::upstream::{Answered, RetryBudget};

type Tried = Result<Answered, ProxyError>;

/// Sends a request, and sends it again for what the route says. Gives the last answer.
pub(super) async fn send<'r>(
    sending: &Sending<'r>,
    outgoing: &mut Outgoing<'r>,
    attempt: &mut Attempt,
    retry: &Retry,
    record: &mut Record,
) -> Tried {
    let decision = sending.decision;
    let shard = &sending.connection.worker.shard;
    let budget = budget(sending, decision.variant);
    budget.note_request(sending.started);
    attempt.timeout = retry.per_try.filter(|_| outgoing.is_repeatable());
    // as it was before anything of a variant was written into it
    let original = (retry.across_variants && attempt.standby(decision).is_some())
        .then(|| (outgoing.head.clone(), outgoing.additions.clone()));
    let mut failures = 0;
    loop {
        let answered = attempt.run(sending, outgoing, record).await;
        let slot = slot(sending, attempt.variant);
        let failed = failure(&answered);
        if failures > 0 {
            shard.retried(slot, if failed.is_some() { RetryResult::Failure } else { RetryResult::Success });
        }
        let Some(what) = failed else { return answered };
        failures += 1;
        let is_safe = what == RetryOn::Connect || outgoing.is_repeatable();
        let wait = wait(retry, failures, &answered);
        let (true, Some(wait)) = (is_safe && failures <= retry.attempts && retry.is_on(what), wait) else {
            return answered;
        };
        if !budget.spend(retry.share, Instant::now()) {
            shard.retried(slot, RetryResult::NoBudget);
            return answered;
        }
        let standby = attempt.standby(decision).filter(|_| retry.across_variants);
        if standby.is_none() {
            record.first_attempt(outcome(&answered));
        }
        record.try_again();
        let (_, what_failed) = outcome(&answered);
        if let Ok(answer) = answered {
            answer.body.discard().await;
        }
        within(pin!(tokio::time::sleep(wait)), None, sending.deadline, None).await?;
        attempt.tries_any = what == RetryOn::Connect;
        if let (Some(standby), Some((head, additions))) = (standby, &original) {
            *outgoing.head = head.clone();
            outgoing.additions = additions.clone();
            attempt.made_for = None;
            attempt.fall_back(sending, standby, FallbackCause::Retry, what_failed, record);
        }
    }
}

fn budget<'s>(sending: &Sending<'s>, variant: usize) -> &'s RetryBudget {
    &sending.decision.service.variants[variant].upstream.load().retries
}

fn slot(sending: &Sending<'_>, variant: usize) -> Slot {
    sending.decision.service.cohorts[sending.decision.cohort].slots[variant]
}

/// What failed, if it is something that may be tried again.
fn failure(answered: &Tried) -> Option<RetryOn> {
    match answered {
        Ok(answer) => match answer.head.status.as_u16() {
            502 => Some(RetryOn::Status502),
            503 => Some(RetryOn::Status503),
            504 => Some(RetryOn::Status504),
            _ => None,
        },
        Err(ProxyError::NoEndpoint(
            FallbackCause::Connect | FallbackCause::ConnectTimeout | FallbackCause::Ejected | FallbackCause::Tls,
        )) => Some(RetryOn::Connect),
        Err(ProxyError::Reset) => Some(RetryOn::Reset),
        Err(ProxyError::AnswerTimeout) => Some(RetryOn::Timeout),
        Err(_) => None,
    }
}

fn outcome(answered: &Tried) -> (Outcome, Failure) {
    match answered {
        Ok(answer) => (Outcome::of_status(answer.head.status.as_u16()), Failure::Status5xx),
        Err(error) => (error.outcome(), error.failure()),
    }
}

/// How long to wait before the next attempt; `None` when the service asks for more than anybody wants to wait.
///
/// A random part of the backoff ("full jitter"), so that those who failed together do not come back together.
fn wait(retry: &Retry, failures: u32, answered: &Tried) -> Option<Duration> {
    let most = retry.backoff(failures);
    let jittered = Duration::from_micros(fastrand::u64(..=most.as_micros() as u64));
    match answered.as_ref().ok().and_then(|answer| retry_after(&answer.head.headers)) {
        Some(wished) if wished > retry.backoff_max => None,
        Some(wished) => Some(jittered.max(wished)),
        None => Some(jittered),
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). A date is longer than anybody wants to wait.
fn retry_after(lines: &HeaderMap) -> Option<Duration> {
    let value = lines.get(header::RETRY_AFTER)?;
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    Some(seconds.map_or(Duration::MAX, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_waited_and_dates_are_not() {
        let lines = |value: &str| HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(retry_after(&lines("0")), Some(Duration::ZERO));
        assert_eq!(retry_after(&lines(" 3 ")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(&lines("Wed, 21 Oct 2026 07:28:00 GMT")), Some(Duration::MAX));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
