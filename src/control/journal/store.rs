//! The files of the journal: one process writes them, each write is whole or not there, and no error is fatal.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::audit::{self, Fault, Head};
use super::state_file::{Document, STATE_BYTES_MAX, decode, encode};
use crate::rollout::effect::Event;
use crate::rollout::state::State;

/// An audit log that is larger is put aside, and a new one begins.
pub const AUDIT_BYTES_MAX: u64 = 16 << 20;

/// How long logs that were put aside are kept, counted from their last line.
pub const AUDIT_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// How many events wait while the log cannot be written; beyond, the oldest are dropped and counted.
pub const WAITING_MAX: usize = 10_000;

/// Space that is given up when the disk is full, so that a rollback can still be written.
pub const RESERVE_BYTES: usize = 256 << 10;

/// The files of a `stateDir`, held by this process.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// `None` while the folder is on a file system that is mounted read-only.
    audit: Option<File>,
    audit_bytes: u64,
    head: Head,
    waiting: Vec<Event>,
    dropped: u64,
    /// The number of the last line of the audit log that the state on the disk knows.
    known_seq: u64,
    /// Dropped last: with it the lock goes. `None` where nobody can write, and nobody has.
    lock: Option<File>,
}

/// What was found.
#[derive(Debug)]
pub struct Opened {
    /// The files.
    pub store: Store,
    /// The state.
    pub found: Found,
    /// What was wrong, for log, metric and event.
    pub problems: Vec<String>,
}

