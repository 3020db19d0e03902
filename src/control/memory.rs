//! How much memory the process may use, and uses: what its control group says, version 1 or 2, and its own limit.
//!
//! Without either there is nothing to guard: the machine's own memory is shared with others, and whoever runs out of it
//! is the kernel's choice.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group that has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    folder: PathBuf,
    version: Version,
}

/// What the files of a control group are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where control groups are.
pub const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// What says to which this process belongs.
const OF_THIS_PROCESS: &str = "/proc/self/cgroup";
/// What version 1 writes for "no limit", and more than any machine has.
const NO_LIMIT: u64 = 1 << 60;

impl Version {
    fn limit(self) -> &'static str {
        match self {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        }
    }

    fn used(self) -> &'static str {
        match self {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        }
    }

    /// Pages of files that the kernel takes back before anybody goes short.
    fn reclaimable(self) -> &'static str {
        match self {
            Version::One => "total_inactive_file",
            Version::Two => "inactive_file",
        }
    }
}

impl Memory {
    /// The control group of this process, or the nearest above it that has a limit.
    pub fn of_this_process(groups: &Path) -> Option<Memory> {
        Memory::find(groups, &fs::read_to_string(OF_THIS_PROCESS).ok()?)
    }

    /// The same, by what `/proc/self/cgroup` says.
    fn find(groups: &Path, said: &str) -> Option<Memory> {
        said.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let (root, version) = match controllers {
                "" => (groups.to_owned(), Version::Two),
                _ if controllers.split(',').any(|name| name == "memory") => (groups.join("memory"), Version::One),
                _ => return None,
            };
            let path = Path::new(path.trim_start_matches('/'));
            let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            // in a container the path may be one of the host: then the root is the container's own
            let path = if is_plain { path } else { Path::new("") };
            let found = path.ancestors().map(|path| Memory { folder: root.join(path), version });
            found.into_iter().find(|memory| memory.limit().is_some())
        })
    }

    /// Bytes that may be used, and bytes that are in use and cannot be taken back. `None`: there is no limit any more.
    pub fn sample(&self) -> Option<(u64, u64)> {
        let limit = self.limit()?;
        let used = number(&self.folder.join(self.version.used()))?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.version.reclaimable()).then(|| value.trim().parse::<u64>().ok())?
        });
        Some((limit, used.saturating_sub(reclaimable.unwrap_or(0))))
    }

    fn limit(&self) -> Option<u64> {
        number(&self.folder.join(self.version.limit())).filter(|limit| *limit > 0 && *limit < NO_LIMIT)
    }
}

/// Resident bytes of this process. `None` outside of Linux.
pub fn resident() -> Option<u64> {
    resident_of(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `max` is no number.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    }

    #[test]
    fn both_versions_are_read() {
        let groups = tempfile::tempdir().unwrap();
        let two = groups.path().join("system.slice/ringway.service");
        write(
            &two,
            &[("memory.max", "1000\n"), ("memory.current", "700\n"), ("memory.stat", "anon 5\ninactive_file 200\n")],
        );
        let one = groups.path().join("memory/docker/abc");
        write(
            &one,
            &[
                ("memory.limit_in_bytes", "2000"),
                ("memory.usage_in_bytes", "1500"),
                ("memory.stat", "inactive_file 1\ntotal_inactive_file 500\n"),
            ],
        );
        let sample = |said: &str| Memory::find(groups.path(), said).and_then(|memory| memory.sample());
        assert_eq!(sample("0::/system.slice/ringway.service\n"), Some((1000, 500)));
        assert_eq!(sample("12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n0::/\n"), Some((2000, 1000)));
        assert_eq!(sample("5:memory:/docker/abc/below/it\n"), Some((2000, 1000)), "the nearest above");
    }

    #[test]
    fn resident_bytes_are_read() {
        assert_eq!(resident_of("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n"), Some(12_288));
        assert_eq!(resident_of("VmRSS: many"), None);
        assert!(resident().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn without_a_limit_there_is_nothing_to_guard() {
        let groups = tempfile::tempdir().unwrap();
        write(groups.path(), &[("memory.max", "max\n"), ("memory.current", "700\n")]);
        let memory = groups.path().join("memory");
        write(&memory, &[("memory.limit_in_bytes", "9223372036854771712"), ("memory.usage_in_bytes", "1")]);
        for said in ["0::/\n", "5:memory:/\n", "", "nonsense", "0::/../../etc\n", "5:memory", "1:name=systemd:/a\n"] {
            assert_eq!(Memory::find(groups.path(), said), None, "{said}");
        }
        let memory = Memory { folder: groups.path().to_owned(), version: Version::Two };
        assert_eq!(memory.sample(), None);
    }
}
