//! What is known of the traffic of each cohort, for previews, and of what nobody uses, for leftovers: `traffic.json`.
//!
//! Written once a minute beside the state. Losing it costs a preview and nothing else, so nothing is checked but its form.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use super::store::own_file;

/// The largest file that is read.
const BYTES_MAX: u64 = 16 << 20;

const FILE: &str = "traffic.json";
const SCHEMA: &str = "ringway.traffic/1";

/// What is known, by service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Known {
    schema: String,
    /// By name.
    pub services: BTreeMap<String, ServiceTraffic>,
}

/// What is known of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceTraffic {
    /// Its cohorts, by name.
    pub cohorts: BTreeMap<String, Traffic>,
    /// The part of the chances (0 to 1) that brought an outcome with the variant that is replaced, by cohort and the
    /// outcome's name, when a rollout last looked at it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<String, BTreeMap<String, f64>>,
    /// When its override was last believed, or when somebody began to look; milliseconds since 1970.
    pub override_used_ms: Option<u64>,
}

/// The traffic of one cohort when there last was some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traffic {
    /// Requests per second, of all variants.
    pub per_second: f64,
    /// The part of them that failed, of the variant that is replaced (0 to 1).
    pub error_rate: f64,
    /// The 99th percentile of its latency, in microseconds, of that variant too.
    pub p99_us: Option<u64>,
}

/// Replaces what is kept in a folder.
///
/// # Errors
/// It cannot be written; what was kept before is still there.
pub fn write(folder: &Path, known: &Known) -> io::Result<()> {
    let known = Known { schema: SCHEMA.to_owned(), ..known.clone() };
    let text = serde_json::to_vec(&known)?;
    let new = folder.join("traffic.json.new");
    own_file().write(true).truncate(true).open(&new)?.write_all(&text)?;
    fs::rename(new, folder.join(FILE))
}

/// What is kept in a folder; nothing when that cannot be read.
pub fn read(folder: &Path) -> Known {
    let read = || -> Option<Known> {
        let mut text = Vec::new();
        fs::File::open(folder.join(FILE)).ok()?.take(BYTES_MAX).read_to_end(&mut text).ok()?;
        let known: Known = serde_json::from_slice(&text).ok()?;
        let cohorts = || known.services.values().flat_map(|service| service.cohorts.values());
        let is_sound = |traffic: &Traffic| traffic.per_second >= 0.0 && (0.0..=1.0).contains(&traffic.error_rate);
        let outcomes =
            || known.services.values().flat_map(|service| service.outcomes.values().flat_map(BTreeMap::values));
        let is_ours =
            known.schema == SCHEMA && cohorts().all(is_sound) && outcomes().all(|rate| (0.0..=1.0).contains(rate));
        is_ours.then_some(known)
    };
    read().unwrap_or_default()
}

impl Known {
    /// What is known of a cohort.
    pub fn traffic(&self, service: &str, cohort: &str) -> Option<Traffic> {
        self.services.get(service)?.cohorts.get(cohort).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Known::default());
        let mut known = Known { schema: SCHEMA.to_owned(), ..Known::default() };
        let service = known.services.entry("shop".to_owned()).or_default();
        service
            .cohorts
            .insert("beta".to_owned(), Traffic { per_second: 12.5, error_rate: 0.002, p99_us: Some(160_000) });
        service.outcomes.entry("beta".to_owned()).or_default().insert("orders".to_owned(), 0.05);
        service.override_used_ms = Some(7);
        write(folder.path(), &known).unwrap();
        assert_eq!(read(folder.path()), known);
        assert_eq!(known.traffic("shop", "beta").unwrap().per_second, 12.5);
        let wrong = r#"{"schema":"ringway.traffic/1","services":{"a":{"outcomes":{"b":{"c":-1}}}}}"#;
        for text in
            ["", "{}", wrong, r#"{"schema":"ringway.traffic/1","services":{"a":{"cohorts":{"b":{"errorRate":2}}}}}"#]
        {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(read(folder.path()), Known::default(), "{text}");
        }
    }
}
