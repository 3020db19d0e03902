//! The audit log: one JSON line for each event, each with the hash of the line before it.
//!
//! A line ends with the SHA-256 of all of it that stands before. Whoever changes, removes or inserts a line must change
//! all lines after it; that the last ones are missing is seen by the state file, which knows the last line a second later.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::sha256;
use crate::model::is_deceiving;
use crate::rollout::effect::Event;

/// The longest line; texts of people are cut to make it so.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// The longest text of a line.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// The most numbers of a line.
const NUMBERS_MAX: usize = 64;

/// The last line of a log: where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number, from 1; 0 when there is none.
    pub seq: u64,
    /// Its hash; all zeros when there is none.
    pub hash: String,
}

/// Where a log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Broken {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: Fault,
    /// Where the line begins: all before it is good.
    pub offset: usize,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has no end: the process ended while it was written.
    #[error("it is cut off")]
    CutOff,
    /// It does not end with its hash.
    #[error("it is not what was written: its hash does not fit")]
    Changed,
    /// It does not follow the line before.
    #[error("it does not follow the line before: lines were removed, inserted or moved")]
    Misplaced,
}

/// Lines that were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The first line's number, 0 when there is none.
    pub first: u64,
    /// The last line.
    pub head: Head,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Line {
    pub(super) seq: u64,
    prev: String,
    pub(super) time: String,
    pub(super) action: String,
    pub(super) service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rollout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cohort: Option<String>,
    /// [`NOBODY`] when nobody asked.
    pub(super) actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    pub(super) sentence: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) numbers: BTreeMap<String, String>,
}

/// The actor of what nobody asked for.
pub(in crate::control) const NOBODY: &str = "ringway";

const HASH_KEY: &str = ",\"hash\":\"";
const HASH_DIGITS: usize = 64;
const LINE_END: &str = "\"}";

impl Default for Head {
    fn default() -> Head {
        Head { seq: 0, hash: "0".repeat(HASH_DIGITS) }
    }
}

/// The next line of a log, with its end, and the head that it makes.
pub fn line(head: &Head, event: &Event) -> (String, Head) {
    let seq = head.seq.saturating_add(1);
    let time = i64::try_from(event.unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let line = Line {
        seq,
        prev: head.hash.clone(),
        time: time.map_or_else(|| event.unix_ms.to_string(), |time| format!("{time:.3}")),
        action: event.kind.as_str().to_owned(),
        service: cut(&event.service),
        rollout: event.rollout.as_deref().map(cut),
        cohort: event.cohort.as_deref().map(cut),
        actor: event.actor.as_deref().map_or_else(|| NOBODY.to_owned(), cut),
        reason: event.reason.as_deref().map(cut),
        sentence: cut(&event.sentence),
        numbers: event.numbers.iter().take(NUMBERS_MAX).map(|(name, number)| (short(name), short(number))).collect(),
    };
    let text = escaped(serde_json::to_string(&line).unwrap_or_default());
    let (line, hash) = sealed(text.strip_suffix('}').unwrap_or(&text));
    (line, Head { seq, hash })
}

/// A line with its hash, whatever it says, and that hash. `body`: its JSON without the brace at its end.
pub fn sealed(body: &str) -> (String, String) {
    let hash = sha256(body.as_bytes());
    (format!("{body}{HASH_KEY}{hash}{LINE_END}\n"), hash)
}

/// Checks all lines of a log. The first one must follow `before`, if that is known; else it may have any number.
///
/// # Errors
/// The first line that is not what was written.
pub fn verify(bytes: &[u8], before: Option<&Head>) -> Result<Verified, Broken> {
    let mut head = before.cloned();
    let mut verified = Verified { first: 0, head: before.cloned().unwrap_or_default() };
    let mut offset = 0;
    for (at, text) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let broken = |what| Broken { line: at + 1, what, offset };
        let Some(text_of_line) = text.strip_suffix(b"\n") else { return Err(broken(Fault::CutOff)) };
        let (line, hash) = parse(text_of_line).ok_or_else(|| broken(Fault::Changed))?;
        let follows = match &head {
            Some(head) => line.seq == head.seq.saturating_add(1) && line.prev == head.hash,
            None => line.seq > 1 || (line.seq == 1 && line.prev == Head::default().hash),
        };
        if !follows {
            return Err(broken(Fault::Misplaced));
        }
        let now = Head { seq: line.seq, hash };
        if verified.first == 0 {
            verified.first = now.seq;
        }
        verified.head = now.clone();
        head = Some(now);
        offset += text.len();
    }
    Ok(verified)
}

/// Whether a line of a log that is good has this hash.
pub fn has_line(bytes: &[u8], hash: &str) -> bool {
    let end = format!("{HASH_KEY}{hash}{LINE_END}");
    bytes.split(|byte| *byte == b'\n').any(|line| line.ends_with(end.as_bytes()))
}

/// A line and its hash, if the one fits the other.
pub(super) fn parse(text: &[u8]) -> Option<(Line, String)> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix(LINE_END)?;
    let (rest, hash) = text.split_at_checked(text.len().checked_sub(HASH_DIGITS)?)?;
    let body = rest.strip_suffix(HASH_KEY)?;
    if sha256(body.as_bytes()) != hash {
        return None;
    }
    let line = serde_json::from_str(&format!("{body}}}")).ok()?;
    Some((line, hash.to_owned()))
}

