//! TLS toward endpoints.

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::Stream;

/// How endpoints of a variant are spoken to within TLS. Sessions are kept with it, so that connections resume.
pub struct ClientTls {
    name: ServerName<'static>,
    /// One for each [`Alpn`]; they share their sessions.
    configs: [Arc<ClientConfig>; 3],
    digest: [u8; 32],
}

/// What is asked of an endpoint in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1, also when the endpoint says nothing.
    Http1,
    /// HTTP/2, and nothing else.
    Http2,
    /// What the endpoint chooses.
    Either,
}

/// What a [`ClientTls`] is made of.
pub struct ClientTlsParts {
    /// The cryptography.
    pub provider: Arc<CryptoProvider>,
    /// Who may vouch for an endpoint.
    pub roots: Arc<RootCertStore>,
    /// The name that its certificate must have.
    pub name: ServerName<'static>,
    /// What is presented to it.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// Changes when any of the above does.
    pub digest: [u8; 32],
}

/// Sessions that are kept for resumption, of one variant.
const SESSIONS_MAX: usize = 256;

impl ClientTls {
    /// Makes it of its parts.
    pub fn new(parts: ClientTlsParts) -> Result<ClientTls, rustls::Error> {
        let ClientTlsParts { provider, roots, name, certificate, digest } = parts;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(verifier);
        let mut config = match certificate {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let configs = [Alpn::Http1, Alpn::Http2, Alpn::Either].map(|alpn| {
            let mut config = config.clone();
            config.alpn_protocols = alpn.protocols().iter().map(|protocol| protocol.to_vec()).collect();
            Arc::new(config)
        });
        Ok(ClientTls { name, configs, digest })
    }

    /// Changes when authorities, name or certificate do.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Speaks first. An endpoint that does not take up what is asked for fails.
    pub(super) async fn handshake(&self, stream: TcpStream, alpn: Alpn) -> std::io::Result<Stream> {
        let connector = TlsConnector::from(self.configs[alpn as usize].clone());
        // boxed: it is large, and gone when the connection is open
        let stream = Box::pin(connector.connect(self.name.clone(), stream)).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if alpn == Alpn::Http2 && chosen != Some(HTTP2) {
            return Err(std::io::Error::other("the endpoint does not speak HTTP/2"));
        }
        Ok(TlsStream::Client(stream).into())
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Alpn {
    fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Alpn::Http1 => &[HTTP1],
            Alpn::Http2 => &[HTTP2],
            Alpn::Either => &[HTTP2, HTTP1],
        }
    }
}

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// True when HTTP/2 was agreed upon in the handshake.
pub fn has_agreed_on_http2(stream: &Stream) -> bool {
    matches!(stream, Stream::Tls(stream) if stream.connection().alpn_protocol() == Some(HTTP2))
}
