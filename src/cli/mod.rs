//! The commands that people type. One file a command; each says what it did by its exit code (see [`Exit`]).
//!
//! Standard output is data, standard error is talk.

mod audit;
mod check;
mod check_power;
mod complete;
mod completions;
mod dashboard;
mod demo;
mod diff;
mod doctor;
mod door;
mod drain;
mod events;
mod explain;
mod grid;
mod healthcheck;
mod history;
mod init;
mod man;
mod migrate;
mod notify;
mod out;
mod picture;
mod prepared;
mod progress;
mod rehearse;
mod reload;
mod rollouts;
mod run;
mod schema;
mod simulate;
mod status;
mod tap;
mod test;
mod token;
mod top;
mod version;
mod words;

use crate::model::printable;
use clap::{CommandFactory, Parser, Subcommand};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Splits traffic between versions of a service, by who the user is.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 yes, 1 the answer is no, 2 usage or input, 3 cannot reach, 4 timed out, 5 refused by state, 70 a bug.\n\
    The file is ringway.yaml in the working directory, unless -c or the variable RINGWAY_CONFIG names another.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Demo(demo::Args),
    Init(init::Args),
    Check(check::Args),
    Test(test::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Migrate(migrate::Args),
    Rehearse(rehearse::Args),
    Simulate(simulate::Args),
    Doctor(doctor::Args),
    Status(status::Args),
    Top(top::Args),
    Tap(tap::Args),
    Events(events::Args),
    History(history::Args),
    Pause(rollouts::Pause),
    Resume(rollouts::Resume),
    Promote(rollouts::Promote),
    Rollback(rollouts::Rollback),
    Retry(rollouts::Retry),
    Approve(rollouts::Approve),
    Skip(rollouts::Skip),
    SetWeight(rollouts::SetWeight),
    Dashboard(dashboard::Args),
    Reload(reload::Args),
    Drain(drain::Args),
    Schema(schema::Args),
    Token(token::Args),
    Audit(audit::Args),
    Notify(notify::Args),
    Healthcheck(healthcheck::Args),
    Completions(completions::Args),
    #[command(name = "__complete", hide = true)]
    Complete(complete::Args),
    Man(man::Args),
    Version(version::Args),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes, or done.
    Yes = 0,
    /// The answer is no.
    No = 1,
    /// Usage or input.
    Input = 2,
    /// Nobody is there, or nobody who lets us in.
    Unreachable = 3,
    /// No answer in time.
    TimedOut = 4,
    /// It cannot be done in the phase that a rollout is in.
    Refused = 5,
    /// A bug in ringway.
    Bug = 70,
}

impl Exit {
    /// The end that an exit code of the contract means.
    fn of_code(code: u8) -> Exit {
        match code {
            0 => Exit::Yes,
            1 => Exit::No,
            2 => Exit::Input,
            3 => Exit::Unreachable,
            4 => Exit::TimedOut,
            5 => Exit::Refused,
            _ => Exit::Bug,
        }
    }
}

/// All commands with their options, for the pages of the reference.
pub fn commands() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    // clap ends the process by itself on usage errors (2), and after --help and --version (0)
    let cli = Cli::parse();
    let exit = match catch_unwind(AssertUnwindSafe(|| cli.command.run())) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            // lines of a file to write by hand stay lines
            let text = format!("error: {error:#}");
            text.lines().for_each(|line| out::say(&printable(line)));
            Exit::Input
        }
        Err(_) => {
            out::say("this is a bug in ringway: please report it with the lines above");
            Exit::Bug
        }
    };
    ExitCode::from(exit as u8)
}

impl Command {
    fn run(self) -> anyhow::Result<Exit> {
        match self {
            Command::Run(args) => args.run(),
            Command::Demo(args) => args.run(),
            Command::Doctor(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Top(args) => args.run(),
            Command::Tap(args) => args.run(),
            Command::Events(args) => args.run(),
            Command::History(args) => args.run(),
            Command::Pause(args) => args.run(),
            Command::Resume(args) => args.run(),
            Command::Promote(args) => args.run(),
            Command::Rollback(args) => args.run(),
            Command::Retry(args) => args.run(),
            Command::Approve(args) => args.run(),
            Command::Skip(args) => args.run(),
            Command::SetWeight(args) => args.run(),
            Command::Dashboard(args) => args.run(),
            Command::Reload(args) => args.run(),
            Command::Drain(args) => args.run(),
            Command::Init(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Test(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Diff(args) => args.run(),
            Command::Migrate(args) => args.run(),
            Command::Rehearse(args) => args.run(),
            Command::Simulate(args) => args.run(),
            Command::Schema(args) => args.run(),
            Command::Token(args) => args.run(),
            Command::Audit(args) => args.run(),
            Command::Notify(args) => args.run(),
            Command::Healthcheck(args) => args.run(),
            Command::Completions(args) => args.run(Cli::command()),
            Command::Complete(args) => args.run(&Cli::command()),
            Command::Man(args) => args.run(Cli::command()),
            Command::Version(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_described() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{} {} has no description", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
