//! Secrets that live in files of their own: salts, and the keys of signed overrides.

use std::fmt;
use std::path::Path;

use super::source::{self, Access, FileProblem};

/// The most bytes of a secret file.
pub const SECRET_BYTES_MAX: usize = 4 << 10;

/// A secret of at least one byte. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Reads a secret from a file that others can neither read nor write.
    ///
    /// # Errors
    /// The file cannot be read, is too open (wider than mode 0640), belongs to somebody else, or is empty.
    pub fn load(path: &Path) -> Result<Secret, FileProblem> {
        Secret::parse(&source::read(path, SECRET_BYTES_MAX, Access::Secret)?)
    }

    /// The bytes of a secret file; one newline at the end, which most editors add, is cut.
    ///
    /// # Errors
    /// Nothing is left, or there is more than [`SECRET_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Secret, FileProblem> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        match bytes.len() {
            0 => Err(FileProblem::whole(
                "is empty, but a secret has at least one byte; type: openssl rand -base64 32 > FILE",
            )),
            length if length > SECRET_BYTES_MAX => Err(FileProblem::whole("is larger than 4 KiB")),
            _ => Ok(Secret(bytes.into())),
        }
    }

    /// The secret itself, for a keyed hash and nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_is_cut_and_only_one() {
        for (bytes, secret) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"abc\n", b"abc"),
            (b"abc\n\n", b"abc\n"),
            (b"\xff\x00\n", b"\xff\x00"),
            (b" a ", b" a "),
        ] {
            assert_eq!(Secret::parse(bytes).unwrap().expose(), secret);
        }
    }

    #[test]
    fn an_empty_or_huge_secret_is_refused() {
        for bytes in [&b""[..], b"\n"] {
            assert!(Secret::parse(bytes).unwrap_err().message.starts_with("is empty"));
        }
        assert!(Secret::parse(&[7; SECRET_BYTES_MAX]).is_ok());
        assert!(Secret::parse(&[7; SECRET_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn nothing_prints_it() {
        assert_eq!(format!("{:?}", Secret::parse(b"hunter2").unwrap()), "Secret(hidden)");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let set_mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o600);
        assert_eq!(Secret::load(file.path()).unwrap().expose(), b"s3cret");
        set_mode(0o644);
        assert!(Secret::load(file.path()).unwrap_err().message.contains("chmod 0640"));
    }
}
