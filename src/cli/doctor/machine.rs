//! What this machine grants: folders, limits, the clock, certificates.

use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::process::{Resource, getrlimit};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::cli::words::elapsed;
use crate::config::files::{Validity, now};
use crate::config::schema::File;
use crate::control::mount_warning;
use crate::model::grouped;

/// State, audit logs of 90 days and their reserve fit into it.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// Below it a busy listener runs out.
const DESCRIPTORS_MIN: u64 = 4_096;
/// A certificate that ends sooner should have been renewed.
const RENEW_BEFORE_SECONDS: i64 = 14 * 86_400;
/// 2026-01-01: no clock that is right shows less.
const CLOCK_MIN: Duration = Duration::from_secs(1_767_225_600);
/// Clocks of two machines may differ so much.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Whether the file is seen when it changes.
pub(super) fn mount(path: &Path) -> Finding {
    match mount_warning(path) {
        Some(warning) => Finding::problem("mount", warning, "mount the folder in which it is"),
        None => Finding::good("mount", "changes of the file are seen"),
    }
}

/// The folder of state and audit log.
pub(super) fn state(folder: Option<&Path>, is_running: bool) -> Vec<Finding> {
    let Some(folder) = folder else {
        let text = "no `stateDir`: rollouts begin anew after a restart, and there is no audit log";
        return vec![Finding::skipped("state", text)];
    };
    let name = folder.display();
    let known = match fs::metadata(folder) {
        Ok(known) if known.is_dir() => known,
        Ok(_) => return vec![Finding::problem("state", format!("{name} is no folder"), "name a folder in `stateDir`")],
        Err(_) if is_creatable(folder) => {
            return vec![Finding::good("state", format!("{name} is not there yet; the first start makes it"))];
        }
        Err(error) => {
            let help = format!("make it: install -d -m 700 {name}, owned by the account that Ringway runs under");
            return vec![Finding::problem("state", format!("{name}: {error}"), help)];
        }
    };
    vec![permissions(folder, &known), lock(folder, is_running), space(folder)]
}

/// The first start makes folders that are missing.
fn is_creatable(folder: &Path) -> bool {
    folder.parent().is_some_and(|parent| parent.is_dir() && is_writable(parent))
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

fn permissions(folder: &Path, known: &fs::Metadata) -> Finding {
    let name = folder.display();
    if known.mode() & 0o022 != 0 {
        let text = format!("others may write in {name} (mode {:o})", known.mode() & 0o777);
        return Finding::problem("state", text, format!("chmod go-w {name}"));
    }
    if rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) == Err(rustix::io::Errno::ROFS) {
        let text =
            format!("{name} is on a file system that is mounted read-only: what runs is taken back at the start");
        return Finding::problem("state", text, "look at the disk (`dmesg`), then mount it to be written");
    }
    if !is_writable(folder) {
        let owner = known.uid();
        let text = format!("this account may not write in {name}, which belongs to uid {owner}");
        return Finding::problem("state", text, "run doctor as the account of Ringway, or give it the folder by chown");
    }
    Finding::good("state", format!("{name} can be written, and by nobody else"))
}

fn lock(folder: &Path, is_running: bool) -> Finding {
    let path = folder.join("lock");
    // without it no process has been there
    let Ok(file) = OpenOptions::new().read(true).open(&path) else {
        return Finding::good("state lock", "nobody has used it yet");
    };
    // given back at the end of this function
    match (flock(&file, FlockOperation::NonBlockingLockShared), is_running) {
        (Ok(()), false) => Finding::good("state lock", "free"),
        (Ok(()), true) => {
            let text = format!("the process that runs does not hold {}", path.display());
            Finding::problem("state lock", text, "is it another file's process? `ringway status` shows its files")
        }
        (Err(_), true) => Finding::good("state lock", "held by the process that runs"),
        (Err(_), false) => {
            let text = format!("another process holds {}, and its door does not answer", path.display());
            Finding::problem("state lock", text, format!("find it: fuser {}", path.display()))
        }
    }
}

fn space(folder: &Path) -> Finding {
    let free = match statvfs(folder) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return Finding::skipped("state space", format!("cannot be seen: {error}")),
    };
    let text = format!("{} MiB free", grouped(free >> 20));
    match free < FREE_BYTES_MIN {
        true => Finding::problem("state space", text, format!("leave at least {} MiB", FREE_BYTES_MIN >> 20)),
        false => Finding::good("state space", text),
    }
}

/// Of this session; a service has its own.
pub(super) fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum;
    match limit {
        None => Finding::good("descriptors", "without a limit"),
        Some(limit) if limit >= DESCRIPTORS_MIN => Finding::good("descriptors", format!("up to {}", grouped(limit))),
        Some(limit) => {
            let text = format!("at most {} here, and each request may need two", grouped(limit));
            Finding::problem("descriptors", text, "LimitNOFILE=65536 in the unit, or ulimit -Hn 65536 before the start")
        }
    }
}

/// A clock that is wrong makes tokens, certificates and windows wrong.
pub(super) fn clock(config: &Path) -> Finding {
    let now = SystemTime::now();
    if now < SystemTime::UNIX_EPOCH + CLOCK_MIN {
        return Finding::problem("clock", "it stands before 2026", "set it, or start a time service such as chrony");
    }
    let changed = fs::metadata(config).and_then(|known| known.modified()).ok();
    let ahead = changed.and_then(|changed| changed.duration_since(now).ok());
    match ahead.filter(|ahead| *ahead > CLOCK_SKEW_MAX) {
        Some(ahead) => {
            let text = format!("the file was written {} after now", elapsed(ahead.as_secs()));
            Finding::problem("clock", text, "compare it with another machine's; start a time service such as chrony")
        }
        None => Finding::good("clock", "it runs, and the file is not of the future"),
    }
}

/// The ends of all certificates that are presented.
pub(super) fn certificates(file: &File) -> Vec<Finding> {
    let of_listeners = file.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let mut paths: Vec<PathBuf> =
        of_listeners.flat_map(|tls| tls.certificates.iter().map(|of| of.cert_file.clone())).collect();
    paths.extend(file.admin.as_ref().and_then(|admin| Some(admin.tls.as_ref()?.cert_file.clone())));
    paths.sort();
    paths.dedup();
    paths.iter().map(|path| certificate(path, now())).collect()
}

fn certificate(path: &Path, now: i64) -> Finding {
    let name = path.display();
    let first = CertificateDer::pem_file_iter(path).ok().and_then(|mut found| found.next()?.ok());
    let Some(validity) = first.and_then(|first| Validity::of(&first)) else {
        return Finding::problem("certificate", format!("{name} has no certificate"), "it must be PEM, with its chain");
    };
    let left = validity.not_after - now;
    let days = |seconds: i64| elapsed(seconds.unsigned_abs());
    let help = "renew it; Ringway takes a new file without a restart";
    match () {
        _ if now < validity.not_before => {
            let text = format!("{name} is valid only in {}", days(validity.not_before - now));
            Finding::problem("certificate", text, "is the clock right?")
        }
        _ if left < 0 => Finding::problem("certificate", format!("{name} ended {} ago", days(left)), help),
        _ if left < RENEW_BEFORE_SECONDS => {
            Finding::problem("certificate", format!("{name} ends in {}", days(left)), help)
        }
        _ => Finding::good("certificate", format!("{name} ends in {}", days(left))),
    }
}
