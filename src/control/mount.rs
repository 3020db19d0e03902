//! Is the configuration a file that was mounted by itself? Such a file never changes in place of its name.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What to tell the user about files that are mounted by themselves; nothing where there are none.
pub fn warning(path: &Path) -> Option<String> {
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let path = std::path::absolute(path).ok()?;
    if !path.is_file() || !mount_points(&mounts).contains(&path) {
        return None;
    }
    let directory = path.parent().unwrap_or(Path::new("/")).display();
    Some(format!(
        "{} is mounted as a single file: Kubernetes never updates such a file (subPath), and an editor that \
         saves by renaming is not seen; mount the whole directory at {directory} instead (no subPath), or \
         restart after each edit",
        path.display()
    ))
}

/// The mount points of `/proc/self/mountinfo`: the fifth field (proc(5)).
fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    let fields = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    fields.map(|field| PathBuf::from(std::ffi::OsString::from_vec(unescape(field)))).collect()
}

/// The kernel writes blanks, tabs, line breaks and backslashes as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\').then(|| after.get(..3)).flatten().and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        (rest, _) = match octal {
            Some(byte) => (&after[3..], bytes.push(byte)),
            None => (after, bytes.push(first)),
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_file_is_found_among_mounts() {
        let text = b"36 35 98:0 / / rw,noatime - ext3 /dev/root rw\n\
            40 36 0:33 /conf/ringway.yaml /etc/ring\\040way/a.yaml ro,relatime - ext4 /dev/sda1 rw\n\
            broken\n";
        let points = mount_points(text);
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/etc/ring way/a.yaml")]);
        assert_eq!(unescape(br"a\134b\9\1"), br"a\b\9\1");
    }

    #[test]
    fn an_ordinary_file_and_a_mounted_directory_are_fine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "").unwrap();
        assert_eq!((warning(&file), warning(Path::new("/proc"))), (None, None));
    }
}
