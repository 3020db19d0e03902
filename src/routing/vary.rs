//! What a shared cache must know about the answers of a service whose versions differ: which request fields decided.
//!
//! `Vary` names fields of requests. What decided and is no field (the address, its place, the lot) cannot be named; such
//! answers are kept out of shared caches instead.

use http::{HeaderName, HeaderValue, header};

use super::condition::Condition;
use super::snapshot::{Cohort, Service};
use super::user_key::KeySource;
use crate::config::files::Geo;
use crate::model::Reason;

/// What a route does to the answers of its service for the sake of shared caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CachePolicy {
    /// Names what decided, and keeps answers private where that cannot be named.
    #[default]
    Vary,
    /// Keeps all answers private.
    Private,
    /// Leaves answers as they are.
    Off,
}

/// For each way that a request can be decided: what shared caches must know.
#[derive(Debug, Default)]
pub struct VaryTable {
    /// By cohort, then by the source of the user key; the last one of each is for requests without a key.
    by_user: Box<[Box<[Shared]>]>,
    /// By cohort, for requests whose bucket did not matter; `None` where a condition looked at the user key.
    by_cohort: Box<[Option<Shared>]>,
}

/// What shared caches must know of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shared {
    /// Nothing: every client would have got it.
    #[default]
    Same,
    /// It differs by these fields.
    Vary(Box<[HeaderName]>, HeaderValue),
    /// It differs by what no field tells.
    Private,
}

/// What a decision looked at.
#[derive(Clone, Debug, Default)]
struct Looked {
    names: Vec<HeaderName>,
    /// At something that no field tells.
    is_beyond: bool,
    /// At the user key.
    at_user: bool,
}

impl VaryTable {
    /// The table of a service; `geo` is the source of places.
    pub fn of(service: &Service, geo: Option<&Geo>) -> VaryTable {
        if service.variants.len() < 2 {
            return VaryTable::default();
        }
        let mut asked = Looked::default();
        if let Some(rule) = &service.override_ {
            asked.names.extend([rule.header.clone(), header::COOKIE]);
        }
        let (mut by_user, mut by_cohort) = (Vec::new(), Vec::new());
        for cohort in &service.cohorts {
            asked.at_cohort(cohort, geo);
            let with = |sources: usize, has_key: bool| asked.with_sources(&service.key_sources[..sources], has_key);
            let count = service.key_sources.len();
            by_user.push((0..=count).map(|at| with((at + 1).min(count), at < count).shared()).collect());
            by_cohort.push((!asked.at_user).then(|| asked.clone().shared()));
        }
        VaryTable { by_user: by_user.into(), by_cohort: by_cohort.into() }
    }

    /// What shared caches must know of the answer to a request. `source` is that of a user key that came with it.
    pub fn shared(&self, cohort: usize, source: Option<usize>, reason: Reason) -> &Shared {
        let by_user = self.by_user.get(cohort).and_then(|sources| sources.get(source.unwrap_or(sources.len() - 1)));
        let by_cohort = self.by_cohort.get(cohort).map_or(by_user, |shared| shared.as_ref().or(by_user));
        let found = match reason {
            // an override may count for its signature or for its network
            Reason::Override => by_cohort.map(|_| &Shared::Private),
            Reason::Cohort | Reason::Only => by_cohort,
            Reason::Split | Reason::Held | Reason::Fallback => by_user,
        };
        found.unwrap_or(&Shared::Same)
    }
}

impl Looked {
    /// The condition of a cohort was looked at.
    fn at_cohort(&mut self, cohort: &Cohort, geo: Option<&Geo>) {
        if let Some(when) = &cohort.when {
            self.at_condition(when, geo);
        }
    }

    fn at_condition(&mut self, condition: &Condition, geo: Option<&Geo>) {
        match condition {
            Condition::Any(parts) | Condition::All(parts) => {
                parts.iter().for_each(|part| self.at_condition(part, geo));
            }
            Condition::Not(part) => self.at_condition(part, geo),
            Condition::Header(name, _) => self.names.push(name.clone()),
            Condition::Cookie(..) => self.names.push(header::COOKIE),
            Condition::JwtClaim(..) => self.names.push(header::AUTHORIZATION),
            Condition::Device(_) => {
                self.names.extend([header::USER_AGENT, HeaderName::from_static("sec-ch-ua-platform")]);
            }
            Condition::Geo(_) => match geo {
                Some(Geo::Header(name)) => self.names.push(name.clone()),
                Some(Geo::Mmdb(_) | Geo::Table(_)) | None => self.is_beyond = true,
            },
            Condition::ClientIp(_) => self.is_beyond = true,
            Condition::UserList(..) | Condition::UserId(..) | Condition::Percent(..) => self.at_user = true,
            // part of the address of an answer, by which caches know it
            Condition::Query(..) | Condition::Path(_) | Condition::Method(_) | Condition::Host(_) => {}
        }
    }

