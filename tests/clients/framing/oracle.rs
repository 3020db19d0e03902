//! What RFC 9112 makes of a client's bytes, written without a look at the proxy: slowly, and to the letter.

/// What a stream holds, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A request that can be read in one way only.
    Request {
        request: Request,
        /// A server may refuse it all the same.
        may_be_refused: bool,
    },
    /// A request with this method that is well framed, but is for no host (§3.2): it is refused, and what follows may
    /// be served.
    Hostless(String),
    /// Its head is good, but its body breaks off or breaks the rules: if anything of it is passed on, it must be
    /// seen to be unfinished.
    Unfinished(Request),
    /// No request.
    Refused,
    /// No more bytes: the connection waits for the next request.
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
}

/// How far a body goes.
enum Body {
    Whole { body: Vec<u8>, rest: usize, is_odd: bool },
    Unfinished(Vec<u8>),
}

/// What the bytes of a connection begin with.
#[allow(dead_code, reason = "each test binary uses a part of it")]
pub struct First {
    pub expected: Expected,
    /// The bytes that it takes.
    pub length: usize,
    /// What follows it is no request.
    pub is_last: bool,
    /// It is framed well, whomever it is for.
    pub framed: Option<Request>,
}

/// The requests of a connection, until it must be closed or the bytes end.
pub fn read(mut stream: &[u8]) -> Vec<Expected> {
    let mut all = Vec::new();
    loop {
        let First { expected, length, is_last, .. } = first(stream);
        all.push(expected);
        if is_last {
            return all;
        }
        stream = &stream[length..];
    }
}

/// The first request of these bytes.
pub fn first(bytes: &[u8]) -> First {
    let last = |expected| First { expected, length: bytes.len(), is_last: true, framed: None };
    // empty lines before a request say nothing (§2.2)
    let (mut stream, mut has_bare_ends) = (bytes, false);
    while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = stream {
        has_bare_ends |= stream[0] == b'\n';
        stream = rest;
    }
    if stream.is_empty() {
        return last(Expected::Open);
    }
    let Some(mut head) = Head::read(stream) else { return last(Expected::Refused) };
    head.is_odd |= has_bare_ends;
    let Some(framing) = head.framing() else { return last(Expected::Refused) };
    stream = &stream[head.length..];
    let request = |body| Request { method: head.method.clone(), target: head.target.clone(), body };
    let body = match framing.body {
        Length::Sized(length) => sized(stream, length),
        Length::Chunked => chunked(stream),
    };
    match body {
        Body::Unfinished(body) => last(Expected::Unfinished(request(body))),
        Body::Whole { body, rest, is_odd } => First {
            length: bytes.len() - stream.len() + rest,
            is_last: framing.must_close || head.asks_to_close(),
            framed: Some(request(body.clone())),
            expected: match head.has_host() {
                true => Expected::Request {
                    request: request(body),
                    may_be_refused: head.is_odd || framing.is_odd || is_odd,
                },
                false => Expected::Hostless(head.method.clone()),
            },
        },
    }
}

struct Head {
    method: String,
    target: String,
    is_http_1_0: bool,
    lines: Vec<(String, String)>,
    length: usize,
    /// It has what a server may refuse, such as a line that ends with LF alone (§2.2).
    is_odd: bool,
}

enum Length {
    Sized(u128),
    Chunked,
}

struct Framing {
    body: Length,
    is_odd: bool,
    must_close: bool,
}

impl Head {
    fn read(stream: &[u8]) -> Option<Head> {
        let (mut at, mut is_odd, mut lines) = (0, false, Vec::new());
        loop {
            let end = at + stream[at..].iter().position(|byte| *byte == b'\n')?;
            let line = &stream[at..end];
            let line = match line.strip_suffix(b"\r") {
                Some(line) => line,
                None => {
                    is_odd = true;
                    line
                }
            };
            at = end + 1;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let request_line = std::str::from_utf8(lines.first()?).ok()?;
        let [method, target, version] = request_line.split(' ').collect::<Vec<_>>()[..] else { return None };
        let is_good = !method.is_empty() && method.bytes().all(is_token) && !target.is_empty();
        if !is_good || target.contains(char::is_control) || !["HTTP/1.1", "HTTP/1.0"].contains(&version) {
            return None;
        }
        // other forms (§3.2) say nothing of where the request ends
        is_odd |= !target.starts_with('/') && (method, target) != ("OPTIONS", "*");
        let fields = lines[1..].iter().map(|line| field(line)).collect::<Option<Vec<_>>>()?;
        Some(Head {
            method: method.to_owned(),
            target: target.to_owned(),
            is_http_1_0: version == "HTTP/1.0",
            lines: fields,
            length: at,
            is_odd,
        })
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }

    /// §6.3. `None` when the request must be refused.
    fn framing(&self) -> Option<Framing> {
        let (codings, lengths) = (self.all("transfer-encoding"), self.all("content-length"));
        if !codings.is_empty() {
            // one line with one coding: whatever else there may be can be read in two ways
            let is_plain = codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked");
            let is_doubtful = !lengths.is_empty();
            return (is_plain && !self.is_http_1_0).then_some(Framing {
                body: Length::Chunked,
                is_odd: is_doubtful,
                must_close: is_doubtful,
            });
        }
        let mut values = lengths.iter().flat_map(|line| line.split(',')).map(|value| value.trim_matches([' ', '\t']));
        let Some(first) = values.next() else {
            return Some(Framing { body: Length::Sized(0), is_odd: false, must_close: false });
        };
        if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) || first.len() > 30 {
            return None;
        }
        let length: u128 = first.parse().ok()?;
        let others: Vec<&str> = values.collect();
        if length > u128::from(u64::MAX) || others.iter().any(|other| other.parse() != Ok(length)) {
            return None;
        }
        let is_odd = !others.is_empty() || length > u128::from(u64::MAX - 1024) || first.len() > 19;
        Some(Framing { body: Length::Sized(length), is_odd, must_close: false })
    }

