//! Spans to a receiver that takes them, does not, is slow, or is not there.

#![cfg(test)]

use super::batch::SPANS_MAX;
use super::*;
use crate::config::{Source, load_texts};
use crate::control::notify::Patience;
use crate::control::outside::testing::until;
use crate::model::{Outcome, Reason};
use crate::telemetry::access_log::Entry;
use crate::telemetry::spans::{Traced, WAITING_MAX};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n";

const QUICK: Pace = Pace {
    look: Duration::from_millis(1),
    age_max: Duration::from_millis(1),
    patience: Patience {
        first: Duration::from_millis(1),
        most: Duration::from_millis(2),
        give_up_after: Duration::from_secs(60),
    },
};

/// A receiver that answers as it is told, one request after another; the last answer stays. Without one it is silent.
struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
}

impl Collector {
    async fn with(answers: &[&'static str]) -> Collector {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, mut answers) = (Arc::clone(&seen), answers.iter().copied().collect::<VecDeque<_>>());
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = read(&mut stream).await else { continue };
                noted.lock().unwrap().push(request);
                let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
                match answer {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    None => silent.push(stream),
                }
            }
        });
        Collector { address, seen }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What each request had: `GET shop` of spans.
    fn spans(&self) -> usize {
        let of_request = |request: &ExportTraceServiceRequest| -> usize {
            request
                .resource_spans
                .iter()
                .flat_map(|resource| &resource.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        };
        self.seen.lock().unwrap().iter().map(|(_, request)| of_request(request)).sum()
    }

    fn file(&self, more: &str) -> (tempfile::TempDir, File, References) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "Bearer 5up3r\n").unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "
listeners: [{{ address: 127.0.0.1:8080 }}]
outbound: {{ allow: [127.0.0.0/8] }}
telemetry: {{ traces: {{ endpoint: 'http://{}', headerFiles: {{ authorization: token }}, {more} }} }}
services: {{ shop: {{ variants: {{ stable: {{ endpoints: ['127.0.0.1:3001'] }} }} }} }}
",
            self.address
        );
        let source = Source { name: "a.yaml".to_owned(), text, base: folder.path().to_owned() };
        let file = load_texts(vec![source]).unwrap_or_else(|errors| panic!("{errors}")).file;
        let (references, problems) = References::load(&file);
        assert_eq!(problems, []);
        (folder, file, references)
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, ExportTraceServiceRequest)> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let body = &bytes[end + 4..];
        if body.len() >= length.parse().unwrap() {
            return Some((head, ExportTraceServiceRequest::decode(body).unwrap()));
        }
    }
}

/// An export that is at work.
struct Story {
    spans: Arc<Spans>,
    export: Export,
}

impl Story {
    fn begin(file: &File, references: &References, pace: Pace) -> Story {
        let spans = Arc::new(Spans::default());
        let mut export = Export::new(Arc::clone(&spans), pace);
        export.follow(file, references);
        Story { spans, export }
    }

    /// Requests that have ended.
    fn serve(&self, count: usize) {
        let sampling = self.spans.sampling().expect("there are spans");
        let entry =
            Entry { method: "GET", service: "shop", variant: "stable", reason: Some(Reason::Only), ..Entry::default() };
        for _ in 0..count {
            let Traced::Sampled(begun) = sampling.decide(None, false, || (1, false)) else {
                panic!("each one is sampled")
            };
            self.spans.offer(&entry, &begun, Outcome::Success);
        }
    }

    /// Exported, rejected, failed, dropped.
    fn facts(&self) -> [u64; 4] {
        let facts = self.export.facts();
        assert_eq!(facts.iter().map(|fact| fact.0).collect::<Vec<_>>(), ["exported", "rejected", "failed", "dropped"]);
        [0, 1, 2, 3].map(|at| facts[at].1)
    }
}

