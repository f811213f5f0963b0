//! The channel's signed token, the only thing that makes an identity `Verified`.
//!
//! A compact JWS (RFC 7515) whose payload is a JWT claim set (RFC 7519):
//!
//! | claim | value |
//! |---|---|
//! | `iss`, `aud` | strings, as configured |
//! | `sub` | the customer's id, 1 to 128 characters without control characters |
//! | `iat`, `exp` | whole seconds; `iat` at most 30 s ahead, `exp` at most 5 minutes behind `iat` and not yet past |
//! | `nbf` | optional, whole seconds, at most 30 s ahead |
//! | `jti` | 1 to 128 characters; the caller records it as used, once |
//! | `case` | `new` for the message that opens a case, else the case's id |
//! | `msg` | `sha256:` and the hexadecimal digest of the UTF-8 bytes of the message's text as sent |
//! | `acr` | `login` or `sca` |
//!
//! Claims and header parameters that are not named here are ignored, a `kid`, `jwk` or `jku` among them: the
//! key and its algorithm come from the configuration alone. A named one that occurs twice is refused, and so
//! is `crit` (RFC 7515, section 4.1.11).

use super::error::{IdentityError, IdentityKeyError};
use super::message::{Assurance, Identity};
use crate::base::{CaseId, CustomerId, Digest, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

const LONGEST_TOKEN: usize = 8 * 1024;
const LONGEST_LIFE: i64 = 300;
const CLOCK_SKEW: i64 = 30;
const LONGEST_NAME: usize = 128;

/// What the `case` claim says of a message that opens a case.
pub const NEW_CASE: &str = "new";

/// RFC 8037 and RFC 7518, section 3.4. A key is of one algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EdDsa => &ED25519,
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
        }
    }
}

/// The settings as they stand in the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    pub issuer: String,
    pub audience: String,
    pub algorithm: Algorithm,
    /// PEM (`BEGIN PUBLIC KEY`), or base64url without padding: 32 bytes for EdDSA; for ES256 the point,
    /// 65 bytes with its leading 4 or 64 without.
    pub public_key: String,
}

/// Whom the channel's tokens come from and whom they are for.
#[derive(Clone, Debug)]
pub struct IdentityKeys {
    issuer: String,
    audience: String,
    algorithm: Algorithm,
    public_key: Vec<u8>,
}

impl IdentityKeys {
    /// Refuses an empty issuer or audience and a key that is not of the algorithm.
    pub fn new(config: &IdentityConfig) -> Result<Self, IdentityKeyError> {
        for (field, value) in [("issuer", &config.issuer), ("audience", &config.audience)] {
            if value.trim().is_empty() {
                return Err(IdentityKeyError::Empty { field });
            }
        }
        let wrong = IdentityKeyError::Key { algorithm: config.algorithm.name() };
        let public_key = public_key(config.algorithm, &config.public_key).ok_or(wrong)?;
        Ok(Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            algorithm: config.algorithm,
            public_key,
        })
    }
}

/// DER of a SubjectPublicKeyInfo up to the key's bytes (RFC 8410, section 4; RFC 5480, section 2).
const ED25519_HEAD: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn public_key(algorithm: Algorithm, text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let body = text
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|t| t.strip_suffix("-----END PUBLIC KEY-----"));
    let mut key = match body {
        Some(body) => {
            let body: String = body.split_ascii_whitespace().collect();
            let head = if algorithm == Algorithm::EdDsa { ED25519_HEAD } else { P256_HEAD };
            STANDARD.decode(body).ok()?.strip_prefix(head)?.to_vec()
        }
        None => URL_SAFE_NO_PAD.decode(text).ok()?,
    };
    if algorithm == Algorithm::Es256 && key.len() == 64 {
        key.insert(0, 4);
    }
    let fits = match algorithm {
        Algorithm::EdDsa => key.len() == 32,
        Algorithm::Es256 => key.len() == 65 && key.first() == Some(&4),
    };
    fits.then_some(key)
}

