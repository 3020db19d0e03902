//! What a JSON Web Token says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::borrow::Cow;

use super::TOKEN_BYTES_MAX;

/// The claims of a token (RFC 7519 section 4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// The claims of a token whose signature nobody checked here: for requests from trusted proxies only, which
    /// have checked it. Neither signature nor times are looked at. `None` where it is not a token.
    pub fn unverified(token: &[u8]) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        Claims::decode(payload)
    }

    /// The text of a claim: a string as it is, a number and a boolean as JSON writes them.
    ///
    /// A claim of exactly this name counts first (so that `https://example.com/plan` works); otherwise dots lead
    /// into objects, as in `realm.role`. Lists and objects have no text; see [`Claims::claim_texts`].
    pub fn claim_text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.claim(name).and_then(text)
    }

    /// The texts of a claim: one for a string, number or boolean, one for each such element of a list.
    pub fn claim_texts(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = match self.claim(name) {
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        values.iter().filter_map(text)
    }

    pub(super) fn decode(payload: &[u8]) -> Option<Claims> {
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice(&json).ok().map(Claims)
    }

    /// A registered claim, which no dot leads to.
    pub(super) fn top(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn claim(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let mut steps = name.split('.');
        let outermost = self.0.get(steps.next()?)?;
        steps.try_fold(outermost, |value, step| value.as_object()?.get(step))
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Claims {
        Claims(claims)
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(true) => Some("true".into()),
        Value::Bool(false) => Some("false".into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(json: &str) -> Claims {
        Claims(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn scalars_have_texts() {
        let claims = claims(
            r#"{"sub":"u-1","level":7,"ratio":1.5,"beta":true,"none":null,"realm":{"role":"admin","deep":{"a.b":1}},
                "https://x.example/plan":"pro","realm.role":"exact","groups":["staff",3,{"no":1},null]}"#,
        );
        for (name, text) in [
            ("sub", Some("u-1")),
            ("level", Some("7")),
            ("ratio", Some("1.5")),
            ("beta", Some("true")),
            ("none", None),
            ("realm", None),
            ("realm.role", Some("exact")),
            ("realm.deep.a.b", None),
            ("https://x.example/plan", Some("pro")),
            ("groups", None),
            ("", None),
            ("sub.x", None),
            ("absent", None),
        ] {
            assert_eq!(claims.claim_text(name).as_deref(), text, "{name}");
        }
        assert_eq!(claims.claim_texts("groups").collect::<Vec<_>>(), ["staff", "3"]);
        assert_eq!(claims.claim_texts("sub").collect::<Vec<_>>(), ["u-1"]);
        assert_eq!(claims.claim_texts("absent").count(), 0);
    }

    #[test]
    fn dots_lead_into_objects() {
        let claims = claims(r#"{"realm":{"role":"admin","access":{"level":2}}}"#);
        assert_eq!(claims.claim_text("realm.role").as_deref(), Some("admin"));
        assert_eq!(claims.claim_text("realm.access.level").as_deref(), Some("2"));
        assert_eq!(claims.claim_text("realm.role.x"), None);
    }

    #[test]
    fn an_unverified_token_has_three_parts() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"u-1"}"#);
        let read = |token: &str| Claims::unverified(token.as_bytes());
        assert_eq!(read(&format!("h.{payload}.s")).unwrap().claim_text("sub").as_deref(), Some("u-1"));
        for wrong in [
            payload.clone(),
            format!("h.{payload}"),
            format!("h.{payload}.s.t"),
            "..".to_owned(),
            "a.WzFd.c".to_owned(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
        assert_eq!(read(&format!("h.{payload}.{}", "s".repeat(TOKEN_BYTES_MAX))), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_claims_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in "\\PC{0,60}") {
            let _ = Claims::unverified(&bytes);
            let _ = Claims::unverified(format!("h.{}.s", URL_SAFE_NO_PAD.encode(json)).as_bytes());
        }
    }
}
