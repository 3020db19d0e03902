use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Exit;
use super::out::{print, say};
use crate::config::files::{Choice, Secret, override_token, tokens};
use crate::config::is_name;
use crate::config::schema::Role;
use crate::config::values::Duration;

/// Make tokens.
///
/// Tokens that people carry in requests, and those by which the admin door knows them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Sign an override: who sends it gets the new version, or does not.
    Override(Override),
    /// Let somebody in at the admin door.
    Admin(Admin),
}

/// The token goes to standard output and is shown this once; the line for `admin.tokensFile`, which has its hash alone,
/// goes to standard error, or into the file.
#[derive(Debug, clap::Args)]
struct Admin {
    /// Who it is for; stands in the audit log
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What they may do: look, command rollouts, or everything
    #[arg(long, value_enum, default_value = "viewer")]
    role: RoleName,
    /// A group that they are in, for approvals; several times if need be
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Append the line to this file rather than print it; made with mode 0600 if there is none
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Viewer,
    Operator,
    Admin,
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
        match self.kind {
            Kind::Override(request) => request.run(),
            Kind::Admin(request) => request.run(),
        }
    }
}

impl Admin {
    fn run(self) -> anyhow::Result<Exit> {
        if !tokens::is_person(&self.name) {
            bail!("`{}` cannot be a name here: it is one word of at most 256 bytes, without a comma", self.name);
        }
        if let Some(group) = self.groups.iter().find(|group| !tokens::is_person(group)) {
            bail!("`{group}` cannot be the name of a group: it is one word of at most 256 bytes, without a comma");
        }
        let role = match self.role {
            RoleName::Viewer => Role::Viewer,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
        };
        let token = tokens::new_token().map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let known = tokens::Known { name: self.name, role, groups: self.groups, hash: tokens::hash_of(&token) };
        match &self.write {
            Some(path) => {
                append(path, &known.line()).with_context(|| path.display().to_string())?;
                say(&format!("{} has a line for {}, with the role {role}", path.display(), known.name));
            }
            None => {
                say("the line for the file that `admin: { tokensFile: .. }` names:");
                say(&format!("  {}", known.line()));
            }
        }
        print(&format!("{token}\n"))?;
        say(
            "this is the token: it is shown this once; keep it in a file of mode 0600 for --token-file, or in RINGWAY_TOKEN",
        );
        Ok(Exit::Yes)
    }
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

impl Override {
    fn run(self) -> anyhow::Result<Exit> {
        let path = self.secret_file.display();
        let secret = match Secret::load(&self.secret_file) {
            Ok(secret) => secret,
            Err(problem) => bail!("{path} {}", problem.message),
        };
        if !is_name(&self.service) {
            bail!("`{}` cannot be the name of a service", self.service);
        }
        if self.ttl.0.is_zero() {
            bail!("a token with --ttl 0s would never be valid");
        }
        let choice = match self.value {
            Value::Always => Choice::Always,
            Value::Never => Choice::Never,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let expires = (now + self.ttl.0).as_secs();
        let token = override_token::sign(&secret, &self.service, choice, expires);
        print(&format!("{token}\n"))?;
        say(&format!("valid until {} for service {}", until(expires), self.service));
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
