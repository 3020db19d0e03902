//! `ringway.series/v1` and `ringway.distribution/v1`: how a service fares over time, and how its latencies lie.
//!
//! A band says where a difference lies with 95 %, however often one looks at what has been counted since the same moment.
//! A window that moves along forgets what it counted: its band is that of its own requests.

use super::api::answer;
use super::asked::Query;
use super::events::event;
use super::problem::Problem;
use crate::config::values;
use crate::control::{BAND_ALPHA, Handle, Weights};
use crate::rollout::effect::EventKind;
use crate::rollout::judge::{BAND_REQUESTS, Tally, difference_band, quantile_band};
use crate::routing::Snapshot;
use crate::routing::snapshot::Service;
use crate::telemetry::Slot;
use crate::telemetry::windows::{Cut, Point, Quantiles, REACH_SECONDS, Whole, Windows};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

const WINDOW_DEFAULT: u64 = 900;
const WINDOW_MIN: u64 = 60;
const POINTS_DEFAULT: u64 = 300;
/// Marks of one answer, the latest ones.
const MARKS_MAX: usize = 200;
/// Levels at which two variants are compared.
const COMPARED: [f64; 5] = [0.5, 0.75, 0.9, 0.95, 0.99];
/// Buckets of the recorder that are one of the histogram: a sixteenth of a doubling.
const BARS_PER_DOUBLING: f64 = 8.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    service: String,
    #[serde(default)]
    cohort: String,
    window: Option<String>,
    points: Option<u64>,
}

/// What is asked for, found in what is in force.
struct Subject<'s> {
    service: &'s Service,
    /// Positions of the cohorts.
    cohorts: Vec<usize>,
    window: u64,
    /// Positions of the variants that are compared: what is new, what it replaces.
    pair: Option<(usize, usize)>,
}

impl<'s> Subject<'s> {
    fn find(wanted: &Wanted, snapshot: &'s Snapshot, handle: &Handle) -> Result<Subject<'s>, Problem> {
        let absent = |detail: &str| Problem::new(StatusCode::NOT_FOUND, format!("{detail}; see /api/v1/services"));
        let service = snapshot.service(&wanted.service).ok_or_else(|| absent("no such service"))?;
        let is_meant = |name: &str| wanted.cohort.is_empty() || name == wanted.cohort;
        let cohorts: Vec<usize> =
            (0..service.cohorts.len()).filter(|at| is_meant(&service.cohorts[*at].name)).collect();
        if cohorts.is_empty() {
            return Err(absent("no such cohort"));
        }
        let window = match wanted.window.as_deref() {
            None | Some("") => WINDOW_DEFAULT,
            Some(text) => {
                let parsed = text.parse::<values::Duration>();
                let bad = |why| Problem::new(StatusCode::BAD_REQUEST, format!("window {text}: {why}"));
                parsed.map_err(bad)?.0.as_secs().clamp(WINDOW_MIN, REACH_SECONDS)
            }
        };
        Ok(Subject { service, cohorts, window, pair: pair(service, handle) })
    }

    fn slots(&self, variant: usize) -> Vec<Slot> {
        self.cohorts.iter().map(|cohort| self.service.cohorts[*cohort].slots[variant]).collect()
    }

    /// What the new variant and the one that it replaces got, if there are two to compare.
    fn wholes<'w>(&self, wholes: &'w [Whole]) -> Option<(&'w Whole, &'w Whole)> {
        let (to, from) = self.pair?;
        wholes.get(to).zip(wholes.get(from))
    }
}

/// A rollout says what is compared with what; else it is the remainder with the only other variant.
fn pair(service: &Service, handle: &Handle) -> Option<(usize, usize)> {
    let find = |name: &str| service.variants.iter().position(|variant| *variant.name == *name);
    let rollouts = handle.rollouts();
    if let Some(view) = rollouts.iter().find(|view| *view.service == *service.name) {
        return find(&view.to).zip(find(&view.from));
    }
    (service.variants.len() == 2).then(|| service.newcomer().map(|new| (new, service.remainder))).flatten()
}

