//! The ledger: a store, the keys of what is in it, and the tree over it.

use super::checkpoint::{self, Signer};
use super::entry::{
    Append, Digests, Entry, Key, NewEvent, Once, Reservation, Stored, Stream, StreamKind, Subject, Total,
};
use super::keys::Keys;
use super::merkle::{Edge, Root};
use super::secret::Secret;
use super::store::{Batch, By, Claim, Head, Store};
use super::{LedgerError, Tile, Verified};
use crate::base::{Digest, Timestamp};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// So many entries at most come under one checkpoint: signing must not hold up those who write.
const MOST_AT_ONCE: usize = 10_000;

/// So often something else may come first; then the store contradicts itself.
pub const MOST_CONFLICTS: u32 = 1000;

pub struct Ledger {
    store: Arc<dyn Store>,
    keys: Keys,
    signer: Option<Signer>,
    /// The folder whose disk must have so many bytes free for what is new.
    reserve: Option<(PathBuf, u64)>,
}

impl Ledger {
    /// Without a signer no checkpoint can be made.
    pub fn new(store: Arc<dyn Store>, keys: Keys, signer: Option<Signer>) -> Self {
        Self { store, keys, signer, reserve: None }
    }

    /// Keeps so many bytes of the folder's disk for what has begun.
    #[must_use]
    pub fn with_reserve(self, folder: &Path, bytes: u64) -> Self {
        Self { reserve: Some((folder.to_owned(), bytes)), ..self }
    }

