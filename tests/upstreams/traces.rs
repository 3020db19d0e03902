//! Spans of a whole process, as a receiver of OTLP reads them, beside what the services behind it are told.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use ringway::control::Ended;
use std::sync::{Arc, Mutex};

use crate::service::{Service, Wire};
use crate::story::{DOORS, Story, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A receiver of traces that answers 200.
struct Collector {
    service: Service,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Collector {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&spans);
        let service = Service::wired(move |wire: &mut Wire| {
            while let Some(request) = wire.request() {
                assert_eq!(request.path, "/v1/traces");
                let request = ExportTraceServiceRequest::decode(&*request.body).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                noted.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
                wire.ok("");
            }
        });
        Collector { service, spans }
    }

    /// The span of a path, once it is there.
    fn span(&self, path: &str) -> Span {
        eventually(&format!("the span of {path}"), || {
            let spans = self.spans.lock().unwrap();
            let found = spans.iter().find(|span| attribute(span, "url.path") == path);
            found.cloned().ok_or_else(|| format!("{} other spans", spans.len()))
        })
    }

    fn count(&self) -> usize {
        self.spans.lock().unwrap().len()
    }
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A service that answers with the trace context that it was told.
fn telling() -> Service {
    Service::wired(|wire: &mut Wire| {
        while let Some(request) = wire.request() {
            if request.path.starts_with("/never") {
                return wire.wait_for_end();
            }
            let told = |name| request.header(name).unwrap_or("none").to_owned();
            let count = request.head.to_lowercase().matches("\ntraceparent:").count();
            wire.ok(&format!("{count} {} {}", told("traceparent"), told("tracestate")));
        }
    })
}

/// A file with a tracer; `peers` are trusted.
fn file(service: &Service, collector: &Collector, peers: &str, more: &str) -> String {
    let traces = format!("traces: {{ endpoint: \"http://{}\"{more} }}", collector.service.address);
    let doors = DOORS
        .replace("127.0.0.1:0 }]", &format!("127.0.0.1:0, trustedProxies: [{peers}] }}]"))
        .replace("telemetry: { ", &format!("telemetry: {{ {traces}, "));
    format!(
        "{doors}outbound: {{ allow: [127.0.0.0/8] }}\nservices:\n  shop:\n    hashOn: [{{ cookie: uid }}]\n    variants:\n      \
         stable: {{ weight: 0, endpoints: [\"{0}\"] }}\n      canary: {{ weight: 100, endpoints: [\"{0}\"] }}\n    \
         cohorts:\n      - {{ name: beta, when: {{ header: {{ name: x-beta, exact: '1' }} }}, weights: {{ canary: 100 }} }}\n\
         routes: [{{ matches: [{{ path: {{ prefix: / }} }}], hostnames: [shop.example.com], service: shop, timeouts: {{ request: 200ms }} }}]\n",
        service.address
    )
}

fn host(more: &str) -> String {
    format!("host: shop.example.com\r\nx-beta: 1\r\n{more}")
}

fn caller(flags: &str) -> String {
    host(&format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\ntracestate: vendor=1\r\n"))
}

#[test]
fn a_trusted_caller_is_the_parent_and_our_span_that_of_the_service() {
    let (service, collector) = (telling(), Collector::start());
    let story = Story::begin(&file(&service, &collector, "127.0.0.0/8", ""));
    let told = story.client().get("/called", &caller("01")).body;
    let span = collector.span("/called");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(told, format!("1 00-{TRACE}-{}-01 vendor=1", hex(&span.span_id)));
    for (name, expected) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "shop.example.com"),
        ("network.protocol.version", "1.1"),
        ("url.scheme", "http"),
        ("client.address", "127.0.0.1"),
        ("feature_flag.key", "shop"),
        ("feature_flag.provider.name", "ringway"),
        ("feature_flag.result.variant", "canary"),
        ("feature_flag.result.reason", "targeting_match"),
        ("ringway.cohort", "beta"),
    ] {
        assert_eq!(attribute(&span, name), expected, "{name}");
    }
    assert_eq!((span.name.as_str(), span.kind, span.status), ("GET shop", 2, None));
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);

    // a caller whose trace is not recorded: nor is this part of it, and nothing is changed
    let told = story.client().get("/unsampled", &caller("00")).body;
    assert_eq!(told, format!("1 00-{TRACE}-{CALLER}-00 vendor=1"));
    story.client().get("/after", &caller("01"));
    collector.span("/after");
    assert_eq!(collector.count(), 2);
}

