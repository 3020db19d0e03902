//! The one way by which this process asks others on its own account: notifiers, gates, and receivers of traces.
//!
//! ```text
//! URL ─▶ names looked up once ─▶ addresses that may be asked ─▶ connection to one of those ─▶ one exchange ─▶ closed
//! ```
//!
//! What is asked stands in the file, and still must not become a way into the network behind it (server-side request
//! forgery): a name is looked up once, its addresses are judged, and the connection goes to an address that was judged.
//! Redirects are not followed, an answer has a limit, and all of it takes at most [`TIME_MAX`].

mod allowed;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls_pki_types::ServerName;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

use crate::config::files::{Authorities, References, provider};
use crate::config::schema::File;
use crate::model::printable;
use crate::upstream::{Alpn, ClientTls, ClientTlsParts, Connect, ConnectError, connect};
use allowed::Allowed;

/// The longest that one exchange may take, look-up and connection included.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(5);
/// The most bytes of an answer's body that are read; what comes after them is not.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most fields of an answer's head.
const HEADERS_MAX: usize = 100;
/// The most addresses of a name that are tried.
const TRIES_MAX: usize = 4;
/// How long one of several addresses may take to be connected to.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest wait that an answer can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Asks others, within the rules of the file.
#[derive(Clone)]
pub(crate) struct Outside {
    allowed: Arc<Allowed>,
    names: Arc<Names>,
    roots: Arc<Roots>,
    time_max: Duration,
}

/// A request to somebody outside.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Absolute. May hold user and password, which are sent as `Authorization: Basic`.
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// How long it asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// The first [`ANSWER_BYTES_MAX`] bytes.
    pub(crate) body: Bytes,
    /// There was more of it.
    pub(crate) is_cut: bool,
}

/// A name with the address that was found for it.
fn resolved(host: &str, address: &IpAddr) -> String {
    let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    if is_name { format!("{host} is {address}, which") } else { host.to_owned() }
}

/// Why nothing came back. No text here has more of a URL than its host: the rest may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failed {
    #[error("the address is not an absolute http or https URL")]
    NotUrl,
    #[error("{} is no public address: `outbound.allow` must name its network", resolved(host, address))]
    NotAllowed { host: String, address: IpAddr },
    #[error(
        "{host} would be asked without encryption: write https, or name the network of {address} in `outbound.allow`"
    )]
    Plain { host: String, address: IpAddr },
    #[error("the name {host} cannot be looked up: {reason}")]
    Name { host: String, reason: String },
    #[error("no connection to {host}")]
    Connect { host: String },
    #[error("{host} does not prove to be {host}: its certificate is of another name or of an unknown authority")]
    Tls { host: String },
    #[error("no answer from {host} in time")]
    TimedOut { host: String },
    #[error("{host} broke off, or what came is no answer")]
    Broken { host: String },
    #[error("no certificate can be verified: {0}")]
    NoRoots(String),
}

impl Answered {
    /// What is wrong with an answer that is no success. `words`: what it says of that, of which the first are shown.
    pub(crate) fn complaint(&self, words: &[u8]) -> String {
        let status = self.status;
        if (300..400).contains(&status) {
            return format!("it answered {status}, a redirect, which is not followed; write the address it leads to");
        }
        let words = first_words(words);
        if words.is_empty() { format!("it answered {status}") } else { format!("it answered {status}: {words}") }
    }
}

impl Failed {
    /// The file must change before this can go well.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Failed::NotUrl | Failed::NotAllowed { .. } | Failed::Plain { .. })
    }
}

/// The first words of what a stranger says, for people.
pub(crate) fn first_words(text: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 120;
    let first: String = String::from_utf8_lossy(text).trim().chars().take(CHARACTERS_MAX).collect();
    printable(&first).into_owned()
}

/// How names become addresses.
enum Names {
    System,
    #[cfg(test)]
    Told(testing::Told),
}

/// Who may vouch for others. Those of the system are read when they are first needed.
struct Roots {
    own: Option<Arc<RootCertStore>>,
    all: OnceCell<Result<Arc<RootCertStore>, String>>,
}

/// Where a URL leads.
struct Target {
    is_secure: bool,
    host: String,
    port: u16,
    /// For the request line.
    path: String,
    /// As the other one knows itself.
    host_field: String,
    authorization: Option<HeaderValue>,
}

impl Outside {
    /// Within the rules of a file.
    pub(crate) fn new(file: &File, references: &References) -> Outside {
        let outbound = file.outbound.clone().unwrap_or_default();
        let own = outbound.ca_file.as_deref().and_then(|path| references.tls().authorities(Some(path)));
        let own = own.map(|authorities| Arc::clone(&authorities.roots));
        Outside {
            allowed: Arc::new(Allowed::new(outbound.allow)),
            names: Arc::new(Names::System),
            roots: Arc::new(Roots { own, all: OnceCell::new() }),
            time_max: TIME_MAX,
        }
    }

