//! The file to a snapshot. Pure but for what it takes over: upstreams and recording slots that are in use already.

mod relied_on;
mod traffic;

use http::{HeaderName, HeaderValue, Method};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::condition::{Condition, GeoTest};
use super::host_pattern::HostPattern;
use super::mirror;
use super::outcome;
use super::overlay::Overlay;
use super::path;
use super::resilience;
use super::routes::{Match, PathTest, Route, RouteTable, Timeouts};
use super::snapshot::{
    Cohort, ListenerLimits, ListenerRules, ListenerTimeouts, Override, Service, Snapshot, Variant, host_patterns,
};
use super::test::Test;
use super::tls::{self, ListenerTls, compile_client};
use super::user_key::KeySource;
use super::vary::VaryTable;
use super::view::Trust;
use crate::config::files::{Continent, Country, Expected, References, Subdivision};
use crate::config::{Place, schema, values};
use crate::model::{BUCKETS, EVERYONE, Layout, STABLE, SaltKey, Weight};
use crate::telemetry::Registry;
use crate::upstream::{Spec, Target, Upstreams};

/// What a compilation builds on.
pub struct Foundation<'f> {
    /// What the file's file names refer to.
    pub references: &'f References,
    /// The upstreams in use.
    pub upstreams: &'f Upstreams,
    /// The recording slots in use.
    pub registry: &'f Registry,
    /// Weights in force that are not the file's.
    pub overlay: &'f Overlay,
}

/// Why a file cannot be compiled. `check` finds every such file before; this is the last line of defence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct CompileError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

pub(super) type Result<T> = std::result::Result<T, CompileError>;

/// Compiles a file that `check` has found valid.
pub fn compile(file: &schema::File, rev: &str, on: &Foundation<'_>) -> Result<Snapshot> {
    let root = Place::root();
    let mut services = Vec::with_capacity(file.services.len());
    for (name, service) in &file.services {
        services.push(compile_service(name, service, on, &root.key("services").key(name))?);
    }
    let mut listeners = HashMap::new();
    for listener in &file.listeners {
        let tls = listener.tls.as_ref().map(|tls| ListenerTls::compile(tls, on.references.tls())).transpose();
        let tls = tls.map_err(|message| error(&root.key("listeners"), message))?;
        listeners.insert(listener.address, Arc::new(compile_listener(listener, tls, on)?));
    }
    Ok(Snapshot {
        rev: rev.into(),
        routes: compile_routes(file, &services, on)?,
        relied_on: relied_on::relied_on(file).into(),
        services,
        listeners,
        geo: on.references.geo().cloned(),
    })
}

pub(super) fn error(place: &Place, message: impl ToString) -> CompileError {
    CompileError { place: place.clone(), message: message.to_string() }
}

fn compile_listener(
    listener: &schema::Listener,
    tls: Option<ListenerTls>,
    on: &Foundation<'_>,
) -> Result<ListenerRules> {
    let (limits, timeouts) = (&listener.limits, &listener.timeouts);
    let (default, patience) = (ListenerLimits::default(), ListenerTimeouts::default());
    let size = |size: Option<values::Size>, default: usize| size.map_or(default, |size| size.0 as usize);
    let duration = |given: Option<values::Duration>, default: Duration| given.map_or(default, |given| given.0);
    let place = Place::root().key("listeners").key(listener.address.to_string());
    let owner = format!("listener {}", listener.address);
    let rate_limit = listener.rate_limit.as_ref().map(|limit| traffic::rate_limit(limit, owner, on, &place));
    Ok(ListenerRules {
        rate_limit: rate_limit.transpose()?,
        name: listener.name.clone().unwrap_or_else(|| listener.address.to_string()).into(),
        tls,
        proxy_protocol: listener.proxy_protocol.as_ref().map(|proxies| proxies.from.clone().into()),
        trust: Trust {
            proxies: listener.trusted_proxies.clone().into(),
            keys: listener.jwt.as_ref().and_then(|jwt| on.references.keys(&jwt.keys_file)),
            expected: listener.jwt.as_ref().map(expected_token).unwrap_or_default(),
        },
        limits: ListenerLimits {
            connections: limits.max_connections,
            connections_per_ip: limits.max_connections_per_ip,
            header_fields: limits.max_header_fields.map_or(default.header_fields, usize::from),
            header_bytes: size(limits.max_header_bytes, default.header_bytes),
            target_bytes: size(limits.max_target_bytes, default.target_bytes),
            body_bytes: limits.max_body_bytes.map(|size| size.0),
            requests_per_connection: limits.max_requests_per_connection.unwrap_or(default.requests_per_connection),
            concurrent_streams: limits.max_concurrent_streams.unwrap_or(default.concurrent_streams),
        },
        timeouts: ListenerTimeouts {
            request_headers: duration(timeouts.request_headers, patience.request_headers),
            keep_alive: duration(timeouts.keep_alive, patience.keep_alive),
            idle: duration(timeouts.idle, patience.idle),
            tunnel: duration(timeouts.tunnel, patience.tunnel),
        },
    })
}

