//! The examples in `config/` are right: each loads without a warning, refers to files that are there, compiles, and
//! passes the tests that stand in it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use http::{HeaderMap, Method, Uri};
use ringway::config::files::References;
use ringway::config::schema::{Test, TestExpect};
use ringway::config::{Loaded, load};
use ringway::model::{Bucket, SaltKey};
use ringway::routing::client::client_ip;
use ringway::routing::{Foundation, RequestView, Snapshot, Trust, compile, host, path};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    files.sort();
    files
}

struct Example {
    loaded: Loaded,
    snapshot: Snapshot,
}

fn open(path: &Path) -> Example {
    let loaded = load(path).unwrap_or_else(|errors| panic!("{}", errors));
    let (references, problems) = References::load(&loaded.file);
    assert!(problems.is_empty(), "{}: {problems:?}", path.display());
    let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 10_000));
    let on = Foundation { references: &references, upstreams: &upstreams, registry: &registry };
    let snapshot = compile(&loaded.file, &loaded.rev, &on).unwrap_or_else(|error| panic!("{error}"));
    Example { loaded, snapshot }
}

#[test]
fn every_example_is_valid_and_without_warnings() {
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    for path in examples {
        let warnings = open(&path).loaded.warnings;
        assert!(warnings.is_empty(), "{}: {warnings:?}", path.display());
    }
}

#[test]
fn every_example_passes_its_own_tests() {
    for path in examples() {
        let Example { loaded, snapshot } = open(&path);
        assert!(!loaded.file.tests.is_empty(), "{} has no tests", path.display());
        for test in &loaded.file.tests {
            let name = test.name.as_deref().unwrap_or(&test.request.url);
            assert_eq!(outcome(&snapshot, test), test.expect, "{}: {name}", path.display());
        }
    }
}

/// What came out, as far as the test expects something.
fn outcome(snapshot: &Snapshot, test: &Test) -> TestExpect {
    let uri: Uri = test.request.url.parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &test.request.headers {
        headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let method: Method = test.request.method.as_deref().unwrap_or("GET").parse().unwrap();
    let trust = snapshot.listeners.values().next().map(|rules| &rules.trust).unwrap();
    let peer = test.request.client_ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let host = host::parse(uri.authority().unwrap().as_str().as_bytes()).unwrap();
    let path = path::normalise(uri.path()).unwrap();
    let view = view(&method, &host.name, &path.matched, uri.query(), &headers, peer, trust, snapshot);
    let route = snapshot.routes.find(&view).unwrap();
    let service = &snapshot.services[route.service];
    let assignment = service.assign(&view);
    let expect = &test.expect;
    let said = |expected: &Option<String>, found: &str| expected.as_ref().map(|_| found.to_owned());
    TestExpect {
        route: said(&expect.route, &route.name),
        service: said(&expect.service, &service.name),
        cohort: said(&expect.cohort, &service.cohorts[assignment.cohort].name),
        variant: said(&expect.variant, &service.variants[assignment.variant].name),
        reason: said(&expect.reason, assignment.reason.as_str()),
    }
}

#[allow(clippy::too_many_arguments)]
fn view<'r>(
    method: &'r Method,
    host: &'r str,
    path: &'r str,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    peer: IpAddr,
    trust: &'r Trust,
    snapshot: &'r Snapshot,
) -> RequestView<'r> {
    let client = client_ip(peer, &trust.proxies, headers);
    RequestView::new(method, host, path, query, headers, client, trust, snapshot.geo.as_deref())
}

#[test]
fn the_starter_of_init_is_valid_and_without_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, ringway::config::STARTER).unwrap();
    let Example { loaded, snapshot } = open(&path);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for test in &loaded.file.tests {
        assert_eq!(outcome(&snapshot, test), test.expect);
    }
}

/// The vectors with which anyone can check an implementation of the contract.
#[test]
fn the_vectors_in_the_documents_are_right() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/concepts/assignment.md"));
    let rows: Vec<(String, String, u32)> = page.unwrap().lines().filter_map(vector).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    for (salt, user, number) in rows {
        let hash = SaltKey::new(salt.as_bytes()).hash(user.as_bytes());
        assert_eq!(Bucket::of_hash(hash).number(), number, "{salt} {user}");
    }
}

/// A row such as `| `shop-v42` | `u-1842` | 161139 |`.
fn vector(row: &str) -> Option<(String, String, u32)> {
    let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    match cells.as_slice() {
        ["", salt, user, number, ""] => Some((salt.to_string(), user.to_string(), number.parse().ok()?)),
        _ => None,
    }
}