/// The state that was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It was never written.
    Nothing,
    /// As it was written last.
    Good(Document),
    /// The last one is damaged, and this is the one before. What moved must be stopped; see [`State::stopped`].
    Older(Document),
    /// All that was written is damaged; see [`State::lost`].
    Lost,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes there.
    #[error("another ringway uses the state in {0}; give each its own `stateDir`")]
    Locked(PathBuf),
    /// It cannot be read or written.
    #[error("{path}: {error}; `ringway doctor` says what is wrong with the folder")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Store {
    /// Takes a folder, which is made if need be, and reads what is there.
    ///
    /// # Errors
    /// Another process has it, or it cannot be written at all. Damaged files are no error: see [`Opened`]. Nor is a file
    /// system that is mounted read-only, as one is whose disk has failed: what was written is known, and writing is tried
    /// again each time.
    pub fn open(folder: &Path, now: SystemTime) -> Result<Opened, StoreError> {
        let failed = |path: &Path, error: io::Error| StoreError::Io { path: path.to_owned(), error };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failed(folder, error))?;
        let lock = take_lock(folder)?;
        let mut problems = Vec::new();
        let mut found = read_state(folder, &mut problems);
        if found == Found::Nothing && tells_of_rollouts(folder) {
            problems.push(format!("{STATE} is missing, and {AUDIT} tells of rollouts"));
            found = Found::Lost;
        }
        let path = folder.join(AUDIT);
        let head = match mend_audit(folder, &mut problems) {
            Err(error) if !is_read_only(&error) => return Err(failed(&path, error)),
            mended => mended.unwrap_or_default(),
        };
        let mut known_seq = head.seq;
        if let Found::Good(document) | Found::Older(document) = &found {
            known_seq = document.audit.seq;
            if head.seq < known_seq {
                problems.push(format!("{AUDIT}: line {known_seq} was written, and the last one is {}", head.seq));
            }
        }
        let (folder, waiting) = (folder.to_owned(), Vec::new());
        let mut store = Store { folder, audit: None, audit_bytes: 0, head, waiting, dropped: 0, known_seq, lock };
        match store.open_audit() {
            Err(error) if !is_read_only(&error) => return Err(failed(&path, error)),
            Err(_) => problems.push("it is on a file system that is mounted read-only".to_owned()),
            Ok(()) => {
                store.fill_reserve();
                store.remove_old_audits(now);
            }
        }
        Ok(Opened { store, found, problems })
    }

    fn open_audit(&mut self) -> io::Result<()> {
        let audit = own_file().append(true).open(self.folder.join(AUDIT))?;
        self.audit_bytes = audit.metadata()?.len();
        self.audit = Some(audit);
        Ok(())
    }

    /// The folder could not be written when it was opened: tries again, from the lock on.
    fn open_again(&mut self) -> io::Result<()> {
        if self.lock.is_none() {
            self.lock = take_lock(&self.folder).map_err(|error| match error {
                StoreError::Io { error, .. } => error,
                locked @ StoreError::Locked(_) => io::Error::other(locked),
            })?;
        }
        self.head = mend_audit(&self.folder, &mut Vec::new())?;
        self.open_audit()?;
        self.fill_reserve();
        Ok(())
    }

    /// What stands in a folder that another process still holds.
    pub fn peek(folder: &Path) -> Found {
        read_state(folder, &mut Vec::new())
    }

    /// Writes the state of all services, with the last line of the audit log. When it returns, a crash of the machine
    /// does not lose it.
    ///
    /// # Errors
    /// It could not be written; the state that was written before is still there.
    pub fn save(&mut self, saved_ms: u64, services: &BTreeMap<String, State>) -> io::Result<()> {
        if self.audit.is_none() {
            self.open_again()?;
        }
        let document = Document { saved_ms, audit: self.head.clone(), services: services.clone() };
        let bytes = encode(&document);
        let write = || self.replace_state(&bytes);
        let written = self.with_reserve(write);
        self.fill_reserve();
        if written.is_ok() {
            self.known_seq = self.head.seq;
        }
        written
    }

    /// Writes events to the audit log, with those that are still waiting.
    ///
    /// # Errors
    /// They could not be written; they wait for the next call, the latest [`WAITING_MAX`] of them.
    pub fn append(&mut self, events: impl IntoIterator<Item = Event>) -> io::Result<()> {
        self.waiting.extend(events);
        let beyond = self.waiting.len().saturating_sub(WAITING_MAX);
        self.dropped += beyond as u64;
        self.waiting.drain(..beyond);
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.audit.is_none() {
            self.open_again()?;
        }
        let Some(audit) = &self.audit else { return Err(io::ErrorKind::ReadOnlyFilesystem.into()) };
        let (mut head, mut text) = (self.head.clone(), String::new());
        for event in &self.waiting {
            let (line, next) = audit::line(&head, event);
            text.push_str(&line);
            head = next;
        }
        let before = self.audit_bytes;
        let write = || {
            let written = (&mut &*audit).write_all(text.as_bytes()).and_then(|()| audit.sync_data());
            if written.is_err() {
                // half a line is worse than none; if this fails as well, opening mends it
                let _ = audit.set_len(before);
            }
            written
        };
        self.with_reserve(write)?;
        self.waiting.clear();
        self.head = head;
        self.audit_bytes += text.len() as u64;
        if self.audit_bytes >= AUDIT_BYTES_MAX {
            self.rotate()?;
        }
        Ok(())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last line of the audit log.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether lines were written that the state on the disk does not know: nobody would miss them.
    pub fn has_unknown_lines(&self) -> bool {
        self.head.seq > self.known_seq
    }

    /// Events that wait to be written, and those that were dropped.
    pub fn unwritten(&self) -> (usize, u64) {
        (self.waiting.len(), self.dropped)
    }

    /// Removes audit logs that were put aside and whose last line is older than [`AUDIT_KEPT`]. Called once a day.
    pub fn remove_old_audits(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten().filter(|entry| is_put_aside(&entry.file_name().to_string_lossy())) {
            let changed = entry.metadata().and_then(|meta| meta.modified()).ok();
            let age = changed.and_then(|changed| now.duration_since(changed).ok());
            if age.is_some_and(|age| age > AUDIT_KEPT) {
                // what cannot be removed today is tried again tomorrow
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn replace_state(&self, bytes: &[u8]) -> io::Result<()> {
        let path = |name: &str| self.folder.join(name);
        let new = path("state.json.new");
        let mut file = own_file().write(true).truncate(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // `state.json` is there at every moment: the one before is another name of it until it is replaced
        let spare = path("state.json.spare");
        match fs::remove_file(&spare) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::hard_link(path(STATE), &spare) {
            Ok(()) => fs::rename(&spare, path(PREVIOUS))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(&new, path(STATE))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Puts the audit log aside under the number of its last line, and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = self.folder.join(format!("audit-{:012}.jsonl", self.head.seq));
        fs::rename(self.folder.join(AUDIT), aside)?;
        self.audit = None;
        self.open_audit()?;
        File::open(&self.folder)?.sync_all()
    }

    /// Tries again without the reserve when the disk is full.
    fn with_reserve(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let result = write();
        match &result {
            Err(error) if is_full(error) && fs::remove_file(self.folder.join(RESERVE)).is_ok() => write(),
            _ => result,
        }
    }

    fn fill_reserve(&self) {
        let path = self.folder.join(RESERVE);
        if path.exists() {
            return;
        }
        let fill = || {
            let mut file = own_file().write(true).open(&path)?;
            file.write_all(&vec![0; RESERVE_BYTES])?;
            file.sync_all()
        };
        if fill().is_err() {
            // half a reserve would take the space that the state needs
            let _ = fs::remove_file(&path);
        }
    }
}

/// The state of all services.
pub const STATE: &str = "state.json";
const PREVIOUS: &str = "state.json.previous";
/// The log that is written.
pub const AUDIT: &str = "audit.jsonl";
const RESERVE: &str = "reserve";

/// For this user only: reasons and names of people stand in these files.
pub(super) fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether it is the name of a log that was put aside. Their order by name is that of their lines.
pub fn is_put_aside(name: &str) -> bool {
    name.starts_with("audit-") && name.ends_with(".jsonl")
}

fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// What is held as long as the folder is used. Where nobody can write a lock that is there is taken all the same.
fn take_lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join("lock");
    let failed = |error: io::Error| StoreError::Io { path: path.clone(), error };
    let lock = match own_file().write(true).open(&path) {
        Err(error) if is_read_only(&error) => match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened,
        },
        opened => opened,
    };
    let lock = lock.map_err(failed)?;
    match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(folder.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// Whether the audit log says that a rollout was under way. The state is written before it says so.
fn tells_of_rollouts(folder: &Path) -> bool {
    let bytes = fs::read(folder.join(AUDIT)).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.filter_map(audit::parse).any(|(line, _)| line.rollout.is_some())
}

fn read_state(folder: &Path, problems: &mut Vec<String>) -> Found {
    let mut read = |name: &str| match read_bounded(&folder.join(name)) {
        Ok(bytes) => match decode(&bytes) {
            Ok(document) => Some(Some(document)),
            Err(damage) => {
                problems.push(format!("{name}: {damage}"));
                Some(None)
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            Some(None)
        }
    };
    match (read(STATE), read(PREVIOUS)) {
        (Some(Some(document)), _) => Found::Good(document),
        (None, None) => Found::Nothing,
        (None, Some(None)) | (Some(None), None | Some(None)) => Found::Lost,
        (Some(None), Some(Some(document))) => Found::Older(document),
        (None, Some(Some(document))) => {
            problems.push(format!("{STATE} is missing, and {PREVIOUS} is there"));
            Found::Older(document)
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STATE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a state"));
    }
    Ok(bytes)
}

/// The end of the audit log, from which it goes on. A last line that is cut off was never acknowledged, and is removed;
/// a log that was changed is put aside, and a new one begins.
fn mend_audit(folder: &Path, problems: &mut Vec<String>) -> io::Result<Head> {
    let path = folder.join(AUDIT);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    match audit::verify(&bytes, None) {
        Ok(verified) if verified.first > 0 => Ok(verified.head),
        Ok(_) => Ok(last_aside(folder)),
        Err(broken) if broken.what == Fault::CutOff => {
            let good = bytes.get(..broken.offset).unwrap_or_default();
            OpenOptions::new().write(true).open(&path)?.set_len(good.len() as u64)?;
            problems.push(format!("{AUDIT}: line {} was cut off, and is removed", broken.line));
            let verified = audit::verify(good, None).ok().filter(|verified| verified.first > 0);
            Ok(verified.map_or_else(|| last_aside(folder), |verified| verified.head))
        }
        Err(broken) => {
            let aside = free_name(folder);
            fs::rename(&path, &aside)?;
            let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
            problems.push(format!("{AUDIT}: {broken}; it is kept as {name}, and a new one begins"));
            Ok(Head::default())
        }
    }
}

/// The last line of the log that was put aside last.
fn last_aside(folder: &Path) -> Head {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let last = names.filter(|name| is_put_aside(name)).max();
    let verified = last.and_then(|name| audit::verify(&fs::read(folder.join(name)).ok()?, None).ok());
    verified.map_or_else(Head::default, |verified| verified.head)
}

fn free_name(folder: &Path) -> PathBuf {
    let names = (1..).map(|at| folder.join(format!("{AUDIT}.damaged-{at}")));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| folder.join("audit.jsonl.damaged"))
}

#[cfg(test)]
mod tests;
