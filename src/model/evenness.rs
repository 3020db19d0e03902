//! D14: a million users fall as the weights say, nobody moves back, and nobody outside can tell who falls where.
//!
//!     RINGWAY_TEST_IDS=1000000 cargo test --lib model::evenness -- --nocapture

#![cfg(test)]

use super::{BUCKETS, Bucket, Layout, SaltKey, Weight};

/// How many users: `RINGWAY_TEST_IDS`, or this.
fn ids() -> u32 {
    std::env::var("RINGWAY_TEST_IDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000)
}

/// The first of them: `RINGWAY_TEST_IDS_FROM`, or 0.
fn first() -> u32 {
    std::env::var("RINGWAY_TEST_IDS_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How often a χ² is looked at: kinds of ids, salts, cells and splits.
const CHI_SQUARES: usize = 3 * 3 * 5;

/// Kinds of ids that people have: in a row, long, and alike.
const KINDS: [fn(u32) -> String; 3] = [
    |at| at.to_string(),
    |at| format!("user-{at:08}@example.com"),
    |at| format!("0190{at:08x}-7a1c-4000-8000-000000000000"),
];

fn layout(weights: &[u64]) -> Layout {
    let weights: Vec<Weight> = weights.iter().map(|micros| Weight::from_micros(*micros)).collect();
    Layout::new(&weights, 0).unwrap()
}

/// χ² of counts against what was expected.
fn chi_square(counts: &[u64], expected: &[f64]) -> f64 {
    counts.iter().zip(expected).map(|(count, mean)| (*count as f64 - mean).powi(2) / mean).sum()
}

/// χ² that the largest of [`CHI_SQUARES`] exceeds once in 1,000 rounds, by degrees of freedom (Wilson and Hilferty, 1931: within 1 %).
fn chi_square_most(freedom: f64) -> f64 {
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 4.08 * part.sqrt()).powi(3)
}

#[test]
fn users_fall_as_the_weights_say() {
    let ids = ids();
    let (mut worst, mut looked): (f64, usize) = (0.0, 0);
    for (kind, id) in KINDS.iter().enumerate() {
        for salt in ["shop", "v42", ""] {
            let salt = SaltKey::new(salt.as_bytes());
            let buckets: Vec<Bucket> = (first()..first() + ids).map(|at| salt.bucket(id(at).as_bytes())).collect();
            // in 100 cells alike
            let mut cells = [0; 100];
            buckets.iter().for_each(|bucket| cells[(bucket.number() / (BUCKETS / 100)) as usize] += 1);
            let even = chi_square(&cells, &[f64::from(ids) / 100.0; 100]);
            looked += 1 + 4;
            assert!(even < chi_square_most(99.0), "kind {kind}: {even}");
            // and by weights, from half to one in ten thousand
            for weights in [
                &[50_000_000, 50_000_000][..],
                &[95_000_000, 5_000_000],
                &[99_990_000, 10_000],
                &[90_000_000, 7_000_000, 3_000_000],
            ] {
                let (layout, sum) = (layout(weights), weights.iter().sum::<u64>() as f64);
                let mut counts = vec![0; weights.len()];
                buckets.iter().for_each(|bucket| counts[layout.variant_of(*bucket)] += 1);
                let expected: Vec<f64> = weights.iter().map(|weight| f64::from(ids) * *weight as f64 / sum).collect();
                let found = chi_square(&counts, &expected);
                assert!(found < chi_square_most(weights.len() as f64 - 1.0), "kind {kind}, {weights:?}: {counts:?}");
                let off =
                    counts.iter().zip(&expected).map(|(count, mean)| (*count as f64 - mean).abs() / f64::from(ids));
                worst = off.fold(worst, f64::max);
            }
        }
    }
    assert_eq!(looked, CHI_SQUARES);
    println!("{ids} ids of 3 kinds, 3 salts, 4 splits: at most {:.3} points from the weights", worst * 100.0);
}

#[test]
fn another_salt_knows_nothing_of_this_one() {
    let (one, two) = (SaltKey::new(b"v42"), SaltKey::new(b"v43"));
    let ids = ids();
    let place =
        |salt: &SaltKey, at: u32| f64::from(salt.bucket(KINDS[1](at).as_bytes()).number()) / f64::from(BUCKETS) - 0.5;
    let sum = (0..ids).map(|at| place(&one, at) * place(&two, at)).sum::<f64>();
    // of two even numbers the variance is a twelfth
    let correlation = 12.0 * sum / f64::from(ids);
    println!("correlation of two salts over {ids} ids: {correlation:.5}");
    assert!(correlation.abs() < 0.01, "{correlation}");
}

#[test]
fn a_share_that_grows_takes_nobody_back() {
    let (salt, ids) = (SaltKey::new(b"v42"), ids());
    let ramp =
        [0, 10_000, 1_000_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 75_000_000, 99_990_000, 100_000_000];
    let layouts = ramp.map(|canary| layout(&[100_000_000 - canary, canary]));
    let mut back = 0;
    for at in 0..ids {
        let bucket = salt.bucket(KINDS[0](at).as_bytes());
        let variants = layouts.each_ref().map(|layout| layout.variant_of(bucket));
        back += usize::from(variants.is_sorted() as u8 == 0);
    }
    assert_eq!(back, 0, "of {ids}");
}

/// Whoever does not know the salt tries ids beforehand: by all the hashes that they could guess.
#[test]
fn who_does_not_know_the_salt_cannot_choose_ids_for_the_canary() {
    let (secret, layout) = (SaltKey::new(b"a secret that stands in a file"), layout(&[95_000_000, 5_000_000]));
    for guess in ["", "shop", "v42", "a secret that stands in a fil"] {
        let guess = SaltKey::new(guess.as_bytes());
        // those that the guess puts into the canary
        let ground: Vec<String> =
            (0..ids()).map(KINDS[0]).filter(|id| layout.variant_of(guess.bucket(id.as_bytes())) == 1).collect();
        let hits = ground.iter().filter(|id| layout.variant_of(secret.bucket(id.as_bytes())) == 1).count();
        let (share, sigma) = (hits as f64 / ground.len() as f64, (0.05 * 0.95 / ground.len() as f64).sqrt());
        println!("{} ids that were chosen: {:.2} % of them in a canary of 5 %", ground.len(), share * 100.0);
        assert!((share - 0.05).abs() < 4.0 * sigma, "{share}");
    }
}
