//! What a probe sends, and what must come back.

use http::header::{HOST, HeaderName, HeaderValue};
use http::{Method, Uri};
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::schema::{File, Probe};
use crate::control::plans::harm_action;
use crate::model::EVERYONE;
use crate::rollout::plan::{HarmAction, Plan};

/// How often a probe is sent when the file does not say.
const EVERY_DEFAULT: Duration = Duration::from_secs(10);
/// The longest wait before the first one.
pub(super) const FIRST_MAX: Duration = Duration::from_secs(1);

/// A request that is sent again and again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    pub(super) service: String,
    pub(super) cohort: String,
    pub(super) to: String,
    pub(super) from: String,
    /// Where users come in.
    pub(super) listener: SocketAddr,
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) every: Duration,
    /// `None`: from 200 to 399.
    pub(super) status: Option<u16>,
    pub(super) contains: Option<String>,
    pub(super) on_harm: HarmAction,
}

/// The probes of a service. What `check` would have refused is left out.
pub(super) fn scripts(file: &File, service: &str, plan: &Plan) -> Vec<Script> {
    let written = file.services.get(service).and_then(|service| service.rollout.as_ref());
    let (Some(written), Some(rollout), Some(listener)) = (written, &plan.rollout, file.listeners.first()) else {
        return Vec::new();
    };
    let script = |probe: &Probe| {
        let mut headers = Vec::new();
        for (name, value) in &probe.headers {
            headers.push((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?));
        }
        if !headers.iter().any(|(name, _)| name == HOST) {
            headers.insert(0, (HOST, host_of(file, service)));
        }
        Some(Script {
            service: service.to_owned(),
            cohort: probe.cohort.clone(),
            to: rollout.to.clone(),
            from: rollout.from.clone(),
            listener: listener.address,
            method: probe.method.as_deref().map_or(Some(Method::GET), |method| method.parse().ok())?,
            target: probe.path.parse().ok()?,
            headers,
            every: probe.every.map_or(EVERY_DEFAULT, |every| every.0),
            status: probe.expect.status,
            contains: probe.expect.contains.clone(),
            on_harm: probe.on_harm.map_or(HarmAction::Pause, harm_action),
        })
    };
    written.probes.iter().filter_map(script).collect()
}

impl Script {
    /// `GET /checkout of beta`.
    pub(super) fn name(&self) -> String {
        match self.cohort.as_str() {
            EVERYONE => format!("{} {}", self.method, self.target.path()),
            cohort => format!("{} {} of {cohort}", self.method, self.target.path()),
        }
    }
}

/// A host by which a route leads to the service.
fn host_of(file: &File, service: &str) -> HeaderValue {
    let routes = file.routes.iter().filter(|route| route.service.as_deref() == Some(service));
    let plain = routes.flat_map(|route| &route.hostnames).find(|host| !host.contains('*'));
    let host = plain.and_then(|host| HeaderValue::from_str(host).ok());
    host.unwrap_or(HeaderValue::from_static("localhost"))
}
