//! The other end of the doors: what `ringway reload`, `drain` and `healthcheck` do.

mod listen;
mod place;

pub use listen::{Part, listen};
pub use place::Place;

use super::{AdminAddress, reachable};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// An admin door, and what proves there who asks.
#[derive(Clone)]
pub struct Door {
    /// Where it is.
    pub place: Place,
    /// The token, if there is one. Nothing prints it.
    pub token: Option<String>,
}

/// What came of `ringway reload`.
#[derive(Clone, Debug, PartialEq)]
pub enum Reloaded {
    /// The files are in force.
    Applied {
        /// The revision in force.
        rev: String,
        /// The one before.
        previous_rev: String,
        /// From the start of the reload until it was in force, in milliseconds.
        took_ms: f64,
        /// What looks wrong but can be used, one line each.
        warnings: Vec<String>,
    },
    /// The files were in force already.
    Unchanged {
        /// The revision in force.
        rev: String,
    },
}

/// Why there was no good answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers, or not as Ringway would.
    #[error("cannot reach {door}: {reason}")]
    Unreachable {
        /// Where.
        door: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The door wants to know who asks, or whoever asks may not.
    #[error("{door} refuses: {detail}")]
    Denied {
        /// Where.
        door: String,
        /// Why, as the door says it.
        detail: String,
        /// What to do about it.
        help: &'static str,
    },
    /// The answer took too long.
    #[error("{door} gave no answer within {} s", .patience.as_secs_f64())]
    TimedOut {
        /// Where.
        door: String,
        /// How long it may take.
        patience: Duration,
    },
    /// The answer is no.
    #[error("{detail}")]
    Refused {
        /// One line.
        detail: String,
        /// The report for people, as `check` writes it; empty when there is none.
        text: String,
        /// The whole answer: `application/problem+json` of the admin door, or the probe's text.
        answer: Value,
    },
}

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Reloads and waits for the result. Blocks; not for async code.
pub fn reload(door: &Door, patience: Duration) -> Result<Reloaded, ClientError> {
    let value = within(door.to_string(), patience, change(door, "/api/v1/reload"))?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    match value["result"].as_str() {
        Some("applied") => {
            let warnings = value["warnings"].as_array().into_iter().flatten();
            Ok(Reloaded::Applied {
                rev: text("rev"),
                previous_rev: text("previousRev"),
                took_ms: value["tookMs"].as_f64().unwrap_or_default(),
                warnings: warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect(),
            })
        }
        Some("unchanged") => Ok(Reloaded::Unchanged { rev: text("rev") }),
        _ => Err(stranger(&door.to_string())),
    }
}

/// Lets the process finish what is in flight and end; does not wait for the end. Blocks; not for async code.
pub fn drain(door: &Door, patience: Duration) -> Result<(), ClientError> {
    within(door.to_string(), patience, change(door, "/api/v1/drain")).map(drop)
}

/// A link for a browser to sign in: `ringway.sign-in-link/v1`. Blocks; not for async code.
pub fn sign_in_link(door: &Door, patience: Duration) -> Result<Value, ClientError> {
    within(door.to_string(), patience, change(door, "/api/v1/session/link"))
}

/// Asks something of a rollout. Blocks; not for async code.
pub fn ask_rollout(
    door: &Door,
    service: &str,
    command: &str,
    wish: &Value,
    patience: Duration,
) -> Result<Value, ClientError> {
    let path = format!("/api/v1/rollouts/{}/{command}", utf8_percent_encode(service, NON_ALPHANUMERIC));
    within(door.to_string(), patience, exchange(door, Method::POST, &path, wish.to_string()))
}

/// `ringway.status/v1`. Blocks; not for async code.
pub fn status(door: &Door, patience: Duration) -> Result<Value, ClientError> {
    within(door.to_string(), patience, show(door, "/api/v1/status"))
}

/// A page of the API, such as `/api/v1/rollouts`. Blocks; not for async code.
pub fn page(door: &Door, path: &str, patience: Duration) -> Result<Value, ClientError> {
    within(door.to_string(), patience, show(door, path))
}

/// Asks a page of the API something that has a body. Blocks; not for async code.
pub fn ask(door: &Door, path: &str, body: &Value, patience: Duration) -> Result<Value, ClientError> {
    within(door.to_string(), patience, exchange(door, Method::POST, path, body.to_string()))
}

/// A query such as `service=shop&cohort=beta`, with a `?` before it; of values that are there.
pub fn query<'v>(fields: impl IntoIterator<Item = (&'v str, Option<String>)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        let sign = if text.is_empty() { '?' } else { '&' };
        text.push_str(&format!("{sign}{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)));
    }
    text
}

/// Whether the process welcomes new requests, as its telemetry door says. Blocks; not for async code.
pub fn ready(telemetry: SocketAddr, patience: Duration) -> Result<(), ClientError> {
    probe(telemetry, "/readyz?verbose", "not ready", patience)
}

/// Whether the process lives, as its telemetry door says. Blocks; not for async code.
pub fn alive(telemetry: SocketAddr, patience: Duration) -> Result<(), ClientError> {
    probe(telemetry, "/livez", "not alive", patience)
}