/// What a good token says.
#[derive(Clone, PartialEq, Debug)]
pub struct VerifiedToken {
    /// Always `Verified`, at the time of the token's issue (never later than now).
    pub identity: Identity,
    /// To be recorded as used in the transaction that accepts the message; a second use is refused there.
    pub jti: String,
    /// From here on the token is refused anyway, and its `jti` may be forgotten.
    pub expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    jti: String,
    case: String,
    msg: String,
    acr: Assurance,
}

/// Checks a token for a message: signature, issuer, audience, times, case and text. `case` is the case that the
/// message goes to, `None` when it opens one; `text` is the message's text as sent, before anything was masked.
pub fn verify(
    token: &str,
    keys: &IdentityKeys,
    case: Option<&CaseId>,
    text: &str,
    now: Timestamp,
) -> Result<VerifiedToken, IdentityError> {
    let claims = signed_claims(token, keys)?;
    if claims.iss != keys.issuer {
        return Err(IdentityError::Issuer);
    }
    if claims.aud != keys.audience {
        return Err(IdentityError::Audience);
    }
    check_times(&claims, now)?;
    for (claim, value) in [("sub", &claims.sub), ("jti", &claims.jti)] {
        let length = value.chars().count();
        if !(1..=LONGEST_NAME).contains(&length)
            || value.chars().any(char::is_control)
            || value.trim() != value
        {
            return Err(IdentityError::Claim { claim });
        }
    }
    if claims.case != case.map_or(NEW_CASE, CaseId::as_str) {
        return Err(IdentityError::OtherCase);
    }
    if claims.msg != Digest::of(text.as_bytes()).as_str() {
        return Err(IdentityError::OtherMessage);
    }
    let issued = Timestamp::from_millis(claims.iat.saturating_mul(1_000));
    Ok(VerifiedToken {
        identity: Identity::Verified {
            customer: CustomerId::new(claims.sub),
            assurance: claims.acr,
            at: issued.min(now),
        },
        jti: claims.jti,
        expires_at: Timestamp::from_millis(claims.exp.saturating_mul(1_000)),
    })
}

/// The claims, once the signature holds; nothing of the payload is read before.
fn signed_claims(token: &str, keys: &IdentityKeys) -> Result<Claims, IdentityError> {
    if token.len() > LONGEST_TOKEN {
        return Err(IdentityError::TooLong { bytes: token.len(), limit: LONGEST_TOKEN });
    }
    let malformed = |part| IdentityError::Malformed { part };
    let (signed, signature) = token.rsplit_once('.').ok_or(malformed("three parts"))?;
    let (header, payload) = signed.split_once('.').ok_or(malformed("three parts"))?;
    if payload.contains('.') {
        return Err(malformed("three parts"));
    }
    let decode = |text: &str, part| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(part));
    let header: Header =
        serde_json::from_slice(&decode(header, "header")?).map_err(|_| malformed("header"))?;
    if header.alg != keys.algorithm.name() {
        return Err(IdentityError::Algorithm { expected: keys.algorithm.name() });
    }
    if header.crit.is_some() {
        return Err(IdentityError::Critical);
    }
    let signature = decode(signature, "signature")?;
    UnparsedPublicKey::new(keys.algorithm.verification(), &keys.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| IdentityError::Signature)?;
    // The message of the parser would quote the claims' values.
    serde_json::from_slice(&decode(payload, "payload")?)
        .map_err(|error| IdentityError::Claims { column: error.column() })
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), IdentityError> {
    let now = now.as_millis().div_euclid(1_000);
    let ahead = now.saturating_add(CLOCK_SKEW);
    if claims.iat > ahead || claims.nbf.is_some_and(|start| start > ahead) {
        return Err(IdentityError::NotYet);
    }
    if claims.exp <= now {
        return Err(IdentityError::Expired);
    }
    let life = claims.exp.saturating_sub(claims.iat);
    if !(1..=LONGEST_LIFE).contains(&life) {
        return Err(IdentityError::Life { seconds: life, limit: LONGEST_LIFE });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
