use http::header;
use std::borrow::Cow;
use std::time::Duration;

use super::conditions;
use super::mirror;
use super::trace::Step;
use crate::config::schema::File;
use crate::model::{BUCKETS, Reason, percent};
use crate::routing::assign::Assignment;
use crate::routing::cookies;
use crate::routing::resilience::Retry;
use crate::routing::routes::Route;
use crate::routing::snapshot::{Cohort, Service};
use crate::routing::user_key::KeySource;
use crate::routing::view::RequestView;
use crate::upstream::Target;

/// What a request gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The service.
    pub service: String,
    /// The route.
    pub route: String,
    /// The cohort; `None` when the user is new and a percentage decides.
    pub cohort: Option<String>,
    /// The variant; `None` when it is drawn by lot.
    pub variant: Option<String>,
    /// Why; `None` with the cohort.
    pub reason: Option<Reason>,
    /// The user's bucket, if there is a user.
    pub bucket: Option<u32>,
    /// Where the user key was read.
    pub user_key: UserKeyFacts,
    /// The shares of the cohort.
    pub shares: Vec<Share>,
    /// What a request needs in order to have a user key, such as `the header x-user-id`.
    pub key_hint: String,
}

/// Where the user key was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKeyFacts {
    /// The source as in the file, such as `cookie uid`; `None` when no source has a key.
    pub from: Option<String>,
    /// True when the request brought it, and it was not issued just now.
    pub present: bool,
}

/// A variant's part of a cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The variant.
    pub variant: String,
    /// From 0 to 1.
    pub share: f64,
}

/// Assigns a request, and writes down each step of it.
pub(super) fn answer(
    file: &File,
    service: &Service,
    route: &Route,
    view: &RequestView<'_>,
    trace: &mut Vec<Step>,
) -> Answer {
    let assignment = service.assign(view);
    let is_new = assignment.user.as_ref().is_none_or(|user| user.issued().is_some());
    trace.push(user_key(service, view, &assignment));
    let (cohorts, is_cohort_drawn) = cohorts(service, view, &assignment);
    trace.extend(cohorts);
    trace.extend(override_step(service, view));
    let cohort = &service.cohorts[assignment.cohort];
    trace.push(split(file, service, cohort, &assignment, is_new));
    let is_drawn = is_new && assignment.reason == Reason::Split || is_cohort_drawn;
    let variant = &service.variants[assignment.variant];
    if !is_drawn {
        trace.push(endpoints(service, assignment.variant));
    }
    trace.extend(mirror::step(service, view, &assignment, is_drawn));
    trace.push(timeouts(route));
    trace.extend(route.retry.as_deref().map(retry));
    let name = |name: &str| Some(name.to_owned());
    Answer {
        service: service.name.to_string(),
        route: route.name.to_string(),
        cohort: name(&cohort.name).filter(|_| !is_cohort_drawn),
        variant: name(&variant.name).filter(|_| !is_drawn),
        reason: Some(assignment.reason).filter(|_| !is_cohort_drawn),
        bucket: (!is_new).then(|| assignment.bucket.number()),
        user_key: UserKeyFacts {
            from: assignment.user.as_ref().map(|user| service.key_sources[user.source()].describe()),
            present: !is_new,
        },
        shares: shares(service, cohort),
        key_hint: service.key_sources.first().map_or(String::new(), |source| format!("the {}", source.describe())),
    }
}

/// Where the user key was read, and why not from the sources before.
fn user_key(service: &Service, view: &RequestView<'_>, assignment: &Assignment<'_>) -> Step {
    let found = assignment.user.as_ref().map(|user| user.source());
    let passed = &service.key_sources[..found.unwrap_or(service.key_sources.len())];
    let missing = |source: &KeySource| {
        Step::new("source", format!("{}: {}", source.describe(), why_missing(source, view))).holds(false)
    };
    let mut parts: Vec<Step> = passed.iter().map(missing).collect();
    let Some(user) = &assignment.user else {
        return Step::new("user key", "none: each request is a user of its own").parts(parts);
    };
    let source = service.key_sources[user.source()].describe();
    let key = conditions::shown_key(user);
    let text = match user.issued() {
        Some(_) => format!("{source}: absent, so {key} is issued with the answer"),
        None => format!("{source}: {key}"),
    };
    parts.push(Step::new("source", &text).holds(true));
    Step::new("user key", if parts.len() == 1 { text } else { format!("{key} of {source}") })
        .parts(if parts.len() == 1 { Vec::new() } else { parts })
}

