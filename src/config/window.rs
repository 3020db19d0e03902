//! Windows of time: `mon-thu 01:00-05:00` in a time zone.

use super::schema;
use jiff::Zoned;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// When something is allowed: any of the spans, by the clocks of a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    zone: TimeZone,
    spans: Vec<Span>,
    freezes: Vec<Freeze>,
}

/// Days on which nothing is allowed, both included, by the calendar of the window's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    first: Date,
    last: Date,
}

/// Days of the week, and from when to when on each of them.
///
/// One that ends before it begins runs over midnight, and belongs to the day on which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// One bit for each day, Monday the lowest.
    days: u8,
    /// Minutes after midnight, included.
    from: u16,
    /// Minutes after midnight, not included; 1440 is the end of the day.
    to: u16,
}

/// Why a text is not a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanError(String);

impl Window {
    /// The window that the file describes.
    pub fn new(window: &schema::Window) -> Result<Window, String> {
        let zone = time_zone(window.tz.as_deref().unwrap_or("UTC"))?;
        let spans: Result<Vec<Span>, SpanError> = window.allow.iter().map(|text| text.parse()).collect();
        let freezes: Result<Vec<Freeze>, SpanError> = window.freezes.iter().map(|text| text.parse()).collect();
        let text = |error: SpanError| error.to_string();
        Ok(Window { zone, spans: spans.map_err(text)?, freezes: freezes.map_err(text)? })
    }

    /// True when the window is open at a moment.
    pub fn contains(&self, moment: &Zoned) -> bool {
        let local = moment.with_time_zone(self.zone.clone());
        let is_frozen = |freeze: &Freeze| (freeze.first..=freeze.last).contains(&local.date());
        self.spans.iter().any(|span| span.contains(&local)) && !self.freezes.iter().any(is_frozen)
    }
}

impl Span {
    /// True when a moment lies within, by the clock of the moment's own zone.
    pub fn contains(&self, moment: &Zoned) -> bool {
        let minute = moment.hour() as u16 * 60 + moment.minute() as u16;
        let today = moment.weekday();
        if self.from < self.to {
            return self.has(today) && (self.from..self.to).contains(&minute);
        }
        (self.has(today) && minute >= self.from) || (self.has(today.previous()) && minute < self.to)
    }

    fn has(&self, day: Weekday) -> bool {
        self.days & (1 << day.to_monday_zero_offset()) != 0
    }
}

/// A time zone of the IANA database.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    jiff::tz::db().get(name).map_err(|_| format!("there is no time zone `{name}`"))
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Span, SpanError> {
        let mut words = text.split_whitespace();
        let (days, times) = match (words.next(), words.next(), words.next()) {
            (Some(days), Some(times), None) => (days_of(days)?, times),
            (Some(times), None, None) => (0b111_1111, times),
            _ => return Err(SpanError(format!("`{text}` is not days and times"))),
        };
        let (from, to) =
            times.split_once('-').ok_or_else(|| SpanError(format!("`{times}` is not from-to, such as 01:00-05:00")))?;
        let (from, to) = (minute_of(from)?, minute_of(to)?);
        if from == to || from == MINUTES_OF_DAY {
            return Err(SpanError(format!("`{times}` holds no time")));
        }
        Ok(Span { days, from, to })
    }
}

