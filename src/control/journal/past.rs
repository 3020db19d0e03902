//! The audit log of a folder as a whole: all its files, in their order, read and checked.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::audit::{self, Fault, Head, Line};
use super::state_file;
use super::store::{AUDIT, AUDIT_BYTES_MAX, STATE, is_put_aside};
use crate::control::events::PastEvent;

/// The largest file that is read: a log is put aside soon after it has grown beyond its limit.
const FILE_BYTES_MAX: u64 = 2 * AUDIT_BYTES_MAX;

/// Whether the audit log is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Lines that are.
    pub lines: u64,
    /// What is wrong, with its place.
    pub problem: Option<String>,
}

/// The last events of a folder's audit log, oldest first. What cannot be read is left out.
pub fn last_events(folder: &Path, most: usize) -> Vec<PastEvent> {
    let mut newest_first = Vec::new();
    for path in files(folder).iter().rev() {
        let Ok(bytes) = read(path) else { continue };
        let lines = bytes.split(|byte| *byte == b'\n').rev().filter(|line| !line.is_empty());
        let lines = lines.filter_map(audit::parse).map(|(line, _)| event(line));
        newest_first.extend(lines.take(most - newest_first.len()));
        if newest_first.len() >= most {
            break;
        }
    }
    newest_first.reverse();
    newest_first
}

/// Checks all files of a folder's audit log as one, and its end against the state file.
pub fn verify(folder: &Path) -> Verification {
    let mut before: Option<Head> = None;
    let mut lines = 0;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for path in files(folder) {
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return Verification { lines, problem: Some(format!("{}: {error}", name(&path))) },
        };
        let is_last = path.ends_with(AUDIT);
        let verified = match audit::verify(&bytes, before.as_ref()) {
            // a line is being written at this moment
            Err(broken) if is_last && broken.what == Fault::CutOff => {
                audit::verify(bytes.get(..broken.offset).unwrap_or_default(), before.as_ref())
            }
            other => other,
        };
        match verified {
            Ok(verified) if verified.first > 0 => {
                lines += verified.head.seq - verified.first + 1;
                before = Some(verified.head);
            }
            Ok(_) => {}
            Err(broken) => return Verification { lines, problem: Some(format!("{}: {broken}", name(&path))) },
        }
    }
    Verification { lines, problem: missing_at_end(folder, before.as_ref()) }
}

/// Files that were put aside, then the one that is written.
fn files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| is_put_aside(name)).collect();
    names.sort_unstable();
    names.push(AUDIT.to_owned());
    names.into_iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect()
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the state file knows of the last line.
fn missing_at_end(folder: &Path, last: Option<&Head>) -> Option<String> {
    let bytes = fs::read(folder.join(STATE)).ok()?;
    let known = state_file::decode(&bytes).ok()?.audit;
    let last = last.cloned().unwrap_or_default();
    if known.seq > last.seq {
        return Some(format!("{AUDIT}: lines {} to {} are missing at its end", last.seq + 1, known.seq));
    }
    (known.seq == last.seq && known != last).then(|| format!("{AUDIT}: its last line is another one"))
}

fn event(line: Line) -> PastEvent {
    let time = line.time.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).ok();
    PastEvent {
        id: line.seq,
        unix_ms: time.and_then(|ms| u64::try_from(ms).ok()).or_else(|| line.time.parse().ok()).unwrap_or(0),
        kind: line.action,
        service: line.service,
        rollout: line.rollout,
        cohort: line.cohort,
        actor: Some(line.actor).filter(|actor| actor != audit::NOBODY),
        reason: line.reason,
        sentence: line.sentence,
        numbers: line.numbers.into_iter().collect(),
        runbook: None,
        samples: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::*;
    use crate::rollout::effect::Event;
    use crate::rollout::stage::Stage;
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    fn written(folder: &Path) -> Vec<Event> {
        let mut stage = Stage::new();
        stage.complete_step();
        stage.rollback(None);
        let mut store = Store::open(folder, SystemTime::now()).unwrap().store;
        store.append(stage.events.clone()).unwrap();
        store.save(1, &BTreeMap::new()).unwrap();
        stage.events
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(last_events(dir.path(), 10).is_empty());
        let events = written(dir.path());
        let all = last_events(dir.path(), 100);
        assert_eq!(all.len(), events.len());
        let (read, told) = (all.last().unwrap(), events.last().unwrap());
        assert_eq!((read.id, read.unix_ms, read.kind.as_str()), (events.len() as u64, told.unix_ms, "rolled-back"));
        assert_eq!((&read.sentence, &read.actor, &read.rollout), (&told.sentence, &told.actor, &told.rollout));
        assert_eq!(all[0].actor, None);
        assert_eq!(last_events(dir.path(), 2), all[all.len() - 2..]);
        assert_eq!(verify(dir.path()), Verification { lines: events.len() as u64, problem: None });
    }

    #[test]
    fn files_that_were_put_aside_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let before = written(dir.path()).len();
        fs::rename(dir.path().join(AUDIT), dir.path().join(format!("audit-{before:012}.jsonl"))).unwrap();
        let more = written(dir.path()).len();
        let all = last_events(dir.path(), 1_000);
        assert_eq!(
            all.iter().map(|event| event.id).collect::<Vec<_>>(),
            (1..=(before + more) as u64).collect::<Vec<_>>()
        );
        assert_eq!(last_events(dir.path(), more + 1).len(), more + 1);
        assert_eq!(verify(dir.path()).problem, None);
    }

    #[test]
    fn what_was_changed_or_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let path = dir.path().join(AUDIT);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("alice", "mallory", 1)).unwrap();
        assert!(verify(dir.path()).problem.unwrap().starts_with("audit.jsonl: line "));
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        fs::write(&path, lines[..lines.len() - 1].concat()).unwrap();
        assert!(verify(dir.path()).problem.unwrap().contains("missing at its end"));
    }
}
