//! What became of a log, as a document and as text.

use serde_json::{Value, json};
use std::fmt::Write;

use super::counts::Counts;
use super::play::Play;
use super::{Replay, Unread};
use crate::model::{BUCKETS, grouped, percent};
use crate::rollout::state::Phase;
use crate::simulate::silent_gates;

/// Moves that are shown in text; the document has all.
const MOVES_SHOWN: usize = 20;

/// What became of a log.
pub struct Report {
    /// The document `ringway.simulate/v1`.
    pub json: Value,
    /// The same for people.
    pub text: String,
    /// Where the rollout was in the end, if one was played.
    pub phase: Option<Phase>,
}

impl Replay<'_> {
    /// The log has ended.
    pub fn end(mut self) -> Report {
        if let Some(play) = &mut self.play {
            play.end();
        }
        let json = self.to_json();
        let mut text = self.lines_text();
        text += &self.shares_text();
        text += &self.moves_text();
        text += &self.play.as_ref().map_or(String::new(), play_text);
        Report { json, text, phase: self.play.as_ref().map(Play::phase) }
    }

    fn to_json(&self) -> Value {
        let formats = self.formats.iter().map(|(format, count)| (format.as_str().to_owned(), json!(count)));
        let unread = |unread: &Unread| json!({ "line": unread.number, "text": unread.text, "why": unread.why });
        let by_status = self.refused.iter().map(|(status, count)| (status.to_string(), json!(count)));
        json!({
            "schema": "ringway.simulate/v1",
            "rev": &*self.prepared.snapshot.rev,
            "lines": {
                "read": self.read,
                "unreadable": self.unread,
                "firstUnreadable": self.first_unread.as_ref().map(unread),
                "formats": formats.collect::<serde_json::Map<_, _>>(),
            },
            "fromUnixMs": self.from_ms,
            "toUnixMs": self.from_ms.map(|_| self.to_ms),
            "usersBy": {
                "key": self.users_by.key,
                "loggedBucket": self.users_by.logged_bucket,
                "addressAndAgent": self.users_by.stand_in,
            },
            "refused": {
                "requests": self.refused.values().sum::<u64>(),
                "byStatus": by_status.collect::<serde_json::Map<_, _>>(),
                "first": self.first_refused,
            },
            "services": self.services_json(),
            "against": self.against.map(|other| self.moves_json(&other.snapshot.rev)),
            "rollout": self.play.as_ref().map(|play| self.play_json(play)),
            "notes": self.notes(),
        })
    }

    fn services_json(&self) -> Vec<Value> {
        let services = self.prepared.snapshot.services.iter().enumerate();
        let of = |(at, service): (usize, &crate::routing::snapshot::Service)| {
            let cohorts = service.cohorts.iter().enumerate().map(|(cohort_at, cohort)| {
                let none = Default::default();
                let counts = self.counts.get(&(at, cohort_at)).unwrap_or(&none);
                let variants = service.variants.iter().enumerate().map(|(variant_at, variant)| {
                    let none = Counts::default();
                    let own = counts.variants.get(&variant_at).unwrap_or(&none);
                    json!({
                        "name": &*variant.name,
                        "requests": own.requests,
                        "errors": own.errors,
                        "users": own.users(),
                        "share": own.part_of(counts.all.requests),
                        "fileShare": f64::from(cohort.layout.width_of(variant_at)) / f64::from(BUCKETS),
                    })
                });
                json!({
                    "name": &*cohort.name,
                    "requests": counts.all.requests,
                    "errors": counts.all.errors,
                    "users": counts.all.users(),
                    "variants": variants.collect::<Vec<_>>(),
                })
            });
            json!({ "name": &*service.name, "cohorts": cohorts.collect::<Vec<_>>() })
        };
        services.map(of).collect()
    }

    fn moves_json(&self, rev: &str) -> Value {
        let of = |((service, cohort, from, to), counts): (&(String, String, String, String), &Counts)| {
            json!({ "service": service, "cohort": cohort, "from": from, "to": to,
                "requests": counts.requests, "users": counts.users() })
        };
        json!({
            "rev": rev,
            "requests": self.moves.all.requests,
            "users": self.moves.all.users(),
            "share": self.moves.all.part_of(self.moves.compared),
            "withoutServiceBefore": self.moves.lost,
            "moves": self.moves.by.iter().map(of).collect::<Vec<_>>(),
        })
    }

    fn play_json(&self, play: &Play) -> Value {
        let event = |event: &crate::rollout::effect::Event| {
            json!({
                "unixMs": event.unix_ms,
                "kind": event.kind.as_str(),
                "cohort": event.cohort,
                "sentence": event.sentence,
            })
        };
        json!({
            "id": play.id(),
            "injected": self.options.injections.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>(),
            "phase": play.phase().as_str(),
            "why": play.why(),
            "secondsToNotice": play.seconds_to_notice(),
            "canaryRequests": play.toll.canary_requests,
            "harmedRequests": play.toll.harmed,
            "users": play.toll.users.len(),
            "events": play.events().iter().map(event).collect::<Vec<_>>(),
        })
    }

    /// What was taken for what the log does not hold.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.users_by.stand_in > 0 {
            notes.push(format!(
                "{} came without a user key: address and user agent stand in for the user",
                counted(self.users_by.stand_in, "request")
            ));
        }
        let decided = self.formats.contains_key(&crate::simulate::log::Format::Ringway);
        for (service, stand_in) in self.prepared.snapshot.services.iter().zip(&self.stand_ins) {
            for (cohort, _) in service.cohorts.iter().zip(&stand_in.hidden).filter(|(_, is_hidden)| **is_hidden) {
                let whose = format!("{}/{}", service.name, cohort.name);
                notes.push(match decided {
                    true => format!("{whose} is decided by what no log holds: the cohort of the log is taken"),
                    false => format!("{whose} is decided by what this log may not hold: few or none are in it"),
                });
            }
        }
        let has_times = self.counts.is_empty() || self.play.as_ref().is_none_or(Play::has_latencies);
        if !has_times {
            notes.push("the log holds no durations: latency is not judged".to_owned());
        }
        if let Some(play) = &self.play
            && let Some(service) = self.prepared.loaded.file.services.get(play.service())
        {
            let silent = silent_gates(service, |_| false, |name| format!("{name} (an outcome, which no log holds)"));
            if !silent.is_empty() {
                notes.push(format!("not played, as if these gates passed: {}", silent.join("; ")));
            }
        }
        notes
    }

    fn lines_text(&self) -> String {
        let formats: Vec<&str> = self.formats.keys().map(|format| format.as_str()).collect();
        let seconds = self.from_ms.map_or(0, |from| self.to_ms.saturating_sub(from) / 1_000);
        let mut text = format!("{} ({}) of {}\n", counted(self.read, "line"), formats.join(", "), span(seconds));
        if let Some(first) = &self.first_unread {
            let _ = writeln!(
                text,
                "{} cannot be read; the first is line {}: {}\n  {}",
                counted(self.unread, "line"),
                first.number,
                first.why,
                first.text
            );
        }
        let refused: u64 = self.refused.values().sum();
        if let Some(first) = &self.first_refused {
            let _ = writeln!(text, "without a service: {}; the first: {first}", counted(refused, "request"));
        }
        for note in self.notes() {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    fn shares_text(&self) -> String {
        let mut rows =
            vec![["service", "cohort", "requests", "users", "variant", "share", "file says"].map(str::to_owned)];
        for (at, service) in self.prepared.snapshot.services.iter().enumerate() {
            for (cohort_at, cohort) in service.cohorts.iter().enumerate() {
                let Some(counts) = self.counts.get(&(at, cohort_at)) else { continue };
                for (variant_at, variant) in service.variants.iter().enumerate() {
                    let none = Counts::default();
                    let own = counts.variants.get(&variant_at).unwrap_or(&none);
                    rows.push([
                        service.name.to_string(),
                        cohort.name.to_string(),
                        grouped(own.requests),
                        grouped(own.users()),
                        variant.name.to_string(),
                        percent(rounded(own.part_of(counts.all.requests))),
                        percent(f64::from(cohort.layout.width_of(variant_at)) / f64::from(BUCKETS)),
                    ]);
                }
            }
        }
        if rows.len() == 1 { String::new() } else { format!("\n{}", table(&rows)) }
    }

    fn moves_text(&self) -> String {
        let Some(other) = self.against else { return String::new() };
        let moves = &self.moves;
        let mut text = format!(
            "\nagainst rev {}: {} of {} requests ({}) of {} users move\n",
            other.snapshot.rev,
            grouped(moves.all.requests),
            grouped(moves.compared),
            percent(rounded(moves.all.part_of(moves.compared))),
            grouped(moves.all.users()),
        );
        for ((service, cohort, from, to), counts) in moves.by.iter().take(MOVES_SHOWN) {
            let (requests, users) = (grouped(counts.requests), grouped(counts.users()));
            let _ = writeln!(text, "  {service}/{cohort}: {from} → {to}: {requests} requests, {users} users");
        }
        if moves.by.len() > MOVES_SHOWN {
            let _ = writeln!(text, "  and {} other moves; -o json has all", moves.by.len() - MOVES_SHOWN);
        }
        text
    }
}

fn play_text(play: &Play) -> String {
    let mut text = format!("\nrollout {}: {}: {}\n", play.id(), play.phase(), play.why());
    for event in play.events() {
        let at = span(event.unix_ms.saturating_sub(play.first_ms()) / 1_000);
        let _ = writeln!(text, "  {at:>9}  {}: {}", event.kind.as_str(), event.sentence);
    }
    if let Some(seconds) = play.seconds_to_notice() {
        let toll = &play.toll;
        let (requests, harmed) = (grouped(toll.canary_requests), grouped(toll.harmed));
        let users = grouped(toll.users.len());
        let _ = writeln!(
            text,
            "noticed {} after the fault was met first: {requests} canary requests of {users} users, {harmed} met it",
            span(seconds)
        );
    }
    text
}

/// Columns side by side, each as wide as its widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// `1 line`, `2 lines`.
fn counted(count: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(count), if count == 1 { "" } else { "s" })
}

fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

fn span(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}
