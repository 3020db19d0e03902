//! Who moves when one configuration takes the place of another.

mod json;
mod users;

use http::Method;
use std::collections::BTreeMap;

use crate::config::schema::{Condition, File, RouteMatch};
use crate::model::{BUCKETS, Layout};
use crate::routing::prepare::Prepared;
use crate::routing::snapshot::{Cohort, Service};
use crate::routing::user_key::KeySource;
use crate::routing::{RequestView, Trust};
use users::UserRequest;
pub(crate) use users::Users;

/// What differs between two configurations for users.
pub(crate) struct Comparison {
    /// The old and the new revision.
    pub(crate) revs: [String; 2],
    /// Whether the users were made up.
    pub(crate) is_synthetic: bool,
    /// Requests may reach other services.
    pub(crate) have_routes_changed: bool,
    /// The services of both, in the order of the new file, those that are gone at the end.
    pub(crate) services: Vec<ServiceChange>,
}

/// What differs for the users of a service.
pub(crate) struct ServiceChange {
    pub(crate) name: String,
    pub(crate) presence: Presence,
    /// The salt is another one: every user is dealt anew.
    pub(crate) has_salt_changed: bool,
    /// Which cohorts there are, in which order, or who belongs to them.
    pub(crate) have_conditions_changed: bool,
    /// Where the user keys were put.
    pub(crate) fed: Vec<String>,
    /// Users that were assigned.
    pub(crate) users: usize,
    /// Users whose key cannot be there.
    pub(crate) unfit: usize,
    /// Users who get another variant.
    pub(crate) moved: usize,
    /// Users who belong to another cohort.
    pub(crate) cohort_changed: usize,
    /// Who goes from where to where; those who stay are left out.
    pub(crate) moves: Vec<Move>,
    pub(crate) cohorts: Vec<CohortChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Both,
    Added,
    Removed,
}

/// A cohort and a variant, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) cohort: String,
    pub(crate) variant: String,
}

pub(crate) struct Move {
    pub(crate) from: Seat,
    pub(crate) to: Seat,
    pub(crate) users: usize,
}

/// The shares of a cohort, before and after.
pub(crate) struct CohortChange {
    pub(crate) name: String,
    /// Variant, share before and after, from 0 to 1; `None` where the cohort is not there.
    pub(crate) variants: Vec<(String, Option<f64>, Option<f64>)>,
    /// The part of the cohort's users who move, from 0 to 1: by the buckets, exactly; expected, with another salt.
    pub(crate) moved: Option<f64>,
}

impl Comparison {
    pub(crate) fn new(old: &Prepared, new: &Prepared, users: &Users, only: Option<&str>) -> Comparison {
        let is_wanted = |service: &&Service| only.is_none_or(|name| *service.name == *name);
        let of_new =
            new.snapshot.services.iter().filter(is_wanted).map(|after| match old.snapshot.service(&after.name) {
                Some(before) => compare((old, before), (new, after), users),
                None => ServiceChange::alone(after, Presence::Added),
            });
        let gone = old.snapshot.services.iter().filter(is_wanted).filter(|s| new.snapshot.service(&s.name).is_none());
        let services = of_new.chain(gone.map(|before| ServiceChange::alone(before, Presence::Removed))).collect();
        Comparison {
            revs: [old, new].map(|prepared| prepared.snapshot.rev.to_string()),
            is_synthetic: matches!(users, Users::Synthetic(_)),
            have_routes_changed: targets(&old.loaded.file) != targets(&new.loaded.file),
            services,
        }
    }

    /// False when it is certain that everybody stays.
    pub(crate) fn may_anyone_move(&self) -> bool {
        self.have_routes_changed || self.services.iter().any(ServiceChange::may_anyone_move)
    }
}

impl ServiceChange {
    fn may_anyone_move(&self) -> bool {
        self.presence != Presence::Both
            || self.moved > 0
            || self.cohort_changed > 0
            || self.have_conditions_changed
            || self.cohorts.iter().any(|cohort| cohort.moved.is_some_and(|moved| moved > 0.0))
    }

