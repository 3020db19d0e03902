//! `POST /explain`: what requests would get and why, also with a weight that somebody tries.

use super::api::answer;
use super::change::read;
use super::problem::Problem;
use super::room::Room;
use crate::config::schema::File;
use crate::config::values;
use crate::control::{WeightTrial, with_trial};
use crate::routing::curl_line;
use crate::routing::explain::{self as explaining, ImaginedRequest};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Requests of one batch.
const REQUESTS_MAX: usize = 1_000;

/// Requests to explain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Batch {
    /// At most 1,000.
    requests: Vec<Imagined>,
    /// A weight to try.
    weights: Option<Weights>,
    /// Each answer also as people read it, in `text`.
    #[serde(default)]
    text: bool,
}

/// A request that nobody sends: a URL with what belongs to it, or a curl line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Imagined {
    /// An absolute URL.
    url: Option<String>,
    /// `GET` where nobody says.
    method: Option<String>,
    /// Names and values.
    #[serde(default)]
    headers: IndexMap<String, String>,
    /// The address that it comes from.
    #[schemars(with = "Option<String>")]
    ip: Option<IpAddr>,
    /// The listener that it comes to, by name or address.
    listener: Option<String>,
    /// A curl line, in the place of URL, method and headers.
    curl: Option<String>,
}

/// A weight to try in a cohort; the remainder takes the rest.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Weights {
    service: String,
    cohort: String,
    variant: String,
    /// Percent of the cohort.
    #[schemars(with = "f64")]
    weight: serde_json::Number,
}

/// The answers have the order of the requests; one that cannot be understood has a `problem`.
pub(super) async fn explain(State(room): State<Room>, body: Bytes) -> Result<Response, Problem> {
    let Batch { requests, weights, text: has_text } = read(&body)?;
    if requests.is_empty() || requests.len() > REQUESTS_MAX {
        return Err(bad(format!("a batch has 1 to 1,000 requests, and this one {}", requests.len())));
    }
    let trial = weights.map(Weights::trial).transpose()?;
    let (in_force, snapshot) = (room.handle.in_force(), room.handle.snapshot());
    let work = move || {
        let tried = trial.map(|trial| with_trial(&in_force, &snapshot, &trial).map_err(bad)).transpose()?;
        let (file, snapshot) = (&in_force.loaded.file, tried.as_ref().unwrap_or(&snapshot));
        let one = |imagined: &Imagined| match imagined.request(file) {
            Ok(request) => {
                let explanation = explaining::explain(file, snapshot, &request);
                let mut answer = explanation.to_json();
                if has_text {
                    answer["text"] = explanation.to_text().into();
                }
                if imagined.curl.is_some() {
                    answer["request"] = understood(&request);
                }
                answer
            }
            Err(why) => json!({ "schema": "ringway.explain/v1", "problem": why }),
        };
        Ok::<Vec<Value>, Problem>(requests.iter().map(one).collect())
    };
    let answers = room.bench.work(work).await??;
    Ok(answer(StatusCode::OK, &json!({ "schema": "ringway.explain-batch/v1", "answers": answers })))
}

/// What a curl line asks, as a test of the file says it. Of a header that is there twice, the first.
fn understood(request: &ImaginedRequest) -> Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: IndexMap<&str, String> = request
        .headers
        .keys()
        .map(|name| (name.as_str(), request.headers.get(name).map(text).unwrap_or_default()))
        .collect();
    json!({ "method": request.method.as_str(), "url": request.url, "headers": headers })
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

impl Weights {
    fn trial(self) -> Result<WeightTrial, Problem> {
        let text = self.weight.to_string();
        let share = text.parse::<values::Percent>().map_err(|why| bad(format!("weight {text}: {why}")))?.0;
        Ok(WeightTrial { service: self.service, cohort: self.cohort, variant: self.variant, share })
    }
}

impl Imagined {
    fn request(&self, file: &File) -> Result<ImaginedRequest, String> {
        let line = match (&self.curl, &self.url) {
            (Some(curl), None) => curl_line::parse(curl)?,
            (None, Some(url)) => {
                let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
                curl_line::CurlLine { method: "GET".to_owned(), url, ..Default::default() }
            }
            _ => return Err("a request has a `url` or a `curl`, and not both".to_owned()),
        };
        let mut headers = HeaderMap::new();
        let given = self.headers.iter();
        for (name, value) in line.headers.iter().map(|(name, value)| (name, value)).chain(given) {
            let field =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not a header name"))?;
            let value = HeaderValue::from_str(value).map_err(|_| format!("header {name} has a bad value"))?;
            headers.try_append(field, value).map_err(|_| "too many header fields".to_owned())?;
        }
        let method = self.method.as_deref().unwrap_or(&line.method);
        Ok(ImaginedRequest {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a method"))?,
            url: line.url,
            headers,
            peer: self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            listener: self.listener.as_deref().map(|wanted| listener(file, wanted)).transpose()?,
        })
    }
}

fn listener(file: &File, wanted: &str) -> Result<SocketAddr, String> {
    let is_wanted = |listener: &&crate::config::schema::Listener| {
        listener.name.as_deref() == Some(wanted) || listener.address.to_string() == wanted
    };
    let found = file.listeners.iter().find(is_wanted);
    found.map(|listener| listener.address).ok_or_else(|| format!("there is no listener `{wanted}`"))
}
