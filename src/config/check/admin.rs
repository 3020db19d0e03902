//! `admin`.

use std::net::SocketAddr;

use super::problems::Problems;
use super::texts::check_header_name;
use super::tls::check_path;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Admin, File, Sso};

const ADMIN_DEFAULT: &str = "127.0.0.1:9901";

/// The socket address of the admin door, when it is one.
pub(super) fn check_admin(file: &File, problems: &mut Problems<'_>) -> Option<SocketAddr> {
    let Some(admin) = &file.admin else { return ADMIN_DEFAULT.parse().ok() };
    let place = Place::root().key("admin");
    check_names(admin, &place, problems);
    check_tls(admin, &place, problems);
    if let Some(sso) = &admin.sso {
        check_sso(admin, sso, &place.key("sso"), problems);
    }
    let place = place.key("address");
    if let Some(path) = admin.address.strip_prefix("unix:") {
        if path.is_empty() {
            let last = problems.at(Code::BadAdminAddress, &place, "the path of the socket is missing");
            last.help("write it like unix:/run/ringway/admin.sock");
        }
        return None;
    }
    let Ok(address) = admin.address.parse::<SocketAddr>() else {
        let message = format!("`{}` is not an IP address with a port, and not a socket", admin.address);
        let last = problems.at(Code::BadAdminAddress, &place, message);
        last.help(format!("write {ADMIN_DEFAULT}, or unix:/run/ringway/admin.sock"));
        return None;
    };
    if !address.ip().is_loopback() {
        check_beyond(admin, address, &place, problems);
    }
    Some(address)
}

/// Other machines reach the door: it must be told who asks, in a way that nobody reads on the way.
fn check_beyond(admin: &Admin, address: SocketAddr, place: &Place, problems: &mut Problems<'_>) {
    if admin.tokens_file.is_none() {
        let message =
            format!("the admin door at {address} would be open to other machines, and nothing tells who asks");
        let last = problems.at(Code::AdminBeyondLoopback, place, message);
        last.help(format!(
            "add `tokensFile`, with lines that `ringway token admin` prints, or write 127.0.0.1:{} or unix:/run/ringway/admin.sock",
            address.port()
        ));
    }
    if admin.tls.is_none() && admin.plaintext.is_none() {
        let message = format!("the admin door at {address} would tell tokens to other machines in plain text");
        let last = problems.at(Code::AdminBeyondLoopback, place, message);
        last.help(
            "add `tls: { certFile: tls.crt, keyFile: tls.key }`; in a network that encrypts by itself, such as a mesh, \
             `plaintext: allow`",
        );
    }
}

/// A certificate that nobody would see, or that says something else than the key beside it.
fn check_tls(admin: &Admin, place: &Place, problems: &mut Problems<'_>) {
    let Some(tls) = &admin.tls else { return };
    check_path(Some(&tls.cert_file), &place.key("tls").key("certFile"), problems);
    check_path(Some(&tls.key_file), &place.key("tls").key("keyFile"), problems);
    if admin.address.starts_with("unix:") {
        let message = "the admin door is a socket in the file system, which speaks no TLS";
        let last = problems.at(Code::AdminTlsUnused, &place.key("tls"), message);
        last.help("remove `tls`, or give the door an address, such as 127.0.0.1:9901");
    }
    if admin.plaintext.is_some() {
        let message = "the admin door has a certificate, and is to speak in plain text";
        problems.at(Code::AdminTlsUnused, &place.key("plaintext"), message).help("remove one of the two");
    }
}

/// Further names and origins are exact: no wildcard lets in what nobody thought of.
fn check_names(admin: &Admin, place: &Place, problems: &mut Problems<'_>) {
    let further =
        [("hosts", &admin.hosts), ("origins", &admin.origins)].into_iter().find(|(_, names)| !names.is_empty());
    if let (Some((key, _)), None, None) = (further, &admin.tokens_file, &admin.sso) {
        let message = "the admin door has names beyond this machine, and nothing tells who asks";
        let last = problems.at(Code::AdminBeyondLoopback, &place.key(key), message);
        last.help("add `tokensFile`, with lines that `ringway token admin` prints, or `sso`");
    }
    for (at, host) in admin.hosts.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if host.is_empty() || !host.chars().all(is_plain) {
            let message = format!("`{host}` is not the name of a host");
            let last = problems.at(Code::BadAdminHost, &place.key("hosts").index(at), message);
            last.help("write a name such as ringway.example.com, without scheme and port");
        }
    }
    for (at, origin) in admin.origins.iter().enumerate() {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']));
        if !is_origin {
            let message = format!("`{origin}` is not an origin");
            let last = problems.at(Code::BadAdminHost, &place.key("origins").index(at), message);
            last.help("write scheme, host and port alone, such as https://ringway.example.com");
        }
    }
}

fn check_sso(admin: &Admin, sso: &Sso, place: &Place, problems: &mut Problems<'_>) {
    check_header_name(&sso.user_header, &place.key("userHeader"), problems);
    if let Some(header) = &sso.groups_header {
        check_header_name(header, &place.key("groupsHeader"), problems);
    }
    if sso.from.is_empty() {
        let last = problems.at(Code::BadSso, &place.key("from"), "nobody is believed: `from` names no network");
        last.help("write the address of the proxy, such as 127.0.0.1/32");
    }
    if let Some(net) = sso.from.iter().find(|net| net.prefix_len() == 0) {
        let message = format!("{net} is everybody: whoever asks could say who they are");
        problems.at(Code::BadSso, &place.key("from"), message).help("write the address of the proxy alone");
    }
    if !sso.roles.is_empty() && sso.groups_header.is_none() {
        let message = "`roles` are given by group, and no header tells the groups";
        problems.at(Code::BadSso, &place.key("roles"), message).help("add `groupsHeader`, such as x-forwarded-groups");
    }
    if sso.roles.is_empty() && sso.default_role.is_none() {
        let last =
            problems.at(Code::BadSso, place, "nobody gets a role: `roles` is empty, and there is no `defaultRole`");
        last.help("write `roles: { release-managers: operator }`, or `defaultRole: viewer`");
    }
    if admin.address.starts_with("unix:") {
        let last = problems.at(Code::BadSso, place, "a proxy is known by its address, and a unix socket has none");
        last.help("give the admin door a loopback address, such as 127.0.0.1:9901");
    }
}
