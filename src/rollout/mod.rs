//! Releases: the judge that says whether a canary does harm.

pub mod judge;