    /// The user key was looked for in these places, and found in the last of them or nowhere.
    fn with_sources(&self, sources: &[KeySource], has_key: bool) -> Looked {
        let mut looked = self.clone();
        for source in sources {
            match source {
                KeySource::Header(name) => looked.names.push(name.clone()),
                KeySource::Cookie(_) | KeySource::IssueCookie(_) => looked.names.push(header::COOKIE),
                KeySource::JwtClaim(_) => looked.names.push(header::AUTHORIZATION),
                KeySource::Query(_) => {}
                KeySource::ClientIp => looked.is_beyond = true,
            }
        }
        // without a key the lot decided
        looked.is_beyond |= !has_key;
        looked
    }

    fn shared(mut self) -> Shared {
        if self.is_beyond {
            return Shared::Private;
        }
        self.names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.names.dedup();
        let list = self.names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
        match HeaderValue::from_str(&list) {
            Ok(value) if !self.names.is_empty() => Shared::Vary(self.names.into(), value),
            _ => Shared::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain::testing::snapshot_of;
    use super::*;

    fn table(service: &str) -> VaryTable {
        let text = format!("listeners: [{{ address: 127.0.0.1:80 }}]\nservices:\n  shop:\n{service}");
        let (_, snapshot) = snapshot_of(&text);
        VaryTable::of(&snapshot.services[0], None)
    }

    fn told(table: &VaryTable, cohort: usize, source: Option<usize>, reason: Reason) -> String {
        match table.shared(cohort, source, reason) {
            Shared::Same => "same".to_owned(),
            Shared::Vary(_, value) => value.to_str().unwrap().to_owned(),
            Shared::Private => "private".to_owned(),
        }
    }

    const SPLIT: &str = "    variants: { stable: { weight: 90, endpoints: [\"a:1\"] }, canary: { weight: 10, endpoints: [\"a:2\"] } }\n";

    #[test]
    fn what_decided_is_named_or_kept_private() {
        let by_cookie = table(&format!("    hashOn: [{{ header: x-user }}, {{ cookie: uid }}, clientIP]\n{SPLIT}"));
        for (source, expected) in
            [(Some(0), "x-user"), (Some(1), "cookie, x-user"), (Some(2), "private"), (None, "private")]
        {
            assert_eq!(told(&by_cookie, 0, source, Reason::Split), expected, "{source:?}");
        }
        assert_eq!(told(&by_cookie, 0, Some(0), Reason::Only), "same");
        assert_eq!(told(&by_cookie, 0, Some(0), Reason::Override), "private");

        let cohorts = table(&format!(
            "    hashOn: [{{ cookie: uid }}]\n{SPLIT}    cohorts:\n      \
             - {{ name: staff, when: {{ header: {{ name: x-employee, exact: \"1\" }} }}, weights: {{ canary: 100 }} }}\n      \
             - {{ name: phones, when: {{ device: {{ platform: [ios] }} }}, weights: {{ canary: 100 }} }}\n      \
             - {{ name: office, when: {{ clientIP: [10.0.0.0/8] }} }}\n"
        ));
        assert_eq!(told(&cohorts, 0, None, Reason::Cohort), "x-employee");
        assert_eq!(told(&cohorts, 1, Some(0), Reason::Cohort), "sec-ch-ua-platform, user-agent, x-employee");
        assert_eq!(told(&cohorts, 1, Some(0), Reason::Split), "cookie, sec-ch-ua-platform, user-agent, x-employee");
        // who is not in the office was looked at by address all the same
        assert_eq!(told(&cohorts, 3, Some(0), Reason::Split), "private");
    }

    #[test]
    fn one_version_is_the_same_for_all() {
        let one = table("    hashOn: [{ cookie: uid }]\n    variants: { stable: { endpoints: [\"a:1\"] } }\n");
        assert_eq!(told(&one, 0, Some(0), Reason::Only), "same");
    }
}
