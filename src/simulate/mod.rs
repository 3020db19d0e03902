//! Rollouts on paper, in virtual time, by the judge and the engine that rule real ones: [`rehearse`] with made-up traffic
//! over many runs, [`replay`] with the requests of an access log.
//!
//! ```text
//! traffic (made up, or a log) ─ticks─▶ Paper { judges ─readings─▶ engine::step } ─shares─▶ traffic
//! ```

mod inject;
pub mod log;
mod paper;
pub mod rehearse;
pub mod replay;

pub use inject::Injection;
pub use paper::{Paper, Past};

use crate::config::schema::Service;
use crate::routing::prepare::Prepared;
use replay::{Options, Replay, Report};

/// A log in memory through a file, for who has the text at hand.
///
/// # Errors
/// A rollout is to be played, and there is none.
pub fn simulate(
    prepared: &Prepared,
    against: Option<&Prepared>,
    options: Options,
    log: &str,
) -> Result<Report, String> {
    let mut replay = Replay::new(prepared, against, options)?;
    log.lines().for_each(|line| replay.line(line.as_bytes()));
    Ok(replay.end())
}

/// The gates of a service's rollout that nothing on paper can answer: outcomes that are not known, and what is asked of
/// others.
fn silent_gates(
    service: &Service,
    is_known: impl Fn(usize) -> bool,
    unknown_outcome: impl Fn(&str) -> String,
) -> Vec<String> {
    let Some(gates) = service.rollout.as_ref().map(|rollout| &rollout.gates) else { return Vec::new() };
    let outcomes = gates.outcomes.iter().enumerate().filter(|(at, _)| !is_known(*at));
    let outcomes = outcomes.map(|(_, gate)| unknown_outcome(&gate.name));
    let prometheus = gates.prometheus.iter().map(|gate| format!("{} (a query to Prometheus)", gate.name));
    let http = gates.http.iter().map(|gate| format!("{} (a question to a web service)", gate.name));
    outcomes.chain(prometheus).chain(http).collect()
}

/// The 99th percentile of the normal distribution.
pub const Z99: f64 = 2.326_348;
