use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{panic, thread};

use super::compare::{Found, Seen, compare, needs_parsing};
use super::outgoing::RequestId;
use crate::routing::mirror::{Comparison, Mirror};
use crate::telemetry::mirror::{Difference, MirrorResult, Uncompared};
use crate::upstream::Held;
use crate::upstream::http1::SpareMap;

/// Where answers are compared that differ at first sight and may be the same by what they say.
///
/// Reading JSON of 64 KiB twice takes milliseconds, which users of the same worker would wait for: it is done by a
/// thread of the process beside the workers, which is started when it is needed first, and gives way to them. Answers
/// that are the same byte by byte, as most are, and those that are no JSON, are compared where they are, in
/// microseconds. Doing it in small steps on the workers was refused: a parser that stops and goes on is a large thing,
/// and the time would still be the workers'.
#[derive(Default)]
pub struct Comparer {
    waiting: OnceLock<Option<SyncSender<Pair>>>,
}

/// A user's answer and that of the copy.
pub(super) struct Pair {
    pub(super) by: Arc<Mirror>,
    pub(super) primary: Seen,
    pub(super) mirror: Seen,
    pub(super) facts: Facts,
    /// The part of the budget that the answers take.
    pub(super) held: Held,
}

/// What is told of a request whose answers differ. Most do not, so that no text is made of it before.
pub(super) struct Facts {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) request_id: RequestId,
    /// The variant that answered the user.
    pub(super) primary: Arc<str>,
    /// From the sent request to the head of the answer, in microseconds: of the user's and of the copy's.
    pub(super) latencies_us: (u64, u64),
}

/// Characters of a path that are kept with a difference.
const PATH_CHARS_MAX: usize = 256;
/// Pairs that wait for the thread; the bodies of further ones are not compared.
const PAIRS_MAX: usize = 64;
/// The priority of the thread: the lowest.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

impl Comparer {
    /// Compares a pair and records what came of it, now or soon.
    pub(super) fn take(&self, mut pair: Pair) {
        if !needs_parsing(&pair.by.comparison, &pair.primary, &pair.mirror) {
            return pair.settle().give_back();
        }
        // it may be a part of what was read at once, all of which would wait with it
        pair.mirror.body = pair.mirror.body.map(|body| Bytes::copy_from_slice(&body));
        let unheard = match self.waiting.get_or_init(start) {
            Some(waiting) => waiting.try_send(pair).err().map(|refused| match refused {
                std::sync::mpsc::TrySendError::Full(pair) | std::sync::mpsc::TrySendError::Disconnected(pair) => pair,
            }),
            None => Some(pair),
        };
        if let Some(pair) = unheard {
            pair.by.record.count_uncompared(Uncompared::Busy);
            let by = Comparison { body: false, ..pair.by.comparison.clone() };
            pair.settle_by(&by).give_back();
        }
    }
}

fn start() -> Option<SyncSender<Pair>> {
    let (waiting, pairs) = sync_channel(PAIRS_MAX);
    // without a thread bodies of JSON are not compared, and counted
    thread::Builder::new().name("mirror-compare".into()).spawn(move || run(&pairs)).ok().map(|_| waiting)
}

/// Ends when nobody is left who could send.
fn run(pairs: &Receiver<Pair>) {
    give_way();
    while let Ok(pair) = pairs.recv() {
        // what services answer must not end the thread; a panic is a bug, and in the log
        let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| drop(pair.settle())));
    }
}

/// From now on the calling thread runs when workers leave it time. On Linux a thread has a priority of its own;
/// elsewhere a process has one, which must stay.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "comparisons of a mirror run with the priority of the workers");
    }
}

impl Pair {
    fn settle(self) -> Pair {
        let by = self.by.clone();
        self.settle_by(&by.comparison)
    }

