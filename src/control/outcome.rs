//! Why a reload was begun, and what came of it.

use crate::config::ConfigErrors;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Why a reload was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A file has changed.
    Changed,
    /// SIGHUP.
    Signal,
    /// `ringway reload`, or whoever else uses the admin door.
    Asked,
}

/// What came of a reload.
#[derive(Clone, Debug)]
pub enum ReloadResult {
    /// The files are in force.
    Applied(Applied),
    /// The files are in force already.
    Unchanged {
        /// The revision in force.
        rev: Arc<str>,
    },
    /// Nothing has changed.
    Rejected(Arc<Rejected>),
}

/// What a reload would do.
#[derive(Clone, Debug)]
pub enum Rehearsed {
    /// The files can be put in force.
    Fit {
        /// Their revision.
        rev: String,
        /// What looks wrong but can be used, one line each.
        warnings: Vec<String>,
    },
    /// They would be rejected.
    Unfit(ConfigErrors),
}

/// A reload that was put in force.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The revision in force.
    pub rev: Arc<str>,
    /// The one before.
    pub previous_rev: Arc<str>,
    /// From the start of the reload until the snapshot was published.
    pub took: Duration,
    /// What looks wrong but can be used, and what takes effect at a restart; one line each.
    pub warnings: Vec<String>,
}

/// Why a reload was rejected.
#[derive(Clone, Debug)]
pub enum Rejected {
    /// The files have errors, or their tests fail.
    Config(ConfigErrors),
    /// A new listener cannot be opened.
    Bind {
        /// Its address.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// A bug: the reload itself broke.
    Broken,
}

impl Cause {
    /// The cause in a log line.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Changed => "file changed",
            Cause::Signal => "SIGHUP",
            Cause::Asked => "asked",
        }
    }
}

impl Rejected {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        match self {
            Rejected::Config(errors) => errors.diagnostics.iter().filter(|found| found.is_error()).count(),
            Rejected::Bind { .. } | Rejected::Broken => 1,
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Config(errors) => errors.fmt(f),
            Rejected::Bind { address, reason } => write!(f, "cannot listen on {address}: {reason}"),
            Rejected::Broken => f.write_str("the reload broke off: a bug of Ringway"),
        }
    }
}