    fn has_host(&self) -> bool {
        match self.all("host")[..] {
            [] => self.is_http_1_0,
            [host] => is_host(host),
            _ => false,
        }
    }

    fn asks_to_close(&self) -> bool {
        let tokens = self.all("connection").join(",").to_ascii_lowercase();
        let has = |wanted: &str| tokens.split(',').any(|token| token.trim() == wanted);
        has("close") || (self.is_http_1_0 && !has("keep-alive"))
    }
}

/// A field line with its name in lower case.
pub fn field(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if name.is_empty() || !name.iter().copied().all(is_token) || !value.iter().all(is_value) {
        return None;
    }
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    Some((text(name).to_ascii_lowercase(), text(value).trim_matches([' ', '\t']).to_owned()))
}

/// A name, with a port or without.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    name.split('.').all(is_label)
        && (port.is_empty()
            || port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn sized(stream: &[u8], length: u128) -> Body {
    match usize::try_from(length).ok().filter(|length| *length <= stream.len()) {
        Some(length) => Body::Whole { body: stream[..length].to_vec(), rest: length, is_odd: false },
        None => Body::Unfinished(stream.to_vec()),
    }
}

/// §7.1.
fn chunked(stream: &[u8]) -> Body {
    let (mut body, mut at, mut is_odd) = (Vec::new(), 0, false);
    loop {
        let Some(end) = find(&stream[at..], b"\r\n") else { return Body::Unfinished(body) };
        let Some((size, is_size_odd)) = chunk_size(&stream[at..at + end]) else { return Body::Unfinished(body) };
        is_odd |= is_size_odd;
        at += end + 2;
        if size == 0 {
            break;
        }
        let after = &stream[at..];
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(after.len());
        if after.get(size..size + 2) != Some(b"\r\n") {
            body.extend_from_slice(&after[..size]);
            return Body::Unfinished(body);
        }
        body.extend_from_slice(&after[..size]);
        at += size + 2;
    }
    loop {
        let Some(end) = find(&stream[at..], b"\r\n") else { return Body::Unfinished(body) };
        let line = &stream[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Body::Whole { body, rest: at, is_odd };
        }
        if field(line).is_none() {
            return Body::Unfinished(body);
        }
    }
}

/// The size of a chunk, and whether its line has what a server may refuse: an extension, a blank, many zeros.
fn chunk_size(line: &[u8]) -> Option<(u128, bool)> {
    let line: String = line.iter().map(|byte| char::from(*byte)).collect();
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
    let (size, after) = line.split_at(digits);
    let is_extension =
        after.trim_start_matches([' ', '\t']).is_empty() || after.trim_start_matches([' ', '\t']).starts_with(';');
    if size.is_empty() || !is_extension || line.contains(|c: char| c < ' ' && c != '\t') {
        return None;
    }
    let value = u128::from_str_radix(size.trim_start_matches('0'), 16).unwrap_or(0);
    let is_small = size.trim_start_matches('0').len() <= 16;
    is_small.then_some((value, !after.is_empty() || digits > 8))
}

fn find(within: &[u8], bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(within, bytes)
}

#[test]
fn the_oracle_knows_the_textbook_cases() {
    let host = "POST /a HTTP/1.1\r\nhost: a\r\n";
    let whole = |text: &str| read(format!("{host}{text}").as_bytes());
    let request = |method: &str, target: &str, body: &str| Request {
        method: method.to_owned(),
        target: target.to_owned(),
        body: body.as_bytes().to_vec(),
    };
    let good = |request, may_be_refused| Expected::Request { request, may_be_refused };
    let (a, next) = (request("POST", "/a", "hello"), good(request("GET", "/b", ""), false));
    let get = "GET /b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(whole("\r\n"), [good(request("POST", "/a", ""), false), Expected::Open]);
    assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n")[0], Expected::Hostless("GET".to_owned()));
    assert_eq!(whole(&format!("content-length: 5\r\n\r\nhello{get}")), [good(a.clone(), false), next.clone()]);
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(whole(&format!("transfer-encoding: chunked\r\n\r\n{chunks}{get}")), [good(a.clone(), false), next]);
    // both: to be refused, or read as chunked and closed (§6.3)
    let both = format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{chunks}{get}");
    assert_eq!(whole(&both), [good(a, true)]);
    for refused in
        ["content-length: +5\r\n\r\n", "transfer-encoding: gzip, chunked\r\n\r\n", "a : b\r\n\r\n", " a: b\r\n\r\n"]
    {
        assert_eq!(whole(refused), [Expected::Refused], "{refused}");
    }
    for unfinished in ["content-length: 9\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"]
    {
        assert!(matches!(whole(unfinished)[..], [Expected::Unfinished(_)]), "{unfinished}");
    }
}
