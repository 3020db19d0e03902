//! `GET /tap`: finished requests as they pass by.

use super::asked::Query;
use super::problem::Problem;
use super::room::Room;
use super::stay::Stay;
use super::stream::{events_response, part};
use crate::model::printable;
use crate::routing::Snapshot;
use crate::telemetry::tap::{Filter, LISTENERS_MAX, Listening, Passed};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

const RATE_DEFAULT: u32 = 10;
const RATE_MAX: u32 = 1_000;
/// Parts that may wait for whoever looks; further ones are dropped and counted.
const WAITING_MAX: usize = 1_024;
/// Whoever takes nothing for so long is closed.
const STALLED_SECONDS_MAX: u32 = 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    service: Option<String>,
    cohort: Option<String>,
    variant: Option<String>,
    status: Option<String>,
    rate: Option<u32>,
}

/// `GET /tap?service=&cohort=&variant=&status=5xx&rate=10`
pub(super) async fn tap(
    State(room): State<Room>,
    Extension(stay): Extension<Stay>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let status = match some(wanted.status) {
        None => None,
        Some(text) => Some(statuses(&text).ok_or_else(|| {
            let detail = format!("status {text} is none; write `503`, `5xx` or `500-504`");
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?),
    };
    let (service, cohort, variant) = (some(wanted.service), some(wanted.cohort), some(wanted.variant));
    known(&room.handle.snapshot(), [&service, &cohort, &variant].map(Option::as_deref))?;
    let filter = Filter { service, cohort, variant, status, only_failed: false };
    let rate = wanted.rate.unwrap_or(RATE_DEFAULT).clamp(1, RATE_MAX);
    let many = || {
        let detail = format!("there are {LISTENERS_MAX} taps already; end one, or come later");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let listening = room.handle.tap().listen(filter, rate).ok_or_else(many)?;
    let (parts, queue) = mpsc::channel(WAITING_MAX);
    // whoever looks sees at once that the tap is there
    let _ = parts.try_send(Bytes::from_static(b": listening\n\n"));
    tokio::spawn(pass_on(listening, parts, stay));
    Ok(events_response(queue))
}

/// A filter that nothing can ever pass is a mistake.
fn known(snapshot: &Snapshot, [service, cohort, variant]: [Option<&str>; 3]) -> Result<(), Problem> {
    let services = || snapshot.services.iter().filter(|of| service.is_none_or(|name| *of.name == *name));
    let unknown = |what: &str, name: Option<&str>| {
        let detail = format!("no such {what}: {}; see /api/v1/services", printable(name.unwrap_or_default()));
        Err(Problem::new(StatusCode::NOT_FOUND, detail))
    };
    if services().next().is_none() {
        return unknown("service", service);
    }
    if cohort.is_some_and(|name| !services().any(|of| of.cohorts.iter().any(|cohort| *cohort.name == *name))) {
        return unknown("cohort", cohort);
    }
    if variant.is_some_and(|name| !services().any(|of| of.variants.iter().any(|variant| *variant.name == *name))) {
        return unknown("variant", variant);
    }
    Ok(())
}

/// Until whoever looks is gone.
async fn pass_on(mut listening: Listening, parts: mpsc::Sender<Bytes>, stay: Stay) {
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    let (mut dropped, mut stalled, mut seconds) = (0u64, 0, 0u64);
    loop {
        tokio::select! {
            () = parts.closed() => return,
            passed = listening.next() => {
                let Some(passed) = passed else { return };
                let part = part("request", None, &request(&passed));
                dropped += u64::from(parts.try_send(Bytes::from(part)).is_err());
            }
            _ = second.tick() => {
                dropped += listening.refill();
                seconds += 1;
                let text = match dropped {
                    0 if seconds.is_multiple_of(10) => ":\n\n".to_owned(),
                    0 => continue,
                    dropped => part("dropped", None, &json!({ "dropped": dropped })),
                };
                let is_taken = parts.try_send(Bytes::from(text)).is_ok();
                (dropped, stalled) = if is_taken { (0, 0) } else { (dropped, stalled + 1) };
                if stalled > STALLED_SECONDS_MAX {
                    return stay.end();
                }
            }
        }
    }
}

fn request(of: &Passed) -> serde_json::Value {
    json!({
        "unixMs": of.unix_ms,
        "service": of.service,
        "cohort": of.cohort,
        "variant": of.variant,
        "reason": of.reason,
        "method": of.method,
        "path": of.path,
        "status": of.status,
        "flags": of.flags,
        "durationMs": of.duration_us as f64 / 1_000.0,
        "trace": of.trace,
        "requestId": of.request_id,
        "userBucket": of.bucket,
    })
}

/// `503`, `5xx` or `500-504`.
fn statuses(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.parse::<u16>().ok()?, high.parse::<u16>().ok()?);
    (low <= high && high < 1_000).then_some(low..=high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_range() {
        assert_eq!(statuses("503"), Some(503..=503));
        assert_eq!(statuses("5xx"), Some(500..=599));
        assert_eq!(statuses("500-504"), Some(500..=504));
        for bad in ["", "6xx", "xx", "504-500", "abc", "5000", "99999-99999"] {
            assert_eq!(statuses(bad), None, "{bad}");
        }
    }
}
