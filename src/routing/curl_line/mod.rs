//! A pasted curl line as the request that curl would send. Nothing is sent, no file is read.

mod options;
mod words;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use options::{Meaning, long, short};
pub(crate) use words::split;

/// The request of a curl line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CurlLine {
    /// The method.
    pub(crate) method: String,
    /// The URL, with a scheme.
    pub(crate) url: String,
    /// Names and values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// What was passed over, for the person.
    pub(crate) notes: Vec<String>,
}

/// What curl leaves as it is in `--data-urlencode` (RFC 3986, unreserved).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Reads the text of a command: shell words, the first of which is `curl`.
pub(crate) fn parse(text: &str) -> Result<CurlLine, String> {
    let (words, notes) = split(text)?;
    let mut line = parse_words(&words)?;
    line.notes.splice(0..0, notes);
    Ok(line)
}

/// Whether a text is a curl line, right or wrong.
pub(crate) fn is_one(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    words.next_if(is_prompt);
    matches!(words.next(), Some("curl" | "curl.exe"))
}

/// What a shell writes before the command, and people copy with it.
fn is_prompt(word: &&str) -> bool {
    matches!(*word, "$" | "%" | ">" | "#")
}

/// Reads the words of a command.
pub(crate) fn parse_words(words: &[String]) -> Result<CurlLine, String> {
    let mut words = words.iter().map(String::as_str).peekable();
    words.next_if(is_prompt);
    match words.next() {
        Some("curl" | "curl.exe") => {}
        Some(other) => return Err(format!("a curl line begins with curl, not with `{other}`")),
        None => return Err("there is no curl line".to_owned()),
    }
    let mut reading = Reading::default();
    while let Some(word) = words.next() {
        if reading.ends_options || word == "-" || !word.starts_with('-') {
            reading.urls.push(word.to_owned());
        } else if word == "--" {
            reading.ends_options = true;
        } else if let Some(name) = word.strip_prefix("--") {
            let (name, inline) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
            if name == "next" {
                reading.note("only the request before --next is explained".to_owned());
                break;
            }
            match long(name) {
                Some(meaning) if meaning.takes_value() => {
                    let value = inline.or_else(|| words.next());
                    reading.take(meaning, value.ok_or_else(|| format!("--{name} needs a value"))?);
                }
                Some(meaning) => reading.take(meaning, ""),
                None => reading.note(format!("--{name} is not known and passed over")),
            }
        } else {
            for (at, letter) in word[1..].char_indices() {
                let rest = &word[1 + at + letter.len_utf8()..];
                match short(letter) {
                    Some(meaning) if meaning.takes_value() => {
                        let value = if rest.is_empty() { words.next() } else { Some(rest) };
                        reading.take(meaning, value.ok_or_else(|| format!("-{letter} needs a value"))?);
                        break;
                    }
                    Some(meaning) => reading.take(meaning, ""),
                    None => reading.note(format!("-{letter} is not known and passed over")),
                }
            }
        }
    }
    reading.finish()
}

/// What the options have said so far.
#[derive(Debug, Default)]
struct Reading {
    urls: Vec<String>,
    method: Option<String>,
    headers: Vec<String>,
    /// Set by other options than `-H`, which replaces them.
    implied: Vec<(&'static str, String)>,
    cookies: Vec<String>,
    data: Vec<String>,
    queries: Vec<String>,
    implied_method: Option<&'static str>,
    data_goes_to_query: bool,
    ends_options: bool,
    notes: Vec<String>,
}

impl Reading {
    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn imply(&mut self, name: &'static str, value: String) {
        self.implied.retain(|(known, _)| *known != name);
        self.implied.push((name, value));
    }

