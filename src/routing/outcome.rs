//! Outcomes that count for the business, compiled: which requests could have one, and which answers say that they had.

use http::{HeaderMap, HeaderName};

use super::compile::{self, Foundation, Result, header_name};
use super::condition::Condition;
use super::snapshot::Service;
use super::test::Test;
use super::user_key::UserKey;
use super::view::RequestView;
use crate::config::{Place, schema};
use crate::model::{Bucket, SaltKey};
use crate::telemetry::recorder::OUTCOMES_MAX;

/// One outcome of a service's rollout.
#[derive(Debug)]
pub struct OutcomeRule {
    /// The name in the file.
    pub name: Box<str>,
    /// By which header of an answer it is seen; `None`: it is posted to the admin door.
    pub seen: Option<(HeaderName, Test)>,
    /// The requests that could have it; `None` for all.
    pub among: Option<Condition>,
}

pub(super) fn compile(
    service: &schema::Service,
    own_salt: impl Fn(&str) -> SaltKey,
    on: &Foundation<'_>,
    place: &Place,
) -> Result<Box<[OutcomeRule]>> {
    let gates = service.rollout.iter().flat_map(|rollout| &rollout.gates.outcomes).take(OUTCOMES_MAX);
    let compile = |(at, gate): (usize, &schema::OutcomeGate)| {
        let place = place.key("rollout").key("gates").key("outcomes").index(at);
        let seen = |field: &schema::Field| {
            let test = Test::of_field(field).map_err(|message| compile::error(&place, message))?;
            Ok((header_name(&field.name, &place)?, test))
        };
        let among = |when| compile::compile_condition(when, &own_salt(&gate.name), on, &place.key("among"));
        Ok(OutcomeRule {
            name: gate.name.as_str().into(),
            seen: gate.header.as_ref().map(seen).transpose()?,
            among: gate.among.as_ref().map(among).transpose()?,
        })
    };
    gates.enumerate().map(compile).collect()
}

impl Service {
    /// The outcomes that a request could have and an answer would show, a bit each.
    pub fn eligible(&self, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> u8 {
        let could =
            |rule: &OutcomeRule| rule.seen.is_some() && rule.among.as_ref().is_none_or(|among| among.holds(view, user));
        bits(self.outcomes.iter().map(could))
    }

    /// An outcome is posted that could come of a request: it is remembered by its trace.
    pub fn is_remembered(&self, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> bool {
        let mut posted = self.outcomes.iter().filter(|rule| rule.seen.is_none());
        posted.any(|rule| rule.among.as_ref().is_none_or(|among| among.holds(view, user)))
    }

    /// The outcomes that an answer shows, a bit each.
    pub fn happened(&self, headers: &HeaderMap) -> u8 {
        let shows =
            |rule: &OutcomeRule| rule.seen.as_ref().is_some_and(|(name, test)| test.passes_lines(headers, name));
        bits(self.outcomes.iter().map(shows))
    }
}

fn bits(each: impl Iterator<Item = bool>) -> u8 {
    each.enumerate().fold(0, |bits, (at, is_so)| bits | u8::from(is_so) << at)
}

impl Service {
    /// The outcome of this name: its place in the file.
    pub fn outcome(&self, name: &str) -> Option<usize> {
        self.outcomes.iter().position(|rule| &*rule.name == name)
    }

    /// The cohort of a user of whom nothing but the key is known; `None` when a condition asks for more than that.
    pub fn cohort_of_key(&self, user: &UserKey<'_>) -> Option<usize> {
        for (at, cohort) in self.cohorts.iter().enumerate() {
            if cohort.when.as_ref().map_or(Some(true), |when| holds_for(when, user))? {
                return Some(at);
            }
        }
        None
    }

    /// The variant that a user of a cohort gets, with the hash by which users are counted.
    pub fn variant_of_key(&self, user: &UserKey<'_>, cohort: usize) -> Option<(usize, u64)> {
        let hash = self.salt.hash(user.as_bytes());
        Some((self.cohorts.get(cohort)?.variant_of(Bucket::of_hash(hash)).0, hash))
    }
}

/// Whether a condition holds for whatever this user asks; `None` when that depends on the request.
fn holds_for(condition: &Condition, user: &UserKey<'_>) -> Option<bool> {
    let all = |parts: &[Condition], which: bool| {
        let parts: Vec<Option<bool>> = parts.iter().map(|part| holds_for(part, user)).collect();
        match () {
            () if parts.contains(&Some(which)) => Some(which),
            () if parts.contains(&None) => None,
            () => Some(!which),
        }
    };
    match condition {
        Condition::Any(parts) => all(parts, true),
        Condition::All(parts) => all(parts, false),
        Condition::Not(part) => holds_for(part, user).map(|holds| !holds),
        Condition::UserList(..) | Condition::UserId(..) | Condition::Percent(..) => condition.holds_for_key(user),
        Condition::Header(..)
        | Condition::Query(..)
        | Condition::Cookie(..)
        | Condition::Path(_)
        | Condition::Method(_)
        | Condition::Host(_)
        | Condition::ClientIp(_)
        | Condition::Geo(_)
        | Condition::Device(_)
        | Condition::JwtClaim(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};
    use crate::routing::prepare::assemble;
    use crate::telemetry::Registry;
    use crate::upstream::Upstreams;

    const SHOP: &str = "\
listeners: [{ address: 127.0.0.1:8080 }]
services:
  shop:
    variants:
      stable: { weight: 50, endpoints: [127.0.0.1:1] }
      canary: { weight: 50, endpoints: [127.0.0.1:2] }
    cohorts:
      - { name: low, when: { userId: { range: [1, 9] } } }
      - { name: staff, when: { all: [ { userId: { range: [10, 19] } }, { header: { name: x-staff, present: true } } ] } }
    rollout:
      id: v2
      to: canary
      steps: [{ cohort: everyone, weight: 50 }]
      gates:
        outcomes:
          - { name: orders, header: { name: x-order, exact: placed } }
          - { name: signups }
          - { name: missed, header: { name: x-order, present: false } }
";

    #[test]
    fn answers_show_outcomes_and_keys_tell_cohorts_as_far_as_they_can() {
        let loaded = load_texts(vec![Source::new("a.yaml", SHOP)]).unwrap_or_else(|errors| panic!("{errors}"));
        let prepared = assemble(loaded, &Upstreams::default(), &Registry::new(1, 100)).unwrap();
        let shop = &prepared.snapshot.services[0];
        let header = |value: &str| HeaderMap::from_iter([("x-order".parse().unwrap(), value.parse().unwrap())]);
        assert_eq!((shop.happened(&header("placed")), shop.happened(&header("no"))), (0b001, 0));
        assert_eq!(shop.happened(&HeaderMap::new()), 0b100);
        assert_eq!((shop.outcome("signups"), shop.outcome("none")), (Some(1), None));
        let cohort = |user: &str| shop.cohort_of_key(&UserKey::of_text(user));
        assert_eq!((cohort("5"), cohort("15"), cohort("x")), (Some(0), None, Some(2)));
        let (variant, hash) = shop.variant_of_key(&UserKey::of_text("5"), 0).unwrap();
        assert_eq!(variant, usize::from(Bucket::of_hash(hash).number() < 500_000));
    }
}
