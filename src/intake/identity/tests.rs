use super::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const NOW: i64 = 1_790_000_000;
const TEXT: &str = "Wir kommen nicht mehr in unser Konto rein.";

enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
}

impl Signer {
    fn ed() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn ec() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::Ec(
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap(),
        )
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed(_) => Algorithm::EdDsa,
            Self::Ec(_) => Algorithm::Es256,
        }
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn keys(&self) -> IdentityKeys {
        self.keys_from(&URL_SAFE_NO_PAD.encode(self.public())).unwrap()
    }

    fn keys_from(&self, public_key: &str) -> Result<IdentityKeys, IdentityKeyError> {
        IdentityKeys::new(&IdentityConfig {
            issuer: "https://bank.example".to_owned(),
            audience: "prokura".to_owned(),
            algorithm: self.algorithm(),
            public_key: public_key.to_owned(),
        })
    }

    fn sign_raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = match self {
            Self::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_raw(&json!({"alg": self.algorithm().name(), "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://bank.example", "aud": "prokura", "sub": "cus_001", "iat": NOW - 10, "exp": NOW + 200,
        "jti": "t-1", "case": "new", "msg": Digest::of(TEXT.as_bytes()).as_str(), "acr": "sca", "name": "ignored",
    })
}

fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn check(signer: &Signer, token: &str) -> Result<VerifiedToken, IdentityError> {
    verify(token, &signer.keys(), None, TEXT, Timestamp::from_millis(NOW * 1_000))
}

#[test]
fn a_good_token_of_either_algorithm_verifies() {
    for signer in [Signer::ed(), Signer::ec()] {
        let token = check(&signer, &signer.sign(&claims())).unwrap();
        let at = Timestamp::from_millis((NOW - 10) * 1_000);
        let identity =
            Identity::Verified { customer: CustomerId::new("cus_001"), assurance: Assurance::Sca, at };
        let expires_at = Timestamp::from_millis((NOW + 200) * 1_000);
        assert_eq!(token, VerifiedToken { identity, jti: "t-1".to_owned(), expires_at });
    }
}

#[test]
fn a_token_for_a_case_is_good_for_that_case_alone() {
    let signer = Signer::ed();
    let token = signer.sign(&with("case", json!("case_1")));
    let now = Timestamp::from_millis(NOW * 1_000);
    let on = |case: Option<&CaseId>| verify(&token, &signer.keys(), case, TEXT, now).map(|_| ());
    assert_eq!(on(Some(&CaseId::new("case_1"))), Ok(()));
    assert_eq!(on(Some(&CaseId::new("case_2"))), Err(IdentityError::OtherCase));
    assert_eq!(on(None), Err(IdentityError::OtherCase));
    let opening = signer.sign(&claims());
    let late = verify(&opening, &signer.keys(), Some(&CaseId::new("case_1")), TEXT, now);
    assert_eq!(late, Err(IdentityError::OtherCase));
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let signer = Signer::ed();
    let payload = claims().to_string();
    for alg in ["none", "None", "HS256", "ES256", "EdDSA ", "eddsa", ""] {
        let token = signer.sign_raw(&json!({"alg": alg}).to_string(), &payload);
        assert_eq!(check(&signer, &token), Err(IdentityError::Algorithm { expected: "EdDSA" }), "{alg}");
    }
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(&payload));
    assert_eq!(check(&signer, &unsigned), Err(IdentityError::Algorithm { expected: "EdDSA" }));
    let empty =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#), URL_SAFE_NO_PAD.encode(&payload));
    assert_eq!(check(&signer, &empty), Err(IdentityError::Signature));
    let critical = signer.sign_raw(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#, &payload);
    assert_eq!(check(&signer, &critical), Err(IdentityError::Critical));
    // RFC 7518's confusion: the public key as the secret of a MAC.
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &signer.public());
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(&payload));
    let tag = ring::hmac::sign(&secret, signed.as_bytes());
    let confused = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
    assert_eq!(check(&signer, &confused), Err(IdentityError::Algorithm { expected: "EdDSA" }));
}

#[test]
fn another_key_or_a_changed_token_is_refused() {
    for (signer, other) in [(Signer::ed(), Signer::ed()), (Signer::ec(), Signer::ec())] {
        assert_eq!(check(&signer, &other.sign(&claims())), Err(IdentityError::Signature));
        let token = signer.sign(&claims());
        let parts: Vec<&str> = token.split('.').collect();
        let payload = URL_SAFE_NO_PAD.encode(with("sub", json!("cus_002")).to_string());
        let tampered = format!("{}.{payload}.{}", parts[0], parts[2]);
        assert_eq!(check(&signer, &tampered), Err(IdentityError::Signature));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(check(&signer, &String::from_utf8(bytes).unwrap()).is_err(), "byte {at}");
        }
    }
    let (ed, ec) = (Signer::ed(), Signer::ec());
    assert_eq!(check(&ed, &ec.sign(&claims())), Err(IdentityError::Algorithm { expected: "EdDSA" }));
}

