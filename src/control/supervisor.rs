//! What a service manager is told (`sd_notify`): systemd, or whoever set `NOTIFY_SOCKET`. Without it, nothing.
//!
//! What cannot be told is no reason to stop: it is logged for those who look for it.

use sd_notify::NotifyState;
use std::time::Duration;

/// Something that the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'n> {
    /// Requests are served, as this line says.
    Ready(&'n str),
    /// A reload has begun; [`News::Ready`] ends it.
    Reloading,
    /// The process finishes what is in flight, and ends.
    Stopping,
    /// Another process has taken over.
    HandedOver(u32),
    /// The process is alive.
    Alive,
    /// What became of an attempt, for people.
    Status(&'n str),
}

/// Tells it.
pub fn tell(news: News<'_>) {
    let told = match news {
        News::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        News::Reloading => {
            NotifyState::monotonic_usec_now().and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]))
        }
        News::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("draining")]),
        News::HandedOver(id) => sd_notify::notify(&[NotifyState::MainPid(id)]),
        News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        News::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
    };
    if let Err(error) = told {
        tracing::debug!(%error, ?news, "the service manager was not told");
    }
}

/// How often [`News::Alive`] is due: half of what the service manager waits. `None`: it does not watch.
pub fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|longest| longest / 2).filter(|every| !every.is_zero())
}
