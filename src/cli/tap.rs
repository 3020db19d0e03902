use serde_json::Value;
use std::io;
use std::ops::ControlFlow;

use super::Exit;
use super::door::AdminDoor;
use super::out::{Output, print, say};
use super::status::FOR_EVER;
use super::words::{milliseconds, moment, word};
use crate::control::client;

/// Watch finished requests as they pass by, one on each line.
///
/// Queries, cookies and user keys are never shown. More than --rate in a second are left out, and counted. Exit code 0
/// as many as were asked for, 1 a filter that nothing fits, 3 nobody answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway tap --service shop --variant canary --status 5xx\n  \
    ringway tap -n 100 -o json > sample.jsonl")]
pub(super) struct Args {
    /// Only of this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Only of this cohort
    #[arg(long, value_name = "COHORT")]
    cohort: Option<String>,
    /// Only of this variant
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Only with this status: 503, 5xx or 500-504
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// At most so many in a second
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rate: u16,
    /// End after so many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// How they are written: lines, or one JSON document on each line
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(flatten)]
    door: AdminDoor,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let query = client::query([
            ("service", self.service.clone()),
            ("cohort", self.cohort.clone()),
            ("variant", self.variant.clone()),
            ("status", self.status.clone()),
            ("rate", Some(self.rate.to_string())),
        ]);
        let mut left = self.count;
        let listened = client::listen(&door.address, &format!("/api/v1/tap{query}"), None, FOR_EVER, |part| {
            if part.name == "dropped" {
                say(&format!("{} more were left out; --rate shows more of them", part.data["dropped"]));
                return ControlFlow::Continue(());
            }
            if let Err(error) = self.tell(part.data) {
                return ControlFlow::Break(Err(error));
            }
            left = left.map(|left| left - 1);
            if left == Some(0) { ControlFlow::Break(Ok(Exit::Yes)) } else { ControlFlow::Continue(()) }
        });
        match listened {
            Ok(ended) => Ok(ended?),
            Err(error) => Ok(door.tell(&error)),
        }
    }

    fn tell(&self, mut request: Value) -> io::Result<()> {
        match self.output {
            Output::Text => print(&line(&request)),
            Output::Json => {
                request["schema"] = "ringway.request/v1".into();
                print(&format!("{request}\n"))
            }
        }
    }
}

/// `2026-11-21 15:04:05  503 12ms  shop/beta canary (split)  GET /cart  UF  trace 4bf9..`
fn line(request: &Value) -> String {
    let optional = |name: &str, before: &str| {
        let text = word(&request[name]);
        if text.is_empty() || text == "-" { text } else { format!("  {before}{text}") }
    };
    let status = match request["status"].as_u64() {
        None | Some(0) => "---".to_owned(),
        Some(status) => status.to_string(),
    };
    format!(
        "{}  {status} {}  {}/{} {} ({})  {} {}{}{}\n",
        moment(&request["unixMs"]),
        milliseconds(&request["durationMs"]),
        word(&request["service"]),
        word(&request["cohort"]),
        word(&request["variant"]),
        word(&request["reason"]),
        word(&request["method"]),
        word(&request["path"]),
        optional("flags", "").trim_end_matches('-'),
        optional("trace", "trace ").trim_end_matches('-'),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_one_line_whatever_its_path_says() {
        let line = line(&json!({
            "unixMs": 0, "status": 503, "durationMs": 12.4, "service": "shop", "cohort": "beta", "variant": "canary",
            "reason": "split", "method": "GET", "path": "/a\n\u{1b}[2J", "flags": "UF", "trace": "",
        }));
        assert!(line.ends_with("  503 12ms  shop/beta canary (split)  GET /a\\n\\u{1b}[2J  UF\n"), "{line}");
    }
}
