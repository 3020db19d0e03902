//! The mirror of a service: which requests are copied, and what their answers are compared by.

use http::{HeaderName, HeaderValue, Method};
use std::sync::Arc;
use std::time::Duration;

use super::compile::{CompileError, Foundation, Result, compile_methods, error, header_name};
use super::snapshot::{Cohort, Variant};
use crate::config::{Place, schema};
use crate::model::{BUCKETS, JsonPath};
use crate::telemetry::mirror::MirrorRecord;
use crate::upstream::{ClientTls, Upstream};

/// Which requests of a service are copied, where the copies go, and how their answers are compared.
pub struct Mirror {
    /// The position of the variant that gets the copies.
    pub to: usize,
    /// Its name as a header value.
    pub header: HeaderValue,
    /// Headers set on requests to it.
    pub set_headers: Box<[(HeaderName, HeaderValue)]>,
    /// Its endpoints once more: what copies find out about them does not count for users, nor the other way round.
    pub upstream: Arc<Upstream>,
    /// The methods that are copied.
    pub methods: Box<[Method]>,
    /// How many of [`BUCKETS`] requests are copied.
    pub share: u32,
    /// Whose requests are copied: one for each cohort.
    pub cohorts: Box<[bool]>,
    /// How new connections of copies speak TLS; `None` for plain ones.
    pub tls: Option<Arc<ClientTls>>,
    /// The longest body of a request that is copied, in bytes.
    pub body_max: usize,
    /// What is compared.
    pub comparison: Comparison,
    /// From the copy's start to the end of its answer.
    pub timeout: Duration,
    /// Copies of one worker that are under way at the same time.
    pub in_flight_max: usize,
    /// Copies carry no credentials.
    pub strips_credentials: bool,
    /// What came of copies.
    pub record: Arc<MirrorRecord>,
}

/// What two answers are compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Status codes are compared.
    pub status: bool,
    /// Header fields are compared.
    pub headers: bool,
    /// Bodies are compared.
    pub body: bool,
    /// The fields that are compared; `None` for all but those that differ by nature.
    pub fields: Option<Box<[HeaderName]>>,
    /// Fields that are not compared.
    pub ignored_fields: Box<[HeaderName]>,
    /// Places in JSON bodies that are not compared.
    pub ignored_places: Box<[JsonPath]>,
}

/// The longest body of a request that is copied, where the file does not say, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// How long a copy may take, where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Copies of one worker under way at the same time, where the file does not say.
const IN_FLIGHT_MAX: usize = 32;

impl Mirror {
    /// True when requests like this one may be copied; which of them are is drawn by lot.
    pub fn takes(&self, method: &Method, cohort: usize, variant: usize) -> bool {
        variant != self.to && self.cohorts.get(cohort).is_some_and(|taken| *taken) && self.methods.contains(method)
    }

    /// Draws whether a request is copied. Each request has a lot of its own, so that copies are spread over all users.
    pub fn draws(&self) -> bool {
        self.share >= BUCKETS || fastrand::u32(..BUCKETS) < self.share
    }
}

pub(super) fn compile(
    name: &str,
    service: &schema::Service,
    variants: &[Variant],
    cohorts: &[Cohort],
    on: &Foundation<'_>,
    place: &Place,
) -> Result<Option<Arc<Mirror>>> {
    let Some(mirror) = &service.mirror else { return Ok(None) };
    let to = variants.iter().position(|variant| *variant.name == *mirror.to);
    let to = to.ok_or_else(|| error(&place.key("to"), "names no variant of the service"))?;
    let variant = &variants[to];
    let methods = match &mirror.methods {
        None => [Method::GET, Method::HEAD].into(),
        Some(methods) => compile_methods(methods, &place.key("methods"))?,
    };
    let is_named =
        |cohort: &Cohort| mirror.cohorts.as_ref().is_none_or(|names| names.iter().any(|n| **n == *cohort.name));
    let mut spec = variant.upstream.spec().clone();
    spec.variant = format!("{} (mirror)", variant.name);
    // checks and ejection are about users; what copies meet has no say in them
    spec.resilience = Default::default();
    Ok(Some(Arc::new(Mirror {
        to,
        header: variant.header.clone(),
        set_headers: variant.set_headers.clone(),
        upstream: on.upstreams.obtain(spec),
        tls: variant.tls.clone(),
        methods,
        share: mirror.percent.map_or(BUCKETS, |percent| ((percent.0.micros() / 100) as u32).min(BUCKETS)),
        cohorts: cohorts.iter().map(is_named).collect(),
        body_max: mirror.max_body.map_or(BODY_MAX, |size| size.0 as usize),
        comparison: compile_comparison(mirror, place)?,
        timeout: mirror.timeout.map_or(TIMEOUT, |timeout| timeout.0),
        in_flight_max: mirror.max_in_flight.map_or(IN_FLIGHT_MAX, |most| most as usize),
        strips_credentials: mirror.strip_credentials,
        record: on.registry.mirror(name, &variant.name),
    })))
}

fn compile_comparison(mirror: &schema::Mirror, place: &Place) -> Result<Comparison> {
    let compares = |part| mirror.compare.as_ref().is_none_or(|parts| parts.contains(&part));
    let names = |names: &[String], place: Place| -> Result<Box<[HeaderName]>> {
        names.iter().map(|name| header_name(name, &place)).collect()
    };
    let ignored = place.key("ignore");
    let path = |text: &String| text.parse().map_err(|why: String| error(&ignored.key("jsonPaths"), why));
    Ok(Comparison {
        status: compares(schema::MirrorPart::Status),
        headers: compares(schema::MirrorPart::Headers),
        body: compares(schema::MirrorPart::Body),
        fields: mirror.headers.as_ref().map(|fields| names(fields, place.key("headers"))).transpose()?,
        ignored_fields: names(&mirror.ignore.headers, ignored.key("headers"))?,
        ignored_places: mirror.ignore.json_paths.iter().map(path).collect::<std::result::Result<_, CompileError>>()?,
    })
}
