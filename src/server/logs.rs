//! What the process says about itself, on standard error.

use crate::config::render::wants_colour;
use crate::telemetry::log_level;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The variable that chooses what is logged, such as `debug` or `ringway=debug,hyper=info`.
pub const LOG_VARIABLE: &str = "RINGWAY_LOG";

/// Panics of any thread since the start: each is a bug.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Starts logging; without a wish, text on a terminal and JSON elsewhere. Does nothing when there is a log already.
pub(super) fn start(format: Option<LogFormat>) {
    let is_terminal = std::io::stderr().is_terminal();
    let text = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let parsed = if text.is_empty() { Ok(EnvFilter::new("info")) } else { EnvFilter::try_new(&text) };
    let (filter, problem) = match parsed {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error.to_string())),
    };
    let first = filter.to_string();
    // a line that cannot be written is lost: telling of it on the same full disk would end the process
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(std::io::stderr);
    let started = match format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map(|()| log_level::install(first, move |text| put(&handle, text)))
        }
        LogFormat::Text => {
            let lines = lines.with_target(false).with_ansi(wants_colour(is_terminal)).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map(|()| log_level::install(first, move |text| put(&handle, text)))
        }
    };
    if let (Ok(()), Some(problem)) = (started, problem) {
        tracing::warn!(problem, "{LOG_VARIABLE} cannot be read, so it is `info`; write it like debug or ringway=debug");
    }
}

/// What may be logged is looked up once for each place in the code, so that another level costs requests nothing.
fn put<S>(handle: &Handle<EnvFilter, S>, text: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    handle.reload(filter).map_err(|error| error.to_string())
}

/// Writes panics to the log, one line each, rather than to standard error as they come.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let count = PANICS.fetch_add(1, Ordering::Relaxed) + 1;
        let payload = panic.payload();
        let said = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(count, thread, place, said = said.unwrap_or("nothing"), "panic: this is a bug of Ringway");
    }));
}