/// The same JSON with escapes for what would deceive who reads the line in a terminal or an editor. Such characters stand
/// in strings alone.
fn escaped(json: String) -> String {
    if !json.chars().any(is_deceiving) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 64);
    for character in json.chars() {
        if is_deceiving(character) {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            units.iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(character);
        }
    }
    text
}

fn cut(text: &str) -> String {
    at_most(text, TEXT_BYTES_MAX)
}

fn short(text: &str) -> String {
    at_most(text, TEXT_BYTES_MAX / 16)
}

/// The text, or as many of its first characters as fit so many bytes.
fn at_most(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::stage::Stage;

    fn log() -> (String, Head) {
        let mut stage = Stage::new();
        stage.complete_step();
        stage.rollback(None);
        let mut head = Head::default();
        let mut text = String::new();
        for event in &stage.events {
            let (line, next) = line(&head, event);
            text.push_str(&line);
            head = next;
        }
        (text, head)
    }

    #[test]
    fn a_log_is_good_and_each_line_is_json() {
        let (text, head) = log();
        assert_eq!(verify(text.as_bytes(), None), Ok(Verified { first: 1, head: head.clone() }));
        assert_eq!(head.seq as usize, text.lines().count());
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["action"], &last["actor"]), (&"rolled-back".into(), &"alice".into()));
        assert_eq!(last["time"].as_str().map(|time| time.starts_with("2026-09-2")), Some(true), "{last}");
        assert_eq!(verify(b"", None), Ok(Verified { first: 0, head: Head::default() }));
    }

    #[test]
    fn a_log_that_is_cut_off_is_found_out_or_ends_with_a_whole_line() {
        let (text, head) = log();
        for end in 0..text.len() {
            match verify(&text.as_bytes()[..end], None) {
                Ok(verified) => {
                    // what is missing are whole lines: the state file knows the last one
                    assert!(end == 0 || text.as_bytes()[end - 1] == b'\n');
                    assert_ne!(verified.head, head);
                }
                Err(broken) => assert_eq!(broken.what, Fault::CutOff),
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_out_wherever_it_is() {
        let (text, _) = log();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone().into_bytes();
                damaged[at] ^= 1 << bit;
                assert!(verify(&damaged, None).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn lines_that_are_removed_moved_or_inserted_are_found_out() {
        let (text, _) = log();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert!(lines.len() >= 5);
        for at in 1..lines.len() - 1 {
            let mut fewer = lines.clone();
            fewer.remove(at);
            let broken = verify(fewer.concat().as_bytes(), None).unwrap_err();
            assert_eq!((broken.line, broken.what), (at + 1, Fault::Misplaced));
            let mut twice = lines.clone();
            twice.insert(at, lines[at]);
            assert!(verify(twice.concat().as_bytes(), None).is_err());
            let mut moved = lines.clone();
            moved.swap(at - 1, at);
            assert!(verify(moved.concat().as_bytes(), None).is_err());
        }
        // the beginning may be in an older file, if one does not know better
        assert!(verify(lines[1..].concat().as_bytes(), None).is_ok());
        assert!(verify(lines[1..].concat().as_bytes(), Some(&Head::default())).is_err());
    }

    /// What people write stays theirs, and on its line.
    #[test]
    fn nobody_writes_lines_fields_or_colours_into_a_log() {
        let nasty = [
            "x\r\n{\"seq\":9}",
            "\",\"actor\":\"root",
            "\u{1b}[2Jgone",
            "\u{0}\u{9b}31m",
            "\u{202e}kcabllor\u{2066}",
            "\u{e0041}",
            "\u{feff}\u{2028}",
            &"\u{202e}".repeat(400_000),
            "\\u0022",
        ];
        let (mut head, mut text) = (Head::default(), String::new());
        for payload in nasty {
            for field in 0..6 {
                let mut event = Stage::new().events[0].clone();
                let to: &mut String = match field {
                    0 => &mut event.service,
                    1 => event.rollout.get_or_insert_default(),
                    2 => event.cohort.get_or_insert_default(),
                    3 => event.actor.get_or_insert_default(),
                    4 => event.reason.get_or_insert_default(),
                    _ => &mut event.sentence,
                };
                *to = payload.to_owned();
                let (line, next) = line(&head, &event);
                assert!(line.len() <= LINE_BYTES_MAX && line.matches('\n').count() == 1, "{}", line.len());
                assert!(!line.trim_end().chars().any(is_deceiving), "{line}");
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                let names = ["service", "rollout", "cohort", "actor", "reason", "sentence"];
                let shown = read[names[field]].as_str().unwrap();
                assert!(!shown.is_empty() && payload.starts_with(shown), "{line}");
                text.push_str(&line);
                head = next;
            }
        }
        assert_eq!(verify(text.as_bytes(), Some(&Head::default())), Ok(Verified { first: 1, head }));
    }

    #[test]
    fn long_texts_are_cut() {
        let mut stage = Stage::new();
        let event = &mut stage.events[0];
        event.reason = Some("ü".repeat(100_000));
        event.numbers = (0..1_000).map(|at| (at.to_string(), "9".repeat(10_000))).collect();
        let (line, _) = line(&Head::default(), event);
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        assert!(verify(line.as_bytes(), None).is_ok());
    }
}
