//! What is fuzzed: one function for each door through which bytes of strangers come in.
//!
//! Each asserts more than the absence of a panic. The fuzzer calls them with what it makes up, and the normal tests
//! (`tests/corpora.rs`) with every file of the corpora, so that what was found once stays found.

mod proxy;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use ringway::config::files::{Choice, Secret, override_token as tokens};
use ringway::config::render::{Format, Report};
use ringway::config::{Source, load_texts};
use ringway::control::journal::{audit, state_file};
use ringway::model::Reason;
use ringway::proxy::parse_proxy_header;
use ringway::routing::snapshot::ListenerLimits;
use ringway::routing::{client, cookies, host as hosts, path as paths, query as queries, request as requests};
use ringway::telemetry::access_log::{Entry, LineFormat};
use ringway::upstream::{Fields, ProxyHeader, ProxyVersion, V2_SIGNATURE};
use std::net::{IpAddr, Ipv4Addr};

pub use proxy::{http1, http2};

/// A target and its name, which is also that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 14] = [
    ("request", request),
    ("config", config),
    ("cookie", cookie),
    ("client_ip", client_ip),
    ("path", path),
    ("host", host),
    ("override_token", override_token),
    ("query", query),
    ("access_log", access_log),
    ("proxy_header", proxy_header),
    ("state_file", state_file),
    ("audit_log", audit_log),
    ("http1", http1),
    ("http2", http2),
];

/// The state of rollouts on the disk, as it is and with a good checksum around it: refused, or the same when it is written
/// again, and never good for anything but itself.
pub fn state_file(data: &[u8]) {
    let framed = std::str::from_utf8(data).map(state_file::framed).unwrap_or_default();
    for bytes in [data, &framed] {
        let Ok(document) = state_file::decode(bytes) else { continue };
        assert_eq!(
            state_file::decode(&state_file::encode(&document)),
            Ok(document),
            "a state that changes when it is written"
        );
        for at in 0..bytes.len() {
            assert!(state_file::decode(&bytes[..at]).is_err(), "a state that was cut off at {at} is believed");
        }
        let mut damaged = bytes.to_vec();
        let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % bytes.len();
        damaged[at] ^= 1 << (at % 8);
        assert!(state_file::decode(&damaged).is_err(), "a state is believed with byte {at} changed");
    }
}

/// The audit log, as it is and with a good hash at each line: what is believed is believed up to each of its lines, and
/// nothing else is.
pub fn audit_log(data: &[u8]) {
    let lines = std::str::from_utf8(data).unwrap_or_default().lines();
    let sealed: String = lines.map(|body| audit::sealed(body.strip_suffix('}').unwrap_or(body)).0).collect();
    for bytes in [data, sealed.as_bytes()] {
        let Ok(found) = audit::verify(bytes, None) else { continue };
        let ends = (0..bytes.len()).filter(|at| bytes[*at] == b'\n');
        for (count, end) in (0u64..).zip(ends) {
            let before = audit::verify(&bytes[..=end], None);
            assert_eq!(before.map(|before| before.head.seq), Ok(found.first.saturating_add(count)), "line {count}");
        }
        if !bytes.is_empty() {
            let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % bytes.len();
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            assert_ne!(audit::verify(&damaged, None), Ok(found), "a log is believed with byte {at} changed");
        }
    }
}

/// What a load balancer writes before everything else: no header, one that tells nothing, or an address that is the same
/// when it is passed on.
pub fn proxy_header(data: &[u8]) {
    let Some(found) = parse_proxy_header(data) else { return };
    assert!(data.starts_with(V2_SIGNATURE) || data.starts_with(b"PROXY ") && data.ends_with(b"\r\n"));
    let Some(client) = found else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let written = ProxyHeader { version, client }.bytes((Ipv4Addr::LOCALHOST, 80).into());
        let again = parse_proxy_header(&written).flatten();
        let again = again.map(|found| (found.ip().to_canonical(), found.port()));
        assert_eq!(again, Some((client.ip().to_canonical(), client.port())), "{version:?}");
    }
}

