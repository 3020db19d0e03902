//! `telemetry.traces`.

use super::gates::why_not_reached;
use super::problems::Problems;
use super::texts::{check_header_name, check_header_value};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, ParentFrom, Traces};

/// The most header fields, and the most attributes of the process.
const ENTRIES_MAX: usize = 32;
/// The longest name or value of an attribute of the process, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 255;
/// Where receivers speak gRPC.
const GRPC_PORT: u16 = 4317;
/// What the protocol sets.
const OURS: [&str; 6] =
    ["content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding"];
/// Parts of names of fields that hold secrets.
const SECRETS: [&str; 5] = ["authorization", "api-key", "apikey", "token", "secret"];

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    let Some(traces) = file.telemetry.as_ref().and_then(|telemetry| telemetry.traces.as_ref()) else { return };
    let place = Place::root().key("telemetry").key("traces");
    check_endpoint(file, &traces.endpoint, &place.key("endpoint"), problems);
    check_headers(traces, &place, problems);
    check_attributes(traces, &place, problems);
    let is_believed = traces.parent_from == ParentFrom::Everyone
        || file.listeners.iter().any(|listener| !listener.trusted_proxies.is_empty());
    if traces.percent.is_some_and(|percent| percent.0.is_zero()) && !is_believed {
        let message = "0 % of the traces that begin here, and no caller is believed";
        let last = problems.at(Code::NothingTraced, &place.key("percent"), message);
        last.help("raise the percentage, name `trustedProxies` of a listener, or remove `traces`");
    }
}

fn check_endpoint(file: &File, text: &str, place: &Place, problems: &mut Problems<'_>) {
    let uri = text.parse::<http::Uri>().ok();
    let uri = uri.filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    let Some(uri) = uri else {
        let last = problems.at(Code::BadTraceEndpoint, place, format!("`{text}` is not an absolute URL"));
        last.help("write it like http://otel-collector:4318");
        return;
    };
    if uri.port_u16() == Some(GRPC_PORT) {
        let last = problems.at(Code::BadTraceEndpoint, place, format!("port {GRPC_PORT} is that of OTLP over gRPC"));
        last.help("write the port of OTLP over HTTP, which is 4318 by default");
    }
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let message = "a receiver of traces is an address alone, without a query and without a password";
        problems.at(Code::BadTraceEndpoint, place, message).help("put what proves who you are into `headerFiles`");
    }
    if let Some(message) = why_not_reached(file, &uri) {
        let last = problems.at(Code::TraceEndpointNotAllowed, place, message);
        last.help("write https, or name the network: `outbound: { allow: [10.0.0.0/8] }`");
    }
}

fn check_headers(traces: &Traces, place: &Place, problems: &mut Problems<'_>) {
    let (plain, files) = (place.key("headers"), place.key("headerFiles"));
    if traces.headers.len() + traces.header_files.len() > ENTRIES_MAX {
        let message = format!("more than {ENTRIES_MAX} header fields");
        problems.at(Code::LimitOutOfRange, &plain, message).help("remove those that the receiver does not ask for");
    }
    for (name, value) in &traces.headers {
        let place = plain.key(name.as_str());
        check_name(name, &place, problems);
        check_header_value(value, &place, problems);
        let lower = name.to_ascii_lowercase();
        if SECRETS.iter().any(|part| lower.contains(part)) {
            let last = problems.at(Code::TraceHeaderInClear, &place, format!("`{name}` is a secret, and stands here"));
            last.help(format!("write `headerFiles: {{ {name}: FILE }}`, and its value into the file (`chmod 0600`)"));
        }
    }
    for name in traces.header_files.keys() {
        let place = files.key(name.as_str());
        check_name(name, &place, problems);
        if traces.headers.keys().any(|other| other.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` is in `headers` and in `headerFiles`");
            problems.at(Code::TraceSettingTwice, &place, message).help("remove one of them");
        }
    }
}

fn check_name(name: &str, place: &Place, problems: &mut Problems<'_>) {
    if check_header_name(name, place, problems) && OURS.contains(&name.to_ascii_lowercase().as_str()) {
        let last = problems.at(Code::ForbiddenHeader, place, format!("`{name}` is set by ringway itself"));
        last.help("remove it");
    }
}

fn check_attributes(traces: &Traces, place: &Place, problems: &mut Problems<'_>) {
    if traces.service_name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        let last = problems.at(Code::EmptyText, &place.key("serviceName"), "the name is empty");
        last.help("remove the key for `ringway`");
    }
    let attributes = place.key("resourceAttributes");
    if traces.resource_attributes.len() > ENTRIES_MAX {
        problems.at(Code::LimitOutOfRange, &attributes, format!("more than {ENTRIES_MAX} attributes"));
    }
    let name = traces.service_name.iter().map(|name| (place.key("serviceName"), "", name.as_str()));
    let named = traces
        .resource_attributes
        .iter()
        .map(|(name, value)| (attributes.key(name.as_str()), name.as_str(), value.as_str()));
    for (place, name, value) in name.chain(named) {
        if name.len().max(value.len()) > ATTRIBUTE_BYTES_MAX {
            let message = format!("longer than {ATTRIBUTE_BYTES_MAX} bytes");
            problems.at(Code::LimitOutOfRange, &place, message).help("say it more briefly");
        }
        if name == "service.name" {
            let last = problems.at(Code::TraceSettingTwice, &place, "`service.name` has a key of its own");
            last.help("write it as `serviceName`");
        }
    }
}
