//! TLS toward clients and endpoints, and the PROXY protocol.

use super::listeners::check_networks;
use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Listener, ListenerTls, Protocol, UpstreamTls, Variant};
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::path::Path;

/// What a listener says of TLS and the PROXY protocol.
pub(super) fn check_listener(listener: &Listener, place: &Place, problems: &mut Problems<'_>) {
    if let Some(tls) = &listener.tls {
        check_listener_tls(tls, &place.key("tls"), problems);
    }
    let Some(proxies) = &listener.proxy_protocol else { return };
    let place = place.key("proxyProtocol").key("from");
    if proxies.from.is_empty() {
        let last = problems.at(Code::EmptyList, &place, "the list is empty: nobody's header would be believed");
        last.help("name the networks of your load balancers, or remove `proxyProtocol`");
    }
    for (index, network) in proxies.from.iter().enumerate() {
        if network.prefix_len() == 0 {
            let message = format!("`{network}` is everybody: any client can claim any address");
            let last = problems.at(Code::ProxyProtocolFromAnyone, &place.index(index), message);
            last.help("name the networks of your load balancers only");
        }
    }
    check_networks(&proxies.from, &place, problems);
}

fn check_listener_tls(tls: &ListenerTls, place: &Place, problems: &mut Problems<'_>) {
    let certificates = place.key("certificates");
    if tls.certificates.is_empty() {
        let last = problems.at(Code::NoCertificates, &certificates, "a listener with TLS needs a certificate");
        last.help("add one: `certificates: [{ certFile: tls.crt, keyFile: tls.key }]`");
    }
    let mut seen: HashMap<&Path, usize> = HashMap::new();
    for (index, files) in tls.certificates.iter().enumerate() {
        let place = certificates.index(index);
        check_path(Some(&files.cert_file), &place.key("certFile"), problems);
        check_path(Some(&files.key_file), &place.key("keyFile"), problems);
        if let Some(first) = seen.insert(&files.cert_file, index) {
            let message = format!("the certificate `{}` stands here twice", files.cert_file.display());
            let last = problems.at(Code::RepeatedCertificate, &place.key("certFile"), message);
            last.also(&certificates.index(first), "first here").help("remove one of them");
        }
    }
    check_path(tls.client_ca_file.as_deref(), &place.key("clientCaFile"), problems);
    check_path(tls.crl_file.as_deref(), &place.key("crlFile"), problems);
    if tls.client_ca_file.is_none() {
        for (key, is_there) in [("clientAuth", tls.client_auth.is_some()), ("crlFile", tls.crl_file.is_some())] {
            if is_there {
                let message = format!("`{key}` without `clientCaFile`: no client could prove anything");
                let last = problems.at_key(Code::ClientAuthWithoutCa, &place.key(key), message);
                last.help("add `clientCaFile: clients.pem`, the authorities whose certificates clients may present");
            }
        }
    }
}

/// What a variant says of TLS and the PROXY protocol, and how that fits its protocol.
pub(super) fn check_variant(variant: &Variant, place: &Place, problems: &mut Problems<'_>) {
    let protocol = place.key("protocol");
    match (&variant.tls, variant.protocol) {
        (None, Protocol::Http2) => {
            let last =
                problems.at(Code::ProtocolNeedsTls, &protocol, "`http2` is HTTP/2 over TLS, and there is no `tls`");
            last.help("add `tls: {}`, or write `h2c` for HTTP/2 over plain TCP");
        }
        (Some(_), Protocol::H2c) => {
            let last =
                problems.at(Code::ProtocolIsPlain, &protocol, "`h2c` is HTTP/2 over plain TCP, and there is `tls`");
            last.help("write `http2` for HTTP/2 over TLS, or remove `tls`");
        }
        _ => {}
    }
    if let Some(tls) = &variant.tls {
        check_upstream_tls(tls, &place.key("tls"), problems);
    }
    if variant.proxy_protocol.is_some() && variant.protocol != Protocol::Http1 {
        let message = "`proxyProtocol` needs `protocol: http1`: a connection of HTTP/2 serves many clients";
        let last = problems.at_key(Code::ProxyProtocolShared, &place.key("proxyProtocol"), message);
        last.help("remove `proxyProtocol`: the client's address stands in X-Forwarded-For as well");
    }
}

fn check_upstream_tls(tls: &UpstreamTls, place: &Place, problems: &mut Problems<'_>) {
    check_path(tls.ca_file.as_deref(), &place.key("caFile"), problems);
    check_path(tls.client_cert_file.as_deref(), &place.key("clientCertFile"), problems);
    check_path(tls.client_key_file.as_deref(), &place.key("clientKeyFile"), problems);
    let alone = match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(_), None) => Some(("clientCertFile", "clientKeyFile")),
        (None, Some(_)) => Some(("clientKeyFile", "clientCertFile")),
        _ => None,
    };
    if let Some((there, missing)) = alone {
        let message = format!("`{there}` without `{missing}`");
        problems.at_key(Code::ClientKeyAlone, &place.key(there), message).help(format!("add `{missing}`"));
    }
    if let Some(name) = &tls.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
        let message = format!("`{name}` is not a name that a certificate can have");
        let last = problems.at(Code::BadServerName, &place.key("serverName"), message);
        last.help("write a host name or an IP address, without a port");
    }
}

pub(super) fn check_path(path: Option<&Path>, place: &Place, problems: &mut Problems<'_>) {
    if path.is_some_and(|path| path.as_os_str().is_empty()) {
        problems.at(Code::EmptyText, place, "the path is empty");
    }
}