/// A configuration: whatever it is, it is loaded or refused with an error, and every report of it can be written.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match load_texts(vec![Source::new("fuzz.yaml", text)]) {
        Ok(loaded) => {
            assert!(loaded.warnings.iter().all(|found| !found.is_error()));
            assert_eq!(loaded.rev.len(), 6);
        }
        Err(errors) => {
            assert!(errors.diagnostics.iter().any(|found| found.is_error()), "refused without an error");
            let report = Report::from(&errors);
            for format in [Format::Text, Format::Github] {
                let written = report.render(format, false);
                assert!(!written.contains('\u{1b}'), "an escape sequence of the file reaches the terminal");
            }
            for format in [Format::Json, Format::Sarif] {
                let written = report.render(format, false);
                assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok(), "a report that is not JSON");
            }
        }
    }
}

/// The head of a request as HTTP/1.0, HTTP/1.1 and HTTP/2: refused by the client's fault, or understood in one way, in
/// which another proxy would understand what is passed on.
pub fn request(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let (method, target) = first.split_at(first.iter().position(|byte| *byte == b' ').unwrap_or(first.len()));
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method), Uri::try_from(target.trim_ascii())) else { return };
    let field = |line: &[u8]| {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value[1..].trim_ascii()).ok()?))
    };
    let headers: HeaderMap = lines.take(200).filter_map(field).collect();
    let limits = ListenerLimits::default();
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        match requests::validate(&method, &uri, version, &headers, Fields::of(&headers), &limits) {
            Err(refused) => assert!(refused.status().is_client_error() && !refused.reason().is_empty()),
            Ok(found) => assert_is_understood_again(&method, &uri, version, &found),
        }
    }
}

fn assert_is_understood_again(method: &Method, uri: &Uri, version: Version, found: &requests::Destination) {
    let target = found.target.as_ref().unwrap_or(uri).path_and_query().unwrap().as_str();
    assert!(target.starts_with('/') || target == "*" || uri.path() == "*", "{target} is passed on");
    let headers: HeaderMap = found.authority.iter().map(|authority| (header::HOST, authority.clone())).collect();
    assert!(headers.contains_key(header::HOST) || (version == Version::HTTP_10 && found.host().is_empty()));
    let again = requests::validate(
        method,
        &target.parse().unwrap(),
        version,
        &headers,
        Fields::of(&headers),
        &ListenerLimits::default(),
    );
    let again =
        again.unwrap_or_else(|refused| panic!("{target} is passed on, and refused when it comes by: {refused}"));
    assert_eq!(again.host(), found.host());
    assert_eq!(again.target, None, "a target that changes when it comes by twice");
    let passed_on = target.split('?').next().unwrap_or_default();
    let matched = found.matched_path.as_deref().unwrap_or(uri.path());
    assert_eq!(again.matched_path.as_deref().unwrap_or(passed_on), matched, "a path that is matched in two ways");
}

/// `Cookie` lines, one a line of the input.
pub fn cookie(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(8);
    let headers: HeaderMap =
        lines.filter_map(|line| Some((header::COOKIE, HeaderValue::from_bytes(line).ok()?))).collect();
    let found: Vec<&[u8]> = cookies::cookies(&headers, "uid").collect();
    assert_eq!(cookies::cookie(&headers, "uid"), found.first().copied());
    for (name, value) in cookies::pairs(data) {
        assert!(!name.contains(&b'=') && !name.contains(&b';') && !value.contains(&b';'));
    }
}

