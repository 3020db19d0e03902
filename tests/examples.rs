//! The examples in `config/` are right: each loads without a warning, refers to files that are there, compiles, and
//! passes the tests that stand in it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "tls/authority.rs"]
mod authority;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "edge/folder.rs"]
mod folder;

use ringway::config::{Loaded, load};
use ringway::model::{Bucket, SaltKey};
use ringway::routing::prepare::{Prepared, assemble};
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::path::{Path, PathBuf};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    files.sort();
    files
}

fn open(path: &Path) -> Prepared {
    let compile = |loaded: Loaded| assemble(loaded, &Upstreams::default(), &Registry::new(1, 10_000));
    load(path).and_then(compile).unwrap_or_else(|errors| panic!("{}: {errors}", path.display()))
}

/// Loads without a warning and passes its own tests; says how many it has.
fn passes(path: &Path) -> usize {
    let prepared = open(path);
    assert!(prepared.loaded.warnings.is_empty(), "{}: {:?}", path.display(), prepared.loaded.warnings);
    let verdicts = prepared.verdicts();
    for verdict in &verdicts {
        assert!(verdict.has_passed(), "{}: {verdict:?}", path.display());
    }
    verdicts.len()
}

#[test]
fn every_example_is_valid_without_warnings_and_passes_its_own_tests() {
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    for path in examples {
        // it names certificates, and no private key is kept with the examples
        let folder = path.ends_with("edge.yaml").then(folder::Folder::new);
        let path = folder.as_ref().map_or(path, folder::Folder::file);
        assert!(passes(&path) > 0, "{} has no tests", path.display());
    }
}

#[test]
fn networks_of_ipv4_hold_however_they_are_written() {
    assert_eq!(passes(Path::new("tests/config/good/mapped.yaml")), 3);
}

#[test]
fn the_starter_of_init_is_valid_and_without_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.yaml");
    std::fs::write(&path, ringway::config::STARTER).unwrap();
    passes(&path);
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
