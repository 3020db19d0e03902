use serde_json::Value;
use std::io;
use std::ops::ControlFlow;

use super::Exit;
use super::door::AdminDoor;
use super::grid::Grid;
use super::out::{print, say};
use super::picture::Picture;
use super::status::{FOR_EVER, figures_of};
use super::words::{each, word};
use crate::control::client;
use clap::ValueEnum;

/// Watch who gets what and how it goes: a row for each cohort and variant, drawn again each second.
///
/// Where the output is no terminal, the table is written once. Exit code 0 it was shown, 1 there is no such service, 3
/// nobody answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// What stands above
    #[arg(long, value_enum, default_value_t, value_name = "COLUMN")]
    sort: Sort,
    /// Write a table so many times, without moving the cursor
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    #[command(flatten)]
    door: AdminDoor,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// As in the file.
    #[default]
    Name,
    /// The most requests first.
    Rps,
    /// The most errors first, as a part of the requests.
    Errors,
    /// The slowest first.
    P99,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let door = self.door.find()?;
        let mut picture = Picture::new();
        let is_live = picture.is_live() && self.count.is_none();
        let mut left = self.count.unwrap_or(1);
        let listened = client::listen(&door.address, "/api/v1/stream", None, FOR_EVER, |part| {
            if part.name != "tick" {
                return ControlFlow::Continue(());
            }
            let Some(text) = self.text(&part.data["status"]) else {
                say("error: there is no such service; `ringway status` shows all of them");
                return ControlFlow::Break(Ok(Exit::No));
            };
            left -= u32::from(!is_live);
            match if is_live { picture.draw(&text) } else { print(&text) } {
                Err(error) => ControlFlow::Break(Err::<Exit, io::Error>(error)),
                Ok(()) if !is_live && left == 0 => ControlFlow::Break(Ok(Exit::Yes)),
                Ok(()) => ControlFlow::Continue(()),
            }
        });
        match listened {
            Ok(ended) => Ok(ended?),
            Err(error) => Ok(door.tell(&error)),
        }
    }

    /// `None`: there is no such service.
    fn text(&self, status: &Value) -> Option<String> {
        let is_wanted = |service: &&Value| self.service.as_ref().is_none_or(|name| service["name"] == name.as_str());
        let services: Vec<&Value> = each(&status["services"]).filter(is_wanted).collect();
        if services.is_empty() {
            return None;
        }
        let mut rows: Vec<(f64, [String; 11])> = Vec::new();
        for service in services {
            for (cohort, variant) in
                each(&service["cohorts"]).flat_map(|of| each(&of["variants"]).map(move |variant| (of, variant)))
            {
                let [name, rest @ ..] = figures_of(cohort, variant);
                let [variant_name, share, rps, success, p50, p95, p99, n, weight] = rest;
                let service = word(&service["name"]);
                let row = [service, name, variant_name, share, rps, success, p50, p95, p99, n, weight];
                rows.push((self.sort.key(variant), row));
            }
        }
        // a stable sort: what is equal stays in the order of the file
        rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let header = ["SERVICE", "COHORT", "VARIANT", "SHARE", "RPS", "SUCCESS", "P50", "P95", "P99", "N", "WEIGHT"];
        let mut grid = Grid::new(&header, &[3, 4, 5, 6, 7, 8, 9]);
        rows.into_iter().for_each(|(_, row)| grid.row(row));
        let seconds = status["windowSeconds"].as_u64().unwrap_or_default();
        Some(format!("{}   (the last {seconds} s)\n\n{}", word(&status["sentence"]), grid.text()))
    }
}

impl Sort {
    fn key(self, variant: &Value) -> f64 {
        let number = |name: &str| variant[name].as_f64().unwrap_or_default();
        match self {
            Sort::Name => 0.0,
            Sort::Rps => number("rps"),
            Sort::Errors => number("errors") / number("requests").max(1.0),
            Sort::P99 => number("p99"),
        }
    }
}
