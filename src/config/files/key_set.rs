//! A JSON Web Key Set (RFC 7517) and the verification of tokens (RFC 7519, RFC 8725) with it.

use jsonwebtoken::{Algorithm, crypto, decode_header};
use serde_json::Value;
use std::path::Path;
use thiserror::Error;

use super::Claims;
use super::jwk::Key;
use super::source::{Access, FileProblem, Source};

/// The most bytes of a key set file.
pub const KEY_SET_BYTES_MAX: usize = 1 << 20;

/// The most keys of a key set.
pub const KEYS_MAX: usize = 64;

/// The most bytes of a token; a longer one is refused unread.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The most signatures that are tried for one token, so that a token without a key id costs little.
const TRIES_MAX: usize = 8;

/// How far clocks may differ, in seconds.
const LEEWAY_SECONDS: f64 = 60.0;

/// Keys that verify tokens.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// What a token must say; `None` is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The only accepted `iss`.
    pub issuer: Option<String>,
    /// What `aud` must be or contain.
    pub audience: Option<String>,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenProblem {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// It is not a signed JSON Web Token, or has a critical extension.
    #[error("the token is malformed")]
    Malformed,
    /// No key of the set fits its key id and algorithm.
    #[error("no key of the set fits the token's key id and algorithm")]
    NoKey,
    /// No key verifies the signature.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is not the expected one.
    #[error("the token is of another issuer")]
    Issuer,
    /// `aud` is not the expected one.
    #[error("the token is for another audience")]
    Audience,
}

impl KeySet {
    /// Reads a key set from a file. A file with shared secrets (`"kty": "oct"`) must be as closed as a secret.
    ///
    /// # Errors
    /// The file cannot be read, may be written by everyone, or is not a key set (see [`KeySet::parse`]).
    pub fn load(path: &Path) -> Result<KeySet, FileProblem> {
        let source = Source::open(path)?;
        source.judge(Access::Public)?;
        let keys = KeySet::parse(&source.read(KEY_SET_BYTES_MAX)?)?;
        if keys.keys.iter().any(|key| key.is_secret) {
            source.judge(Access::Secret)?;
        }
        Ok(keys)
    }

    /// Reads the JSON of a key set. Keys of other types and uses are passed over.
    ///
    /// # Errors
    /// It is not `{"keys": [..]}`, a key is malformed or too weak, there are more than [`KEYS_MAX`], or none is
    /// left.
    pub fn parse(json: &[u8]) -> Result<KeySet, FileProblem> {
        let document: Value = serde_json::from_slice(json)
            .map_err(|error| FileProblem::at(error.line().max(1), format!("is not JSON: {error}")))?;
        let list = document.get("keys").and_then(Value::as_array).ok_or_else(|| {
            FileProblem::whole("is not a JSON Web Key Set, which looks like {\"keys\": [{\"kty\": \"RSA\", ..}]}")
        })?;
        if list.len() > KEYS_MAX {
            return Err(FileProblem::whole(format!("has {} keys; {KEYS_MAX} are accepted", list.len())));
        }
        let mut keys = Vec::new();
        for (at, jwk) in list.iter().enumerate() {
            let key = jwk.as_object().ok_or("is not an object".to_owned()).and_then(Key::parse);
            keys.extend(key.map_err(|message| FileProblem::whole(format!("keys[{at}] {message}")))?);
        }
        if keys.is_empty() {
            return Err(FileProblem::whole(
                "has no key that verifies tokens; RSA, EC (P-256, P-384), OKP (Ed25519) and oct keys do",
            ));
        }
        Ok(KeySet { keys })
    }

    /// The claims of a token, if a key of the set signed it, it is in its time at `now_unix` (seconds since 1970,
    /// give or take 60), and it is of the expected issuer and audience.
    ///
    /// `exp` and `nbf` are checked where the token has them.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of [`TokenProblem`].
    pub fn verify(&self, token: &[u8], expected: &Expected, now_unix: u64) -> Result<Claims, TokenProblem> {
        let parts = Parts::split(token)?;
        let header = decode_header(token).map_err(|_| TokenProblem::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenProblem::Malformed);
        }
        self.check_signature(&parts, header.kid.as_deref(), header.alg)?;
        let claims = Claims::decode(parts.payload).ok_or(TokenProblem::Malformed)?;
        check_times(&claims, now_unix)?;
        check_parties(&claims, expected)?;
        Ok(claims)
    }

    /// How many keys of the set verify tokens.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key verifies tokens; never true of a set that was read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A key id chooses the keys that bear it; keys without an id are tried for any token.
    fn check_signature(&self, parts: &Parts<'_>, id: Option<&str>, algorithm: Algorithm) -> Result<(), TokenProblem> {
        let is_of_id = |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        let mut fitting =
            self.keys.iter().filter(is_of_id).filter(|key| key.algorithms.contains(&algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(TokenProblem::NoKey);
        }
        let verifies = |key: &Key| crypto::verify(parts.signature, parts.message, &key.material, algorithm);
        match fitting.take(TRIES_MAX).any(|key| verifies(key).unwrap_or(false)) {
            true => Ok(()),
            false => Err(TokenProblem::Signature),
        }
    }
}

