//! A context to the answer of the protocol.

use super::context::Context;
use crate::config::schema::File;
use crate::model::{Reason, printable};
use crate::routing::Snapshot;
use crate::routing::explain::place_at;
use crate::routing::user_key::KeySource;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The body is not what the protocol asks for.
    Parse(String),
    /// The context cannot be the request of a user.
    Invalid(String),
    /// The user decides, and nobody says who it is.
    KeyMissing(String),
    /// There is no such service.
    NotFound,
}

impl Failure {
    /// The context cannot be the request of a user.
    pub(super) fn invalid(why: &str) -> Failure {
        Failure::Invalid(why.to_owned())
    }

    /// The status of an answer about this flag alone.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Failure::NotFound => StatusCode::NOT_FOUND,
            Failure::Parse(_) | Failure::Invalid(_) | Failure::KeyMissing(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The failure as the protocol writes it.
    pub(super) fn to_json(&self, key: &str) -> Value {
        let (code, details) = match self {
            Failure::Parse(why) => ("PARSE_ERROR", why.as_str()),
            Failure::Invalid(why) => ("INVALID_CONTEXT", why.as_str()),
            Failure::KeyMissing(why) => ("TARGETING_KEY_MISSING", why.as_str()),
            Failure::NotFound => ("FLAG_NOT_FOUND", "there is no service of this name"),
        };
        json!({ "key": key, "errorCode": code, "errorDetails": printable(details) })
    }
}

/// What a user gets of a service.
pub(super) fn evaluate(file: &File, snapshot: &Snapshot, name: &str, context: &Context) -> Result<Value, Failure> {
    let at = snapshot.services.iter().position(|service| &*service.name == name).ok_or(Failure::NotFound)?;
    let service = &snapshot.services[at];
    let request = context.request(&service.key_sources)?;
    let placed = place_at(file, snapshot, at, &request).map_err(|refusal| Failure::Invalid(refusal.message))?;
    let source = placed.key_source.filter(|_| placed.has_key).map(|at| &service.key_sources[at]);
    // an address that nobody told is not the user's
    let is_known = match source {
        None => false,
        Some(KeySource::ClientIp) => context.has_ip,
        Some(_) => true,
    };
    if !is_known && matches!(placed.reason, Reason::Split | Reason::Held) {
        let wanted: Vec<String> = service.key_sources.iter().map(KeySource::describe).collect();
        let why =
            format!("users are told apart by {}: give a targetingKey, or an `ip` for clientIP", wanted.join(", "));
        return Err(Failure::KeyMissing(why));
    }
    let reason = placed.reason.as_flag_reason().to_ascii_uppercase();
    let variant = &*service.variants[placed.variant].name;
    let mut metadata = json!({
        "cohort": *service.cohorts[placed.cohort].name,
        "rev": *snapshot.rev,
        "ringwayReason": placed.reason.as_str(),
    });
    if is_known {
        metadata["bucket"] = Value::from(placed.bucket.number());
    }
    Ok(json!({ "key": name, "reason": reason, "variant": variant, "value": variant, "metadata": metadata }))
}
