//! Walks the chain from the first entry to the last.

use super::LedgerError;
use super::entry::{Written, genesis};
use super::store::Store;

/// The first place where the log is not what was written.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Damage {
    pub position: u64,
    pub reason: String,
}

/// `None` when every entry's hash follows from the entry before it and positions have no gap.
pub fn verify(store: &dyn Store) -> Result<Option<Damage>, LedgerError> {
    let mut previous = genesis();
    let mut next = 1;
    let mut damage = None;
    store.scan(&mut |row| {
        if damage.is_some() {
            return;
        }
        let written = Written {
            position: row.position,
            stream: &row.stream,
            seq: row.seq,
            kind: &row.kind,
            at: row.at,
            digests: &row.digests,
            body: &row.body,
        };
        let expected = written.hash(&previous);
        if row.position != next {
            damage = Some(Damage { position: next, reason: format!("entry {next} is missing") });
        } else if expected.as_str() != row.hash {
            damage = Some(Damage { position: next, reason: "its content does not match its hash".into() });
        }
        previous = expected;
        next += 1;
    })?;
    Ok(damage)
}
