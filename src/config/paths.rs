//! Paths in the file start from the directory of the file that names them.

use super::place::Place;
use super::schema::{
    CertificateFiles, Condition, File, Gates, GeoSource, Listener, ListenerTls, Notifier, Service, Traces, UpstreamTls,
};
use std::path::{Path, PathBuf};

/// Calls `visit` for every path of the file with its place.
pub(crate) fn each_path(file: &mut File, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    let root = Place::root();
    for (index, Listener { jwt, tls, .. }) in file.listeners.iter_mut().enumerate() {
        let place = root.key("listeners").index(index);
        if let Some(jwt) = jwt {
            visit(place.key("jwt").key("keysFile"), &mut jwt.keys_file);
        }
        if let Some(tls) = tls {
            each_path_of_tls(tls, &place.key("tls"), visit);
        }
    }
    match &mut file.geo {
        Some(GeoSource::Mmdb(path)) => visit(root.key("geo").key("mmdb"), path),
        Some(GeoSource::Table(path)) => visit(root.key("geo").key("table"), path),
        Some(GeoSource::Header(_)) | None => {}
    }
    if let Some(path) = file.admin.as_mut().and_then(|admin| admin.tokens_file.as_mut()) {
        visit(root.key("admin").key("tokensFile"), path);
    }
    if let Some(files) = file.admin.as_mut().and_then(|admin| admin.tls.as_mut()) {
        each_path_of_certificate(files, &root.key("admin").key("tls"), visit);
    }
    if let Some(path) = &mut file.state_dir {
        visit(root.key("stateDir"), path);
    }
    if let Some(path) = file.outbound.as_mut().and_then(|outbound| outbound.ca_file.as_mut()) {
        visit(root.key("outbound").key("caFile"), path);
    }
    if let Some(traces) = file.telemetry.as_mut().and_then(|telemetry| telemetry.traces.as_mut()) {
        each_path_of_traces(traces, visit);
    }
    for (index, notifier) in file.notifiers.iter_mut().enumerate() {
        each_path_of_notifier(notifier, &root.key("notifiers").index(index), visit);
    }
    for (name, service) in &mut file.services {
        each_path_of_service(service, &root.key("services").key(name.as_str()), visit);
    }
}

/// Calls `visit` for the texts that may be paths: the access log and the socket of the admin door.
pub(crate) fn each_path_text(file: &mut File, visit: &mut dyn FnMut(Place, &mut String)) {
    if let Some(log) = file.telemetry.as_mut().and_then(|telemetry| telemetry.access_log.as_mut())
        && !matches!(log.path.as_str(), "stdout" | "stderr" | "")
    {
        visit(Place::root().key("telemetry").key("accessLog").key("path"), &mut log.path);
    }
    if let Some(admin) = &mut file.admin
        && let Some(path) = admin.address.strip_prefix("unix:").filter(|path| !path.is_empty())
    {
        let mut path = path.to_owned();
        visit(Place::root().key("admin").key("address"), &mut path);
        admin.address = format!("unix:{path}");
    }
}

