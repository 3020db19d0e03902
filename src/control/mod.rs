//! The hands: one thread that watches files, reloads, looks up names, and keeps the clock.
//!
//! ```text
//! watch ──changed──▶ ┌──────────────┐ ──publish──▶ snapshot ◀── the next request loads it
//! admin, signals ──▶ │ control loop │ ──listen, close, drain──▶ workers
//! one second ──────▶ └──────────────┘ ──▶ windows, metrics
//! ```
//!
//! Requests never wait for it: with this thread gone, the workers serve their last snapshot.

mod address;
mod certificates;
pub mod client;
mod drain;
mod drill;
pub mod events;
mod export;
mod facts;
mod files;
mod handle;
mod health;
mod imagined;
pub mod journal;
mod leftovers;
mod looks;
mod memory;
mod mount;
mod notes;
pub(crate) mod notify;
mod outcome;
pub(crate) mod outside;
pub mod permanent;
mod plane;
pub mod plans;
mod posted;
mod rehearsal;
pub mod reload;
mod resolve;
mod rollouts;
mod services;
pub mod supervisor;
mod watch;
mod weights;

pub use address::{ADMIN_DEFAULT, AdminAddress, Doors, TELEMETRY_DEFAULT, reachable, telemetry_address};
pub use drain::Ended;
pub use drill::{DRILL_DELAY_MAX, Drill};
pub use files::{Digests, Files, Fingerprint};
pub use handle::{By, Handle, Request, Requests};
pub use imagined::{Draft, WeightTrial, draft, in_force_again, with_trial};
pub use leftovers::{known_traffic, leftover_warnings};
pub use looks::{Look, Looks, OfGate};
pub use memory::{CONTROL_GROUPS, Memory};
pub use mount::warning as mount_warning;
pub use notes::event_of_process;
pub use outcome::{Applied, Cause, Rehearsed, Rejected, ReloadResult};
pub use plane::{DataPlane, Dialer};
pub use posted::{EVENTS_MAX, OutcomeEvent, PostError, PostedCount, PostedEvents};
pub use rehearsal::rehearse;
pub use reload::{Common, InForce, State};
pub use rollouts::{
    Ask, BAND_ALPHA, CohortView, GateView, Given, Progress, RolloutView, Rollouts, StepPreview, StepView, Trial,
    gate_defaults, judge_rules, previews,
};
pub use services::{EndpointView, drained_in_words, endpoints};
pub use watch::{Pace, Watch};
pub use weights::Weights;

use crate::rollout::effect::Event;
use drain::{Drain, Effect, Happened};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervisor::News;
use tokio::time::{MissedTickBehavior, interval};

/// How long the loop may wait before it looks whether all workers have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How often the use of memory is looked at, where it has a limit.
const MEMORY_EVERY: Duration = Duration::from_millis(200);
/// A period for a timer that nobody looks at.
const UNWATCHED: Duration = Duration::from_secs(3600);

/// How patient the control thread is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Of the watch.
    pub pace: Pace,
    /// What is in flight may take at most this long once the process drains.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { pace: Pace::default(), drain: Duration::from_secs(30) }
    }
}

/// Runs the control loop until the process ends. Awaits `permission` before connections are accepted, and calls
/// `started` when all listeners do.
///
/// # Errors
/// The permission was refused; nothing has been accepted.
///
/// Must be called within a Tokio runtime whose blocking pool has some 60 threads: look-ups of names that nobody
/// answers hold theirs for the system's own patience.
pub async fn run<E>(
    mut state: State,
    sockets: BTreeMap<SocketAddr, Vec<TcpListener>>,
    mut requests: Requests,
    patience: Patience,
    permission: impl Future<Output = Result<(), E>>,
    started: impl FnOnce(),
) -> Result<Ended, E> {
    // 1. names first: a request that comes before them would find no endpoint
    let unresolved = resolve::unresolved(&state.common.upstreams);
    let failures = resolve::resolve_within(unresolved, resolve::FIRST_TIME_MAX).await;
    tokio::spawn(resolve::resolve_forever(Arc::clone(&state.common.upstreams), failures));

    permission.await?;

    tokio::spawn(health::check_forever(Arc::clone(&state.common.upstreams)));

    // what rollouts had given is in force before the first request
    state.rollouts.look_back(requests.handle());
    with_rollouts(&mut state, Rollouts::start);
    state.follow_traces();
    requests.handle().show(&state.rollouts);

    // 2. the clock of the windows
    let clock = tokio::spawn(tick_windows(requests.handle()));

    // 3. connections
    for (address, sockets) in sockets {
        state.plane.listen(address, sockets);
    }
    state.common.health.start();
    started();

    // 4. whatever comes
    if let Some(warning) = mount::warning(&state.common.config) {
        tracing::warn!("{warning}");
    }
    let ended = serve(&mut state, &mut requests, patience).await;
    if ended != Ended::Interrupted {
        state.export.flush(export::FLUSH_MAX).await;
    }
    clock.abort();
    Ok(ended)
}

