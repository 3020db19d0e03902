use anyhow::{Context, anyhow, bail};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Exit;
use super::out::{Output, print, print_json, say};
use super::prepared::{ConfigPath, assemble_or_tell};
use super::progress::Progress;
use crate::rollout::state::Phase;
use crate::simulate::Injection;
use crate::simulate::log::{Format, LINE_BYTES_MAX};
use crate::simulate::replay::{Options, Replay};

/// Replay an access log through a file: who gets what, who moves, what a rollout would have done.
///
/// Reads logs of Ringway, Envoy (default format), Caddy and Traefik, and the combined format of Apache and nginx. Requests
/// are placed by the code that serves real ones; a rollout is played in the time of the log, by the judge and the engine that
/// rule real ones. Nothing listens, connects or is written.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ringway simulate access.log\n  ringway simulate access.log --against ringway.old.yaml\n  \
    ringway simulate access.log --inject 'canary: error=2%, latency=x1.3' --expect rolled-back"
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// The log, or `-` for standard input
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// How its lines are written: ringway, envoy, caddy, traefik or combined [default: told from each line]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// The host of lines that name none [default: the first of the file's routes]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Another file: who would get another variant than by it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Play the rollout, with this wrong with the new version, such as 'canary: error=2%, latency=x1.3'
    #[arg(long, value_name = "FAULT")]
    inject: Vec<Injection>,
    /// Play the rollout; exit code 1 unless it ends so, such as rolled-back or promoted
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    expect: Option<Phase>,
    /// Whose rollout is played [default: of the service that has one]
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// For what chance decides; the same seed is the same result
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

fn phase(text: &str) -> Result<Phase, String> {
    let found = Phase::ALL.into_iter().find(|phase| phase.as_str() == text);
    found.ok_or_else(|| format!("a phase is one of {}", Phase::ALL.map(Phase::as_str).join(", ")))
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut log = open(&self.log)?;
        let Some(prepared) = self.config.assemble_or_tell() else { return Ok(Exit::Input) };
        let against = match &self.against {
            Some(path) => match assemble_or_tell(path) {
                None => return Ok(Exit::Input),
                found => found,
            },
            None => None,
        };
        if let Some(fault) = self.inject.iter().find(|fault| fault.outcomes < 1.0) {
            bail!("`{}`: no log holds outcomes; `ringway rehearse --outcome orders=5%` plays them", fault.text);
        }
        let is_played = !self.inject.is_empty() || self.expect.is_some();
        let rollout_of = match is_played {
            true => Some(super::rehearse::find(&prepared.loaded.file, self.service.as_deref())?.0.to_owned()),
            false => None,
        };
        let options =
            Options { format: self.format, host: self.host, rollout_of, injections: self.inject, seed: self.seed };
        let mut replay = Replay::new(&prepared, against.as_ref(), options).map_err(|error| anyhow!(error))?;
        feed(&mut replay, &mut log, &self.log)?;
        let mut report = replay.end();
        let expected = self.expect.map(|expected| (expected, report.phase == Some(expected)));
        if let Some((expected, is_met)) = expected {
            report.json["expectation"] = serde_json::json!({ "expected": expected.as_str(), "met": is_met });
        }
        match self.output {
            Output::Text => print(&report.text)?,
            Output::Json => print_json(&report.json)?,
        }
        let lines = &report.json["lines"];
        if lines["read"] != 0 && lines["read"] == lines["unreadable"] {
            say("error: no line of the log can be read; `--format` and `ringway simulate --help` name what can");
            return Ok(Exit::Input);
        }
        let Some((expected, false)) = expected else { return Ok(Exit::Yes) };
        say(&format!("expected {expected}, and it is {}", report.phase.unwrap_or(Phase::Idle)));
        Ok(Exit::No)
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        bail!("{} is compressed; type `gunzip -c {} | ringway simulate -`", path.display(), path.display());
    }
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// Line by line; of a line that is too long, no more is kept than shows that it is.
fn feed(replay: &mut Replay<'_>, log: &mut dyn BufRead, path: &Path) -> anyhow::Result<()> {
    let (mut line, mut lines, mut progress) = (Vec::new(), 0, Progress::new());
    loop {
        line.clear();
        let most = LINE_BYTES_MAX as u64 + 1;
        let read = (&mut *log).take(most).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {}", path.display()))? == 0 {
            return Ok(());
        }
        if line.len() as u64 == most && line.last() != Some(&b'\n') {
            skip_line(log).with_context(|| format!("cannot read {}", path.display()))?;
        }
        replay.line(&line);
        lines += 1;
        progress.tell("lines", lines, None);
    }
}

/// To the end of the line, without keeping it.
fn skip_line(log: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = log.fill_buf()?;
        let (end, length) = (memchr::memchr(b'\n', buffer), buffer.len());
        if length == 0 {
            return Ok(());
        }
        log.consume(end.map_or(length, |end| end + 1));
        if end.is_some() {
            return Ok(());
        }
    }
}
