//! Which rules are proven to keep their invariants: what came with the program, and events of the stream `rules/proofs`.

use super::pack::Pack;
use crate::base::Digest;
use crate::ledger::{Digests, Ledger, LedgerError, NewEvent, Stream, StreamKind};
use serde_json::{Value, json};

const STREAM: &str = "proofs";
const PROVEN: &str = "proven";

/// The rules of the shipped pack, proven whenever the program is tested.
const SHIPPED: &str = "sha256:6f5084b0c51fa16a17f83762ed70ced1baf2f96d259667565b3b590918920645";

fn stream() -> Stream {
    Stream::new(StreamKind::Rules, STREAM)
}

/// What a proof is about: the rules, the schema that the tools give, the rules of administration, and the invariants of
/// both.
pub fn proof_name(pack: &Pack) -> Digest {
    let parts = [
        pack.governance.rules.digest(),
        pack.invariants.digest(),
        pack.governance.administration.digest(),
        pack.administration_invariants.digest(),
    ];
    Digest::of_parts(parts.map(|digest| digest.as_str().as_bytes()).to_vec())
}

/// Whether somebody has proven the rules of a pack. Blocks.
///
/// # Errors
/// A ledger that cannot be read.
pub fn is_proven(ledger: &Ledger, pack: &Pack) -> Result<bool, LedgerError> {
    Ok(proof_name(pack).as_str() == SHIPPED || is_told(ledger, pack)?)
}

fn is_told(ledger: &Ledger, pack: &Pack) -> Result<bool, LedgerError> {
    let name = proof_name(pack);
    let told = ledger.stream(&stream(), 0)?;
    Ok(told.iter().any(|entry| {
        entry.kind == PROVEN && entry.body.get("proof").is_some_and(|told| *told == name.as_str())
    }))
}

/// Writes a proof down, with the solver's name, the digest of its program, and what is proven: from now on the service
/// starts with these rules. Blocks.
///
/// # Errors
/// A ledger that cannot be written.
pub fn note_proof(
    ledger: &Ledger,
    digests: &Digests,
    pack: &Pack,
    (name, program, proven): (&str, Option<&Digest>, &[&str]),
) -> Result<(), LedgerError> {
    let solver = json!({"name": name, "program": program, "proven": proven});
    note(ledger, digests, pack, "solver", solver)
}

/// Writes down, once, that the rules of the shipped pack are in force, which are proven where the program is tested. Blocks.
///
/// # Errors
/// A ledger that cannot be read or written.
pub fn note_shipped(ledger: &Ledger, digests: &Digests, pack: &Pack) -> Result<(), LedgerError> {
    if proof_name(pack).as_str() != SHIPPED || is_told(ledger, pack)? {
        return Ok(());
    }
    note(ledger, digests, pack, "with_program", json!(true))
}

fn note(ledger: &Ledger, digests: &Digests, pack: &Pack, by: &str, what: Value) -> Result<(), LedgerError> {
    let body = json!({
        "proof": proof_name(pack),
        "rules": pack.governance.rules.digest(),
        "invariants": pack.invariants.digest(),
        "administration": pack.governance.administration.digest(),
        "administration_invariants": pack.administration_invariants.digest(),
        by: what,
    });
    ledger.note(&stream(), digests, &NewEvent { at: ledger.store().now()?, kind: PROVEN, body })
}
