//! JSON: Ringway, Caddy, Traefik.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{Decided, Format, Line, address, empty, micros};

pub(super) fn parse(line: &str, format: Option<Format>) -> Result<Line, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("it is no JSON: {error}"))?;
    let Value::Object(fields) = value else { return Err("it is no JSON object".to_owned()) };
    let guessed = match () {
        () if fields.get("request").is_some_and(Value::is_object) => Format::Caddy,
        () if fields.contains_key("RequestPath") => Format::Traefik,
        () => Format::Ringway,
    };
    match format.unwrap_or(guessed) {
        Format::Caddy => caddy(&fields),
        Format::Traefik => traefik(&fields),
        Format::Ringway | Format::Envoy | Format::Combined => ringway(&fields),
    }
}

fn ringway(fields: &Map<String, Value>) -> Result<Line, String> {
    let mut line = empty(Format::Ringway, time(fields.get("ts"), "ts")?);
    line.status = status(fields.get("status"), "status")?;
    line.client = text(fields, "client").and_then(address);
    line.method = text(fields, "method").unwrap_or("GET").to_owned();
    line.host = text(fields, "host").map(str::to_owned);
    line.target = text(fields, "path").unwrap_or("/").to_owned();
    line.latency_us = fields.get("duration_us").and_then(Value::as_u64);
    line.is_aborted = text(fields, "flags").is_some_and(|flags| flags.split(',').any(|flag| flag == "DC"));
    add(&mut line.headers, "user-agent", text(fields, "user_agent"));
    let bucket = fields.get("bucket").and_then(Value::as_u64).and_then(|bucket| u32::try_from(bucket).ok());
    line.decided = text(fields, "service").map(|service| Decided {
        service: service.to_owned(),
        cohort: text(fields, "cohort").unwrap_or_default().to_owned(),
        bucket,
    });
    Ok(line)
}

fn caddy(fields: &Map<String, Value>) -> Result<Line, String> {
    let mut line = empty(Format::Caddy, time(fields.get("ts"), "ts")?);
    let Some(Value::Object(request)) = fields.get("request") else { return Err("it has no `request`".to_owned()) };
    line.status = status(fields.get("status"), "status")?;
    let client = text(request, "client_ip").or_else(|| text(request, "remote_ip"));
    line.client = client.and_then(address);
    line.method = text(request, "method").ok_or("it has no `request.method`")?.to_owned();
    line.host = text(request, "host").map(str::to_owned);
    line.target = text(request, "uri").unwrap_or("/").to_owned();
    line.latency_us = fields.get("duration").and_then(Value::as_f64).and_then(|seconds| micros(seconds, 1e6));
    line.is_aborted = line.status == 499;
    if let Some(Value::Object(headers)) = request.get("headers") {
        for (name, values) in headers {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
            // what Caddy does not show is not what the client sent
            values.filter(|value| *value != "REDACTED").for_each(|value| add(&mut line.headers, name, Some(value)));
        }
    }
    Ok(line)
}

fn traefik(fields: &Map<String, Value>) -> Result<Line, String> {
    let at = fields.get("StartUTC").or_else(|| fields.get("StartLocal")).or_else(|| fields.get("time"));
    let mut line = empty(Format::Traefik, time(at, "StartUTC")?);
    line.status = status(fields.get("DownstreamStatus"), "DownstreamStatus")?;
    line.client = text(fields, "ClientHost").and_then(address);
    line.method = text(fields, "RequestMethod").ok_or("it has no `RequestMethod`")?.to_owned();
    line.host = text(fields, "RequestHost").map(str::to_owned);
    line.target = text(fields, "RequestPath").unwrap_or("/").to_owned();
    line.latency_us = fields.get("Duration").and_then(Value::as_f64).and_then(|nanos| micros(nanos, 1e-3));
    line.is_aborted = line.status == 499;
    for (name, value) in fields {
        if let Some(name) = name.strip_prefix("request_") {
            add(&mut line.headers, name, value.as_str());
        }
    }
    Ok(line)
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && *text != "-")
}

fn status(value: Option<&Value>, name: &str) -> Result<u16, String> {
    let number = value.and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    number.filter(|status| *status < 1_000).ok_or_else(|| format!("it has no `{name}`"))
}

/// RFC 3339, or seconds since 1970.
fn time(value: Option<&Value>, name: &str) -> Result<u64, String> {
    let known = match value {
        Some(Value::String(text)) => text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond()),
        Some(Value::Number(number)) => number.as_f64().filter(|at| *at < 1e11).map(|at| (at * 1e3) as i64),
        _ => None,
    };
    let known = known.and_then(|ms| u64::try_from(ms).ok());
    known.ok_or_else(|| format!("it has no time in `{name}`"))
}

/// Header fields that are none are left out.
fn add(headers: &mut HeaderMap, name: &str, value: Option<&str>) {
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = value.map(|value| HeaderValue::from_bytes(value.as_bytes()));
    if let (Ok(name), Some(Ok(value))) = (name, value) {
        // a map that is full has more than any request may have
        let _ = headers.try_append(name, value);
    }
}
