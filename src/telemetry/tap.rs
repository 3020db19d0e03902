//! Finished requests for who wants to see them pass by, and the last failing ones of a release that is watched.
//!
//! ```text
//! worker: is anybody there? (one relaxed load) → filter → budget of this second → bounded channel → who listens
//! ```
//!
//! While nobody is there, nothing is gathered and nothing is copied. No request waits for a listener: what has no room or
//! no budget is dropped and counted. Secrets, cookies, query strings and user keys have no field here, as in the access
//! log.

use super::Slot;
use super::access_log::Entry;
use crate::model::Outcome;
use arc_swap::ArcSwap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Listeners at once; further ones are refused.
pub const LISTENERS_MAX: usize = 16;
/// Requests that wait for one listener.
pub const WAITING_MAX: usize = 1_024;
/// The longest text of a request that is told, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Somebody listens.
const LISTENED: u32 = 1;
/// Failing requests of some slots are kept.
const SAMPLED: u32 = 2;

/// Where finished requests pass by. Shared by all workers.
#[derive(Debug, Default)]
pub struct Tap {
    flags: AtomicU32,
    listeners: ArcSwap<Vec<Arc<Listener>>>,
    sampled: ArcSwap<Vec<Slot>>,
    /// One at a time changes who listens.
    changing: Mutex<()>,
}

/// A request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// When it arrived, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The service; empty when it got to none.
    pub service: String,
    /// The cohort.
    pub cohort: String,
    /// The variant.
    pub variant: String,
    /// Why it got the variant.
    pub reason: &'static str,
    /// The method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The status that was sent; 0 for none.
    pub status: u16,
    /// Response flags.
    pub flags: String,
    /// From its first byte to the last of the answer, in microseconds.
    pub duration_us: u64,
    /// The trace id.
    pub trace: String,
    /// The request id.
    pub request_id: String,
    /// The user's bucket.
    pub bucket: Option<u32>,
}

/// Which requests somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this service.
    pub service: Option<String>,
    /// Of this cohort.
    pub cohort: Option<String>,
    /// Of this variant.
    pub variant: Option<String>,
    /// With such a status.
    pub status: Option<RangeInclusive<u16>>,
    /// Only those for which a variant or Ringway is to blame.
    pub only_failed: bool,
}

#[derive(Debug)]
struct Listener {
    filter: Filter,
    /// How many more it takes in this second.
    budget: AtomicU32,
    dropped: AtomicU64,
    passed: mpsc::Sender<Passed>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listening {
    tap: Arc<Tap>,
    listener: Arc<Listener>,
    rate: u32,
    passed: mpsc::Receiver<Passed>,
}

impl Tap {
    /// True when each request must be described, because somebody listens.
    pub fn is_listened(&self) -> bool {
        self.flags.load(Relaxed) & LISTENED != 0
    }

    /// True when requests of this slot must be described, because failing ones are kept.
    pub fn is_sampled(&self, slot: Slot) -> bool {
        self.flags.load(Relaxed) & SAMPLED != 0 && self.sampled.load().contains(&slot)
    }

    /// Tells a finished request to those who want it. Never waits.
    pub fn tell(&self, entry: &Entry<'_>, outcome: Outcome) {
        if self.flags.load(Relaxed) == 0 {
            return;
        }
        for listener in self.listeners.load().iter().filter(|listener| listener.filter.wants(entry, outcome)) {
            listener.offer(entry);
        }
    }

    /// Listens, to at most `rate` requests between two calls of [`Listening::refill`]. `None` when there are
    /// [`LISTENERS_MAX`] already.
    pub fn listen(self: &Arc<Tap>, filter: Filter, rate: u32) -> Option<Listening> {
        self.add(filter, rate, LISTENERS_MAX)
    }

