//! Rollouts: how a new version goes from nobody to everybody, and back.
//!
//! ```text
//! plan (what the file wants) ─┐
//! state (where we are) ───────┼─▶ engine::step ─▶ state, effects (weights, events, answers) ─▶ the hands
//! input (readings, commands) ─┘
//! ```
//!
//! Pure: no I/O, no clock, no chance. Time comes in with each input, what is to be done goes out as effects, and
//! nothing can fail. So a rollout can be replayed, simulated and enumerated; see `simulation` and `sequences`.

pub mod command;
pub mod effect;
pub mod engine;
pub mod input;
pub mod judge;
pub mod life_cycle;
pub mod ownership;
pub mod plan;
mod sentence;
pub mod split;
pub mod state;

#[cfg(test)]
mod sequences;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod stage;
