//! What people see of the demo, in words.

use super::Demo;
use super::screen::{Line, Look};
use super::story::Edit;
use super::table::{Row, render, rows};
use crate::model::grouped;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Figures reach back to the last change of shares, and at most so many seconds.
const WINDOW_SECONDS_MAX: u64 = 60;

/// A terminal from which on the columns of the table stand further apart.
const WIDE_COLUMNS: u16 = 96;

impl Demo {
    /// Where to look, and what to edit.
    fn doors(&self) -> Vec<Line> {
        let line = |name: &str, text: String| (Look::Normal, format!("  {name:<8} {text}"));
        let rev = self.handle.snapshot().rev.to_string();
        let edit = format!("{}   (rev {rev}, loaded {} ago)", self.path(), span(self.story.loaded.elapsed()));
        let mut lines = vec![
            line("open", self.url()),
            line("control", self.control_room.clone().unwrap_or_else(|| format!("http://{}/", self.running.admin))),
            line("edit", edit),
            line("metrics", format!("http://{}/metrics", self.running.telemetry)),
        ];
        lines.extend(self.file.notes.iter().map(|note| (Look::Quiet, format!("  note     {note}"))));
        lines
    }

    /// What is said once, before anything happens.
    pub(super) fn greeting(&self) -> Vec<Line> {
        let (users, rate) = (self.crowd.users.len(), self.options.rate);
        let head = format!("ringway demo: {users} users, {rate} requests/s, Ctrl-C ends");
        let mut lines = vec![(Look::Title, head)];
        lines.extend(self.doors());
        lines.push((Look::Quiet, "  break    the button of the control room, or, in a shell:".to_owned()));
        let path = format!("http://{}/api/v1/demo/canary", self.running.admin);
        lines.push((
            Look::Quiet,
            format!("           curl -H content-type:application/json -d '{{\"errors\":0.5}}' {path}"),
        ));
        lines
    }

    /// The whole picture, for a terminal of so many columns and rows.
    pub(super) fn picture(&self, (columns, rows): (u16, u16)) -> Vec<Line> {
        let mut lines = vec![(Look::Title, self.headline(columns))];
        lines.extend(self.doors());
        lines.push(Line::default());
        lines.extend(self.releases.progress());
        lines.extend(self.releases.news.iter().cloned().flat_map(|line| wrapped(line, columns)));
        lines.push(Line::default());
        let story = self.edit().into_iter().chain(self.arrivals().map(|(_, line)| line));
        lines.extend(story.flat_map(|line| wrapped(line, columns)));
        lines.push(Line::default());
        lines.extend(self.table(columns));
        let hints = self.hints();
        if lines.len() + hints.len() < usize::from(rows) {
            lines.extend(hints);
        }
        lines
    }

    /// What came of the last edit.
    pub(super) fn edit(&self) -> Vec<Line> {
        match &self.story.edit {
            None => vec![(Look::Quiet, "• no edit yet: change a weight in the file and save it".to_owned())],
            Some(Edit::Taken { head, changes }) => {
                let changes = changes.iter().map(|change| (Look::Normal, format!("  {change}")));
                std::iter::once((Look::Good, format!("✔ {head}"))).chain(changes).collect()
            }
            Some(Edit::Refused { problem }) => vec![
                (Look::Bad, "✘ edit refused, nothing changed".to_owned()),
                (Look::Normal, format!("  {problem}")),
                (Look::Normal, format!("  correct it and save; all errors: {} check -c {}", self.program, self.path())),
            ],
        }
    }

    /// How far the users are whom the last edit moved, and whether all of them are there.
    pub(super) fn arrivals(&self) -> Option<(bool, Line)> {
        let arrivals = self.story.arrivals(&self.crowd)?;
        let are_complete = arrivals.are_complete();
        let look = if are_complete { Look::Good } else { Look::Normal };
        Some((are_complete, (look, format!("  {}", arrivals.line(self.dropped())))))
    }

    /// One line of figures: the share of each cohort that does not get the remainder.
    pub(super) fn ticker(&self) -> String {
        let rows = rows(&self.handle, &self.crowd, self.window_seconds());
        let rps: f64 = rows.iter().map(|row| row.stats.rps).sum();
        let news = rows.iter().filter(|row| !row.is_remainder && !row.is_idle());
        let share = |row: &Row| {
            let actual = row.actual.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
            format!("{} {} {actual}", row.cohort, row.variant)
        };
        let shares: Vec<String> = news.map(share).collect();
        let dropped = self.dropped();
        format!("{:>4} {rps:.0} requests/s, {dropped} dropped; {}", span(self.began.elapsed()), shares.join(", "))
    }

