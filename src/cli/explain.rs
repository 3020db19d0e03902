use anyhow::{Context, anyhow, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Exit;
use super::door::AdminDoor;
use super::out::{Output, print, print_json, say};
use crate::config::schema::File;
use crate::control::client;
use crate::routing::curl_line::{self, CurlLine};
use crate::routing::explain::{ImaginedRequest, explain};
use crate::routing::prepare::Prepared;
use crate::routing::user_key::KeySource;

/// Tell what a request gets and why.
///
/// Nothing is sent: the answer comes from the file alone, by the code that serves requests. With --live it comes from a
/// process that runs, with the weights that a rollout or a person gave. Exit code 1 when the request would be refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ringway explain https://shop.example.com/cart --cookie uid=u-1842\n  \
    ringway explain -- curl -H 'x-employee: 1' https://shop.example.com/\n  pbpaste | ringway explain -\n  \
    ringway explain --live https://shop.example.com/cart --cookie uid=u-1842")]
pub(super) struct Args {
    #[command(flatten)]
    door: AdminDoor,
    /// Ask the process that runs, not the file; --admin and --token-file mean this too
    #[arg(long)]
    live: bool,
    /// A URL or a curl line in quotes, or `-` for one of the two on standard input
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The method
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field, such as 'x-employee: 1'
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A cookie, such as uid=u-1842
    #[arg(long = "cookie", value_name = "NAME=VALUE")]
    cookies: Vec<String>,
    /// The address that the request comes from
    #[arg(long, value_name = "IP")]
    client_ip: Option<IpAddr>,
    /// A user key, put where the service reads it first
    #[arg(long, value_name = "KEY", conflicts_with_all = ["live", "admin", "token_file"])]
    user: Option<String>,
    /// The listener that it comes to, by name or address [default: the one with the URL's port, else the first]
    #[arg(long, value_name = "LISTENER")]
    listener: Option<String>,
    /// A whole curl line
    #[arg(long, value_name = "LINE", conflicts_with = "url")]
    curl: Option<String>,
    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    /// The words of a curl line
    #[arg(last = true, value_name = "CURL", conflicts_with_all = ["url", "curl"])]
    words: Vec<String>,
}

/// The most bytes that are read from standard input.
const INPUT_BYTES_MAX: u64 = 256 * 1024;
/// How long a process may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let line = self.line()?;
        line.notes.iter().for_each(|note| say(&format!("note: {note}")));
        if self.live || self.door.is_named() {
            return self.ask(line);
        }
        let Some(prepared) = self.door.config().assemble_or_tell() else { return Ok(Exit::Input) };
        let mut request = self.request(line)?;
        let file = &prepared.loaded.file;
        request.listener = self.listener.as_deref().map(|wanted| find_listener(file, wanted)).transpose()?;
        if let Some(user) = &self.user {
            feed(&prepared, &mut request, user)?;
        }
        let explanation = explain(&prepared.loaded.file, &prepared.snapshot, &request);
        match self.output {
            Output::Text => print(&explanation.to_text())?,
            Output::Json => print_json(&explanation.to_json())?,
        }
        Ok(if explanation.outcome.is_ok() { Exit::Yes } else { Exit::No })
    }

    /// The request as it was given, before the options that add to it.
    fn line(&self) -> anyhow::Result<CurlLine> {
        let parsed = match (&self.url, &self.curl) {
            _ if !self.words.is_empty() => curl_line::parse_words(&self.words),
            (_, Some(curl)) => curl_line::parse(curl),
            (Some(dash), None) if dash == "-" => {
                let mut text = String::new();
                std::io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut text).context("cannot read the request")?;
                of_text(&text)
            }
            (Some(text), None) => of_text(text),
            (None, None) => {
                bail!("which request? type: ringway explain https://HOST/PATH, or ringway explain -- curl ..")
            }
        };
        parsed.map_err(|message| anyhow!(message))
    }

    /// The request without its listener, which only the file knows.
    fn request(&self, line: CurlLine) -> anyhow::Result<ImaginedRequest> {
        let method = self.method.as_deref().unwrap_or(&line.method);
        let mut headers = HeaderMap::new();
        for (name, value) in &line.headers {
            add_header(&mut headers, name, value)?;
        }
        for header in &self.headers {
            let (name, value) = header.split_once(':').with_context(|| format!("`{header}` is not `name: value`"))?;
            add_header(&mut headers, name.trim(), value.trim())?;
        }
        for cookie in &self.cookies {
            if !cookie.contains('=') {
                bail!("`{cookie}` is not name=value");
            }
            add_cookie(&mut headers, cookie)?;
        }
        Ok(ImaginedRequest {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| anyhow!("`{method}` is not a method"))?,
            url: line.url,
            headers,
            peer: self.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            listener: None,
        })
    }

    /// What the process that runs says.
    fn ask(&self, line: CurlLine) -> anyhow::Result<Exit> {
        let request = self.request(line)?;
        let mut headers = serde_json::Map::new();
        for (name, value) in &request.headers {
            let value = value.to_str().with_context(|| format!("header {name} is no plain text"))?;
            // fields of one name are one list (RFC 9110 5.3)
            let joined = match headers.get(name.as_str()).and_then(Value::as_str) {
                Some(before) => format!("{before}, {value}"),
                None => value.to_owned(),
            };
            headers.insert(name.to_string(), joined.into());
        }
        let asked = json!({
            "url": request.url, "method": request.method.as_str(), "headers": headers, "listener": self.listener,
            "ip": self.client_ip,
        });
        let door = self.door.find()?;
        let body = json!({ "requests": [asked], "text": self.output == Output::Text });
        let mut batch = match client::ask(&door.address, "/api/v1/explain", &body, ANSWER_WITHIN) {
            Ok(batch) => batch,
            Err(error) => return Ok(door.tell(&error)),
        };
        let answer = batch["answers"][0].take();
        if let Some(problem) = answer["problem"].as_str() {
            bail!("{problem}");
        }
        match (self.output, answer["text"].as_str()) {
            (Output::Text, Some(text)) => print(text)?,
            _ => print_json(&answer)?,
        }
        Ok(if answer["service"].is_string() { Exit::Yes } else { Exit::No })
    }
}

