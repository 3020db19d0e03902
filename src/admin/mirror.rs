//! `ringway.mirror/v1`: what came of the copies of a service, and the last differences.

use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::routing::mirror::Mirror;
use crate::telemetry::mirror::{Difference, DifferenceKind, MirrorRecord, MirrorResult, Uncompared};
use serde_json::{Map, Value, json};

/// Counts are since the start of the process, latencies in milliseconds, the last difference first. `None` when there
/// is no such service, or it has no mirror.
pub(super) fn mirror(snapshot: &Snapshot, service: &str) -> Option<Value> {
    let service = snapshot.service(service)?;
    let mirror: &Mirror = service.mirror.as_deref()?;
    let record: &MirrorRecord = &mirror.record;
    let results = MirrorResult::ALL.map(|result| (result.as_str(), record.results(result)));
    let differences = DifferenceKind::ALL.map(|kind| (kind.as_str(), record.differences(kind)));
    let uncompared = Uncompared::ALL.map(|why| (why.as_str(), record.uncompared(why)));
    Some(json!({
        "schema": "ringway.mirror/v1",
        "rev": &*snapshot.rev,
        "service": &*service.name,
        "to": &*service.variants[mirror.to].name,
        "share": f64::from(mirror.share) / f64::from(BUCKETS),
        "requests": counts(&results),
        "differences": counts(&differences),
        "bodiesUncompared": counts(&uncompared),
        "last": record.last().iter().map(difference).collect::<Vec<_>>(),
    }))
}

fn counts(counts: &[(&str, u64)]) -> Value {
    counts.iter().map(|(name, count)| ((*name).to_owned(), Value::from(*count))).collect::<Map<_, _>>().into()
}

fn difference(of: &Difference) -> Value {
    let milliseconds = |us: u64| us as f64 / 1000.0;
    let places = of.places.iter();
    let places = places.map(|at| json!({ "place": at.place, "primary": at.primary, "mirror": at.mirror }));
    json!({
        "unixMs": of.unix_ms,
        "method": of.method,
        "path": of.path,
        "requestId": of.request_id,
        "kinds": of.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "primary": { "variant": of.primary, "status": of.statuses.0, "ms": milliseconds(of.latencies_us.0) },
        "mirror": { "status": of.statuses.1, "ms": milliseconds(of.latencies_us.1) },
        "places": places.collect::<Vec<_>>(),
    })
}
