//! The keys of what is about customers: one for each case, all wrapped by a key-encryption key, and that by the master
//! key. They are kept apart from the ledger, so that a copy of the ledger without them says nothing, and to destroy a
//! key is to erase what it opened, in every copy.

use super::LedgerError;
use super::secret::Secret;
use super::store::KeyTable;
use crate::base::{Digest, durable, ids};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many keys are made at once, because each time waits for the disk.
const AT_ONCE: usize = 512;

/// So many opened keys are kept in memory.
const MOST_OPEN: usize = 10_000;

/// The environment's variable that takes the place of the file with the master key.
pub const MASTER_KEY: &str = "PROKURA_MASTER_KEY";

/// The key that names are hidden with: of customers in the index of cases, of requests that came before.
const NAMES: &str = "names";

/// Which key wraps the others: it changes with each erasure.
const WRAPPING: &str = "key-encryption key";

pub struct Keys {
    table: KeyTable,
    held: Mutex<Held>,
}

struct Held {
    master: Secret,
    /// As it stands in the table: another process may have changed it.
    wrapped: Vec<u8>,
    wrapping: Secret,
    names: Secret,
    /// Made, on the disk, and not used yet.
    fresh: Vec<(String, Secret)>,
    open: HashMap<String, Secret>,
}

impl Keys {
    /// Opens the keys that `master` opens; the first time it makes them.
    ///
    /// # Errors
    /// A table that cannot be read, or that another master key closed.
    pub fn open(table: KeyTable, master: Secret) -> Result<Self, LedgerError> {
        if table.named(WRAPPING)?.is_none() {
            let (wrapping, names) = (Secret::fresh(), Secret::fresh());
            let rows = vec![
                (WRAPPING.to_owned(), master.wrap(WRAPPING, &wrapping)),
                (NAMES.to_owned(), wrapping.wrap(NAMES, &names)),
            ];
            table.begin(rows)?;
        }
        let held = Mutex::new(read(&table, &master)?);
        Ok(Self { table, held })
    }

    /// What is held, of the keys as they are now: what another process destroyed is forgotten.
    fn held(&self) -> Result<MutexGuard<'_, Held>, LedgerError> {
        // What is held is whole between two statements.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.table.named(WRAPPING)?.as_ref() != Some(&held.wrapped) {
            let fresh = std::mem::take(&mut held.fresh);
            *held = Held { fresh, ..read(&self.table, &held.master)? };
        }
        Ok(held)
    }

    /// A new key and its name. It is on the disk before anything is encrypted with it.
    pub fn fresh(&self) -> Result<(String, Secret), LedgerError> {
        let mut held = self.held()?;
        while held.fresh.is_empty() {
            let made: Vec<(String, Secret)> =
                (0..AT_ONCE).map(|_| (ids::fresh("key"), Secret::fresh())).collect();
            let rows = made.iter().map(|(name, key)| (name.clone(), held.wrapping.wrap(name, key))).collect();
            if self.table.insert(rows, (WRAPPING, held.wrapped.clone()))? {
                held.fresh = made;
            } else {
                *held = read(&self.table, &held.master)?;
            }
        }
        let Some((name, key)) = held.fresh.pop() else {
            return Err(LedgerError::Store("no key could be made".to_owned()));
        };
        held.keep(&name, &key);
        Ok((name, key))
    }

    /// A key by its name; `None` when it was destroyed.
    pub fn get(&self, name: &str) -> Result<Option<Secret>, LedgerError> {
        let mut held = self.held()?;
        if let Some(key) = held.open.get(name) {
            return Ok(Some(key.clone()));
        }
        let Some(wrapped) = self.table.get(name)? else { return Ok(None) };
        let key = held.wrapping.unwrap(name, &wrapped).ok_or_else(|| LedgerError::Key {
            file: self.table.shown(),
            problem: format!("`{name}` was changed"),
        })?;
        held.keep(name, &key);
        Ok(Some(key))
    }

    /// Hides a name: the same one gives the same digest, and nobody without the keys can tell which.
    pub fn hide(&self, purpose: &str, name: &str) -> Result<Digest, LedgerError> {
        Ok(self.held()?.names.digest(purpose, &[name.as_bytes()]))
    }

    /// Destroys some keys, and wraps the others by a new key-encryption key: a copy of a destroyed key that is left
    /// anywhere is wrapped by the old one, and that is gone. With a new master key, that one wraps from now on.
    ///
    /// # Errors
    /// A store that fails: then everything is as it was.
    pub fn rotate(&self, destroyed: BTreeSet<String>, master: Option<&Secret>) -> Result<(), LedgerError> {
        let destroyed = Arc::new(destroyed);
        loop {
            let mut held = self.held()?;
            let (old, new) = (held.wrapping.clone(), Secret::fresh());
            let master = master.unwrap_or(&held.master).clone();
            let named = vec![
                (WRAPPING.to_owned(), master.wrap(WRAPPING, &new)),
                (NAMES.to_owned(), new.wrap(NAMES, &held.names)),
            ];
            let (gone, shown) = (Arc::clone(&destroyed), self.table.shown());
            let each = move |name: &str, wrapped: &[u8]| {
                if gone.contains(name) {
                    return Ok(None);
                }
                let changed =
                    || LedgerError::Key { file: shown.clone(), problem: format!("`{name}` was changed") };
                Ok(Some(new.wrap(name, &old.unwrap(name, wrapped).ok_or_else(changed)?)))
            };
            if self.table.rewrap((WRAPPING, held.wrapped.clone()), named, each)? {
                *held = read(&self.table, &master)?;
                return Ok(());
            }
        }
    }

    /// Whether this is the master key that wraps now.
    pub fn is_master(&self, key: &Secret) -> Result<bool, LedgerError> {
        Ok(self.held()?.master.bytes() == key.bytes())
    }

    /// Leaves nothing in the key store's files of what was destroyed or wrapped anew.
    ///
    /// # Errors
    /// Somebody reads the old state for too long. Doing it again is safe.
    pub fn forget_deleted(&self) -> Result<(), LedgerError> {
        self.table.forget_deleted()
    }

    /// Forgets what another process has destroyed.
    pub fn refresh(&self) -> Result<(), LedgerError> {
        self.held().map(drop)
    }
}

