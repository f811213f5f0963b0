//! A witness on another machine, asked over HTTP as [C2SP tlog-witness](https://c2sp.org/tlog-witness) says: it gets each
//! checkpoint with the proof that it continues the one it saw before, and answers with its own signature over it, a
//! [cosignature](https://c2sp.org/tlog-cosignature) v1 (Ed25519, RFC 8032). What it signed is kept with the checkpoint.

use super::checkpoint;
use super::merkle::{self, Root};
use super::{Ledger, LedgerError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

/// The type of a cosigner's key in a C2SP verifier key.
const KIND: u8 = 4;

/// Whose cosignatures count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigner {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

/// What a witness answered: its status, and the text.
pub type Answer = (u16, String);

impl Cosigner {
    /// A verifier key, `name+12345678+base64`. `None` when it is none of a cosigner.
    pub fn read(key: &str) -> Option<Self> {
        let mut parts = key.trim().splitn(3, '+');
        let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(encoded).ok()?;
        let (kind, key) = bytes.split_first()?;
        let hash = Sha256::new().chain_update(name).chain_update([b'\n']).chain_update(&bytes).finalize();
        let own: [u8; 4] = hash.get(..4)?.try_into().ok()?;
        let fits = *kind == KIND && u32::from_str_radix(id, 16).ok()? == u32::from_be_bytes(own);
        fits.then_some(Self { name: name.to_owned(), id: own, key: key.try_into().ok()? })
    }

    /// Whether a note carries this cosigner's signature.
    pub fn has_signed(&self, note: &[u8]) -> bool {
        let Ok(note) = std::str::from_utf8(note) else { return false };
        let Some((text, signatures)) = note.rsplit_once("\n\n") else { return false };
        signatures.lines().any(|line| self.signed(&format!("{text}\n"), line))
    }

    fn signed(&self, text: &str, line: &str) -> bool {
        let encoded = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
        let Some((name, encoded)) = encoded.filter(|(name, _)| *name == self.name) else { return false };
        let Ok(bytes) = STANDARD.decode(encoded) else { return false };
        let Some((id, rest)) = bytes.split_first_chunk::<4>() else { return false };
        let Some((time, signature)) = rest.split_first_chunk::<8>() else { return false };
        let message = format!("cosignature/v1\ntime {}\n{text}", u64::from_be_bytes(*time));
        name == self.name
            && *id == self.id
            && UnparsedPublicKey::new(&ED25519, &self.key).verify(message.as_bytes(), signature).is_ok()
    }

    /// Shows the ledger's newest checkpoint to the witness, and returns it with the witness's signature. `seen` is what the
    /// witness saw last, as far as is known here; it says so when it is another one. `post` sends a body to it.
    ///
    /// # Errors
    /// A log that does not continue what the witness saw; a witness that does not answer, or not with its signature.
    pub fn ask(
        &self,
        ledger: &Ledger,
        (root, note): (Root, &[u8]),
        seen: u64,
        post: impl Fn(String) -> Result<Answer, String>,
    ) -> Result<Vec<u8>, LedgerError> {
        let failed = |problem: String| LedgerError::Store(format!("the witness `{}`: {problem}", self.name));
        let mut seen = seen;
        for _ in 0..2 {
            let body = request(ledger, (root, note), seen)?;
            let (status, answer) = post(body).map_err(&failed)?;
            match status {
                200 => {
                    let whole = [note, answer.as_bytes()].concat();
                    let signed = self.has_signed(&whole);
                    return if signed { Ok(whole) } else { Err(failed("it did not sign".to_owned())) };
                }
                // It saw another one last, and says of what size.
                409 => {
                    let size: Option<u64> = answer.trim().parse().ok().filter(|size| *size != seen);
                    seen = size.ok_or_else(|| failed("it does not say what it saw".to_owned()))?;
                    if seen > root.size && seen <= ledger.checkpoint()?.map_or(0, |newest| newest.size) {
                        return Err(failed("another node has shown it a newer one meanwhile".to_owned()));
                    }
                    if seen > root.size {
                        let reason = format!("the witness `{}` saw more entries than there are", self.name);
                        return Err(LedgerError::Damaged { stream: "*".to_owned(), reason });
                    }
                }
                422 => {
                    let reason = format!("it does not continue the {seen} entries that `{}` saw", self.name);
                    return Err(LedgerError::Damaged { stream: "*".to_owned(), reason });
                }
                status => return Err(failed(format!("status {status}"))),
            }
        }
        Err(failed("it does not know what it saw".to_owned()))
    }
}

/// The body of `add-checkpoint`: what was seen, the proof, and the checkpoint.
fn request(ledger: &Ledger, (root, note): (Root, &[u8]), seen: u64) -> Result<String, LedgerError> {
    let proof = match seen {
        0 => Vec::new(),
        _ => {
            let earlier = merkle::root_at(ledger.store(), root, seen)?;
            merkle::consistency(ledger.store(), root, earlier)?
        }
    };
    let lines: String = proof.iter().map(|hash| STANDARD.encode(hash.0) + "\n").collect();
    Ok(format!("old {seen}\n{lines}\n{}", String::from_utf8_lossy(note)))
}

/// The newest checkpoint of the ledger's own key.
pub(super) fn newest(ledger: &Ledger, public_key: &str) -> Result<Option<(Root, Vec<u8>)>, LedgerError> {
    let Some(note) = ledger.store().checkpoint()? else { return Ok(None) };
    let damaged = |reason: String| LedgerError::Damaged { stream: "*".to_owned(), reason };
    let root = checkpoint::read(&note, public_key).map_err(|error| damaged(error.to_string()))?;
    Ok(Some((root, note)))
}