#[test]
fn every_claim_is_checked() {
    let signer = Signer::ed();
    let life = |seconds| IdentityError::Life { seconds, limit: 300 };
    let ahead = NOW + 31;
    for (claim, value, error) in [
        ("iss", json!("https://other.example"), IdentityError::Issuer),
        ("aud", json!("other"), IdentityError::Audience),
        ("sub", json!(""), IdentityError::Claim { claim: "sub" }),
        ("sub", json!("cus\u{0}1"), IdentityError::Claim { claim: "sub" }),
        ("jti", json!("x".repeat(129)), IdentityError::Claim { claim: "jti" }),
        ("exp", json!(NOW), IdentityError::Expired),
        ("exp", json!(NOW - 1), IdentityError::Expired),
        ("exp", json!(NOW - 10 + 301), life(301)),
        ("exp", json!(i64::MAX), life(i64::MAX - NOW + 10)),
        ("iat", json!(ahead), IdentityError::NotYet),
        ("iat", json!(i64::MIN), life(i64::MAX)),
        ("nbf", json!(ahead), IdentityError::NotYet),
        ("case", json!("case_9"), IdentityError::OtherCase),
        ("msg", json!(Digest::of(b"another text").as_str()), IdentityError::OtherMessage),
        ("msg", json!(""), IdentityError::OtherMessage),
    ] {
        assert_eq!(check(&signer, &signer.sign(&with(claim, value.clone()))), Err(error), "{claim}: {value}");
    }
    for (claim, value) in [
        ("exp", json!(NOW - 10 + 300)),
        ("iat", json!(NOW + 30)),
        ("nbf", json!(NOW)),
        ("acr", json!("login")),
    ] {
        assert!(check(&signer, &signer.sign(&with(claim, value.clone()))).is_ok(), "{claim}: {value}");
    }
}

#[test]
fn types_are_strict_and_nothing_is_missing_or_doubled() {
    let signer = Signer::ed();
    let refused = |token: &str| matches!(check(&signer, token), Err(IdentityError::Claims { .. }));
    for (claim, value) in [
        ("exp", json!(NOW as f64 + 200.0)),
        ("exp", json!((NOW + 200).to_string())),
        ("iat", json!(null)),
        ("aud", json!(["prokura"])),
        ("sub", json!(1)),
        ("acr", json!("SCA")),
        ("acr", json!("admin")),
        ("jti", json!(7)),
    ] {
        assert!(refused(&signer.sign(&with(claim, value.clone()))), "{claim}: {value}");
    }
    for claim in ["iss", "aud", "sub", "iat", "exp", "jti", "case", "msg", "acr"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(refused(&signer.sign(&claims)), "without {claim}");
    }
    let doubled = claims().to_string().replacen('{', r#"{"sub":"cus_002","#, 1);
    assert!(refused(&signer.sign_raw(r#"{"alg":"EdDSA"}"#, &doubled)));
    let trailing = format!("{}{{}}", claims());
    assert!(refused(&signer.sign_raw(r#"{"alg":"EdDSA"}"#, &trailing)));
    assert!(refused(&signer.sign_raw(r#"{"alg":"EdDSA"}"#, "[]")));
}

#[test]
fn what_is_no_token_is_refused() {
    let signer = Signer::ed();
    let good = signer.sign(&claims());
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        "{}",
        "é.é.é",
        &format!("{good}="),
        &format!(" {good}"),
        &good.replace('.', ".."),
    ] {
        assert!(matches!(check(&signer, token), Err(IdentityError::Malformed { .. })), "{token}");
    }
    let long = "a".repeat(LONGEST_TOKEN + 1);
    assert!(matches!(check(&signer, &long), Err(IdentityError::TooLong { .. })));
}

#[test]
fn keys_come_as_pem_or_base64url_and_must_fit_the_algorithm() {
    for (signer, head) in [(Signer::ed(), ED25519_HEAD), (Signer::ec(), P256_HEAD)] {
        let der = [head, &signer.public()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let keys = signer.keys_from(&pem).unwrap();
        let token = signer.sign(&claims());
        assert!(verify(&token, &keys, None, TEXT, Timestamp::from_millis(NOW * 1_000)).is_ok());
        for bad in ["", "AAAA", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
            assert_eq!(
                signer.keys_from(bad).unwrap_err(),
                IdentityKeyError::Key { algorithm: signer.algorithm().name() }
            );
        }
    }
    let (ed, ec) = (Signer::ed(), Signer::ec());
    assert!(ec.keys_from(&URL_SAFE_NO_PAD.encode(&ec.public()[1..])).is_ok());
    assert!(ed.keys_from(&URL_SAFE_NO_PAD.encode(ec.public())).is_err());
    assert!(ec.keys_from(&URL_SAFE_NO_PAD.encode(ed.public())).is_err());
}

#[test]
fn one_public_text_and_no_personal_data_in_the_log() {
    let signer = Signer::ed();
    let error = check(&signer, &signer.sign(&with("acr", json!("Max Müller")))).unwrap_err();
    assert!(!error.to_string().contains("Müller"));
    assert_eq!(error.public(), IdentityError::Expired.public());
}
