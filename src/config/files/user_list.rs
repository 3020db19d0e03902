//! A list of user keys, one a line.

use std::collections::HashSet;
use std::path::Path;

use super::source::{self, Access, FileProblem};

/// The most bytes of a user list.
pub const USER_LIST_BYTES_MAX: usize = 16 << 20;

/// The most keys of a user list.
pub const USER_LIST_KEYS_MAX: usize = 1_000_000;

/// The most bytes of one user key.
pub const USER_KEY_BYTES_MAX: usize = 1024;

/// User keys by which a cohort is chosen. Looked up by bytes, exactly as they are written.
#[derive(Clone, Debug, Default)]
pub struct UserList {
    /// A set with a random state: the keys are compared with what clients send, who could aim at collisions.
    keys: HashSet<Box<[u8]>>,
}

impl UserList {
    /// Reads a list from a file.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, or is not a list (see [`UserList::parse`]).
    pub fn load(path: &Path) -> Result<UserList, FileProblem> {
        UserList::parse(&source::read(path, USER_LIST_BYTES_MAX, Access::Public)?)
    }

    /// One key a line, with space around it cut; blank lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// The text is not UTF-8, a key is longer than [`USER_KEY_BYTES_MAX`] or has control characters, or there are
    /// more than [`USER_LIST_KEYS_MAX`] keys.
    pub fn parse(bytes: &[u8]) -> Result<UserList, FileProblem> {
        let mut keys = HashSet::new();
        for (at, line) in source::text(bytes)?.lines().enumerate() {
            let key = line.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.len() > USER_KEY_BYTES_MAX {
                return Err(FileProblem::at(at + 1, "has more than 1024 bytes; a user list has one key a line"));
            }
            if key.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(FileProblem::at(at + 1, "has a control character; a user list is text, one key a line"));
            }
            keys.insert(key.as_bytes().into());
            if keys.len() > USER_LIST_KEYS_MAX {
                return Err(FileProblem::at(at + 1, "is beyond the 1,000,000 keys that a user list may have"));
            }
        }
        Ok(UserList { keys })
    }

    /// Whether the list names this user key.
    pub fn contains(&self, user_key: &[u8]) -> bool {
        self.keys.contains(user_key)
    }

    /// How many different keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &**key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_key_a_line() {
        let list = UserList::parse("\u{feff}# testers\nu-1842\r\n\n  alice@example.com \n #x\n你好\nu-1842".as_bytes())
            .unwrap();
        assert_eq!(list.len(), 3);
        for key in ["u-1842", "alice@example.com", "你好"] {
            assert!(list.contains(key.as_bytes()), "{key}");
        }
        for key in ["", "u-184", "U-1842", "# testers", "#x", " alice@example.com"] {
            assert!(!list.contains(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn what_is_not_a_list_is_refused_with_its_line() {
        let long = format!("a\n{}", "x".repeat(USER_KEY_BYTES_MAX + 1));
        for (bytes, line) in [(long.as_bytes(), 2), (b"a\nb\n\xff", 3), (b"a\x00b", 1), (b"a\nb\tc", 2)] {
            assert_eq!(UserList::parse(bytes).unwrap_err().line, Some(line));
        }
        assert!(UserList::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let text: String = (0..=USER_LIST_KEYS_MAX).map(|n| format!("{n}\n")).collect();
        assert_eq!(UserList::parse(text.as_bytes()).unwrap_err().line, Some(USER_LIST_KEYS_MAX + 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = UserList::parse(&bytes);
        }
    }
}
