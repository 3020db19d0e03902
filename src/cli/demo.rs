use std::io::IsTerminal;
use std::path::PathBuf;

use super::Exit;
use super::out::say;
use crate::config::render::{Format, Report, wants_colour};
use crate::config::values::Duration;
use crate::demo::{self, DemoError, Options};
use crate::server::StartError;

/// Show it: the proxy, two versions of a sample service, and users, on a file to edit.
///
/// Everything runs in this process, on loopback addresses. The file is DIR/ringway.yaml: written when there is none,
/// and kept when you have edited it. Change a weight in it, save, and watch who moves.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the demo's files are
    #[arg(long, value_name = "DIR", default_value = "ringway-demo")]
    dir: PathBuf,
    /// The port of the listener, another one when it is taken; 0: any free one, for all that listens [default: 8080]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
    /// End after this time, such as 30s [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME")]
    run_for: Option<Duration>,
    /// Write lines rather than a picture, even on a terminal
    #[arg(long)]
    plain: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Args { dir, port, rate, run_for, plain } = self;
        let options = Options { dir, port, rate, run_for: run_for.map(|time| time.0), is_plain: plain };
        match demo::run(&options) {
            Ok(()) => Ok(Exit::Yes),
            Err(DemoError::Start(error)) => Ok(refuse(&error, &options)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Says why the proxy cannot start on the file that is there.
fn refuse(error: &StartError, options: &Options) -> Exit {
    match error {
        StartError::Config(errors) => {
            let has_colour = wants_colour(std::io::stderr().is_terminal());
            say(Report::from(errors).render(Format::Text, has_colour).trim_end());
        }
        StartError::Bind { .. }
        | StartError::AccessLog { .. }
        | StartError::State(_)
        | StartError::Upgrade(_)
        | StartError::System(_) => say(&format!("error: {error}")),
    }
    let file = options.dir.join("ringway.yaml");
    say(&format!("the file is {}: correct it, or remove it to get a new one, or use another --dir", file.display()));
    Exit::of_code(error.exit_code())
}
