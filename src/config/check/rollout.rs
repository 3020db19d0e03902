//! `rollout` of a service: its steps, and what they refer to. The gates have a file of their own.

use super::gates;
use super::names;
use super::problems::Problems;
use super::texts::{check_header_value, check_method};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, Need, Probe, Rollout, Service, Step};
use crate::config::suggest::known;
use crate::model::{EVERYONE, STABLE, Weight};
use std::collections::HashMap;
use std::time::Duration;

/// All rollouts of the file.
pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    let root = Place::root().key("services");
    let mut ids: HashMap<&str, Place> = HashMap::new();
    for (name, service) in &file.services {
        let Some(rollout) = &service.rollout else { continue };
        let place = root.key(name.as_str()).key("rollout");
        let id = place.key("id");
        names::check_value(&rollout.id, "rollout", &id, problems);
        match ids.get(rollout.id.as_str()) {
            Some(first) if service.salt.is_none() && service.salt_file.is_none() => {
                let message = format!("a second rollout `{}`: the same users come first in both", rollout.id);
                let last = problems.at(Code::DuplicateRolloutId, &id, message);
                last.also(first, "the first one").help("give it an id of its own, or the service a `salt`");
            }
            Some(_) => {}
            None => {
                ids.insert(&rollout.id, id);
            }
        }
        check_variants(service, rollout, &place, problems);
        check_steps(file, service, rollout, &place, problems);
        check_way_back(rollout, &place, problems);
        gates::check(file, rollout, &place, problems);
        for (index, probe) in rollout.probes.iter().enumerate() {
            check_probe(service, probe, &place.key("probes").index(index), problems);
        }
        for (index, wanted) in rollout.notify.iter().flatten().enumerate() {
            check_notifier(file, wanted, &place.key("notify").index(index), problems);
        }
    }
    if file.state_dir.is_none()
        && let Some((name, _)) = file.services.iter().find(|(_, service)| service.rollout.is_some())
    {
        let place = root.key(name.as_str()).key("rollout");
        let message = "there is no `stateDir`: a rollback would be forgotten when the process ends";
        problems.at_key(Code::NoStateDir, &place, message).help("add `stateDir: /var/lib/ringway`");
    }
}

fn check_variants(service: &Service, rollout: &Rollout, place: &Place, problems: &mut Problems<'_>) {
    let named = [("to", Some(&rollout.to)), ("from", rollout.from.as_ref())];
    for (key, name) in named.iter().filter_map(|(key, name)| name.map(|name| (*key, name))) {
        if !service.variants.contains_key(name) {
            let message = format!("`{key}` names the variant `{name}`, which does not exist");
            let last = problems.at(Code::UnknownVariant, &place.key(key), message);
            last.help_with(|| known(name, "variants", service.variants.keys().map(String::as_str)));
        }
    }
    if from_of(service, rollout) == Some(rollout.to.as_str()) {
        let at = place.key(if rollout.from.is_some() { "from" } else { "to" });
        let message = format!("`{}` would replace itself", rollout.to);
        problems.at(Code::SameVariant, &at, message).help("`to` is the new version, `from` the one that it replaces");
    }
    if rollout.holdback.is_some_and(|part| part.0 >= Weight::HUNDRED) {
        let last = problems.at(Code::RolloutOutOfRange, &place.key("holdback"), "nobody would get the new version");
        last.help("a holdback is small, such as 2");
    }
}

/// The variant that is replaced.
fn from_of<'s>(service: &'s Service, rollout: &'s Rollout) -> Option<&'s str> {
    let default = || service.variants.keys().find(|name| *name == STABLE).or(service.variants.keys().next());
    rollout.from.as_ref().or_else(default).map(String::as_str)
}