fn expected_token(jwt: &schema::Jwt) -> Expected {
    Expected { issuer: jwt.issuer.clone(), audience: jwt.audience.clone() }
}

fn compile_service(name: &str, service: &schema::Service, on: &Foundation<'_>, place: &Place) -> Result<Service> {
    let variants = compile_variants(name, service, on, place)?;
    let remainder = variants.iter().position(|variant| *variant.name == *STABLE).unwrap_or(0);
    let secret_salt = match &service.salt_file {
        Some(path) => Some(secret(on, path, &place.key("saltFile"))?),
        None => None,
    };
    let salt: &[u8] = match &secret_salt {
        Some(secret) => secret.expose(),
        None => service.open_salt(name).as_bytes(),
    };
    let position = |wanted: &str| variants.iter().position(|variant| &*variant.name == wanted);
    let fallback = match service.fallback.as_deref() {
        Some("none") => None,
        Some(wanted) => {
            Some(position(wanted).ok_or_else(|| error(&place.key("fallback"), "names no variant of the service"))?)
        }
        None => Some(remainder),
    };
    let own_salt = |cohort: &str| {
        let mut text = secret_salt.as_ref().map_or_else(Vec::new, |secret| secret.expose().to_vec());
        text.extend_from_slice(format!("{name}/{cohort}").as_bytes());
        SaltKey::new(&text)
    };
    let outcomes = outcome::compile(service, own_salt, on, place)?;
    let mut cohorts = compile_cohorts(name, service, &variants, remainder, own_salt, on, &place.key("cohorts"))?;
    on.overlay.apply(name, &variants, remainder, &mut cohorts, on.registry);
    let mirror = mirror::compile(name, service, &variants, &cohorts, on, &place.key("mirror"))?;
    let mut compiled = Service {
        name: name.into(),
        header: header_value(name, place)?,
        key_sources: compile_key_sources(service, place)?,
        salt: SaltKey::new(salt),
        override_: match &service.override_ {
            Some(override_) => Some(compile_override(override_, on, &place.key("override"))?),
            None => None,
        },
        fallback,
        expose_assignment: service.expose_assignment,
        cohorts,
        outcomes,
        mirror,
        remainder,
        has_edits: false,
        faults: [].into(),
        vary: VaryTable::default(),
        variants,
    };
    let has_edits = compiled.edits().any(|edits| !edits.is_empty());
    compiled.has_edits = has_edits;
    compiled.vary = VaryTable::of(&compiled, on.references.geo().map(AsRef::as_ref));
    compiled.faults = traffic::faults(&service.faults, &compiled, &place.key("faults"))?;
    Ok(compiled)
}