    /// Listens to failing requests of the slots of [`Tap::sample`] alone; there is always room for it.
    pub fn listen_to_samples(self: &Arc<Tap>, rate: u32) -> Option<Listening> {
        let only_failed = Filter { only_failed: true, ..Filter::default() };
        self.add(only_failed, rate, LISTENERS_MAX + 1)
    }

    /// The slots of which failing requests are kept from now on.
    pub fn sample(&self, slots: Vec<Slot>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if **self.sampled.load() == slots {
            return;
        }
        let flag = if slots.is_empty() { 0 } else { SAMPLED };
        self.sampled.store(Arc::new(slots));
        self.flags.store((self.flags.load(Relaxed) & LISTENED) | flag, Relaxed);
    }

    fn add(self: &Arc<Tap>, filter: Filter, rate: u32, most: usize) -> Option<Listening> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listeners = Vec::clone(&self.listeners.load());
        if listeners.len() >= most {
            return None;
        }
        let (sender, passed) = mpsc::channel(WAITING_MAX);
        let listener =
            Arc::new(Listener { filter, budget: AtomicU32::new(rate), dropped: AtomicU64::new(0), passed: sender });
        listeners.push(Arc::clone(&listener));
        self.put(listeners);
        Some(Listening { tap: Arc::clone(self), listener, rate, passed })
    }

    fn remove(&self, gone: &Arc<Listener>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listeners = Vec::clone(&self.listeners.load());
        listeners.retain(|listener| !Arc::ptr_eq(listener, gone));
        self.put(listeners);
    }

    fn put(&self, listeners: Vec<Arc<Listener>>) {
        // who listens to samples alone needs no other request
        let is_listened = listeners.iter().any(|listener| !listener.filter.only_failed);
        self.listeners.store(Arc::new(listeners));
        let flag = if is_listened { LISTENED } else { 0 };
        self.flags.store((self.flags.load(Relaxed) & SAMPLED) | flag, Relaxed);
    }
}

impl Filter {
    fn wants(&self, entry: &Entry<'_>, outcome: Outcome) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is(&self.service, entry.service)
            && is(&self.cohort, entry.cohort)
            && is(&self.variant, entry.variant)
            && self.status.as_ref().is_none_or(|wanted| wanted.contains(&entry.status))
            && (!self.only_failed || matches!(outcome, Outcome::Error | Outcome::Internal))
    }
}

