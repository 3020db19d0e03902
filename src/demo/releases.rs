//! One release after the other, as a team with a pipeline makes them: a good one, then one that hurts a region.
//!
//! The pipeline edits the file and nothing else: what goes where, and what is taken back, is up to the rollout. When
//! somebody else has edited the file, the pipeline leaves it alone.

use super::DemoError;
use super::file::{DemoFile, Form, Release};
use super::screen::{Line, Look};
use super::upstream::{Deployed, Upstreams};
use crate::control::{Drill, RolloutView};
use crate::rollout::state::Phase;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The releases of a demo.
pub(super) struct Releases {
    path: PathBuf,
    /// What the file says; `None` once it is somebody else's.
    form: Option<Form>,
    drill: Arc<Drill>,
    /// The release as it was last seen.
    view: Option<Arc<RolloutView>>,
    began: Instant,
    /// When the last one was over, one way or the other.
    ended: Option<Instant>,
    /// What was told last, newest last.
    pub(super) news: Vec<Line>,
    pub(super) promoted: u64,
    pub(super) taken_back: u64,
}

/// Between the end of a release and the next one: time to read what happened.
const PAUSE: Duration = Duration::from_secs(10);

/// Every second release has a mistake that these users meet.
const FLAWED_FOR: &str = "asia";

/// News that a picture shows.
const NEWS_MAX: usize = 3;

impl Releases {
    /// The first release begins with the file.
    pub(super) fn begin(file: &DemoFile, drill: &Arc<Drill>) -> Releases {
        Releases {
            path: file.path.clone(),
            form: file.form,
            drill: Arc::clone(drill),
            view: None,
            began: Instant::now(),
            ended: None,
            news: Vec::new(),
            promoted: 0,
            taken_back: 0,
        }
    }

    /// What has happened since the last look, one line each.
    pub(super) fn look(&mut self, now: &[Arc<RolloutView>]) -> Vec<Line> {
        let Some(now) = now.first() else { return Vec::new() };
        let before = self.view.replace(Arc::clone(now));
        let before = before.filter(|before| before.id == now.id);
        let mut lines = Vec::new();
        if before.is_none() {
            (self.began, self.ended) = (Instant::now(), None);
            let rings: Vec<&str> = now.cohorts.iter().map(|cohort| cohort.name.as_str()).collect();
            lines.push((Look::Title, format!("▸ {} begins: {}", now.id, rings.join(", then "))));
        }
        let was = before.as_ref().map(|before| before.phase);
        let has_turned = was != Some(now.phase);
        match now.phase {
            Phase::Progressing | Phase::Holding | Phase::Idle => lines.extend(risen(before.as_deref(), now)),
            Phase::Promoted if has_turned => {
                self.promoted += 1;
                lines.extend(risen(before.as_deref(), now));
                let took = self.began.elapsed().as_secs();
                lines.push((Look::Good, format!("✔ {} is out to everyone after {took}s", now.id)));
            }
            Phase::RolledBack if has_turned || before.is_some_and(|before| before.why != now.why) => {
                self.taken_back += 1;
                lines.push((Look::Bad, format!("✘ {}", now.why)));
            }
            Phase::Paused | Phase::AwaitingApproval | Phase::AwaitingWindow | Phase::Superseded if has_turned => {
                lines.push((Look::Normal, format!("• {}: {} {}", now.id, now.phase.as_str(), now.why)));
            }
            _ => {}
        }
        let is_over = matches!(now.phase, Phase::Promoted | Phase::RolledBack | Phase::Superseded);
        if is_over && (has_turned || self.ended.is_none()) {
            self.ended = Some(Instant::now());
        }
        self.news.extend(lines.iter().cloned());
        let old = self.news.len().saturating_sub(NEWS_MAX);
        self.news.drain(..old);
        lines
    }

    /// The next release, when the last one has been over for a while; true when the file was edited for it.
    pub(super) fn ship(&mut self, upstreams: &Upstreams) -> Result<bool, DemoError> {
        let is_time = self.ended.is_some_and(|ended| ended.elapsed() >= PAUSE);
        let (Some(form), Some(phase), true) = (self.form, self.view.as_ref().map(|view| view.phase), is_time) else {
            return Ok(false);
        };
        if phase == Phase::Superseded || !form.is_at(&self.path) {
            self.form = None;
            return Ok(false);
        }
        let next = next(form, phase == Phase::Promoted);
        let deployed = |release: Release, is_new| {
            let flaw_for = is_flawed(release.version).then_some(FLAWED_FOR).filter(|_| is_new);
            Deployed { version: format!("v{}", release.version), is_new, flaw_for }
        };
        self.drill.set(0.0, Duration::ZERO);
        upstreams.deploy(next.stable.port, &deployed(next.stable, false));
        upstreams.deploy(next.canary.port, &deployed(next.canary, true));
        next.write_to(&self.path)?;
        self.form = Some(next);
        self.ended = None;
        Ok(true)
    }

