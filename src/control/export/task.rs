//! The task that sends spans.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver as Queue;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::answer::{Verdict, verdict};
use super::batch::Batch;
use super::receiver::Receiver;
use crate::control::notify::{Patience, pause};
use crate::control::outside::Outside;
use crate::telemetry::spans::Encoded;

/// How the task keeps time.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Pace {
    /// How often it looks into the queue.
    pub(in crate::control) look: Duration,
    /// The longest that a span waits for others.
    pub(in crate::control) age_max: Duration,
    /// How long it tries to send what is not taken.
    pub(in crate::control) patience: Patience,
}

/// What the loop may change while the task is at work.
pub(super) struct Shared {
    pub(super) receiver: Receiver,
    pub(super) outside: Outside,
    pub(super) counts: Counts,
    /// Nothing comes any more: the task sends what waits, and ends.
    pub(super) is_closing: bool,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) exported: u64,
    /// The receiver took their batch, and not them.
    pub(super) rejected: u64,
    /// The receiver refused their batch, or it was given up.
    pub(super) failed: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(15));
        let patience = Patience { first, most, give_up_after: Duration::from_secs(60) };
        Pace { look: Duration::from_millis(100), age_max: Duration::from_secs(5), patience }
    }
}

impl Shared {
    pub(super) fn new(receiver: Receiver, outside: Outside) -> Shared {
        Shared { receiver, outside, counts: Counts::default(), is_closing: false }
    }
}

/// Sends what comes until it is told that nothing comes any more.
pub(super) async fn export_all(shared: Arc<Mutex<Shared>>, mut queue: Queue<Encoded>, pace: Pace) {
    let mut look = interval(pace.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut batch, mut is_well) = (Batch::default(), true);
    loop {
        // read before the queue is: what was in it by then is sent
        let is_closing = with(&shared, |shared| shared.is_closing);
        while !batch.is_full()
            && let Ok(span) = queue.try_recv()
        {
            batch.push(&span);
        }
        let is_old = batch.since.is_some_and(|since| since.elapsed() >= pace.age_max);
        if batch.is_full() || (!batch.is_empty() && (is_old || is_closing)) {
            send(&shared, std::mem::take(&mut batch), &pace.patience, &mut is_well).await;
        } else if is_closing {
            return;
        } else {
            look.tick().await;
        }
    }
}

/// Tries until a batch is taken, or there is no sense in it. The log is told when that changes, not of each batch.
async fn send(shared: &Mutex<Shared>, batch: Batch, patience: &Patience, is_well: &mut bool) {
    let (began, mut attempts) = (Instant::now(), 0);
    loop {
        let (receiver, outside) = with(shared, |shared| (shared.receiver.clone(), shared.outside.clone()));
        attempts += 1;
        let verdict = verdict(&outside.ask(receiver.ask(batch.bytes())).await);
        let is_over = began.elapsed() >= patience.give_up_after;
        match verdict {
            Verdict::Taken { rejected, why } => {
                let rejected = rejected.min(batch.count);
                with(shared, |shared| {
                    shared.counts.exported += batch.count - rejected;
                    shared.counts.rejected += rejected;
                });
                tell_taken(rejected, &why, is_well);
                return;
            }
            Verdict::Again { why, not_before } if !is_over => {
                if std::mem::replace(is_well, false) {
                    tracing::warn!(why, "spans are not taken; it is tried again");
                }
                wait(shared, pause(patience, attempts, fastrand::f64()).max(not_before)).await;
            }
            Verdict::Again { why, .. } | Verdict::Refused { why } => {
                with(shared, |shared| shared.counts.failed += batch.count);
                if std::mem::replace(is_well, false) || attempts > 1 {
                    tracing::error!(spans = batch.count, attempts, why, "spans are lost");
                }
                return;
            }
        }
    }
}

fn tell_taken(rejected: u64, why: &str, is_well: &mut bool) {
    let was_well = std::mem::replace(is_well, rejected == 0);
    match (was_well, rejected) {
        (false, 0) => tracing::info!("spans are taken again"),
        (true, 1..) => tracing::warn!(rejected, why, "the receiver of traces does not take some spans"),
        _ => {}
    }
}

/// A pause between two attempts, which is cut short when the process ends.
async fn wait(shared: &Mutex<Shared>, pause: Duration) {
    const LOOK: Duration = Duration::from_millis(100);
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let is_closing = with(shared, |shared| shared.is_closing);
        // one more attempt, and then as often as there is time for
        let left = if is_closing { left.min(LOOK) } else { left };
        sleep(left.min(LOOK)).await;
        if left <= LOOK {
            return;
        }
    }
}

fn with<T>(shared: &Mutex<Shared>, act: impl FnOnce(&mut Shared) -> T) -> T {
    act(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}
