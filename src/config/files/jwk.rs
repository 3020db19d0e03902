//! One key of a JSON Web Key Set (RFC 7517, RFC 7518 section 6, RFC 8037), as far as it can verify a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// A key with the algorithms that it may verify: those of its type, or the one that it names. A public key is
/// never used for HMAC, and `none` is not an algorithm.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) material: DecodingKey,
    /// It is a shared secret, so that who can read the file can sign.
    pub(super) is_secret: bool,
}

impl Key {
    /// Reads a key; `None` where it is not one that verifies tokens (another type, curve or use), which a reader
    /// of a key set has to pass over (RFC 7517 section 5).
    pub(super) fn parse(jwk: &Map<String, Value>) -> Result<Option<Key>, String> {
        if !is_for_signatures(jwk) {
            return Ok(None);
        }
        let Some((mut algorithms, material, is_secret)) = material(jwk)? else { return Ok(None) };
        if let Some(named) = jwk.get("alg") {
            algorithms.retain(|algorithm| named.as_str() == Some(&format!("{algorithm:?}")));
        }
        let id = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok((!algorithms.is_empty()).then_some(Key { id, algorithms, material, is_secret }))
    }
}

fn is_for_signatures(jwk: &Map<String, Value>) -> bool {
    let is_of_use = jwk.get("use").is_none_or(|usage| usage == "sig");
    let has_operation = jwk
        .get("key_ops")
        .is_none_or(|operations| operations.as_array().is_some_and(|list| list.iter().any(|one| one == "verify")));
    is_of_use && has_operation
}

type Material = (Vec<Algorithm>, DecodingKey, bool);

fn material(jwk: &Map<String, Value>) -> Result<Option<Material>, String> {
    let curve = jwk.get("crv").and_then(Value::as_str);
    Ok(Some(match (jwk.get("kty").and_then(Value::as_str).ok_or("has no `kty`")?, curve) {
        ("RSA", _) => (RSA.to_vec(), rsa(jwk)?, false),
        ("EC", Some("P-256")) => (vec![Algorithm::ES256], elliptic(jwk, 32)?, false),
        ("EC", Some("P-384")) => (vec![Algorithm::ES384], elliptic(jwk, 48)?, false),
        ("OKP", Some("Ed25519")) => (vec![Algorithm::EdDSA], DecodingKey::from_ed_der(&sized(jwk, "x", 32)?), false),
        ("oct", _) => shared(jwk)?,
        _ => return Ok(None),
    }))
}

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, String> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let modulus: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
    if !RSA_MODULUS_BYTES.contains(&modulus.len()) {
        return Err(format!("has an RSA modulus of {} bits; 2048 to 8192 are accepted", modulus.len() * 8));
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn elliptic(jwk: &Map<String, Value>, coordinate_bytes: usize) -> Result<DecodingKey, String> {
    let uncompressed_point = [vec![4], sized(jwk, "x", coordinate_bytes)?, sized(jwk, "y", coordinate_bytes)?].concat();
    Ok(DecodingKey::from_ec_der(&uncompressed_point))
}

/// RFC 7518 section 3.2: an HMAC key is at least as long as the hash.
fn shared(jwk: &Map<String, Value>) -> Result<Material, String> {
    let secret = bytes(jwk, "k")?;
    if secret.len() < 32 {
        return Err("has a shared secret of fewer than 32 bytes; type: openssl rand -base64 32".to_owned());
    }
    let sizes = [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)];
    let algorithms = sizes.into_iter().filter(|(_, size)| secret.len() >= *size).map(|(algorithm, _)| algorithm);
    Ok((algorithms.collect(), DecodingKey::from_secret(&secret), true))
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("has a `{name}` that is not base64url without padding"))
}

fn sized(jwk: &Map<String, Value>, name: &str, length: usize) -> Result<Vec<u8>, String> {
    let bytes = bytes(jwk, name)?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        Err(format!("has a `{name}` of {} bytes; its curve has {length}", bytes.len()))
    }
}
