//! `ringway run`: a process in the foreground, with signals and exit codes.

use super::handover::Estate;
use super::{Options, Running, StartError, logs, start, upgrade};
use crate::control::{AdminAddress, Cause, Ended, Handle, ReloadResult};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serves until it is told to stop, and returns the exit code: 0 when all requests in flight were finished or the
/// drain timeout was over, 1 after a second signal, 70 for a bug.
///
/// SIGTERM and SIGINT drain, the second one ends at once; SIGHUP reloads; SIGUSR2 starts the program anew and hands
/// over to it.
///
/// # Errors
/// It cannot start as it is configured. Whoever asked says so.
pub fn run(options: &Options) -> Result<u8, StartError> {
    logs::start(options.log_format);
    logs::log_panics();
    // The signals are awaited here, apart from the control thread: were that gone, they would still end the process.
    let signals = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let signals = signals.map_err(super::system)?;
    let options = Options { takeover: options.takeover.or_of_environment(), ..options.clone() };
    // before anybody may think that we listen to them: the default of each is to end the process
    let awaited = signals.block_on(async { Signals::await_all() }).map_err(super::system)?;
    let running = start(&options)?;
    tell_doors(&running);
    // a file from standard input cannot be read twice
    let can_start_again = options.config != Path::new("-");
    let code = signals.block_on(serve(running, awaited, can_start_again));
    signals.shutdown_timeout(Duration::ZERO);
    Ok(code)
}

fn tell_doors(running: &Running) {
    let snapshot = running.snapshot();
    for (address, bound) in &running.listeners {
        let name = snapshot.rules(address).map_or_else(String::new, |rules| rules.name.to_string());
        tracing::info!(address = %bound, name, "listening");
    }
    tracing::info!(address = %running.telemetry, "telemetry door: /metrics, /livez, /readyz, /startupz");
    if let Some(address) = running.ofrep {
        tracing::info!(%address, "door for feature flags: /ofrep/v1/evaluate/flags");
    }
    tell_admin(running);
    if let Some(url) = running.sign_in_url() {
        let minutes = crate::admin::LINK_TIME_MAX.as_secs() / 60;
        tracing::info!(url, minutes, "open this in a browser to sign in, once; `ringway dashboard` makes another link");
    }
    let (services, workers) = (snapshot.services.len(), running.workers);
    let in_force = running.handle().in_force();
    for warning in crate::control::reload::warnings(&in_force.loaded) {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), rev = &*snapshot.rev, services, workers, "ready");
}

/// Who can reach the admin door, and how it is spoken to.
fn tell_admin(running: &Running) {
    let in_force = running.handle().in_force();
    let is_tls = in_force.loaded.file.admin.as_ref().is_some_and(|admin| admin.tls.is_some());
    let address = &running.admin;
    match address {
        AdminAddress::Tcp(bound) if !bound.ip().is_loopback() && is_tls => {
            tracing::info!(%address, "admin door: other machines, with a token, by https");
        }
        AdminAddress::Tcp(bound) if !bound.ip().is_loopback() => {
            tracing::warn!(%address, "admin door: other machines, with a token, in plain text (`admin.plaintext`)");
        }
        _ => tracing::info!(%address, "admin door: this machine only"),
    }
}

/// The signals that mean something.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    fn await_all() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

async fn serve(running: Running, signals: Signals, can_start_again: bool) -> u8 {
    let Signals { mut terminate, mut interrupt, mut hangup, mut upgrade } = signals;
    let handle = running.handle();
    let estate = Arc::clone(&running.estate);
    let mut end = tokio::task::spawn_blocking(move || running.wait());
    let mut has_lost_control = false;
    let mut stops = 0;
    loop {
        let stop = tokio::select! {
            ended = &mut end, if !has_lost_control => match ended.ok().flatten() {
                Some(ended) => return exit_code(ended),
                None => {
                    has_lost_control = true;
                    tracing::error!("the control thread broke off: requests are served, but nothing can be changed; restart");
                    false
                }
            },
            _ = hangup.recv() => {
                tokio::spawn(reload(handle.clone()));
                false
            }
            _ = upgrade.recv() => {
                start_next(Arc::clone(&estate), can_start_again);
                false
            }
            stop = either(&mut terminate, &mut interrupt) => stop,
        };
        if stop && has_lost_control {
            return 70;
        }
        if stop {
            stops += 1;
            // The first signal after a drain through the door, as after a preStop hook, asks for what is under way.
            if stops == 1 && handle.health().is_draining() {
                tracing::info!("asked to stop: already draining; once more ends at once");
            } else if handle.drain().is_err() && stops > 1 {
                return exit_code(Ended::Interrupted);
            }
        }
    }
}

/// Does not wait: the process serves meanwhile.
fn start_next(estate: Arc<Estate>, can_start_again: bool) {
    if can_start_again {
        tokio::task::spawn_blocking(move || upgrade::start_next(&estate));
    } else {
        tracing::error!("not upgraded: the file came from standard input, which cannot be read again");
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> bool {
    tokio::select! {
        stop = terminate.recv() => stop.is_some(),
        stop = interrupt.recv() => stop.is_some(),
    }
}

/// The result is in the log; only what never got that far is told here.
async fn reload(handle: Handle) {
    let asked = handle.reload(Cause::Signal);
    let result: Option<ReloadResult> = match asked {
        Ok(answered) => answered.await.ok(),
        Err(_) => None,
    };
    if result.is_none() {
        tracing::warn!("not reloaded: the process is ending");
    }
}

fn exit_code(ended: Ended) -> u8 {
    match ended {
        Ended::Clean => {
            tracing::info!("stopped: everything in flight was finished");
            0
        }
        Ended::TimedOut => {
            tracing::warn!("stopped: the drain timeout is over, requests in flight were cut");
            0
        }
        Ended::Interrupted => {
            tracing::warn!("stopped at once: requests in flight were cut");
            1
        }
        Ended::Broken => {
            tracing::error!("stopped: the workers ended by themselves");
            70
        }
    }
}
