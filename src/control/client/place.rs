//! Where an admin door is for a command, and the connection to it: a socket, an address of this machine, or a URL.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::files::{Authorities, provider};
use crate::control::{AdminAddress, Doors};

/// Where a door is.
#[derive(Clone)]
pub enum Place {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and its port, by plain HTTP.
    Plain(String, u16),
    /// The same within TLS.
    Tls(String, u16, Arc<ClientConfig>),
}

/// The port of a URL without one.
const PORT_DEFAULT: u16 = 9901;

/// A connection to a door, whatever it is made of.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

impl Place {
    /// The door of a file, seen from this machine. Its certificate is known: it stands beside the file.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn of_doors(doors: &Doors) -> Result<Place, String> {
        let (host, port) = match &doors.admin {
            AdminAddress::Unix(path) => return Ok(Place::Unix(path.clone())),
            AdminAddress::Tcp(address) => (in_url(address.ip()), address.port()),
        };
        match &doors.admin_certificate {
            None => Ok(Place::Plain(host, port)),
            Some(path) => Ok(Place::Tls(host, port, trust(Some(path))?)),
        }
    }

    /// Reads `127.0.0.1:9901`, `unix:/path/to.sock`, `http://host:port` or `https://host:port`, whose certificate is vouched
    /// for by, or is, one of `ca_file`; without it, by the authorities of the system.
    ///
    /// # Errors
    /// It is none of them, or there are no authorities.
    pub fn parse(text: &str, ca_file: Option<&Path>) -> Result<Place, String> {
        let (rest, is_tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Ok(Place::from(&text.parse::<AdminAddress>()?)),
        };
        let bad = || format!("`{text}` is no URL of a door: write it like https://ringway.example.com:{PORT_DEFAULT}");
        let uri: http::Uri = text.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty() && !rest.contains('@')).ok_or_else(bad)?.to_owned();
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad());
        }
        let after = uri.authority().and_then(|authority| authority.as_str().strip_prefix(host.as_str())).unwrap_or("");
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| bad())?,
            None => PORT_DEFAULT,
        };
        if is_tls { Ok(Place::Tls(host, port, trust(ca_file)?)) } else { Ok(Place::Plain(host, port)) }
    }

    /// What a request says in `Host`.
    pub(super) fn host(&self) -> String {
        match self {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Plain(host, port) | Place::Tls(host, port, _) => format!("{host}:{port}"),
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let tcp = async |host: &str, port: u16| TcpStream::connect((without_brackets(host), port)).await;
        match self {
            Place::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Plain(host, port) => Ok(Box::new(tcp(host, *port).await?)),
            Place::Tls(host, port, config) => {
                let name = ServerName::try_from(without_brackets(host).to_owned()).map_err(io::Error::other)?;
                let stream = tcp(host, *port).await?;
                Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
            }
        }
    }
}

impl From<&AdminAddress> for Place {
    fn from(address: &AdminAddress) -> Place {
        match address {
            AdminAddress::Unix(path) => Place::Unix(path.clone()),
            AdminAddress::Tcp(address) => Place::Plain(in_url(address.ip()), address.port()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Plain(host, port) => write!(f, "{host}:{port}"),
            Place::Tls(host, port, _) => write!(f, "https://{host}:{port}"),
        }
    }
}

fn in_url(ip: std::net::IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whom a command believes to be the door.
fn trust(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let (roots, known) = match ca_file {
        None => (Authorities::of_system()?.roots, Vec::new()),
        Some(path) => {
            let named = |problem: String| format!("{} {problem}", path.display());
            let roots = Authorities::load(path).map_err(|problem| named(problem.message))?.roots;
            let known = CertificateDer::pem_file_iter(path).map_err(|error| named(text(&error)))?;
            let known: Result<Vec<_>, _> = known.collect();
            (roots, known.map_err(|error| named(text(&error)))?)
        }
    };
    let verifier = Arc::new(Vouched { known, by: verifier(roots)? });
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn verifier(roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|error| error.to_string())
}

/// A door is believed when it presents exactly a certificate that is known, or one that an authority vouches for, with the name
/// that was asked for. In both cases it must prove that it has the key.
#[derive(Debug)]
struct Vouched {
    known: Vec<CertificateDer<'static>>,
    by: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Vouched {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        further: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.known.iter().any(|known| known == certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.by.verify_server_cert(certificate, further, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let read = |text: &str| Place::parse(text, None).map(|place| (place.to_string(), place.host()));
        let is = |shown: &str, host: &str| Ok((shown.to_owned(), host.to_owned()));
        assert_eq!(read("127.0.0.1:7"), is("127.0.0.1:7", "127.0.0.1:7"));
        assert_eq!(read("[::1]:7"), is("[::1]:7", "[::1]:7"));
        assert_eq!(read("unix:/run/a.sock"), is("unix:/run/a.sock", "localhost"));
        assert_eq!(read("http://door.example:80/"), is("door.example:80", "door.example:80"));
        assert_eq!(read("http://[::1]"), is("[::1]:9901", "[::1]:9901"));
        for text in ["http://", "https://a@b", "http://a/path", "http://a?b", "ftp://a", "a", "http://a:b"] {
            assert!(Place::parse(text, None).is_err(), "{text}");
        }
    }
}
