//! A web service of the user's own: one JSON document, signed as <https://www.standardwebhooks.com> has it, for which
//! there are libraries in most languages.
//!
//! `webhook-signature: v1,<base64 of HMAC-SHA-256(secret, "<webhook-id>.<webhook-timestamp>.<body>")>`

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::note::Note;

/// How a secret begins whose rest is base64, as those libraries write it.
const SECRET_PREFIX: &[u8] = b"whsec_";

pub(super) fn body(note: &Note) -> Value {
    let numbers: serde_json::Map<String, Value> =
        note.numbers.iter().map(|(name, number)| (name.clone(), Value::from(number.as_str()))).collect();
    json!({
        "schema": "ringway.notification/v1",
        "id": note.id,
        "kind": note.kind,
        "time": note.time(),
        "unixMs": note.unix_ms,
        "service": note.service,
        "rollout": note.rollout,
        "cohort": note.cohort,
        "actor": note.actor,
        "reason": note.reason,
        "sentence": note.sentence,
        "numbers": numbers,
        "runbook": note.runbook,
    })
}

/// The key of the signature: the bytes of the secret file, or what they stand for.
pub(super) fn key(secret: &[u8]) -> Vec<u8> {
    let encoded = secret.strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
    encoded.unwrap_or_else(|| secret.to_vec())
}

/// Who sends, when, and that it is so. Made anew for each attempt, so that a receiver can refuse old ones.
pub(super) fn headers(
    note: &Note,
    body: &str,
    secret: Option<&[u8]>,
    unix_seconds: u64,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = vec![("webhook-id", note.id.clone()), ("webhook-timestamp", unix_seconds.to_string())];
    if let Some(secret) = secret {
        headers.push(("webhook-signature", signature(secret, &note.id, unix_seconds, body)));
    }
    let field = |(name, value): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    };
    headers.into_iter().filter_map(field).collect()
}

fn signature(secret: &[u8], id: &str, unix_seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{id}.{unix_seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    #[test]
    fn a_signature_is_what_the_standard_says() {
        let key = key(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = r#"{"test": 2432232314}"#;
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_its_bytes_unless_it_says_otherwise() {
        for (secret, expected) in [(&b"pepper"[..], &b"pepper"[..]), (b"whsec_!", b"whsec_!"), (b"whsec_YQ==", b"a")] {
            assert_eq!(key(secret), expected);
        }
    }
}