/// `X-Forwarded-For` lines, one a line of the input, from a trusted peer and from another.
pub fn client_ip(data: &[u8]) {
    let name = HeaderName::from_static("x-forwarded-for");
    let lines = data.split(|byte| *byte == b'\n').take(8);
    let headers: HeaderMap =
        lines.filter_map(|line| Some((name.clone(), HeaderValue::from_bytes(line).ok()?))).collect();
    let trusted = [ipnet::IpNet::from(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)))];
    let stranger = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    let found = client::client_ip(stranger, &trusted, &headers);
    assert_eq!((found.ip, found.peer_trusted), (stranger, false), "a stranger speaks for others");
    assert!(client::client_ip(trusted[0].addr(), &trusted, &headers).peer_trusted);
    if let Some(ip) = client::parse_address(data) {
        assert_eq!(client::parse_address(ip.to_string().as_bytes()), Some(ip), "an address that is not read back");
    }
}

/// A path: refused, or unambiguous in both of its forms.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = paths::normalise(text) else { return };
    for form in [&found.forwarded, &found.matched] {
        assert!(form.starts_with('/') && form.is_ascii());
        assert!(!form.split('/').any(|segment| segment == "." || segment == ".."), "{form} has a dot segment");
        assert!(!form.contains(['\\', '\0', ' ', '?', '#']));
    }
    assert!(!found.matched.contains("//"));
    let again =
        paths::normalise(&found.forwarded).map(|again| (again.forwarded.into_owned(), again.matched.into_owned()));
    let once = (found.forwarded.into_owned(), found.matched.into_owned());
    assert_eq!(again.ok(), Some(once), "a path that changes when it comes by twice");
}

/// A `Host` or `:authority`.
pub fn host(data: &[u8]) {
    let Ok(found) = hosts::parse(data) else { return };
    assert!(!found.name.is_empty() && found.name.is_ascii() && !found.name.ends_with('.'));
    assert!(!found.name.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' ' || b"/@,\\%".contains(&byte)));
    assert_ne!(found.port, Some(0));
    let again = hosts::parse(found.name.as_bytes()).map(|again| again.name.into_owned());
    assert_eq!(again.ok().as_deref(), Some(&*found.name), "a host that changes when it comes by twice");
}

/// A token: what was not signed with the secret is never believed.
pub fn override_token(data: &[u8]) {
    let Ok(secret) = Secret::parse(b"a secret that no input knows") else { return };
    assert_eq!(tokens::verify(&secret, "shop", data, 1_700_000_000), None, "a forged override is believed");
    let _ = Choice::parse(data);
    // the input as a secret: what it signs, it believes, until it expires, and for its own service only
    let Ok(secret) = Secret::parse(data) else { return };
    let token = tokens::sign(&secret, "shop", Choice::Always, 1_700_000_000);
    let verify = |service: &str, now: u64| tokens::verify(&secret, service, token.as_bytes(), now);
    assert_eq!(verify("shop", 1_699_999_999), Some(Choice::Always));
    assert_eq!(verify("shop", 1_700_000_000), None);
    assert_eq!(verify("search", 1_699_999_999), None);
}

/// A query.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(value) = queries::parameter(text, "v") {
        assert!(text.contains('v') || text.contains('%'));
        assert!(!value.contains('&') || text.contains('%'), "a parameter reaches into the next");
    }
}

/// Texts of clients in the access log: each entry is one line, and that line is one JSON object.
pub fn access_log(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entry = Entry {
        listener: "public",
        method: &text,
        host: data,
        path: &text,
        reason: Some(Reason::Split),
        rev: "3f9c21",
        status: 200,
        request_id: data,
        trace_id: data,
        endpoint: &text,
        user_agent: data,
        ..Entry::default()
    };
    let mut line = Vec::new();
    LineFormat::default().write(&entry, &mut line);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "an entry that is not one line");
    assert!(!line[..line.len() - 1].iter().any(u8::is_ascii_control), "a control character reaches the log");
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(&line);
    assert!(object.is_ok_and(|object| object["rev"] == "3f9c21"), "a line that is not one JSON object");
}
