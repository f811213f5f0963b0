//! The Merkle tree over the log's entries (RFC 6962, section 2.1), kept as tiles of 256 hashes (C2SP tlog-tiles). It
//! is never in memory: of each level the last tile is enough to let it grow, and a proof reads a few more.

use super::LedgerError;
use super::entry::Leaf;
use super::store::Store;
use std::collections::BTreeMap;
use tlog_tiles::{Error as TileError, Hash, HashReader, node_hash, tree_hash};
use tlog_tiles::{check_record, check_tree, prove_record, prove_tree};

const HASH: usize = 32;
/// Binary levels that one tile spans.
const HEIGHT: u8 = 8;
const FULL: usize = HASH << HEIGHT;

/// A tile: of `level`, the hashes of the 256^level entries each below `number` * 256 and the following ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tile {
    pub level: u8,
    pub number: u64,
    /// 32 bytes each, at most 256.
    pub hashes: Vec<u8>,
}

/// The root of a tree of so many leaves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Root {
    pub size: u64,
    pub hash: Hash,
}

/// The right edge of a tree: of each level the tile that is not full. All that it takes to add leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<u8>>,
}

impl Edge {
    /// Of a stored tree of this size.
    pub fn read(store: &dyn Store, size: u64) -> Result<Self, LedgerError> {
        let mut levels = Vec::new();
        while let Some(nodes) = size.checked_shr(u32::from(HEIGHT) * levels.len() as u32).filter(|n| *n > 0) {
            let width = (nodes & 0xff) as usize * HASH;
            let (level, number) = (levels.len() as u8, nodes >> HEIGHT);
            levels.push(if width == 0 { Vec::new() } else { read(store, level, number, width)? });
        }
        Ok(Self { size, levels })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf; tiles that are full with it are put to the others.
    pub fn push(&mut self, leaf: &Leaf, full: &mut Vec<Tile>) {
        let mut node = *leaf;
        for level in 0.. {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { break };
            hashes.extend_from_slice(&node);
            if hashes.len() < FULL {
                break;
            }
            node = perfect(hashes).0;
            let number = self.size >> (u32::from(HEIGHT) * (level as u32 + 1));
            full.push(Tile { level: level as u8, number, hashes: std::mem::take(hashes) });
        }
        self.size += 1;
    }

    /// The tiles that are not full.
    pub fn tiles(&self) -> impl Iterator<Item = Tile> {
        let tile = |(level, hashes): (usize, &Vec<u8>)| {
            let number = self.size >> (u32::from(HEIGHT) * (level as u32 + 1));
            Tile { level: level as u8, number, hashes: hashes.clone() }
        };
        self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()).map(tile)
    }

    pub fn root(&self) -> Root {
        // From the right: ever larger perfect trees are put to the left of what there is.
        let mut hash: Option<Hash> = None;
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            for bit in 0..HEIGHT {
                let width = HASH << bit;
                if (rest.len() / HASH) & (1 << bit) != 0 {
                    let (before, last) = rest.split_at(rest.len() - width);
                    let left = perfect(last);
                    hash = Some(hash.map_or(left, |right| node_hash(left, right)));
                    rest = before;
                }
            }
        }
        Root { size: self.size, hash: hash.unwrap_or_else(empty) }
    }
}

/// The root of no leaves: SHA-256 of nothing.
fn empty() -> Hash {
    use sha2::Digest;
    Hash(sha2::Sha256::digest([]).into())
}

/// Of hashes whose number is a power of two.
fn perfect(hashes: &[u8]) -> Hash {
    match <[u8; HASH]>::try_from(hashes) {
        Ok(one) => Hash(one),
        Err(_) => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(perfect(left), perfect(right))
        }
    }
}

/// The first bytes of a stored tile.
fn read(store: &dyn Store, level: u8, number: u64, width: usize) -> Result<Vec<u8>, LedgerError> {
    let tile = store.tile(level, number)?.unwrap_or_default();
    tile.get(..width).map(<[u8]>::to_vec).ok_or_else(|| LedgerError::Damaged {
        stream: "*".to_owned(),
        reason: format!("tile {number} of level {level} of the tree is not whole"),
    })
}

