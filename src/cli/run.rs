use std::num::NonZeroUsize;

use super::Exit;
use super::out::say;
use super::prepared::{ConfigPath, tell_errors};
use crate::server::{self, LogFormat, Options, StartError, Takeover};

/// Serve requests.
///
/// The files are watched: an edit that passes `check` is in force within a second. SIGTERM finishes what is in flight
/// and ends, a second one ends at once; SIGHUP reloads. SIGUSR2 starts the program anew, which takes over.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// Threads for requests [default: as many as the process may run on]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,
    /// Take over from the process that serves the same file: its sockets, its connections to come. Without one,
    /// start as usual
    #[arg(long)]
    upgrade: bool,
    /// How log lines are written [default: text on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut options = Options::new(self.config.path());
        options.workers = self.workers.map(NonZeroUsize::get);
        options.log_format = self.log_format;
        if self.upgrade {
            options.takeover = Takeover::ByPath;
        }
        let code = server::run(&options).unwrap_or_else(|error| {
            match &error {
                StartError::Config(errors) => tell_errors(errors),
                other => say(&format!("error: {other}")),
            }
            error.exit_code()
        });
        Ok(Exit::of_code(code))
    }
}