    fn take(&mut self, meaning: Meaning, value: &str) {
        match meaning {
            Meaning::Url => self.urls.push(value.to_owned()),
            Meaning::Method => self.method = Some(value.to_owned()),
            Meaning::Header if value.starts_with('@') => self.note(format!("the headers of {value} are not read")),
            Meaning::Header => self.headers.push(value.to_owned()),
            Meaning::Cookie if !value.contains('=') => self.note(format!("the cookie file {value} is not read")),
            Meaning::Cookie => self.cookies.push(value.to_owned()),
            Meaning::UserAgent => self.imply("user-agent", value.to_owned()),
            Meaning::Referer => self.imply("referer", value.trim_end_matches(";auto").to_owned()),
            Meaning::User => self.imply("authorization", format!("Basic {}", STANDARD.encode(value))),
            Meaning::Bearer => self.imply("authorization", format!("Bearer {value}")),
            Meaning::Range => self.imply("range", format!("bytes={value}")),
            Meaning::Compressed => self.imply("accept-encoding", "deflate, gzip, br, zstd".to_owned()),
            Meaning::Data => {
                self.imply("content-type", "application/x-www-form-urlencoded".to_owned());
                self.add_data(value.to_owned());
            }
            Meaning::DataUrlencode => {
                self.imply("content-type", "application/x-www-form-urlencoded".to_owned());
                self.add_data(urlencoded(value));
            }
            Meaning::Json => {
                self.imply("content-type", "application/json".to_owned());
                self.imply("accept", "application/json".to_owned());
                self.add_data(value.to_owned());
            }
            Meaning::Form => {
                self.imply("content-type", "multipart/form-data".to_owned());
                self.implied_method = Some("POST");
            }
            Meaning::Upload => self.implied_method = Some("PUT"),
            Meaning::Head => self.implied_method = Some("HEAD"),
            Meaning::Get => self.data_goes_to_query = true,
            Meaning::UrlQuery => self.queries.push(match value.strip_prefix('+') {
                Some(raw) => raw.to_owned(),
                None => urlencoded(value),
            }),
            Meaning::Ignored | Meaning::IgnoredWithValue => {}
        }
    }

    fn add_data(&mut self, data: String) {
        if data.starts_with('@') {
            self.note(format!("the file of {data} is not read"));
        }
        self.data.push(data);
        self.implied_method = self.implied_method.or(Some("POST"));
    }

    fn finish(mut self) -> Result<CurlLine, String> {
        let chosen = self.urls.iter().position(|url| url.contains("://")).unwrap_or(0);
        if self.urls.is_empty() {
            return Err("the curl line has no URL".to_owned());
        }
        let mut url = self.urls.swap_remove(chosen);
        if !self.urls.is_empty() {
            self.note(format!("only {url} is explained"));
        }
        if !url.contains("://") {
            url.insert_str(0, "http://");
        }
        if self.data_goes_to_query {
            self.queries.append(&mut self.data);
            self.implied.retain(|(name, _)| *name != "content-type");
            self.implied_method = self.implied_method.filter(|method| *method != "POST");
        }
        for query in std::mem::take(&mut self.queries) {
            add_query(&mut url, &query);
        }
        let method = self.method.take().or(self.implied_method.map(str::to_owned)).unwrap_or("GET".to_owned());
        Ok(CurlLine { method, url, headers: self.all_headers(), notes: self.notes })
    }