#[test]
fn a_stranger_begins_another_trace_that_is_linked() {
    let (service, collector) = (telling(), Collector::start());
    let story = Story::begin(&file(&service, &collector, "", ""));
    let told = story.client().get("/stranger", &caller("00")).body;
    let span = collector.span("/stranger");
    let trace = hex(&span.trace_id);
    assert_ne!(trace, TRACE);
    assert_eq!(told, format!("1 00-{trace}-{}-01 none", hex(&span.span_id)));
    assert!(span.parent_span_id.is_empty());
    assert_eq!((hex(&span.links[0].trace_id), hex(&span.links[0].span_id)), (TRACE.to_owned(), CALLER.to_owned()));

    let told = story.client().get("/first", &host("")).body;
    let span = collector.span("/first");
    assert_eq!(told, format!("1 00-{}-{}-01 none", hex(&span.trace_id), hex(&span.span_id)));
    assert_eq!((span.links.len(), span.parent_span_id.len()), (0, 0));

    let everyone = file(&service, &collector, "", ", parentFrom: everyone");
    story.apply(&everyone);
    story.client().get("/believed", &caller("01"));
    assert_eq!(hex(&collector.span("/believed").parent_span_id), CALLER);
}

#[test]
fn failures_are_told_whoever_answers() {
    let (service, collector) = (telling(), Collector::start());
    let story = Story::begin(&file(&service, &collector, "", ""));
    story.client().get("/nowhere", "host: other.example.com\r\n");
    story.client().get("/never", &host(""));
    story.client().get("/a%2Fb", &host(""));
    for (path, status, error, flags, flag) in
        [("/nowhere", "404", "", "NR", ""), ("/never", "504", "504", "UT", "shop"), ("/a%2Fb", "400", "", "DPE", "")]
    {
        let span = collector.span(path);
        let found = |name| attribute(&span, name);
        let found = [
            found("http.response.status_code"),
            found("error.type"),
            found("ringway.flags"),
            found("feature_flag.key"),
        ];
        assert_eq!(found, [status, error, flags, flag], "{path}");
        assert_eq!(span.status.map_or(0, |status| status.code), if error.is_empty() { 0 } else { 2 }, "{path}");
    }
}

#[test]
fn of_what_begins_here_a_share_is_sampled_and_services_are_told_which() {
    let (service, collector) = (telling(), Collector::start());
    let story = Story::begin(&file(&service, &collector, "", ", percent: 25"));
    let mut client = story.client();
    let told: Vec<String> = (0..400).map(|at| client.get(&format!("/{at}"), &host("")).body).collect();
    let sampled = told.iter().filter(|told| told.ends_with("-01 none")).count();
    assert!(told.iter().all(|told| told.ends_with("-01 none") || told.ends_with("-00 none")), "{told:?}");
    assert!((50..150).contains(&sampled), "{sampled} of 400");
    story.running.drain();
    assert_eq!(story.running.wait(), Some(Ended::Clean));
    assert_eq!(collector.count(), sampled, "the last ones are sent before the process ends");
}

#[test]
fn without_a_tracer_context_passes_as_it_came() {
    let (service, collector) = (telling(), Collector::start());
    let with = file(&service, &collector, "", "");
    let without = file(&service, &collector, "", "")
        .replace(&format!("traces: {{ endpoint: \"http://{}\" }}, ", collector.service.address), "");
    assert_ne!(with, without);
    let story = Story::begin(&without);
    let told = story.client().get("/off", &caller("00")).body;
    assert_eq!(told, format!("1 00-{TRACE}-{CALLER}-00 vendor=1"));
    assert!(story.client().get("/off", &host("")).body.ends_with("-01 none"));
    assert!(!story.metrics().series().iter().any(|series| series.starts_with("ringway_spans_total")));

    story.apply(&with);
    story.client().get("/on", &host(""));
    collector.span("/on");
    story.expect_metric("ringway_spans_total", &[("result", "exported")], 1.0);
    story.apply(&without);
    assert_eq!(story.client().get("/off", &caller("01")).body, format!("1 00-{TRACE}-{CALLER}-01 vendor=1"));
    assert_eq!(collector.count(), 1);
}

/// Nobody waits for a receiver that does not answer; what has no room is counted.
#[test]
fn a_receiver_that_is_silent_costs_spans_and_no_request() {
    let service = telling();
    let silent = Collector { service: Service::wired(|wire: &mut Wire| wire.wait_for_end()), spans: Arc::default() };
    let story = Story::begin(&file(&service, &silent, "", ""));
    let mut client = story.client();
    let mut served = 0;
    eventually("a dropped span", || {
        (0..1_000).for_each(|_| assert!(client.get("/", &host("")).is_ok()));
        served += 1_000;
        let dropped = story.metrics().sum("ringway_spans_total", &[("result", "dropped")]);
        if dropped > 0.0 { Ok(()) } else { Err(format!("{dropped} of {served}")) }
    });
    println!("the first spans were dropped within {served} requests, none of which waited");
}
