//! Checkpoints: the size and root of the tree, signed. The text is the C2SP tlog-checkpoint, the signature that of a
//! C2SP signed note with Ed25519 (RFC 8032).

use super::LedgerError;
use super::merkle::Root;
use crate::base::durable;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, VerifierList, generate_key};
use std::path::Path;
use tlog_tiles::Checkpoint;

/// Signs for one log.
pub struct Signer {
    signer: StandardSigner,
    /// What is given to those who verify.
    pub public_key: String,
}

impl Signer {
    /// The key in the file; the first time it is made, for a log of this origin.
    ///
    /// # Errors
    /// A file that cannot be read or made, that holds no key, or the key of another log.
    pub fn open(file: &Path, origin: &str) -> Result<Self, LedgerError> {
        let wrong = |problem: String| LedgerError::Key { file: file.display().to_string(), problem };
        if !signed_note::is_key_name_valid(origin) {
            let remedy = "`origin` is the name of the log, as a host and path without https://, blanks or +";
            return Err(wrong(format!("`{origin}` cannot be the origin of a log: {remedy}")));
        }
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (secret, _) = generate_key(&mut rand_core::OsRng, origin);
                durable::secret(file, format!("{secret}\n").as_bytes())
                    .map_err(|error| wrong(error.to_string()))?;
                secret
            }
            other => other.map_err(|error| wrong(error.to_string()))?,
        };
        let signer = StandardSigner::new(text.trim())
            .map_err(|_| wrong("this is no signing key (PRIVATE+KEY+origin+...)".to_owned()))?;
        if signer.name() != origin {
            let problem = format!("the key is of the log `{}`, not of `{origin}`", signer.name());
            return Err(wrong(problem));
        }
        let public_key = public_key(text.trim()).ok_or_else(|| wrong("the key is damaged".to_owned()))?;
        Ok(Self { signer, public_key })
    }

    /// A signed note about this root.
    pub fn sign(&self, root: Root) -> Result<Vec<u8>, LedgerError> {
        let failed =
            |problem: String| LedgerError::Store(format!("no checkpoint could be signed: {problem}"));
        let text = Checkpoint::new(self.signer.name(), root.size, root.hash, "")
            .map_err(|error| failed(error.to_string()))?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(|error| failed(error.to_string()))?;
        note.add_sigs(&[&self.signer]).map_err(|error| failed(error.to_string()))?;
        Ok(note.to_bytes())
    }
}

/// The public key of a secret one, as the C2SP writes both.
fn public_key(secret: &str) -> Option<String> {
    use base64::Engine as _;
    let mut parts = secret.splitn(5, '+');
    let (name, encoded) = (parts.nth(2)?, parts.nth(1)?);
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let seed = bytes.get(1..)?;
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
    let public = [&[1], ring::signature::KeyPair::public_key(&pair).as_ref()].concat();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&public);
    Some(format!("{name}+{:08x}+{encoded}", signed_note::key_id(name, &public)))
}

/// Why a note is not a checkpoint of the log whose key the verifier has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSigned {
    #[error("the public key is not of the form `origin+12345678+base64`")]
    Key,
    #[error("the checkpoint is not signed by the key `{0}`")]
    Signature(String),
    #[error("the checkpoint does not have the form of one")]
    Form,
    #[error("the witness has not signed the checkpoint")]
    Witness,
}

/// Reads a checkpoint that the holder of this key has signed.
pub fn read(note: &[u8], public_key: &str) -> Result<Root, NotSigned> {
    let verifier = StandardVerifier::new(public_key.trim()).map_err(|_| NotSigned::Key)?;
    let origin = public_key.split('+').next().unwrap_or_default().to_owned();
    let note = Note::from_bytes(note).map_err(|_| NotSigned::Form)?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)]))
        .map_err(|_| NotSigned::Signature(public_key.trim().to_owned()))?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|_| NotSigned::Form)?;
    if checkpoint.origin() != origin {
        return Err(NotSigned::Form);
    }
    Ok(Root { size: checkpoint.size(), hash: *checkpoint.hash() })
}

/// Reads a checkpoint whoever signed it.
pub fn unverified(note: &[u8]) -> Option<(String, Root)> {
    let note = Note::from_bytes(note).ok()?;
    let checkpoint = Checkpoint::from_bytes(note.text()).ok()?;
    Some((checkpoint.origin().to_owned(), Root { size: checkpoint.size(), hash: *checkpoint.hash() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlog_tiles::record_hash;

    fn root() -> Root {
        Root { size: 7, hash: record_hash(b"x") }
    }

    #[test]
    fn a_checkpoint_is_read_with_the_key_of_its_log_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.key");
        let signer = Signer::open(&file, "bank.example/prokura").unwrap();
        let note = signer.sign(root()).unwrap();
        assert_eq!(read(&note, &signer.public_key), Ok(root()));
        let again = Signer::open(&file, "bank.example/prokura").unwrap();
        assert_eq!(again.public_key, signer.public_key);
        let other = Signer::open(&folder.path().join("other.key"), "bank.example/prokura").unwrap();
        assert!(matches!(read(&note, &other.public_key), Err(NotSigned::Signature(_))));
        assert_eq!(read(&note, "bank.example"), Err(NotSigned::Key));
        assert_eq!(unverified(&note), Some(("bank.example/prokura".to_owned(), root())));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut changed = note.clone();
                changed[at] ^= 1 << bit;
                assert!(read(&changed, &signer.public_key).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_key_of_another_log_or_form_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.key");
        Signer::open(&file, "a").unwrap();
        let told = |origin: &str| Signer::open(&file, origin).err().unwrap().to_string();
        assert!(told("b").ends_with("the key is of the log `a`, not of `b`"));
        assert!(told("a b").contains("cannot be the origin"));
        std::fs::write(&file, "hello").unwrap();
        assert!(told("a").contains("no signing key"));
    }
}