fn check_steps(file: &File, service: &Service, rollout: &Rollout, place: &Place, problems: &mut Problems<'_>) {
    let place = place.key("steps");
    if rollout.steps.is_empty() {
        let last = problems.at(Code::NoSteps, &place, "the rollout has no steps");
        last.help("add one: `- { cohort: everyone, ramp: [1, 5, 25, 100], hold: 10m }`");
    }
    let mut reached: HashMap<&str, (Weight, Place)> = HashMap::new();
    for (index, step) in rollout.steps.iter().enumerate() {
        let place = place.index(index);
        check_form(step, &place, problems);
        check_waits(rollout, step, &place, problems);
        if let Some(window) = &step.window
            && !file.windows.contains_key(window)
        {
            let last = problems.at(
                Code::UnknownWindow,
                &place.key("window"),
                format!("there is no window `{window}`: the step would never begin"),
            );
            last.help_with(|| known(window, "windows", file.windows.keys().map(String::as_str)));
        }
        let Some(cohort) = &step.cohort else { continue };
        check_cohort(service, cohort, &place.key("cohort"), problems);
        check_shares(service, rollout, step, cohort, &place, &mut reached, problems);
    }
}

/// What a step is: a share for a cohort, or an approval.
fn check_form(step: &Step, place: &Place, problems: &mut Problems<'_>) {
    let mut unclear = |message: &str| {
        let last = problems.at(Code::UnclearStep, place, message);
        last.help("write `{ cohort: beta, weight: 10, hold: 15m }` or `{ approve: [release-managers] }`");
    };
    match (&step.cohort, &step.weight, &step.ramp) {
        (Some(_), Some(_), Some(_)) => unclear("the step has `weight` and `ramp`"),
        (Some(_), None, None) => unclear("the step names a cohort, and no `weight` or `ramp` for it"),
        (None, None, None) if step.approve.is_none() => unclear("the step neither changes a share nor asks anybody"),
        (None, None, None) => {
            let is_more = step.hold.is_some() || step.need.is_some() || step.warmup.is_some() || step.until.is_some();
            if is_more || step.window.is_some() {
                unclear("an approval without a cohort changes no share: there is nothing to hold or to see");
            }
        }
        (None, _, _) => unclear("the step has a share, and names no cohort"),
        _ => {}
    }
    if step.approve.as_ref().is_some_and(Vec::is_empty) {
        let last = problems.at(Code::NobodyApproves, &place.key("approve"), "nobody could approve this step");
        last.help("name groups, such as `approve: [release-managers]`");
    }
    for (index, group) in step.approve.iter().flatten().enumerate() {
        names::check_value(group, "group", &place.key("approve").index(index), problems);
    }
    let Some(ramp) = &step.ramp else { return };
    if ramp.is_empty() {
        let last = problems.at(Code::RampNotRising, &place.key("ramp"), "the ramp has no values");
        last.help("write percentages that rise, such as [1, 5, 25, 100]");
    }
    for (index, pair) in ramp.windows(2).enumerate().filter(|(_, pair)| pair[0] >= pair[1]) {
        let message = format!("{} does not rise after {}", pair[1].0, pair[0].0);
        let last = problems.at(Code::RampNotRising, &place.key("ramp").index(index + 1), message);
        last.help("write percentages that rise, such as [1, 5, 25, 100]");
    }
}

/// How long a step lasts, and what it waits for.
fn check_waits(rollout: &Rollout, step: &Step, place: &Place, problems: &mut Problems<'_>) {
    if step.cohort.is_none() {
        return;
    }
    let hold = step.hold.map(|hold| hold.0).unwrap_or_default();
    if step.warmup.is_some_and(|warmup| warmup.0 >= hold) {
        let message = "the hold is not longer than the warmup: nothing that counts is seen in it";
        let last = problems.at(Code::HoldWithinWarmup, &place.key("warmup"), message);
        last.help("make `hold` longer, or `warmup` shorter");
    }
    if rollout.max_hold.is_some_and(|most| most.0 <= hold) {
        let last =
            problems.at_key(Code::MaxHoldTooShort, place, "the hold is not shorter than the rollout's `maxHold`");
        last.help("make `maxHold` longer: it is how long a step may wait for evidence after its hold");
    }
    let needs_nothing = matches!(step.need, Some(Need { requests: Some(0), users: None | Some(0), .. }));
    if needs_nothing {
        let last = problems.at(
            Code::NeedsNothing,
            &place.key("need").key("requests"),
            "the step would be passed without a single request",
        );
        last.help("need at least one request or user; silence is not evidence");
    }
    if hold.is_zero() && step.need.is_none() && step.until.is_none() {
        let message = "the step has neither `hold` nor `need`: it is over as soon as the judge has a few requests";
        let last = problems.at(Code::OverAtOnce, place, message);
        last.help("add `hold: 10m`, `need: { requests: 500 }` or `until: safe`");
    }
}

