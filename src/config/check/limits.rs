//! `rateLimit` of listeners and routes.

use super::problems::Problems;
use super::texts::{check_cookie_name, check_header_name};
use super::user_key::check_not_stripped;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{RateKey, RateLimit};
use std::time::Duration;

/// The most requests in the time of a limit, and at once.
const REQUESTS_MAX: u32 = 1_000_000;
/// The longest time of a limit.
const PER_MAX: Duration = Duration::from_secs(86_400);
/// The fewest and the most keys of a limit: 16 KiB to 64 MiB.
const KEYS: std::ops::RangeInclusive<u32> = 1_024..=4_194_304;

pub(super) fn check(limit: &RateLimit, is_of_route: bool, place: &Place, problems: &mut Problems<'_>) {
    let counts = [("requests", Some(limit.requests)), ("burst", limit.burst)];
    for (key, _) in counts.iter().filter(|(_, count)| count.is_some_and(|count| !(1..=REQUESTS_MAX).contains(&count))) {
        let last = problems.at(Code::BadRate, &place.key(*key), format!("`{key}` must be from 1 to {REQUESTS_MAX}"));
        last.help("write a smaller time for more: 1000000 in 1s is the most");
    }
    if limit.per.0 < Duration::from_millis(100) || limit.per.0 > PER_MAX {
        let last = problems.at(Code::BadRate, &place.key("per"), "`per` must be from 100ms to 1d");
        last.help("write a time such as 1s, 1m or 1h");
    }
    if limit.max_keys.is_some_and(|keys| !KEYS.contains(&keys)) {
        let message = format!("`maxKeys` must be from {} to {}", KEYS.start(), KEYS.end());
        problems.at(Code::BadRate, &place.key("maxKeys"), message).help("remove the key for the default, 65536");
    }
    let key = place.key("key");
    match &limit.key {
        RateKey::Header(name) => {
            let place = key.key("header");
            if check_header_name(name, &place, problems) {
                check_not_stripped(name, &place, problems);
            }
        }
        RateKey::Cookie(name) => check_cookie_name(name, &key.key("cookie"), problems),
        RateKey::UserKey if !is_of_route => {
            let message = "a listener does not know user keys: they are read by services";
            let last = problems.at(Code::UserKeyOfListener, &key, message);
            last.help("move the limit to a route, or write `clientIP`, `{ header: .. }` or `{ cookie: .. }`");
        }
        RateKey::UserKey | RateKey::ClientIp | RateKey::None => {}
    }
}