struct Parts<'t> {
    message: &'t [u8],
    payload: &'t [u8],
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn split(token: &'t [u8]) -> Result<Parts<'t>, TokenProblem> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenProblem::TooLong);
        }
        let mut dots = memchr::memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(TokenProblem::Malformed);
        };
        let signature = std::str::from_utf8(&token[second + 1..]).map_err(|_| TokenProblem::Malformed)?;
        Ok(Parts { message: &token[..second], payload: &token[first + 1..second], signature })
    }
}

fn check_times(claims: &Claims, now_unix: u64) -> Result<(), TokenProblem> {
    let now = now_unix as f64;
    if seconds(claims, "exp")?.is_some_and(|expires| now >= expires + LEEWAY_SECONDS) {
        return Err(TokenProblem::Expired);
    }
    if seconds(claims, "nbf")?.is_some_and(|begins| now + LEEWAY_SECONDS < begins) {
        return Err(TokenProblem::NotYetValid);
    }
    Ok(())
}

fn seconds(claims: &Claims, name: &str) -> Result<Option<f64>, TokenProblem> {
    match claims.top(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(TokenProblem::Malformed),
    }
}

fn check_parties(claims: &Claims, expected: &Expected) -> Result<(), TokenProblem> {
    if let Some(issuer) = &expected.issuer
        && claims.top("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(TokenProblem::Issuer);
    }
    if let Some(audience) = &expected.audience {
        let is_for_us = match claims.top("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        };
        if !is_for_us {
            return Err(TokenProblem::Audience);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Made with OpenSSL and Python, not with the library under test.
    const KEYS: &str = include_str!("../../../tests/vectors/jwt/keys.json");
    const TOKENS: &str = include_str!("../../../tests/vectors/jwt/tokens.tsv");

    const NOT_BEFORE: u64 = 1_700_000_000;
    const EXPIRES: u64 = 1_893_456_000;

    fn tokens() -> HashMap<&'static str, &'static str> {
        TOKENS.lines().filter_map(|line| line.split_once('\t')).collect()
    }

    fn keys() -> KeySet {
        KeySet::parse(KEYS.as_bytes()).unwrap()
    }

    fn check(token: &str, now: u64) -> Result<Claims, TokenProblem> {
        keys().verify(token.as_bytes(), &Expected::default(), now)
    }

    #[test]
    fn tokens_of_each_key_type_are_verified() {
        assert_eq!(keys().len(), 4);
        for name in ["RS256", "PS256", "ES384", "EdDSA", "HS256"] {
            let claims = check(tokens()[name], EXPIRES - 1).unwrap_or_else(|problem| panic!("{name}: {problem}"));
            assert_eq!(claims.claim_text("sub").as_deref(), Some("u-1842"));
            assert_eq!(claims.claim_text("realm.role").as_deref(), Some("admin"));
        }
    }

    #[test]
    fn the_examples_of_rfc_7515_are_verified() {
        let keys = KeySet::parse(
            br#"{"keys":[
            {"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},
            {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#,
        )
        .unwrap();
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        for (header, signature) in [
            ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            (
                "eyJhbGciOiJFUzI1NiJ9",
                "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            ),
        ] {
            let token = format!("{header}.{payload}.{signature}");
            let claims = keys.verify(token.as_bytes(), &Expected::default(), 1_300_819_379).unwrap();
            assert_eq!(claims.claim_text("http://example.com/is_root").as_deref(), Some("true"));
        }
    }

    #[test]
    fn no_algorithm_and_another_algorithm_are_refused() {
        assert_eq!(check(tokens()["none"], NOT_BEFORE), Err(TokenProblem::Malformed));
        assert_eq!(check(tokens()["HS256 keyed with the RSA modulus"], NOT_BEFORE), Err(TokenProblem::NoKey));
        let parts: Vec<_> = tokens()["HS256"].split('.').collect();
        assert_eq!(check(&format!("{}.{}.", parts[0], parts[1]), NOT_BEFORE), Err(TokenProblem::Signature));
    }

    #[test]
    fn times_have_a_minute_of_leeway() {
        let token = tokens()["EdDSA"];
        for (now, problem) in [
            (NOT_BEFORE - 61, Some(TokenProblem::NotYetValid)),
            (NOT_BEFORE - 60, None),
            (EXPIRES, None),
            (EXPIRES + 59, None),
            (EXPIRES + 60, Some(TokenProblem::Expired)),
            (u64::MAX, Some(TokenProblem::Expired)),
            (0, Some(TokenProblem::NotYetValid)),
        ] {
            assert_eq!(check(token, now).err(), problem, "{now}");
        }
    }

    #[test]
    fn issuer_and_audience_are_checked_where_expected() {
        let with = |issuer: Option<&str>, audience: Option<&str>| {
            let expected = Expected { issuer: issuer.map(Into::into), audience: audience.map(Into::into) };
            keys().verify(tokens()["EdDSA"].as_bytes(), &expected, NOT_BEFORE).err()
        };
        assert_eq!(with(Some("https://id.example.com"), Some("search")), None);
        assert_eq!(with(Some("https://id.example.com/"), None), Some(TokenProblem::Issuer));
        assert_eq!(with(None, Some("sho")), Some(TokenProblem::Audience));
    }

    #[test]
    fn a_change_of_any_character_is_noticed() {
        let keys = keys();
        for name in ["EdDSA", "HS256", "ES384"] {
            let token = tokens()[name];
            for at in 0..token.len() {
                let mut changed = token.as_bytes().to_vec();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                assert!(keys.verify(&changed, &Expected::default(), NOT_BEFORE).is_err(), "{name} at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["", ".", "..", "a.b.c", "a.b", "a.b.c.d", "\u{1F600}.a.b"] {
            assert_eq!(check(token, NOT_BEFORE), Err(TokenProblem::Malformed), "{token}");
        }
        assert_eq!(check(&"a".repeat(TOKEN_BYTES_MAX + 1), NOT_BEFORE), Err(TokenProblem::TooLong));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        for (json, says) in [
            ("", "is not JSON"),
            ("[]", "is not a JSON Web Key Set"),
            (r#"{"keys":{}}"#, "is not a JSON Web Key Set"),
            (r#"{"keys":[]}"#, "has no key that verifies tokens"),
            (r#"{"keys":[1]}"#, "keys[0] is not an object"),
            (r#"{"keys":[{}]}"#, "keys[0] has no `kty`"),
            (r#"{"keys":[{"kty":"RSA"}]}"#, "keys[0] has no `n`"),
            (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "24 bits; 2048 to 8192"),
            (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#, "`x` of 1 bytes; its curve has 32"),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"+/=="}]}"#, "not base64url"),
            (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "fewer than 32 bytes"),
            (r#"{"keys":[{"kty":"EC","crv":"P-521"},{"kty":"x"}]}"#, "has no key that verifies tokens"),
        ] {
            let problem = KeySet::parse(json.as_bytes()).unwrap_err();
            assert!(problem.message.contains(says), "{json}: {problem}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"x"}"#; KEYS_MAX + 1].join(","));
        assert!(KeySet::parse(many.as_bytes()).unwrap_err().message.contains("has 65 keys"));
        assert_eq!(KeySet::parse(b"{\n\"keys\": [\n}").unwrap_err().line, Some(3));
    }

    #[test]
    fn a_file_with_shared_secrets_must_be_closed() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let set_mode = |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::write(file.path(), KEYS).unwrap();
        set_mode(0o644);
        assert!(KeySet::load(file.path()).unwrap_err().message.contains("chmod 0640"));
        set_mode(0o640);
        assert_eq!(KeySet::load(file.path()).unwrap().len(), 4);
        let public: String = KEYS.lines().filter(|line| !line.contains("oct")).collect();
        std::fs::write(file.path(), public).unwrap();
        set_mode(0o644);
        assert_eq!(KeySet::load(file.path()).unwrap().len(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_set_or_a_problem(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::parse(&bytes);
        }

        #[test]
        fn any_bytes_are_refused_as_a_token(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(keys().verify(&bytes, &Expected::default(), 0).is_err());
        }
    }
}
