//! Certificates with their keys, as listeners present them to clients and Ringway itself to endpoints.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::source::{self, Access, FileProblem};
use super::validity::{Validity, now};

/// The most bytes of a file with certificates or a key.
pub const PEM_BYTES_MAX: usize = 1 << 20;

/// The most certificates of a chain.
pub const CHAIN_MAX: usize = 16;

/// How many certificates are remembered as accepted before.
const ACCEPTED_MAX: usize = 4096;

/// A certificate with its chain and its key. Nothing prints the key.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// DNS names in lower case; the first label may be `*`.
    names: Box<[Box<str>]>,
    validity: Validity,
    digest: [u8; 32],
}

/// Which of the two files is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificates.
    Certificate,
    /// The key.
    Key,
}

/// Certificates that this process has accepted while they were valid. One that expires while it is in use goes on
/// being served, and must not stand in the way of a reload that is about something else.
static ACCEPTED: Mutex<BTreeSet<[u8; 32]>> = Mutex::new(BTreeSet::new());

/// The cryptography of the whole process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

impl Certificate {
    /// Reads a certificate with its chain from one file and its key from another, or from the same one.
    ///
    /// # Errors
    /// A file cannot be read or has no PEM of its kind, the key may be read by others, it is not the key of the
    /// certificate, or the certificate is not valid now and was not accepted before.
    pub fn load(certificate: &Path, key: &Path) -> Result<Certificate, (Part, FileProblem)> {
        let chain = certificates(&source::read(certificate, PEM_BYTES_MAX, Access::Public).map_err(of_certificate)?)
            .map_err(of_certificate)?;
        if chain.len() > CHAIN_MAX {
            return Err(of_certificate(FileProblem::whole(format!("has more than {CHAIN_MAX} certificates"))));
        }
        let key = private_key(&source::read(key, PEM_BYTES_MAX, Access::Secret).map_err(of_key)?).map_err(of_key)?;
        Certificate::new(chain, key, now())
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now: i64,
    ) -> Result<Certificate, (Part, FileProblem)> {
        let wrong = |message: &str| of_certificate(FileProblem::whole(message));
        let first = chain.first().ok_or_else(|| wrong(NO_CERTIFICATE))?;
        let digest = sha256(first);
        let validity = Validity::of(first).ok_or_else(|| wrong(NOT_X509))?;
        let names = names(first).ok_or_else(|| wrong(NOT_X509))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => of_key(FileProblem::whole(
                "is not the key of the certificate beside it; put the two files of one certificate together",
            )),
            error => of_key(FileProblem::whole(format!("has a key that cannot be used: {error}"))),
        })?;
        judge_time(validity, now, &digest).map_err(of_certificate)?;
        Ok(Certificate { key: Arc::new(key), names, validity, digest })
    }

    /// Chain and key, as rustls takes them.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The DNS names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// From when to when it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of the certificate.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether it vouches for a host: a name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
        self.names.iter().any(|name| **name == *host || (parent.is_some() && name.strip_prefix("*.") == parent))
            || self.covers_address(host)
    }

    fn covers_address(&self, host: &str) -> bool {
        let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else { return false };
        let Some(Ok(certificate)) = self.key.cert.first().map(webpki::EndEntityCert::try_from) else { return false };
        certificate.verify_is_valid_for_subject_name(&ServerName::from(address)).is_ok()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).field("validity", &self.validity).finish()
    }
}

const NO_CERTIFICATE: &str = "has no certificate; it must be PEM text with `-----BEGIN CERTIFICATE-----`";
const NOT_X509: &str = "has a certificate that is not X.509";

/// Every certificate of a PEM text; there is at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| FileProblem::whole(format!("is not PEM text: {error}")))?;
    if found.is_empty() { Err(FileProblem::whole(NO_CERTIFICATE)) } else { Ok(found) }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, FileProblem> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => FileProblem::whole(
            "has no private key; it must be PEM text with `-----BEGIN PRIVATE KEY-----`, without a passphrase",
        ),
        error => FileProblem::whole(format!("is not PEM text: {error}")),
    })
}