fn read(table: &KeyTable, master: &Secret) -> Result<Held, LedgerError> {
    let named = |name: &str, by: &Secret| {
        let wrapped = table.named(name)?.unwrap_or_default();
        let key = by.unwrap(name, &wrapped).ok_or_else(|| LedgerError::Key {
            file: table.shown(),
            problem: "the master key does not open it; name the key that it was made with".to_owned(),
        })?;
        Ok::<_, LedgerError>((wrapped, key))
    };
    let (wrapped, wrapping) = named(WRAPPING, master)?;
    let (_, names) = named(NAMES, &wrapping)?;
    Ok(Held { master: master.clone(), wrapped, wrapping, names, fresh: Vec::new(), open: HashMap::new() })
}

impl Held {
    fn keep(&mut self, name: &str, key: &Secret) {
        if self.open.len() >= MOST_OPEN {
            self.open.clear();
        }
        self.open.insert(name.to_owned(), key.clone());
    }
}

/// The master key: 64 hexadecimal digits in a file. With `make` it is made where there is none, for its owner alone.
///
/// # Errors
/// A file that cannot be read or made, or holds something else.
pub fn master(file: &Path, make: bool) -> Result<Secret, LedgerError> {
    let wrong = |problem: String| LedgerError::Key { file: file.display().to_string(), problem };
    if std::fs::metadata(file).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
        let file = file.display();
        tracing::warn!(%file, "others than its owner can read or change the master key: chmod 600");
    }
    match std::fs::read_to_string(file) {
        Ok(text) => master_of(&text)
            .ok_or_else(|| wrong("a master key is 64 hexadecimal digits and no more".to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && make => {
            let key = Secret::fresh();
            let text: String = key.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            durable::secret(file, format!("{text}\n").as_bytes())
                .map_err(|error| wrong(error.to_string()))?;
            Ok(key)
        }
        Err(error) => Err(wrong(format!(
            "{error}; it holds the master key that opens the ledger's other keys: put it back from its copy, or name \
                 where it is in `[ledger] master_key` or {MASTER_KEY}"
        ))),
    }
}

/// `None` unless this is 64 hexadecimal digits.
pub fn master_of(text: &str) -> Option<Secret> {
    let text = text.trim();
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> =
        (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    bytes.filter(|_| digits).and_then(|bytes| Secret::of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, master: &Secret) -> Result<Keys, LedgerError> {
        Keys::open(KeyTable::sqlite(&folder.join("keys.sqlite"))?, master.clone())
    }

    #[test]
    fn keys_are_there_after_reopening_with_the_same_master_only() {
        let folder = tempfile::tempdir().unwrap();
        let master = master(&folder.path().join("master.key"), true).unwrap();
        let (first, hidden) = {
            let keys = open(folder.path(), &master).unwrap();
            (keys.fresh().unwrap(), keys.hide("customer", "cus_1").unwrap())
        };
        let again = super::master(&folder.path().join("master.key"), false).unwrap();
        let keys = open(folder.path(), &again).unwrap();
        assert_eq!(keys.get(&first.0).unwrap().unwrap().bytes(), first.1.bytes());
        assert_eq!(keys.hide("customer", "cus_1").unwrap(), hidden);
        assert!(keys.get("key_none").unwrap().is_none());
        let names: std::collections::BTreeSet<String> =
            (0..AT_ONCE * 2 + 1).map(|_| keys.fresh().unwrap().0).collect();
        assert_eq!(names.len(), AT_ONCE * 2 + 1);
        let error = open(folder.path(), &Secret::fresh()).err().unwrap().to_string();
        assert!(error.contains("keys.sqlite: the master key does not open it"), "{error}");
    }

    #[test]
    fn nothing_of_a_key_stands_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let master = Secret::fresh();
        let key = open(folder.path(), &master).unwrap().fresh().unwrap().1;
        let hidden = |bytes: Vec<u8>| {
            bytes.windows(32).all(|window| window != key.bytes() && window != master.bytes())
        };
        assert!(hidden(std::fs::read(folder.path().join("keys.sqlite")).unwrap()));
        for file in std::fs::read_dir(folder.path()).unwrap() {
            // The log beside the database goes when its connections are closed, which may be now.
            assert!(std::fs::read(file.unwrap().path()).map_or(true, hidden));
        }
    }

    #[test]
    fn a_master_key_of_another_form_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        for wrong in ["", "abc", &"g".repeat(64), &"a".repeat(65), &"ä".repeat(32)] {
            std::fs::write(&file, wrong).unwrap();
            let error = master(&file, true).err().unwrap().to_string();
            assert!(error.ends_with("64 hexadecimal digits and no more"), "{error}");
        }
        assert!(master(&folder.path().join("none"), false).is_err());
        std::fs::write(&file, format!("{}\n", "0a".repeat(32))).unwrap();
        assert_eq!(master(&file, false).unwrap().bytes(), &[10; 32]);
    }
}
