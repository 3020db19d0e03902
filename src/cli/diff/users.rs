//! The users that `diff` assigns.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::config::files::{USER_KEY_BYTES_MAX, USER_LIST_BYTES_MAX, USER_LIST_KEYS_MAX};
use crate::routing::compare::Users;

/// Reads a list: one key a line, blank lines and those that begin with `#` left out.
pub(super) fn read(path: &Path) -> anyhow::Result<Users> {
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(USER_LIST_BYTES_MAX as u64 + 1).read_to_string(&mut text).with_context(cannot)?;
    if text.len() > USER_LIST_BYTES_MAX {
        bail!("{} is larger than 16 MiB", path.display());
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    if keys.is_empty() {
        bail!("{} names no user; it has one user key a line", path.display());
    }
    if keys.len() > USER_LIST_KEYS_MAX || keys.iter().any(|key| key.len() > USER_KEY_BYTES_MAX) {
        bail!("{} has more than 1,000,000 keys, or one of more than 1024 bytes", path.display());
    }
    Ok(Users::Listed(keys))
}
