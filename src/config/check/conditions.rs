//! Conditions, wherever they stand.

use super::countries::{self, CONTINENTS};
use super::each_condition;
use super::listeners::check_networks;
use super::problems::Problems;
use super::texts::{check_cookie_name, check_header_name, check_host, check_method, check_path, check_regex};
use super::user_key::{check_claim, check_not_stripped};
use crate::config::codes::Code;
use crate::config::place::Place;
use crate::config::schema::{Condition, Field, File, Geo, GeoSource, Text};
use crate::config::suggest::listed;
use crate::model::Weight;

pub(super) fn check(file: &File, condition: &Condition, place: &Place, problems: &mut Problems<'_>) {
    each_condition(condition, place, &mut |condition, place| check_one(file, condition, place, problems));
}

/// A named value with exactly one matcher.
pub(super) fn check_field(field: &Field, place: &Place, problems: &mut Problems<'_>) {
    let Field { name, exact, prefix, suffix, contains, regex, one_of, present, range } = field;
    if name.is_empty() {
        problems.at(Code::EmptyText, &place.key("name"), "the name is empty");
    }
    let mut given = given_matchers(exact, prefix, suffix, contains, regex, one_of);
    given.extend(present.map(|_| "present"));
    given.extend(range.map(|_| "range"));
    check_one_matcher(&given, "`present: true` asks only whether it is there", place, problems);
    check_text_matchers(prefix, suffix, contains, regex, one_of, place, problems);
    if let Some([min, max]) = range
        && min > max
    {
        let last = problems.at(
            Code::ReversedRange,
            &place.key("range"),
            format!("the range begins at {min} and ends at {max}"),
        );
        last.help(format!("write `range: [{max}, {min}]`"));
    }
}

fn check_one(file: &File, condition: &Condition, place: &Place, problems: &mut Problems<'_>) {
    match condition {
        Condition::Any(inner) => check_not_empty(inner, "any", place, problems),
        Condition::All(inner) => check_not_empty(inner, "all", place, problems),
        Condition::Not(_) => {}
        Condition::Header(field) => {
            let place = place.key("header");
            check_field(field, &place, problems);
            if !field.name.is_empty() && check_header_name(&field.name, &place.key("name"), problems) {
                check_not_stripped(&field.name, &place.key("name"), problems);
            }
        }
        Condition::Query(field) => check_field(field, &place.key("query"), problems),
        Condition::Cookie(field) => {
            let place = place.key("cookie");
            check_field(field, &place, problems);
            if !field.name.is_empty() {
                check_cookie_name(&field.name, &place.key("name"), problems);
            }
        }
        Condition::Path(text) => check_path_text(text, &place.key("path"), problems),
        Condition::Method(methods) => {
            check_not_empty(methods, "method", place, problems);
            each(methods, &place.key("method"), |method, place| check_method(method, place, problems));
        }
        Condition::Host(hosts) => {
            check_not_empty(hosts, "host", place, problems);
            each(hosts, &place.key("host"), |host, place| check_host(host, place, problems));
        }
        Condition::ClientIp(networks) => {
            check_not_empty(networks, "clientIP", place, problems);
            check_networks(networks, &place.key("clientIP"), problems);
        }
        Condition::Geo(geo) => check_geo(file, geo, &place.key("geo"), problems),
        Condition::UserList(list) if list.file.as_os_str().is_empty() => {
            problems.at(Code::EmptyText, &place.key("userList").key("file"), "the path is empty");
        }
        Condition::UserList(_) => {}
        Condition::UserId(id) => {
            let [min, max] = id.range;
            if min > max {
                let place = place.key("userId").key("range");
                let last =
                    problems.at(Code::ReversedRange, &place, format!("the range begins at {min} and ends at {max}"));
                last.help(format!("write `range: [{max}, {min}]`"));
            }
        }
        Condition::Percent(share) => check_percent(share.0, &place.key("percent"), problems),
        Condition::Device(device) => check_not_empty(&device.platform, "platform", &place.key("device"), problems),
        Condition::JwtClaim(field) => {
            let place = place.key("jwtClaim");
            check_field(field, &place, problems);
            check_claim(file, &place.key("name"), problems);
        }
    }
}

fn check_path_text(text: &Text, place: &Place, problems: &mut Problems<'_>) {
    let Text { exact, prefix, suffix, contains, regex, one_of } = text;
    let given = given_matchers(exact, prefix, suffix, contains, regex, one_of);
    check_one_matcher(&given, "`prefix: /api` matches /api and what is below it", place, problems);
    check_text_matchers(&None, suffix, contains, regex, one_of, place, problems);
    for (key, value) in [("exact", exact), ("prefix", prefix)] {
        if let Some(path) = value {
            check_path(path, &place.key(key), problems);
        }
    }
    each(one_of.as_deref().unwrap_or_default(), &place.key("oneOf"), |path, place| check_path(path, place, problems));
}

fn given_matchers(
    exact: &Option<String>,
    prefix: &Option<String>,
    suffix: &Option<String>,
    contains: &Option<String>,
    regex: &Option<String>,
    one_of: &Option<Vec<String>>,
) -> Vec<&'static str> {
    let texts = [("exact", exact), ("prefix", prefix), ("suffix", suffix), ("contains", contains), ("regex", regex)];
    let given = texts.into_iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
    given.chain(one_of.as_ref().map(|_| "oneOf")).collect()
}

