//! TLS of listeners: which certificate a client gets, who may come in, and what it is compiled from.
//!
//! Each snapshot has `ServerConfig`s of its own, so that certificates change together with everything else. Nothing is
//! lost by that: sessions live in tickets, whose keys are the process's.

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};
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
    /// Handshakes by our order of cipher suites.
    ours: Arc<ServerConfig>,
    /// Handshakes by the client's order.
    theirs: Arc<ServerConfig>,
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

/// Session tickets that a client gets with each handshake of TLS 1.3.
const TICKETS: usize = 1;

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
        let builder = ServerConfig::builder_with_provider(Arc::new(short_keys_first(&provider())))
            .with_protocol_versions(versions)
            .map_err(text)?;
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
        // a client may use a ticket for several connections: nothing here is told from it
        config.send_tls13_tickets = TICKETS;
        let mut ours = config.clone();
        ours.ignore_client_order = true;
        Ok(ListenerTls { ours: Arc::new(ours), theirs: Arc::new(config), certificates })
    }

    /// TLS of a door that speaks HTTP/1.1 alone, and presents one certificate.
    ///
    /// # Errors
    /// The certificate is not loaded.
    pub fn of_door(pair: &schema::CertificateFiles, files: &TlsFiles) -> Result<Arc<ServerConfig>> {
        let tls = schema::ListenerTls {
            certificates: vec![pair.clone()],
            client_ca_file: None,
            client_auth: None,
            crl_file: None,
            min_version: None,
        };
        let mut config = ServerConfig::clone(&ListenerTls::compile(&tls, files)?.ours);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// How the handshake is made with a client that offers these cipher suites, in its order.
    ///
    /// AES with a key of 128 bits comes first, by our order: it is no less safe in practice, and costs less than the
    /// 256 bits that many clients name first. A client that names ChaCha20 first has no AES in hardware: it gets what it
    /// wishes.
    pub fn config_for(&self, offered: &[CipherSuite]) -> &Arc<ServerConfig> {
        if prefers_chacha(offered) { &self.theirs } else { &self.ours }
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

/// The same cipher suites, with the shortest keys of AES first, and ChaCha20 last.
fn short_keys_first(provider: &CryptoProvider) -> CryptoProvider {
    let mut ordered = provider.clone();
    ordered.cipher_suites.sort_by_key(|suite| match suite.suite() {
        suite if is_chacha(suite) => 2,
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    });
    ordered
}

fn prefers_chacha(offered: &[CipherSuite]) -> bool {
    // values that mean nothing, to keep servers tolerant (RFC 8701), and marks that are no suite come anywhere
    let is_suite =
        |suite: &&CipherSuite| suite.as_str().is_some_and(|name| name.contains("_WITH_") || name.starts_with("TLS13_"));
    offered.iter().find(is_suite).is_some_and(|first| is_chacha(*first))
}

fn is_chacha(suite: CipherSuite) -> bool {
    use CipherSuite as Suite;
    [
        Suite::TLS13_CHACHA20_POLY1305_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
    .contains(&suite)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_come_first_and_chacha_last() {
        let ordered = short_keys_first(&provider());
        let names: Vec<_> = ordered.cipher_suites.iter().filter_map(|suite| suite.suite().as_str()).collect();
        let first = |part: &str| names.iter().position(|name| name.contains(part)).unwrap();
        let last = |part: &str| names.iter().rposition(|name| name.contains(part)).unwrap();
        assert_eq!(names.len(), provider().cipher_suites.len());
        assert!(last("AES_128") < first("AES_256") && last("AES_256") < first("CHACHA20"), "{names:?}");
    }

    #[test]
    fn a_client_without_fast_aes_gets_what_it_wishes() {
        use CipherSuite as Suite;
        let (aes, chacha) = (Suite::TLS13_AES_256_GCM_SHA384, Suite::TLS13_CHACHA20_POLY1305_SHA256);
        let (grease, mark) = (Suite::Unknown(0x3a3a), Suite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV);
        for (offered, wishes) in [
            (vec![aes, chacha], false),
            (vec![chacha, aes], true),
            (vec![grease, mark, chacha, aes], true),
            (vec![Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256], true),
            (vec![], false),
        ] {
            assert_eq!(prefers_chacha(&offered), wishes, "{offered:?}");
        }
    }
}
