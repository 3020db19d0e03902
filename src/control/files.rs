//! Which files matter, and a fingerprint of what stands in them.

use crate::config::files::GEO_MMDB_BYTES_MAX;
use crate::config::files_of;
use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::OFlags;
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The files that a running process depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// A file, a directory, or `-`.
    pub config: PathBuf,
    /// What it names.
    pub named: BTreeSet<PathBuf>,
}

/// A hash over names, contents and rights of all files that matter: equal ones are the same configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Digests of files that did not change since, so that a large file is not read every few seconds.
#[derive(Debug, Default)]
pub struct Digests(HashMap<PathBuf, (Identity, [u8; 32])>);

/// What changes whenever a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that changed this recently may change again without another time stamp, so it is read anew.
const STAMP_SECONDS: i64 = 2;
/// Symbolic links that are followed in one path, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;

impl Files {
    /// The fingerprint of now.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint_with(&mut Digests::default())
    }

    /// The fingerprint of now, without reading again what did not change.
    pub fn fingerprint_with(&self, digests: &mut Digests) -> Fingerprint {
        let mut hash = Context::new(&SHA256);
        let paths = self.all();
        digests.0.retain(|path, _| paths.contains(path));
        for path in paths {
            let name = path.as_os_str().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name);
            match digests.of(&path) {
                Ok((digest, metadata)) => {
                    hash.update(&digest);
                    hash.update(&metadata.mode().to_le_bytes());
                    hash.update(&metadata.uid().to_le_bytes());
                }
                Err(error) => hash.update(format!("{:?}", error.kind()).as_bytes()),
            }
        }
        Fingerprint(of_context(hash))
    }

    /// Every directory in which a change could be one of these files': their own, and those of the links on the way.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::new();
        for path in self.all().iter().chain([&self.config]).filter(|path| path.as_path() != Path::new("-")) {
            add_directories(path, &mut directories);
        }
        if self.config.is_dir() {
            directories.extend(self.config.canonicalize());
        }
        directories
    }

    fn all(&self) -> BTreeSet<PathBuf> {
        let mut all = self.named.clone();
        match files_of(&self.config) {
            Ok(files) => all.extend(files),
            Err(_) => {
                all.insert(self.config.clone());
            }
        }
        all.remove(Path::new("-"));
        all
    }
}

impl Digests {
    fn of(&mut self, path: &Path) -> io::Result<([u8; 32], Metadata)> {
        let mut file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let identity = Identity::of(&metadata);
        if let Some((_, digest)) = self.0.get(path).filter(|(known, _)| *known == identity) {
            return Ok((*digest, metadata));
        }
        let digest = digest_of(&mut file)?;
        if !identity.is_recent() {
            self.0.insert(path.to_owned(), (identity, digest));
        }
        Ok((digest, metadata))
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_recent(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        self.modified.0.max(self.changed.0) + STAMP_SECONDS >= now
    }
}

/// No file that can be loaded is larger than the largest database, so no more is read of any.
fn digest_of(file: &mut File) -> io::Result<[u8; 32]> {
    let mut hash = Context::new(&SHA256);
    let mut bounded = file.take(GEO_MMDB_BYTES_MAX as u64 + 1);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match bounded.read(&mut buffer)? {
            0 => return Ok(of_context(hash)),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn of_context(hash: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}

/// Follows a path link by link. Where a part is missing, the nearest directory that is there is the one to watch:
/// it is where the missing part will appear.
fn add_directories(path: &Path, directories: &mut BTreeSet<PathBuf>) {
    let Ok(absolute) = std::path::absolute(path) else { return };
    let mut rest: Vec<_> = components(&absolute);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let Ok(metadata) = next.symlink_metadata() else { break };
        if metadata.is_symlink() {
            directories.insert(at.clone());
            let Some(target) = next.read_link().ok().filter(|_| links < LINKS_MAX) else { break };
            links += 1;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            rest.extend(components(&target));
        } else if metadata.is_dir() {
            at = next;
        }
    }
    directories.insert(at);
}

/// The parts of a path, the last one first.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    let mut parts: Vec<_> = parts.map(|part| part.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn files(config: &Path, named: &[PathBuf]) -> Files {
        Files { config: config.to_owned(), named: named.iter().cloned().collect() }
    }

    #[test]
    fn the_fingerprint_changes_with_content_names_and_rights_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (config, list) = (dir.path().join("a.yaml"), dir.path().join("beta.txt"));
        fs::write(&config, "one").unwrap();
        let files = files(&config, std::slice::from_ref(&list));
        let mut digests = Digests::default();
        let mut seen = vec![files.fingerprint_with(&mut digests)];
        let mut expect = |is_new: bool, story: &str| {
            let now = files.fingerprint_with(&mut digests);
            assert_eq!(!seen.contains(&now), is_new, "{story}");
            assert_eq!(now, files.fingerprint(), "{story}");
            seen.push(now);
        };
        expect(false, "nothing happened");
        fs::write(&config, "two").unwrap();
        expect(true, "edited in place, same length");
        fs::write(&config, "two").unwrap();
        expect(false, "written again");
        fs::write(&list, "u-1").unwrap();
        expect(true, "a named file appeared");
        fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).unwrap();
        expect(true, "its rights changed");
        fs::remove_file(&config).unwrap();
        expect(true, "the file vanished");
    }

    #[test]
    fn a_directory_counts_by_its_yaml_files() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path(), &[]);
        let empty = files.fingerprint();
        fs::write(dir.path().join(".a.yaml.swp"), "x").unwrap();
        fs::write(dir.path().join("notes.txt"), "x").unwrap();
        assert_eq!(files.fingerprint(), empty);
        fs::write(dir.path().join("a.yaml"), "x").unwrap();
        assert_ne!(files.fingerprint(), empty);
    }

    #[test]
    fn every_link_on_the_way_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("mount/..2024_1")).unwrap();
        fs::write(root.join("mount/..2024_1/a.yaml"), "x").unwrap();
        symlink("..2024_1", root.join("mount/..data")).unwrap();
        symlink("..data/a.yaml", root.join("mount/a.yaml")).unwrap();
        symlink("mount", root.join("current")).unwrap();
        let watched = files(&root.join("current/a.yaml"), &[root.join("gone/b/c.txt")]).directories();
        let expected = [root.clone(), root.join("mount"), root.join("mount/..2024_1")];
        assert_eq!(watched, BTreeSet::from(expected));
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(!files(&dir.path().join("a"), &[]).directories().is_empty());
    }
}
