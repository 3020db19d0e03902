//! Opening what a configuration names: once, bounded, and only where nobody else could have written it.
//!
//! A file is opened once and judged by its descriptor, so that what was judged is what is read. Symbolic
//! links are followed, because that is how Kubernetes mounts a ConfigMap; the target is what is judged.

use rustix::fs::OFlags;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The line, counted from 1, where the trouble is in one.
    pub line: Option<usize>,
    /// What happened and what to do about it.
    pub message: String,
}

/// Who may be able to read or write a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody may read it; not everybody may write it.
    Public,
    /// Only the owner may write it and only owner and group may read it; the owner is root or this process.
    Secret,
}

impl FileProblem {
    /// A problem of the file as a whole.
    pub fn whole(message: impl Into<String>) -> FileProblem {
        FileProblem { line: None, message: message.into() }
    }

    /// A problem on a line, counted from 1.
    pub fn at(line: usize, message: impl Into<String>) -> FileProblem {
        FileProblem { line: Some(line), message: message.into() }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for FileProblem {}

/// Reads a regular file of at most `bytes_max` bytes that `access` allows.
pub(super) fn read(path: &Path, bytes_max: usize, access: Access) -> Result<Vec<u8>, FileProblem> {
    let source = Source::open(path)?;
    source.judge(access)?;
    source.read(bytes_max)
}

/// An open regular file.
pub(super) struct Source<'p> {
    path: &'p Path,
    file: File,
    metadata: Metadata,
}

impl<'p> Source<'p> {
    /// Opens without waiting: a named pipe without a writer must not hang the start.
    pub(super) fn open(path: &'p Path) -> Result<Source<'p>, FileProblem> {
        let file = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(|error| unreadable(path, &error))?;
        let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
        if metadata.is_file() {
            Ok(Source { path, file, metadata })
        } else {
            Err(FileProblem::whole("is not a regular file"))
        }
    }

    /// Whether nobody else could have written the file or, if it is a secret, read it.
    pub(super) fn judge(&self, access: Access) -> Result<(), FileProblem> {
        let (path, mode, owner_uid) = (self.path.display(), self.metadata.mode() & 0o7777, self.metadata.uid());
        let own_uid = rustix::process::geteuid().as_raw();
        let message = match access_fault(mode, owner_uid, own_uid, access) {
            None => return Ok(()),
            Some(Fault::WritableByAll) => {
                format!("may be written by everyone on this machine (mode {mode:04o}); type: chmod o-w {path}")
            }
            Some(Fault::TooOpen) => format!(
                "is a secret but has mode {mode:04o}, wider than 0640; type: chmod 0640 {path} \
                 (on Kubernetes: `defaultMode: 0440` on the volume)"
            ),
            Some(Fault::ForeignOwner) => format!(
                "is a secret but belongs to user {owner_uid}, who is neither root nor this process \
                 (user {own_uid}); type: chown {own_uid} {path}"
            ),
        };
        Err(FileProblem::whole(message))
    }

    /// The content, of at most `bytes_max` bytes.
    pub(super) fn read(&self, bytes_max: usize) -> Result<Vec<u8>, FileProblem> {
        let mut bytes = Vec::new();
        let mut bounded = (&self.file).take(bytes_max as u64 + 1);
        bounded.read_to_end(&mut bytes).map_err(|error| unreadable(self.path, &error))?;
        if bytes.len() > bytes_max {
            return Err(FileProblem::whole(format!("is larger than {}", size_text(bytes_max))));
        }
        Ok(bytes)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> FileProblem {
    FileProblem::whole(match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => {
            format!("may not be read by this process; type: ls -l {}", path.display())
        }
        _ => format!("cannot be read: {error}"),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    WritableByAll,
    TooOpen,
    ForeignOwner,
}

/// Group write, and anything for others.
const WIDER_THAN_0640: u32 = 0o027;

fn access_fault(mode: u32, owner_uid: u32, own_uid: u32, access: Access) -> Option<Fault> {
    match access {
        Access::Public if mode & 0o002 != 0 => Some(Fault::WritableByAll),
        Access::Public => None,
        Access::Secret if mode & WIDER_THAN_0640 != 0 => Some(Fault::TooOpen),
        Access::Secret if owner_uid != 0 && owner_uid != own_uid => Some(Fault::ForeignOwner),
        Access::Secret => None,
    }
}

fn size_text(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}

/// The text of a file that must be UTF-8, without a byte order mark.
pub(super) fn text(bytes: &[u8]) -> Result<&str, FileProblem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count();
        FileProblem::at(line, "is not UTF-8 text; save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file_with_mode(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_is_open_to_owner_and_group_at_most() {
        for (mode, owner, fault) in [
            (0o600, 1000, None),
            (0o640, 1000, None),
            (0o440, 0, None),
            (0o400, 0, None),
            (0o660, 1000, Some(Fault::TooOpen)),
            (0o644, 1000, Some(Fault::TooOpen)),
            (0o604, 0, Some(Fault::TooOpen)),
            (0o602, 0, Some(Fault::TooOpen)),
            (0o600, 1001, Some(Fault::ForeignOwner)),
        ] {
            assert_eq!(access_fault(0o100_000 | mode, owner, 1000, Access::Secret), fault, "{mode:o} of {owner}");
        }
    }

    #[test]
    fn other_files_may_not_be_written_by_all() {
        assert_eq!(access_fault(0o100_644, 1001, 1000, Access::Public), None);
        assert_eq!(access_fault(0o100_666, 1001, 1000, Access::Public), Some(Fault::WritableByAll));
    }

    #[test]
    fn messages_name_the_command_that_helps() {
        let open = file_with_mode(b"x", 0o644);
        let problem = read(open.path(), 10, Access::Secret).unwrap_err();
        assert!(problem.message.contains(&format!("chmod 0640 {}", open.path().display())), "{problem}");
        assert!(problem.message.contains("mode 0644"), "{problem}");
        let writable = file_with_mode(b"x", 0o666);
        let problem = read(writable.path(), 10, Access::Public).unwrap_err();
        assert!(problem.message.contains("chmod o-w"), "{problem}");
    }

    #[test]
    fn size_is_bounded() {
        let file = file_with_mode(b"0123456789", 0o600);
        assert_eq!(read(file.path(), 10, Access::Public).unwrap(), b"0123456789");
        assert_eq!(read(file.path(), 9, Access::Public).unwrap_err().message, "is larger than 9 bytes");
        assert_eq!((size_text(16 << 20), size_text(8 << 10)), ("16 MiB".to_owned(), "8 KiB".to_owned()));
    }

    #[test]
    fn only_regular_files_are_read_and_a_pipe_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path(), 10, Access::Public).unwrap_err().message, "is not a regular file");
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(read(&pipe, 10, Access::Public).unwrap_err().message, "is not a regular file");
        let absent = read(&directory.path().join("absent"), 10, Access::Public).unwrap_err();
        assert!(absent.message.starts_with("does not exist"), "{absent}");
    }

    #[test]
    fn symbolic_links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let target = file_with_mode(b"data", 0o600);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(target.path(), &link).unwrap();
        assert_eq!(read(&link, 10, Access::Secret).unwrap(), b"data");
    }

    #[test]
    fn text_is_utf8_without_a_mark() {
        assert_eq!(text(b"\xef\xbb\xbfabc").unwrap(), "abc");
        assert_eq!(text(b"a\nb\n\xff").unwrap_err().line, Some(3));
    }
}