fn probe(telemetry: SocketAddr, path: &str, no: &str, patience: Duration) -> Result<(), ClientError> {
    let at = reachable(telemetry);
    within(at.to_string(), patience, async {
        let (status, text) = tcp(at, request(Method::GET, &at.to_string(), path, String::new())).await?;
        let text = String::from_utf8_lossy(&text).trim_end().to_owned();
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => {
                let answer = Value::String(text.clone());
                Err(ClientError::Refused { detail: no.to_owned(), text, answer })
            }
            _ => Err(stranger(&at.to_string())),
        }
    })
}

impl From<AdminAddress> for Door {
    fn from(address: AdminAddress) -> Door {
        Door { place: Place::from(&address), token: None }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({}, token {})", self.place, if self.token.is_some() { "hidden" } else { "none" })
    }
}

impl ClientError {
    /// The exit code of the contract.
    pub fn exit_code(&self) -> u8 {
        match self {
            ClientError::Unreachable { .. } | ClientError::Denied { .. } => 3,
            ClientError::TimedOut { .. } => 4,
            ClientError::Refused { answer, .. } if answer["status"] == 409 || answer["status"] == 412 => 5,
            ClientError::Refused { .. } => 1,
        }
    }
}

async fn change(door: &Door, path: &str) -> Result<Value, ClientError> {
    exchange(door, Method::POST, path, "{}".to_owned()).await
}

async fn show(door: &Door, path: &str) -> Result<Value, ClientError> {
    exchange(door, Method::GET, path, String::new()).await
}

async fn exchange(door: &Door, method: Method, path: &str, body: String) -> Result<Value, ClientError> {
    let name = door.to_string();
    let request = with_token(request(method, &door.place.host(), path, body), door)?;
    let stream = door.place.connect().await.map_err(|error| unreachable(&name, &error))?;
    let (status, body) = send(stream, request).await.map_err(|error| unreachable(&name, &error))?;
    understood(name, status, &body)
}

/// An answer, or why there is none.
fn understood(name: String, status: StatusCode, body: &[u8]) -> Result<Value, ClientError> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Err(stranger(&name)) };
    if status.is_success() {
        return Ok(value);
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let Some(detail) = text("detail") else { return Err(stranger(&name)) };
    let help = match status {
        StatusCode::UNAUTHORIZED => {
            "name a token by --token-file FILE or the variable RINGWAY_TOKEN; `ringway token admin --name NAME` makes one"
        }
        StatusCode::FORBIDDEN => "ask with a token of a greater role: --token-file FILE, or the variable RINGWAY_TOKEN",
        _ => return Err(ClientError::Refused { detail, text: text("text").unwrap_or_default(), answer: value }),
    };
    Err(ClientError::Denied { door: name, detail, help })
}

fn with_token(mut request: Request<Full<Bytes>>, door: &Door) -> Result<Request<Full<Bytes>>, ClientError> {
    if let Some(token) = &door.token {
        let value = http::HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| ClientError::Denied {
            door: door.to_string(),
            detail: "the token has characters that no token has".to_owned(),
            help: "a token is one word such as rw_.., as `ringway token admin` printed it",
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

fn request(method: Method, host: &str, path: &str, body: String) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    // both come from this file and from addresses, so they are valid; were they not, the door would say so
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = host.parse() {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    request
}

async fn tcp(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), ClientError> {
    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(&address.to_string(), &error))?;
    send(stream, request).await.map_err(|error| unreachable(&address.to_string(), &error))
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), std::io::Error> {
    let broken = |error: Problem| std::io::Error::other(error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok::<_, Problem>((status, body.to_bytes()))
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        answer = &mut answer => return answer.map_err(broken),
        ended = &mut connection => ended.map_err(|error| broken(error.into()))?,
    }
    // the connection has ended in peace: what it brought is there
    answer.await.map_err(broken)
}

fn within<T>(
    door: String,
    patience: Duration,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreachable(&door, &error))?;
    let done = runtime.block_on(async { tokio::time::timeout(patience, work).await });
    done.unwrap_or(Err(ClientError::TimedOut { door, patience }))
}

fn unreachable(door: &str, error: &std::io::Error) -> ClientError {
    use std::io::ErrorKind::{ConnectionRefused, InvalidData, NotFound, PermissionDenied};
    let reason = match error.kind() {
        ConnectionRefused | NotFound => {
            "nobody listens there; is Ringway running, and is this the address of its file?".to_owned()
        }
        InvalidData => format!("{error}; --ca-file FILE names who vouches for its certificate"),
        PermissionDenied => "the socket belongs to another user; use the account that Ringway runs under".to_owned(),
        _ => error.to_string(),
    };
    ClientError::Unreachable { door: door.to_owned(), reason }
}

fn stranger(door: &str) -> ClientError {
    let reason = "whoever listens there is not Ringway, or another version of it".to_owned();
    ClientError::Unreachable { door: door.to_owned(), reason }
}
