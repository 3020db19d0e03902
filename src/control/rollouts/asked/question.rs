//! What is asked, and how an answer is read.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

use super::standing::Heard;
use crate::config::files::References;
use crate::config::schema::{HttpGate, PrometheusGate};
use crate::config::values::Threshold;
use crate::control::outside::{Answered, Ask, Failed, Outside};
use crate::model::printable;

/// How often a Prometheus is asked when the file does not say.
const QUERY_EVERY: Duration = Duration::from_secs(30);
/// How often a web service is.
const SERVICE_EVERY: Duration = Duration::from_secs(60);
/// After an error it is asked again this soon, if not sooner.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// The longest text of an answer that is shown, in characters.
const SHOWN_MAX: usize = 120;

/// A question that is asked again and again.
#[derive(Clone, PartialEq)]
pub(super) struct Question {
    url: String,
    token: Option<HeaderValue>,
    pub(super) every: Duration,
    /// For an answer that is a number; else its status speaks.
    passes: Option<Threshold>,
}

impl Question {
    pub(super) fn of_query(gate: &PrometheusGate, references: &References) -> Question {
        let query = utf8_percent_encode(&gate.query, NON_ALPHANUMERIC);
        Question {
            url: format!("{}/api/v1/query?query={query}", gate.url.trim_end_matches('/')),
            token: token(gate.token_file.as_deref(), references),
            every: gate.every.map_or(QUERY_EVERY, |every| every.0),
            passes: Some(gate.pass_when),
        }
    }

    pub(super) fn of_service(gate: &HttpGate, references: &References) -> Question {
        Question {
            url: gate.url.clone(),
            token: token(gate.token_file.as_deref(), references),
            every: gate.every.map_or(SERVICE_EVERY, |every| every.0),
            passes: None,
        }
    }

    /// Asks once.
    pub(super) async fn ask(&self, outside: &Outside) -> Heard {
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            self.token.iter().map(|token| (AUTHORIZATION, token.clone())).collect();
        headers.push((ACCEPT, HeaderValue::from_static("application/json, */*")));
        let ask = Ask { method: Method::GET, url: self.url.clone(), headers, body: Bytes::new() };
        self.hear(&outside.ask(ask).await)
    }

    /// How long until it is asked again, by chance a little more or less.
    pub(super) fn pause(&self, is_error: bool) -> Duration {
        let pause = if is_error { self.every.min(AGAIN_MAX) } else { self.every };
        pause.mul_f64(0.95 + 0.1 * fastrand::f64())
    }

    fn hear(&self, answered: &Result<Answered, Failed>) -> Heard {
        let answered = match answered {
            Ok(answered) => answered,
            Err(failed) => return Heard::Error(failed.to_string()),
        };
        match &self.passes {
            Some(threshold) => hear_number(answered, threshold),
            None => hear_status(answered),
        }
    }
}