fn check_cohort(service: &Service, cohort: &str, place: &Place, problems: &mut Problems<'_>) {
    let names = || service.cohorts.iter().map(|cohort| cohort.name.as_str()).chain([EVERYONE]);
    if !names().any(|name| name == cohort) {
        let last = problems.at(Code::NoSuchCohort, place, format!("there is no cohort `{cohort}`"));
        last.help_with(|| known(cohort, "cohorts", names()));
    }
}

/// Shares of a cohort rise from step to step, and begin where there is somebody to compare with.
fn check_shares<'f>(
    service: &Service,
    rollout: &Rollout,
    step: &Step,
    cohort: &'f str,
    place: &Place,
    reached: &mut HashMap<&'f str, (Weight, Place)>,
    problems: &mut Problems<'_>,
) {
    let shares: Vec<Weight> = step.weight.iter().chain(step.ramp.iter().flatten()).map(|share| share.0).collect();
    let (Some(first), Some(last)) = (shares.first().copied(), shares.last().copied()) else { return };
    let at = place.key(if step.weight.is_some() { "weight" } else { "ramp" });
    if first.is_zero() {
        let message = "nobody would get the new version in this step, so that it would wait for requests for ever";
        problems.at(Code::RolloutOutOfRange, &at, message).help("begin with a share above 0, such as 0.01");
    }
    match reached.get(cohort) {
        Some((before, earlier)) if first <= *before => {
            let message = format!("`{cohort}` had {before} % in an earlier step, and does not rise here");
            let found = problems.at(Code::ShareNotRising, &at, message);
            found.also(earlier, "the earlier one").help("let the shares of a cohort rise from step to step");
        }
        Some(_) => {}
        None => {
            check_control(rollout, first, &at, problems);
            let is_new = from_of(service, rollout) != Some(rollout.to.as_str());
            let own = share_in_file(service, cohort, &rollout.to).filter(|_| is_new);
            if own.is_some_and(|own| own > first.as_f64() + 1e-9) {
                let message = format!("`{cohort}` already has more of `{}` by the file: it falls first", rollout.to);
                let found = problems.at(Code::FallsFirst, &at, message);
                found.help("give the new version weight 0 in the file, and leave the shares to the rollout");
            }
        }
    }
    reached.insert(cohort, (last, at));
}

/// A cohort that begins with all of it has nobody to compare with.
fn check_control(rollout: &Rollout, first: Weight, place: &Place, problems: &mut Problems<'_>) {
    let gates = &rollout.gates;
    let is_held_back = rollout.holdback.is_some_and(|part| !part.0.is_zero());
    let is_absolute = gates.burn.is_some() || !gates.prometheus.is_empty() || !gates.http.is_empty();
    if first >= Weight::HUNDRED && !is_held_back && !is_absolute {
        let message = "the cohort begins with all of it: there is nobody to compare with, and no absolute gate";
        let last = problems.at(Code::NoControl, place, message);
        last.help("add `holdback: 2`, a lower step before it, or a gate such as `burn: { slo: 99.9% }`");
    }
}

/// Percent of a cohort that the file gives to a variant.
fn share_in_file(service: &Service, cohort: &str, variant: &str) -> Option<f64> {
    let own = service.cohorts.iter().find(|known| known.name == cohort).and_then(|known| known.weights.as_ref());
    let weights: Vec<(&str, Weight)> = match own {
        Some(own) => own.iter().map(|(name, weight)| (name.as_str(), weight.0)).collect(),
        None => service.variants.iter().filter_map(|(name, v)| Some((name.as_str(), v.weight?.0))).collect(),
    };
    let sum: f64 = weights.iter().map(|(_, weight)| weight.as_f64()).sum();
    let part: f64 = weights.iter().filter(|(name, _)| *name == variant).map(|(_, weight)| weight.as_f64()).sum();
    (sum > 0.0).then(|| part / sum * 100.0)
}