async fn serve(state: &mut State, requests: &mut Requests, patience: Patience) -> Ended {
    let mut watch = Watch::start(state.files.clone(), state.looked_at, patience.pace);
    let mut drain = Drain::default();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(DRAIN_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sample = interval(MEMORY_EVERY);
    sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watched = supervisor::alive_every();
    let mut alive = interval(watched.unwrap_or(UNWATCHED));
    loop {
        let happened = tokio::select! {
            biased;
            request = requests.next() => match request {
                Request::Drain(by) => stop(state, &drain, by),
                Request::Note(event) => {
                    note(state, event);
                    continue;
                }
                Request::Sockets(answer) => {
                    let _ = answer.send(state.plane.sockets());
                    continue;
                }
                Request::HandOver(id, answer) => {
                    let happened = hand_over(state, &drain, id);
                    let _ = answer.send(());
                    happened
                }
                Request::Reload(cause, by, answer) => {
                    // whoever asked may have gone
                    let _ = answer.send(reload(state, requests, &mut watch, cause, by).await);
                    continue;
                }
                asked @ (Request::Rollout(..) | Request::Posted(..)) => {
                    ask_rollouts(state, requests, asked);
                    continue;
                }
            },
            () = watch.changed(), if !drain.has_begun() => {
                reload(state, requests, &mut watch, Cause::Changed, None).await;
                continue;
            }
            _ = second.tick() => {
                with_rollouts(state, Rollouts::second);
                state.common.upstreams.tell_drained();
                requests.handle().show(&state.rollouts);
                state.tell_metrics();
                passed(state)
            }
            _ = look.tick(), if drain.has_begun() => passed(state),
            _ = sample.tick(), if state.guards_memory() => {
                state.look_at_memory();
                continue;
            }
            _ = alive.tick(), if watched.is_some() => {
                supervisor::tell(News::Alive);
                continue;
            }
        };
        match drain.step(happened, Instant::now(), patience.drain) {
            Some(Effect::Begin) => begin_drain(state, patience.drain),
            Some(Effect::Leave(ended)) => return ended,
            None => {}
        }
    }
}

/// Asks of rollouts what is theirs to answer; whoever asked may have gone.
fn ask_rollouts(state: &mut State, requests: &Requests, asked: Request) {
    match asked {
        Request::Rollout(ask, answer) => {
            let service = ask.service.clone();
            let answered = with_rollouts(state, |rollouts, state| rollouts.ask(state, ask));
            requests.handle().show_one(&state.rollouts, &service);
            let _ = answer.send(answered);
        }
        Request::Posted(posted, answer) => drop(answer.send(state.rollouts.post(&posted))),
        _ => {}
    }
}

/// Loads the files again. Rollouts compare those that are in force then, and the audit log has what came of it.
async fn reload(
    state: &mut State,
    requests: &Requests,
    watch: &mut Watch,
    cause: Cause,
    by: Option<By>,
) -> ReloadResult {
    let result = reload::reload(state, cause).await;
    // first, because a note waits for the disk: until then the new file is in force, and with it what it supersedes
    with_rollouts(state, Rollouts::reloaded);
    if let Some(event) = notes::of_reload(cause, by, &result) {
        note(state, event);
    }
    requests.handle().show(&state.rollouts);
    watch.follow(state.files.clone(), state.looked_at);
    result
}

fn stop(state: &mut State, drain: &Drain, by: Option<By>) -> Happened {
    if !drain.has_begun() {
        note(state, notes::of_drain(by));
    }
    Happened::Stop
}

/// The audit log is kept with the rollouts.
fn note(state: &mut State, event: Event) {
    with_rollouts(state, |rollouts, state| rollouts.note(state, event));
}

/// Rollouts change the state that they are a part of.
fn with_rollouts<T>(state: &mut State, act: impl FnOnce(&mut Rollouts, &mut State) -> T) -> T {
    let mut rollouts = std::mem::take(&mut state.rollouts);
    let done = act(&mut rollouts, state);
    state.rollouts = rollouts;
    done
}

/// Another process serves now. The service manager is told before this one ends, so that it follows the other.
fn hand_over(state: &mut State, drain: &Drain, id: u32) -> Happened {
    tracing::info!(to = id, "another process has taken over");
    supervisor::tell(News::HandedOver(id));
    state.is_handed_over = true;
    with_rollouts(state, Rollouts::hand_over);
    // a process that drains already goes on with that, and is not cut
    if drain.has_begun() { passed(state) } else { Happened::Stop }
}

fn begin_drain(state: &mut State, timeout: Duration) {
    tracing::info!(timeout_s = timeout.as_secs(), "draining: no new connections, finishing what is in flight");
    if !state.is_handed_over {
        // else the service is as ready as before, by another process
        state.common.health.drain();
        supervisor::tell(News::Stopping);
    }
    state.plane.drain();
}

fn passed(state: &State) -> Happened {
    let (_, at_work) = state.plane.workers();
    Happened::Passed { all_ended: at_work == 0 }
}

/// A task of its own, so that seconds are counted while a reload is under way.
async fn tick_windows(handle: Handle) {
    let began = Instant::now();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        second.tick().await;
        // the first tick has second 1: the windows know of no time before
        handle.tick(began.elapsed().as_secs() + 1);
    }
}

/// The files that a process with this configuration depends on, as far as is known before it is read.
pub fn files_of(config: &Path) -> Files {
    Files { config: config.to_owned(), named: Default::default() }
}
