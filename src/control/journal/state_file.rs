//! The state file: JSON that begins with its version, its checksum and its length.
//!
//! ```text
//! {"schema":"ringway.state/1","sha256":"<64 digits>","bytes":"0000000123","state":{…}}
//! ```
//!
//! A file is read only if it is, byte for byte, what would be written of its content: whatever was cut off, added or
//! flipped is found, in the checksum as well.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::audit::Head;
use super::record::Service;
use super::sha256;
use crate::rollout::state::State;

/// The version that this program writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// The largest state file that is read.
pub const STATE_BYTES_MAX: u64 = 16 << 20;

/// Everything that is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// When it was written, in milliseconds since 1970.
    pub saved_ms: u64,
    /// The last line of the audit log at that time.
    pub audit: Head,
    /// The state of each service, by name.
    pub services: BTreeMap<String, State>,
}

/// Why bytes are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Another version wrote it.
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// It is not what was written: cut off, or changed.
    #[error("it is not what was written: its checksum does not fit")]
    Checksum,
    /// It is what was written, and cannot be.
    #[error("it holds {0}, which cannot be")]
    Content(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    saved_ms: u64,
    audit_seq: u64,
    audit_hash: String,
    services: BTreeMap<String, Service>,
}

const BEGIN: &str = "{\"schema\":\"ringway.state/";
const END: &str = "}\n";

/// The bytes of the file.
pub fn encode(document: &Document) -> Vec<u8> {
    let services = document.services.iter().map(|(name, state)| (name.clone(), Service::of(state)));
    let content = Content {
        saved_ms: document.saved_ms,
        audit_seq: document.audit.seq,
        audit_hash: document.audit.hash.clone(),
        services: services.collect(),
    };
    // maps have texts as keys and no number is a float, so there is nothing that JSON could not hold
    let state = serde_json::to_string(&content).unwrap_or_default();
    framed(&state)
}

/// The state that bytes hold.
///
/// # Errors
/// They are not, byte for byte, what [`encode`] writes.
pub fn decode(bytes: &[u8]) -> Result<Document, Damage> {
    let text = std::str::from_utf8(bytes).map_err(|_| Damage::Checksum)?;
    let rest = text.strip_prefix(BEGIN).ok_or(Damage::Checksum)?;
    let version = rest.split('"').next().and_then(|digits| digits.parse::<u32>().ok()).ok_or(Damage::Checksum)?;
    if version != VERSION {
        return Err(Damage::Version(version));
    }
    let state = text.get(header(&"0".repeat(64), 0).len()..).and_then(|rest| rest.strip_suffix(END));
    let state = state.ok_or(Damage::Checksum)?;
    if framed(state) != bytes {
        return Err(Damage::Checksum);
    }
    let content: Content = serde_json::from_str(state).map_err(|error| Damage::Content(error.to_string()))?;
    let read = |(name, service): (String, Service)| {
        let state = service.read().map_err(|what| Damage::Content(format!("{what} of {name}")))?;
        Ok((name, state))
    };
    Ok(Document {
        saved_ms: content.saved_ms,
        audit: Head { seq: content.audit_seq, hash: content.audit_hash },
        services: content.services.into_iter().map(read).collect::<Result<_, Damage>>()?,
    })
}

/// The bytes of a file with this state, whatever it says.
pub fn framed(state: &str) -> Vec<u8> {
    format!("{}{state}{END}", header(&sha256(state.as_bytes()), state.len())).into_bytes()
}

fn header(checksum: &str, bytes: usize) -> String {
    // the length as a text, so that it is JSON and has one width
    format!("{BEGIN}{VERSION}\",\"sha256\":\"{checksum}\",\"bytes\":\"{bytes:010}\",\"state\":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::plan::Plan;
    use crate::rollout::stage::{Stage, plan};

    fn document() -> Document {
        let mut stage = Stage::new();
        stage.complete_step();
        stage.rollback(Some("beta"));
        let idle = Stage::of(Plan { rollout: None, ..plan() });
        let without_session = |state: &State| State { session: Default::default(), ..state.clone() };
        let services =
            [("shop".to_owned(), without_session(&stage.state)), ("search".to_owned(), without_session(&idle.state))];
        Document { saved_ms: 1_790_000_000_000, audit: Head { seq: 7, hash: sha256(b"7") }, services: services.into() }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode(&document());
        assert_eq!(decode(&bytes), Ok(document()));
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["state"]["services"]["shop"]["phase"], "rolled-back");
        assert_eq!(decode(&encode(&Document::default())), Ok(Document::default()));
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_found_out() {
        let bytes = encode(&document());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        for extra in [&b"\n"[..], b" ", b"{}", &bytes] {
            assert!(decode(&[&bytes, extra].concat()).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_is_found_out_wherever_it_is() {
        let bytes = encode(&document());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(decode(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_even_with_a_good_checksum() {
        let text = String::from_utf8(encode(&document())).unwrap();
        let state = &text[header(&"0".repeat(64), 0).len()..text.len() - END.len()];
        assert_eq!(decode(&framed(state)), Ok(document()));
        for (good, bad) in [
            ("\"phase\":\"rolled-back\"", "\"phase\":\"done\""),
            ("\"phase\":\"idle\"", "\"phase\":\"paused\""),
            ("\"canary\":\"50\"", "\"canary\":\"51\""),
            ("\"canary\":\"50\"", "\"canary\":\"-50\""),
            ("\"step\":1", "\"step\":2"),
            ("\"savedMs\":", "\"bogus\":1,\"savedMs\":"),
        ] {
            assert!(state.contains(good), "{good} in {state}");
            let found = decode(&framed(&state.replacen(good, bad, 1)));
            assert!(matches!(found, Err(Damage::Content(_))), "{bad}: {found:?}");
        }
        let other = text.replacen("ringway.state/1", "ringway.state/2", 1);
        assert_eq!(decode(other.as_bytes()), Err(Damage::Version(2)));
    }
}