fn check_way_back(rollout: &Rollout, place: &Place, problems: &mut Problems<'_>) {
    let gradual = &rollout.on_harm.gradual;
    let at = place.key("onHarm").key("gradual");
    let help = "write percentages that fall to 0, such as [50, 25, 0]";
    for (index, pair) in gradual.windows(2).enumerate().filter(|(_, pair)| pair[0] <= pair[1]) {
        let message = format!("{} does not fall after {}", pair[1].0, pair[0].0);
        problems.at(Code::WayBackNotFalling, &at.index(index + 1), message).help(help);
    }
    if gradual.last().is_some_and(|last| !last.0.is_zero()) {
        problems.at(Code::WayBackNotFalling, &at, "the way back does not end at 0").help(help);
    }
    if rollout.on_harm.every.is_some_and(|every| every.0.is_zero()) {
        let last = problems.at(Code::RolloutOutOfRange, &place.key("onHarm").key("every"), "the time is 0");
        last.help("leave out `gradual` to go back at once");
    }
    let holds = rollout.steps.iter().map(|step| {
        let times = step.ramp.as_ref().map_or(1, Vec::len);
        step.hold.map_or(Duration::ZERO, |hold| hold.0).saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
    });
    let least = holds.fold(Duration::ZERO, Duration::saturating_add);
    if rollout.max_duration.is_some_and(|most| !most.0.is_zero() && most.0 <= least) {
        let message = "the holds together are not shorter than `maxDuration`: the rollout would always be paused";
        let last = problems.at(Code::MaxHoldTooShort, &place.key("maxDuration"), message);
        last.help("make `maxDuration` longer; approvals, windows and pauses count too");
    }
    for (key, given) in [("maxHold", rollout.max_hold), ("maxDuration", rollout.max_duration)] {
        if given.is_some_and(|given| given.0.is_zero()) {
            problems.at(Code::RolloutOutOfRange, &place.key(key), "the time is 0").help("remove the key for no limit");
        }
    }
    if let Some(link) = &rollout.runbook {
        gates::check_url(link, &place.key("runbook"), problems);
    }
}

fn check_probe(service: &Service, probe: &Probe, place: &Place, problems: &mut Problems<'_>) {
    check_cohort(service, &probe.cohort, &place.key("cohort"), problems);
    if !probe.path.starts_with('/') {
        let message = format!("the path `{}` does not begin with a slash", probe.path);
        problems.at(Code::PathWithoutSlash, &place.key("path"), message).help("write it like /healthz");
    } else if probe.path.parse::<http::uri::PathAndQuery>().is_err() {
        let message = format!("the path `{}` cannot be sent", probe.path);
        problems
            .at(Code::InvalidValue, &place.key("path"), message)
            .help("escape what a URL cannot hold: a space is %20");
    }
    if let Some(method) = &probe.method {
        check_method(method, &place.key("method"), problems);
    }
    for (name, value) in &probe.headers {
        let place = place.key("headers").key(name.as_str());
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let last = problems.at_key(Code::BadHeaderName, &place, format!("`{name}` is not a header name"));
            last.help("header names are letters, digits and `-`");
        }
        check_header_value(value, &place, problems);
    }
    gates::check_every(probe.every, &place.key("every"), problems);
    if probe.expect.status.is_some_and(|status| !(100..=599).contains(&status)) {
        let last = problems.at(Code::RolloutOutOfRange, &place.key("expect").key("status"), "that is not a status");
        last.help("a status is from 100 to 599");
    }
}

fn check_notifier(file: &File, wanted: &str, place: &Place, problems: &mut Problems<'_>) {
    if !file.notifiers.iter().any(|notifier| notifier.name == wanted) {
        let last = problems.at(Code::UnknownNotifier, place, format!("there is no notifier `{wanted}`"));
        last.help_with(|| known(wanted, "notifiers", file.notifiers.iter().map(|one| one.name.as_str())));
    }
}
