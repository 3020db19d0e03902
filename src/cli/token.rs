use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Exit;
use super::out::{print, say};
use crate::config::files::{Choice, Secret, override_token};
use crate::config::values::Duration;

/// Make tokens.
///
/// Tokens that people carry in requests.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Sign an override: who sends it gets the new version, or does not.
    Override(Override),
}

/// The token goes to standard output, how to use it to standard error.
#[derive(Debug, clap::Args)]
struct Override {
    /// The file with the secret, as in `override: { secretFile: .. }` of the service
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// The service's name
    #[arg(long, value_name = "NAME")]
    service: String,
    /// What it asks for: the new version (always) or not the new version (never)
    #[arg(long, value_enum)]
    value: Value,
    /// How long it is valid, such as 30m, 1h or 7d
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    ttl: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Value {
    Always,
    Never,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let Kind::Override(request) = self.kind;
        let path = request.secret_file.display();
        let secret = match Secret::load(&request.secret_file) {
            Ok(secret) => secret,
            Err(problem) => bail!("{path} {}", problem.message),
        };
        if request.ttl.0.is_zero() {
            bail!("a token with --ttl 0s would never be valid");
        }
        let choice = match request.value {
            Value::Always => Choice::Always,
            Value::Never => Choice::Never,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let expires = (now + request.ttl.0).as_secs();
        let token = override_token::sign(&secret, &request.service, choice, expires);
        print(&format!("{token}\n"))?;
        say(&format!("valid until {} for service {}", until(expires), request.service));
        say("send it in the header that `override: { header: .. }` names, or, escaped, in the cookie of that name:");
        say(&format!("  curl -H 'x-canary: {token}' .."));
        say(&format!("  curl -b 'x-canary={}' ..", token.replace(';', "%3B")));
        Ok(Exit::Yes)
    }
}

fn until(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).ok();
    let moment = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| format!("{unix_seconds} seconds since 1970"), |moment| moment.to_string())
}
