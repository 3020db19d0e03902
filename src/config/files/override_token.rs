//! Signed overrides: how a person who holds the secret asks for the new version, or refuses it.
//!
//! `always;exp=<unix seconds>;sig=<base64url, no padding, of HMAC-SHA-256(secret, "<service>;always;<exp>")>`

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

use super::Secret;

/// The most bytes of a token; a longer one counts as absent.
pub const OVERRIDE_TOKEN_BYTES_MAX: usize = 256;

const HMAC_SHA256_BYTES: usize = 32;

/// What an override asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The new version.
    Always,
    /// Not the new version.
    Never,
}

impl Choice {
    /// `always` or `never`, as it is written in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Choice::Always => "always",
            Choice::Never => "never",
        }
    }

    /// Reads a plain override, which counts only from the networks that the file names.
    pub fn parse(text: &[u8]) -> Option<Choice> {
        match text {
            b"always" => Some(Choice::Always),
            b"never" => Some(Choice::Never),
            _ => None,
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token for `choice` on `service` that is valid before `expires_unix` (seconds since 1970).
pub fn sign(secret: &Secret, service: &str, choice: Choice, expires_unix: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let tag = hmac::sign(&key, message(service, choice, expires_unix).as_bytes());
    format!("{choice};exp={expires_unix};sig={}", URL_SAFE_NO_PAD.encode(tag))
}

/// What a token asks for, if it is signed with `secret` for `service` and not expired at `now_unix`.
///
/// Malformed, forged and expired tokens are all the same as none, so that nobody can learn which it was.
pub fn verify(secret: &Secret, service: &str, token: &[u8], now_unix: u64) -> Option<Choice> {
    let Token { choice, expires_unix, signature } = Token::parse(token)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    hmac::verify(&key, message(service, choice, expires_unix).as_bytes(), &signature).ok()?;
    (now_unix < expires_unix).then_some(choice)
}

fn message(service: &str, choice: Choice, expires_unix: u64) -> String {
    format!("{service};{choice};{expires_unix}")
}

struct Token {
    choice: Choice,
    expires_unix: u64,
    signature: [u8; HMAC_SHA256_BYTES],
}

impl Token {
    /// Exactly one text stands for each token: no spaces, no leading zeros, no spare bits.
    fn parse(token: &[u8]) -> Option<Token> {
        if token.len() > OVERRIDE_TOKEN_BYTES_MAX {
            return None;
        }
        let (choice, rest) = std::str::from_utf8(token).ok()?.split_once(';')?;
        let (expires, signature) = rest.strip_prefix("exp=")?.split_once(";sig=")?;
        let is_canonical =
            expires.bytes().all(|byte| byte.is_ascii_digit()) && (!expires.starts_with('0') || expires == "0");
        if !is_canonical {
            return None;
        }
        Some(Token {
            choice: Choice::parse(choice.as_bytes())?,
            expires_unix: expires.parse().ok()?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Secret, service, choice, expiry and token, computed with Python's `hmac` and `base64`.
    const VECTORS: [(&[u8], &str, Choice, u64, &str); 4] = [
        (b"correct horse battery staple", "shop", Choice::Always, 1_893_456_000, "always;exp=1893456000;sig=HcJkUfXQ2j_vT-ShgXLYuhIPqBd1eODRL8I9evLpKAY"),
        (b"correct horse battery staple", "shop", Choice::Never, 1_893_456_000, "never;exp=1893456000;sig=Y2UXM0iV--QJLeIBnCAfsDQYp3PTfCbvOj1PysrheMA"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f", "search", Choice::Always, 4_102_444_800, "always;exp=4102444800;sig=ms7CHppg1E2vgoXR_5IrzdKOT_VRoLCkAdCl4H3zFxk"),
        (b"s\xc3\xb8ke\x00\xff", "søk", Choice::Never, 0, "never;exp=0;sig=LxU-QZOuRLX5tIU9clcpDrtfoYKWeeyUEvWzh7uoROw"),
    ];

    fn secret(bytes: &[u8]) -> Secret {
        Secret::parse(bytes).unwrap()
    }

    #[test]
    fn tokens_are_those_of_the_contract() {
        for (bytes, service, choice, expires, token) in VECTORS {
            assert_eq!(sign(&secret(bytes), service, choice, expires), token);
            let before = expires.checked_sub(1);
            assert_eq!(
                before.and_then(|now| verify(&secret(bytes), service, token.as_bytes(), now)),
                before.map(|_| choice)
            );
            assert_eq!(verify(&secret(bytes), service, token.as_bytes(), expires), None, "expired");
        }
    }

    #[test]
    fn a_wrong_token_counts_as_absent() {
        let (bytes, service, _, expires, token) = VECTORS[0];
        let signature = token.rsplit_once("sig=").unwrap().1;
        let now = expires - 1;
        let check = |text: &str| verify(&secret(bytes), service, text.as_bytes(), now);
        assert!(check(token).is_some());
        for wrong in [
            String::new(),
            "always".to_owned(),
            ";exp=;sig=".to_owned(),
            format!("never;exp={expires};sig={signature}"),
            format!("always;exp={};sig={signature}", expires + 1),
            format!("always;exp=0{expires};sig={signature}"),
            format!("always;exp=+{expires};sig={signature}"),
            format!("always;exp={expires};sig={signature}="),
            format!("always;exp={expires};sig={signature};"),
            format!(" {token}"),
            format!("{token} "),
            format!("always;exp={expires};sig={}", &signature[1..]),
            format!("always;exp={expires};sig="),
            format!("always;exp=99999999999999999999;sig={signature}"),
            format!("{token}{}", "A".repeat(300)),
        ] {
            assert_eq!(check(&wrong), None, "{wrong}");
        }
        assert_eq!(verify(&secret(b"another"), service, token.as_bytes(), now), None, "another secret");
        assert_eq!(verify(&secret(bytes), "search", token.as_bytes(), now), None, "another service");
    }

    #[test]
    fn a_change_of_any_bit_makes_it_invalid() {
        let (bytes, service, choice, expires, token) = VECTORS[0];
        let secret = secret(bytes);
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut changed = token.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                assert_eq!(verify(&secret, service, &changed, 1), None, "byte {at} bit {bit}");
            }
        }
        assert_eq!(verify(&secret, service, token.as_bytes(), expires - 1), Some(choice));
    }

    proptest! {
        #[test]
        fn what_is_signed_is_verified(key in proptest::collection::vec(any::<u8>(), 2..64), service in ".{0,40}", expires in 1u64.., at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let secret = Secret::parse(&key)?;
            let token = sign(&secret, &service, Choice::Always, expires);
            prop_assert_eq!(verify(&secret, &service, token.as_bytes(), expires - 1), Some(Choice::Always));
            let mut changed = token.clone().into_bytes();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != byte);
            changed[at] = byte;
            prop_assert_eq!(verify(&secret, &service, &changed, 0), None);
        }

        #[test]
        fn any_bytes_are_a_token_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(verify(&secret(b"k"), "shop", &bytes, 0), None);
        }
    }
}
