use anyhow::{Context, bail};

use super::Exit;
use super::out::{Output, print, print_json, say};
use super::prepared::ConfigPath;
use super::progress::Progress;
use crate::config::schema::{Condition, File, Service};
use crate::config::values;
use crate::control::plans::plan;
use crate::model::{EVERYONE, percent};
use crate::rollout::judge::simulation::World;
use crate::rollout::plan::Plan;
use crate::simulate::rehearse::{Column, Rehearsal, Report};
use crate::simulate::{Injection, Z99};

/// Play a rollout many times with made-up traffic: false rollbacks, time and users until a real one.
///
/// In virtual time, by the judge and the engine that rule real rollouts. Approvals are given at once, windows of time are
/// open, and gates that ask others are named as not rehearsed. Nothing listens, connects or is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway rehearse --rate 500 --users 20000 --base-errors 0.2%\n  \
    ringway rehearse --inject 'canary: error=2%, latency=x1.3'\n  \
    ringway rehearse --inject 'canary: latency=+500ms, part=2%, cohort=beta, step=2' --runs 1000 -o json")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// The service [default: the one that has a rollout]
    #[arg(value_name = "SERVICE")]
    service: Option<String>,
    /// Requests a second of the whole service
    #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// Users of the whole service; few of them make most of the requests
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    users: u32,
    /// Part of the requests that fail in any version
    #[arg(long, value_name = "RATE", default_value = "0.1%")]
    base_errors: values::Rate,
    /// Half of the answers take less
    #[arg(long, value_name = "DURATION", default_value = "40ms")]
    p50: values::Duration,
    /// 99 of 100 answers take less
    #[arg(long, value_name = "DURATION", default_value = "160ms")]
    p99: values::Duration,
    /// How far requests and errors swing around their averages, once an hour
    #[arg(long, value_name = "RATE", default_value = "0%")]
    swing: values::Rate,
    /// Part of the runs in which both versions have an outage of up to 2 minutes
    #[arg(long, value_name = "RATE", default_value = "0%")]
    outages: values::Rate,
    /// Part of the users whose every request fails, and who try again every 5 seconds
    #[arg(long, value_name = "RATE", default_value = "0%")]
    broken_users: values::Rate,
    /// A cohort's part of the traffic, such as beta=5% [default: its percent, else 10%; everyone has the rest]
    #[arg(long = "cohort", value_name = "NAME=RATE")]
    cohorts: Vec<String>,
    /// How many of the requests that succeed bring an outcome of the gates, such as orders=5%; else it is not rehearsed
    #[arg(long = "outcome", value_name = "NAME=RATE")]
    outcomes: Vec<String>,
    /// What is wrong with the new version, such as 'canary: error=2%, latency=x1.3'
    #[arg(long, value_name = "FAULT")]
    inject: Vec<Injection>,
    /// How often it is played, healthy and with the faults
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    runs: u64,
    /// The first seed; the same seeds are the same runs
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

/// Reads `orders=5%`, several times.
pub(super) fn named_rates(texts: &[String]) -> anyhow::Result<Vec<(String, f64)>> {
    let read = |text: &String| {
        let (name, rate) = text.split_once('=').context("how many bring an outcome is written as orders=5%")?;
        let rate: values::Rate = rate.parse().map_err(|error| anyhow::anyhow!("`{text}`: {error}"))?;
        Ok((name.to_owned(), rate.as_f64()))
    };
    texts.iter().map(read).collect()
}

