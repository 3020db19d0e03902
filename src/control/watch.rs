//! Tells when the content of the files that matter has changed; what to do about it is for others.
//!
//! ```text
//! notify on directories ─┐
//!                        ├─ debounce → fingerprint → differs from the last one? → tell
//! slow poll ─────────────┘
//! ```
//!
//! Directories are watched, not files: editors and Kubernetes replace a file or a link rather than writing into it.
//! Events only say when to look. What was missed (network file systems, a full queue) is found by the poll.

use super::files::{Digests, Files, Fingerprint};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How patient the watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Quiet time after the last event before a look: an edit is often several events.
    pub debounce: Duration,
    /// Time between looks without an event.
    pub poll: Duration,
}

/// A running watch. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    files: watch::Sender<(Files, Fingerprint)>,
    changes: watch::Receiver<Option<Fingerprint>>,
}

/// With events that never stop, a look is taken all the same after this many debounce times.
const DEBOUNCES_MAX: u32 = 10;

impl Default for Pace {
    fn default() -> Pace {
        Pace { debounce: Duration::from_millis(200), poll: Duration::from_secs(5) }
    }
}

impl Watch {
    /// Watches files that had the fingerprint `seen`. Must be called within a Tokio runtime.
    pub fn start(files: Files, seen: Fingerprint, pace: Pace) -> Watch {
        let (files, followed) = watch::channel((files, seen));
        let (tell, changes) = watch::channel(None);
        tokio::spawn(run(Watching::new(followed, seen, pace), tell));
        Watch { files, changes }
    }

    /// Watches these files from now on, for whatever differs from `seen`.
    pub fn follow(&self, files: Files, seen: Fingerprint) {
        self.files.send_replace((files, seen));
    }

    /// Waits until the content has changed. May be cancelled: nothing is lost.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // the watch has ended: there will be no change
            std::future::pending::<()>().await;
        }
    }
}

struct Watching {
    followed: watch::Receiver<(Files, Fingerprint)>,
    seen: Fingerprint,
    pace: Pace,
    digests: Digests,
    events: mpsc::Receiver<()>,
    notifier: Option<RecommendedWatcher>,
    /// The directories that are watched, by device and inode: another directory under the same name is watched anew.
    directories: BTreeMap<PathBuf, (u64, u64)>,
}

async fn run(mut watching: Watching, tell: watch::Sender<Option<Fingerprint>>) {
    loop {
        // first the directories, then the look: what changes in between is either seen or an event
        watching.follow_directories();
        if let Some(now) = watching.look().await {
            tell.send_replace(Some(now));
        }
        tokio::select! {
            () = tell.closed() => return,
            followed = watching.followed.changed() => match followed {
                Ok(()) => watching.seen = watching.followed.borrow_and_update().1,
                Err(_) => return,
            },
            Some(()) = watching.events.recv() => watching.settle().await,
            () = tokio::time::sleep(watching.pace.poll) => {}
        }
    }
}

impl Watching {
    fn new(followed: watch::Receiver<(Files, Fingerprint)>, seen: Fingerprint, pace: Pace) -> Watching {
        // one waiting event is enough: it says "look", not at what
        let (tell, events) = mpsc::channel(1);
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_about_reading(event.kind)) {
                let _ = tell.try_send(());
            }
        });
        let notifier = notifier.inspect_err(|error| {
            let poll_seconds = pace.poll.as_secs_f64();
            tracing::warn!(%error, poll_seconds, "no notice of file changes from the system: files are only polled");
        });
        let (digests, directories) = (Digests::default(), BTreeMap::new());
        Watching { followed, seen, pace, digests, events, notifier: notifier.ok(), directories }
    }

    /// Watches the directories that matter now, and no others.
    fn follow_directories(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        let directories = self.followed.borrow().0.directories();
        let wanted: BTreeMap<PathBuf, (u64, u64)> =
            directories.into_iter().filter_map(|path| identity(&path).map(|identity| (path, identity))).collect();
        self.directories.retain(|path, identity| {
            let is_wanted = wanted.get(path) == Some(identity);
            if !is_wanted {
                // it fails for a directory that is gone, whose watch is gone too
                let _ = notifier.unwatch(path);
            }
            is_wanted
        });
        for (path, identity) in wanted {
            if self.directories.contains_key(&path) {
                continue;
            }
            match notifier.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(path, identity);
                }
                Err(error) => tracing::debug!(path = %path.display(), %error, "directory is only polled"),
            }
        }
    }

    /// Waits until events have been quiet for a while.
    async fn settle(&mut self) {
        let latest = Instant::now() + self.pace.debounce * DEBOUNCES_MAX;
        loop {
            let quiet = tokio::time::sleep_until((Instant::now() + self.pace.debounce).min(latest));
            tokio::select! {
                biased;
                () = quiet => return,
                event = self.events.recv() => if event.is_none() || Instant::now() >= latest { return },
            }
        }
    }

    /// The fingerprint, when it is not the last one.
    async fn look(&mut self) -> Option<Fingerprint> {
        let files = self.followed.borrow().0.clone();
        let mut digests = std::mem::take(&mut self.digests);
        let looked = tokio::task::spawn_blocking(move || (files.fingerprint_with(&mut digests), digests));
        let (now, digests) = looked.await.ok()?;
        self.digests = digests;
        let is_new = now != self.seen;
        self.seen = now;
        is_new.then_some(now)
    }
}