    /// Where the release is, in two lines.
    pub(super) fn progress(&self) -> Vec<Line> {
        let Some(view) = &self.view else { return Vec::new() };
        let why = match view.phase {
            Phase::RolledBack | Phase::Promoted => String::new(),
            _ if view.why.is_empty() => String::new(),
            _ => format!(": {}", view.why),
        };
        let head = format!("{}   {}, step {} of {}{why}", view.id, view.phase.as_str(), view.step, view.steps);
        let ring = |cohort: &crate::control::CohortView| {
            let share = cohort.share.as_f64();
            let sign = if share >= 100.0 {
                "✔"
            } else if share > 0.0 {
                "▸"
            } else {
                "•"
            };
            format!("{sign} {} {} %", cohort.name, cohort.share)
        };
        let rings: Vec<String> = view.cohorts.iter().map(ring).collect();
        vec![(Look::Title, head), (Look::New, format!("  {}", rings.join("   ")))]
    }
}

/// The cohorts whose share has risen.
fn risen(before: Option<&RolloutView>, now: &RolloutView) -> Vec<Line> {
    let last = |name: &str| before?.cohorts.iter().find(|cohort| cohort.name == name).map(|cohort| cohort.share);
    let has_risen = |cohort: &&crate::control::CohortView| {
        !cohort.share.is_zero() && last(&cohort.name).is_none_or(|last| last < cohort.share)
    };
    let line =
        |cohort: &crate::control::CohortView| (Look::New, format!("  {}: {} {} %", now.id, cohort.name, cohort.share));
    now.cohorts.iter().filter(has_risen).map(line).collect()
}

/// What the file says of the next release. Who is out is stable; who was taken back makes room for its repair.
fn next(form: Form, is_out: bool) -> Form {
    let version = form.canary.version + 1;
    match is_out {
        true => Form { stable: form.canary, canary: Release { version, port: form.stable.port }, ..form },
        false => Form { canary: Release { version, ..form.canary }, ..form },
    }
}

/// The first, the third and so on are good.
fn is_flawed(version: u32) -> bool {
    version % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::CohortView;
    use crate::model::Weight;

    fn view(id: &str, phase: Phase, shares: [u32; 2], why: &str) -> RolloutView {
        let cohorts = ["staff", "asia"].iter().zip(shares).map(|(name, share)| CohortView {
            name: (*name).to_owned(),
            share: share.to_string().parse::<Weight>().unwrap(),
            ..CohortView::default()
        });
        let (service, id, why) = ("shop".to_owned(), id.to_owned(), why.to_owned());
        RolloutView { service, id, phase, why, cohorts: cohorts.collect(), ..RolloutView::default() }
    }

    fn releases() -> Releases {
        let dir = tempfile::tempdir().unwrap();
        let file = DemoFile::open(dir.path(), Some(0)).unwrap_or_else(|error| panic!("{error}"));
        Releases::begin(&file, &Arc::default())
    }

    #[test]
    fn a_release_is_told_from_its_begin_to_its_end() {
        let mut releases = releases();
        let mut told = |view| releases.look(&[Arc::new(view)]).into_iter().map(|line| line.1).collect::<Vec<_>>();
        let id = "release-v42";
        assert_eq!(
            told(view(id, Phase::Progressing, [50, 0], "")),
            ["▸ release-v42 begins: staff, then asia", "  release-v42: staff 50 %"]
        );
        assert_eq!(told(view(id, Phase::Progressing, [50, 0], "1s of 3s")), [""; 0]);
        assert_eq!(
            told(view(id, Phase::Progressing, [100, 25], "")),
            ["  release-v42: staff 100 %", "  release-v42: asia 25 %"]
        );
        assert_eq!(
            told(view(id, Phase::Promoted, [100, 100], "")),
            ["  release-v42: asia 100 %", "✔ release-v42 is out to everyone after 0s"]
        );
        assert_eq!(told(view(id, Phase::RolledBack, [100, 0], "rolled back shop/asia")), ["✘ rolled back shop/asia"]);
        assert_eq!(told(view(id, Phase::RolledBack, [100, 0], "rolled back shop/asia")), [""; 0]);
        assert_eq!(told(view(id, Phase::RolledBack, [0, 0], "rolled back shop/staff")), ["✘ rolled back shop/staff"]);
        assert_eq!((releases.promoted, releases.taken_back), (1, 2));
    }

    #[test]
    fn what_is_out_is_stable_and_what_was_taken_back_is_repaired_where_it_is() {
        let first = Form::default();
        let second = next(first, true);
        assert_eq!((second.stable, second.canary.version), (first.canary, 43));
        assert_eq!(second.canary.port, first.stable.port);
        let third = next(second, false);
        assert_eq!((third.stable, third.canary.version, third.canary.port), (first.canary, 44, first.stable.port));
        assert_eq!([42, 43, 44].map(is_flawed), [false, true, false]);
    }
}
