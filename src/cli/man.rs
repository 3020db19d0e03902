use anyhow::Context;
use clap_mangen::Man;
use std::path::PathBuf;

use super::Exit;
use super::out::{print, say};

/// Print the manual page, or write all of them into a directory.
///
/// For example: `ringway man /usr/local/share/man/man1`, or `ringway man | man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory for ringway.1 and one page a command
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, command: clap::Command) -> anyhow::Result<Exit> {
        let Some(directory) = self.directory else {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            print(&String::from_utf8_lossy(&page))?;
            return Ok(Exit::Yes);
        };
        let cannot = || format!("cannot write to {}", directory.display());
        std::fs::create_dir_all(&directory).with_context(cannot)?;
        clap_mangen::generate_to(command, &directory).with_context(cannot)?;
        say(&format!("wrote the manual pages to {}", directory.display()));
        Ok(Exit::Yes)
    }
}