/// A path of the file as an absolute one, without looking at the disk.
pub(crate) fn resolve(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn each_path_of_tls(tls: &mut ListenerTls, place: &Place, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    for (index, files) in tls.certificates.iter_mut().enumerate() {
        each_path_of_certificate(files, &place.key("certificates").index(index), visit);
    }
    for (key, path) in [("clientCaFile", &mut tls.client_ca_file), ("crlFile", &mut tls.crl_file)] {
        if let Some(path) = path {
            visit(place.key(key), path);
        }
    }
}

fn each_path_of_certificate(files: &mut CertificateFiles, place: &Place, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    visit(place.key("certFile"), &mut files.cert_file);
    visit(place.key("keyFile"), &mut files.key_file);
}

fn each_path_of_service(service: &mut Service, place: &Place, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    if let Some(path) = &mut service.salt_file {
        visit(place.key("saltFile"), path);
    }
    if let Some(path) = service.override_.as_mut().and_then(|rule| rule.secret_file.as_mut()) {
        visit(place.key("override").key("secretFile"), path);
    }
    for (name, variant) in &mut service.variants {
        let place = place.key("variants").key(name.as_str()).key("tls");
        if let Some(UpstreamTls { ca_file, client_cert_file, client_key_file, .. }) = &mut variant.tls {
            let fields =
                [("caFile", ca_file), ("clientCertFile", client_cert_file), ("clientKeyFile", client_key_file)];
            for (key, path) in fields.into_iter().filter_map(|(key, path)| Some((key, path.as_mut()?))) {
                visit(place.key(key), path);
            }
        }
    }
    for (index, cohort) in service.cohorts.iter_mut().enumerate() {
        if let Some(condition) = &mut cohort.when {
            each_path_of_condition(condition, place.key("cohorts").index(index).key("when"), visit);
        }
    }
    for gates in service.rollout.iter_mut().map(|rollout| &mut rollout.gates) {
        each_path_of_gates(gates, &place.key("rollout").key("gates"), visit);
    }
    let outcomes = service.rollout.iter_mut().flat_map(|rollout| &mut rollout.gates.outcomes).enumerate();
    for (index, outcome) in outcomes {
        if let Some(condition) = &mut outcome.among {
            let place = place.key("rollout").key("gates").key("outcomes").index(index);
            each_path_of_condition(condition, place.key("among"), visit);
        }
    }
}

/// Tokens; all of them are secrets.
pub(in crate::config) fn each_path_of_gates(
    gates: &mut Gates,
    place: &Place,
    visit: &mut dyn FnMut(Place, &mut PathBuf),
) {
    let queries = gates.prometheus.iter_mut().map(|gate| &mut gate.token_file).enumerate();
    let services = gates.http.iter_mut().map(|gate| &mut gate.token_file).enumerate();
    let all = queries.map(|(at, path)| ("prometheus", at, path)).chain(services.map(|(at, path)| ("http", at, path)));
    for (kind, at, path) in all {
        if let Some(path) = path {
            visit(place.key(kind).index(at).key("tokenFile"), path);
        }
    }
}

/// All of them are secrets.
pub(in crate::config) fn each_path_of_traces(traces: &mut Traces, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    let place = Place::root().key("telemetry").key("traces").key("headerFiles");
    for (name, path) in &mut traces.header_files {
        visit(place.key(name.as_str()), path);
    }
}

/// All of them are secrets.
pub(in crate::config) fn each_path_of_notifier(
    notifier: &mut Notifier,
    place: &Place,
    visit: &mut dyn FnMut(Place, &mut PathBuf),
) {
    for (kind, hook) in [("slack", &mut notifier.slack), ("alertmanager", &mut notifier.alertmanager)] {
        if let Some(hook) = hook {
            visit(place.key(kind).key("urlFile"), &mut hook.url_file);
        }
    }
    if let Some(hook) = &mut notifier.webhook {
        visit(place.key("webhook").key("urlFile"), &mut hook.url_file);
        if let Some(path) = &mut hook.secret_file {
            visit(place.key("webhook").key("secretFile"), path);
        }
    }
    if let Some(pagerduty) = &mut notifier.pagerduty {
        visit(place.key("pagerduty").key("keyFile"), &mut pagerduty.key_file);
        if let Some(path) = &mut pagerduty.url_file {
            visit(place.key("pagerduty").key("urlFile"), path);
        }
    }
}

fn each_path_of_condition(condition: &mut Condition, place: Place, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    match condition {
        Condition::Any(inner) => each_inner(inner, &place.key("any"), visit),
        Condition::All(inner) => each_inner(inner, &place.key("all"), visit),
        Condition::Not(inner) => each_path_of_condition(inner, place.key("not"), visit),
        Condition::UserList(list) => visit(place.key("userList").key("file"), &mut list.file),
        _ => {}
    }
}

fn each_inner(inner: &mut [Condition], place: &Place, visit: &mut dyn FnMut(Place, &mut PathBuf)) {
    for (index, condition) in inner.iter_mut().enumerate() {
        each_path_of_condition(condition, place.index(index), visit);
    }
}