fn compile_variants(
    name: &str,
    service: &schema::Service,
    on: &Foundation<'_>,
    place: &Place,
) -> Result<Box<[Variant]>> {
    let place = place.key("variants");
    if service.variants.is_empty() {
        return Err(error(&place, "a service needs a variant"));
    }
    let compile = |(variant_name, variant): (&String, &schema::Variant)| {
        let place = place.key(variant_name);
        let targets = variant.endpoints.iter().map(|endpoint| target(endpoint, &place.key("endpoints")));
        let spec = Spec {
            service: name.to_owned(),
            variant: variant_name.clone(),
            targets: targets.collect::<Result<_>>()?,
            protocol: tls::protocol(variant.protocol),
            is_tls: variant.tls.is_some(),
            proxy_protocol: variant.proxy_protocol.map(tls::proxy_version),
            balance: resilience::balance(variant.load_balancing),
            resilience: resilience::of_variant(variant),
        };
        let set_headers = variant.set_headers.iter().map(|(header, value)| {
            let place = place.key("setHeaders").key(header);
            Ok((header_name(header, &place)?, header_value(value, &place)?))
        });
        let upstream = on.upstreams.obtain(spec);
        let tls = variant.tls.as_ref().map(|tls| compile_client(tls, on.references.tls(), &upstream)).transpose();
        Ok(Variant {
            name: variant_name.as_str().into(),
            header: header_value(variant_name, &place)?,
            version: variant.version.as_deref().map(Into::into),
            upstream,
            tls: tls.map_err(|message| error(&place.key("tls"), message))?,
            set_headers: set_headers.collect::<Result<_>>()?,
            edits: traffic::edits(variant.request_headers.as_ref(), variant.response_headers.as_ref(), &place)?,
        })
    };
    service.variants.iter().map(compile).collect()
}

/// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`.
fn target(text: &str, place: &Place) -> Result<Target> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok(Target::Name(host.to_owned(), port)),
        _ => Err(error(place, "an endpoint is host:port")),
    }
}

fn compile_key_sources(service: &schema::Service, place: &Place) -> Result<Box<[KeySource]>> {
    let Some(sources) = &service.hash_on else { return Ok([KeySource::ClientIp].into()) };
    let compile = |source: &schema::KeySource| {
        Ok(match source {
            schema::KeySource::Header(name) => KeySource::Header(header_name(name, &place.key("hashOn"))?),
            schema::KeySource::Cookie(name) => KeySource::Cookie(name.as_str().into()),
            schema::KeySource::Query(name) => KeySource::Query(name.as_str().into()),
            schema::KeySource::JwtClaim(name) => KeySource::JwtClaim(name.as_str().into()),
            schema::KeySource::IssueCookie(name) => KeySource::IssueCookie(name.as_str().into()),
            schema::KeySource::ClientIp => KeySource::ClientIp,
        })
    };
    sources.iter().map(compile).collect()
}

fn compile_override(override_: &schema::Override, on: &Foundation<'_>, place: &Place) -> Result<Override> {
    let secret = match &override_.secret_file {
        Some(path) => Some(secret(on, path, &place.key("secretFile"))?),
        None => None,
    };
    Ok(Override {
        header: header_name(&override_.header, &place.key("header"))?,
        cookie: override_.header.as_str().into(),
        secret,
        from: override_.from.clone().into(),
    })
}

fn compile_cohorts(
    service_name: &str,
    service: &schema::Service,
    variants: &[Variant],
    remainder: usize,
    own_salt: impl Fn(&str) -> SaltKey,
    on: &Foundation<'_>,
    place: &Place,
) -> Result<Box<[Cohort]>> {
    let is_only_variant = service.variants.len() == 1;
    let weight_of = |variant: &schema::Variant| match variant.weight {
        Some(weight) => weight.0,
        None if is_only_variant => Weight::HUNDRED,
        None => Weight::ZERO,
    };
    let shared: Box<[Weight]> = service.variants.values().map(weight_of).collect();
    let everyone = schema::Cohort::everyone();
    let has_everyone = service.cohorts.last().is_some_and(|cohort| cohort.name == EVERYONE);
    let implied = (!has_everyone).then_some(&everyone);
    let compile = |(at, cohort): (usize, &schema::Cohort)| {
        let place = place.index(at);
        let weights = match &cohort.weights {
            Some(own) => variants.iter().map(|variant| own.get(&*variant.name).map_or(Weight::ZERO, |w| w.0)).collect(),
            None => shared.clone(),
        };
        let layout = Layout::new(&weights, remainder).map_err(|problem| error(&place.key("weights"), problem))?;
        let when = match &cohort.when {
            Some(when) => Some(compile_condition(when, &own_salt(&cohort.name), on, &place.key("when"))?),
            None => None,
        };
        let mut compiled = Cohort {
            name: cohort.name.as_str().into(),
            header: header_value(&cohort.name, &place)?,
            when,
            weights,
            has_own_weights: cohort.weights.is_some(),
            layout,
            ruled_by: None,
            slots: Box::default(),
            edits: traffic::edits(cohort.request_headers.as_ref(), cohort.response_headers.as_ref(), &place)?,
        };
        let reason = compiled.usual_reason();
        compiled.slots = variants
            .iter()
            .map(|variant| on.registry.slot(service_name, &cohort.name, &variant.name, reason))
            .collect();
        Ok(compiled)
    };
    service.cohorts.iter().chain(implied).enumerate().map(compile).collect()
}

