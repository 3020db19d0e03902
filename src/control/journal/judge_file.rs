//! The evidence file: what the judges of a process have seen, so that a restart within a step does not begin anew.
//!
//! ```text
//! ringway.judge/1\n  SHA-256 of the rest (32 bytes)  number of judges (u32)  judges…
//! judge: five texts (u32 length, UTF-8), serial (u64), numbers (u32 count, u64 each); little-endian
//! ```
//!
//! A file apart from the state: it is large, it changes each second, and losing it costs some evidence and nothing else.
//! What is not, byte for byte, what was written is refused.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use super::store::own_file;
use aws_lc_rs::digest::{SHA256, digest};

/// The largest file that is read or written: some hundred cohorts.
pub const JUDGE_BYTES_MAX: usize = 64 << 20;

/// A judge as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The service.
    pub service: String,
    /// The cohort.
    pub cohort: String,
    /// The rollout's id.
    pub rollout: String,
    /// What it compares, canary first.
    pub variants: [String; 2],
    /// By which rules: another text is another judge.
    pub rules: String,
    /// Of the step.
    pub serial: u64,
    /// What it has seen.
    pub words: Vec<u64>,
}

const MAGIC: &[u8] = b"ringway.judge/1\n";
const HASH_BYTES: usize = 32;
const FILE: &str = "judge.bin";

/// Replaces what was kept in a folder. Not synced to the disk: the death of the process loses nothing, that of the machine
/// may.
///
/// # Errors
/// It cannot be written, or is too large; what was kept before is still there.
pub fn write(folder: &Path, kept: &[Kept]) -> io::Result<()> {
    let bytes = encode(kept);
    if bytes.len() > JUDGE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let new = folder.join("judge.bin.new");
    let mut file = own_file().write(true).truncate(true).open(&new)?;
    file.write_all(&bytes)?;
    drop(file);
    fs::rename(new, folder.join(FILE))
}

/// What was kept in a folder; nothing when nothing was.
///
/// # Errors
/// It cannot be read, or is not what was written.
pub fn read(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut bytes = Vec::new();
    match fs::File::open(folder.join(FILE)) {
        Ok(file) => drop(file.take(JUDGE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not what was written"))
}

fn encode(kept: &[Kept]) -> Vec<u8> {
    let mut body = Vec::new();
    let number = |to: &mut Vec<u8>, number: usize| to.extend_from_slice(&(number as u32).to_le_bytes());
    number(&mut body, kept.len());
    for judge in kept {
        let [canary, stable] = &judge.variants;
        for text in [&judge.service, &judge.cohort, &judge.rollout, canary, stable, &judge.rules] {
            number(&mut body, text.len());
            body.extend_from_slice(text.as_bytes());
        }
        body.extend_from_slice(&judge.serial.to_le_bytes());
        number(&mut body, judge.words.len());
        judge.words.iter().for_each(|word| body.extend_from_slice(&word.to_le_bytes()));
    }
    [MAGIC, digest(&SHA256, &body).as_ref(), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Vec<Kept>> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(HASH_BYTES)?;
    if digest(&SHA256, body).as_ref() != hash {
        return None;
    }
    let mut from = Bytes(body);
    let count = from.number()?;
    // each takes room, so that a count alone makes no room
    let mut kept = Vec::new();
    for _ in 0..count {
        let (service, cohort, rollout) = (from.text()?, from.text()?, from.text()?);
        let (variants, rules) = ([from.text()?, from.text()?], from.text()?);
        let serial = from.word()?;
        let words = from.number()?;
        let words = from.take(words.checked_mul(8)?)?.chunks_exact(8).map(word).collect::<Option<_>>()?;
        kept.push(Kept { service, cohort, rollout, variants, rules, serial, words });
    }
    from.0.is_empty().then_some(kept)
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize)
    }

    fn word(&mut self) -> Option<u64> {
        word(self.take(8)?)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.number()?;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

fn word(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judges() -> Vec<Kept> {
        let judge = |cohort: &str, serial| Kept {
            service: "shop".to_owned(),
            cohort: cohort.to_owned(),
            rollout: "v42".to_owned(),
            variants: ["canary".to_owned(), "stable".to_owned()],
            rules: "rules".to_owned(),
            serial,
            words: vec![0, u64::MAX, 7],
        };
        vec![judge("beta", 3), judge("everyone", u64::MAX)]
    }

    #[test]
    fn what_is_kept_comes_back_and_what_was_changed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        write(folder.path(), &judges()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), judges());
        let bytes = encode(&judges());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "{at} bytes");
        }
        fs::write(folder.path().join(FILE), b"ringway.judge/1\n").unwrap();
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn counts_that_cannot_be_are_refused_even_with_a_good_checksum() {
        let mut body = encode(&judges())[MAGIC.len() + HASH_BYTES..].to_vec();
        body[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let bytes = [MAGIC, digest(&SHA256, &body).as_ref(), &body].concat();
        assert_eq!(decode(&bytes), None);
    }
}