    fn settle_by(self, by: &Comparison) -> Pair {
        let record = &self.by.record;
        // what takes long is done once, and what is short mostly finds nothing to tell
        let is_long = needs_parsing(by, &self.primary, &self.mirror);
        let mut found = compare(by, &self.primary, &self.mirror, is_long);
        if found.is_body_missing {
            record.count_uncompared(Uncompared::TooLarge);
        }
        if found.kinds.is_empty() {
            record.count(MirrorResult::Same);
            return self;
        }
        record.differ(&found.kinds);
        if record.wants_detail() {
            if !is_long {
                found = compare(by, &self.primary, &self.mirror, true);
            }
            self.keep(found);
        }
        self
    }

    fn keep(&self, found: Found) {
        let Facts { method, target, request_id, primary, latencies_us } = &self.facts;
        self.by.record.keep(Difference {
            method: method.to_string(),
            path: target.path().chars().take(PATH_CHARS_MAX).collect(),
            request_id: request_id.as_str().to_owned(),
            primary: primary.to_string(),
            latencies_us: *latencies_us,
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            statuses: (self.primary.status, self.mirror.status),
            kinds: found.kinds,
            places: found.places,
        });
    }

    /// Gives the memory of what was compared to the next messages of this worker.
    fn give_back(self) {
        SpareMap::give_back(self.primary.headers);
        SpareMap::give_back(self.mirror.headers);
        drop(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};
    use crate::routing::prepare::assemble;
    use crate::telemetry::Registry;
    use crate::upstream::{Budget, Upstreams};
    use http::{HeaderMap, HeaderValue, header};

    const FILE: &str = "listeners: [{ address: 127.0.0.1:1 }]\nservices:\n  shop:\n    variants:\n      \
        stable: { weight: 1, endpoints: [\"127.0.0.1:2\"] }\n      canary: { weight: 0, endpoints: [\"127.0.0.1:3\"] }\n    \
        mirror: { to: canary }\n";

    fn mirror() -> Arc<Mirror> {
        let loaded = load_texts(vec![Source::new("a.yaml", FILE)]).unwrap_or_else(|errors| panic!("{errors}"));
        let prepared = assemble(loaded, &Upstreams::default(), &Registry::new(1, 1000));
        prepared.unwrap_or_else(|errors| panic!("{errors}")).snapshot.services[0].mirror.clone().unwrap()
    }

    fn seen(status: u16, body: &'static str) -> Seen {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Seen { status, headers: HeaderMap::from_iter([kind]), body: Some(Bytes::from_static(body.as_bytes())) }
    }

    fn pair(by: &Arc<Mirror>, primary: Seen, mirror: Seen) -> Pair {
        let held = Budget::new(1).hold(1).unwrap();
        let facts = Facts {
            method: Method::GET,
            target: PathAndQuery::from_static("/"),
            request_id: RequestId::Absent,
            primary: "stable".into(),
            latencies_us: (1, 2),
        };
        Pair { by: by.clone(), primary, mirror, facts, held }
    }

    /// Nobody takes what waits, and nothing may wait.
    #[test]
    fn bodies_that_find_no_room_are_left_out_and_the_rest_is_compared() {
        let (by, comparer) = (mirror(), Comparer::default());
        let (waiting, _pairs) = sync_channel(0);
        assert!(comparer.waiting.set(Some(waiting)).is_ok());
        comparer.take(pair(&by, seen(200, "[1]"), seen(200, "[2]")));
        comparer.take(pair(&by, seen(200, "[1]"), seen(404, "[2]")));
        // the same bytes need no thread
        comparer.take(pair(&by, seen(200, "[1]"), seen(200, "[1]")));
        assert_eq!(by.record.uncompared(Uncompared::Busy), 2);
        let results = [MirrorResult::Same, MirrorResult::Different].map(|result| by.record.results(result));
        assert_eq!(results, [2, 1]);
        assert_eq!(by.record.last()[0].statuses, (200, 404));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_thread_gives_way_and_the_others_do_not() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let of_thread = thread::spawn(move || {
            give_way();
            priority()
        });
        assert_eq!(of_thread.join().unwrap(), NICE);
        assert_eq!(priority(), before);
    }
}
