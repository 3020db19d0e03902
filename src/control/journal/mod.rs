//! What outlives the process: where each rollout is, and what was done by whom.
//!
//! ```text
//! state.json           the state of all services: checksummed, replaced as a whole
//! state.json.previous  the one before
//! audit.jsonl          one line for each event, each with the hash of the line before
//! audit-NNN.jsonl      older lines, for at least 90 days
//! judge.bin            what the judges have seen, for the next process
//! traffic.json         the traffic of each cohort, for previews
//! lock                 held by the one process that may write here
//! reserve              space that is given up when the disk is full
//! ```
//!
//! [`state_file`] and [`audit`] are formats and know no files; [`store`] knows the files and nothing of rollouts.

pub mod audit;
pub mod judge_file;
pub mod past;
pub mod record;
pub mod state_file;
pub mod store;
pub mod traffic_file;

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 in lower-case hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
