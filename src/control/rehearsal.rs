//! What a reload would do, without doing it.

use super::handle::Handle;
use super::outcome::Rehearsed;
use super::reload::{on_a_thread, warnings};
use crate::config::load;
use crate::routing::prepare;
use crate::telemetry::Registry;
use crate::upstream::Upstreams;

/// Series for slots that nobody will use.
const SERIES: u32 = 10_000;

/// Loads, compiles and tests the files beside those in force. `None`: it broke, or there is no thread for it.
pub async fn rehearse(handle: &Handle) -> Option<Rehearsed> {
    let config = handle.config().to_owned();
    on_a_thread(move || {
        let prepared =
            load(&config).and_then(|loaded| prepare(loaded, &Upstreams::default(), &Registry::new(1, SERIES)));
        match prepared {
            Ok(prepared) => Rehearsed::Fit {
                rev: prepared.snapshot.rev.to_string(),
                warnings: warnings(&prepared.loaded).collect(),
            },
            Err(errors) => Rehearsed::Unfit(errors),
        }
    })
    .await
}
