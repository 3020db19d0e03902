use super::cookies;
use super::overlay::WeightSource;
use super::snapshot::{Cohort, Override, Service};
use super::user_key::UserKey;
use super::view::{RequestView, unix_seconds};
use crate::config::files::{Choice, override_token};
use crate::model::{Bucket, Reason};
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The variant that a request got, and why.
#[derive(Debug)]
pub struct Assignment<'r> {
    /// The position of the cohort.
    pub cohort: usize,
    /// The position of the variant.
    pub variant: usize,
    /// Why this variant.
    pub reason: Reason,
    /// Where the user falls. Random for a request without a user key.
    pub bucket: Bucket,
    /// The keyed hash of the user key, for counting users; `None` without a user key.
    pub user_hash: Option<u64>,
    /// The user key.
    pub user: Option<UserKey<'r>>,
}

impl Service {
    /// Decides what a request gets. Deterministic for a request that has a user key.
    pub fn assign<'r>(&self, view: &RequestView<'r>) -> Assignment<'r> {
        let user = UserKey::read(&self.key_sources, view);
        let user_hash = user.as_ref().map(|user| self.salt.hash(user.as_bytes()));
        // a request without a key has no user to stay with, so each one is a user of its own
        let bucket = Bucket::of_hash(user_hash.unwrap_or_else(|| fastrand::u64(..)));
        let cohort = self.cohort_of(view, user.as_ref());
        let (variant, reason) = match self.overridden(view) {
            Some(variant) => (variant, Reason::Override),
            None => self.cohorts[cohort].variant_of(bucket),
        };
        Assignment { cohort, variant, reason, bucket, user_hash, user }
    }

    /// The first cohort whose condition holds; `everyone` holds for all.
    pub fn cohort_of(&self, view: &RequestView<'_>, user: Option<&UserKey<'_>>) -> usize {
        let holds = |cohort: &Cohort| cohort.when.as_ref().is_none_or(|when| when.holds(view, user));
        self.cohorts.iter().position(holds).unwrap_or(self.cohorts.len() - 1)
    }

    /// The variant that a valid override asks for.
    pub fn overridden(&self, view: &RequestView<'_>) -> Option<usize> {
        let choice = self.override_.as_ref()?.choice(&self.name, view)?;
        match choice {
            Choice::Always => self.newcomer(),
            Choice::Never => Some(self.remainder),
        }
    }
}

impl Override {
    /// What a valid override says; the header before the cookies. An invalid one counts as absent.
    fn choice(&self, service: &str, view: &RequestView<'_>) -> Option<Choice> {
        let header = view.headers.get_all(&self.header).iter().map(|value| Cow::Borrowed(value.as_bytes()));
        // a cookie ends at the first semicolon, and a token has two: in a cookie they are escaped
        let cookies = cookies::cookies(view.headers, &self.cookie).map(|value| percent_decode(value).into());
        header.chain(cookies).take(OVERRIDES_MAX).find_map(|text| self.read(service, &text, view))
    }

    fn read(&self, service: &str, text: &[u8], view: &RequestView<'_>) -> Option<Choice> {
        let client = view.client_ip();
        if self.from.iter().any(|network| network.contains(&client))
            && let Some(choice) = Choice::parse(text)
        {
            return Some(choice);
        }
        override_token::verify(self.secret.as_deref()?, service, text, unix_seconds())
    }
}

/// How many overrides of one request are looked at: each may cost an HMAC.
const OVERRIDES_MAX: usize = 4;

impl Cohort {
    /// The variant of a bucket, and why.
    pub fn variant_of(&self, bucket: Bucket) -> (usize, Reason) {
        (self.layout.variant_of(bucket), self.usual_reason())
    }

    /// The reason that its requests get when there is no override.
    pub fn usual_reason(&self) -> Reason {
        if self.ruled_by.as_ref().is_some_and(|ruled| ruled.source == WeightSource::Rollback) {
            return Reason::Held;
        }
        match self.layout.only() {
            Some(_) if self.has_own_weights => Reason::Cohort,
            Some(_) => Reason::Only,
            None => Reason::Split,
        }
    }
}