fn names(certificate: &CertificateDer<'_>) -> Option<Box<[Box<str>]>> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect())
}

fn judge_time(validity: Validity, now: i64, digest: &[u8; 32]) -> Result<(), FileProblem> {
    let mut accepted = ACCEPTED.lock().unwrap_or_else(PoisonError::into_inner);
    if validity.contains(now) {
        if accepted.len() >= ACCEPTED_MAX {
            accepted.clear();
        }
        accepted.insert(*digest);
        return Ok(());
    }
    if now < validity.not_before {
        let begin = date(validity.not_before);
        return Err(FileProblem::whole(format!("is not valid before {begin}; check the clock of this machine")));
    }
    if accepted.contains(digest) {
        return Ok(());
    }
    Err(FileProblem::whole(format!("expired at {}; put a renewed certificate there", date(validity.not_after))))
}

fn date(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |time| time.to_string())
}

fn of_certificate(problem: FileProblem) -> (Part, FileProblem) {
    (Part::Certificate, problem)
}

fn of_key(problem: FileProblem) -> (Part, FileProblem) {
    (Part::Key, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    const NOON: i64 = 1_790_000_000;

    fn made(names: &[&str], key: &KeyPair, years: (i32, i32)) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        parameters.subject_alt_names.push(SanType::IpAddress([192, 0, 2, 1].into()));
        parameters.self_signed(key).unwrap().der().clone()
    }

    fn certificate(names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let chain = vec![made(names, &key, (2020, 2040))];
        Certificate::new(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()), NOON).unwrap()
    }

    #[test]
    fn a_wildcard_covers_one_label() {
        let certificate = certificate(&["Shop.Example.com", "*.cdn.example.com"]);
        for (host, is_covered) in [
            ("shop.example.com", true),
            ("a.cdn.example.com", true),
            ("192.0.2.1", true),
            ("cdn.example.com", false),
            ("a.b.cdn.example.com", false),
            (".cdn.example.com", false),
            ("example.com", false),
            ("192.0.2.2", false),
            ("[2001:db8::1]", false),
            ("", false),
        ] {
            assert_eq!(certificate.covers(host), is_covered, "{host}");
        }
        assert_eq!(certificate.names().next(), Some("shop.example.com"));
        assert!(!format!("{certificate:?}").contains("key"));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_file_that_is_wrong() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let tried = |years, key_of: &KeyPair| {
            let chain = vec![made(&["a.example"], &key, years)];
            let key = PrivateKeyDer::Pkcs8(key_of.serialize_der().into());
            let (part, problem) = Certificate::new(chain, key, NOON).unwrap_err();
            (part, problem.message)
        };
        assert_eq!(tried((2020, 2040), &other).0, Part::Key);
        let (part, message) = tried((2020, 2021), &key);
        assert!(part == Part::Certificate && message.starts_with("expired at 2021-01-01T00:00:00Z"), "{message}");
        let (_, message) = tried((2039, 2040), &key);
        assert!(message.starts_with("is not valid before 2039"), "{message}");
        assert!(certificates(b"no pem").unwrap_err().message.starts_with("has no certificate"));
        assert!(private_key(b"no pem").unwrap_err().message.starts_with("has no private key"));
    }

    #[test]
    fn a_certificate_that_expired_while_it_was_in_use_stays() {
        let key = KeyPair::generate().unwrap();
        let certificate = made(&["a.example"], &key, (2020, 2040));
        let chain = || vec![certificate.clone()];
        let key = || PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let after = 2_300_000_000;
        assert!(Certificate::new(chain(), key(), after).is_err());
        assert!(Certificate::new(chain(), key(), NOON).is_ok());
        assert!(Certificate::new(chain(), key(), after).is_ok());
    }
}
