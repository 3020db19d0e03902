//! The sample service: a real HTTP server for each endpoint of the file, with the latency and the errors of a real one.

use crate::config::schema::File;
use crate::control::Drill;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::f64::consts::TAU;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};
use tokio::sync::oneshot;

/// The sample servers. They end when this is dropped.
pub(super) struct Upstreams {
    samples: Vec<(SocketAddr, Arc<Sample>)>,
    /// Endpoints where somebody else listens.
    missing: usize,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// An endpoint of the sample service.
#[derive(Debug)]
struct Sample {
    release: ArcSwap<Deployed>,
    drill: Arc<Drill>,
}

/// What runs at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deployed {
    /// Its name.
    pub(super) version: String,
    /// It is being released, so that a drill is about it.
    pub(super) is_new: bool,
    /// The users who are hurt by a mistake in it.
    pub(super) flaw_for: Option<&'static str>,
}

/// The most endpoints of a file that get a sample server.
const SAMPLES_MAX: usize = 16;

/// How far latencies spread: the standard deviation of their logarithm. 95 % take at most 2.3 times the median.
const SPREAD: f64 = 0.5;

/// Half of the answers take at most this long.
const MEDIAN_MS: f64 = 18.0;

/// One answer in so many is an error, whichever the version: nothing real is without.
const ONE_ERROR_IN: f64 = 1.0 / 2_000.0;

/// Of the requests of users whom a mistake concerns, this share fails.
const FLAW: f64 = 0.4;

impl Upstreams {
    /// Serves at the endpoints of a file that are on this machine. Where somebody listens already, that is what the
    /// proxy will talk to, and `notes` says so.
    pub(super) fn start(file: &File, drill: &Arc<Drill>, notes: &mut Vec<String>) -> io::Result<Upstreams> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut samples, mut missing) = (Vec::new(), 0);
        for (address, deployed) in samples_of(file) {
            match TcpListener::bind(address) {
                Ok(socket) => {
                    socket.set_nonblocking(true)?;
                    let sample = Arc::new(Sample::new(deployed, drill));
                    samples.push((address, Arc::clone(&sample)));
                    runtime.spawn(serve(socket, sample));
                }
                Err(error) => {
                    missing += 1;
                    notes.push(format!("no sample server of {} on {address}: {error}", deployed.version));
                }
            }
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                // a sender that is gone says the same
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("demo-upstreams".into()).spawn(run)?;
        Ok(Upstreams { samples, missing, stop: Some(stop), thread: Some(thread) })
    }

    /// True when every endpoint of this machine is ours.
    pub(super) fn are_complete(&self) -> bool {
        self.missing == 0
    }

    /// Puts another version on the endpoint at this port.
    pub(super) fn deploy(&self, port: u16, deployed: &Deployed) {
        let at = self.samples.iter().filter(|(address, _)| address.port() == port);
        at.for_each(|(_, sample)| sample.release.store(Arc::new(deployed.clone())));
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // a panic of its own was told by the panic hook
            let _ = thread.join();
        }
    }
}

/// The endpoints that are addresses of this machine, with what is to answer there.
fn samples_of(file: &File) -> Vec<(SocketAddr, Deployed)> {
    let variants = file.services.values().flat_map(|service| service.variants.iter().enumerate());
    let samples = variants.flat_map(|(position, (name, variant))| {
        let version = variant.version.as_deref().unwrap_or(name);
        let deployed = Deployed { version: version.to_owned(), is_new: position > 0, flaw_for: None };
        let local = variant.endpoints.iter().filter_map(|endpoint| endpoint.parse::<SocketAddr>().ok());
        local.filter(|address| address.ip().is_loopback()).map(move |address| (address, deployed.clone()))
    });
    samples.take(SAMPLES_MAX).collect()
}

async fn serve(socket: TcpListener, sample: Arc<Sample>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(socket) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // out of descriptors, most likely: some come back as connections end
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // a small answer must not wait for more to send with it
        let _ = stream.set_nodelay(true);
        let sample = Arc::clone(&sample);
        tokio::spawn(async move {
            let answers = service_fn(move |request| answer(Arc::clone(&sample), request));
            // how a connection ends is the proxy's business
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answers).await;
        });
    }
}