    /// What is said at the end.
    pub(super) fn summary(&self, columns: u16) -> Vec<Line> {
        let (answered, failed) =
            (self.crowd.answered.load(Ordering::Relaxed), self.crowd.failed.load(Ordering::Relaxed));
        let ran = span(self.began.elapsed());
        let head = format!(
            "ringway demo: {} requests in {ran}, {} answered with an error, {} dropped",
            grouped(answered),
            grouped(failed),
            self.dropped()
        );
        let (promoted, back) = (self.releases.promoted, self.releases.taken_back);
        let story = format!(
            "releases: {promoted} out, {back} taken back; edits: {} taken, {} refused",
            self.story.taken, self.story.refused
        );
        let mut lines = vec![(Look::Title, head), (Look::Normal, story), Line::default()];
        lines.extend(self.table(columns));
        let next = format!("for your own service: {} init, then docs/guides/first-split.md", self.program);
        lines.extend([Line::default(), (Look::Quiet, format!("the file stays: {}", self.path())), (Look::Quiet, next)]);
        lines
    }

    fn headline(&self, columns: u16) -> String {
        let left = "ringway demo, Ctrl-C ends";
        let requests = grouped(self.crowd.answered.load(Ordering::Relaxed));
        let right = format!("{requests} requests, {} dropped", self.dropped());
        let width = usize::from(columns.min(WIDE_COLUMNS)).saturating_sub(left.len() + 2);
        format!("{left}  {right:>width$}")
    }

    fn table(&self, columns: u16) -> Vec<Line> {
        let seconds = self.window_seconds();
        let rows = rows(&self.handle, &self.crowd, seconds);
        let gap = if columns >= WIDE_COLUMNS { 2 } else { 1 };
        let look = |row: &Row| match row {
            row if row.is_idle() => Look::Quiet,
            row if row.is_remainder => Look::Normal,
            _ => Look::New,
        };
        let looks = std::iter::once(Look::Title).chain(rows.iter().map(look));
        let lines = looks.zip(render(&rows, gap));
        let seconds = self.handle.with_windows(|windows| windows.covered_seconds(seconds));
        let note = format!("the last {seconds} s, at most {WINDOW_SECONDS_MAX} and not before the shares last changed");
        lines.chain([(Look::Quiet, note)]).collect()
    }

    /// Only seconds that began after the last change of shares: the windows hold whole seconds, and the first may
    /// be half before it.
    fn window_seconds(&self) -> u64 {
        self.story.since.elapsed().as_secs().saturating_sub(1).clamp(1, WINDOW_SECONDS_MAX)
    }

    fn hints(&self) -> Vec<Line> {
        let (url, program, path) = (self.url(), &self.program, self.path());
        vec![
            Line::default(),
            (Look::Quiet, "in another terminal:".to_owned()),
            (Look::Normal, format!("  curl -i -H 'cookie: uid=alice' {url}")),
            (Look::Normal, format!("  curl -i -H 'x-forwarded-for: 203.0.113.9' {url}")),
            (Look::Normal, format!("  {program} explain -c {path} shop --user alice")),
        ]
    }

    fn url(&self) -> String {
        format!("http://{}/", self.listener())
    }

    fn path(&self) -> String {
        self.file.path.display().to_string()
    }

    fn dropped(&self) -> u64 {
        self.crowd.dropped.load(Ordering::Relaxed)
    }
}

/// `7s`, `2m 5s`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m {}s", seconds / 60, seconds % 60),
    }
}

/// A line in pieces that fit, broken at blanks; what continues one is indented. A word that is too long stays whole.
fn wrapped((look, text): Line, columns: u16) -> Vec<Line> {
    let width = usize::from(columns);
    let indent = " ".repeat(text.len() - text.trim_start().len());
    let mut pieces = Vec::new();
    let mut piece = indent.clone();
    for word in text.split_whitespace() {
        let is_empty = piece.len() == piece.chars().take_while(|c| *c == ' ').count();
        if !is_empty && piece.chars().count() + 1 + word.chars().count() > width {
            pieces.push((look, std::mem::replace(&mut piece, format!("{indent}  "))));
        } else if !is_empty {
            piece.push(' ');
        }
        piece += word;
    }
    pieces.push((look, piece));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_blanks_and_keep_their_indentation() {
        let wrap =
            |text: &str| wrapped((Look::Bad, text.to_owned()), 12).into_iter().map(|line| line.1).collect::<Vec<_>>();
        assert_eq!(wrap("  short"), ["  short"]);
        assert_eq!(wrap("  one two three"), ["  one two", "    three"]);
        assert_eq!(wrap("  averyveryverylongword b"), ["  averyveryverylongword", "    b"]);
        assert_eq!(wrap(""), [""]);
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(
            (span(Duration::from_millis(7_900)), span(Duration::from_secs(125))),
            ("7s".to_owned(), "2m 5s".to_owned())
        );
    }
}
