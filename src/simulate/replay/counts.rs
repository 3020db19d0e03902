//! How much of a log falls where.

use std::collections::BTreeMap;

use super::stand_in::StandIn;
use crate::model::Bucket;
use crate::rollout::judge::GroupSet;
use crate::routing::explain::{ImaginedRequest, Placed, place};
use crate::routing::prepare::Prepared;
use crate::simulate::log::Line;

/// Requests, and the groups of users (100,000 of them) that they came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    users: GroupSet,
}

/// One cohort of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct CohortCounts {
    pub(super) all: Counts,
    /// By variant.
    pub(super) variants: BTreeMap<usize, Counts>,
}

/// Who would get another variant by another file.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    pub(super) compared: u64,
    /// Requests that reach no service by the other file.
    pub(super) lost: u64,
    pub(super) all: Counts,
    /// By service, cohort, variant of the other file, variant of this file.
    pub(super) by: BTreeMap<(String, String, String, String), Counts>,
}

impl Counts {
    pub(super) fn add(&mut self, bucket: Bucket, line: &Line) {
        self.requests += 1;
        self.errors += u64::from(line.is_error());
        self.users.insert(GroupSet::group_of(bucket.number()));
    }

    pub(super) fn users(&self) -> u64 {
        self.users.len()
    }
}

impl CohortCounts {
    pub(super) fn add(&mut self, variant: usize, bucket: Bucket, line: &Line) {
        self.all.add(bucket, line);
        self.variants.entry(variant).or_default().add(bucket, line);
    }
}

impl Moves {
    /// Places the same request by the other file, as if it were in force until now.
    pub(super) fn add(
        &mut self,
        this: &Prepared,
        placed: &Placed,
        other: &Prepared,
        request: &ImaginedRequest,
        line: &Line,
        stand_ins: &[StandIn],
    ) {
        self.compared += 1;
        let listener = other.loaded.file.listeners.first().map(|listener| listener.address);
        let request = ImaginedRequest { listener, ..request.clone() };
        let Ok(mut before) = place(&other.loaded.file, &other.snapshot, &request) else {
            self.lost += 1;
            return;
        };
        let (service, service_before) =
            (&this.snapshot.services[placed.service], &other.snapshot.services[before.service]);
        let stand_in = &stand_ins[placed.service];
        if !before.has_key && service_before.name == service.name {
            // who has no key, or only a bucket, has it by both files
            super::settle(&other.snapshot, &mut before, placed.bucket);
        }
        if let Some(cohort) = stand_in.logged_cohort(&other.snapshot, &before, line) {
            before.cohort = cohort;
            super::settle(&other.snapshot, &mut before, placed.bucket);
        }
        let (from, to) = (&service_before.variants[before.variant].name, &service.variants[placed.variant].name);
        if from == to && service_before.name == service.name {
            return;
        }
        let from = match service_before.name == service.name {
            true => from.to_string(),
            false => format!("{}/{from}", service_before.name),
        };
        let cohort = service.cohorts[placed.cohort].name.to_string();
        let key = (service.name.to_string(), cohort, from, to.to_string());
        self.all.add(placed.bucket, line);
        self.by.entry(key).or_default().add(placed.bucket, line);
    }
}