async fn answer(sample: Arc<Sample>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let deployed = sample.release.load_full();
    tokio::time::sleep(sample.latency(&deployed)).await;
    let (status, kind, body) = if fastrand::f64() < sample.failing(&deployed, request.headers()) {
        (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{} has a bad day\n", deployed.version))
    } else if wants_html(request.headers()) {
        (StatusCode::OK, "text/html; charset=utf-8", deployed.html(request.headers()))
    } else {
        (StatusCode::OK, "application/json", format!("{:#}\n", deployed.json(request.headers())))
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Ok(response)
}

impl Sample {
    fn new(deployed: Deployed, drill: &Arc<Drill>) -> Sample {
        Sample { release: ArcSwap::from_pointee(deployed), drill: Arc::clone(drill) }
    }

    /// Log-normal, as latencies of services are: many a little faster than the median, a few much slower.
    fn latency(&self, deployed: &Deployed) -> Duration {
        // Box and Muller, "A note on the generation of random normal deviates", 1958
        let normal = (-2.0 * (1.0 - fastrand::f64()).ln()).sqrt() * (TAU * fastrand::f64()).cos();
        let usual = Duration::from_secs_f64(MEDIAN_MS / 1_000.0 * (SPREAD * normal).exp());
        if deployed.is_new { usual + self.drill.delay() } else { usual }
    }

    /// How likely this request fails.
    fn failing(&self, deployed: &Deployed, headers: &HeaderMap) -> f64 {
        let cohort = headers.get("x-ringway-cohort").and_then(|name| name.to_str().ok());
        let is_concerned = deployed.flaw_for.is_some_and(|concerned| cohort == Some(concerned));
        let flaw = if is_concerned { FLAW } else { 0.0 };
        let drill = if deployed.is_new { self.drill.failing() } else { 0.0 };
        ONE_ERROR_IN.max(flaw).max(drill)
    }
}

impl Deployed {
    fn json(&self, headers: &HeaderMap) -> Value {
        let told: Map<String, Value> = told(headers).map(|(name, value)| (name.to_owned(), json!(value))).collect();
        json!({ "version": self.version, "told": told })
    }

    fn html(&self, headers: &HeaderMap) -> String {
        let rows: String =
            told(headers).map(|(name, value)| format!("<tr><td>{name}<td>{}\n", escaped(&value))).collect();
        format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>{0}</title>\n\
             <style>body{{font:1.2rem system-ui;margin:4rem;color-scheme:light dark}} td{{padding-right:2rem}}</style>\n\
             <h1>This is {0}</h1>\n<table>\n{rows}</table>\n\
             <p>You stay with it: a user keeps the version as long as the weights let them.\n",
            escaped(&self.version)
        )
    }
}

/// What Ringway tells a service about a request.
fn told(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("x-ringway-"));
    ours.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load_texts};

    #[test]
    fn endpoints_of_this_machine_get_a_sample_and_others_do_not() {
        let text = "listeners: [{ address: 127.0.0.1:1 }]\nservices:\n  shop:\n    variants:\n      \
            stable: { weight: 1, version: v41, endpoints: [127.0.0.1:2, 10.0.0.1:2] }\n      \
            canary: { weight: 1, endpoints: [\"[::1]:3\", shop.internal:80] }\n";
        let loaded = load_texts(vec![Source::new("a.yaml", text)]).unwrap();
        let samples = samples_of(&loaded.file);
        let seen: Vec<_> = samples.iter().map(|(at, of)| (at.to_string(), of.version.as_str(), of.is_new)).collect();
        assert_eq!(seen, [("127.0.0.1:2".to_owned(), "v41", false), ("[::1]:3".to_owned(), "canary", true)]);
    }

    #[test]
    fn half_of_the_latencies_are_below_the_median_and_few_far_above() {
        let (drill, old) = (Arc::new(Drill::default()), deployed("v41", None));
        let sample = Sample::new(old.clone(), &drill);
        let mut latencies: Vec<_> = (0..10_000).map(|_| sample.latency(&old).as_secs_f64() * 1_000.0).collect();
        latencies.sort_by(f64::total_cmp);
        let (p50, p95) = (latencies[5_000], latencies[9_500]);
        assert!((p50 - MEDIAN_MS).abs() < 2.0 && (36.0..47.0).contains(&p95), "{p50} {p95}");
        drill.set(0.0, Duration::from_secs(1));
        let new = Deployed { is_new: true, ..old.clone() };
        assert!(sample.latency(&new) > Duration::from_secs(1) && sample.latency(&old) < Duration::from_secs(1));
    }

    fn deployed(version: &str, flaw_for: Option<&'static str>) -> Deployed {
        Deployed { version: version.to_owned(), is_new: false, flaw_for }
    }

    #[test]
    fn a_flaw_hurts_those_whom_it_concerns_and_a_drill_everybody_who_has_the_new_version() {
        let drill = Arc::new(Drill::default());
        let flawed = Deployed { is_new: true, ..deployed("v43", Some("asia")) };
        let sample = Sample::new(flawed.clone(), &drill);
        let of = |cohort: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("x-ringway-cohort"),
                http::HeaderValue::from_static(cohort),
            )])
        };
        assert_eq!(sample.failing(&flawed, &of("asia")), FLAW);
        assert_eq!(sample.failing(&flawed, &of("beta")), ONE_ERROR_IN);
        drill.set(0.5, Duration::ZERO);
        assert_eq!(sample.failing(&flawed, &of("beta")), 0.5);
        assert_eq!(sample.failing(&deployed("v42", None), &of("beta")), ONE_ERROR_IN);
    }

    #[test]
    fn a_page_shows_what_the_service_was_told_and_nothing_of_it_is_markup() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ringway-cohort", "<b>beta".parse().unwrap());
        headers.insert("cookie", "uid=alice".parse().unwrap());
        let sample = deployed("v42", None);
        let page = sample.html(&headers);
        assert!(page.contains("This is v42") && page.contains("<td>&lt;b&gt;beta"), "{page}");
        assert!(!page.contains("alice"));
        assert_eq!(sample.json(&headers), json!({ "version": "v42", "told": { "x-ringway-cohort": "<b>beta" } }));
    }
}
