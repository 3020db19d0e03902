//! The telemetry door: metrics for scrapers and probes for whoever keeps the process alive. GET only; nothing
//! can be changed through it, so it may listen where the admin door must not.

use super::health::Health;
use super::metrics::{CONTENT_TYPE, Metrics, PROTOBUF_CONTENT_TYPE, prefers_protobuf};
use crate::model::printable;
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Body as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Open connections; further ones are closed at once, as scrapers and probes are few.
const CONNECTIONS_MAX: usize = 64;
/// How old a connection gets: it is closed after the answer that is under way then.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// What that last answer may take.
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// From the first byte of a connection, or from the last response, to the end of the next request's headers.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(10);
/// How long requests may go on after the shutdown.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a connection may still bring a request when the door closes.
const CLOSING_GRACE: Duration = Duration::from_millis(200);
/// After a failed accept, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Scrapes at the same time: a scrape costs CPU that belongs to the users' requests.
const SCRAPES_MAX: usize = 1;

const INDEX: &str = "ringway telemetry\n\n\
    /metrics          for Prometheus\n\
    /livez            the process runs\n\
    /readyz           new requests are welcome; ?verbose says why not\n\
    /startupz         all listeners accept connections\n";

/// What the door tells.
#[derive(Clone)]
pub struct Door {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    scrapes: Arc<Semaphore>,
}

impl Door {
    /// A door that tells `health` and `metrics`.
    pub fn new(health: Arc<Health>, metrics: Arc<Metrics>) -> Door {
        Door { health, metrics, scrapes: Arc::new(Semaphore::new(SCRAPES_MAX)) }
    }
}

/// Serves the door until `shutdown` completes; what is in flight then has one second.
///
/// The listener must be of the running Tokio runtime (`TcpListener::from_std` for one that was bound before).
pub async fn serve(listener: TcpListener, door: Door, shutdown: impl Future<Output = ()>) {
    serve_router(listener, router(door), "telemetry", shutdown).await;
}