/// `GET /series?service=&cohort=&window=15m&points=300`
pub(super) async fn series(State(handle): State<Handle>, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let snapshot = handle.snapshot();
    let subject = Subject::find(&wanted, &snapshot, &handle)?;
    let points = wanted.points.unwrap_or(POINTS_DEFAULT).clamp(10, 1_000);
    let variants = 0..subject.service.variants.len();
    let (cut, now, lines, wholes) = handle.with_windows(|windows| {
        let cut = windows.cut(subject.window, points);
        let lines: Vec<Vec<Point>> =
            variants.clone().map(|variant| windows.series(&subject.slots(variant), &cut)).collect();
        let wholes: Vec<Whole> =
            variants.clone().map(|variant| windows.whole(&subject.slots(variant), subject.window)).collect();
        (cut, windows.now(), lines, wholes)
    });
    let now_unix = super::history::unix_ms() / 1_000;
    let unix = |second: u64| (now_unix + second).saturating_sub(now);
    let asked = Asked::of(&handle, &subject);
    let shown: Vec<Value> = handle.with_weights(|weights| {
        variants.map(|variant| line(&subject, variant, &lines, &cut, &asked, weights)).collect()
    });
    Ok(answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.series/v1",
            "service": wanted.service,
            "cohort": wanted.cohort,
            "stepSeconds": cut.step,
            "fromUnixSeconds": unix(cut.from),
            "toUnixSeconds": unix(cut.to),
            "variants": shown,
            "marks": marks(&handle, &wanted.service, unix(cut.from) * 1_000),
            "difference": subject.wholes(&wholes).and_then(|(to, from)| difference(to, from)),
        }),
    ))
}

/// How much each cohort counts where several are shown together.
struct Asked {
    requests: Vec<f64>,
}

impl Asked {
    fn of(handle: &Handle, subject: &Subject<'_>) -> Asked {
        let count = |windows: &Windows, cohort: usize| -> u64 {
            let slots = &subject.service.cohorts[cohort].slots;
            slots.iter().map(|slot| windows.requests(*slot, subject.window)).sum()
        };
        let requests =
            handle.with_windows(|windows| subject.cohorts.iter().map(|at| count(windows, *at) as f64).collect());
        Asked { requests }
    }

    /// The part of all that a variant was to have in a second: of each cohort by its requests.
    fn share(&self, subject: &Subject<'_>, variant: usize, second: u64, weights: &Weights) -> Option<f64> {
        let at = |cohort: &usize| weights.at(subject.service.cohorts[*cohort].slots[variant], second);
        if let [only] = &subject.cohorts[..] {
            return at(only);
        }
        let pairs = subject.cohorts.iter().zip(&self.requests).filter(|(_, requests)| **requests > 0.0);
        let known = pairs.filter_map(|(cohort, requests)| Some((at(cohort)?, *requests)));
        let (sum, all) =
            known.fold((0.0, 0.0), |(sum, all), (share, requests)| (sum + share * requests, all + requests));
        (all > 0.0).then(|| sum / all)
    }
}

fn line(
    subject: &Subject<'_>,
    variant: usize,
    lines: &[Vec<Point>],
    cut: &Cut,
    asked: &Asked,
    weights: &Weights,
) -> Value {
    let points = &lines[variant];
    let all = |at: usize| -> u64 { lines.iter().map(|line| line[at].requests).sum() };
    let share = |at: usize| (all(at) > 0).then(|| points[at].requests as f64 / all(at) as f64);
    let latency = |of: fn(&Quantiles) -> u64| -> Vec<Option<f64>> {
        points.iter().map(|point| point.latency.as_ref().map(|latency| ms(of(latency)))).collect()
    };
    let weight = |at: usize| asked.share(subject, variant, cut.from + (at as u64 + 1) * cut.step, weights);
    json!({
        "name": &*subject.service.variants[variant].name,
        "requests": points.iter().map(|point| point.requests).collect::<Vec<_>>(),
        "errors": points.iter().map(|point| point.errors).collect::<Vec<_>>(),
        "p50": latency(|latency| latency.p50),
        "p95": latency(|latency| latency.p95),
        "p99": latency(|latency| latency.p99),
        "share": (0..points.len()).map(share).collect::<Vec<_>>(),
        "weight": (0..points.len()).map(weight).collect::<Vec<_>>(),
    })
}

/// What changed meanwhile: of the service, and of the process.
fn marks(handle: &Handle, service: &str, since_ms: u64) -> Vec<Value> {
    let is_minor = |kind: &str| kind == EventKind::Holding.as_str() || kind == EventKind::StepPassed.as_str();
    let events = handle.events().all();
    let meant = events.iter().rev().take_while(|event| event.unix_ms >= since_ms);
    let meant = meant.filter(|event| event.service == service || event.service.is_empty());
    let mut marks: Vec<Value> = meant
        .filter(|event| !is_minor(&event.kind))
        .take(MARKS_MAX)
        .map(|of| {
            let event = event(of);
            json!({ "unixMs": of.unix_ms, "kind": of.kind, "text": of.sentence, "cohort": event["cohort"], "id": of.id })
        })
        .collect();
    marks.reverse();
    marks
}