impl FromStr for Freeze {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Freeze, SpanError> {
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        let date = |text: &str| text.parse::<Date>().map_err(|_| SpanError(format!("`{text}` is not a day")));
        let (first, last) = (date(first)?, date(last)?);
        match first <= last {
            true => Ok(Freeze { first, last }),
            false => Err(SpanError(format!("`{text}` ends before it begins"))),
        }
    }
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpanError {}

const MINUTES_OF_DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon`, `mon-thu`, `sat,sun`, `fri-mon`.
fn days_of(text: &str) -> Result<u8, SpanError> {
    let day_of = |name: &str| {
        let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        found.ok_or_else(|| SpanError(format!("`{name}` is not a day: mon, tue, wed, thu, fri, sat or sun")))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day_of(first)?, day_of(last)?);
        loop {
            days |= 1 << day;
            if day == last {
                break;
            }
            day = (day + 1) % DAYS.len();
        }
    }
    Ok(days)
}

/// `00:00` to `24:00`.
fn minute_of(text: &str) -> Result<u16, SpanError> {
    let error = || SpanError(format!("`{text}` is not a time from 00:00 to 24:00"));
    let two_digits = |part: &str| match part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
        true => part.parse::<u16>().map_err(|_| error()),
        false => Err(error()),
    };
    let (hours, minutes) = text.split_once(':').ok_or_else(error)?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let minute = hours * 60 + minutes;
    if minutes < 60 && minute <= MINUTES_OF_DAY { Ok(minute) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(tz: &str, allow: &[&str]) -> Window {
        let allow = allow.iter().map(|text| (*text).to_owned()).collect();
        let freezes = vec!["2026-12-20/2027-01-03".to_owned(), "2026-11-26".to_owned()];
        Window::new(&schema::Window { tz: Some(tz.to_owned()), allow, freezes }).unwrap()
    }

    fn at(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn nights_in_tokyo_are_afternoons_in_utc() {
        let nights = window("Asia/Tokyo", &["mon-thu 01:00-05:00"]);
        // 2026-11-23 is a Monday.
        assert!(nights.contains(&at("2026-11-23T01:00[Asia/Tokyo]")));
        assert!(nights.contains(&at("2026-11-22T19:59[UTC]")));
        assert!(!nights.contains(&at("2026-11-22T20:00[UTC]")));
        assert!(!nights.contains(&at("2026-11-27T02:00[Asia/Tokyo]")));
    }

    /// Where clocks are put forward an hour of the day is missing, and where they are put back one comes twice: what counts
    /// is what the clocks show.
    #[test]
    fn clocks_that_are_put_forward_or_back_open_what_they_show() {
        let minutes_open = |allow: &str, midnight: &str| {
            let (window, midnight) = (window("Europe/Oslo", &[allow]), at(midnight));
            let minutes = (0..25 * 60).map(|minute| &midnight + jiff::SignedDuration::from_mins(minute));
            minutes.filter(|minute| minute.date() == midnight.date() && window.contains(minute)).count()
        };
        let (spring, autumn, usual) =
            ("2026-03-29T00:00[Europe/Oslo]", "2026-10-25T00:00[Europe/Oslo]", "2026-06-01T00:00[Europe/Oslo]");
        for (allow, on_usual, on_spring, on_autumn) in [
            ("02:00-03:00", 60, 0, 120),
            ("01:00-05:00", 240, 180, 300),
            ("00:00-24:00", 1_440, 1_380, 1_500),
            ("22:00-02:30", 270, 240, 300),
        ] {
            let found = [usual, spring, autumn].map(|from| minutes_open(allow, from));
            assert_eq!(found, [on_usual, on_spring, on_autumn], "{allow}");
        }
    }

    #[test]
    fn a_freeze_closes_whole_days_of_the_zone() {
        let always = window("Asia/Tokyo", &["00:00-24:00"]);
        assert!(!always.contains(&at("2026-12-20T00:00[Asia/Tokyo]")));
        assert!(!always.contains(&at("2026-12-19T15:00[UTC]")));
        assert!(always.contains(&at("2026-12-19T14:59[UTC]")));
        assert!(!always.contains(&at("2027-01-03T23:59[Asia/Tokyo]")));
        assert!(always.contains(&at("2027-01-04T00:00[Asia/Tokyo]")));
        assert!(!always.contains(&at("2026-11-26T12:00[Asia/Tokyo]")));
        for text in ["2026-02-30", "2026-12-20/2026-12-19", "christmas", ""] {
            assert!(text.parse::<Freeze>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_it_begins_on() {
        let span: Span = "fri 22:00-06:00".parse().unwrap();
        assert!(span.contains(&at("2026-11-27T23:00[UTC]")));
        assert!(span.contains(&at("2026-11-28T05:59[UTC]")));
        assert!(!span.contains(&at("2026-11-27T05:00[UTC]")));
        assert!(!span.contains(&at("2026-11-28T06:00[UTC]")));
    }

    #[test]
    fn days_and_times_have_several_forms() {
        let days = |text: &str| text.parse::<Span>().map(|span| span.days);
        assert_eq!(days("sat,sun 00:00-24:00"), Ok(0b110_0000));
        assert_eq!(days("fri-mon 00:00-01:00"), Ok(0b111_0001));
        assert_eq!(days("09:00-17:00"), Ok(0b111_1111));
        for text in [
            "",
            "mon",
            "mon 1:00-2:00",
            "mon 25:00-26:00",
            "mon 01:60-02:00",
            "m-t 01:00-02:00",
            "mon 01:00-01:00",
            "mon 24:00-01:00",
            "mon 01:00 02:00",
            "mon 01:00-+2:00",
            "mon-tue-wed 01:00-02:00",
        ] {
            assert!(days(text).is_err(), "{text}");
        }
    }

    #[test]
    fn zones_are_those_of_the_database() {
        assert!(time_zone("Europe/Oslo").is_ok());
        assert_eq!(time_zone("Mars/Base").unwrap_err(), "there is no time zone `Mars/Base`");
    }
}
