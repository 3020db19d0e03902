//! What stands in for what a log does not hold.

use http::{HeaderValue, header};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::schema::{Condition, File};
use crate::model::Bucket;
use crate::routing::Snapshot;
use crate::routing::explain::{ImaginedRequest, Placed};
use crate::routing::user_key::KeySource;
use crate::simulate::log::Line;

/// What a service asks of requests that a log may not hold.
pub(super) struct StandIn {
    /// Where a key can be put: the first source that a request carries in the open.
    put: Option<Put>,
    /// By cohort: it is decided by something that no log holds.
    pub(super) hidden: Vec<bool>,
}

enum Put {
    Header(http::HeaderName),
    Cookie(String),
    Query(String),
}

/// One for each service of the snapshot.
pub(super) fn of_services(file: &File, snapshot: &Snapshot) -> Vec<StandIn> {
    let of = |service: &crate::routing::snapshot::Service| {
        let put = service.key_sources.iter().find_map(|source| match source {
            KeySource::Header(name) => Some(Put::Header(name.clone())),
            KeySource::Cookie(name) | KeySource::IssueCookie(name) => Some(Put::Cookie(name.to_string())),
            KeySource::Query(name) => Some(Put::Query(name.to_string())),
            KeySource::JwtClaim(_) | KeySource::ClientIp => None,
        });
        let written = file.services.get(&*service.name);
        let is_hidden = |name: &str| {
            let cohort = written.and_then(|service| service.cohorts.iter().find(|cohort| cohort.name == name));
            cohort.and_then(|cohort| cohort.when.as_ref()).is_some_and(reads_beyond_a_log)
        };
        StandIn { put, hidden: service.cohorts.iter().map(|cohort| is_hidden(&cohort.name)).collect() }
    };
    snapshot.services.iter().map(of).collect()
}

/// Whether a condition reads what access logs usually do not hold.
fn reads_beyond_a_log(condition: &Condition) -> bool {
    match condition {
        Condition::Any(parts) | Condition::All(parts) => parts.iter().any(reads_beyond_a_log),
        Condition::Not(part) => reads_beyond_a_log(part),
        Condition::Header(field) => !field.name.eq_ignore_ascii_case("user-agent"),
        Condition::Cookie(_) | Condition::JwtClaim(_) | Condition::UserList(_) | Condition::UserId(_) => true,
        Condition::Query(_)
        | Condition::Path(_)
        | Condition::Method(_)
        | Condition::Host(_)
        | Condition::ClientIp(_)
        | Condition::Geo(_)
        | Condition::Percent(_)
        | Condition::Device(_) => false,
    }
}

impl StandIn {
    /// The bucket that an earlier Ringway wrote down.
    pub(super) fn logged_bucket(&self, snapshot: &Snapshot, placed: &Placed, line: &Line) -> Option<Bucket> {
        let decided = line.decided.as_ref()?;
        let is_same = *decided.service == *snapshot.services[placed.service].name;
        Bucket::new(decided.bucket?).filter(|_| is_same)
    }

    /// The cohort that an earlier Ringway wrote down, where the log does not hold what decides it.
    pub(super) fn logged_cohort(&self, snapshot: &Snapshot, placed: &Placed, line: &Line) -> Option<usize> {
        let decided = line.decided.as_ref().filter(|_| self.hidden.contains(&true))?;
        let service = &snapshot.services[placed.service];
        let is_same = *decided.service == *service.name;
        service.cohorts.iter().position(|cohort| *cohort.name == *decided.cohort).filter(|_| is_same)
    }

    /// Puts a key made of address and user agent where the service reads it; false where it reads none.
    pub(super) fn feed(&self, line: &Line, request: &mut ImaginedRequest) -> bool {
        let Some(put) = &self.put else { return false };
        let mut hasher = DefaultHasher::new();
        line.client.hash(&mut hasher);
        line.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).hash(&mut hasher);
        let key = format!("{:016x}", hasher.finish());
        match put {
            Put::Header(name) => {
                let value = HeaderValue::from_str(&key);
                value.into_iter().for_each(|value| drop(request.headers.insert(name, value)));
            }
            Put::Cookie(name) => {
                let mut line = format!("{name}={key}").into_bytes();
                if let Some(others) = request.headers.get(header::COOKIE) {
                    line.extend_from_slice(b"; ");
                    line.extend_from_slice(others.as_bytes());
                }
                let value = HeaderValue::from_bytes(&line);
                value.into_iter().for_each(|value| drop(request.headers.insert(header::COOKIE, value)));
            }
            Put::Query(name) => {
                let sign = if request.url.contains('?') { '&' } else { '?' };
                request.url = format!("{}{sign}{name}={key}", request.url);
            }
        }
        true
    }
}
