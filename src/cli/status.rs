use serde_json::Value;

use super::Exit;
use super::door::AdminDoor;
use super::out::{Output, print, print_json, say};
use crate::config::values;
use crate::control::client;

/// Show what is in force: rollouts with their phase, step and gates, and who gets what.
///
/// Exit code 0 it is shown, 1 there is no such service, 3 nobody answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
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
        let mut status = match client::status(&door.address, self.timeout.0) {
            Ok(status) => status,
            Err(error) => return Ok(door.tell(&error)),
        };
        if let (Some(name), Some(services)) = (&self.service, status["services"].as_array_mut()) {
            services.retain(|service| service["name"] == name.as_str());
            if services.is_empty() {
                say(&format!("error: there is no service {name}"));
                return Ok(Exit::No);
            }
        }
        match self.output {
            Output::Json => print_json(&status)?,
            Output::Text => print(&text(&status))?,
        }
        Ok(Exit::Yes)
    }
}

fn text(status: &Value) -> String {
    let mut text = String::new();
    if let Some(problem) = status["problem"].as_str() {
        text.push_str(&format!("the last reload was rejected: {problem}\n"));
    }
    for service in each(&status["services"]) {
        text.push_str(&of_service(service, word(&status["rev"])));
    }
    text
}

fn of_service(service: &Value, rev: &str) -> String {
    let (name, phase) = (word(&service["name"]), word(&service["phase"]));
    let mut text = match service["step"].as_u64() {
        Some(step) => format!(
            "{name}   {} → {}   {phase}   step {step}/{}   rollout {}   rev {rev}\n",
            word(&service["from"]),
            word(&service["to"]),
            service["steps"],
            word(&service["rollout"])
        ),
        None => format!("{name}   {phase}   rev {rev}\n"),
    };
    if let Some(why) = service["why"].as_str().filter(|why| !why.is_empty()) {
        text.push_str(&format!("       {why}\n"));
    }
    text.push_str(&format!(
        "\n{:<12} {:<12} {:>9} {:>9} {:>9} {:>9}  WEIGHT\n",
        "COHORT", "VARIANT", "SHARE", "USERS", "RPS", "ERRORS"
    ));
    for cohort in each(&service["cohorts"]) {
        for variant in each(&cohort["variants"]) {
            let users = variant["users"].as_u64().map_or("–".to_owned(), crate::model::grouped);
            let share = variant["share"].as_f64().map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
            text.push_str(&format!(
                "{:<12} {:<12} {share:>9} {users:>9} {:>9.1} {:>9}  {} ({})\n",
                word(&cohort["name"]),
                word(&variant["name"]),
                variant["rps"].as_f64().unwrap_or_default(),
                variant["errors"],
                variant["weight"],
                word(&variant["source"]),
            ));
        }
    }
    let gates: Vec<&Value> = each(&service["gates"]).collect();
    if !gates.is_empty() {
        text.push_str(&format!("\n{:<12} {:<12} {:<8} NUMBERS\n", "COHORT", "GATE", "VERDICT"));
    }
    for gate in gates {
        text.push_str(&format!(
            "{:<12} {:<12} {} {:<8} {}\n",
            word(&gate["cohort"]),
            word(&gate["name"]),
            mark(word(&gate["verdict"])),
            word(&gate["verdict"]),
            word(&gate["text"])
        ));
    }
    text.push('\n');
    text
}

/// Words always stand beside it.
fn mark(verdict: &str) -> &'static str {
    match verdict {
        "pass" => "✔",
        "harm" => "✘",
        _ => "…",
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
