//! Replays the corpora of the fuzzer: what was found once stays found, without the fuzzer.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::Path;
use std::time::Instant;

/// Fewer inputs are no corpus: a folder that was not checked out would pass.
const INPUTS_MIN: usize = 20;
/// Neighbours of a corpus that are tried where nobody says for how long.
const TRIES: u64 = 300;

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

/// Without the fuzzer: inputs of the corpora, changed at random and put together. `RINGWAY_TEST_FUZZ` says for how many
/// seconds on each target, and `RINGWAY_TEST_FUZZ_TARGET` on which one alone; the seed is told with the input that breaks
/// it.
#[test]
fn no_neighbour_of_any_corpus_breaks_its_target() {
    let seconds = std::env::var("RINGWAY_TEST_FUZZ").ok().map(|seconds| seconds.parse::<u64>().unwrap());
    let only = std::env::var("RINGWAY_TEST_FUZZ_TARGET").ok();
    for (name, target) in
        targets::TARGETS.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let (begun, mut tried) = (Instant::now(), 0);
        while seconds.map_or(tried < TRIES, |seconds| begun.elapsed().as_secs() < seconds) {
            let seed = if seconds.is_some() { fastrand::u64(..) } else { tried };
            let input = neighbour(&inputs, seed);
            if catch_unwind(|| target(&input)).is_err() {
                panic!("{name} breaks on {:?} (seed {seed})", String::from_utf8_lossy(&input));
            }
            tried += 1;
        }
        println!("{name}: {tried} inputs in {:.0?}", begun.elapsed());
    }
}

/// An input that is close to one of these: bytes flipped, cut, repeated, from another one.
fn neighbour(inputs: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut input = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..=input.len());
        let end = at + random.usize(..=(input.len() - at).min(16));
        match random.u8(..6) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 => input.insert(at, b"\0\r\n\t :;,=&%/.\\\"{}[]-09aZ\x7f\x80\xff"[random.usize(..27)]),
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            4 => input.truncate(at),
            _ => {
                let other = &inputs[random.usize(..inputs.len())];
                let from = random.usize(..=other.len());
                input.splice(at..end, other[from..].iter().copied().take(64));
            }
        }
    }
    input
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