/// The stored tiles, as the proofs of `tlog_tiles` read them.
struct Tiles<'a>(&'a dyn Store);

impl HashReader for Tiles<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TileError> {
        // Most of a proof's hashes are in the same few tiles, and the widest of each holds the others.
        let tile_of = |index: &u64| tlog_tiles::Tile::from_index(HEIGHT, *index);
        let mut widths = BTreeMap::new();
        for tile in indexes.iter().map(tile_of) {
            let width = widths.entry((tile.level(), tile.level_index())).or_insert(0);
            *width = tile.width().max(*width);
        }
        let whole = |((level, number), width)| {
            Ok(((level, number), read(self.0, level, number, width as usize * HASH)?))
        };
        let tiles: Result<BTreeMap<_, _>, LedgerError> = widths.into_iter().map(whole).collect();
        let tiles = tiles.map_err(|error| TileError::InvalidInput(error.to_string()))?;
        let one = |index: &u64| {
            let tile = tile_of(index);
            let hashes = tiles.get(&(tile.level(), tile.level_index()));
            let hashes = hashes.and_then(|hashes| hashes.get(..tile.width() as usize * HASH));
            tile.hash_at_index(hashes.unwrap_or_default(), *index)
        };
        indexes.iter().map(one).collect()
    }
}

/// The hashes that show that this leaf is the one of that index of a stored tree.
///
/// # Errors
/// Tiles that are not those of the root: no proof is given that does not hold.
pub fn inclusion(store: &dyn Store, root: Root, index: u64, leaf: &Leaf) -> Result<Vec<Hash>, LedgerError> {
    let proof = || prove_record(root.size, index, &Tiles(store));
    given(index < root.size, proof, |proof| included(proof, root, index, leaf))
}

/// A hash of its 32 bytes.
pub fn hash_of(bytes: &[u8]) -> Option<Hash> {
    Some(Hash(bytes.try_into().ok()?))
}

/// The root that the stored tree had at an earlier size. Whether it is one of this tree, `consistency` says.
pub fn root_at(store: &dyn Store, root: Root, size: u64) -> Result<Root, LedgerError> {
    let hash = if size <= root.size { tree_hash(size, &Tiles(store)).ok() } else { None };
    hash.map(|hash| Root { size, hash }).ok_or_else(|| LedgerError::Damaged {
        stream: "*".to_owned(),
        reason: format!("its tree has no root of {size} entries"),
    })
}

/// The hashes that show that a stored tree continues an earlier one.
///
/// # Errors
/// It does not, or its tiles are not those of the root.
pub fn consistency(store: &dyn Store, root: Root, earlier: Root) -> Result<Vec<Hash>, LedgerError> {
    if earlier.size == 0 && consistent(&[], root, earlier) {
        return Ok(Vec::new());
    }
    let proof = || prove_tree(root.size, earlier.size, &Tiles(store));
    given((1..=root.size).contains(&earlier.size), proof, |proof| consistent(proof, root, earlier))
}

fn given(
    there: bool,
    proof: impl FnOnce() -> Result<Vec<Hash>, TileError>,
    holds: impl FnOnce(&[Hash]) -> bool,
) -> Result<Vec<Hash>, LedgerError> {
    let proof = if there { proof().ok() } else { None };
    proof.filter(|proof| holds(proof)).ok_or_else(|| LedgerError::Damaged {
        stream: "*".to_owned(),
        reason: "its tree proves something else".to_owned(),
    })
}

/// Whether these hashes show that `leaf` is the entry at `place` of the tree with this root.
pub fn included(proof: &[Hash], root: Root, place: u64, leaf: &Leaf) -> bool {
    place < root.size && check_record(&proof.to_vec(), root.size, root.hash, place, Hash(*leaf)).is_ok()
}