    /// The headers that curl sends: its own, unless one of `-H` replaces (`a: b`) or removes (`a:`) it.
    fn all_headers(&mut self) -> Vec<(String, String)> {
        self.implied.splice(0..0, [("user-agent", "curl".to_owned()), ("accept", "*/*".to_owned())]);
        if !self.cookies.is_empty() {
            self.implied.push(("cookie", self.cookies.join("; ")));
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.implied {
            headers.retain(|(known, _)| known != name);
            headers.push(((*name).to_owned(), value.clone()));
        }
        let mut replaced: Vec<String> = Vec::new();
        for line in &self.headers {
            let (name, value) = match (line.split_once(':'), line.strip_suffix(';')) {
                (Some((name, value)), _) => (name, Some(value.trim()).filter(|value| !value.is_empty())),
                (None, Some(name)) => (name, Some("")),
                (None, None) => {
                    self.notes.push(format!("the header `{line}` has no colon and is passed over"));
                    continue;
                }
            };
            let name = name.trim().to_ascii_lowercase();
            if !replaced.contains(&name) {
                headers.retain(|(known, _)| *known != name);
                replaced.push(name.clone());
            }
            if let Some(value) = value {
                headers.push((name, value.to_owned()));
            }
        }
        headers
    }
}

fn add_query(url: &mut String, query: &str) {
    let fragment = url.find('#').map_or(String::new(), |at| url.split_off(at));
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(query);
    url.push_str(&fragment);
}

/// `name=value` or `value`, with the value encoded.
fn urlencoded(data: &str) -> String {
    let encode = |value: &str| utf8_percent_encode(value, ENCODED).to_string();
    match data.split_once('=') {
        Some(("", value)) => encode(value),
        Some((name, value)) => format!("{name}={}", encode(value)),
        None => encode(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, URL and headers but for those that curl always sends.
    fn request(text: &str) -> (String, String, String) {
        let line = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let own = |(name, value): &(String, String)| {
            let is_usual = (name == "user-agent" && value == "curl") || (name == "accept" && value == "*/*");
            (!is_usual).then(|| format!("{name}: {value}"))
        };
        let headers: Vec<String> = line.headers.iter().filter_map(own).collect();
        (line.method, line.url, headers.join(" | "))
    }

    #[test]
    fn a_line_is_read_as_curl_reads_it() {
        let form = "content-type: application/x-www-form-urlencoded";
        for (text, method, url, headers) in [
            ("curl https://a.example/x", "GET", "https://a.example/x", ""),
            ("$ curl a.example", "GET", "http://a.example", ""),
            ("curl -sSLkv -o /dev/null https://a.example/", "GET", "https://a.example/", ""),
            (
                "curl -H 'X-Employee: 1' -H \"cookie: uid=7\" https://a/",
                "GET",
                "https://a/",
                "x-employee: 1 | cookie: uid=7",
            ),
            ("curl -H'X-A:1' -XPUT https://a/", "PUT", "https://a/", "x-a: 1"),
            ("curl --header=x-a:1 --request DELETE --url https://a/", "DELETE", "https://a/", "x-a: 1"),
            ("curl -b 'uid=7; b=1' -b c=2 https://a/", "GET", "https://a/", "cookie: uid=7; b=1; c=2"),
            ("curl https://a/ -d a=1 --data-raw b=2", "POST", "https://a/", form),
            ("curl https://a/ -X PATCH -d a=1", "PATCH", "https://a/", form),
            (
                "curl -G https://a/?x=1#f -d v=2 --data-urlencode 'q=a b&c'",
                "GET",
                "https://a/?x=1&v=2&q=a%20b%26c#f",
                "",
            ),
            ("curl -I https://a/", "HEAD", "https://a/", ""),
            ("curl -u user:pass https://a/", "GET", "https://a/", "authorization: Basic dXNlcjpwYXNz"),
            ("curl --oauth2-bearer tok https://a/", "GET", "https://a/", "authorization: Bearer tok"),
            (
                "curl -A 'Mozilla/5.0 (iPhone)' -e https://r/ https://a/",
                "GET",
                "https://a/",
                "user-agent: Mozilla/5.0 (iPhone) | referer: https://r/",
            ),
            (
                "curl --json '{}' https://a/",
                "POST",
                "https://a/",
                "content-type: application/json | accept: application/json",
            ),
            ("curl -F a=@b https://a/", "POST", "https://a/", "content-type: multipart/form-data"),
            ("curl -T file https://a/", "PUT", "https://a/", ""),
            ("curl --http2-prior-knowledge --max-time 3 -w '%{http_code}' https://a/", "GET", "https://a/", ""),
            ("curl --some-new-option value https://a/", "GET", "https://a/", ""),
            ("curl --resolve a:80:1.2.3.4 -x proxy:1 http://a/", "GET", "http://a/", ""),
            ("curl -H 'X-Empty;' -H 'X-Gone:' https://a/", "GET", "https://a/", "x-empty: "),
            (
                "curl 'https://a/' \\\n  -H $'x-a: it\\'s\\x21' \\\n  --compressed",
                "GET",
                "https://a/",
                "accept-encoding: deflate, gzip, br, zstd | x-a: it's!",
            ),
        ] {
            let expected = (method.to_owned(), url.to_owned(), headers.to_owned());
            assert_eq!(request(text), expected, "{text}");
        }
    }

    #[test]
    fn the_usual_headers_can_be_removed() {
        let line = parse("curl -H 'Accept:' -H 'User-Agent:' https://a/").unwrap();
        assert_eq!(line.headers, []);
    }

    #[test]
    fn what_is_passed_over_is_named() {
        for (text, note) in [
            ("curl --some-new-option https://a/", "--some-new-option is not known and passed over"),
            ("curl -b jar.txt https://a/", "the cookie file jar.txt is not read"),
            ("curl -d @body https://a/", "the file of @body is not read"),
            ("curl https://a/ https://b/", "only https://a/ is explained"),
            ("curl https://a/ --next https://b/", "only the request before --next is explained"),
            ("curl -H nonsense https://a/", "the header `nonsense` has no colon and is passed over"),
            ("curl https://a/ | jq .", "what follows `|` is passed over"),
        ] {
            assert_eq!(parse(text).unwrap().notes, [note], "{text}");
        }
    }

    #[test]
    fn what_is_no_curl_line_is_refused() {
        for (text, error) in [
            ("", "there is no curl line"),
            ("wget https://a/", "a curl line begins with curl, not with `wget`"),
            ("curl", "the curl line has no URL"),
            ("curl https://a/ -H", "-H needs a value"),
            ("curl https://a/ --header", "--header needs a value"),
            ("curl 'https://a/", "a quote is not closed"),
        ] {
            assert_eq!(parse(text).unwrap_err(), error, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(curl )?[-a-zA-Z0-9'\"\\\\$ |:=@/\n你]{0,80}") {
            let _ = parse(&text);
        }
    }
}
