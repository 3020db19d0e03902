//! Who moves when one configuration takes the place of another.

mod render;
mod users;

use anyhow::bail;
use std::path::PathBuf;

use super::Exit;
use super::out::{Output, print, print_json};
use super::prepared::assemble_or_tell;
use crate::routing::compare::{Comparison, Users};

/// Tell how many users an edit moves, and from where to where.
///
/// Assigns users by the old and by the new file and tells who gets another variant or cohort. What stands in the
/// files is looked at, and nothing else. A user is a GET of / with just the user key, from an address of
/// documentation: cohorts that look at more are compared by their shares.
///
/// As with diff(1), exit code 0: nobody moves, 1: somebody moves or may move, 2: trouble.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: git show HEAD:ringway.yaml | ringway diff - ringway.yaml")]
pub(super) struct Args {
    /// The file, directory, or `-` as it was
    old: PathBuf,
    /// The file, directory, or `-` as it will be
    new: PathBuf,
    /// A list of user keys, one a line; without it users are made up
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// How many users are made up
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    synthetic: u32,
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        if self.old.as_os_str() == "-" && self.new.as_os_str() == "-" {
            bail!("standard input can be one of the two files, not both");
        }
        let users = match &self.users {
            Some(path) => users::read(path)?,
            None => Users::Synthetic(self.synthetic),
        };
        let (Some(old), Some(new)) = (assemble_or_tell(&self.old), assemble_or_tell(&self.new)) else {
            return Ok(Exit::Input);
        };
        if let Some(name) = &self.service
            && old.snapshot.service(name).is_none()
            && new.snapshot.service(name).is_none()
        {
            bail!("neither file has a service `{name}`");
        }
        let comparison = Comparison::new(&old, &new, &users, self.service.as_deref());
        match self.output {
            Output::Text => print(&render::text(&comparison))?,
            Output::Json => print_json(&comparison.to_json())?,
        }
        Ok(if comparison.may_anyone_move() { Exit::No } else { Exit::Yes })
    }
}