fn check_one_matcher(given: &[&'static str], example: &str, place: &Place, problems: &mut Problems<'_>) {
    match given {
        [_] => {}
        [] => {
            let last = problems.at(Code::NoMatcher, place, "nothing says how the value is looked at");
            last.help(format!("add one of exact, prefix, suffix, contains, regex, oneOf; {example}"));
        }
        [first, .., last_key] => {
            let message = format!("{} stand here together, and exactly one is allowed", listed(given.iter().copied()));
            let last = problems.at_key(Code::SeveralMatchers, &place.key(*last_key), message);
            last.also(&place.key(*first), "the other one").help("combine conditions with `all: [..]` or `any: [..]`");
        }
    }
}

/// Matchers that are empty match everything or nothing: surely a slip.
fn check_text_matchers(
    prefix: &Option<String>,
    suffix: &Option<String>,
    contains: &Option<String>,
    regex: &Option<String>,
    one_of: &Option<Vec<String>>,
    place: &Place,
    problems: &mut Problems<'_>,
) {
    for (key, value) in [("prefix", prefix), ("suffix", suffix), ("contains", contains), ("regex", regex)] {
        if value.as_deref() == Some("") {
            let last = problems.at(Code::EmptyText, &place.key(key), format!("`{key}` is empty: any value matches"));
            last.help("write a text, or `present: true`");
        }
    }
    if let Some(pattern) = regex {
        check_regex(pattern, &place.key("regex"), problems);
    }
    if let Some(values) = one_of {
        check_not_empty(values, "oneOf", place, problems);
    }
}

fn check_geo(file: &File, geo: &Geo, place: &Place, problems: &mut Problems<'_>) {
    let Geo { countries, continents, subdivisions, cities, asns } = geo;
    let lists = [countries.len(), continents.len(), subdivisions.len(), cities.len(), asns.len()];
    if lists.iter().all(|length| *length == 0) {
        let last = problems.at(Code::EmptyList, place, "`geo` names no place");
        last.help("add countries, continents, subdivisions, cities or asns, such as `countries: [NO]`");
    }
    match &file.geo {
        None => {
            let last = problems.at_key(Code::GeoWithoutSource, place, "nothing tells where clients are");
            last.help("add `geo: { mmdb: GeoLite2-City.mmdb }` (or header, or table) at the top of the file");
        }
        Some(GeoSource::Header(_)) => {
            let untold = [("subdivisions", lists[2]), ("cities", lists[3]), ("asns", lists[4])];
            for (key, _) in untold.into_iter().filter(|(_, length)| *length > 0) {
                let message = format!("a header tells the country alone: `{key}` never match");
                let last = problems.at_key(Code::GeoNotTold, &place.key(key), message);
                last.help("use `geo: { mmdb: .. }` or `geo: { table: .. }`");
            }
        }
        Some(GeoSource::Mmdb(_) | GeoSource::Table(_)) => {}
    }
    each(countries, &place.key("countries"), |code, place| check_country(code, place, problems));
    each(continents, &place.key("continents"), |code, place| {
        if !CONTINENTS.contains(&code.as_str()) {
            let last = problems.at(Code::BadContinent, place, format!("`{code}` is not a continent"));
            last.help(format!("one of {}", listed(CONTINENTS)));
        }
    });
    each(subdivisions, &place.key("subdivisions"), |code, place| check_subdivision(code, place, problems));
    each(cities, &place.key("cities"), |city, place| {
        if city.is_empty() {
            problems.at(Code::EmptyText, place, "the name of the city is empty");
        }
    });
}

fn check_country(code: &str, place: &Place, problems: &mut Problems<'_>) {
    if countries::is_country(code) {
        return;
    }
    let last = problems.at(Code::BadCountry, place, format!("`{code}` is not a country code"));
    last.help(match countries::meant(code) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "codes are the two capital letters of ISO 3166-1, such as NO".to_owned(),
    });
}

fn check_subdivision(code: &str, place: &Place, problems: &mut Problems<'_>) {
    let is_valid = code.split_once('-').is_some_and(|(country, part)| {
        countries::is_country(country)
            && (1..=3).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    });
    if !is_valid {
        let last = problems.at(Code::BadSubdivision, place, format!("`{code}` is not a subdivision code"));
        last.help("codes are those of ISO 3166-2, country and part, such as US-CA");
    }
}

fn check_percent(share: Weight, place: &Place, problems: &mut Problems<'_>) {
    if share.is_zero() {
        problems
            .at(Code::TrivialPercent, place, "0 percent is nobody")
            .help("remove the condition, or raise the share");
    } else if share >= Weight::HUNDRED {
        problems
            .at(Code::TrivialPercent, place, "100 percent is everybody")
            .help("remove the condition, or lower the share");
    }
}

/// An empty list matches nothing.
fn check_not_empty<T>(list: &[T], key: &str, place: &Place, problems: &mut Problems<'_>) {
    if list.is_empty() {
        problems
            .at(Code::EmptyList, &place.key(key), format!("`{key}` is empty"))
            .help("add an item, or remove the key");
    }
}

fn each<T>(list: &[T], place: &Place, mut visit: impl FnMut(&T, &Place)) {
    list.iter().enumerate().for_each(|(index, item)| visit(item, &place.index(index)));
}
