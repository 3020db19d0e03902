//! The TLS files of a configuration, loaded, each once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::certificate::Part;
use super::references::message;
use super::{Authorities, Certificate, FileProblem, RevocationLists};
use crate::config::Place;
use crate::config::schema::{File, ListenerTls, UpstreamTls};

/// The certificates, authorities and revocation lists of a configuration. Looked up by the paths that it has.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    certificates: BTreeMap<(PathBuf, PathBuf), Arc<Certificate>>,
    authorities: BTreeMap<PathBuf, Authorities>,
    system: Option<Authorities>,
    revoked: BTreeMap<PathBuf, RevocationLists>,
}

impl TlsFiles {
    /// Loads what a configuration names, and tells every problem at the field that named the file.
    pub fn load(file: &File) -> (TlsFiles, Vec<(Place, String)>) {
        let mut loading = Loading::default();
        for (at, listener) in file.listeners.iter().enumerate() {
            if let Some(tls) = &listener.tls {
                loading.listener(tls, &Place::root().key("listeners").index(at).key("tls"));
            }
        }
        if let Some(files) = file.admin.as_ref().and_then(|admin| admin.tls.as_ref()) {
            let place = Place::root().key("admin").key("tls");
            loading.certificate((&files.cert_file, "certFile"), (&files.key_file, "keyFile"), &place);
        }
        for (name, service) in &file.services {
            let place = Place::root().key("services").key(name).key("variants");
            for (name, variant) in &service.variants {
                if let Some(tls) = &variant.tls {
                    loading.variant(tls, &place.key(name).key("tls"));
                }
            }
        }
        if let Some(path) = file.outbound.as_ref().and_then(|outbound| outbound.ca_file.as_ref()) {
            loading.authorities(path, Place::root().key("outbound").key("caFile"));
        }
        (loading.files, loading.problems)
    }

    /// A certificate by its two files.
    pub fn certificate(&self, certificate: &Path, key: &Path) -> Option<&Arc<Certificate>> {
        self.certificates.get(&(certificate.to_owned(), key.to_owned()))
    }

    /// The authorities of a file, or without one those of the system.
    pub fn authorities(&self, path: Option<&Path>) -> Option<&Authorities> {
        match path {
            Some(path) => self.authorities.get(path),
            None => self.system.as_ref(),
        }
    }

    /// The revocation lists of a file.
    pub fn revoked(&self, path: &Path) -> Option<&RevocationLists> {
        self.revoked.get(path)
    }
}

#[derive(Default)]
struct Loading {
    files: TlsFiles,
    problems: Vec<(Place, String)>,
}

impl Loading {
    fn listener(&mut self, tls: &ListenerTls, place: &Place) {
        for (at, files) in tls.certificates.iter().enumerate() {
            let place = place.key("certificates").index(at);
            self.certificate((&files.cert_file, "certFile"), (&files.key_file, "keyFile"), &place);
        }
        if let Some(path) = &tls.client_ca_file {
            self.authorities(path, place.key("clientCaFile"));
        }
        if let Some(path) = &tls.crl_file
            && !self.files.revoked.contains_key(path)
        {
            match RevocationLists::load(path) {
                Ok(lists) => drop(self.files.revoked.insert(path.clone(), lists)),
                Err(problem) => self.refuse(path, &problem, place.key("crlFile")),
            }
        }
    }

    fn variant(&mut self, tls: &UpstreamTls, place: &Place) {
        match &tls.ca_file {
            Some(path) => self.authorities(path, place.key("caFile")),
            None if self.files.system.is_none() => match Authorities::of_system() {
                Ok(found) => self.files.system = Some(found),
                Err(message) => self.problems.push((place.clone(), message)),
            },
            None => {}
        }
        if let (Some(certificate), Some(key)) = (&tls.client_cert_file, &tls.client_key_file) {
            self.certificate((certificate, "clientCertFile"), (key, "clientKeyFile"), place);
        }
    }

    fn certificate(&mut self, certificate: (&PathBuf, &str), key: (&PathBuf, &str), place: &Place) {
        let known = (certificate.0.clone(), key.0.clone());
        if self.files.certificates.contains_key(&known) {
            return;
        }
        match Certificate::load(certificate.0, key.0) {
            Ok(loaded) => drop(self.files.certificates.insert(known, Arc::new(loaded))),
            Err((Part::Certificate, problem)) => self.refuse(certificate.0, &problem, place.key(certificate.1)),
            Err((Part::Key, problem)) => self.refuse(key.0, &problem, place.key(key.1)),
        }
    }

    fn authorities(&mut self, path: &PathBuf, place: Place) {
        if self.files.authorities.contains_key(path) {
            return;
        }
        match Authorities::load(path) {
            Ok(found) => drop(self.files.authorities.insert(path.clone(), found)),
            Err(problem) => self.refuse(path, &problem, place),
        }
    }

    fn refuse(&mut self, path: &Path, problem: &FileProblem, place: Place) {
        self.problems.push((place, message(path, problem)));
    }
}
