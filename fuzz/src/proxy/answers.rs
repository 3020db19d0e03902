//! What RFC 9112 makes of the bytes of an answer, written without a look at the proxy: to the letter.

use super::oracle::field;

/// An answer, and those before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Statuses of the informational ones before it.
    pub informational: Vec<u16>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body has the length that was said, or its last chunk, or ended with the connection in peace.
    pub is_whole: bool,
    /// Nothing can follow on the connection.
    pub is_last: bool,
    /// Bytes of all of it.
    pub length: usize,
}

/// How the connection ended after these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    InPeace,
    Broken,
}

/// The first answer of these bytes, to a request with this method. `None` when not even its head is complete.
///
/// # Errors
/// It is no answer to the letter.
pub fn first(bytes: &[u8], method: &str, ended: Ended) -> Result<Option<Answer>, String> {
    let mut answer = Answer::default();
    loop {
        let rest = &bytes[answer.length..];
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            return if rest.is_empty() || b"HTTP/1.".starts_with(&rest[..rest.len().min(7)]) {
                Ok(None)
            } else {
                Err(format!("no answer: {}", rest.escape_ascii()))
            };
        };
        let is_http_1_0 = head(&rest[..end], &mut answer)?;
        answer.length += end + 4;
        if (100..200).contains(&answer.status) && answer.status != 101 {
            no_framing(&answer)?;
            answer.informational.push(answer.status);
            answer.headers.clear();
            continue;
        }
        body(&bytes[answer.length..], method, ended, &mut answer)?;
        let tokens = answer.all("connection").join(",").to_ascii_lowercase();
        let has = |wanted: &str| tokens.split(',').any(|token| token.trim() == wanted);
        answer.is_last |= has("close") || (is_http_1_0 && !has("keep-alive")) || !answer.is_whole;
        return Ok(Some(answer));
    }
}

impl Answer {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }
}

/// A status line and fields; true for HTTP/1.0.
fn head(bytes: &[u8], answer: &mut Answer) -> Result<bool, String> {
    let wrong = |what: &str| format!("{what}: {}", bytes.escape_ascii());
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let (version, rest) = first.split_once(' ').ok_or_else(|| wrong("status line"))?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()) && status >= "100";
    if !["HTTP/1.1", "HTTP/1.0"].contains(&version) || !is_status || reason.contains(|c: char| c < ' ' && c != '\t') {
        return Err(wrong("status line"));
    }
    answer.status = status.parse().map_err(|_| wrong("status"))?;
    for line in lines {
        let line: Vec<u8> = line.chars().map(|c| c as u8).collect();
        answer.headers.push(field(&line).ok_or_else(|| wrong("field"))?);
    }
    Ok(version == "HTTP/1.0")
}

fn no_framing(answer: &Answer) -> Result<(), String> {
    let is_clean = answer.all("content-length").is_empty() && answer.all("transfer-encoding").is_empty();
    if is_clean { Ok(()) } else { Err(format!("{} with a framing field", answer.status)) }
}

/// RFC 9112 §6.3.
fn body(bytes: &[u8], method: &str, ended: Ended, answer: &mut Answer) -> Result<(), String> {
    let all = |name: &str| answer.all(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    if answer.status < 200 || answer.status == 204 {
        no_framing(answer)?;
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (body, length) = match (&codings[..], &lengths[..]) {
        ([], []) | ([], [_]) | ([_], []) if method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304) => {
            (Some(Vec::new()), 0)
        }
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => chunked(bytes)?,
        ([], [length]) if is_number(length) => {
            let length: usize = length.parse().map_err(|_| format!("content-length {length}"))?;
            (bytes.get(..length).map(<[u8]>::to_vec), length)
        }
        ([], []) => {
            answer.is_last = true;
            let is_whole = ended == Ended::InPeace;
            answer.body = bytes.to_vec();
            (is_whole.then(|| bytes.to_vec()), bytes.len())
        }
        _ => return Err(format!("ambiguous framing: {:?}", answer.headers)),
    };
    answer.is_whole = body.is_some();
    answer.length += if answer.is_whole { length } else { bytes.len() };
    match body {
        Some(body) => answer.body = body,
        None if codings.is_empty() => answer.body = bytes.to_vec(),
        None => answer.body = whole_chunks(bytes),
    }
    Ok(())
}

/// A body of chunks and how long it is; `None` when it is not complete.
fn chunked(bytes: &[u8]) -> Result<(Option<Vec<u8>>, usize), String> {
    let (mut body, mut at) = (Vec::new(), 0);
    let line_at = |at: usize| memchr::memmem::find(&bytes[at..], b"\r\n").map(|end| &bytes[at..at + end]);
    loop {
        let Some(line) = line_at(at) else { return Ok((None, 0)) };
        let is_hex = !line.is_empty() && line.len() <= 15 && line.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(line).unwrap_or_default();
        let size = usize::from_str_radix(text, 16).ok().filter(|_| is_hex);
        let size = size.ok_or_else(|| format!("chunk size {:?}", line.escape_ascii().to_string()))?;
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        let Some(data) = at.checked_add(size + 2).and_then(|end| bytes.get(at..end)) else { return Ok((None, 0)) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk does not end with CRLF".to_owned());
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
    loop {
        let Some(line) = line_at(at) else { return Ok((None, 0)) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok((Some(body), at));
        }
        field(line).ok_or_else(|| format!("trailer {:?}", line.escape_ascii().to_string()))?;
    }
}

/// What there is of a body of chunks that breaks off.
fn whole_chunks(bytes: &[u8]) -> Vec<u8> {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(end) = memchr::memmem::find(&bytes[at..], b"\r\n") {
        let text = std::str::from_utf8(&bytes[at..at + end]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(text, 16) else { break };
        at += end + 2;
        let end = at.saturating_add(size).min(bytes.len());
        body.extend_from_slice(&bytes[at..end]);
        at = end.saturating_add(2).min(bytes.len());
    }
    body
}
