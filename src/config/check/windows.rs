//! `windows`.

use super::names;
use super::problems::Problems;
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::File;
use crate::config::window;

pub(super) fn check(file: &File, problems: &mut Problems<'_>) {
    for (name, rule) in &file.windows {
        let place = Place::root().key("windows").key(name.as_str());
        names::check_key(name, "window", &place, problems);
        if let Some(tz) = &rule.tz
            && let Err(message) = window::time_zone(tz)
        {
            let last = problems.at(Code::UnknownTimeZone, &place.key("tz"), message);
            last.help("write the IANA name of the zone, such as Europe/Oslo or UTC");
        }
        if rule.allow.is_empty() {
            let last = problems.at(Code::EmptyList, &place.key("allow"), "`allow` is empty: the window never opens");
            last.help("add a span such as mon-thu 01:00-05:00");
        }
        for (index, text) in rule.freezes.iter().enumerate() {
            if let Err(error) = text.parse::<window::Freeze>() {
                let last = problems.at(Code::BadWindow, &place.key("freezes").index(index), error.to_string());
                last.help("write a day such as 2026-12-24, or the first and the last, such as 2026-12-20/2027-01-03");
            }
        }
        for (index, text) in rule.allow.iter().enumerate() {
            if let Err(error) = text.parse::<window::Span>() {
                let last = problems.at(Code::BadWindow, &place.key("allow").index(index), error.to_string());
                last.help("write days and times such as mon-thu 01:00-05:00, sat,sun 00:00-24:00 or 22:00-06:00");
            }
        }
    }
}
