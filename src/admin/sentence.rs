//! How it goes, in one sentence over all services.

use crate::control::{Handle, RolloutView};
use crate::model::{BUCKETS, percent};
use crate::rollout::state::Phase;
use crate::routing::Snapshot;
use crate::telemetry::windows::Windows;
use std::sync::Arc;

/// How far back requests are counted where there are no users.
const WINDOW_SECONDS: u64 = 60;

/// `2 rollouts, none failing; 1.4 % of users on a canary`. The share is of users, or of requests where users are not told
/// apart; `None` without any.
pub(super) fn sentence(rollouts: &[Arc<RolloutView>], share: Option<f64>) -> String {
    let running = rollouts.iter().filter(|view| view.phase.is_running()).count();
    let names = |is_meant: &dyn Fn(&RolloutView) -> bool| -> Vec<&str> {
        rollouts.iter().filter(|view| is_meant(view)).map(|view| view.service.as_str()).collect()
    };
    let back = names(&|view| view.phase == Phase::RolledBack);
    let failing =
        names(&|view| view.phase != Phase::RolledBack && view.gates.iter().any(|gate| gate.verdict == "harm"));
    let mut sentence = match running {
        0 => "no rollout is under way".to_owned(),
        1 => "1 rollout".to_owned(),
        several => format!("{several} rollouts"),
    };
    match failing.as_slice() {
        [] if running > 0 => sentence.push_str(", none failing"),
        [] => {}
        names => sentence.push_str(&format!(", failing: {}", names.join(", "))),
    }
    if !back.is_empty() {
        sentence.push_str(&format!("; rolled back: {}", back.join(", ")));
    }
    if let Some(share) = share.filter(|_| running > 0) {
        sentence.push_str(&format!("; {} of users on a canary", percent((share * 1_000.0).round() / 1_000.0)));
    }
    sentence
}

/// The part of all users who get a version that is being released: of each cohort's users, as many as its layout says.
pub(super) fn share_of_users(snapshot: &Snapshot, rollouts: &[Arc<RolloutView>], handle: &Handle) -> Option<f64> {
    let count = |windows: &Windows, slots: &[_]| match handle.users(slots) {
        0 => slots.iter().map(|slot| windows.requests(*slot, WINDOW_SECONDS)).sum(),
        users => users,
    };
    let (mut all, mut on_canary) = (0.0, 0.0);
    handle.with_windows(|windows| {
        for service in &snapshot.services {
            let view = rollouts.iter().find(|view| *view.service == *service.name);
            let to = view.and_then(|view| service.variants.iter().position(|variant| *variant.name == *view.to));
            for cohort in &service.cohorts {
                let users = count(windows, &cohort.slots) as f64;
                let share = to.map_or(0.0, |to| f64::from(cohort.layout.width_of(to)) / f64::from(BUCKETS));
                all += users;
                on_canary += users * share;
            }
        }
    });
    (all > 0.0).then(|| on_canary / all)
}
