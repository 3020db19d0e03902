//! What became of the file: which edit was taken, whom it moved, or why it was refused.

use super::percent;
use super::users::{Crowd, Place};
use crate::config::schema::File;
use crate::control::Handle;
use crate::model::BUCKETS;
use crate::routing::Snapshot;
use crate::routing::explain::{clean, explain};
use crate::telemetry::health::Reloads;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is known of the file that is in force, and of the last edit.
pub(super) struct Story {
    reloads: Arc<Reloads>,
    /// What was in force at the last look.
    snapshot: Option<Arc<Snapshot>>,
    /// The next edit is that of a release, which is told by itself.
    expects_release: bool,
    shares: BTreeMap<Share, f64>,
    /// What each user gets by the file in force, by position; `None` for one that gets nothing.
    pub(super) places: Vec<Option<Place>>,
    /// The users whom the last edit moved, by position.
    moved: Vec<usize>,
    /// When the file in force was put there.
    pub(super) loaded: Instant,
    /// When the shares in force were, by a file or by a rollout.
    pub(super) since: Instant,
    /// What came of the last edit; absent before the first.
    pub(super) edit: Option<Edit>,
    pub(super) taken: u64,
    pub(super) refused: u64,
}

/// What came of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// It is in force; what it changed, one line each.
    Taken { head: String, changes: Vec<String> },
    /// It has an error, and changed nothing.
    Refused { problem: String },
}

/// Service, cohort, variant.
type Share = (String, String, String);

/// Lines of changes, or of moves, that are shown; the rest is counted.
const LINES_MAX: usize = 4;

/// A file that was saved longer ago was not edited but moved here, so that its time says nothing.
const SAVED_AGO_MAX: Duration = Duration::from_secs(10);

impl Story {
    /// The story at its begin.
    pub(super) fn begin(handle: &Handle, crowd: &Crowd) -> Story {
        let snapshot = handle.snapshot();
        Story {
            reloads: handle.health().reloads(),
            snapshot: Some(Arc::clone(&snapshot)),
            expects_release: false,
            shares: shares(&snapshot),
            places: places(handle, &snapshot, crowd),
            moved: Vec::new(),
            loaded: Instant::now(),
            since: Instant::now(),
            edit: None,
            taken: 0,
            refused: 0,
        }
    }

    /// Looks whether the file was taken or refused since the last look; true when there is something to tell.
    pub(super) fn look(&mut self, handle: &Handle, crowd: &Crowd, path: &Path) -> bool {
        let reloads = handle.health().reloads();
        if *reloads == *self.reloads {
            self.follow(handle, crowd);
            return false;
        }
        if std::mem::take(&mut self.expects_release) {
            self.reloads = reloads;
            self.loaded = Instant::now();
            self.follow(handle, crowd);
            return false;
        }
        let before = std::mem::replace(&mut self.reloads, Arc::clone(&reloads));
        self.taken += reloads.applied - before.applied;
        self.refused += reloads.rejected - before.rejected;
        self.edit = Some(match &reloads.problem {
            Some(problem) => Edit::Refused { problem: clean(problem) },
            None => self.take(handle, crowd, path),
        });
        true
    }

    /// The next edit is that of a release.
    pub(super) fn expect_release(&mut self) {
        self.expects_release = true;
    }

    /// A rollout has moved users: nobody is still on the way of an edit.
    fn follow(&mut self, handle: &Handle, crowd: &Crowd) {
        let snapshot = handle.snapshot();
        if self.snapshot.as_ref().is_some_and(|last| Arc::ptr_eq(&snapshot, last)) {
            return;
        }
        self.shares = shares(&snapshot);
        self.places = places(handle, &snapshot, crowd);
        self.snapshot = Some(snapshot);
        self.since = Instant::now();
        self.moved.clear();
    }

    /// What is in force now, compared with what was.
    fn take(&mut self, handle: &Handle, crowd: &Crowd, path: &Path) -> Edit {
        let head = match saved_ago(path, &handle.in_force().named) {
            Some(ago) => format!("edit in force {} ms after you saved it", ago.as_millis()),
            None => "edit in force".to_owned(),
        };
        let snapshot = handle.snapshot();
        self.snapshot = Some(Arc::clone(&snapshot));
        let shares = std::mem::replace(&mut self.shares, shares(&snapshot));
        let places = std::mem::replace(&mut self.places, places(handle, &snapshot, crowd));
        (self.loaded, self.since) = (Instant::now(), Instant::now());
        self.moved = (0..places.len()).filter(|user| places[*user] != self.places[*user]).collect();
        let mut changes = changes(&shares, &self.shares);
        changes.extend(self.moves(&places));
        Edit::Taken { head, changes }
    }

