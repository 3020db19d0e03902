//! Files under `tests/config`: bad ones, each with the codes and places that it must give, and good ones.

#![cfg(test)]

use super::codes::Code;
use super::diagnostic::Diagnostic;
use super::load::{Loaded, load, load_texts};
use super::source::Source;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Codes that no single file can give; tests of their own show them.
const ELSEWHERE: [Code; 10] = [
    Code::NotSupported,
    Code::Leftover,
    Code::FileUnreadable,
    Code::FileTooLarge,
    Code::DefinedTwice,
    Code::NoFiles,
    Code::WritableByOthers,
    Code::TooManyProblems,
    Code::ReferencedFile,
    Code::TestFailed,
];

fn files(folder: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let mut files: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What a file gives, as it is written in its first line: `RW0110 12:7`.
fn found(path: &Path) -> Vec<String> {
    let (sources, diagnostics) = match load(path) {
        Ok(Loaded { sources, warnings, .. }) => (sources, warnings),
        Err(errors) => (errors.sources, errors.diagnostics),
    };
    // The mode of a checked-out file is up to who checks it out.
    let diagnostics = diagnostics.iter().filter(|found| found.code != Code::WritableByOthers);
    let written = |found: &Diagnostic| match found.location(&sources) {
        Some((_, at)) => format!("{} {}:{}", found.code, at.line, at.column),
        None => found.code.to_string(),
    };
    diagnostics.map(written).collect()
}

#[test]
fn every_bad_file_gives_its_codes_at_their_places() {
    let files = files("bad");
    assert!(files.len() >= 100, "{} bad files", files.len());
    let mut given = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let expected = text.lines().next().unwrap_or_default().trim_start_matches("# expect: ").to_owned();
        let found = found(path);
        given.extend(found.iter().map(|one| one[..6].to_owned()));
        if found.is_empty() || found.join(", ") != expected {
            let name = path.file_stem().unwrap().to_string_lossy();
            wrong.push(format!("{name}: expected [{expected}], found [{}]", found.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
    let missing: Vec<String> = Code::ALL
        .iter()
        .filter(|code| !ELSEWHERE.contains(code))
        .map(|code| code.to_string())
        .filter(|code| !given.contains(code))
        .collect();
    assert!(missing.is_empty(), "no bad file gives {missing:?}");
}

#[test]
fn every_error_helps_or_says_it_all() {
    for path in files("bad") {
        let Err(errors) = load(&path) else { continue };
        for found in errors.diagnostics {
            assert!(!found.message.is_empty() && !found.message.ends_with('.'), "{}: {found:?}", path.display());
            assert!(!found.message.contains('\n'), "{}: {found:?}", path.display());
        }
    }
}

#[test]
fn good_files_are_good() {
    for path in files("good") {
        assert_eq!(found(&path), [""; 0], "{}", path.display());
    }
}

#[test]
fn the_starter_is_good_and_fits_the_schema() {
    let loaded = load_texts(vec![Source::new("starter.yaml", super::STARTER)]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.warnings, []);
    assert!(super::STARTER.starts_with("# yaml-language-server: $schema=ringway.schema.json\n"));
    let schema = super::json_schema();
    let known = schema["properties"].as_object().unwrap();
    for key in super::STARTER.lines().filter_map(|line| line.split_once(':')).map(|(key, _)| key) {
        let is_top_level = key.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(!is_top_level || known.contains_key(key), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["listeners"]["description"].is_string());
}

#[test]
fn more_mismatches_than_fit_are_cut() {
    let text: String = (0..150).map(|at| format!("bogus{at}: 1\n")).collect();
    let errors = load_texts(vec![Source::new("a.yaml", text)]).unwrap_err();
    let many = errors.diagnostics.iter().filter(|found| found.code == Code::TooManyProblems).count();
    assert_eq!((errors.diagnostics.len(), many), (101, 1));
}

#[test]
fn hostile_nesting_of_conditions_takes_no_time() {
    let nested = |word: &str| {
        (0..25).fold("{ method: [GET] }".to_owned(), |inner, at| {
            format!("{{ {word}: [{{ percent: {} }}, {inner}] }}", at + 1)
        })
    };
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:80 }}]\nservices: {{ shop: {{ variants: {{ a: {{ endpoints: [\"a:1\"] }} }},\n\
         cohorts: [{{ name: a, when: {} }}, {{ name: b, when: {} }}] }} }}\n",
        nested("all"),
        nested("any")
    );
    let began = std::time::Instant::now();
    load_texts(vec![Source::new("a.yaml", text)]).unwrap_or_else(|e| panic!("{e}"));
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
}

const GOOD: &str = include_str!("../../tests/config/good/full.yaml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Flipped bytes and cuts of a good file are refused or accepted, never a panic; and every report can be shown.
    #[test]
    fn damaged_files_never_panic(
        flips in proptest::collection::vec((0..GOOD.len(), any::<u8>()), 0..4),
        cut in 0..GOOD.len(),
        length in 0usize..40,
    ) {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, byte) in flips {
            bytes[at] = byte & 0x7f;
        }
        bytes.drain(cut..(cut + length).min(bytes.len()));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Err(errors) = load_texts(vec![Source::new("damaged.yaml", text)]) {
            prop_assert!(errors.diagnostics.iter().any(Diagnostic::is_error));
            let report = super::render::Report::from(&errors);
            for format in ["text", "json", "github", "sarif"] {
                prop_assert!(!report.render(format.parse().unwrap(), false).is_empty());
            }
        }
    }
}
