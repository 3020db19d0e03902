//! Lines of words: Envoy's default format, and the common formats.

use http::{HeaderValue, header};

use super::{Format, Line, address, empty, micros};

/// A word of a line.
#[derive(Debug, PartialEq)]
enum Word {
    /// As it stands.
    Bare(String),
    /// Between quotes.
    Quoted(String),
    /// Between brackets.
    Bracketed(String),
}

impl Word {
    fn text(&self) -> &str {
        match self {
            Word::Bare(text) | Word::Quoted(text) | Word::Bracketed(text) => text,
        }
    }

    /// `-` is nothing.
    fn known(&self) -> Option<&str> {
        Some(self.text()).filter(|text| !text.is_empty() && *text != "-")
    }
}

/// `[time] "GET /path HTTP/1.1" 200 - … received sent duration upstream "xff" "agent" "id" "authority" "upstream"`; what
/// stands between the flags and the numbers differs from version to version.
pub(super) fn envoy(text: &str) -> Result<Line, String> {
    let words = words(text)?;
    let [Word::Bracketed(at), Word::Quoted(request), status, flags, rest @ ..] = words.as_slice() else {
        return Err("it does not begin with [time] \"request\" status flags".to_owned());
    };
    let at: jiff::Timestamp = at.parse().map_err(|_| format!("`{at}` is no time"))?;
    let mut line = empty(Format::Envoy, u64::try_from(at.as_millisecond()).map_err(|_| "its time is before 1970")?);
    put_request(&mut line, request)?;
    line.status = put_status(status)?;
    line.is_aborted = flags.text().split(',').any(|flag| flag == "DC");
    let numbers = rest.iter().rposition(|word| matches!(word, Word::Bare(_))).ok_or("it has no numbers")?;
    let (before, after) = rest.split_at(numbers + 1);
    // the last four bare words: received, sent, duration, upstream's duration
    let duration = before.len().checked_sub(2).and_then(|place| before[place].text().parse::<f64>().ok());
    line.latency_us = duration.and_then(|ms| micros(ms, 1e3));
    let [forwarded, agent, _id, authority, ..] = after else {
        return Err("it does not end with the five texts of the default format".to_owned());
    };
    line.client = forwarded.known().and_then(address);
    line.host = authority.known().map(str::to_owned);
    put_agent(&mut line, agent);
    Ok(line)
}

/// `client ident user [time] "GET /path HTTP/1.1" 200 bytes "referrer" "agent"`, where the last two may be missing; Traefik
/// adds a count, two names and the duration.
pub(super) fn common(text: &str, format: Format) -> Result<Line, String> {
    let words = words(text)?;
    let place = words.iter().position(|word| matches!(word, Word::Bracketed(_)));
    let (client, rest) = words.split_at(place.ok_or("it has no [time]")?);
    let [Word::Bracketed(at), Word::Quoted(request), status, _bytes, rest @ ..] = rest else {
        return Err("[time] is not followed by \"request\" status bytes".to_owned());
    };
    let at = jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", at).map_err(|_| format!("`{at}` is no time"))?;
    let unix_ms = u64::try_from(at.timestamp().as_millisecond()).map_err(|_| "its time is before 1970")?;
    let mut line = empty(format, unix_ms);
    line.client = client.first().and_then(|word| address(word.text()));
    put_request(&mut line, request)?;
    line.status = put_status(status)?;
    line.is_aborted = line.status == 499;
    if let [_referrer, agent, rest @ ..] = rest {
        put_agent(&mut line, agent);
        let last = rest.last().map_or("", Word::text);
        if let Some(ms) = last.strip_suffix("ms").and_then(|ms| ms.parse::<f64>().ok()) {
            line.format = Format::Traefik;
            line.latency_us = micros(ms, 1e3);
        }
    }
    Ok(line)
}

fn put_request(line: &mut Line, request: &str) -> Result<(), String> {
    let mut parts = request.split_ascii_whitespace();
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
        return Err(format!("`{request}` is no request line"));
    };
    (line.method, line.target) = (method.to_owned(), target.to_owned());
    Ok(())
}

fn put_status(word: &Word) -> Result<u16, String> {
    let known = word.text().parse().ok().filter(|status: &u16| *status < 1_000);
    known.ok_or_else(|| format!("`{}` is no status", word.text()))
}

fn put_agent(line: &mut Line, agent: &Word) {
    if let Some(agent) = agent.known().and_then(|agent| HeaderValue::from_bytes(agent.as_bytes()).ok()) {
        line.headers.insert(header::USER_AGENT, agent);
    }
}

/// Words between blanks; quotes and brackets hold blanks, and `\"` is a quote.
fn words(line: &str) -> Result<Vec<Word>, String> {
    let (mut words, mut chars) = (Vec::new(), line.chars().peekable());
    while let Some(first) = chars.next() {
        let (end, mut text) = match first {
            ' ' | '\t' => continue,
            '"' => ('"', String::new()),
            '[' => (']', String::new()),
            other => (' ', String::from(other)),
        };
        let mut is_closed = false;
        while let Some(next) = chars.next() {
            if next == end {
                is_closed = true;
                break;
            }
            match (next, end) {
                ('\\', '"') => text.extend(chars.next()),
                (next, _) => text.push(next),
            }
        }
        words.push(match end {
            '"' if is_closed => Word::Quoted(text),
            ']' if is_closed => Word::Bracketed(text),
            ' ' => Word::Bare(text),
            _ => return Err(format!("a `{first}` is not closed")),
        });
    }
    Ok(words)
}