    /// Who moved, from where to where.
    fn moves(&self, before: &[Option<Place>]) -> Vec<String> {
        let all = before.len();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for user in &self.moved {
            *counts.entry(path_of(before[*user].as_ref(), self.places[*user].as_ref())).or_default() += 1;
        }
        let mut moves: Vec<(String, usize)> = counts.into_iter().collect();
        moves.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let lines = match moves.as_slice() {
            [] => vec![format!("none of the {all} users moves")],
            [(path, count)] => vec![format!("{count} of {all} users move: {path}; all others stay")],
            many => {
                let head = format!("{} of {all} users move, all others stay:", self.moved.len());
                std::iter::once(head).chain(many.iter().map(|(path, count)| format!("  {count} {path}"))).collect()
            }
        };
        shortened(lines)
    }

    /// Whether the users are served where the file puts them. Absent when the last edit moved nobody.
    pub(super) fn arrivals(&self, crowd: &Crowd) -> Option<Arrivals> {
        let is_taken = matches!(self.edit, Some(Edit::Taken { .. }));
        if !is_taken || self.moved.is_empty() {
            return None;
        }
        let seen = crowd.seen();
        let has_arrived = |user: &usize| seen[*user] == self.places[*user];
        let arrived = self.moved.iter().filter(|user| has_arrived(user)).count();
        let away = (0..seen.len()).filter(|user| seen[*user].is_some() && !has_arrived(user)).count();
        let moved_away = self.moved.iter().filter(|user| seen[**user].is_some() && !has_arrived(user)).count();
        Some(Arrivals { moved: self.moved.len(), arrived, strayed: away - moved_away })
    }
}

/// How far the moved users are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrivals {
    moved: usize,
    arrived: usize,
    /// Users who should have stayed and are elsewhere: with a fallback, when a variant cannot be reached.
    strayed: usize,
}

impl Arrivals {
    pub(super) fn are_complete(self) -> bool {
        self.arrived == self.moved && self.strayed == 0
    }

    pub(super) fn line(self, dropped: u64) -> String {
        let strayed = match self.strayed {
            0 => "nobody else moved".to_owned(),
            strayed => format!("{strayed} of the others elsewhere (fallback)"),
        };
        format!("seen: {} of {} at their new place, {strayed}, {dropped} requests dropped", self.arrived, self.moved)
    }
}

/// How long ago the newest of the files was saved.
fn saved_ago(path: &Path, named: &BTreeSet<PathBuf>) -> Option<Duration> {
    let files = std::iter::once(path).chain(named.iter().map(PathBuf::as_path));
    let newest = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max()?;
    SystemTime::now().duration_since(newest).ok().filter(|ago| *ago <= SAVED_AGO_MAX)
}

/// What each user gets. Asked as `ringway explain` does, of the code that serves requests.
fn places(handle: &Handle, snapshot: &Snapshot, crowd: &Crowd) -> Vec<Option<Place>> {
    let in_force = handle.in_force();
    let file = &in_force.loaded.file;
    let Some(listener) = file.listeners.first().map(|listener| listener.address) else {
        return vec![None; crowd.users.len()];
    };
    let place = |user: &super::users::User| place(file, snapshot, user, listener);
    crowd.users.iter().map(place).collect()
}

fn place(file: &File, snapshot: &Snapshot, user: &super::users::User, listener: SocketAddr) -> Option<Place> {
    let answer = explain(file, snapshot, &user.imagined(listener)).outcome.ok()?;
    Some(Place { cohort: answer.cohort?, variant: answer.variant? })
}

fn shares(snapshot: &Snapshot) -> BTreeMap<Share, f64> {
    let mut shares = BTreeMap::new();
    for service in &snapshot.services {
        for cohort in &service.cohorts {
            for (position, variant) in service.variants.iter().enumerate() {
                let key = (service.name.to_string(), cohort.name.to_string(), variant.name.to_string());
                shares.insert(key, f64::from(cohort.layout.width_of(position)) / f64::from(BUCKETS));
            }
        }
    }
    shares
}

