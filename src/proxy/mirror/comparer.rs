use bytes::Bytes;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{panic, thread};

use super::compare::{Found, Seen, compare, needs_parsing};
use super::lane::Job;
use crate::routing::mirror::Comparison;
use crate::telemetry::mirror::{Difference, MirrorResult, Uncompared};
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
    /// The copy, with the user's answer.
    pub(super) job: Box<Job>,
    pub(super) mirror: Seen,
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
        if !pair.needs_parsing() {
            pair.settle(&pair.job.mirror.comparison, false);
            return pair.give_back();
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
            pair.job.mirror.record.count_uncompared(Uncompared::Busy);
            let by = Comparison { body: false, ..pair.job.mirror.comparison.clone() };
            pair.settle(&by, false);
            pair.give_back();
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
        let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| pair.settle(&pair.job.mirror.comparison, true)));
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
    fn needs_parsing(&self) -> bool {
        needs_parsing(&self.job.mirror.comparison, &self.job.primary, &self.mirror)
    }

    /// Counts what differs, and keeps it. What takes long (`is_long`) is done once; what is short mostly finds nothing to
    /// tell, and is done again where it does.
    fn settle(&self, by: &Comparison, is_long: bool) {
        let record = &self.job.mirror.record;
        let mut found = compare(by, &self.job.primary, &self.mirror, is_long);
        if found.is_body_missing {
            record.count_uncompared(Uncompared::TooLarge);
        }
        if found.kinds.is_empty() {
            return record.count(MirrorResult::Same);
        }
        record.differ(&found.kinds);
        if record.wants_detail() {
            if !is_long {
                found = compare(by, &self.job.primary, &self.mirror, true);
            }
            self.keep(found);
        }
    }

    fn keep(&self, found: Found) {
        let Job { request, request_id, answered_by, latencies_us, primary, mirror, .. } = &*self.job;
        mirror.record.keep(Difference {
            method: request.method.to_string(),
            path: request.target.path().chars().take(PATH_CHARS_MAX).collect(),
            request_id: request_id.as_str().to_owned(),
            primary: answered_by.as_deref().unwrap_or_default().to_owned(),
            latencies_us: *latencies_us,
            unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            statuses: (primary.status, self.mirror.status),
            kinds: found.kinds,
            places: found.places,
        });
    }

    /// Gives the memory of what was compared to the next messages of this worker.
    fn give_back(mut self) {
        SpareMap::give_back(std::mem::take(&mut self.job.primary.headers));
        SpareMap::give_back(self.mirror.headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};
    use crate::proxy::mirror::outgoing::{Outgoing, RequestId};
    use crate::routing::mirror::Mirror;
    use crate::routing::prepare::assemble;
    use crate::telemetry::Registry;
    use crate::upstream::{Budget, Upstreams};
    use http::uri::PathAndQuery;
    use http::{HeaderMap, HeaderValue, Method, header};
    use std::sync::Arc;

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
        let job = Job {
            mirror: by.clone(),
            request: Outgoing::to(Method::GET, PathAndQuery::from_static("/")),
            request_id: RequestId::Absent,
            body: None,
            primary,
            answered_by: Some("stable".into()),
            latencies_us: (1, 2),
            held: Budget::new(1).hold(1).unwrap(),
        };
        Pair { job: Box::new(job), mirror }
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
