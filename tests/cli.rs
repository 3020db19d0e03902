//! The commands as people type them, on the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "cli/support.rs"]
mod support;

#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/by_hand.rs"]
mod by_hand;
#[path = "cli/check.rs"]
mod check;
#[path = "cli/complete.rs"]
mod complete;
#[path = "cli/diff.rs"]
mod diff;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/explain.rs"]
mod explain;
#[path = "cli/house.rs"]
mod house;
#[path = "cli/migrate.rs"]
mod migrate;
#[path = "cli/paper.rs"]
mod paper;
#[path = "cli/set_weight.rs"]
mod set_weight;
