//! Whether a log is what was written: every entry against its hash, all of them against the signed checkpoints.

use super::merkle::{Edge, Root, Tile};
use super::store::Store;
use super::{LedgerError, checkpoint};
use serde::Serialize;

/// So many entries are read at once.
const AT_ONCE: usize = 1_000;

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verified {
    pub entries: u64,
    /// Entries under the newest checkpoint that the key has signed.
    pub signed: u64,
    /// Entries that no checkpoint covers yet: nothing proves them.
    pub unsigned: u64,
    /// Entries under the newest checkpoint that a witness has: not even the holder of the key can have changed them.
    pub witnessed: u64,
    /// The first place where the log is not what was written.
    pub damage: Option<Damage>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Damage {
    /// The index of the entry, from 0.
    pub index: u64,
    pub reason: String,
}

pub(super) fn damage(index: u64, reason: String) -> Damage {
    Damage { index, reason }
}

/// Walks the whole log: every entry must have its hash, and the newest checkpoint must follow from them and be signed
/// by this key, as must what a witness has. `full` holds every stored tile and earlier checkpoint against them, too.
pub fn verify(
    store: &dyn Store,
    public_key: &str,
    witnessed: &[Root],
    full: bool,
) -> Result<Verified, LedgerError> {
    let mut told = Verified { entries: store.sequence()?, ..Verified::default() };
    let newest = store.checkpoint()?.map(|note| checkpoint::read(&note, public_key)).transpose();
    let newest = match newest {
        Ok(newest) => newest,
        Err(error) => {
            told.unsigned = told.entries;
            told.damage = Some(damage(0, error.to_string()));
            return Ok(told);
        }
    };
    let mut roots: Vec<Root> = witnessed.iter().copied().chain(newest).collect();
    if full {
        for note in store.checkpoints()? {
            match checkpoint::read(&note, public_key) {
                Ok(root) => roots.push(root),
                Err(error) => told.damage = told.damage.or(Some(damage(0, error.to_string()))),
            }
        }
    }
    roots.sort_by_key(|root| root.size);
    told.signed = newest.map_or(0, |root| root.size);
    let (found, counted) = walk(store, &roots, told.signed, full)?;
    let most = roots.last().map_or(0, |root| root.size).max(told.entries);
    let short = || {
        (counted < most).then(|| damage(counted, format!("of {most} entries that there were, it ends here")))
    };
    told.damage = told.damage.or(found).or_else(short);
    told.unsigned = counted.saturating_sub(told.signed);
    told.entries = counted;
    told.witnessed =
        witnessed.iter().map(|root| root.size).filter(|size| *size <= counted).max().unwrap_or(0);
    Ok(told)
}

/// The first damage, and how many entries there are before it.
fn walk(
    store: &dyn Store,
    roots: &[Root],
    signed: u64,
    full: bool,
) -> Result<(Option<Damage>, u64), LedgerError> {
    let mut edge = Edge::default();
    let mut tiles = Vec::new();
    let mut roots = roots.iter().peekable();
    loop {
        let rows = store.range(edge.size(), AT_ONCE)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let index = edge.size();
            let leaf = row.computed_leaf();
            if leaf != row.leaf {
                return Ok((Some(damage(index, "its content does not have its hash".to_owned())), index));
            }
            edge.push(&leaf, &mut tiles);
            while let Some(root) = roots.next_if(|root| root.size <= edge.size()) {
                if root.size == edge.size() && *root != edge.root() {
                    let reason = "the entries up to here are not those of a signed checkpoint".to_owned();
                    return Ok((Some(damage(index, reason)), index));
                }
            }
            // Tiles that are not full are the edge, from which the next checkpoint is made.
            if full && edge.size() == signed && !is_stored(store, &edge)? {
                return Ok((Some(damage(index, "the stored edge of the tree is another".to_owned())), index));
            }
            for tile in tiles.drain(..).filter(|_| full) {
                if let Some(found) = wrong(store, &tile, signed)? {
                    return Ok((Some(damage(index, found)), index));
                }
            }
        }
    }
    Ok((None, edge.size()))
}

/// Whether the store has this edge.
fn is_stored(store: &dyn Store, edge: &Edge) -> Result<bool, LedgerError> {
    match Edge::read(store, edge.size()) {
        Ok(stored) => Ok(stored.root() == edge.root()),
        Err(LedgerError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is wrong with the stored form of a full tile, if it is under the newest checkpoint.
fn wrong(store: &dyn Store, tile: &Tile, signed: u64) -> Result<Option<String>, LedgerError> {
    let end = (tile.number + 1) << (8 * (u32::from(tile.level) + 1));
    let same = end > signed || store.tile(tile.level, tile.number)?.as_ref() == Some(&tile.hashes);
    Ok((!same).then(|| format!("tile {} of level {} of the tree is another", tile.number, tile.level)))
}
