//! What is logged. The log itself is made where the process is composed; here it can be asked for another level.

use std::sync::{Mutex, OnceLock, PoisonError};

/// The longest text of a level, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Puts a filter in force, or says why it cannot.
type Set = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

struct Log {
    set: Set,
    /// What the process was started with.
    first: String,
    now: Mutex<String>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Why there is no other level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is no level.
    #[error("`{0}` is no level: write error, warn, info, debug, trace, or such as ringway=debug,hyper=info")]
    NoLevel(String),
    /// There is no log that could be told.
    #[error("this process has no log of its own")]
    NoLog,
}

/// Tells how the log of this process is told another level. The first one counts.
pub fn install(first: String, set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) {
    let now = Mutex::new(first.clone());
    // a second log of the same process is none
    let _ = LOG.set(Log { set: Box::new(set), first, now });
}

/// What is logged now; `None` without a log.
pub fn now() -> Option<String> {
    LOG.get().map(|log| log.now.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// What was logged from the start; `None` without a log.
pub fn first() -> Option<String> {
    LOG.get().map(|log| log.first.clone())
}

/// Puts another level in force.
pub fn set(text: &str) -> Result<(), Refused> {
    check(text)?;
    let log = LOG.get().ok_or(Refused::NoLog)?;
    (log.set)(text).map_err(|_| Refused::NoLevel(text.to_owned()))?;
    text.clone_into(&mut log.now.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

/// Levels, also by module; patterns of fields could cost the process its time.
pub fn check(text: &str) -> Result<(), Refused> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:=,".contains(&byte));
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
    let parts = text.split(',').map(|part| part.rsplit_once('=').map_or(part, |(_, level)| level));
    let shown = || text.chars().take(64).filter(|c| !c.is_control()).collect();
    match text.len() <= TEXT_BYTES_MAX && is_plain && parts.into_iter().all(is_level) {
        true => Ok(()),
        false => Err(Refused::NoLevel(shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_and_nothing_else() {
        for text in ["debug", "off", "ringway=debug", "ringway::proxy=trace,hyper=info,warn"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in ["", "loud", "ringway", "[span{x=.*}]=debug", "debug ", "ringway=debug,", "a\u{1b}[2J=info"] {
            assert!(check(text).is_err(), "{text}");
        }
        assert!(check(&"debug,".repeat(100)).is_err());
    }
}