/// `everyone: stable 95 % → 80 %, canary 5 % → 20 %`, for each cohort whose shares changed.
fn changes(before: &BTreeMap<Share, f64>, after: &BTreeMap<Share, f64>) -> Vec<String> {
    let keys: BTreeSet<&Share> = before.keys().chain(after.keys()).collect();
    let mut cohorts: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for key in keys.into_iter().filter(|key| before.get(key) != after.get(key)) {
        let share = |shares: &BTreeMap<Share, f64>| shares.get(key).map_or("none".to_owned(), |share| percent(*share));
        let change = format!("{} {} → {}", key.2, share(before), share(after));
        cohorts.entry((&key.0, &key.1)).or_default().push(change);
    }
    let lines = cohorts.into_iter().map(|((_, cohort), variants)| format!("{cohort}: {}", variants.join(", ")));
    shortened(lines.collect())
}

/// `everyone stable → canary`, `everyone canary → beta stable`.
fn path_of(from: Option<&Place>, to: Option<&Place>) -> String {
    match (from, to) {
        (Some(from), Some(to)) if from.cohort == to.cohort => {
            format!("{} {} → {}", from.cohort, from.variant, to.variant)
        }
        (from, to) => {
            let name = |place: Option<&Place>| {
                place.map_or("nothing".to_owned(), |place| format!("{} {}", place.cohort, place.variant))
            };
            format!("{} → {}", name(from), name(to))
        }
    }
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX + 1);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("and {} more", more + 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cohort: &str, variant: &str) -> Option<Place> {
        Some(Place { cohort: cohort.to_owned(), variant: variant.to_owned() })
    }

    fn story(before: &[Option<Place>], after: Vec<Option<Place>>) -> Story {
        let moved = (0..before.len()).filter(|user| before[*user] != after[*user]).collect();
        Story {
            reloads: Arc::default(),
            snapshot: None,
            expects_release: false,
            shares: BTreeMap::new(),
            places: after,
            moved,
            loaded: Instant::now(),
            since: Instant::now(),
            edit: Some(Edit::Taken { head: String::new(), changes: Vec::new() }),
            taken: 0,
            refused: 0,
        }
    }

    #[test]
    fn moves_are_counted_by_where_from_and_where_to() {
        let (stable, canary) = (|| place("everyone", "stable"), || place("everyone", "canary"));
        let before = [stable(), stable(), stable(), canary()];
        let moves = |after: Vec<_>| story(&before, after).moves(&before);
        assert_eq!(moves(before.to_vec()), ["none of the 4 users moves"]);
        assert_eq!(
            moves(vec![canary(), canary(), stable(), canary()]),
            ["2 of 4 users move: everyone stable → canary; all others stay"]
        );
        assert_eq!(
            moves(vec![canary(), canary(), place("beta", "stable"), None]),
            [
                "4 of 4 users move, all others stay:",
                "  2 everyone stable → canary",
                "  1 everyone canary → nothing",
                "  1 everyone stable → beta stable"
            ]
        );
    }

    #[test]
    fn changes_name_what_was_and_what_is() {
        let key = |variant: &str| ("shop".to_owned(), "everyone".to_owned(), variant.to_owned());
        let before = BTreeMap::from([(key("stable"), 0.95), (key("canary"), 0.05)]);
        let after = BTreeMap::from([(key("stable"), 0.95), (key("canary"), 0.0), (key("v43"), 0.05)]);
        assert_eq!(changes(&before, &after), ["everyone: canary 5 % → 0 %, v43 none → 5 %"]);
        assert_eq!(changes(&before, &before), [""; 0]);
    }

    #[test]
    fn long_lists_are_counted() {
        let lines = |count: usize| shortened((0..count).map(|n| n.to_string()).collect());
        assert_eq!(lines(5), ["0", "1", "2", "3", "4"]);
        assert_eq!(lines(7), ["0", "1", "2", "3", "and 3 more"]);
    }

    #[test]
    fn users_have_arrived_when_they_were_served_where_the_file_puts_them() {
        let (stable, canary) = (|| place("everyone", "stable"), || place("everyone", "canary"));
        let crowd = Crowd::new();
        let all = crowd.users.len();
        let before = vec![stable(); all];
        let mut after = before.clone();
        after[0] = canary();
        let story = story(&before, after);
        let arrivals = || story.arrivals(&crowd).unwrap();
        crowd.seen().fill(stable());
        assert_eq!(arrivals(), Arrivals { moved: 1, arrived: 0, strayed: 0 });
        crowd.seen()[0] = canary();
        assert!(arrivals().are_complete());
        crowd.seen()[1] = canary();
        assert_eq!(arrivals().strayed, 1);
        assert!(arrivals().line(0).contains("1 of the others elsewhere"), "{}", arrivals().line(0));
    }
}