fn rate(text: &str) -> Result<f64, String> {
    let known = text.parse::<f64>().ok().filter(|rate| (0.01..=100_000.0).contains(rate));
    known.ok_or_else(|| "requests a second are a number from 0.01 to 100000".to_owned())
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Some(prepared) = self.config.assemble_or_tell() else { return Ok(Exit::Input) };
        let rehearsal = self.rehearsal(&prepared.loaded.file)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut columns = vec![self.column(&rehearsal, "healthy".to_owned(), &[], threads)];
        if !self.inject.is_empty() {
            let names: Vec<&str> = self.inject.iter().map(|fault| fault.text.as_str()).collect();
            columns.push(self.column(&rehearsal, names.join("; "), &self.inject, threads));
        }
        let report = Report { rehearsal: &rehearsal, seed: self.seed, columns };
        match self.output {
            Output::Text => print(&report.to_text())?,
            Output::Json => print_json(&report.to_json())?,
        }
        Ok(Exit::Yes)
    }

    fn column(&self, rehearsal: &Rehearsal, name: String, faults: &[Injection], threads: usize) -> Column {
        let mut progress = Progress::new();
        let mut tell = |done| progress.tell(&name, done, Some(self.runs));
        let summary = rehearsal.runs(faults, self.seed, self.runs, threads, &mut tell);
        Column { is_broken: !faults.is_empty(), name, summary }
    }

    fn rehearsal(&self, file: &File) -> anyhow::Result<Rehearsal> {
        let (name, service) = find(file, self.service.as_deref())?;
        let plan = plan(name, service);
        let Some(rollout) = &plan.rollout else { bail!("{name} has no rollout; write one under services.{name}") };
        self.inject.iter().try_for_each(|fault| fault.fits(rollout)).map_err(anyhow::Error::msg)?;
        if self.p99.0 < self.p50.0 || self.p50.0.is_zero() {
            bail!("--p50 is above 0 and at most --p99");
        }
        let world = World {
            requests_per_s: self.rate,
            users: self.users,
            error_rate: self.base_errors.as_f64(),
            swing: self.swing.as_f64(),
            broken_users: self.broken_users.as_f64(),
            median_us: self.p50.0.as_micros() as f64,
            spread: (self.p99.0.as_secs_f64() / self.p50.0.as_secs_f64()).ln() / Z99,
            outcomes: self.outcomes(service)?,
            ..World::default()
        };
        let parts = self.parts(service, &plan)?;
        Ok(Rehearsal { service: service.clone(), parts, world, outages: self.outages.as_f64(), plan })
    }

    /// How many requests bring each outcome of the gates, in their order; 0 where nobody says.
    fn outcomes(&self, service: &Service) -> anyhow::Result<Vec<f64>> {
        let gates = service.rollout.iter().flat_map(|rollout| &rollout.gates.outcomes);
        let names: Vec<&str> = gates.map(|gate| gate.name.as_str()).collect();
        let mut rates = vec![0.0; names.len()];
        for (name, rate) in named_rates(&self.outcomes)? {
            let Some(at) = names.iter().position(|known| *known == name) else {
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                bail!("there is no outcome `{name}` under gates.outcomes; there are: {known}");
            };
            rates[at] = rate;
        }
        if rates.iter().all(|rate| *rate == 0.0) && self.inject.iter().any(|fault| fault.outcomes < 1.0) {
            bail!("outcomes can be taken away where it is known how many there are: --outcome orders=5%");
        }
        Ok(rates)
    }

    /// What each cohort has of the traffic; what is not known is said.
    fn parts(&self, service: &Service, plan: &Plan) -> anyhow::Result<Vec<(String, f64)>> {
        let mut given = Vec::new();
        for text in &self.cohorts {
            let (name, part) = text.split_once('=').context("a cohort's part is written as beta=5%")?;
            let part: values::Rate = part.parse().map_err(|error| anyhow::anyhow!("`{text}`: {error}"))?;
            if name == EVERYONE || !plan.file.iter().any(|(known, _)| known == name) {
                bail!("`{text}`: there is no cohort `{name}` whose part could be given");
            }
            given.push((name, part.as_f64()));
        }
        let (mut parts, mut guessed, mut left) = (Vec::new(), Vec::new(), 1.0);
        for (name, _) in plan.file.iter().filter(|(name, _)| name != EVERYONE) {
            let by_option = given.iter().find(|(of, _)| of == name).map(|(_, part)| *part);
            let written = service.cohorts.iter().find(|cohort| cohort.name == *name);
            let by_file = written.and_then(|cohort| match &cohort.when {
                Some(Condition::Percent(part)) => Some(part.0.as_f64() / 100.0),
                _ => None,
            });
            let known = by_option.or(by_file);
            if known.is_none() {
                guessed.push(name.as_str());
            }
            let part = known.unwrap_or(0.1_f64.min(left / 2.0));
            left -= part;
            parts.push((name.clone(), part));
        }
        if left < -1e-9 {
            bail!("the cohorts have more than 100 % of the traffic together");
        }
        parts.push((EVERYONE.to_owned(), left.max(0.0)));
        if !guessed.is_empty() {
            let of = |name: &&str| parts.iter().find(|(known, _)| known == name).map_or(0.0, |(_, part)| *part);
            let said: Vec<String> = guessed.iter().map(|name| format!("{name} {}", percent(of(name)))).collect();
            say(&format!(
                "note: nobody knows how large cohorts are that are not percentages; taken for {} \
                (--cohort NAME=RATE says otherwise)",
                said.join(", ")
            ));
        }
        Ok(parts)
    }
}

/// The service that is meant.
pub(super) fn find<'f>(file: &'f File, name: Option<&str>) -> anyhow::Result<(&'f str, &'f Service)> {
    if let Some(name) = name {
        let found = file.services.get_key_value(name);
        let names = || file.services.keys().cloned().collect::<Vec<_>>().join(", ");
        return found
            .map(|(name, service)| (name.as_str(), service))
            .with_context(|| format!("there is no service `{name}`; there is {}", names()));
    }
    let mut with_rollout = file.services.iter().filter(|(_, service)| service.rollout.is_some());
    match (with_rollout.next(), with_rollout.next()) {
        (Some((name, service)), None) => Ok((name, service)),
        (None, _) => bail!("no service of the file has a rollout"),
        (Some((one, _)), Some((two, _))) => bail!("{one} and {two} have rollouts; name the service"),
    }
}
