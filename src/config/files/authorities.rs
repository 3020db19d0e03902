//! Certificate authorities and their revocation lists.

use rustls::RootCertStore;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::certificate::{PEM_BYTES_MAX, certificates, sha256};
use super::source::{self, Access, FileProblem};

/// The most bytes of a file with revocation lists.
pub const CRL_BYTES_MAX: usize = 16 << 20;

/// Authorities that are believed.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The authorities, as rustls takes them.
    pub roots: Arc<RootCertStore>,
    /// Changes when they do.
    pub digest: [u8; 32],
}

/// Certificates that are believed no longer.
#[derive(Clone, Debug)]
pub struct RevocationLists {
    /// One for each authority.
    pub lists: Box<[CertificateRevocationListDer<'static>]>,
    /// Changes when they do.
    pub digest: [u8; 32],
}

impl Authorities {
    /// Reads authorities from a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, or has something that is no certificate.
    pub fn load(path: &Path) -> Result<Authorities, FileProblem> {
        let bytes = source::read(path, PEM_BYTES_MAX, Access::Public)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&bytes)? {
            roots
                .add(certificate)
                .map_err(|error| FileProblem::whole(format!("has a certificate that is no authority: {error}")))?;
        }
        Ok(Authorities { roots: Arc::new(roots), digest: sha256(&bytes) })
    }

    /// The authorities that the system believes.
    ///
    /// # Errors
    /// It has none.
    pub fn of_system() -> Result<Authorities, String> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let all: Vec<u8> = found.certs.iter().flat_map(|certificate| sha256(certificate)).collect();
        // systems carry old ones that no library takes
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(
                "the system has no certificate authorities; install `ca-certificates`, or name a `caFile`".to_owned()
            );
        }
        Ok(Authorities { roots: Arc::new(roots), digest: sha256(&all) })
    }
}

impl RevocationLists {
    /// Reads revocation lists from a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, or has something that is no revocation list.
    pub fn load(path: &Path) -> Result<RevocationLists, FileProblem> {
        let bytes = source::read(path, CRL_BYTES_MAX, Access::Public)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        let lists = lists.map_err(|error| FileProblem::whole(format!("is not PEM text: {error}")))?;
        if lists.is_empty() {
            let message = "has no revocation list; it must be PEM text with `-----BEGIN X509 CRL-----`";
            return Err(FileProblem::whole(message));
        }
        for list in &lists {
            // parsers of revocation lists have panicked before (RUSTSEC-2026-0104)
            match catch_unwind(AssertUnwindSafe(|| webpki::BorrowedCertRevocationList::from_der(list).map(|_| ()))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    return Err(FileProblem::whole(format!("has a revocation list that cannot be read: {error}")));
                }
                Err(_) => return Err(FileProblem::whole("has a revocation list that cannot be read")),
            }
        }
        Ok(RevocationLists { lists: lists.into(), digest: sha256(&bytes) })
    }
}