#[tokio::test]
async fn a_receiver_is_told_who_speaks_and_what_happened() {
    let collector = Collector::with(&[OK]).await;
    let more = "serviceName: edge, resourceAttributes: { deployment.environment.name: test }, headers: { x-tenant: a }";
    let (_folder, file, references) = collector.file(more);
    let story = Story::begin(&file, &references, QUICK);
    story.serve(3);
    until(|| story.facts() == [3, 0, 0, 0]).await;
    let seen = collector.seen.lock().unwrap();
    let (head, request) = &seen[0];
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    for field in ["content-type: application/x-protobuf", "authorization: bearer 5up3r", "x-tenant: a"] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let attributes: BTreeMap<&str, &Value> = resource
        .attributes
        .iter()
        .map(|attribute| (&*attribute.key, attribute.value.as_ref().unwrap().value.as_ref().unwrap()))
        .collect();
    let text = |text: &str| Value::StringValue(text.to_owned());
    assert_eq!(attributes["service.name"], &text("edge"));
    assert_eq!(attributes["service.version"], &text(env!("CARGO_PKG_VERSION")));
    assert_eq!(attributes["deployment.environment.name"], &text("test"));
    assert!(attributes.contains_key("service.instance.id"));
    let scope = &request.resource_spans[0].scope_spans[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "ringway");
    assert_eq!((scope.spans[0].name.as_str(), scope.spans[0].kind), ("GET shop", 2));
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_and_what_is_refused_is_not() {
    let collector = Collector::with(&[BUSY, "HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n", OK]).await;
    let (_folder, file, references) = collector.file("");
    let story = Story::begin(&file, &references, QUICK);
    story.serve(2);
    until(|| story.facts() == [2, 0, 0, 0]).await;
    assert_eq!((collector.requests(), collector.spans()), (3, 6), "the same spans three times");

    let collector = Collector::with(&["HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n", OK]).await;
    let (_folder, file, references) = collector.file("");
    let story = Story::begin(&file, &references, QUICK);
    story.serve(2);
    until(|| story.facts() == [0, 0, 2, 0]).await;
    story.serve(1);
    until(|| story.facts() == [1, 0, 2, 0]).await;
    assert_eq!(collector.requests(), 2);
}

#[tokio::test]
async fn spans_that_a_receiver_does_not_want_are_counted() {
    let collector = Collector::with(&["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\x0a\x02\x08\x02"]).await;
    let (_folder, file, references) = collector.file("");
    let story = Story::begin(&file, &references, QUICK);
    story.serve(5);
    until(|| story.facts() == [3, 2, 0, 0]).await;
}

#[tokio::test]
async fn spans_are_batched_and_old_ones_do_not_wait_for_others() {
    let collector = Collector::with(&[OK]).await;
    let (_folder, file, references) = collector.file("");
    let story = Story::begin(&file, &references, Pace { age_max: Duration::from_secs(3_600), ..QUICK });
    story.serve(SPANS_MAX + 1);
    until(|| story.facts()[0] == SPANS_MAX as u64).await;
    assert_eq!(collector.requests(), 1, "one waits for others");
    drop(story);
    let story = Story::begin(&file, &references, QUICK);
    story.serve(1);
    until(|| story.facts()[0] == 1).await;
}

#[tokio::test]
async fn a_receiver_that_is_not_there_costs_spans_and_nothing_else() {
    let gone = Collector { address: free_address().await, seen: Arc::default() };
    let (_folder, file, references) = gone.file("");
    let impatient = Patience { give_up_after: Duration::ZERO, ..QUICK.patience };
    let story = Story::begin(&file, &references, Pace { patience: impatient, ..QUICK });
    story.serve(4);
    until(|| story.facts() == [0, 0, 4, 0]).await;

    // while it is tried again, what comes waits, up to a limit
    let story = Story::begin(&file, &references, QUICK);
    story.serve(1);
    until(|| story.spans.sampling().is_some()).await;
    story.serve(WAITING_MAX + SPANS_MAX);
    let [exported, rejected, failed, dropped] = story.facts();
    assert_eq!((exported, rejected, failed), (0, 0, 0));
    assert!((1..=SPANS_MAX as u64 + 1).contains(&dropped), "{dropped}");
}

#[tokio::test]
async fn a_reload_leads_to_another_receiver_also_what_waits() {
    let (first, second) = (Collector::with(&[BUSY]).await, Collector::with(&[OK]).await);
    let (_folder, file, references) = first.file("");
    let mut story = Story::begin(&file, &references, QUICK);
    story.serve(2);
    until(|| first.requests() > 1).await;
    let (_folder, mut file, references) = second.file("");
    story.export.follow(&file, &references);
    until(|| story.facts() == [2, 0, 0, 0]).await;
    assert_eq!(second.spans(), 2);

    file.telemetry.as_mut().unwrap().traces = None;
    story.serve(1);
    story.export.follow(&file, &references);
    assert_eq!(story.spans.sampling(), None, "nothing comes any more");
    until(|| story.facts() == [3, 0, 0, 0]).await;
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_what_waits_but_not_for_ever() {
    let collector = Collector::with(&[BUSY, OK]).await;
    let (_folder, file, references) = collector.file("");
    let slow = Pace { look: Duration::from_millis(1), ..Pace::default() };
    let mut story = Story::begin(&file, &references, slow);
    story.serve(2 * SPANS_MAX + 1);
    story.export.flush(Duration::from_secs(20)).await;
    assert_eq!(collector.spans(), 3 * SPANS_MAX + 1, "the first batch twice");
    assert_eq!(story.export.facts(), []);

    let silent = Collector::with(&[]).await;
    let (_folder, file, references) = silent.file("");
    let mut story = Story::begin(&file, &references, QUICK);
    story.serve(1);
    story.export.flush(Duration::from_millis(50)).await;
}

/// An address where nobody listens.
async fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap()
}