    /// Asks once.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answered, Failed> {
        let target = Target::of(&ask.url)?;
        let host = target.host.clone();
        let exchange = self.exchange(target, ask);
        tokio::time::timeout(self.time_max, exchange).await.unwrap_or(Err(Failed::TimedOut { host }))
    }

    async fn exchange(&self, target: Target, ask: Ask) -> Result<Answered, Failed> {
        let addresses = self.addresses(&target).await?;
        let tls = if target.is_secure { Some(self.tls(&target).await?) } else { None };
        let mut last = Failed::Connect { host: target.host.clone() };
        let stream = 'connected: {
            for address in addresses {
                let tls = tls.as_ref().map(|tls| (tls, Alpn::Http1));
                match connect(&Connect { address, proxy_header: None, tls }, CONNECT_MAX).await {
                    Ok(stream) => break 'connected stream,
                    Err(ConnectError::Tls) => last = Failed::Tls { host: target.host.clone() },
                    Err(ConnectError::Refused | ConnectError::Exhausted | ConnectError::TimedOut) => {}
                }
            }
            return Err(last);
        };
        let broken = |_| Failed::Broken { host: target.host.clone() };
        let request = target.request(ask)?;
        let handshake = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        beside(connection, async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let (head, mut rest) = answer.into_parts();
            let (mut body, mut is_cut) = (BytesMut::new(), false);
            while let Some(frame) = rest.frame().await {
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                let room = ANSWER_BYTES_MAX - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    is_cut = true;
                    break;
                }
            }
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
            Ok(Answered { status: head.status.as_u16(), retry_after, body: body.freeze(), is_cut })
        })
        .await
    }

    /// The addresses of a target that may be asked, looked up once.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Failed> {
        let found = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => {
                let unknown = |reason: String| Failed::Name { host: target.host.clone(), reason };
                let found = self.names.lookup(&target.host, target.port).await.map_err(unknown)?;
                if found.is_empty() {
                    return Err(unknown("it has no address".to_owned()));
                }
                found
            }
        };
        let mut refused = None;
        let mut addresses = Vec::new();
        for address in found {
            match self.allowed.judge(address, target.is_secure) {
                Ok(()) => addresses.push(SocketAddr::new(address, target.port)),
                Err(why) => refused = refused.or(Some((why, address))),
            }
        }
        addresses.truncate(TRIES_MAX);
        match (addresses.is_empty(), refused) {
            (true, Some((why, address))) => {
                let host = target.host.clone();
                Err(match why {
                    allowed::Refused::NotPublic => Failed::NotAllowed { host, address },
                    allowed::Refused::Plain => Failed::Plain { host, address },
                })
            }
            _ => Ok(addresses),
        }
    }

    async fn tls(&self, target: &Target) -> Result<ClientTls, Failed> {
        let roots = self.roots.all().await.map_err(Failed::NoRoots)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Failed::NotUrl)?;
        let parts = ClientTlsParts { provider: provider(), roots, name, certificate: None, digest: [0; 32] };
        ClientTls::new(parts).map_err(|error| Failed::NoRoots(error.to_string()))
    }
}

impl Roots {
    async fn all(&self) -> Result<Arc<RootCertStore>, String> {
        let load = || async {
            let system = tokio::task::spawn_blocking(Authorities::of_system).await;
            match (system.unwrap_or_else(|_| Err("the reading broke off".to_owned())), &self.own) {
                (Ok(system), None) => Ok(system.roots),
                (Ok(system), Some(own)) => {
                    let mut all = RootCertStore::clone(&system.roots);
                    all.roots.extend(own.roots.iter().cloned());
                    Ok(Arc::new(all))
                }
                (Err(_), Some(own)) => Ok(Arc::clone(own)),
                (Err(error), None) => Err(error),
            }
        };
        self.all.get_or_init(load).await.clone()
    }
}

impl Names {
    async fn lookup(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
        match self {
            Names::System => {
                let found = tokio::net::lookup_host((host, port)).await.map_err(|error| error.to_string())?;
                Ok(found.map(|address| address.ip()).collect())
            }
            #[cfg(test)]
            Names::Told(told) => Ok(told.lookup(host)),
        }
    }
}

impl Target {
    fn of(url: &str) -> Result<Target, Failed> {
        let uri: Uri = url.trim().parse().map_err(|_| Failed::NotUrl)?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(_) | None => return Err(Failed::NotUrl),
        };
        let authority = uri.authority().ok_or(Failed::NotUrl)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Failed::NotUrl);
        }
        let (user, host_field) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host.to_owned()),
            None => (None, authority.as_str().to_owned()),
        };
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let authorization = user.map(basic).transpose()?;
        Ok(Target { is_secure, host, port, path, host_field, authorization })
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, Failed> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(&self.path)
            .header(HOST, &self.host_field)
            .header(USER_AGENT, concat!("ringway/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        if !ask.body.is_empty() {
            request = request.header(CONTENT_LENGTH, ask.body.len());
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(ask.body)).map_err(|_| Failed::NotUrl)
    }
}

/// `user:password` of a URL as a header. Nothing prints it.
fn basic(user: &str) -> Result<HeaderValue, Failed> {
    let decoded: Vec<u8> = percent_decode_str(user).collect();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(decoded))).map_err(|_| Failed::NotUrl)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Seconds, or a date (RFC 9110 §10.2.3), never longer than [`RETRY_AFTER_MAX`].
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Runs a connection for as long as something is asked on it.
async fn beside<T>(connection: impl Future, asked: impl Future<Output = T>) -> T {
    let connection = async {
        let _ = connection.await;
        // what was asked finds out by itself
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = asked => answer,
        () = connection => std::future::pending().await,
    }
}
