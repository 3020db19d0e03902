//! The file that a command works on.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::out;
use crate::config::render::{Format, Report, wants_colour};
use crate::config::{ConfigErrors, load};
use crate::routing::prepare::{Prepared, assemble};
use crate::telemetry::Registry;
use crate::upstream::Upstreams;

/// The option that names the file.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigPath {
    /// A file, a directory of files, or `-` for standard input [default: $RINGWAY_CONFIG, else ringway.yaml]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    path: Option<PathBuf>,
}

impl ConfigPath {
    /// The path that counts.
    pub(super) fn path(&self) -> PathBuf {
        choose(self.path.clone(), std::env::var_os("RINGWAY_CONFIG"))
    }

    /// The configuration, compiled but for its tests. `None` after its errors were told.
    pub(super) fn assemble_or_tell(&self) -> Option<Prepared> {
        assemble_or_tell(&self.path())
    }
}

fn choose(option: Option<PathBuf>, variable: Option<OsString>) -> PathBuf {
    let variable = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
    option.or(variable).unwrap_or_else(|| PathBuf::from("ringway.yaml"))
}

/// Loads and compiles a configuration for looking at it: nothing listens, connects, or is recorded.
pub(super) fn assemble_path(path: &Path) -> Result<Prepared, ConfigErrors> {
    assemble(load(path)?, &Upstreams::default(), &Registry::new(1, 0))
}

/// The configuration at a path. `None` after its errors were told.
pub(super) fn assemble_or_tell(path: &Path) -> Option<Prepared> {
    assemble_path(path).inspect_err(tell_errors).ok()
}

/// Tells everything that is wrong with a configuration.
pub(super) fn tell_errors(errors: &ConfigErrors) {
    let has_colour = wants_colour(std::io::stderr().is_terminal());
    out::say(Report::from(errors).render(Format::Text, has_colour).trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_variable() {
        let path = |option: Option<&str>, variable: Option<&str>| {
            choose(option.map(PathBuf::from), variable.map(OsString::from)).display().to_string()
        };
        assert_eq!(path(Some("a"), Some("b")), "a");
        assert_eq!(path(None, Some("b")), "b");
        assert_eq!(path(None, Some("")), "ringway.yaml");
        assert_eq!(path(None, None), "ringway.yaml");
    }
}
