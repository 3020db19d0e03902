//! `listeners`, `admin`, `telemetry` and `geo`.

use super::limits;
use super::names;
use super::problems::Problems;
use super::texts::check_header_name;
use super::tls;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{File, GeoSource, Listener, ListenerLimits, ListenerTimeouts};
use crate::config::values::{Duration, Size};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

/// Fewer resident bytes than a process without a client has are no limit.
const MEMORY_MIN: u64 = 32 << 20;
const TELEMETRY_DEFAULT: &str = "127.0.0.1:9902";

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    let root = Place::root();
    if file.listeners.is_empty() {
        let last = problems.anywhere(Code::NoListeners, "there is no listener: nothing would accept connections");
        last.help("add `listeners: [{ address: 0.0.0.0:8080 }]`");
    }
    let mut named: HashMap<&str, Place> = HashMap::new();
    for (index, listener) in file.listeners.iter().enumerate() {
        let place = root.key("listeners").index(index);
        check_listener(listener, &place, problems);
        if let Some(name) = &listener.name {
            let place = place.key("name");
            if let Some(first) = named.get(name.as_str()) {
                let last = problems.at(Code::DuplicateListener, &place, format!("a second listener `{name}`"));
                last.also(first, "the first one").help("give one of them another name");
            } else {
                named.insert(name, place);
            }
        }
    }
    let admin = super::admin::check_admin(file, problems);
    check_telemetry(file, problems);
    check_geo(file, problems);
    check_addresses(file, admin, problems);
    if let Some(memory) = file.memory.filter(|memory| memory.limit.0 < MEMORY_MIN) {
        let message = format!("{} bytes are fewer than the process needs for itself", memory.limit.0);
        let place = root.key("memory").key("limit");
        problems.at(Code::LimitOutOfRange, &place, message).help("write at least 32MiB, such as `limit: 512MiB`");
    }
    if file.state_dir.as_deref() == Some(Path::new("")) {
        problems.at(Code::EmptyText, &root.key("stateDir"), "the path is empty");
    }
}

/// Networks that are most likely not what was meant.
pub(super) fn check_networks(networks: &[IpNet], place: &Place, problems: &mut Problems<'_>) {
    for (index, network) in networks.iter().enumerate() {
        if network.trunc() != *network {
            let last = problems.at(
                Code::HostBits,
                &place.index(index),
                format!("`{network}` has bits beyond its prefix; it stands for {}", network.trunc()),
            );
            last.help(format!(
                "write {}, or {}/{} for the one address",
                network.trunc(),
                network.addr(),
                network.max_prefix_len()
            ));
        }
    }
}

fn check_listener(listener: &Listener, place: &Place, problems: &mut Problems<'_>) {
    if let Some(name) = &listener.name {
        names::check_value(name, "listener", &place.key("name"), problems);
    }
    let trusted = place.key("trustedProxies");
    for (index, network) in listener.trusted_proxies.iter().enumerate() {
        if network.prefix_len() == 0 {
            let last = problems.at(
                Code::TrustsEveryone,
                &trusted.index(index),
                format!("`{network}` is everybody: any client can claim any address and place"),
            );
            last.help("name the networks of your load balancers only");
        }
    }
    check_networks(&listener.trusted_proxies, &trusted, problems);
    tls::check_listener(listener, place, problems);
    if let Some(jwt) = &listener.jwt {
        let place = place.key("jwt");
        if jwt.keys_file.as_os_str().is_empty() {
            problems.at(Code::EmptyText, &place.key("keysFile"), "the path is empty");
        }
        for (key, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
            if value.as_deref() == Some("") {
                let last = problems.at(Code::EmptyText, &place.key(key), format!("the {key} is empty"));
                last.help("remove the key to accept any");
            }
        }
    }
    if let Some(limit) = &listener.rate_limit {
        limits::check(limit, false, &place.key("rateLimit"), problems);
    }
    check_limits(&listener.limits, &place.key("limits"), problems);
    check_timeouts(&listener.timeouts, &place.key("timeouts"), problems);
}

fn check_limits(limits: &ListenerLimits, place: &Place, problems: &mut Problems<'_>) {
    let bytes = |size: Option<Size>| size.map(|size| size.0);
    let rules: [(&str, Option<u64>, u64, u64, &str); 7] = [
        ("maxConnections", limits.max_connections.map(u64::from), 1, 10_000_000, "from 1 to 10000000"),
        ("maxConnectionsPerIP", limits.max_connections_per_ip.map(u64::from), 1, 1_000_000, "from 1 to 1000000"),
        ("maxHeaderFields", limits.max_header_fields.map(u64::from), 1, 1_000, "from 1 to 1000"),
        ("maxHeaderBytes", bytes(limits.max_header_bytes), 1 << 10, 1 << 20, "from 1KiB to 1MiB"),
        ("maxTargetBytes", bytes(limits.max_target_bytes), 64, 65_534, "from 64B to 65534B"),
        (
            "maxRequestsPerConnection",
            limits.max_requests_per_connection.map(u64::from),
            1,
            u64::from(u32::MAX),
            "at least 1",
        ),
        ("maxConcurrentStreams", limits.max_concurrent_streams.map(u64::from), 1, 10_000, "from 1 to 10000"),
    ];
    for (key, value, min, max, range) in rules {
        if value.is_some_and(|value| !(min..=max).contains(&value)) {
            problems.at(Code::LimitOutOfRange, &place.key(key), format!("`{key}` must be {range}"));
        }
    }
}

