//! `gates` and `judge` of a rollout, and `notifiers` of the file.

use super::problems::Problems;
use super::{conditions, names};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{BurnGate, File, Judge, Notifier, OutcomeGate, Rollout};
use crate::config::values::{Duration, Rate};
use crate::model::is_public;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// The shortest time between two questions of a gate or two probes.
const EVERY_MIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The outcomes of a rollout, a bit each.
const OUTCOMES_MAX: usize = 8;

/// What is tolerated must leave room for what is looked for: the mildest is 0.9 times the rate.
const OUTCOME_RATIO_MIN: f64 = 0.91;

/// The evidence at which a ramp stops when the file does not say.
const FREEZE_AT_DEFAULT: f64 = 4.0;

/// The chance of a false rollback when the file does not say, in millionths.
const FALSE_ROLLBACK_DEFAULT: Rate = Rate(50_000);

pub(super) fn check(file: &File, rollout: &Rollout, place: &Place, problems: &mut Problems<'_>) {
    let (gates, at) = (&rollout.gates, place.key("gates"));
    for (name, off) in
        [("errors", gates.errors.off), ("latency", gates.latency.off), ("sampleRatio", gates.sample_ratio.off)]
    {
        if off {
            let message = format!("the gate `{name}` is off: what it would see stops nothing");
            problems.at(Code::GateOff, &at.key(name).key("off"), message).help("remove the key to have it watch");
        }
    }
    for (name, ratio) in [("errors", gates.errors.allow.ratio), ("latency", gates.latency.allow.ratio)] {
        let place = at.key(name).key("allow").key("ratio");
        check_number(ratio, |ratio| (1.0..=100.0).contains(&ratio), "a ratio is from 1 to 100", &place, problems);
    }
    for (name, list_is_empty) in [
        ("errors.bad", gates.errors.bad.as_ref().is_some_and(Vec::is_empty)),
        ("latency.at", gates.latency.at.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if list_is_empty {
            let place = name.split('.').fold(at.clone(), |place, key| place.key(key));
            problems.at(Code::EmptyList, &place, "the list is empty").help("remove the key for the default");
        }
    }
    let alpha = at.key("sampleRatio").key("alpha");
    let is_chance = |alpha: f64| alpha > 0.0 && alpha <= 0.1;
    check_number(gates.sample_ratio.alpha, is_chance, "alpha is above 0, and at most 0.1", &alpha, problems);
    if gates.outcomes.len() > OUTCOMES_MAX {
        let message = format!("{} outcomes: at most {OUTCOMES_MAX} are told apart", gates.outcomes.len());
        problems.at(Code::RolloutOutOfRange, &at.key("outcomes"), message).help("keep those that would stop a release");
    }
    for (index, outcome) in gates.outcomes.iter().enumerate() {
        check_outcome(file, outcome, &at.key("outcomes").index(index), problems);
    }
    if let Some(burn) = &gates.burn {
        check_burn(burn, &at.key("burn"), problems);
    }
    for (index, gate) in gates.prometheus.iter().enumerate() {
        let place = at.key("prometheus").index(index);
        check_url(&gate.url, &place.key("url"), problems);
        check_reach(file, &gate.url, &place.key("url"), problems);
        check_every(gate.every, &place.key("every"), problems);
        if gate.query.trim().is_empty() {
            problems.at(Code::EmptyText, &place.key("query"), "the query is empty");
        }
    }
    for (index, gate) in gates.http.iter().enumerate() {
        let place = at.key("http").index(index);
        check_url(&gate.url, &place.key("url"), problems);
        check_reach(file, &gate.url, &place.key("url"), problems);
        check_every(gate.every, &place.key("every"), problems);
    }
    let outcomes = gates.outcomes.iter().enumerate().map(|(at, gate)| ("outcomes", at, gate.name.as_str()));
    let queries = gates.prometheus.iter().enumerate().map(|(at, gate)| ("prometheus", at, gate.name.as_str()));
    let questions = gates.http.iter().enumerate().map(|(at, gate)| ("http", at, gate.name.as_str()));
    let named = outcomes.chain(queries).chain(questions);
    let named = named.map(|(kind, index, name)| (name, at.key(kind).index(index).key("name")));
    check_names(named, "gate", ["errors", "latency", "sampleRatio", "burn", "probes"].as_slice(), problems);
    check_judge(&rollout.judge, &place.key("judge"), problems);
}

fn check_outcome(file: &File, gate: &OutcomeGate, place: &Place, problems: &mut Problems<'_>) {
    let ratio = place.key("allow").key("ratio");
    let is_share = |ratio: f64| (OUTCOME_RATIO_MIN..=1.0).contains(&ratio);
    check_number(gate.allow.ratio, is_share, "a ratio is from 0.91 to 1", &ratio, problems);
    if let Some(condition) = &gate.among {
        conditions::check(file, condition, &place.key("among"), problems);
    }
    if let Some(field) = &gate.header {
        let condition = crate::config::schema::Condition::Header(field.clone());
        conditions::check(file, &condition, place, problems);
    }
}

fn check_burn(gate: &BurnGate, place: &Place, problems: &mut Problems<'_>) {
    if gate.slo.as_f64() >= 1.0 || gate.slo.0 == 0 {
        let last = problems.at(Code::RolloutOutOfRange, &place.key("slo"), "an SLO leaves a budget, and asks for some");
        last.help("write it like 99.9%");
    }
    for (index, window) in gate.windows.iter().flatten().enumerate() {
        let place = place.key("windows").index(index);
        if window.short.0 >= window.long.0 || window.short.0.is_zero() {
            let last = problems.at(Code::RolloutOutOfRange, &place.key("short"), "`short` is not shorter than `long`");
            last.help("a twelfth of the long one is usual: 1h and 5m");
        }
        let is_rate = |above: f64| above > 0.0 && above <= 1_000.0;
        check_number(Some(window.above), is_rate, "`above` is from 0 to 1000", &place.key("above"), problems);
    }
}

fn check_judge(judge: &Judge, place: &Place, problems: &mut Problems<'_>) {
    let chance = judge.false_rollback.unwrap_or(FALSE_ROLLBACK_DEFAULT);
    if chance.0 == 0 || chance.as_f64() > 0.5 {
        let message = "the chance of a false rollback is above 0 and at most 50%";
        problems.at(Code::RolloutOutOfRange, &place.key("falseRollback"), message).help("5% is usual");
        return;
    }
    let freeze_at = judge.freeze_at.unwrap_or(FREEZE_AT_DEFAULT);
    let harm_at = 1.0 / chance.as_f64();
    if !(freeze_at > 1.0 && freeze_at < harm_at) {
        let message = format!("the ramp would not stop before harm: evidence of harm is complete at {harm_at:.1}");
        let at = if judge.freeze_at.is_some() { place.key("freezeAt") } else { place.key("falseRollback") };
        problems.at(Code::RolloutOutOfRange, &at, message).help("`freezeAt` is above 1 and below that");
    }
    for (key, given) in [("minBad", judge.min_bad), ("minRequests", judge.min_requests)] {
        if given == Some(0) {
            let last = problems.at(Code::RolloutOutOfRange, &place.key(key), format!("`{key}` is 0"));
            last.help("harm without a single request cannot be");
        }
    }
}

/// Who is told.
pub(super) fn check_notifiers(file: &File, problems: &mut Problems<'_>) {
    let root = Place::root().key("notifiers");
    for (index, notifier) in file.notifiers.iter().enumerate() {
        let kinds = kinds_of(notifier);
        if kinds != 1 {
            let message = format!("the notifier `{}` has {kinds} kinds", notifier.name);
            let last = problems.at(Code::NotOneKind, &root.index(index).key("name"), message);
            last.help("exactly one of slack, webhook, pagerduty and alertmanager");
        }
    }
    let named = file.notifiers.iter().enumerate();
    let named = named.map(|(index, one)| (one.name.as_str(), root.index(index).key("name")));
    check_names(named, "notifier", &[], problems);
}

fn kinds_of(notifier: &Notifier) -> usize {
    let Notifier { name: _, slack, webhook, pagerduty, alertmanager } = notifier;
    let given = [slack.is_some(), webhook.is_some(), pagerduty.is_some(), alertmanager.is_some()];
    given.into_iter().filter(|is_given| *is_given).count()
}

/// Names that are labels or words of the command line: well formed, and each once.
fn check_names<'n>(
    named: impl Iterator<Item = (&'n str, Place)>,
    what: &str,
    taken: &[&str],
    problems: &mut Problems<'_>,
) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for (name, place) in named {
        names::check_value(name, what, &place, problems);
        if taken.contains(&name) {
            let last = problems.at(Code::NameTaken, &place, format!("`{name}` is the name of a {what} of ringway's"));
            last.help("give it another name");
        } else if let Some(first) = seen.get(name) {
            let last = problems.at(Code::NameTaken, &place, format!("a second {what} `{name}`"));
            last.also(first, "the first one").help("give it another name");
        } else {
            seen.insert(name, place);
        }
    }
}

