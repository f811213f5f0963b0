//! SHA-256 digests (FIPS 180-4) of everything that decides.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts([bytes])
    }

    /// The digest of several parts, each preceded by its length in bytes (64-bit little-endian), so that
    /// moving a boundary changes the digest. A single part is hashed as it is.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>) -> Self {
        let parts = parts.into_iter();
        let framed = parts.len() != 1;
        let mut hasher = Sha256::new();
        for part in parts {
            if framed {
                hasher.update((part.len() as u64).to_le_bytes());
            }
            hasher.update(part);
        }
        Self(format!("sha256:{:x}", hasher.finalize()))
    }

    /// A hash that was computed elsewhere.
    pub fn of_hash(hash: &[u8]) -> Self {
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
    }

    /// The digest of a value's JSON. Struct fields keep their declared order and maps are ordered, so
    /// equal values have equal digests.
    pub fn of_json<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::of(&serde_json::to_vec(value)?))
    }

    /// Takes a digest that somebody wrote down; `None` when it is not of the form.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        (hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits without the prefix, for file names.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_test_vector() {
        assert_eq!(
            Digest::of(b"abc").as_str(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_moved_boundary_changes_the_digest() {
        assert_ne!(
            Digest::of_parts([b"ab".as_slice(), b"c".as_slice()]),
            Digest::of_parts([b"a".as_slice(), b"bc".as_slice()])
        );
    }

    #[test]
    fn only_well_formed_digests_parse() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(digest.as_str()), Some(digest));
        assert_eq!(Digest::parse("sha256:12"), None);
        assert_eq!(Digest::parse("md5:0"), None);
    }
}
