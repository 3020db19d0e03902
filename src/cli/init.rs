use anyhow::Context;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::Exit;
use super::out::say;
use crate::config::{STARTER, json_schema};

/// Write a commented file to start from, and its schema for editors.
///
/// Writes FILE and ringway.schema.json beside it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write
    #[arg(default_value = "ringway.yaml", value_name = "FILE")]
    path: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    force: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let path = self.path.display();
        if !write(&self.path, STARTER, self.force)? {
            say(&format!("{path} is there already; nothing was written. To overwrite it: ringway init --force {path}"));
            return Ok(Exit::No);
        }
        let schema = self.path.with_file_name("ringway.schema.json");
        // the schema is made, not written by people: an older one is of no use
        write(&schema, &format!("{:#}\n", json_schema()), true)?;
        say(&format!("wrote {path} and {}", schema.display()));
        say(&format!("next: edit the endpoints in it, then type: ringway check -c {path}"));
        Ok(Exit::Yes)
    }
}

/// False when the file is there and may not be overwritten.
fn write(path: &Path, text: &str, may_overwrite: bool) -> anyhow::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true);
    let opened = match may_overwrite {
        true => options.create(true).truncate(true).open(path),
        false => options.create_new(true).open(path),
    };
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}
