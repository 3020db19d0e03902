use serde_json::Value;

use super::Exit;
use super::door::AdminDoor;
use super::grid::Grid;
use super::out::{Output, print, print_json};
use super::words::{count, dash, each, elapsed, moment, word};
use crate::config::values;
use crate::control::client;

/// Tell what became of the releases of the last days: the latest first.
///
/// Exit code 0 here they are, 3 nobody answers, 4 no answer in time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// How far back
    #[arg(long, default_value_t = 30, value_name = "DAYS", value_parser = clap::value_parser!(u8).range(1..=90))]
    days: u8,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(flatten)]
    door: AdminDoor,
    /// How long to wait for the answer
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    timeout: values::Duration,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let path = format!("/api/v1/history?days={}", self.days);
        let mut history = match client::page(&door.address, &path, self.timeout.0) {
            Ok(history) => history,
            Err(error) => return Ok(door.tell(&error)),
        };
        if let (Some(service), Some(rollouts)) = (&self.service, history["rollouts"].as_array_mut()) {
            rollouts.retain(|rollout| rollout["service"] == service.as_str());
        }
        match self.output {
            Output::Json => print_json(&history)?,
            Output::Text => print(&text(&history, self.days))?,
        }
        Ok(Exit::Yes)
    }
}

fn text(history: &Value, days: u8) -> String {
    let header = ["SERVICE", "ROLLOUT", "OUTCOME", "BEGAN", "TOOK", "DETECTED", "USERS", "BY", "WHAT"];
    let mut grid = Grid::new(&header, &[4, 5, 6]);
    for rollout in each(&history["rollouts"]) {
        let took = rollout["endedUnixMs"].as_u64().zip(rollout["startedUnixMs"].as_u64());
        let detected = rollout["timeToDetectSeconds"].as_f64();
        let actor = word(&rollout["actor"]);
        let outcome = word(&rollout["outcome"]);
        grid.row([
            word(&rollout["service"]),
            word(&rollout["id"]),
            format!("{} {outcome}", mark(&outcome)),
            moment(&rollout["startedUnixMs"]),
            took.map_or_else(dash, |(end, begin)| elapsed(end.saturating_sub(begin) / 1_000)),
            detected.map_or_else(dash, |seconds| format!("{seconds:.1}s")),
            count(&rollout["usersExposed"]),
            if actor.is_empty() { "Ringway".to_owned() } else { actor },
            word(&rollout["sentence"]),
        ]);
    }
    if grid.is_empty() { format!("no release in the last {days} days\n") } else { grid.text() }
}

/// Words always stand beside it.
fn mark(outcome: &str) -> &'static str {
    match outcome {
        "promoted" => "✔",
        "rolled-back" => "✗",
        "running" => "▸",
        _ => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_release_is_one_line() {
        let history = json!({ "rollouts": [{
            "service": "shop", "id": "v42", "outcome": "rolled-back", "startedUnixMs": 1_000, "endedUnixMs": 721_000,
            "timeToDetectSeconds": 30.54, "usersExposed": 1_312, "actor": null, "sentence": "errors of beta",
        }] });
        let text = text(&history, 30);
        let line = text.lines().nth(1).unwrap();
        for part in ["shop      v42       ✗ rolled-back", "12m", "30.5s", "1,312", "Ringway   errors of beta"] {
            assert!(line.contains(part), "{part}: {text}");
        }
        assert_eq!(super::text(&json!({ "rollouts": [] }), 7), "no release in the last 7 days\n");
    }
}