    fn alone(service: &Service, presence: Presence) -> ServiceChange {
        ServiceChange {
            name: service.name.to_string(),
            presence,
            has_salt_changed: false,
            have_conditions_changed: false,
            fed: Vec::new(),
            users: 0,
            unfit: 0,
            moved: 0,
            cohort_changed: 0,
            moves: Vec::new(),
            cohorts: Vec::new(),
        }
    }
}

/// What decides which service a request reaches.
fn targets(file: &File) -> Vec<(&[String], &[RouteMatch], Option<&str>)> {
    let routes = file.routes.iter();
    routes.map(|route| (&*route.hostnames, &*route.matches, route.service.as_deref())).collect()
}

fn compare(old: (&Prepared, &Service), new: (&Prepared, &Service), users: &Users) -> ServiceChange {
    let (before, after) = (old.1, new.1);
    let mut change = ServiceChange::alone(after, Presence::Both);
    change.has_salt_changed = before.salt != after.salt;
    change.have_conditions_changed = !has_same_cohorts(&old.0.loaded.file, &new.0.loaded.file, &after.name);
    change.cohorts = cohorts(before, after, change.has_salt_changed);
    count_moves(old, new, users, &mut change);
    change
}

/// Of a cohort and a variant.
type Positions = (usize, usize);

fn count_moves(old: (&Prepared, &Service), new: (&Prepared, &Service), users: &Users, change: &mut ServiceChange) {
    let mut sources: Vec<&KeySource> =
        [old.1, new.1].iter().filter_map(|service| service.key_sources.first()).collect();
    sources.dedup_by_key(|source| source.describe());
    change.fed = sources.iter().map(|source| source.describe()).collect();
    let is_address = sources.iter().any(|source| matches!(source, KeySource::ClientIp));
    let mut moves: BTreeMap<(Positions, Positions), usize> = BTreeMap::new();
    let trust = Trust::default();
    for at in 0..users.len() {
        let key = users.key(at, is_address);
        let Some(request) = UserRequest::new(&key, &sources) else {
            change.unfit += 1;
            continue;
        };
        change.users += 1;
        let seat = |(prepared, service): (&Prepared, &Service)| {
            let (geo, query) = (prepared.snapshot.geo.as_deref(), request.query.as_deref());
            let view = RequestView::new(&Method::GET, "", "/", query, &request.headers, request.client, &trust, geo);
            let assignment = service.assign(&view);
            (assignment.cohort, assignment.variant)
        };
        *moves.entry((seat(old), seat(new))).or_default() += 1;
    }
    let seat = |service: &Service, (cohort, variant): Positions| Seat {
        cohort: service.cohorts[cohort].name.to_string(),
        variant: service.variants[variant].name.to_string(),
    };
    for ((from, to), users) in moves {
        let (from, to) = (seat(old.1, from), seat(new.1, to));
        if from.variant != to.variant {
            change.moved += users;
        }
        if from.cohort != to.cohort {
            change.cohort_changed += users;
        }
        if from != to {
            change.moves.push(Move { from, to, users });
        }
    }
    change.moves.sort_by_key(|one| std::cmp::Reverse(one.users));
}