/// Serves the pages of a door called `name`, with the limits of this one, until `shutdown` completes.
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    name: &'static str,
    shutdown: impl Future<Output = ()>,
) {
    let (closing, is_closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(connection(stream, router.clone(), is_closing.clone()));
                }
                Ok((refused, _)) => drop(refused),
                Err(error) => {
                    tracing::warn!(%error, door = name, "the door cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    closing.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // Connections that are still open then are cut when the set is dropped.
    let _ = tokio::time::timeout(SHUTDOWN_TIME_MAX, all_ended).await;
}

async fn connection(stream: TcpStream, router: Router, mut is_closing: watch::Receiver<bool>) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let served = async {
        tokio::select! {
            result = connection.as_mut() => return result,
            _ = is_closing.wait_for(|closing| *closing) => {}
            () = tokio::time::sleep(CONNECTION_TIME_MAX) => {}
        }
        // who has come just now gets an answer
        tokio::select! {
            result = connection.as_mut() => return result,
            () = tokio::time::sleep(CLOSING_GRACE) => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    // A scraper that breaks off or takes too long is its own affair: there is nothing to tell anyone.
    let _ = tokio::time::timeout(CONNECTION_TIME_MAX + LAST_ANSWER_TIME_MAX, served).await;
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/", get(|| async { plain(StatusCode::OK, INDEX) }))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { plain(StatusCode::OK, "alive\n") }))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "no such page; see /\n") })
        .method_not_allowed_fallback(|| async { plain(StatusCode::METHOD_NOT_ALLOWED, "this door is read only\n") })
        .layer(middleware::from_fn(without_body))
        .with_state(door)
}

/// Nothing here takes a body, so none is read.
async fn without_body(request: Request, next: Next) -> Response {
    if !request.body().is_end_stream() {
        let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
        return (close, plain(StatusCode::PAYLOAD_TOO_LARGE, "this door takes no body\n")).into_response();
    }
    next.run(request).await
}

/// Summing and writing thousands of series takes milliseconds: off the control thread.
async fn metrics(State(door): State<Door>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let is_protobuf = prefers_protobuf(accept);
    let Ok(_scrape) = door.scrapes.acquire().await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    };
    let write = move || match is_protobuf {
        true => Ok((PROTOBUF_CONTENT_TYPE, door.metrics.protobuf())),
        false => door.metrics.text().map(|text| (CONTENT_TYPE, text)),
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(Ok((content_type, body))) => with_type(StatusCode::OK, content_type, body),
        Ok(Err(error)) => {
            tracing::error!(%error, "metrics cannot be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written; the log says why\n")
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be collected");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be collected; the log says why\n")
        }
    }
}

async fn startupz(State(door): State<Door>) -> Response {
    if door.health.is_started() {
        plain(StatusCode::OK, "started\n")
    } else {
        plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn readyz(State(door): State<Door>, RawQuery(query): RawQuery) -> Response {
    let health = &door.health;
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let is_verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let summary = match (health.is_started(), health.is_draining()) {
        (_, true) => "draining\n",
        (false, false) => "starting\n",
        (true, false) => "ready\n",
    };
    if is_verbose { plain(status, checks(health) + summary) } else { plain(status, summary) }
}

/// One line for each check: `ok`, `failed` (makes the process not ready) or `warning` (does not).
fn checks(health: &Health) -> String {
    let started = if health.is_started() { "ok       started" } else { "failed   started: listeners are not open yet" };
    let draining = if health.is_draining() { "failed   draining: no new requests" } else { "ok       not draining" };
    let reloads = health.reloads();
    let reload = match &reloads.problem {
        None if reloads.applied == 0 => "warning  configuration: none loaded yet".to_owned(),
        None => "ok       last reload applied".to_owned(),
        Some(problem) => {
            format!("warning  last reload rejected, the one before stays in force: {}", printable(problem))
        }
    };
    format!("{started}\n{draining}\n{reload}\n")
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    with_type(status, "text/plain; charset=utf-8", text.into().into_bytes())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    const NO_SNIFFING: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (NO_SNIFFING, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Registry;
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    struct Story {
        health: Arc<Health>,
        address: SocketAddr,
        shutdown: oneshot::Sender<()>,
        served: JoinHandle<()>,
    }

    async fn story() -> Story {
        let health = Health::new();
        let metrics = Metrics::new(Registry::new(1, 10_000), Arc::clone(&health), None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, is_shut) = oneshot::channel();
        let door = Door::new(Arc::clone(&health), Arc::new(metrics));
        let served = tokio::spawn(serve(listener, door, async { is_shut.await.unwrap() }));
        Story { health, address, shutdown, served }
    }

    impl Story {
        async fn says(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        }

        /// The status, and the body.
        async fn answers(&self, method: &str, target: &str) -> (u16, String) {
            let head = "Host: localhost\r\nConnection: close\r\n\r\n";
            let answer = self.says(&format!("{method} {target} HTTP/1.1\r\n{head}")).await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head[9..12].parse().unwrap(), body.to_owned())
        }
    }

    #[tokio::test]
    async fn the_probes_follow_the_life_of_the_process() {
        let story = story().await;
        assert_eq!(story.answers("GET", "/livez").await, (200, "alive\n".into()));
        assert_eq!(story.answers("GET", "/startupz").await.0, 503);
        assert_eq!(story.answers("GET", "/readyz").await, (503, "starting\n".into()));
        story.health.start();
        assert_eq!(story.answers("GET", "/startupz").await.0, 200);
        assert_eq!(story.answers("GET", "/readyz").await, (200, "ready\n".into()));
        story.health.drain();
        assert_eq!(story.answers("GET", "/readyz").await, (503, "draining\n".into()));
        assert_eq!(story.answers("GET", "/livez").await.0, 200);
    }

    #[tokio::test]
    async fn a_rejected_reload_stays_ready_and_says_so() {
        let story = story().await;
        story.health.start();
        story.health.reload_applied(1);
        assert!(story.answers("GET", "/readyz?verbose").await.1.contains("ok       last reload applied\n"));
        story.health.reload_rejected("RW0110: no such\nvariant");
        let (status, body) = story.answers("GET", "/readyz?verbose=1").await;
        assert_eq!(status, 200);
        assert!(body.contains("rejected, the one before stays in force: RW0110: no such\\nvariant\n"), "{body}");
        assert_eq!(story.answers("GET", "/readyz").await.1, "ready\n");
    }

    #[tokio::test]
    async fn metrics_are_text_and_the_index_lists_the_pages() {
        let story = story().await;
        let answer = story.says("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\nringway_build_info{version="), "{answer}");
        assert!(story.answers("GET", "/").await.1.contains("/metrics"));
    }

    #[tokio::test]
    async fn only_get_and_head_of_known_pages() {
        let story = story().await;
        assert_eq!(story.answers("HEAD", "/livez").await, (200, String::new()));
        assert_eq!(story.answers("POST", "/readyz").await, (405, "this door is read only\n".into()));
        assert_eq!(story.answers("DELETE", "/metrics").await.0, 405);
        assert_eq!(story.answers("GET", "/admin").await, (404, "no such page; see /\n".into()));
        let with_body = "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
        assert!(story.says(with_body).await.starts_with("HTTP/1.1 413"));
    }

    #[tokio::test]
    async fn oversized_headers_are_refused() {
        let story = story().await;
        let many: String = (0..HEADERS_MAX + 1).map(|at| format!("a{at}: b\r\n")).collect();
        assert!(story.says(&format!("GET / HTTP/1.1\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431"));
        let large = "b".repeat(HEADER_BYTES_MAX);
        assert!(story.says(&format!("GET / HTTP/1.1\r\na: {large}\r\n\r\n")).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn more_connections_than_allowed_are_closed_at_once() {
        let story = story().await;
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(story.address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(stream.read(&mut [0; 512]).await.unwrap() > 0);
            held.push(stream);
        }
        let mut refused = TcpStream::connect(story.address).await.unwrap();
        assert_eq!(refused.read(&mut [0; 8]).await.unwrap_or(0), 0);
        held.clear();
        let mut answered = false;
        for _ in 0..1_000 {
            let mut stream = TcpStream::connect(story.address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.ok();
            answered = stream.read(&mut [0; 8]).await.unwrap_or(0) > 0;
            if answered {
                break;
            }
        }
        assert!(answered, "room again after the others have gone");
    }

    #[tokio::test]
    async fn the_door_closes_with_idle_connections_open() {
        let story = story().await;
        let mut idle = TcpStream::connect(story.address).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
        story.shutdown.send(()).unwrap();
        story.served.await.unwrap();
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(story.address).await.is_err());
    }
}
