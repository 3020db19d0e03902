//! What is told of certificates: when they expire, and that one has.

use super::reload::InForce;
use crate::routing::Snapshot;
use crate::telemetry::metrics::CertificateFact;

/// Tells once of each certificate that expires while it is being served.
#[derive(Debug, Default)]
pub(super) struct CertificateWatch {
    looked_at: Option<i64>,
}

/// The certificates of a snapshot.
pub(super) fn certificates(snapshot: &Snapshot) -> Vec<CertificateFact> {
    let listeners = snapshot.listeners.values().filter_map(|rules| Some((rules, rules.tls.as_ref()?)));
    let facts = listeners.flat_map(|(rules, tls)| {
        tls.certificates.all().iter().map(|certificate| CertificateFact {
            listener: rules.name.to_string(),
            name: certificate.names().next().unwrap_or("unnamed").to_owned(),
            expires_unix_seconds: certificate.validity().not_after,
        })
    });
    let mut facts: Vec<CertificateFact> = facts.collect();
    facts.sort();
    facts
}

/// That of the admin door.
pub(super) fn of_admin(in_force: &InForce) -> Option<CertificateFact> {
    let files = in_force.loaded.file.admin.as_ref()?.tls.as_ref()?;
    let certificate = in_force.references.tls().certificate(&files.cert_file, &files.key_file)?;
    Some(CertificateFact {
        listener: "admin".to_owned(),
        name: certificate.names().next().unwrap_or("unnamed").to_owned(),
        expires_unix_seconds: certificate.validity().not_after,
    })
}

impl CertificateWatch {
    /// Those that have expired since the last look; at the first look, all that have.
    pub(super) fn expired<'f>(
        &mut self,
        facts: &'f [CertificateFact],
        now: i64,
    ) -> impl Iterator<Item = &'f CertificateFact> + use<'f> {
        let before = self.looked_at.replace(now).unwrap_or(i64::MIN);
        facts.iter().filter(move |fact| (before..now).contains(&fact.expires_unix_seconds))
    }
}

/// Warns of certificates that have just expired. They go on being served: a warning in a browser is better than no
/// site, and whoever renews them needs no restart.
pub(super) fn warn(watch: &mut CertificateWatch, facts: &[CertificateFact], now: i64) {
    for fact in watch.expired(facts, now) {
        tracing::warn!(
            listener = fact.listener,
            name = fact.name,
            "a certificate has expired and is still served; put a renewed one in its place"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_told_once() {
        let fact = |name: &str, expires_unix_seconds| CertificateFact {
            listener: "public".to_owned(),
            name: name.to_owned(),
            expires_unix_seconds,
        };
        let facts = [fact("a", 100), fact("b", 105)];
        let mut watch = CertificateWatch::default();
        let mut told = |now| watch.expired(&facts, now).map(|fact| fact.name.clone()).collect::<Vec<_>>();
        assert_eq!(told(100), Vec::<String>::new());
        assert_eq!(told(101), ["a"]);
        assert_eq!(told(102), Vec::<String>::new());
        assert_eq!(told(200), ["b"]);
        assert_eq!(CertificateWatch::default().expired(&facts, 101).count(), 1);
    }
}