fn check_timeouts(timeouts: &ListenerTimeouts, place: &Place, problems: &mut Problems<'_>) {
    for (key, value) in [
        ("requestHeaders", timeouts.request_headers),
        ("keepAlive", timeouts.keep_alive),
        ("idle", timeouts.idle),
        ("tunnel", timeouts.tunnel),
    ] {
        check_not_zero(key, value, place, problems);
    }
}

/// A timeout of 0 would refuse everything at once.
pub(super) fn check_not_zero(key: &str, value: Option<Duration>, place: &Place, problems: &mut Problems<'_>) {
    if value.is_some_and(|duration| duration.0.is_zero()) {
        let last = problems.at(Code::ZeroTimeout, &place.key(key), format!("`{key}` cannot be 0"));
        last.help("write a time such as 10s, or remove the key for the default");
    }
}

fn check_telemetry(file: &File, problems: &mut Problems<'_>) {
    let Some(telemetry) = &file.telemetry else { return };
    let place = Place::root().key("telemetry");
    if telemetry.access_log.as_ref().is_some_and(|log| log.path.is_empty()) {
        let last = problems.at(Code::EmptyText, &place.key("accessLog").key("path"), "the path is empty");
        last.help("write `stdout`, `stderr` or the path of a file");
    }
    if telemetry.max_series.is_some_and(|series| !(100..=10_000_000).contains(&series)) {
        problems.at(Code::LimitOutOfRange, &place.key("maxSeries"), "`maxSeries` must be from 100 to 10000000");
    }
}

fn check_geo(file: &File, problems: &mut Problems<'_>) {
    let place = Place::root().key("geo");
    match &file.geo {
        None => {}
        Some(GeoSource::Header(name)) => {
            let place = place.key("header");
            check_header_name(name, &place, problems);
            let is_trusted = file.listeners.iter().any(|listener| !listener.trusted_proxies.is_empty());
            if !is_trusted {
                let message = format!("the header `{name}` is believed from trusted proxies only, and there are none");
                let last = problems.at(Code::GeoHeaderUntrusted, &place, message);
                last.help("add `trustedProxies` to the listener that your load balancer speaks to");
            }
        }
        Some(GeoSource::Mmdb(path)) => check_path_given(path, &place.key("mmdb"), problems),
        Some(GeoSource::Table(path)) => check_path_given(path, &place.key("table"), problems),
    }
}

fn check_path_given(path: &Path, place: &Place, problems: &mut Problems<'_>) {
    if path.as_os_str().is_empty() {
        problems.at(Code::EmptyText, place, "the path is empty");
    }
}

/// No two doors at the same address; port 0 is a free port each time.
fn check_addresses(file: &File, admin: Option<SocketAddr>, problems: &mut Problems<'_>) {
    let root = Place::root();
    let mut doors: Vec<(SocketAddr, Place, String)> = Vec::new();
    for (index, listener) in file.listeners.iter().enumerate() {
        let place = root.key("listeners").index(index).key("address");
        doors.push((listener.address, place, "the listener".to_owned()));
    }
    let telemetry = file.telemetry.as_ref().and_then(|telemetry| telemetry.address);
    let telemetry_word = if telemetry.is_some() { "telemetry" } else { "telemetry (its default)" };
    if let Some(address) = telemetry.or_else(|| TELEMETRY_DEFAULT.parse().ok()) {
        doors.push((address, root.key("telemetry").key("address"), telemetry_word.to_owned()));
    }
    if let Some(address) = admin {
        let word = if file.admin.is_some() { "admin" } else { "admin (its default)" };
        doors.push((address, root.key("admin").key("address"), word.to_owned()));
    }
    if let Some(ofrep) = &file.ofrep {
        doors.push((ofrep.address, root.key("ofrep").key("address"), "ofrep".to_owned()));
    }
    let mut by_port: HashMap<u16, Vec<usize>> = HashMap::new();
    for at in 0..doors.len() {
        let (address, place, word) = &doors[at];
        let others = by_port.entry(address.port()).or_default();
        let clash = others.iter().map(|other| &doors[*other]).find(|other| do_clash(*address, other.0));
        let is_any_port = address.port() == 0;
        let twin = others.iter().map(|other| &doors[*other]).find(|other| is_any_port && other.0 == *address);
        // the doors of admin and telemetry, which come last, are told apart by their purpose; listeners by their address
        if let Some((_, first_place, _)) = twin.filter(|_| at < file.listeners.len()) {
            let message = format!("a second listener at {address}, and they could not be told apart");
            let last = problems.at(Code::AnyPortTwice, place, message).also(first_place, "the first one");
            last.help("write the ports, or another address of this machine, such as 127.0.0.2:0");
        }
        if let Some((first, first_place, first_word)) = clash.filter(|_| !is_any_port) {
            let message = format!("{word} at {address} and {first_word} at {first} have the same address");
            let is_default = word.contains("default");
            // A default stands nowhere: what stands in its way is shown alone.
            let last = problems.at(Code::AddressClash, if is_default { first_place } else { place }, message);
            let last = if is_default { last } else { last.also(first_place, "the other one") };
            last.help("give one of them another port");
        }
        others.push(at);
    }
}

fn do_clash(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}
