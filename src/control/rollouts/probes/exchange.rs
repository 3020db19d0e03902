//! One probe, from its connection to what came back.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

use super::script::Script;
use crate::control::plane::Dialer;
use crate::routing::forged::X_RINGWAY_PROBE;

/// The longest that a probe may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a body that are looked at.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// What was expected.
    Passed,
    /// Something else; what.
    Unexpected(String),
    /// Nothing from the variant; why.
    Failed(String),
    /// It did not come to the cohort that it is for; to which.
    Misrouted(String),
}

impl Came {
    /// The words of metrics, by [`Came::index`].
    pub(super) const KINDS: [&str; 4] = ["passed", "unexpected", "failed", "misrouted"];

    pub(super) fn index(&self) -> usize {
        match self {
            Came::Passed => 0,
            Came::Unexpected(_) => 1,
            Came::Failed(_) => 2,
            Came::Misrouted(_) => 3,
        }
    }
}

/// What can go wrong on the way through this process; who probes is told of all of it in the same way.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("no connection: {0}")]
    Connection(#[from] io::Error),
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    #[error("no answer: {0}")]
    Answer(#[from] hyper::Error),
}

/// Sends a probe to a variant.
pub(super) async fn send(script: &Script, variant: &str, dialer: &Dialer) -> Came {
    let exchange = tokio::time::timeout(TIME_MAX, exchange(script, variant, dialer));
    match exchange.await {
        Ok(Ok(came)) => came,
        Ok(Err(broken)) => Came::Failed(broken.to_string()),
        Err(_) => Came::Failed(format!("no answer within {} s", TIME_MAX.as_secs())),
    }
}

async fn exchange(script: &Script, variant: &str, dialer: &Dialer) -> Result<Came, Broken> {
    let (ours, theirs) = pair().await?;
    dialer(script.listener, theirs);
    let mut request = Request::builder().method(&script.method).uri(&script.target);
    for (name, value) in &script.headers {
        request = request.header(name, value);
    }
    let request = request.header(X_RINGWAY_PROBE, variant).body(Empty::<Bytes>::new())?;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(BODY_BYTES_MAX).handshake(TokioIo::new(ours)).await?;
    let asked = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        judge(script, variant, &head, body).await
    };
    tokio::select! {
        biased;
        came = asked => came,
        // what was asked finds out by itself
        came = async { let _ = connection.await; std::future::pending().await } => came,
    }
}

/// A connection of this process with itself.
async fn pair() -> io::Result<(TcpStream, std::net::TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (ours, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (ours, (theirs, peer)) = (ours?, accepted?);
    if ours.local_addr()? != peer {
        // whoever else has found the port in this instant must not become one of us
        return Err(io::Error::other("somebody else has connected"));
    }
    Ok((ours, theirs.into_std()?))
}

async fn judge(script: &Script, variant: &str, head: &response::Parts, body: Incoming) -> Result<Came, Broken> {
    let status = head.status;
    match decided(&head.headers) {
        Some([service, cohort, chosen]) => {
            if (service, cohort) != (script.service.as_str(), script.cohort.as_str()) {
                return Ok(Came::Misrouted(format!(
                    "it came to {service}/{cohort}, not to {}/{}; give it the headers by which the cohort is known",
                    script.service, script.cohort
                )));
            }
            if chosen != variant {
                return Ok(Came::Misrouted(format!("it came to the variant {chosen}, not to {variant}")));
            }
        }
        None if status.is_server_error() => {
            return Ok(Came::Failed(format!("{variant} could not be asked ({})", status.as_u16())));
        }
        None => {
            let text = format!("no route took it to {} ({}); give it a host header", script.service, status.as_u16());
            return Ok(Came::Misrouted(text));
        }
    }
    let is_expected = match script.status {
        Some(expected) => status.as_u16() == expected,
        None => (StatusCode::OK.as_u16()..400).contains(&status.as_u16()),
    };
    if !is_expected {
        let expected = script.status.map_or("200 to 399".to_owned(), |status| status.to_string());
        return Ok(Came::Unexpected(format!("{variant} answered {}, not {expected}", status.as_u16())));
    }
    let Some(wanted) = &script.contains else { return Ok(Came::Passed) };
    let body = beginning(body).await?;
    let is_there = body.windows(wanted.len().max(1)).any(|part| part == wanted.as_bytes()) || wanted.is_empty();
    Ok(if is_there { Came::Passed } else { Came::Unexpected(format!("{variant} answered without `{wanted}`")) })
}

/// Service, cohort and variant, as the data plane tells a probe; `None` when no variant has answered.
fn decided(headers: &HeaderMap) -> Option<[&str; 3]> {
    let field = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    Some([field("x-ringway-service")?, field("x-ringway-cohort")?, field("x-ringway-variant")?])
}

async fn beginning(mut body: Incoming) -> Result<Vec<u8>, Broken> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = BODY_BYTES_MAX - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if read.len() == BODY_BYTES_MAX {
            break;
        }
    }
    Ok(read)
}
