//! The house rules as tests: layers, banned calls, sizes, documents and dependencies.
//!
//! A rule that nobody runs is a wish. Each test here names the rule, the place that breaks it, and what to write
//! instead. Generated pages are compared with the code; `UPDATE=1 cargo test --test tidy` rewrites them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod dependencies;
mod layers;
mod pages;
mod profile;
mod shape;
mod source;

/// Fails with every violation at once, each on a line of its own.
fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}\n", violations.join("\n  "));
}
