//! Who may do what at the admin door.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;
use std::path::Path;

use super::source::{self, Access, FileProblem};
use crate::config::schema::Role;

/// The most bytes of a file of tokens.
pub const TOKENS_BYTES_MAX: usize = 256 << 10;
/// The most tokens of a file.
pub const TOKENS_MAX: usize = 1_000;
/// The longest name of a person or group, in bytes: it stands in the audit log.
pub const NAME_BYTES_MAX: usize = 256;
/// The most groups of one person.
pub const GROUPS_MAX: usize = 32;

const HASH_PREFIX: &str = "sha256:";
const TOKEN_PREFIX: &str = "rw_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// Whom the door knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    known: Vec<Known>,
}

/// Somebody with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// The SHA-256 of their token. A token is 256 random bits, which nobody can guess from a fast hash either: a slow
    /// one is for what people choose.
    pub hash: [u8; 32],
}

impl Tokens {
    /// Reads a file that others can neither read nor write.
    ///
    /// # Errors
    /// The file cannot be read, is too open (wider than mode 0640), or is not what [`Tokens::parse`] reads.
    pub fn load(path: &Path) -> Result<Tokens, FileProblem> {
        Tokens::parse(&source::read(path, TOKENS_BYTES_MAX, Access::Secret)?)
    }

    /// One `NAME ROLE HASH [GROUP,GROUP]` a line; blank lines and lines that begin with `#` are skipped. Somebody may
    /// have several lines, to change a token without a gap.
    ///
    /// # Errors
    /// A line is none, a token stands twice, or there are more than [`TOKENS_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Tokens, FileProblem> {
        let (mut known, mut hashes) = (Vec::new(), BTreeSet::new());
        for (at, line) in source::text(bytes)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let one = line_of(line).map_err(|message| FileProblem::at(at + 1, message))?;
            if !hashes.insert(one.hash) {
                return Err(FileProblem::at(at + 1, "has a token that stands on a line before"));
            }
            known.push(one);
            if known.len() > TOKENS_MAX {
                return Err(FileProblem::at(at + 1, "is beyond the 1,000 tokens that a file may have"));
            }
        }
        Ok(Tokens { known })
    }

    /// Whose token this is. Takes as long for a wrong one as for a right one.
    pub fn find(&self, token: &str) -> Option<&Known> {
        self.of_hash(&hash_of(token))
    }

    /// Who has the token of this hash. Takes as long for a wrong one as for a right one.
    pub fn of_hash(&self, hash: &[u8; 32]) -> Option<&Known> {
        let mut found = None;
        for one in &self.known {
            if verify_slices_are_equal(&one.hash, hash).is_ok() {
                found = Some(one);
            }
        }
        found
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl Known {
    /// The line of the file.
    pub fn line(&self) -> String {
        let digits: String = self.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let groups = if self.groups.is_empty() { String::new() } else { format!(" {}", self.groups.join(",")) };
        format!("{} {} {HASH_PREFIX}{digits}{groups}", self.name, self.role)
    }
}

/// A new token: 256 random bits.
///
/// # Errors
/// The system has no random numbers.
pub fn new_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The SHA-256 of a token.
pub fn hash_of(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// Whether people and groups can be called so: one word of printable characters without a comma.
pub fn is_person(name: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ',';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('#') && name.chars().all(is_plain)
}

fn line_of(line: &str) -> Result<Known, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, role, hash, groups) = match words.as_slice() {
        [name, role, hash] => (*name, *role, *hash, ""),
        [name, role, hash, groups] => (*name, *role, *hash, *groups),
        _ => return Err("is not `NAME ROLE HASH [GROUP,GROUP]`; type: ringway token admin --name NAME".to_owned()),
    };
    if !is_person(name) {
        return Err("has a name that is longer than 256 bytes or has a control character".to_owned());
    }
    let role = Role::parse(role).ok_or_else(|| {
        let shown: String = role.chars().take(32).collect();
        format!("has `{shown}` for a role; write viewer, operator or admin")
    })?;
    let hash = hash.strip_prefix(HASH_PREFIX).and_then(unhex).ok_or_else(|| {
        "has no hash such as sha256:2c26.. of 64 digits (the token itself does not belong here); type: ringway token admin"
            .to_owned()
    })?;
    let groups: Vec<String> = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
    if groups.len() > GROUPS_MAX || !groups.iter().all(|group| is_person(group)) {
        return Err("has more than 32 groups, or one that is longer than 256 bytes".to_owned());
    }
    Ok(Known { name: name.to_owned(), role, groups, hash })
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let is_hex = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate().filter(|_| is_hex) {
        *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    is_hex.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna(token: &str) -> Known {
        Known {
            name: "anna".to_owned(),
            role: Role::Operator,
            groups: vec!["release-managers".to_owned()],
            hash: hash_of(token),
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let token = new_token().unwrap();
        assert_ne!(token, new_token().unwrap());
        assert_eq!(token.len(), TOKEN_PREFIX.len() + 43);
        let text = format!("# who may\n\n  {}\n", anna(&token).line());
        let tokens = Tokens::parse(text.as_bytes()).unwrap();
        assert_eq!(tokens.find(&token), Some(&anna(&token)));
        assert!(!text.contains(&token), "a file tells no token");
        for wrong in ["", "rw_", &token[..token.len() - 1], &format!("{token} "), &token.to_lowercase()] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_that_is_none_is_told() {
        let hash = format!("sha256:{}", "ab".repeat(32));
        for (line, message) in [
            ("anna".to_owned(), "NAME ROLE HASH"),
            (format!("anna root {hash}"), "`root`"),
            (format!("anna viewer {}", &hash[7..]), "sha256:"),
            (format!("anna viewer {hash}0"), "64 digits"),
            ("anna viewer rw_secret".to_owned(), "the token itself"),
            (format!("anna viewer {hash} a b"), "NAME ROLE HASH"),
            (format!("an,na viewer {hash}"), "name"),
            (format!("anna viewer {hash}\nbob viewer {hash}"), "line before"),
        ] {
            let problem = Tokens::parse(line.as_bytes()).unwrap_err();
            assert!(problem.message.contains(message), "{line}: {problem}");
            assert!(!problem.message.contains("rw_secret"));
        }
        assert!(Tokens::parse(b"").unwrap().is_empty());
    }
}