/// A URL, or what was pasted from a terminal or a browser: a curl line.
fn of_text(text: &str) -> Result<CurlLine, String> {
    if curl_line::is_one(text) {
        return curl_line::parse(text);
    }
    let url = text.trim();
    if url.is_empty() {
        return Err("there is no request; type a URL such as https://shop.example.com/cart".to_owned());
    }
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    Ok(CurlLine { method: "GET".to_owned(), url, ..CurlLine::default() })
}

fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> anyhow::Result<()> {
    let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| anyhow!("`{name}` is not a header name"))?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| anyhow!("header {name} has a bad value"))?;
    headers.try_append(field, value).context("too many header fields")?;
    Ok(())
}

/// All cookies go on one line, as clients send them.
fn add_cookie(headers: &mut HeaderMap, cookie: &str) -> anyhow::Result<()> {
    let mut line = headers.get(header::COOKIE).map_or(Vec::new(), |line| [line.as_bytes(), b"; "].concat());
    line.extend_from_slice(cookie.as_bytes());
    headers.insert(header::COOKIE, HeaderValue::from_bytes(&line).context("the cookie has a bad value")?);
    Ok(())
}

fn find_listener(file: &File, wanted: &str) -> anyhow::Result<SocketAddr> {
    let is_wanted = |listener: &&crate::config::schema::Listener| {
        listener.name.as_deref() == Some(wanted) || listener.address.to_string() == wanted
    };
    let found = file.listeners.iter().find(is_wanted).map(|listener| listener.address);
    found.with_context(|| {
        let name = |listener: &crate::config::schema::Listener| match &listener.name {
            Some(name) => name.clone(),
            None => listener.address.to_string(),
        };
        let known: Vec<String> = file.listeners.iter().map(name).collect();
        format!("there is no listener `{wanted}`; there is {}", known.join(", "))
    })
}

/// Puts a user key where the service that the request reaches reads it first.
fn feed(prepared: &Prepared, request: &mut ImaginedRequest, user: &str) -> anyhow::Result<()> {
    let Ok(answer) = explain(&prepared.loaded.file, &prepared.snapshot, request).outcome else { return Ok(()) };
    let service = prepared.snapshot.service(&answer.service);
    let sources = service.map_or(&[][..], |service| &service.key_sources);
    let source = sources.iter().find(|source| !matches!(source, KeySource::JwtClaim(_)));
    match source.context("the user key comes from a token only; give it with -H 'authorization: Bearer ..'")? {
        KeySource::Header(name) => {
            request
                .headers
                .insert(name, HeaderValue::from_bytes(user.as_bytes()).context("the user key is no header value")?);
        }
        KeySource::Cookie(name) | KeySource::IssueCookie(name) => {
            // the first cookie of a name counts
            let others =
                request.headers.get(header::COOKIE).map_or(Vec::new(), |line| [b"; ", line.as_bytes()].concat());
            let line = [format!("{name}={user}").as_bytes(), &others].concat();
            request
                .headers
                .insert(header::COOKIE, HeaderValue::from_bytes(&line).context("the user key is no cookie value")?);
        }
        KeySource::Query(name) => {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let at = request.url.find('#').unwrap_or(request.url.len());
            let (before, _) = request.url.split_at(at);
            let (path, query) = before.split_once('?').unwrap_or((before, ""));
            request.url = format!("{path}?{}={}&{query}", encode(name), encode(user));
        }
        KeySource::ClientIp => {
            request.peer =
                user.parse().with_context(|| format!("users are told apart by address, and `{user}` is none"))?;
        }
        KeySource::JwtClaim(_) => {}
    }
    Ok(())
}
