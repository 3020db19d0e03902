//! `ringway demo`: the real proxy before two versions of a sample service, with users, in one process.
//!
//! ```text
//! users ──X-Forwarded-For, cookies──▶ proxy ──▶ stable (v41), canary (v42)
//!   ▲ what each of them got             ▲ ringway.yaml, which a person edits
//!   └───────── picture, once a second ──┘◀── releases, one after the other
//! ```
//!
//! Nothing here is part of the proxy. Users and samples are on threads of their own and talk to it over sockets;
//! the picture reads what telemetry recorded, and what the answers told the users.

mod file;
mod picture;
mod releases;
mod screen;
mod story;
mod table;
mod upstream;
mod users;

use crate::control::{Drill, Handle, Patience, reachable};
use crate::server::{self, Running, StartError};
use file::DemoFile;
use releases::Releases;
use screen::{Line, Look, Screen};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::Story;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use upstream::Upstreams;
use users::{Crowd, Traffic};

/// What a demo should be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files are.
    pub dir: PathBuf,
    /// The port of the listener; another one when it is taken. Default: 8080.
    pub port: Option<u16>,
    /// Requests a second.
    pub rate: u32,
    /// When it ends by itself.
    pub run_for: Option<Duration>,
    /// Lines rather than a picture, even on a terminal.
    pub is_plain: bool,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file of the demo cannot be written.
    #[error("cannot write {path}: {error}; --dir DIR puts the demo's files elsewhere")]
    Write {
        /// Which one.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// No port of this machine can be had.
    #[error("no port can be bound on 127.0.0.1: {0}")]
    Ports(io::Error),
    /// The proxy cannot start.
    #[error("{0}")]
    Start(StartError),
    /// Threads or signals cannot be had.
    #[error("cannot start the demo: {0}")]
    System(io::Error),
    /// Nobody can see it.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// How often the demo looks whether the file was taken or refused.
const LOOK: Duration = Duration::from_millis(20);

/// What is in flight at the end may take this long: the demo's own requests take milliseconds.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Starts, when ports that were free a moment ago are taken.
const STARTS_MAX: usize = 3;

/// A demo that runs.
struct Demo {
    options: Options,
    file: DemoFile,
    running: Running,
    /// Where the control room is, with what signs one browser in.
    control_room: Option<String>,
    handle: Handle,
    crowd: Arc<Crowd>,
    story: Story,
    releases: Releases,
    /// Of the last edit, where lines are written.
    has_told_arrivals: bool,
    began: Instant,
    /// How this program was called.
    program: String,
}

/// Runs the demo until somebody or its time ends it.
///
/// # Errors
/// It cannot start, or standard output cannot be written. A reader of it that has gone is an end like any other.
pub fn run(options: &Options) -> Result<(), DemoError> {
    // 1. the file, the samples, and the proxy
    let drill = Arc::new(Drill::default());
    let (file, running, upstreams) = start(options, &drill)?;

    // 2. the users
    let (handle, crowd) = (running.handle(), Crowd::new());
    let (story, releases) = (Story::begin(&handle, &crowd), Releases::begin(&file, &drill));
    let (options, began, program) = (options.clone(), Instant::now(), program());
    let (has_told_arrivals, control_room) = (false, running.sign_in_url());
    let mut demo = Demo {
        options,
        file,
        running,
        control_room,
        handle,
        crowd,
        story,
        releases,
        has_told_arrivals,
        began,
        program,
    };
    let traffic = Traffic::start(&demo.crowd, demo.listener(), demo.options.rate).map_err(DemoError::System)?;

    // 3. the picture, until the end
    let mut screen = Screen::new(demo.options.is_plain).map_err(DemoError::Output)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DemoError::System)?;
    let shown = runtime.block_on(demo.show(&mut screen, &traffic, &upstreams));

    // 4. users first, then the proxy, and the samples last: nothing that was sent is lost
    drop(traffic);
    let summary = demo.summary(screen.size().0);
    demo.running.drain();
    let _ = demo.running.wait();
    drop(upstreams);
    match shown.and_then(|()| screen.say(&summary).map_err(DemoError::Output)) {
        Err(DemoError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn start(options: &Options, drill: &Arc<Drill>) -> Result<(DemoFile, Running, Upstreams), DemoError> {
    let mut starts = 1;
    loop {
        let mut file = DemoFile::open(&options.dir, options.port)?;
        let upstreams = Upstreams::start(&file.loaded.file, drill, &mut file.notes).map_err(DemoError::System)?;
        // somebody took a port meanwhile; his versions are not ours to release
        if file.form.is_some() && !upstreams.are_complete() && starts < STARTS_MAX {
            starts += 1;
            continue;
        }
        let patience = Patience { drain: DRAIN_MAX, ..Patience::default() };
        let drill = Some(Arc::clone(drill));
        match server::start(&server::Options { patience, drill, is_demo: true, ..server::Options::new(&file.path) }) {
            Ok(running) => return Ok((file, running, upstreams)),
            Err(StartError::Bind { .. }) if file.form.is_some() && starts < STARTS_MAX => starts += 1,
            Err(error) => return Err(DemoError::Start(error)),
        }
    }
}

impl Demo {
    async fn show(&mut self, screen: &mut Screen, traffic: &Traffic, upstreams: &Upstreams) -> Result<(), DemoError> {
        let mut signals = Signals::new().map_err(DemoError::System)?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = tokio::time::sleep(self.options.run_for.unwrap_or(Duration::MAX));
        tokio::pin!(end);
        self.greet(screen).map_err(DemoError::Output)?;
        loop {
            tokio::select! {
                () = signals.stop() => return Ok(()),
                () = &mut end => return Ok(()),
                _ = look.tick() => {
                    if self.handle.health().is_draining() {
                        return Ok(());
                    }
                    if self.story.look(&self.handle, &self.crowd, &self.file.path) {
                        traffic.follow(self.listener());
                        self.has_told_arrivals = false;
                        self.tell(screen, &self.edit()).map_err(DemoError::Output)?;
                    }
                    let news = self.releases.look(&self.handle.rollouts());
                    if !news.is_empty() {
                        self.tell(screen, &news).map_err(DemoError::Output)?;
                    }
                }
                _ = second.tick() => {
                    if self.releases.ship(upstreams)? {
                        self.story.expect_release();
                    }
                    let lines = self.second_lines();
                    self.tell(screen, &lines).map_err(DemoError::Output)?;
                }
            }
        }
    }

    /// What lines say each second: the figures, and once that all who moved have arrived.
    fn second_lines(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some((true, line)) = self.arrivals()
            && !std::mem::replace(&mut self.has_told_arrivals, true)
        {
            lines.push(line);
        }
        lines.push((Look::Normal, self.ticker()));
        lines
    }

    fn greet(&self, screen: &mut Screen) -> io::Result<()> {
        if screen.is_live() { Ok(()) } else { screen.say(&self.greeting()) }
    }

    /// Draws the picture; where there is none, writes these lines.
    fn tell(&self, screen: &mut Screen, lines: &[Line]) -> io::Result<()> {
        if screen.is_live() { screen.draw(&self.picture(screen.size())) } else { screen.say(lines) }
    }

    /// Where the first listener of the file really is.
    fn listener(&self) -> SocketAddr {
        let in_force = self.handle.in_force();
        let first = in_force.loaded.file.listeners.first().and_then(|first| in_force.listeners.get(&first.address));
        let at_start = || self.running.listeners.first().map(|(_, bound)| bound);
        first.or_else(at_start).map_or(SocketAddr::from(([127, 0, 0, 1], file::PORT_DEFAULT)), |at| reachable(*at))
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl DemoError {
    fn write(path: &Path, error: io::Error) -> DemoError {
        DemoError::Write { path: path.display().to_string(), error }
    }
}

/// How this program was called, for lines that people paste.
fn program() -> String {
    let called = std::env::args_os().next().and_then(|name| OsString::into_string(name).ok());
    called.filter(|name| name.chars().count() <= 24 && !name.contains(' ')).unwrap_or_else(|| "ringway".to_owned())
}

/// A share as people write it: `95 %`, `33.33 %`, `0.0001 %`.
fn percent(share: f64) -> String {
    let decimals = if share < 0.01 { 4 } else { 2 };
    let text = format!("{:.decimals$}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_as_people_do() {
        let cases = [(1.0, "100 %"), (0.95, "95 %"), (1.0 / 3.0, "33.33 %"), (0.000_001, "0.0001 %"), (0.0, "0 %")];
        cases.iter().for_each(|(share, text)| assert_eq!(percent(*share), *text));
    }
}
