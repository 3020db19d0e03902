//! Where spans go, and what is said of this process.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use std::sync::OnceLock;

use crate::config::files::References;
use crate::config::schema::Traces;
use crate::control::outside::Ask;
use crate::telemetry::protobuf::Message;

/// The receiver when the file names no path.
const PATH: &str = "/v1/traces";
/// The name of this process when the file gives none.
const SERVICE_NAME: &str = "ringway";
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Fields of messages.
const REQUEST_RESOURCE_SPANS: u64 = 1;
const RESOURCE_SPANS_RESOURCE: u64 = 1;
const RESOURCE_SPANS_SCOPE_SPANS: u64 = 2;
const SCOPE_SPANS_SCOPE: u64 = 1;

/// A receiver with its secrets. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Receiver {
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The message `Resource`.
    resource: Vec<u8>,
}

impl Receiver {
    /// `None` when one of its header fields cannot be one.
    pub(super) fn of(traces: &Traces, references: &References) -> Option<Receiver> {
        let mut headers = vec![(CONTENT_TYPE, PROTOBUF)];
        for (name, value) in &traces.headers {
            headers.push((name.parse().ok()?, value.parse().ok()?));
        }
        for (name, path) in &traces.header_files {
            let secret = references.secret(path)?;
            let mut value = HeaderValue::from_bytes(secret.expose().trim_ascii()).ok()?;
            value.set_sensitive(true);
            headers.push((name.parse().ok()?, value));
        }
        Some(Receiver { url: url(&traces.endpoint), headers, resource: resource(traces) })
    }

    /// The request that tells it spans, which are encoded.
    pub(super) fn ask(&self, spans: &[u8]) -> Ask {
        let (url, headers) = (self.url.clone(), self.headers.clone());
        Ask { method: Method::POST, url, headers, body: Bytes::from(self.body(spans)) }
    }

    /// An `ExportTraceServiceRequest`. `spans`: fields 2 of a message `ScopeSpans`, one after another.
    fn body(&self, spans: &[u8]) -> Vec<u8> {
        let mut scope = Message::default();
        scope.text(1, "ringway");
        scope.text(2, env!("CARGO_PKG_VERSION"));
        let mut head = Message::default();
        head.message(SCOPE_SPANS_SCOPE, &scope);

        let mut of_resource = Message::default();
        of_resource.bytes(RESOURCE_SPANS_RESOURCE, &self.resource);
        of_resource.begin(RESOURCE_SPANS_SCOPE_SPANS, head.0.len() + spans.len());
        of_resource.0.extend(head.0);
        let mut request = Message::default();
        request.begin(REQUEST_RESOURCE_SPANS, of_resource.0.len() + spans.len());
        request.0.extend(of_resource.0);
        request.0.extend(spans);
        request.0
    }
}

fn url(endpoint: &str) -> String {
    let endpoint = endpoint.trim();
    let has_path = endpoint.parse::<http::Uri>().is_ok_and(|uri| !matches!(uri.path(), "" | "/"));
    if has_path { endpoint.to_owned() } else { format!("{}{PATH}", endpoint.trim_end_matches('/')) }
}

/// What is said of this process. The file's word counts.
fn resource(traces: &Traces) -> Vec<u8> {
    let name = traces.service_name.as_deref().unwrap_or(SERVICE_NAME);
    let own =
        [("service.name", name), ("service.version", env!("CARGO_PKG_VERSION")), ("service.instance.id", instance())];
    let given = &traces.resource_attributes;
    let own = own.into_iter().filter(|(key, _)| !given.contains_key(*key));
    let mut resource = Message::default();
    for (key, value) in own.chain(given.iter().map(|(key, value)| (key.as_str(), value.as_str()))) {
        let (mut text, mut attribute) = (Message::default(), Message::default());
        text.text(1, value);
        attribute.text(1, key);
        attribute.message(2, &text);
        resource.message(1, &attribute);
    }
    resource.0
}

/// Another one for each process, so that replicas can be told apart.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| format!("{:032x}", fastrand::u128(1..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_that_of_the_protocol() {
        for (endpoint, expected) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a:4318/", "http://a:4318/v1/traces"),
            ("https://a/otlp/v1/traces", "https://a/otlp/v1/traces"),
            ("https://a/v1/traces/", "https://a/v1/traces/"),
            (" http://[::1]:4318 ", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(url(endpoint), expected, "{endpoint}");
        }
    }
}
