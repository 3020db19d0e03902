//! Conditions on a request.

use http::{HeaderName, Method};
use ipnet::IpNet;
use std::sync::Arc;

use super::device;
use super::host_pattern::HostPattern;
use super::test::Test;
use super::user_key::UserKey;
use super::view::RequestView;
use super::{cookies, query};
use crate::config::files::{Continent, Country, GeoFacts, Subdivision, UserList};
use crate::config::schema::Platform;
use crate::model::SaltKey;

/// A condition on a request, ready to be asked.
#[derive(Debug)]
pub enum Condition {
    /// At least one of them holds.
    Any(Box<[Condition]>),
    /// All of them hold.
    All(Box<[Condition]>),
    /// It does not hold.
    Not(Box<Condition>),
    /// A header field; with several lines, one of them.
    Header(HeaderName, Test),
    /// A query parameter.
    Query(Box<str>, Test),
    /// A cookie.
    Cookie(Box<str>, Test),
    /// The path.
    Path(Test),
    /// The method is one of these.
    Method(Box<[Method]>),
    /// The host is one of these.
    Host(Box<[HostPattern]>),
    /// The client's address is in one of these networks.
    ClientIp(Box<[IpNet]>),
    /// The client's place.
    Geo(GeoTest),
    /// The user key is in a list.
    UserList(Arc<UserList>, Box<str>),
    /// The user key is a number between these, both included.
    UserId(u64, u64),
    /// The user's bucket under a key of the condition's own is below this number.
    Percent(SaltKey, u32),
    /// The client's platform is one of these.
    Device(Box<[Platform]>),
    /// A claim of the bearer token.
    JwtClaim(Box<str>, Test),
}

/// Places; within a list one must match, and each list that is not empty must.
#[derive(Debug, Default)]
pub struct GeoTest {
    /// Countries.
    pub countries: Box<[Country]>,
    /// Continents.
    pub continents: Box<[Continent]>,
    /// Subdivisions.
    pub subdivisions: Box<[Subdivision]>,
    /// English city names.
    pub cities: Box<[Box<str>]>,
    /// Autonomous systems.
    pub asns: Box<[u32]>,
}

impl Condition {
    /// True when the condition holds for a request of a user.
    pub fn holds(&self, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> bool {
        match self {
            Condition::Any(parts) => parts.iter().any(|part| part.holds(view, user)),
            Condition::All(parts) => parts.iter().all(|part| part.holds(view, user)),
            Condition::Not(part) => !part.holds(view, user),
            Condition::Header(name, test) => test.passes_lines(view.headers, name),
            Condition::Query(name, test) => {
                let value = view.query.and_then(|text| query::parameter(text, name));
                test.passes_option(value.as_deref().map(str::as_bytes))
            }
            Condition::Cookie(name, test) => test.passes_option(cookies::cookie(view.headers, name)),
            Condition::Path(test) => test.passes(view.path.as_bytes()),
            Condition::Method(methods) => methods.contains(view.method),
            Condition::Host(patterns) => patterns.iter().any(|pattern| pattern.matches(view.host)),
            Condition::ClientIp(networks) => networks.iter().any(|network| network.contains(&view.client_ip())),
            Condition::Geo(test) => test.passes(view.geo()),
            Condition::UserList(..) | Condition::UserId(..) | Condition::Percent(..) => {
                user.and_then(|user| self.holds_for_key(user)).unwrap_or(false)
            }
            Condition::Device(platforms) => platforms.contains(&device::platform(view.headers)),
            Condition::JwtClaim(name, test) => {
                let value = view.claims().and_then(|claims| claims.claim_text(name));
                test.passes_option(value.as_deref().map(str::as_bytes))
            }
        }
    }
}

impl Condition {
    /// The same for a condition that is about the user key alone; `None` for others.
    pub fn holds_for_key(&self, user: &UserKey<'_>) -> Option<bool> {
        match self {
            Condition::UserList(list, _) => Some(list.contains(user.as_bytes())),
            Condition::UserId(from, to) => {
                let number = std::str::from_utf8(user.as_bytes()).ok().and_then(|text| text.parse::<u64>().ok());
                Some(number.is_some_and(|number| (*from..=*to).contains(&number)))
            }
            Condition::Percent(key, below) => Some(key.bucket(user.as_bytes()).number() < *below),
            _ => None,
        }
    }
}

impl GeoTest {
    fn passes(&self, facts: &GeoFacts<'_>) -> bool {
        let one_of = |list: &[Country], value: Option<Country>| {
            list.is_empty() || value.is_some_and(|value| list.contains(&value))
        };
        one_of(&self.countries, facts.country)
            && (self.continents.is_empty() || facts.continent.is_some_and(|value| self.continents.contains(&value)))
            && (self.subdivisions.is_empty()
                || facts.subdivision.is_some_and(|value| self.subdivisions.contains(&value)))
            && (self.cities.is_empty()
                || facts.city.is_some_and(|value| self.cities.iter().any(|city| **city == *value)))
            && (self.asns.is_empty() || facts.asn.is_some_and(|value| self.asns.contains(&value)))
    }
}
