//! What the lock file may hold: versions without known holes, and licences that ask for nothing but a notice.
//!
//! The floors are those of the advisories that concern an edge proxy. `cargo deny check` with deny.toml says the
//! same and more; this needs no tool and no network.

use crate::none;
use crate::source::read;
use serde_json::Value;
use std::process::Command;

type Version = (u64, u64, u64);

/// Crates that may not be older, with the reason.
const FLOORS: [(&str, Version, &str); 15] = [
    ("h2", (0, 4, 20), "RUSTSEC-2024-0332, RUSTSEC-2026-0258: floods of frames; the 0.3 line is not mended"),
    ("hyper", (1, 12, 0), "busy loops and panics on malformed heads; the 0.14 line is not mended"),
    ("tokio", (1, 44, 0), "RUSTSEC-2025-0023: unsound broadcast"),
    ("bytes", (1, 11, 1), "RUSTSEC-2026-0007: overflow in reserve"),
    ("mio", (0, 8, 11), "RUSTSEC-2024-0019"),
    ("aws-lc-sys", (0, 39, 0), "RUSTSEC-2026-0046 to -0048"),
    ("ring", (0, 17, 12), "RUSTSEC-2025-0009: panic in checked builds"),
    ("lru", (0, 18, 2), "RUSTSEC-2026-0002 and -0253: unsound"),
    ("rustls", (0, 23, 18), "RUSTSEC-2024-0336 and -0399: endless loop, panic in Acceptor"),
    ("rustls-webpki", (0, 103, 13), "RUSTSEC-2026-0049 to -0104"),
    ("tracing-subscriber", (0, 3, 20), "RUSTSEC-2025-0055: escape sequences in logs"),
    ("time", (0, 3, 47), "RUSTSEC-2026-0009: stack exhaustion"),
    ("protobuf", (3, 7, 2), "RUSTSEC-2024-0437: recursion"),
    ("crossbeam-epoch", (0, 9, 20), "RUSTSEC-2026-0204"),
    ("tungstenite", (0, 20, 1), "RUSTSEC-2023-0065: CPU of header parsing"),
];

/// Crates that may not be there, with what takes their place.
const BANNED: [(&str, &str); 8] = [
    ("serde_yaml", "granit-parser behind src/config/parse.rs; serde_yaml is deprecated"),
    ("serde_yml", "granit-parser; serde_yml is unsound"),
    ("yaml-rust", "granit-parser; yaml-rust is unmaintained"),
    ("rustls-pemfile", "the PEM reader of rustls-pki-types"),
    ("paste", "macros without it; unmaintained"),
    ("openssl", "aws-lc-rs"),
    ("native-tls", "rustls"),
    ("chrono", "jiff"),
];

/// Licences that ask for nothing but a notice.
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn versions_have_no_known_holes() {
    let mut violations = Vec::new();
    for (name, version) in locked() {
        if let Some((_, floor, why)) = FLOORS.iter().find(|(known, _, _)| *known == name)
            && version < *floor
        {
            violations.push(format!("{name} {version:?} is older than {floor:?}: {why}"));
        }
        if let Some((_, instead)) = BANNED.iter().find(|(known, _)| *known == name) {
            violations.push(format!("{name} may not be used; instead: {instead}"));
        }
    }
    none("dependencies; `cargo update -p NAME` raises one", violations);
}

#[test]
fn there_is_one_version_of_each_crate_that_speaks_to_the_network() {
    let locked = locked();
    for name in ["hyper", "h2", "http", "http-body", "tokio", "httparse", "rustls"] {
        let versions = locked.iter().filter(|(known, _)| known == name).count();
        assert!(versions <= 1, "{versions} versions of {name}; `cargo tree -i {name}` says why");
    }
}

#[test]
fn licences_ask_for_nothing_but_a_notice() {
    let packages = metadata();
    let mut violations = Vec::new();
    for package in packages["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("");
        if !is_allowed(licence) {
            violations.push(format!("{} {}: `{licence}`", package["name"], package["version"]));
        }
    }
    none("licences", violations);
}

/// The crates of this system only: those of others need not be downloaded.
fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// True when an SPDX expression can be met with the licences above. `/` is an old way to write `OR`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let tokens: Vec<String> =
        expression.replace('(', " ( ").replace(')', " ) ").split_whitespace().map(str::to_owned).collect();
    let mut at = 0;
    let met = any_of(&tokens, &mut at);
    met && at == tokens.len()
}

fn any_of(tokens: &[String], at: &mut usize) -> bool {
    let mut met = all_of(tokens, at);
    while tokens.get(*at).is_some_and(|token| token == "OR") {
        *at += 1;
        met |= all_of(tokens, at);
    }
    met
}

fn all_of(tokens: &[String], at: &mut usize) -> bool {
    let mut met = one(tokens, at);
    while tokens.get(*at).is_some_and(|token| token == "AND") {
        *at += 1;
        met &= one(tokens, at);
    }
    met
}

fn one(tokens: &[String], at: &mut usize) -> bool {
    let Some(token) = tokens.get(*at) else { return false };
    *at += 1;
    if token == "(" {
        let met = any_of(tokens, at);
        *at += 1;
        return met;
    }
    let mut name = token.clone();
    if tokens.get(*at).is_some_and(|token| token == "WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).map_or("", String::as_str));
        *at += 2;
    }
    LICENCES.contains(&name.as_str())
}

/// Names and versions of the lock file.
fn locked() -> Vec<(String, Version)> {
    let lock = read("Cargo.lock");
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")).map(str::to_owned));
        line.map(|line| line.trim_end_matches('"').to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    let packages = packages.map(|block| (field(block, "name").unwrap(), version(&field(block, "version").unwrap())));
    packages.collect()
}

fn version(text: &str) -> Version {
    let numbers = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let numbers: Vec<u64> = numbers.take(3).collect();
    (numbers[0], numbers[1], numbers[2])
}

#[test]
fn expressions_are_met_as_they_are_written() {
    for (expression, allowed) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0", false),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression}");
    }
}

/// Row D31: the floors here and in deny.toml are the same, and no code of ours is unsafe.
#[test]
fn deny_toml_says_the_same_and_nothing_is_unsafe() {
    let deny = read("deny.toml");
    let floor = |(name, (major, minor, patch), _): &(&str, Version, &str)| {
        let short = if *patch == 0 { format!("{major}.{minor}") } else { format!("{major}.{minor}.{patch}") };
        format!("{{ crate = \"{name}@<{short}\" }}")
    };
    let banned = BANNED.iter().map(|(name, _)| format!("    \"{name}\","));
    let missing = FLOORS.iter().map(floor).chain(banned).filter(|line| !deny.contains(line)).collect();
    none("floors and bans are in deny.toml too", missing);
    assert!(read("Cargo.toml").contains("\n[lints.rust]\nunsafe_code = \"forbid\"\n"));
}