pub(super) fn compile_condition(
    condition: &schema::Condition,
    own_salt: &SaltKey,
    on: &Foundation<'_>,
    place: &Place,
) -> Result<Condition> {
    let all = |parts: &[schema::Condition], place: Place| -> Result<Box<[Condition]>> {
        let compile = |(at, part): (usize, &schema::Condition)| compile_condition(part, own_salt, on, &place.index(at));
        parts.iter().enumerate().map(compile).collect()
    };
    let test = |field: &schema::Field| Test::of_field(field).map_err(|message| error(place, message));
    Ok(match condition {
        schema::Condition::Any(parts) => Condition::Any(all(parts, place.key("any"))?),
        schema::Condition::All(parts) => Condition::All(all(parts, place.key("all"))?),
        schema::Condition::Not(part) => {
            Condition::Not(Box::new(compile_condition(part, own_salt, on, &place.key("not"))?))
        }
        schema::Condition::Header(field) => Condition::Header(header_name(&field.name, place)?, test(field)?),
        schema::Condition::Query(field) => Condition::Query(field.name.as_str().into(), test(field)?),
        schema::Condition::Cookie(field) => Condition::Cookie(field.name.as_str().into(), test(field)?),
        schema::Condition::Path(text) => Condition::Path(Test::of_path(text).map_err(|message| error(place, message))?),
        schema::Condition::Method(methods) => Condition::Method(compile_methods(methods, place)?),
        schema::Condition::Host(hosts) => Condition::Host(host_patterns(hosts).into()),
        schema::Condition::ClientIp(networks) => Condition::ClientIp(networks.clone().into()),
        schema::Condition::Geo(geo) => Condition::Geo(compile_geo(geo, place)?),
        schema::Condition::UserList(list) => {
            let found = on.references.user_list(&list.file).ok_or_else(|| error(place, "the list is not loaded"))?;
            Condition::UserList(found, list.file.display().to_string().into())
        }
        schema::Condition::UserId(id) => Condition::UserId(id.range[0], id.range[1]),
        // a percentage is held in millionths of a percent, of which a bucket has a hundred
        schema::Condition::Percent(percent) => {
            Condition::Percent(own_salt.clone(), ((percent.0.micros() / 100) as u32).min(BUCKETS))
        }
        schema::Condition::Device(device) => Condition::Device(device.platform.clone().into()),
        schema::Condition::JwtClaim(field) => Condition::JwtClaim(field.name.as_str().into(), test(field)?),
    })
}

fn compile_geo(geo: &schema::Geo, place: &Place) -> Result<GeoTest> {
    fn all<T>(texts: &[String], parse: impl Fn(&[u8]) -> Option<T>, place: &Place) -> Result<Box<[T]>> {
        let parse = |text: &String| parse(text.as_bytes()).ok_or_else(|| error(place, format!("{text} is not known")));
        texts.iter().map(parse).collect()
    }
    Ok(GeoTest {
        countries: all(&geo.countries, Country::parse, &place.key("countries"))?,
        continents: all(&geo.continents, Continent::parse, &place.key("continents"))?,
        subdivisions: all(&geo.subdivisions, Subdivision::parse, &place.key("subdivisions"))?,
        cities: geo.cities.iter().map(|city| city.as_str().into()).collect(),
        asns: geo.asns.clone().into(),
    })
}

