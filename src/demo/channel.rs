//! The bank's login channel: it knows who is logged in, and says so in a signed token (a compact JWS of
//! RFC 7515 with EdDSA of RFC 8037) that is bound to one message.

use super::error::DemoError;
use crate::base::{Digest, Timestamp, ids};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};

pub const ISSUER: &str = "demo-bank";
pub const AUDIENCE: &str = "prokura";
/// Seconds that a token is valid.
const LIFETIME_S: i64 = 300;
const KEY_ID: &str = "demo-1";

pub struct Channel {
    key: Ed25519KeyPair,
}

/// What a customer who is logged in sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub customer: String,
    /// The message, exactly as it will be sent.
    pub text: String,
    /// The case that the message belongs to; without one, it opens a case.
    pub case: Option<String>,
    #[serde(default)]
    pub assurance: Assurance,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    Login,
    #[default]
    Sca,
}

impl Channel {
    /// A channel with a fresh key, which lives as long as this process.
    pub fn new() -> Result<Self, DemoError> {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| DemoError::Key)?;
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| DemoError::Key)?;
        Ok(Self { key })
    }

    /// The public key as a JWK (RFC 8037).
    pub fn public_key(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "x": x,
            "issuer": ISSUER, "audience": AUDIENCE})
    }

    /// The token for one message. It says who, how surely, for which case and for which text.
    pub fn token(&self, login: &Login, now: Timestamp) -> String {
        let issued = now.as_millis().div_euclid(1000);
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": KEY_ID});
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": login.customer,
            "iat": issued,
            "exp": issued + LIFETIME_S,
            "jti": ids::fresh("jti"),
            "case": login.case.as_deref().unwrap_or("new"),
            "msg": Digest::of(login.text.as_bytes()),
            "acr": match login.assurance { Assurance::Login => "login", Assurance::Sca => "sca" },
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn the_published_key_verifies_the_token_and_the_claims_bind_it_to_the_message() {
        let channel = Channel::new().unwrap();
        let login = Login {
            customer: "cus_001".to_owned(),
            text: "Grüß Gott".to_owned(),
            case: None,
            assurance: Assurance::Login,
        };
        let token = channel.token(&login, Timestamp::from_millis(1_790_000_000_999));
        let parts: Vec<&str> = token.split('.').collect();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let key = decode(channel.public_key()["x"].as_str().unwrap());
        let signed = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &decode(parts[2])).unwrap();
        let claims: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
        assert_eq!(claims["msg"], Digest::of("Grüß Gott".as_bytes()).as_str());
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert_eq!((&claims["case"], &claims["acr"]), (&json!("new"), &json!("login")));
        assert_ne!(
            channel.token(&login, Timestamp::from_millis(0)),
            channel.token(&login, Timestamp::from_millis(0))
        );
    }
}
