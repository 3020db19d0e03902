use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file that is appended to; made when missing, readable by owner and group only.
    File(PathBuf),
}

/// An open target.
#[derive(Debug)]
pub(super) enum Sink {
    Stdout,
    Stderr,
    File {
        path: PathBuf,
        file: Option<File>,
        /// The last write stopped within a line, which must not spoil the next one.
        is_torn: bool,
    },
}

impl Target {
    /// The target of a setting: `stdout`, `stderr`, or a path.
    pub fn of(setting: &str) -> Target {
        match setting {
            "stdout" => Target::Stdout,
            "stderr" => Target::Stderr,
            path => Target::File(path.into()),
        }
    }
}

impl Sink {
    pub(super) fn open(target: Target) -> io::Result<Sink> {
        Ok(match target {
            Target::Stdout => Sink::Stdout,
            Target::Stderr => Sink::Stderr,
            Target::File(path) => Sink::File { file: Some(append_to(&path)?), path, is_torn: false },
        })
    }

    /// Writes whole lines. After a failure, and when the file was moved away, a file is opened again.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (path, file, is_torn) = match self {
            Sink::Stdout => return write_through(&mut io::stdout().lock(), lines),
            Sink::Stderr => return write_through(&mut io::stderr().lock(), lines),
            Sink::File { path, file, is_torn } => (path, file, is_torn),
        };
        let mut open = match file.take().filter(|open| is_still_at(open, path)) {
            Some(open) => open,
            None => append_to(path)?,
        };
        if *is_torn {
            open.write_all(b"\n")?;
            *is_torn = false;
        }
        let before = open.metadata()?.len();
        if let Err(error) = open.write_all(lines) {
            *is_torn = open.metadata().is_ok_and(|after| after.len() != before);
            return Err(error);
        }
        *file = Some(open);
        Ok(())
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Stdout => f.write_str("stdout"),
            Sink::Stderr => f.write_str("stderr"),
            Sink::File { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

fn write_through(to: &mut impl Write, lines: &[u8]) -> io::Result<()> {
    to.write_all(lines)?;
    to.flush()
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// False when log rotation has put another file, or none, in place of the open one.
fn is_still_at(open: &File, path: &Path) -> bool {
    let identity = |of: io::Result<Metadata>| of.map(|of| (of.dev(), of.ino())).ok();
    identity(open.metadata()).is_some_and(|open| Some(open) == identity(path.metadata()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_targets() {
        assert_eq!(Target::of("stdout"), Target::Stdout);
        assert_eq!(Target::of("stderr"), Target::Stderr);
        assert_eq!(Target::of("log/access"), Target::File("log/access".into()));
    }
}