    /// Whether there is room for something new. Where nobody can tell, there is.
    pub fn has_room(&self) -> bool {
        self.reserve.as_ref().is_none_or(|(folder, reserve)| {
            rustix::fs::statvfs(folder)
                .map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= *reserve)
        })
    }

    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Writes a batch in one transaction, and returns once it is on stable storage: the claim of the stream, where it was
    /// written by or for a holder that goes on.
    ///
    /// # Errors
    /// Another length of the stream, a thing that happened before, a claim that was lost, a store that fails.
    pub fn append(&self, batch: &Append, by: By) -> Result<Option<Claim>, LedgerError> {
        let key = match (batch.stream.kind.personal(), &batch.key) {
            (false, _) => None,
            (true, Some(known)) => Some(known.clone()),
            (true, None) => Some(self.key_of(&batch.stream)?),
        };
        let borrowed = key.as_ref().map(|key| (key.name.as_str(), &key.secret));
        let stream = batch.stream.to_string();
        let json = |error: serde_json::Error| LedgerError::Store(error.to_string());
        let digests = serde_json::to_string(&batch.digests).map_err(json)?;
        let mut entries = Vec::with_capacity(batch.events.len());
        for (event, seq) in batch.events.iter().zip(batch.expected..) {
            let body = serde_json::to_vec(&event.body).map_err(json)?;
            entries.push(Stored::new((&stream, seq), event.kind, event.at, &digests, borrowed, &body));
        }
        self.store.append(Batch {
            stream: batch.stream.clone(),
            expected: batch.expected,
            entries,
            status: batch.status.clone(),
            key: key.map(|key| key.name),
            once: batch.once.clone(),
            due: batch.due,
            subjects: batch.subjects.iter().map(|subject| self.hidden(subject)).collect::<Result<_, _>>()?,
            reserve: batch
                .reserve
                .iter()
                .map(|reserved| self.hidden_scopes(reserved))
                .collect::<Result<_, _>>()?,
            free: batch.free.clone(),
            by,
        })
    }

    fn hidden_scopes(&self, reserved: &Reservation) -> Result<Reservation, LedgerError> {
        let scopes =
            reserved.scopes.iter().map(|scope| self.hidden_scope(scope)).collect::<Result<_, _>>()?;
        Ok(Reservation { scopes, ..reserved.clone() })
    }

    fn hidden_scope(&self, scope: &str) -> Result<String, LedgerError> {
        Ok(self.keys.hide("total", scope)?.hex().to_owned())
    }

    /// What counts in these scopes now.
    pub fn totals(&self, scopes: &[String], at: Timestamp) -> Result<Vec<Total>, LedgerError> {
        let hidden = scopes.iter().map(|scope| self.hidden_scope(scope)).collect::<Result<Vec<_>, _>>()?;
        let totals = self.store.totals(hidden.clone(), at)?;
        Ok(shown(totals, &hidden, scopes))
    }

    /// What counted in these scopes when a call was intended, that call included. `None`: nothing was reserved for it, or
    /// that has lapsed.
    pub fn reserved(&self, call: &str, scopes: &[String]) -> Result<Option<Vec<Total>>, LedgerError> {
        let Some(totals) = self.store.reserved(call)? else { return Ok(None) };
        let hidden = scopes.iter().map(|scope| self.hidden_scope(scope)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(shown(totals, &hidden, scopes)))
    }

    /// Appends an event to a stream that is about no customer, whatever came before it.
    pub fn note(&self, stream: &Stream, digests: &Digests, event: &NewEvent) -> Result<(), LedgerError> {
        let mut conflicts = 0..MOST_CONFLICTS;
        loop {
            let expected = self.store.head(stream)?.map_or(0, |head| head.length);
            let batch = Append::kept(stream.clone(), expected, digests.clone(), vec![event.clone()]);
            match self.append(&batch, By::Anybody) {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict { .. }) if conflicts.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A subject as the store has it: its kind, and a digest of it.
    pub fn hidden(&self, subject: &Subject) -> Result<String, LedgerError> {
        Ok(format!("{} {}", subject.kind, self.keys.hide(subject.kind, &subject.id)?))
    }

    /// The key of a stream; a new one for a stream that is not there yet.
    ///
    /// # Errors
    /// It was destroyed, or cannot be read.
    pub fn key_of(&self, stream: &Stream) -> Result<Key, LedgerError> {
        let named = || stream.to_string();
        let Some(head) = self.store.head(stream)? else {
            return self.keys.fresh().map(|(name, secret)| Key { name, secret });
        };
        let name = head.key.ok_or_else(|| LedgerError::Damaged {
            stream: named(),
            reason: "its head names no key".to_owned(),
        })?;
        let secret = self.keys.get(&name)?.ok_or_else(|| LedgerError::Erased { stream: named() })?;
        Ok(Key { name, secret })
    }

    /// The streams of a kind that hold data of a subject, by name.
    pub fn streams_of(&self, kind: StreamKind, subject: &Subject) -> Result<Vec<String>, LedgerError> {
        self.store.streams_of(kind, &self.hidden(subject)?)
    }

    /// Destroys the keys of these streams, for good: what they opened can be read nowhere any more, while every proof
    /// still holds. The keys that stay are wrapped by a new one, and the old one is gone.
    ///
    /// # Errors
    /// Where it was done in part, doing it again ends it.
    pub fn erase(&self, streams: &[Stream]) -> Result<(), LedgerError> {
        let mut destroyed = BTreeSet::new();
        for stream in streams {
            destroyed.extend(self.store.head(stream)?.and_then(|head| head.key));
        }
        self.keys.rotate(destroyed, None)?;
        self.keys.forget_deleted()?;
        self.store.forget_subjects(streams)
    }

    /// The entries of a stream from sequence number `from` on, in order.
    ///
    /// # Errors
    /// An entry that is not what was written; a stream whose key was destroyed.
    pub fn stream(&self, stream: &Stream, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let rows = self.store.stream(stream, from)?;
        let mut known: Option<(String, Secret)> = None;
        rows.into_iter()
            .map(|row| {
                if let Some(name) =
                    row.key.as_ref().filter(|name| known.as_ref().is_none_or(|k| k.0 != **name))
                {
                    let erased = || LedgerError::Erased { stream: row.stream.clone() };
                    known = Some((name.clone(), self.keys.get(name)?.ok_or_else(erased)?));
                }
                entry(row, known.as_ref().map(|(_, secret)| secret))
            })
            .collect()
    }

    pub fn heads(
        &self,
        kind: StreamKind,
        status: Option<&str>,
        most: Option<u32>,
    ) -> Result<Vec<Head>, LedgerError> {
        self.store.heads(kind, status, most)
    }

    pub fn claim(&self, once: &Once) -> Result<String, LedgerError> {
        self.store.claim(once)
    }

    pub fn claimed(&self, scope: &str, key: &str) -> Result<Option<String>, LedgerError> {
        self.store.claimed(scope, key)
    }

    /// The newest checkpoint that this log's own key has signed.
    pub fn checkpoint(&self) -> Result<Option<Root>, LedgerError> {
        let Some(note) = self.store.checkpoint()? else { return Ok(None) };
        let damaged = |reason: String| LedgerError::Damaged { stream: "*".to_owned(), reason };
        let root = match &self.signer {
            Some(signer) => {
                checkpoint::read(&note, &signer.public_key).map_err(|error| damaged(error.to_string()))
            }
            None => checkpoint::unverified(&note)
                .map(|(_, root)| root)
                .ok_or_else(|| damaged("the newest checkpoint is not one".to_owned())),
        };
        root.map(Some)
    }

    /// Signs a checkpoint over all that is written, if anything is since the last one. Returns the newest. Many
    /// entries come under several, one after the other.
    ///
    /// # Errors
    /// A tree that does not continue the one of the last checkpoint, or entries that are not what was written: then
    /// nothing is signed.
    pub fn sign(&self) -> Result<Option<Root>, LedgerError> {
        let Some(signer) = &self.signer else { return self.checkpoint() };
        loop {
            let written = self.store.sequence()?;
            let note = self.store.checkpoint()?;
            let last = self.checkpoint()?;
            let size = last.map_or(0, |root| root.size);
            if written <= size {
                return Ok(last);
            }
            let (root, tiles) = self.grown(last, size)?;
            // Another node may have been faster; the next round sees what it did.
            self.store.publish(note, tiles, root.size, signer.sign(root)?)?;
        }
    }

    /// The tree with the entries since the last checkpoint, read from the disk again, joined to the stored edge.
    fn grown(&self, last: Option<Root>, size: u64) -> Result<(Root, Vec<Tile>), LedgerError> {
        let damaged = |reason: String| LedgerError::Damaged { stream: "*".to_owned(), reason };
        let mut edge = Edge::read(&*self.store, size)?;
        if last.is_some_and(|last| edge.root() != last) {
            let reason =
                "the stored tree is not the one of its last checkpoint; nothing is signed".to_owned();
            return Err(damaged(reason));
        }
        let mut tiles = Vec::new();
        for (row, index) in self.store.range(size, MOST_AT_ONCE)?.into_iter().zip(size..) {
            let leaf = row.computed_leaf();
            if leaf != row.leaf {
                let reason = format!("entry {index} is not what was written; nothing is signed");
                return Err(damaged(reason));
            }
            edge.push(&leaf, &mut tiles);
        }
        tiles.extend(edge.tiles());
        Ok((edge.root(), tiles))
    }

    /// Whether it is what was written; see `verify`. By this log's own key: who trusts nobody brings the key along.
    pub fn verify(&self, witnessed: &[Root], full: bool) -> Result<Verified, LedgerError> {
        let key = self.signer.as_ref().map_or("", |signer| &signer.public_key);
        super::verify(&*self.store, key, witnessed, full)
    }
}

/// Totals under the names that their scopes have in the clear.
fn shown(totals: Vec<Total>, hidden: &[String], scopes: &[String]) -> Vec<Total> {
    let named = |total: Total| {
        let known = hidden.iter().zip(scopes).find(|(hidden, _)| **hidden == total.scope);
        known.map(|(_, scope)| Total { scope: scope.clone(), ..total })
    };
    totals.into_iter().filter_map(named).collect()
}

fn entry(row: Stored, key: Option<&Secret>) -> Result<Entry, LedgerError> {
    let damaged =
        |reason: &str| LedgerError::Damaged { stream: row.stream.clone(), reason: reason.to_owned() };
    if row.computed_leaf() != row.leaf {
        return Err(damaged("it is not what was written"));
    }
    let body = row.open(key).ok_or_else(|| damaged("its key does not open it"))?;
    Ok(Entry {
        seq: row.seq,
        at: row.at,
        digests: serde_json::from_str(&row.digests).map_err(|_| damaged("its digests are no JSON"))?,
        body: serde_json::from_slice(&body).map_err(|_| damaged("its body is no JSON"))?,
        hash: Digest::of_hash(&row.leaf),
        index: row.index,
        kind: row.kind,
        stream: row.stream,
    })
}