fn cohorts(before: &Service, after: &Service, has_salt_changed: bool) -> Vec<CohortChange> {
    let find = |service: &'_ Service, name: &str| service.cohorts.iter().position(|cohort| *cohort.name == *name);
    let mut names: Vec<&str> = after.cohorts.iter().map(|cohort| &*cohort.name).collect();
    names.extend(before.cohorts.iter().map(|cohort| &*cohort.name).filter(|name| find(after, name).is_none()));
    let change = |name: &str| {
        let old = find(before, name).map(|at| &before.cohorts[at]);
        let new = find(after, name).map(|at| &after.cohorts[at]);
        let mut variants: Vec<&str> = after.variants.iter().map(|variant| &*variant.name).collect();
        let gone = before.variants.iter().map(|variant| &*variant.name);
        variants.extend(gone.filter(|name| !after.variants.iter().any(|variant| *variant.name == **name)));
        let moved = old.zip(new).map(|(old, new)| moved((before, old), (after, new), has_salt_changed));
        CohortChange {
            name: name.to_owned(),
            variants: variants
                .into_iter()
                .map(|variant| {
                    let share = |service, cohort: Option<&Cohort>| cohort.map(|cohort| share(service, cohort, variant));
                    (variant.to_owned(), share(before, old), share(after, new))
                })
                .collect(),
            moved,
        }
    };
    names.into_iter().map(change).collect()
}

fn share(service: &Service, cohort: &Cohort, variant: &str) -> f64 {
    let position = service.variants.iter().position(|one| *one.name == *variant);
    position.map_or(0.0, |position| f64::from(cohort.layout.width_of(position)) / f64::from(BUCKETS))
}

/// The part of a cohort that gets another variant.
fn moved(old: (&Service, &Cohort), new: (&Service, &Cohort), has_salt_changed: bool) -> f64 {
    if !has_salt_changed {
        let name = |service: &'_ Service, at: usize| service.variants[at].name.clone();
        let is_same = |a: usize, b: usize| name(old.0, a) == name(new.0, b);
        return f64::from(buckets_moved(&old.1.layout, &new.1.layout, is_same)) / f64::from(BUCKETS);
    }
    // another salt deals independently of the first one
    let stay: f64 = old
        .0
        .variants
        .iter()
        .map(|variant| share(old.0, old.1, &variant.name) * share(new.0, new.1, &variant.name))
        .sum();
    // that everybody stays with the only variant must not be lost in rounding
    if stay > 1.0 - 1e-9 { 0.0 } else { 1.0 - stay }
}

/// How many buckets belong to another variant in `new`.
fn buckets_moved(old: &Layout, new: &Layout, is_same: impl Fn(usize, usize) -> bool) -> u32 {
    let mut moved = 0;
    for before in old.ranges() {
        for after in new.ranges() {
            let (start, end) = (before.start.max(after.start), before.end.min(after.end));
            if start < end && !is_same(before.variant, after.variant) {
                moved += end - start;
            }
        }
    }
    moved
}

/// True when the same requests belong to the same cohorts, as far as the files tell.
fn has_same_cohorts(old: &File, new: &File, service: &str) -> bool {
    let (Some(old), Some(new)) = (old.services.get(service), new.services.get(service)) else { return false };
    // `everyone` may be written or implied
    let named = |service: &'_ crate::config::schema::Service| {
        service.cohorts.iter().filter(|cohort| cohort.when.is_some()).count()
    };
    let pairs = || {
        let old = old.cohorts.iter().filter_map(|cohort| Some((&cohort.name, cohort.when.as_ref()?)));
        old.zip(new.cohorts.iter().filter_map(|cohort| Some((&cohort.name, cohort.when.as_ref()?))))
    };
    named(old) == named(new) && pairs().all(|((a, when), (b, then))| a == b && is_same(when, then))
}

/// The same condition; user lists are the same when the files are.
fn is_same(old: &Condition, new: &Condition) -> bool {
    let all_same = |old: &[Condition], new: &[Condition]| {
        old.len() == new.len() && old.iter().zip(new).all(|(old, new)| is_same(old, new))
    };
    match (old, new) {
        (Condition::Any(old), Condition::Any(new)) | (Condition::All(old), Condition::All(new)) => all_same(old, new),
        (Condition::Not(old), Condition::Not(new)) => is_same(old, new),
        (Condition::UserList(old), Condition::UserList(new)) => {
            // both were read a moment ago, and are bounded
            old.file == new.file
                || matches!((std::fs::read(&old.file), std::fs::read(&new.file)), (Ok(a), Ok(b)) if a == b)
        }
        (old, new) => old == new,
    }
}
