//! What is left over of releases that are over, as `check` names it: by the state that a process keeps in `stateDir`.

use super::journal::store::{Found, Store};
use super::journal::traffic_file::{self, Known};
use super::plans::plans;
use crate::config::{Code, Diagnostic, Loaded, Place};
use crate::rollout::life_cycle::{Leftover, leftovers};

/// A warning for each thing that can most likely be removed from the file. None without a `stateDir` that can be read:
/// nothing is written, made or locked there.
pub fn leftover_warnings(loaded: &Loaded, now_ms: u64) -> Vec<Diagnostic> {
    let Some(folder) = &loaded.file.state_dir else { return Vec::new() };
    let (Found::Good(document) | Found::Older(document)) = Store::peek(folder) else { return Vec::new() };
    let known = traffic_file::read(folder);
    let of_service = |(name, plan): (String, crate::rollout::plan::Plan)| {
        let state = document.services.get(&name)?;
        let used = known.services.get(&name).and_then(|service| service.override_used_ms);
        let used = used.filter(|_| loaded.file.services.get(&name).is_some_and(|service| service.override_.is_some()));
        let found = leftovers(&plan, state, now_ms, used).into_iter();
        Some(found.filter_map(|left| warning(loaded, &name, &left)).collect::<Vec<_>>())
    };
    plans(&loaded.file).into_iter().filter_map(of_service).flatten().collect()
}

/// What is known of the traffic, by the same folder.
pub fn known_traffic(loaded: &Loaded) -> Known {
    loaded.file.state_dir.as_deref().map(traffic_file::read).unwrap_or_default()
}

/// `None` for what is gone from the file already.
fn warning(loaded: &Loaded, service: &str, left: &Leftover) -> Option<Diagnostic> {
    let written = loaded.file.services.get(service)?;
    let at = Place::root().key("services").key(service);
    let at = match left {
        Leftover::Rollout { id, .. } => {
            written.rollout.as_ref().filter(|rollout| rollout.id == *id)?;
            at.key("rollout")
        }
        Leftover::Variant { name, .. } => {
            written.variants.get(name)?;
            at.key("variants").key(name)
        }
        Leftover::Override { .. } => at.key("override"),
    };
    let sentence = left.sentence(service);
    let (what, help) = sentence.split_once("; ").unwrap_or((&sentence, "remove it from the file"));
    Some(Diagnostic::new(Code::Leftover, what).at(loaded.span_of(&at)).help(help))
}