/// Our own reading of the files must not look like a change of them.
fn is_about_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Long enough for a busy machine, and never waited for when all is well.
    const PATIENCE: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_secs(3600);

    fn pace(poll: Duration) -> Pace {
        Pace { debounce: Duration::from_millis(10), poll }
    }

    fn watch(config: &Path, named: &[&Path], poll: Duration) -> Watch {
        let files = Files { config: config.to_owned(), named: named.iter().map(|path| path.to_path_buf()).collect() };
        let seen = files.fingerprint();
        Watch::start(files, seen, pace(poll))
    }

    async fn expect_change(watch: &mut Watch, story: &str) {
        assert!(tokio::time::timeout(PATIENCE, watch.changed()).await.is_ok(), "{story}: no change was told");
    }

    /// A watch that looks when it is told to, without events.
    fn still(files: &Files, poll: Duration) -> (watch::Sender<(Files, Fingerprint)>, Watching) {
        let (follow, followed) = watch::channel((files.clone(), files.fingerprint()));
        let mut watching = Watching::new(followed, files.fingerprint(), pace(poll));
        watching.notifier = None;
        (follow, watching)
    }

    fn config(dir: &TempDir) -> PathBuf {
        let path = dir.path().join("ringway.yaml");
        fs::write(&path, "one").unwrap();
        path
    }

    #[tokio::test]
    async fn every_way_to_save_a_file_is_seen_without_polling() {
        let dir = tempfile::tempdir().unwrap();
        let path = config(&dir);
        let mut watch = watch(&path, &[], NEVER);
        // the watch is at work once it has told something
        fs::write(&path, "two").unwrap();
        expect_change(&mut watch, "written in place").await;
        fs::write(dir.path().join("new"), "three").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        expect_change(&mut watch, "renamed over, as vim and sed do").await;
        fs::remove_file(&path).unwrap();
        expect_change(&mut watch, "removed").await;
        fs::write(&path, "four").unwrap();
        expect_change(&mut watch, "made again").await;
    }

    #[tokio::test]
    async fn the_same_content_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = config(&dir);
        let (_follow, mut watching) = still(&Files { config: path.clone(), ..Files::default() }, NEVER);
        assert_eq!(watching.look().await, None);
        fs::write(&path, "one").unwrap();
        fs::write(dir.path().join(".ringway.yaml.swp"), "x").unwrap();
        assert_eq!(watching.look().await, None, "the same again, and a swap file");
        fs::write(&path, "two").unwrap();
        assert!(watching.look().await.is_some());
        assert_eq!(watching.look().await, None, "told once");
    }

    /// What kubelet does to a mounted ConfigMap: a new directory, and a link that is renamed over the old one.
    #[tokio::test]
    async fn a_config_map_is_seen_when_its_link_is_swapped() {
        let dir = tempfile::tempdir().unwrap();
        let put = |generation: &str, content: &str| {
            fs::create_dir(dir.path().join(generation)).unwrap();
            fs::write(dir.path().join(generation).join("ringway.yaml"), content).unwrap();
            symlink(generation, dir.path().join("..data_tmp")).unwrap();
            fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        };
        put("..2024_1", "one");
        symlink("..data/ringway.yaml", dir.path().join("ringway.yaml")).unwrap();
        for config in [dir.path().join("ringway.yaml"), dir.path().to_owned()] {
            let mut watch = watch(&config, &[], NEVER);
            for generation in 2..5 {
                let name = format!("..2024_{generation}_{}", config.is_dir());
                put(&name, &format!("{name} of {}", config.display()));
                expect_change(&mut watch, &name).await;
            }
        }
        fs::remove_dir_all(dir.path().join("..2024_1")).unwrap();
    }

    #[tokio::test]
    async fn a_named_file_elsewhere_is_watched_too() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let list = elsewhere.path().join("beta.txt");
        let path = config(&dir);
        let mut watch = watch(&path, &[], NEVER);
        let files = Files { config: path.clone(), named: [list.clone()].into() };
        watch.follow(files.clone(), files.fingerprint());
        fs::write(&list, "u-1").unwrap();
        expect_change(&mut watch, "it appeared").await;
    }

    #[tokio::test]
    async fn a_directory_that_vanishes_and_returns_is_watched_again() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, old) = (dir.path().join("conf"), dir.path().join("old"));
        let path = conf.join("ringway.yaml");
        fs::create_dir(&conf).unwrap();
        fs::write(&path, "one").unwrap();
        let mut watch = watch(&path, &[], Duration::from_millis(50));
        fs::rename(&conf, &old).unwrap();
        expect_change(&mut watch, "moved away").await;
        fs::create_dir(&conf).unwrap();
        fs::write(&path, "two").unwrap();
        expect_change(&mut watch, "another one in its place").await;
        fs::write(&path, "three").unwrap();
        expect_change(&mut watch, "edited there").await;
    }

    #[tokio::test]
    async fn what_events_miss_the_poll_finds() {
        let dir = tempfile::tempdir().unwrap();
        let path = config(&dir);
        let files = Files { config: path.clone(), ..Files::default() };
        let (_follow, watching) = still(&files, Duration::from_millis(10));
        let (tell, mut changes) = watch::channel(None);
        let task = tokio::spawn(run(watching, tell));
        fs::write(&path, "two").unwrap();
        assert!(tokio::time::timeout(PATIENCE, changes.changed()).await.is_ok());
        task.abort();
    }

    #[test]
    fn our_own_reading_is_no_event() {
        let cases = [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), true),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), true),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), false),
            (EventKind::Any, false),
        ];
        for (kind, expected) in cases {
            assert_eq!(is_about_reading(kind), expected, "{kind:?}");
        }
    }
}
