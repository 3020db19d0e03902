use serde_json::{Value, json};
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use super::Exit;
use super::door::{AdminDoor, Found};
use super::out::{Output, print, print_json};
use super::status::FOR_EVER;
use super::words::{each, moment, word};
use crate::config::values;
use crate::control::client::{self, Door};

/// Tell what happened to rollouts, and what people did: the latest last.
///
/// Exit code 0 here they are, 3 nobody answers, 4 no answer in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway events --service shop\n  ringway events --follow -o json | jq .sentence")]
pub(super) struct Args {
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// How many, at most
    #[arg(short = 'n', long, default_value_t = 30, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Go on with those that happen from now on
    #[arg(short, long)]
    follow: bool,
    /// How they are written; with --follow one JSON document on each line
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
        let mut answer = match self.latest(&door.address, self.timeout.0) {
            Ok(answer) => answer,
            Err(error) => return Ok(door.tell(&error)),
        };
        // those who read on the screen look at the end first, and what follows comes after it
        if let Some(events) = answer["events"].as_array_mut() {
            events.reverse();
        }
        if self.output == Output::Json && !self.follow {
            print_json(&answer)?;
            return Ok(Exit::Yes);
        }
        for event in each(&answer["events"]) {
            self.tell(event)?;
        }
        let is_empty = each(&answer["events"]).next().is_none();
        if !self.follow {
            if is_empty {
                print("nothing has happened yet\n")?;
            }
            return Ok(Exit::Yes);
        }
        let last = each(&answer["events"]).filter_map(|event| event["id"].as_u64()).max().unwrap_or(0);
        self.follow(&door, last)
    }

    fn latest(&self, door: &Door, patience: Duration) -> Result<Value, client::ClientError> {
        let query = client::query([("limit", Some(self.limit.to_string())), ("service", self.service.clone())]);
        client::page(door, &format!("/api/v1/events{query}"), patience)
    }

    /// Until somebody ends it, or the door stays away.
    fn follow(&self, door: &Found<Door>, last: u64) -> anyhow::Result<Exit> {
        let listened = client::listen(&door.address, "/api/v1/stream", Some(last), FOR_EVER, |part| {
            let is_wanted = |event: &Value| self.service.as_ref().is_none_or(|name| event["service"] == name.as_str());
            if part.name == "event"
                && is_wanted(&part.data)
                && let Err(error) = self.tell(&part.data)
            {
                return ControlFlow::Break(error);
            }
            ControlFlow::Continue(())
        });
        match listened {
            Ok(error) => Err(error.into()),
            Err(error) => Ok(door.tell(&error)),
        }
    }

    fn tell(&self, event: &Value) -> io::Result<()> {
        match self.output {
            Output::Text => print(&line(event)),
            Output::Json => {
                let mut whole = json!({ "schema": "ringway.event/v1" });
                if let (Some(whole), Some(event)) = (whole.as_object_mut(), event.as_object()) {
                    whole.extend(event.clone());
                }
                print(&format!("{whole}\n"))
            }
        }
    }
}

/// `2026-11-21 15:04:05  shop  step-began  shop/beta 1 % → 10 %  (kim: looks good)`
fn line(event: &Value) -> String {
    let by = match (event["actor"].as_str(), event["reason"].as_str().filter(|reason| !reason.is_empty())) {
        (Some(_), Some(_)) => format!("  ({}: {})", word(&event["actor"]), word(&event["reason"])),
        (Some(_), None) => format!("  ({})", word(&event["actor"])),
        _ => String::new(),
    };
    let (when, service) = (moment(&event["unixMs"]), word(&event["service"]));
    let service = if service.is_empty() { "–".to_owned() } else { service };
    format!("{when}  {service}  {}  {}{by}\n", word(&event["kind"]), word(&event["sentence"]))
}