/// `Authorization: Bearer ..` from a file.
fn token(path: Option<&Path>, references: &References) -> Option<HeaderValue> {
    let secret = references.secret(path?)?;
    let text = std::str::from_utf8(secret.expose()).ok()?.trim();
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// 2xx pass, 409 harm; anything else says something of the one that was asked, and nothing of the release.
fn hear_status(answered: &Answered) -> Heard {
    let text = shown(&String::from_utf8_lossy(&answered.body));
    let said = if text.is_empty() { answered.status.to_string() } else { format!("{}: {text}", answered.status) };
    match answered.status {
        200..=299 => Heard::Pass(said),
        409 => Heard::Harm(said),
        300..=399 => Heard::Error(format!("{} is a redirect, which is not followed", answered.status)),
        _ => Heard::Error(format!("it answered {said}")),
    }
}

/// The one number of an instant query: a scalar, or a vector of one.
fn hear_number(answered: &Answered, threshold: &Threshold) -> Heard {
    let number = match read_number(answered) {
        Ok(number) => number,
        Err(why) => return Heard::Error(why),
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_nan() => Heard::Error("it answered NaN, which is no number".to_owned()),
        Ok(value) if threshold.holds(value) => Heard::Pass(format!("{number}, which is {threshold}")),
        Ok(_) => Heard::Harm(format!("{number}, which is not {threshold}")),
        Err(_) => Heard::Error(format!("it answered {}, which is no number", shown(&number))),
    }
}

fn read_number(answered: &Answered) -> Result<String, String> {
    if answered.is_cut {
        return Err("its answer is larger than 64 KiB; the query must come to one number".to_owned());
    }
    let document: Option<Value> = serde_json::from_slice(&answered.body).ok();
    let text = |key: &str| document.as_ref().and_then(|document| document[key].as_str());
    if answered.status != StatusCode::OK.as_u16() {
        let said = text("error").map(|error| format!(": {}", shown(error))).unwrap_or_default();
        return Err(format!("it answered {}{said}", answered.status));
    }
    let Some(data) = document.as_ref().filter(|_| text("status") == Some("success")).map(|document| &document["data"])
    else {
        return Err("its answer is not one of a Prometheus".to_owned());
    };
    let sample = match (data["resultType"].as_str(), data["result"].as_array().map(Vec::as_slice)) {
        (Some("scalar"), Some(sample)) => sample,
        (Some("vector"), Some([])) => return Err("it answered with nothing: no series fits the query".to_owned()),
        (Some("vector"), Some([series])) => series["value"].as_array().map(Vec::as_slice).unwrap_or_default(),
        (Some("vector"), Some(several)) => {
            return Err(format!("it answered {} series; the query must come to one number", several.len()));
        }
        _ => return Err("its answer is no number; the query must come to one".to_owned()),
    };
    match sample {
        [_, Value::String(number)] => Ok(number.clone()),
        _ => Err("its answer is not one of a Prometheus".to_owned()),
    }
}

/// The beginning of a stranger's text, as it can be shown.
fn shown(text: &str) -> String {
    let first: String = text.trim().chars().take(SHOWN_MAX).collect();
    printable(&first).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Answered {
        Answered { status, retry_after: None, body: Bytes::copy_from_slice(body.as_bytes()), is_cut: false }
    }

    fn vector(values: &[&str]) -> String {
        let series: Vec<String> =
            values.iter().map(|value| format!(r#"{{"metric":{{}},"value":[1732190000.1,"{value}"]}}"#)).collect();
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{}]}}}}"#, series.join(","))
    }

    #[test]
    fn a_number_is_compared_and_everything_else_is_an_error() {
        let threshold: Threshold = "< 2".parse().unwrap();
        let hear = |status, body: &str| hear_number(&answered(status, body), &threshold);
        assert_eq!(hear(200, &vector(&["1.4"])), Heard::Pass("1.4, which is < 2".to_owned()));
        assert_eq!(hear(200, &vector(&["2.4"])), Heard::Harm("2.4, which is not < 2".to_owned()));
        assert_eq!(hear(200, &vector(&["+Inf"])), Heard::Harm("+Inf, which is not < 2".to_owned()));
        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"0"]}}"#;
        assert_eq!(hear(200, scalar), Heard::Pass("0, which is < 2".to_owned()));
        for (status, body, why) in [
            (200, vector(&["NaN"]), "it answered NaN"),
            (200, vector(&[]), "it answered with nothing"),
            (200, vector(&["1", "1"]), "it answered 2 series"),
            (200, vector(&["1e"]), "it answered 1e, which is no number"),
            (200, vector(&["1.4"]).replace("success", "error"), "its answer is not one of a Prometheus"),
            (200, vector(&["1.4"]).replace("vector", "matrix"), "its answer is no number"),
            (200, vector(&["1.4"]).replace("\"1.4\"", "1.4"), "its answer is not one of a Prometheus"),
            (200, "<html>".to_owned(), "its answer is not one of a Prometheus"),
            (200, "[".repeat(10_000), "its answer is not one of a Prometheus"),
            (200, String::new(), "its answer is not one of a Prometheus"),
            (400, r#"{"status":"error","error":"parse error\u001b[2J"}"#.to_owned(), "it answered 400: parse error"),
            (503, vector(&["1.4"]), "it answered 503"),
            (302, String::new(), "it answered 302"),
        ] {
            let heard = hear(status, &body);
            assert!(matches!(&heard, Heard::Error(said) if said.starts_with(why)), "{body}: {heard:?}");
            assert!(!format!("{heard:?}").contains('\u{1b}'));
        }
        let cut = Answered { is_cut: true, ..answered(200, &vector(&["1.4"])) };
        assert!(matches!(hear_number(&cut, &threshold), Heard::Error(_)));
    }

    #[test]
    fn a_web_service_speaks_by_its_status() {
        assert_eq!(hear_status(&answered(204, "")), Heard::Pass("204".to_owned()));
        assert_eq!(hear_status(&answered(409, "audit open\n")), Heard::Harm("409: audit open".to_owned()));
        for status in [301, 400, 401, 404, 500, 503] {
            assert!(matches!(hear_status(&answered(status, "x")), Heard::Error(_)), "{status}");
        }
    }
}