/// Whether these hashes show that the tree with the later root continues the one with the earlier.
pub fn consistent(proof: &[Hash], later: Root, earlier: Root) -> bool {
    match earlier.size {
        0 => earlier.hash == empty(),
        size if size > later.size => false,
        size => check_tree(&proof.to_vec(), later.size, later.hash, size, earlier.hash).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::LedgerSettings;
    use super::*;
    use tlog_tiles::{record_hash, stored_hash_index, stored_hashes, tree_hash};

    /// All hashes in memory, as the reference library stores them.
    struct Memory(Vec<Hash>);

    impl HashReader for Memory {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TileError> {
            Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
        }
    }

    fn data(n: u64) -> Vec<u8> {
        n.to_le_bytes().to_vec()
    }

    #[test]
    fn roots_and_proofs_are_those_of_the_reference_at_every_size_that_matters() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerSettings::default().open(folder.path()).unwrap();
        let store = ledger.store();
        let mut memory = Memory(Vec::new());
        let mut edge = Edge::default();
        assert_eq!(
            edge.root().hash,
            Hash::parse_hash("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").unwrap()
        );
        let sizes = [1, 2, 3, 255, 256, 257, 511, 512, 600, 1000, 65_535, 65_536, 65_537, 66_000];
        let mut previous: Vec<(Root, Vec<u8>)> = Vec::new();
        for size in sizes {
            let mut tiles = Vec::new();
            for n in edge.size()..size {
                let new = stored_hashes(n, &data(n), &memory).unwrap();
                memory.0.extend(new);
                edge.push(&record_hash(&data(n)).0, &mut tiles);
            }
            let root = edge.root();
            assert_eq!((root.size, root.hash), (size, tree_hash(size, &memory).unwrap()), "{size}");
            tiles.extend(edge.tiles());
            let before = previous.last().map(|(_, note)| note.clone());
            assert!(store.publish(before, tiles, size, data(size)).unwrap());
            assert_eq!(Edge::read(store, size).unwrap().root(), root);
            for place in [0, size / 3, size - 1] {
                let leaf = memory.0[stored_hash_index(0, place) as usize].0;
                let proof = inclusion(store, root, place, &leaf).unwrap();
                assert_eq!(proof, prove_record(size, place, &memory).unwrap(), "{place} of {size}");
                assert!(included(&proof, root, place, &leaf));
                assert!(!included(&proof, root, place, &record_hash(b"other").0));
            }
            for (earlier, _) in &previous {
                let proof = consistency(store, root, *earlier).unwrap();
                assert_eq!(proof, prove_tree(size, earlier.size, &memory).unwrap());
                let forged = Root { hash: record_hash(b"x"), ..*earlier };
                assert!(!consistent(&proof, root, forged) && consistency(store, root, forged).is_err());
                // A smaller tree is still there, in the larger one's tiles.
                assert_eq!(Edge::read(store, earlier.size).unwrap().root(), *earlier);
            }
            previous.push((root, data(size)));
        }
        assert!(inclusion(store, edge.root(), 66_000, &record_hash(b"").0).is_err());
        let none = Root { size: 0, hash: empty() };
        assert_eq!(consistency(store, edge.root(), none).unwrap(), []);
        assert!(!consistent(&[], none, edge.root()));
    }

    #[test]
    fn a_changed_tile_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = LedgerSettings::default().open(folder.path()).unwrap();
        let store = ledger.store();
        let mut edge = Edge::default();
        let mut tiles = Vec::new();
        (0..700).for_each(|n| edge.push(&record_hash(&data(n)).0, &mut tiles));
        tiles.extend(edge.tiles());
        tiles[0].hashes[5] ^= 1;
        store.publish(None, tiles, 700, vec![]).unwrap();
        let proof = |n: u64| inclusion(store, edge.root(), n, &record_hash(&data(n)).0);
        assert!(proof(1).is_err() && proof(255).is_err() && proof(699).is_ok());
    }
}
