//! TLS of listeners: which certificate a client gets, who may come in, and what it is compiled from.
//!
//! Each snapshot has `ServerConfig`s of its own, so that certificates change together with everything else. Nothing is
//! lost by that: sessions live in tickets, whose keys are the process's.

use aws_lc_rs::digest::{Context, SHA256};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::ticketer::{Binding, BoundTicketer};
use crate::config::files::{Authorities, Certificate, RevocationLists, TlsFiles, provider};
use crate::config::schema::{self, ClientAuth, TlsVersion};
use crate::upstream::{ClientTls, ClientTlsParts, Protocol, ProxyVersion, Target, Upstream};

/// TLS of a listener.
pub struct ListenerTls {
    /// How handshakes are made.
    pub config: Arc<ServerConfig>,
    /// What is presented in them.
    pub certificates: Arc<Certificates>,
}

/// The certificates of a listener, by the names that clients ask for.
#[derive(Debug)]
pub struct Certificates {
    all: Box<[Arc<Certificate>]>,
    /// By exact name. Several of one name have different kinds of keys.
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

type Result<T> = std::result::Result<T, String>;

impl ListenerTls {
    /// Compiles a listener's `tls`.
    pub(super) fn compile(tls: &schema::ListenerTls, files: &TlsFiles) -> Result<ListenerTls> {
        let load = |pair: &schema::CertificateFiles| {
            let found = files.certificate(&pair.cert_file, &pair.key_file).cloned();
            found.ok_or_else(|| "a certificate is not loaded".to_owned())
        };
        let certificates = Arc::new(Certificates::new(tls.certificates.iter().map(load).collect::<Result<_>>()?)?);
        let versions: &[&SupportedProtocolVersion] = match tls.min_version.unwrap_or_default() {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).map_err(text)?;
        let (builder, binding) = match &tls.client_ca_file {
            None => (builder.with_no_client_auth(), binding(None, None, None)),
            Some(path) => {
                let authorities = files.authorities(Some(path)).ok_or("the authorities are not loaded")?;
                let revoked = match &tls.crl_file {
                    Some(path) => Some(files.revoked(path).ok_or("the revocation lists are not loaded")?),
                    None => None,
                };
                let auth = tls.client_auth.unwrap_or_default();
                let mut verifier = WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider());
                if auth == ClientAuth::Optional {
                    verifier = verifier.allow_unauthenticated();
                }
                if let Some(revoked) = revoked {
                    verifier = verifier.with_crls(revoked.lists.iter().cloned()).only_check_end_entity_revocation();
                }
                let verifier = verifier.build().map_err(text)?;
                (builder.with_client_cert_verifier(verifier), binding(Some(auth), Some(authorities), revoked))
            }
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::new(BoundTicketer::new(binding).map_err(text)?);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(ListenerTls { config: Arc::new(config), certificates })
    }
}

impl fmt::Debug for ListenerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerTls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Certificates {
    fn new(all: Box<[Arc<Certificate>]>) -> Result<Certificates> {
        if all.is_empty() {
            return Err("a listener with TLS needs a certificate".to_owned());
        }
        let (mut exact, mut wildcard) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (at, certificate) in all.iter().enumerate() {
            for name in certificate.names() {
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.entry(parent.into()).or_default().push(at),
                    None => exact.entry(name.into()).or_default().push(at),
                }
            }
        }
        Ok(Certificates { all, exact, wildcard })
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    /// Whether a client that asked for one host may ask for another on the same connection (RFC 9110 §7.4): the
    /// certificate that it was shown vouches for both. Both are in lower case.
    pub fn is_authority_for(&self, asked: &str, host: &str) -> bool {
        asked == host || self.candidates(Some(asked)).iter().any(|at| self.all[*at].covers(host))
    }

    /// Those for a name: exact, then wildcard, then the first of the list.
    fn candidates(&self, asked: Option<&str>) -> &[usize] {
        let parent = |name: &str| name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        let found = asked.and_then(|name| self.exact.get(name).or_else(|| parent(name)));
        found.map_or(&[0], Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let candidates = self.candidates(asked.as_deref());
        let is_usable =
            |at: &&usize| self.all[**at].certified_key().key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = candidates.iter().find(is_usable).or(candidates.first())?;
        Some(self.all[*chosen].certified_key().clone())
    }
}

/// A hash over all that a client certificate is judged by.
fn binding(auth: Option<ClientAuth>, authorities: Option<&Authorities>, revoked: Option<&RevocationLists>) -> Binding {
    let mut hash = Context::new(&SHA256);
    hash.update(match auth {
        None => b"nobody is asked",
        Some(ClientAuth::Optional) => b"who wants to can",
        Some(ClientAuth::Required) => b"everyone must ",
    });
    hash.update(&authorities.map_or([0; 32], |authorities| authorities.digest));
    hash.update(&revoked.map_or([0; 32], |revoked| revoked.digest));
    let mut binding = [0; 32];
    binding.copy_from_slice(hash.finish().as_ref());
    binding
}

/// Compiles a variant's `tls`. One that is as before stays, with its sessions.
pub(super) fn compile_client(
    tls: &schema::UpstreamTls,
    files: &TlsFiles,
    upstream: &Upstream,
) -> Result<Arc<ClientTls>> {
    let authorities = files.authorities(tls.ca_file.as_deref()).ok_or("the authorities are not loaded")?;
    let certificate = match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(certificate), Some(key)) => {
            Some(files.certificate(certificate, key).ok_or("the certificate is not loaded")?)
        }
        _ => None,
    };
    let name = match (&tls.server_name, upstream.spec().targets.first()) {
        (Some(name), _) | (None, Some(Target::Name(name, _))) => name.clone(),
        (None, Some(Target::Address(address))) => address.ip().to_canonical().to_string(),
        (None, None) => return Err("a variant needs an endpoint".to_owned()),
    };
    let mut hash = Context::new(&SHA256);
    hash.update(&authorities.digest);
    hash.update(certificate.map_or(&[0; 32], |certificate| certificate.digest()));
    hash.update(name.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    if let Some(known) = upstream.tls().filter(|known| *known.digest() == digest) {
        return Ok(known);
    }
    let name = ServerName::try_from(name).map_err(|_| "the server name is no host name")?;
    let (roots, certificate) = (authorities.roots.clone(), certificate.map(|found| found.certified_key().clone()));
    let parts = ClientTlsParts { provider: provider(), roots, name, certificate, digest };
    ClientTls::new(parts).map(Arc::new).map_err(text)
}

/// The protocol that a file names.
pub(super) fn protocol(named: schema::Protocol) -> Protocol {
    match named {
        schema::Protocol::Http1 => Protocol::Http1,
        schema::Protocol::H2c => Protocol::H2c,
        schema::Protocol::Http2 => Protocol::Http2,
        schema::Protocol::Auto => Protocol::Auto,
    }
}

/// The version of the PROXY protocol that a file names.
pub(super) fn proxy_version(named: schema::ProxyProtocolVersion) -> ProxyVersion {
    match named {
        schema::ProxyProtocolVersion::V1 => ProxyVersion::V1,
        schema::ProxyProtocolVersion::V2 => ProxyVersion::V2,
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
