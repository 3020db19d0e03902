use anyhow::Context;
use clap::Subcommand;
use std::path::{Path, PathBuf};

use super::Exit;
use super::out::{print, say};
use crate::control::journal::audit::{Head, Verified, has_line, verify};
use crate::control::journal::state_file;
use crate::control::journal::store::{AUDIT, STATE, is_put_aside};
use crate::model::grouped;

/// Look at the audit log.
///
/// The record of what was done to rollouts, by whom, and by which numbers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Check that no line was changed, removed or inserted.
    Verify(Verify),
}

/// Exits with 0 when all is as it was written, with 1 when it is not.
///
/// Lines that are missing at its end are known by the state.json beside it. A copy elsewhere has none, and whoever can write
/// the one can write the other: note the hash that this prints at another place, and give it by --head the next time.
#[derive(Debug, clap::Args)]
struct Verify {
    /// The log, such as /var/lib/ringway/audit.jsonl; several are checked as one, in their order; a folder is all that is in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The hash of a line that must be there, as it was noted elsewhere: one that was its last line then
    #[arg(long, value_name = "HASH", value_parser = hash)]
    head: Option<String>,
}

fn hash(text: &str) -> Result<String, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_ascii_lowercase()) } else { Err("a hash has 64 hexadecimal digits".to_owned()) }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Kind::Verify(request) = self.kind;
        let mut before: Option<Head> = None;
        let (mut first, mut lines) = (0, 0);
        let (mut has_head, mut has_state) = (false, false);
        for path in &logs(&request.files)? {
            let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            has_head |= request.head.as_ref().is_some_and(|head| has_line(&bytes, head));
            has_state = is_log(path) && path.with_file_name(STATE).exists();
            let verified = match verify(&bytes, before.as_ref()) {
                Ok(verified) => verified,
                Err(broken) => {
                    print(&format!("✗ {}: {broken}\n", path.display()))?;
                    say("what stands before this line is good; compare the rest with a copy");
                    return Ok(Exit::No);
                }
            };
            if let Some(missing) = missing_at_end(path, &verified)? {
                print(&format!("✗ {}: {missing}\n", path.display()))?;
                return Ok(Exit::No);
            }
            if verified.first > 0 {
                first = if first == 0 { verified.first } else { first };
                lines = verified.head.seq - first + 1;
                before = Some(verified.head);
            }
        }
        if let Some(head) = request.head.as_ref().filter(|_| !has_head) {
            print(&format!("✗ no line has the hash {head}: lines are missing at its end, or all were written anew\n"))?;
            return Ok(Exit::No);
        }
        let last = before.unwrap_or_default();
        print(&format!("✔ {} lines are as they were written, the last is {}\n", grouped(lines), last.hash))?;
        if request.head.is_none() && !has_state {
            say("whether lines are missing at its end is not known: no state.json stands beside it; see --head");
        }
        if first > 1 {
            say(&format!("they begin with line {}; name the older files first to check those as well", grouped(first)));
        }
        Ok(Exit::Yes)
    }
}

/// The logs of a folder, the oldest first.
fn logs(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for path in paths {
        if !path.is_dir() {
            logs.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut aside: Vec<String> = names.filter(|name| is_put_aside(name)).collect();
        aside.sort();
        logs.extend(aside.into_iter().map(|name| path.join(name)));
        logs.push(path.join(AUDIT));
    }
    Ok(logs)
}

fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == AUDIT)
}

/// What the state file beside the log knows of it. A log that lacks its last lines is good by itself.
fn missing_at_end(log: &Path, verified: &Verified) -> anyhow::Result<Option<String>> {
    if !is_log(log) {
        return Ok(None);
    }
    let path = log.with_file_name(STATE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let document = match state_file::decode(&bytes) {
        Ok(document) => document,
        Err(damage) => {
            say(&format!("{}: {damage}; so nobody knows whether the last lines are there", path.display()));
            return Ok(None);
        }
    };
    let (known, last) = (&document.audit, &verified.head);
    Ok(match known.seq > last.seq {
        true => Some(format!("lines {} to {} are missing at its end", last.seq + 1, known.seq)),
        false if known.seq == last.seq && *known != *last => Some("its last line is another one".to_owned()),
        false => None,
    })
}