fn why_missing(source: &KeySource, view: &RequestView<'_>) -> &'static str {
    match source {
        KeySource::Header(name) if view.headers.contains_key(name) => "empty",
        KeySource::Cookie(name) | KeySource::IssueCookie(name) if cookies::cookie(view.headers, name).is_some() => {
            "empty"
        }
        KeySource::JwtClaim(_) if !view.headers.contains_key(header::AUTHORIZATION) => "there is no token",
        KeySource::JwtClaim(_) if view.claims().is_none() => "the token is not believed",
        KeySource::JwtClaim(_) => "the token has no such claim",
        KeySource::Header(_)
        | KeySource::Cookie(_)
        | KeySource::IssueCookie(_)
        | KeySource::Query(_)
        | KeySource::ClientIp => "absent",
    }
}

/// The cohorts up to the one that took the request, and whether the lot had a part in it.
fn cohorts(service: &Service, view: &RequestView<'_>, assignment: &Assignment<'_>) -> (Vec<Step>, bool) {
    let user = assignment.user.as_ref();
    let asked = &service.cohorts[..=assignment.cohort];
    let step = |cohort: &Cohort| match &cohort.when {
        Some(when) => Step::new("cohort", &cohort.name)
            .holds(when.holds(view, user))
            .parts(vec![conditions::step(when, view, user)]),
        None => Step::new("cohort", format!("{} takes the rest", cohort.name)).holds(true),
    };
    let mut steps: Vec<Step> = asked.iter().map(step).collect();
    let later = service.cohorts.len() - asked.len();
    if later > 0 {
        let names: Vec<&str> = service.cohorts[asked.len()..].iter().map(|cohort| &*cohort.name).collect();
        steps.push(Step::new("cohort", format!("not asked any more: {}", names.join(", "))));
    }
    let is_issued = user.is_some_and(|user| user.issued().is_some());
    let is_drawn = is_issued && asked.iter().filter_map(|cohort| cohort.when.as_ref()).any(conditions::is_by_lot);
    (steps, is_drawn)
}

fn override_step(service: &Service, view: &RequestView<'_>) -> Option<Step> {
    let rule = service.override_.as_ref()?;
    let is_there = view.headers.contains_key(&rule.header) || cookies::cookie(view.headers, &rule.cookie).is_some();
    let name = &rule.header;
    Some(match service.overridden(view) {
        Some(variant) => {
            Step::new("override", format!("{name} asks for {}", service.variants[variant].name)).holds(true)
        }
        None if is_there => {
            let why = "not believed: unsigned from outside `from`, signed with another secret, or expired";
            Step::new("override", format!("{name} is {why}")).holds(false)
        }
        None => Step::new("override", format!("no header and no cookie {name}")).holds(false),
    })
}

/// How the cohort's buckets are dealt, and which one is the user's.
fn split(file: &File, service: &Service, cohort: &Cohort, assignment: &Assignment<'_>, is_new: bool) -> Step {
    let source = if cohort.has_own_weights {
        Cow::Owned(format!("the file, cohort {}", cohort.name))
    } else {
        "the file".into()
    };
    let mut parts: Vec<Step> = Vec::new();
    for range in cohort.layout.ranges() {
        let variant = &service.variants[range.variant].name;
        let share = percent(f64::from(range.end - range.start) / f64::from(BUCKETS));
        let by = if cohort.ruled_by.is_some() { cohort.source_of(range.variant).into() } else { source.clone() };
        let text = format!("buckets {} to {}: {variant}, {share} ({by})", range.start, range.end - 1);
        let number = assignment.bucket.number();
        let step = Step::new("range", text);
        let is_users = (range.start..range.end).contains(&number) && assignment.reason != Reason::Override;
        parts.push(if is_new { step } else { step.holds(is_users) });
    }
    let drawn = match assignment.user {
        Some(_) => "by lot: a new user gets a bucket with the new id",
        None => "by lot: without a user key each request gets a bucket of its own",
    };
    let text = if is_new {
        drawn.to_owned()
    } else {
        format!("{} of {BUCKETS} ({})", assignment.bucket.number(), salt(file, service))
    };
    Step::new("bucket", text).parts(parts)
}

fn salt(file: &File, service: &Service) -> String {
    let written = file.services.get(&*service.name);
    match written.map(|written| (&written.salt_file, &written.salt)) {
        Some((Some(_), _)) => "salt: secret, from saltFile".to_owned(),
        Some((None, Some(salt))) => format!("salt: {salt}"),
        _ => format!("salt: {}, the service's name", service.name),
    }
}

fn endpoints(service: &Service, variant: usize) -> Step {
    let chosen = &service.variants[variant];
    let targets = chosen.upstream.spec().targets.iter().map(|target| match target {
        Target::Address(address) => address.to_string(),
        Target::Name(host, port) => format!("{host}:{port}"),
    });
    let targets: Vec<String> = targets.collect();
    let version = chosen.version.as_deref().map_or(String::new(), |version| format!(" (version {version})"));
    let fallback = match service.fallback.filter(|fallback| *fallback != variant) {
        Some(fallback) => format!("; {} when none of them can be used", service.variants[fallback].name),
        None => "; 503 when none of them can be used".to_owned(),
    };
    Step::new("endpoints", format!("{}{version}: {}{fallback}", chosen.name, targets.join(", ")))
}

fn retry(retry: &Retry) -> Step {
    let times = if retry.attempts == 1 { "once".to_owned() } else { format!("up to {} times", retry.attempts) };
    let whom = if retry.across_variants { ", to the fallback" } else { ", within the variant" };
    Step::new("retry", format!("{times}{whom}, at most {} % of requests", f64::from(retry.share.ppm) / 10_000.0))
}

fn timeouts(route: &Route) -> Step {
    let shown = |time: Duration| if time.is_zero() { "none".to_owned() } else { format!("{time:?}") };
    let timeouts = &route.timeouts;
    let idle = timeouts.idle.map_or("the listener's".to_owned(), shown);
    let request = timeouts.request.map_or("30s (none for gRPC and WebSockets)".to_owned(), shown);
    let connect = shown(timeouts.connect);
    Step::new("timeouts", format!("request {request}, connect {connect}, idle {idle}"))
}

fn shares(service: &Service, cohort: &Cohort) -> Vec<Share> {
    let share = |(position, variant): (usize, &crate::routing::snapshot::Variant)| Share {
        variant: variant.name.to_string(),
        share: f64::from(cohort.layout.width_of(position)) / f64::from(BUCKETS),
    };
    service.variants.iter().enumerate().map(share).collect()
}