impl Listener {
    fn offer(&self, entry: &Entry<'_>) {
        let has_budget = self.budget.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if !has_budget || self.passed.try_send(Passed::of(entry)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Passed {
    fn of(entry: &Entry<'_>) -> Passed {
        Passed {
            unix_ms: entry.unix_ms,
            service: entry.service.to_owned(),
            cohort: entry.cohort.to_owned(),
            variant: entry.variant.to_owned(),
            reason: entry.reason.map_or("", |reason| reason.as_str()),
            method: text(entry.method.as_bytes(), 32),
            path: text(entry.path.split(['?', '#']).next().unwrap_or_default().as_bytes(), TEXT_BYTES_MAX),
            status: entry.status,
            flags: entry.flags.to_owned(),
            duration_us: entry.duration_us,
            trace: text(entry.trace_id, 32),
            request_id: text(entry.request_id, 128),
            bucket: entry.bucket,
        }
    }
}

/// Of whatever bytes a client sent: at most so many, and none that steer a terminal.
fn text(bytes: &[u8], most: usize) -> String {
    let cut = &bytes[..bytes.len().min(most)];
    String::from_utf8_lossy(cut).chars().map(|c| if crate::model::is_deceiving(c) { '\u{fffd}' } else { c }).collect()
}

impl Listening {
    /// The next request; for ever nothing while none comes.
    pub async fn next(&mut self) -> Option<Passed> {
        self.passed.recv().await
    }

    /// A request that is there already.
    pub fn try_next(&mut self) -> Option<Passed> {
        self.passed.try_recv().ok()
    }

    /// Another second begins. Returns how many were dropped since the last one.
    pub fn refill(&self) -> u64 {
        self.listener.budget.store(self.rate, Relaxed);
        self.listener.dropped.swap(0, Relaxed)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.tap.remove(&self.listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(variant: &'static str, status: u16) -> Entry<'static> {
        Entry { service: "shop", variant, status, path: "/cart?token=secret", ..Entry::default() }
    }

    fn drain(listening: &mut Listening) -> Vec<u16> {
        std::iter::from_fn(|| listening.try_next()).map(|passed| passed.status).collect()
    }

    #[test]
    fn nothing_is_gathered_while_nobody_listens() {
        let tap = Arc::new(Tap::default());
        assert!(!tap.is_listened());
        let listening = tap.listen(Filter::default(), 10).unwrap();
        assert!(tap.is_listened());
        drop(listening);
        assert!(!tap.is_listened());
    }

    #[test]
    fn a_listener_gets_what_it_wants_without_the_query() {
        let tap = Arc::new(Tap::default());
        let filter = Filter { variant: Some("canary".into()), status: Some(500..=599), ..Filter::default() };
        let mut listening = tap.listen(filter, 10).unwrap();
        tap.tell(&entry("stable", 500), Outcome::Error);
        tap.tell(&entry("canary", 200), Outcome::Success);
        tap.tell(&entry("canary", 503), Outcome::Error);
        let passed = listening.try_next().unwrap();
        assert_eq!((passed.status, passed.path.as_str()), (503, "/cart"));
        assert_eq!(listening.try_next(), None);
    }

    #[test]
    fn what_is_beyond_the_rate_or_the_room_is_dropped_and_counted() {
        let tap = Arc::new(Tap::default());
        let mut listening = tap.listen(Filter::default(), 3).unwrap();
        (0..10).for_each(|_| tap.tell(&entry("canary", 200), Outcome::Success));
        assert_eq!((drain(&mut listening).len(), listening.refill()), (3, 7));
        tap.tell(&entry("canary", 201), Outcome::Success);
        assert_eq!((drain(&mut listening), listening.refill()), (vec![201], 0));

        let wide = tap.listen(Filter::default(), u32::MAX).unwrap();
        (0..WAITING_MAX + 5).for_each(|_| tap.tell(&entry("canary", 200), Outcome::Success));
        assert_eq!(wide.refill(), 5);
    }

    #[test]
    fn there_are_only_so_many_listeners() {
        let tap = Arc::new(Tap::default());
        let mut held: Vec<Listening> = (0..LISTENERS_MAX).map(|_| tap.listen(Filter::default(), 1).unwrap()).collect();
        assert!(tap.listen(Filter::default(), 1).is_none());
        assert!(tap.listen_to_samples(1).is_some(), "the one for samples has its place");
        held.pop();
        assert!(tap.listen(Filter::default(), 1).is_some());
    }

    #[test]
    fn samples_are_of_their_slots_and_only_failures() {
        let tap = Arc::new(Tap::default());
        let mut samples = tap.listen_to_samples(10).unwrap();
        assert!(!tap.is_sampled(Slot::OTHER) && !tap.is_listened());
        tap.sample(vec![Slot::OTHER]);
        assert!(tap.is_sampled(Slot::OTHER) && !tap.is_listened());
        tap.tell(&entry("canary", 200), Outcome::Success);
        tap.tell(&entry("canary", 500), Outcome::Error);
        assert_eq!(drain(&mut samples), [500]);
        tap.sample(Vec::new());
        assert!(!tap.is_sampled(Slot::OTHER));
    }

    #[test]
    fn texts_of_clients_are_cut_and_harmless() {
        let passed = Passed::of(&Entry { request_id: &[b'x'; 5_000], path: "/\u{1b}[2J\u{202e}", ..Entry::default() });
        assert_eq!((passed.request_id.len(), passed.path.as_str()), (128, "/\u{fffd}[2J\u{fffd}"));
    }
}
