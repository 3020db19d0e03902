//! Header edits, redirects and rewrites of the file, compiled.

use http::{HeaderName, StatusCode};

use super::{Foundation, Result, error, header_name, header_value};
use crate::config::template::{self, Piece};
use crate::config::{Place, schema};
use crate::model::BUCKETS;
use crate::routing::edit::{Edits, HeaderEdits, Template};
use crate::routing::fault::{Abort, Delay, Fault};
use crate::routing::limit::{LimitKey, RateLimit};
use crate::routing::redirect::{PathEdit, Redirect, Rewrite};
use crate::routing::snapshot::Service;
use crate::routing::vary::CachePolicy;
use crate::upstream::LimitSpec;

/// The edits of a route, a cohort or a variant.
pub(super) fn edits(
    request: Option<&schema::HeaderEdits>,
    response: Option<&schema::HeaderEdits>,
    place: &Place,
) -> Result<Edits> {
    let compile = |edits: Option<&schema::HeaderEdits>, key: &str| match edits {
        Some(edits) => header_edits(edits, &place.key(key)).map(|edits| Some(Box::new(edits))),
        None => Ok(None),
    };
    Ok(Edits { request: compile(request, "requestHeaders")?, response: compile(response, "responseHeaders")? })
}

fn header_edits(edits: &schema::HeaderEdits, place: &Place) -> Result<HeaderEdits> {
    let lines = |lines: &indexmap::IndexMap<String, String>, key: &str| {
        let line = |(name, text): (&String, &String)| {
            let place = place.key(key).key(name);
            Ok((header_name(name, &place)?, template(text, &place)?))
        };
        lines.iter().map(line).collect::<Result<Box<[(HeaderName, Template)]>>>()
    };
    Ok(HeaderEdits {
        remove: edits.remove.iter().map(|name| header_name(name, &place.key("remove"))).collect::<Result<_>>()?,
        set: lines(&edits.set, "set")?,
        add: lines(&edits.add, "add")?,
    })
}

fn template(text: &str, place: &Place) -> Result<Template> {
    let pieces = template::parse(text).map_err(|problem| error(place, problem))?;
    Ok(match pieces.as_slice() {
        [] => Template::Pieces([].into()),
        [Piece::Text(text)] => Template::Ready(header_value(text, place)?),
        _ => Template::Pieces(pieces.into()),
    })
}

pub(super) fn redirect(redirect: &schema::Redirect, place: &Place) -> Result<Redirect> {
    let status = StatusCode::from_u16(redirect.status.unwrap_or(302)).map_err(|e| error(&place.key("status"), e))?;
    Ok(Redirect {
        status,
        https: redirect.scheme.map(|scheme| scheme == schema::Scheme::Https),
        hostname: redirect.hostname.as_deref().map(Into::into),
        port: redirect.port,
        path: redirect.path.as_ref().map(path_edit),
    })
}

pub(super) fn rewrite(rewrite: &schema::Rewrite, place: &Place) -> Result<Rewrite> {
    let hostname = rewrite.hostname.as_deref().map(|host| header_value(host, &place.key("hostname")));
    Ok(Rewrite { hostname: hostname.transpose()?, path: rewrite.path.as_ref().map(path_edit) })
}

fn path_edit(edit: &schema::PathEdit) -> PathEdit {
    match edit {
        schema::PathEdit::ReplaceFull(path) => PathEdit::Full(path.as_str().into()),
        schema::PathEdit::ReplacePrefix(prefix) => PathEdit::prefix(prefix),
    }
}

/// The keys that a limit tells apart where the file does not say: 1 MiB.
const KEYS_DEFAULT: u32 = 65_536;

/// A rate limit, with the counts of before where nothing of it has changed.
pub(super) fn rate_limit(
    limit: &schema::RateLimit,
    owner: String,
    on: &Foundation<'_>,
    place: &Place,
) -> Result<RateLimit> {
    let key = match &limit.key {
        schema::RateKey::ClientIp => LimitKey::ClientIp,
        schema::RateKey::Header(name) => LimitKey::Header(header_name(name, place)?),
        schema::RateKey::Cookie(name) => LimitKey::Cookie(name.as_str().into()),
        schema::RateKey::UserKey => LimitKey::UserKey,
        schema::RateKey::None => LimitKey::Together,
    };
    let keys_max = if key == LimitKey::Together { 1 } else { limit.max_keys.unwrap_or(KEYS_DEFAULT) };
    let spec = LimitSpec {
        owner: format!("{owner} {key:?}"),
        requests: limit.requests,
        per: limit.per.0,
        burst: limit.burst.unwrap_or(limit.requests),
        keys_max: keys_max as usize,
    };
    Ok(RateLimit::new(on.upstreams.limiter(spec), key))
}

/// The faults of a service. Those that draw users have numbers of their own, by their place.
pub(super) fn faults(faults: &[schema::Fault], service: &Service, place: &Place) -> Result<Box<[Fault]>> {
    let compile = |(at, fault): (usize, &schema::Fault)| {
        let place = place.index(at);
        let variant = service.variants.iter().position(|variant| *variant.name == fault.variant);
        let cohort = |name: &String| {
            let found = service.cohorts.iter().position(|cohort| *cohort.name == **name);
            found.ok_or_else(|| error(&place.key("cohort"), "names no cohort of the service"))
        };
        let until = |text: &String| {
            let time: jiff::Timestamp = text.parse().map_err(|problem| error(&place.key("until"), problem))?;
            Ok(u64::try_from(time.as_second()).unwrap_or(0))
        };
        Ok(Fault {
            variant: variant.ok_or_else(|| error(&place.key("variant"), "names no variant of the service"))?,
            cohort: fault.cohort.as_ref().map(cohort).transpose()?,
            delay: fault.delay.as_ref().map(delay),
            abort: fault.abort.as_ref().map(|abort| match abort {
                schema::FaultAbort::Status(status) => Abort::Status(*status),
                schema::FaultAbort::Reset => Abort::Reset,
            }),
            // a percentage is held in millionths of a percent, of which a bucket has a hundred
            share: ((fault.percent.0.micros() / 100) as u32).min(BUCKETS),
            sticky: fault.sticky.then(|| (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            until: fault.until.as_ref().map(until).transpose()?,
        })
    };
    faults.iter().enumerate().map(compile).collect()
}

fn delay(delay: &schema::FaultDelay) -> Delay {
    let quantiles = [(500_000, delay.p50), (900_000, delay.p90), (990_000, delay.p99)];
    match delay.fixed {
        Some(fixed) => Delay::Fixed(fixed.0),
        None => Delay::Quantiles(quantiles.iter().filter_map(|(share, given)| Some((*share, (*given)?.0))).collect()),
    }
}

pub(super) fn cache(cache: schema::Cache) -> CachePolicy {
    match cache {
        schema::Cache::Vary => CachePolicy::Vary,
        schema::Cache::Private => CachePolicy::Private,
        schema::Cache::Off => CachePolicy::Off,
    }
}