fn compile_routes(file: &schema::File, services: &[Service], on: &Foundation<'_>) -> Result<RouteTable> {
    let mut table = RouteTable::default();
    let place = Place::root().key("routes");
    if file.routes.is_empty() && services.len() == 1 {
        let route = Route::to(0);
        let added = table.add(route, &[], || Ok(vec![match_all()]));
        added.map_err(|message| error(&place, message))?;
    }
    let by_name: HashMap<&str, usize> = services.iter().enumerate().map(|(at, service)| (&*service.name, at)).collect();
    for (at, route) in file.routes.iter().enumerate() {
        let place = place.index(at);
        let find = |name: &String| {
            by_name.get(name.as_str()).copied().ok_or_else(|| error(&place.key("service"), "names no service"))
        };
        let default = Timeouts::default();
        let name = route.name.clone().unwrap_or_else(|| format!("routes[{at}]"));
        let owner = format!("route {name}");
        let rate_limit = route.rate_limit.as_ref().map(|limit| traffic::rate_limit(limit, owner, on, &place));
        let compiled = Route {
            name: name.into(),
            cache: traffic::cache(route.cache),
            rate_limit: rate_limit.transpose()?,
            service: route.service.as_ref().map(find).transpose()?,
            redirect: route.redirect.as_ref().map(|to| traffic::redirect(to, &place.key("redirect"))).transpose()?,
            rewrite: route.rewrite.as_ref().map(|to| traffic::rewrite(to, &place.key("rewrite"))).transpose()?,
            edits: traffic::edits(route.request_headers.as_ref(), route.response_headers.as_ref(), &place)?,
            timeouts: Timeouts {
                request: route.timeouts.request.map(|given| given.0),
                connect: route.timeouts.connect.map_or(default.connect, |given| given.0),
                idle: route.timeouts.idle.map(|given| given.0),
            },
            retry: route.retry.as_ref().map(|retry| Box::new(resilience::of_retry(retry))),
        };
        let hosts: Vec<HostPattern> = host_patterns(&route.hostnames);
        table
            .add(compiled, &hosts, || compile_matches(&route.matches, &place))
            .map_err(|message| error(&place, message))?;
    }
    table.sort();
    Ok(table)
}

fn match_all() -> Match {
    Match { path: PathTest::Prefix("".into()), methods: [].into(), headers: [].into(), query: [].into() }
}

fn compile_matches(matches: &[schema::RouteMatch], place: &Place) -> std::result::Result<Vec<Match>, String> {
    if matches.is_empty() {
        return Ok(vec![match_all()]);
    }
    matches.iter().map(|one| compile_match(one, place).map_err(|error| error.to_string())).collect()
}

fn compile_match(one: &schema::RouteMatch, place: &Place) -> Result<Match> {
    let test = |field: &schema::Field| Test::of_field(field).map_err(|message| error(place, message));
    Ok(Match {
        path: match &one.path {
            None => PathTest::Prefix("".into()),
            Some(schema::PathMatch::Exact(path)) => PathTest::Exact(as_matched(path).into()),
            Some(schema::PathMatch::Prefix(path)) => PathTest::Prefix(as_matched(path).trim_end_matches('/').into()),
            Some(schema::PathMatch::Regex(pattern)) => {
                let whole = format!("^(?:{pattern})$");
                PathTest::Regex(Test::of_regex(&whole).map_err(|message| error(place, message))?)
            }
        },
        methods: compile_methods(&one.method, place)?,
        headers: one
            .headers
            .iter()
            .map(|field| Ok((header_name(&field.name, place)?, test(field)?)))
            .collect::<Result<_>>()?,
        query: one.query.iter().map(|field| Ok((field.name.as_str().into(), test(field)?))).collect::<Result<_>>()?,
    })
}

/// A path of the file in the form in which paths of requests are matched.
pub(super) fn as_matched(path: &str) -> String {
    path::normalise(path).map_or_else(|_| path.to_owned(), |normalised| normalised.matched.into_owned())
}

pub(super) fn compile_methods(methods: &[String], place: &Place) -> Result<Box<[Method]>> {
    methods.iter().map(|method| Method::from_bytes(method.as_bytes()).map_err(|e| error(place, e))).collect()
}

pub(super) fn header_name(name: &str, place: &Place) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|problem| error(place, problem))
}

fn header_value(value: &str, place: &Place) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|problem| error(place, problem))
}

fn secret(on: &Foundation<'_>, path: &Path, place: &Place) -> Result<Arc<crate::config::files::Secret>> {
    on.references.secret(path).ok_or_else(|| error(place, "the secret is not loaded"))
}
