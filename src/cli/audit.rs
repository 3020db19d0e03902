use anyhow::Context;
use clap::Subcommand;
use std::path::{Path, PathBuf};

use super::Exit;
use super::out::{print, say};
use crate::control::journal::audit::{Head, Verified, verify};
use crate::control::journal::state_file;
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
#[derive(Debug, clap::Args)]
struct Verify {
    /// The log, such as /var/lib/ringway/audit.jsonl; several are checked as one, in their order
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Kind::Verify(request) = self.kind;
        let mut before: Option<Head> = None;
        let (mut first, mut lines) = (0, 0);
        for path in &request.files {
            let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
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
        print(&format!("✔ {} lines are as they were written\n", grouped(lines)))?;
        if first > 1 {
            say(&format!("they begin with line {}; name the older files first to check those as well", grouped(first)));
        }
        Ok(Exit::Yes)
    }
}

/// What the state file beside the log knows of it. A log that lacks its last lines is good by itself.
fn missing_at_end(log: &Path, verified: &Verified) -> anyhow::Result<Option<String>> {
    if log.file_name().is_none_or(|name| name != "audit.jsonl") {
        return Ok(None);
    }
    let path = log.with_file_name("state.json");
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
