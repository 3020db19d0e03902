//! Replays the corpora of the fuzzer: what was found once stays found, without the fuzzer.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::Path;

/// Fewer inputs are no corpus: a folder that was not checked out would pass.
const INPUTS_MIN: usize = 20;

#[test]
fn no_input_of_any_corpus_breaks_its_target() {
    let mut broken = Vec::new();
    for (name, target) in targets::TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= INPUTS_MIN, "fuzz/corpus/{name} has {} inputs", inputs.len());
        for (file, bytes) in inputs {
            // the message of the panic goes to standard error; the file that causes it is what is missing there
            if catch_unwind(|| target(&bytes)).is_err() {
                broken.push(format!("fuzz/corpus/{name}/{file}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// Every target is in the fuzzer's manifest, and its program calls it.
#[test]
fn every_target_can_be_fuzzed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        let program = std::fs::read_to_string(root.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let entries = entries.map(|entry| entry.unwrap());
    let mut inputs: Vec<_> =
        entries.map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap())).collect();
    inputs.sort();
    inputs
}