/// An address of the web.
pub(super) fn check_url(text: &str, place: &Place, problems: &mut Problems<'_>) {
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_url {
        let last = problems.at(Code::BadRolloutUrl, place, format!("`{text}` is not an absolute URL"));
        last.help("write it like https://gates.example.com/shop");
    }
}

/// Whether an address may be asked, as far as that can be told without looking up names.
fn check_reach(file: &File, text: &str, place: &Place, problems: &mut Problems<'_>) {
    let Ok(uri) = text.parse::<http::Uri>() else { return };
    if let Some(message) = why_not_reached(file, &uri) {
        let last = problems.at(Code::GateNotAllowed, place, message);
        last.help("write https, or name the network: `outbound: { allow: [10.0.0.0/8] }`");
    }
}

/// Why an address may not be asked; `None` when it may, or nobody can tell yet.
pub(super) fn why_not_reached(file: &File, uri: &http::Uri) -> Option<String> {
    let allowed = file.outbound.iter().flat_map(|outbound| &outbound.allow);
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = if host == "localhost" { Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse::<IpAddr>().ok() };
    match address.map(|address| address.to_canonical()) {
        Some(address) if allowed.clone().any(|network| network.contains(&address)) => None,
        Some(address) if !is_public(address) => {
            Some(format!("{address} is no public address, and `outbound` does not allow it"))
        }
        _ if uri.scheme_str() == Some("http") && (address.is_some() || allowed.count() == 0) => {
            Some(format!("{host} would be asked without encryption, and `outbound` does not allow it"))
        }
        _ => None,
    }
}

/// How often something is asked.
pub(super) fn check_every(every: Option<Duration>, place: &Place, problems: &mut Problems<'_>) {
    if every.is_some_and(|every| every.0 < EVERY_MIN) {
        let last = problems.at(Code::RolloutOutOfRange, place, "that is too often");
        last.help("the shortest is 1s");
    }
}

fn check_number(
    number: Option<f64>,
    fits: impl Fn(f64) -> bool,
    rule: &str,
    place: &Place,
    problems: &mut Problems<'_>,
) {
    if let Some(number) = number.filter(|number| !fits(*number)) {
        problems.at(Code::RolloutOutOfRange, place, format!("{number} is out of range")).help(rule);
    }
}