fn difference(to: &Whole, from: &Whole) -> Option<Value> {
    let tally = |of: &Whole| Tally::new(of.errors, of.requests);
    let (canary, stable) = (tally(to), tally(from));
    (canary.of > 0 && stable.of > 0).then(|| {
        let band = difference_band(canary, stable, BAND_ALPHA);
        json!({
            "value": canary.rate() - stable.rate(), "low": band.low, "high": band.high, "alpha": BAND_ALPHA,
        })
    })
}

/// `GET /distribution?service=&cohort=&window=15m`
pub(super) async fn distribution(
    State(handle): State<Handle>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let snapshot = handle.snapshot();
    let subject = Subject::find(&wanted, &snapshot, &handle)?;
    let variants = 0..subject.service.variants.len();
    let wholes: Vec<Whole> = handle.with_windows(|windows| {
        variants.map(|variant| windows.whole(&subject.slots(variant), subject.window)).collect()
    });
    let shown: Vec<Value> = (subject.service.variants.iter().zip(&wholes))
        .map(|(variant, whole)| {
            json!({
                "name": &*variant.name,
                "n": whole.latencies.total(),
                "quantiles": quantiles(whole),
                "codes": codes(whole),
                "histogram": histogram(whole),
            })
        })
        .collect();
    let compared = subject.wholes(&wholes);
    let have = compared.map(|(to, from)| to.latencies.total().min(from.latencies.total()));
    Ok(answer(
        StatusCode::OK,
        &json!({
            "schema": "ringway.distribution/v1",
            "service": wanted.service,
            "cohort": wanted.cohort,
            "windowSeconds": subject.window,
            "variants": shown,
            "quantileDifference": compared.map_or_else(Vec::new, |(to, from)| quantile_differences(to, from)),
            "needed": { "requests": BAND_REQUESTS as u64, "have": have.unwrap_or(0) },
        }),
    ))
}

/// Each percent, and the tail.
fn quantiles(whole: &Whole) -> Vec<Value> {
    let levels: Vec<f64> = (1..100).map(|percent| f64::from(percent) / 100.0).chain([0.995, 0.999]).collect();
    let found = whole.latencies.quantiles_at(&levels);
    levels.iter().zip(found).map(|(level, us)| json!({ "q": level, "ms": ms(us) })).collect()
}

fn codes(whole: &Whole) -> Vec<Value> {
    let name = |code: u16| match code {
        0 => "none".to_owned(),
        100..600 => code.to_string(),
        _ => "other".to_owned(),
    };
    whole.codes.iter().map(|(code, count)| json!({ "code": name(*code), "count": count })).collect()
}

/// Bars between powers of two, [`BARS_PER_DOUBLING`] to each; those without a request are left out.
fn histogram(whole: &Whole) -> Vec<Value> {
    let mut bars: Vec<(f64, u64)> = Vec::new();
    for (_, highest, count) in whole.latencies.buckets() {
        let bar = ((highest.max(1) as f64).log2() * BARS_PER_DOUBLING).ceil();
        match bars.last_mut() {
            Some((last, sum)) if *last == bar => *sum += count,
            _ => bars.push((bar, count)),
        }
    }
    let end = |bar: f64| (bar / BARS_PER_DOUBLING).exp2() / 1_000.0;
    bars.iter().map(|(bar, count)| json!({ "leMs": end(*bar), "count": count })).collect()
}

/// The new variant's quantiles less those of what it replaces; an end of a band is null where nothing bounds it yet.
fn quantile_differences(to: &Whole, from: &Whole) -> Vec<Value> {
    let buckets = |of: &Whole| of.latencies.buckets().collect::<Vec<_>>();
    let (canary, stable) = (buckets(to), buckets(from));
    let (Some(of_canary), Some(of_stable)) = (to.latencies.quantiles(COMPARED), from.latencies.quantiles(COMPARED))
    else {
        return Vec::new();
    };
    let each = COMPARED.iter().enumerate().map(|(at, level)| {
        let band = |buckets: &[(u64, u64, u64)]| quantile_band(buckets, *level, BAND_ALPHA / 2.0);
        let bands = band(&canary).zip(band(&stable));
        let low = bands.and_then(|((low, _), (_, high))| Some(ms(low) - ms(high?)));
        let high = bands.and_then(|((_, high), (low, _))| Some(ms(high?) - ms(low)));
        json!({ "q": level, "ms": ms(of_canary[at]) - ms(of_stable[at]), "low": low, "high": high })
    });
    each.collect()
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
