//! Secret keys: what is about customers is stored encrypted, and digests of it are keyed.
//!
//! Encryption is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) with a fresh random nonce of 192 bits before each
//! ciphertext; keyed digests are HMAC-SHA-256 (RFC 2104) under a key derived for one purpose.

use crate::base::Digest;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::hmac;
use zeroize::Zeroizing;

const NONCE: usize = 24;

/// 256 secret bits, wiped from memory at the end.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub fn fresh() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// `None` unless these are 32 bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Nonce and ciphertext. `context` must be the same when it is opened.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: context };
        let sealed = XChaCha20Poly1305::new((&*self.0).into()).encrypt(&XNonce::from(nonce), payload);
        // It fails for more than 256 GiB alone.
        [nonce.as_slice(), &sealed.unwrap_or_default()].concat()
    }

    /// `None` when it was not sealed with this key in this context, or was changed.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: text, aad: context };
        let plain = XChaCha20Poly1305::new((&*self.0).into()).decrypt(&XNonce::from(*nonce), payload);
        plain.ok().map(Zeroizing::new)
    }

    /// Another key, sealed with this one.
    pub fn wrap(&self, context: &str, key: &Self) -> Vec<u8> {
        self.seal(context.as_bytes(), key.bytes())
    }

    pub fn unwrap(&self, context: &str, wrapped: &[u8]) -> Option<Self> {
        Self::of(&self.open(context.as_bytes(), wrapped)?)
    }

    /// A digest that nobody without the key can make, or check a guess with.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Digest {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.bytes()), purpose.as_bytes());
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()));
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        Digest::of_hash(context.sign().as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context_only() {
        let (key, other) = (Secret::fresh(), Secret::fresh());
        let sealed = key.seal(b"case/1 0 received", b"Max");
        assert_eq!(key.open(b"case/1 0 received", &sealed).unwrap().as_slice(), b"Max");
        assert!(key.open(b"case/1 1 received", &sealed).is_none());
        assert!(other.open(b"case/1 0 received", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"case/1 0 received", &changed).is_none(), "byte {at}");
        }
        assert!(key.open(b"", &[0; 7]).is_none());
        assert_ne!(key.seal(b"", b"Max"), key.seal(b"", b"Max"));
    }

    #[test]
    fn the_cipher_is_the_one_of_the_draft() {
        // draft-irtf-cfrg-xchacha-03, A.3.1.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let key: Vec<u8> = (0x80..=0x9f).collect();
        let nonce: Vec<u8> = (0x40..=0x57).collect();
        let tail = hex("c0875924c1c7987947deafd8780acf49");
        let head = hex("bd6d179d3e83d43b9576579493c0e939");
        let plain =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it.";
        let key: [u8; 32] = key.try_into().unwrap();
        let nonce: [u8; 24] = nonce.try_into().unwrap();
        let payload = Payload { msg: plain.as_slice(), aad: &hex("50515253c0c1c2c3c4c5c6c7") };
        let sealed = XChaCha20Poly1305::new((&key).into()).encrypt(&XNonce::from(nonce), payload).unwrap();
        assert!(sealed.starts_with(&head) && sealed.ends_with(&tail));
    }

    #[test]
    fn keys_are_wrapped_and_digests_depend_on_key_and_purpose() {
        let (key, other) = (Secret::fresh(), Secret::fresh());
        assert_eq!(key.unwrap("k1", &key.wrap("k1", &other)).unwrap().bytes(), other.bytes());
        assert!(key.unwrap("k2", &key.wrap("k1", &other)).is_none());
        let digest = key.digest("subject", &[b"cus_1"]);
        assert_eq!(digest, key.digest("subject", &[b"cus_1"]));
        assert_ne!(digest, key.digest("once", &[b"cus_1"]));
        assert_ne!(digest, other.digest("subject", &[b"cus_1"]));
        assert_ne!(key.digest("x", &[b"a", b"bc"]), key.digest("x", &[b"ab", b"c"]));
        assert_eq!(format!("{key:?}"), "Secret");
    }
}
