//! `[ledger]` of prokura.toml: where the keys are and how often a checkpoint is signed.

use super::keys::{Keys, MASTER_KEY, master, master_of};
use super::store::{self, KeyTable, OPTIONS, Sqlite, Store};
use super::{Cosigner, Ledger, LedgerError, Secret, Signer, Witness};
use crate::base::outbound::Outbound;
use crate::base::postgres::{Postgres, Server};
use crate::base::{SystemClock, durable, ids};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Relative paths are relative to the state directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSettings {
    /// The log's name in its checkpoints; one that nobody else has is made up if none is given.
    pub origin: Option<String>,
    /// The folder of the keys.
    pub keys: PathBuf,
    /// The file of the master key; in the folder of the keys if none is named.
    pub master_key: Option<PathBuf>,
    /// A checkpoint is signed after so many events, or so many seconds.
    pub checkpoint_events: u64,
    pub checkpoint_seconds: u64,
    /// With fewer bytes free on the disk of the state directory no new case is opened; those that are open can end.
    pub reserve_bytes: u64,
    pub witness: WitnessSettings,
    /// The store that several nodes share; without it, each state directory has its own.
    pub postgres: Option<Database>,
    /// Where the keys of a shared store are: in a database that its backups do not hold.
    pub key_database: Option<Database>,
}

/// A database of PostgreSQL. Relative paths are relative to the settings.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://USER@HOST:PORT/DATABASE`.
    pub url: String,
    pub password_file: Option<PathBuf>,
    /// The certificate of the server, or of who signed it.
    pub certificate: Option<PathBuf>,
}

impl Database {
    fn connections(
        &self,
        folder: &Path,
        outbound: &Outbound,
        section: &str,
    ) -> Result<Postgres, LedgerError> {
        let wrong = |problem: String| LedgerError::Setting { section: section.to_owned(), problem };
        let server = Server::read(&self.url, self.certificate.is_some())
            .map_err(|allowed| wrong(format!("`url` needs {allowed}")))?;
        let beside = |file: &Option<PathBuf>| file.as_ref().map(|file| folder.join(file));
        let (password, certificate) = (beside(&self.password_file), beside(&self.certificate));
        Postgres::new(server, password.as_deref(), certificate.as_deref(), OPTIONS, outbound).map_err(wrong)
    }
}

/// `[ledger.witness]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessSettings {
    /// Beside the state directory, if none is named.
    pub folder: Option<PathBuf>,
    /// A witness on another machine that signs checkpoints (C2SP tlog-witness): the address before `/add-checkpoint`, and
    /// its public key, `name+12345678+base64`. What it signed is kept in the folder.
    pub url: Option<String>,
    pub key: Option<String>,
    /// It sees a checkpoint so often at most.
    pub seconds: u64,
    /// Without a witness, whoever holds the signing key could rewrite history.
    pub off: bool,
}

impl Default for WitnessSettings {
    fn default() -> Self {
        Self { folder: None, url: None, key: None, seconds: 60, off: false }
    }
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            origin: None,
            keys: PathBuf::from("keys"),
            master_key: None,
            checkpoint_events: 1000,
            checkpoint_seconds: 10,
            reserve_bytes: 256 << 20,
            witness: WitnessSettings::default(),
            postgres: None,
            key_database: None,
        }
    }
}

impl LedgerSettings {
    /// Opens the embedded ledger of a state directory, or makes it there.
    pub fn open(&self, state: &Path) -> Result<Ledger, LedgerError> {
        let clock = Arc::new(SystemClock);
        self.over(state, |keys| Ok(Arc::new(Sqlite::open(state, keys, clock)?)))
    }

    /// Opens the ledger that the settings name. `folder` is theirs, `outbound` their list of hosts.
    pub fn connect(&self, state: &Path, folder: &Path, outbound: &Outbound) -> Result<Ledger, LedgerError> {
        let Some(postgres) = &self.postgres else { return self.open(state) };
        let apart = self.key_database.as_ref().filter(|keys| keys.url != postgres.url);
        let Some(keys) = apart else {
            let problem = "name a database other than `[ledger.postgres]` has: a backup that holds the keys, too, would \
                keep what was erased";
            let section = "[ledger.key_database]".to_owned();
            return Err(LedgerError::Setting { section, problem: problem.to_owned() });
        };
        let own = self.own_folder(state)?;
        let table = KeyTable::postgres(keys.connections(folder, outbound, "[ledger.key_database]")?)?;
        let keys = Keys::open(table, self.master(state, &own, false)?)?;
        let store = store::Postgres::open(postgres.connections(folder, outbound, "[ledger.postgres]")?)?;
        Ok(Ledger::new(Arc::new(store), keys, Some(self.signer(&own)?)))
    }

    /// The witness of a state directory, if it has one.
    pub fn witness(&self, state: &Path) -> Option<Witness> {
        let beside = || {
            let mut name = state.as_os_str().to_owned();
            name.push("-witness");
            PathBuf::from(name)
        };
        let folder = self.witness.folder.as_ref().map_or_else(beside, |folder| state.join(folder));
        (!self.witness.off).then(|| Witness::at(folder))
    }

    /// The witness on another machine: its address, and whose signature counts.
    ///
    /// # Errors
    /// One of the two without the other, or a key that is none.
    pub fn cosigner(&self) -> Result<Option<(String, Cosigner)>, LedgerError> {
        let wrong = |problem: &str| LedgerError::Setting {
            section: "[ledger.witness]".to_owned(),
            problem: problem.to_owned(),
        };
        match (&self.witness.url, &self.witness.key) {
            (None, None) => Ok(None),
            (Some(url), Some(key)) => {
                let form = "`key` is the verifier key of a cosigner, `name+12345678+base64` (C2SP tlog-cosignature v1)";
                let cosigner = Cosigner::read(key).ok_or_else(|| wrong(form))?;
                Ok(Some((format!("{}/add-checkpoint", url.trim_end_matches('/')), cosigner)))
            }
            _ => Err(wrong("a witness on another machine needs both `url` and `key`")),
        }
    }

    /// With another store, and the keys of the state directory.
    pub fn over(
        &self,
        state: &Path,
        store: impl FnOnce(&Keys) -> Result<Arc<dyn Store>, LedgerError>,
    ) -> Result<Ledger, LedgerError> {
        let folder = self.own_folder(state)?;
        let table = folder.join("keys.sqlite");
        for file in [&table, &folder.join("log.key")] {
            // A new one in its place would make everything that is there unreadable, and look as if it were erased.
            if !file.exists() && store::has_keys(&state.join("ledger.sqlite")) {
                let problem = "it is missing, and the ledger is of no use without it; put it back, or name the folder of \
                    the keys in `[ledger] keys`";
                return Err(LedgerError::Key {
                    file: file.display().to_string(),
                    problem: problem.to_owned(),
                });
            }
        }
        let master = self.master(state, &folder, !table.exists())?;
        let keys = Keys::open(KeyTable::sqlite(&table)?, master)?;
        // Before the ledger: where that is, its keys are.
        let signer = self.signer(&folder)?;
        let store = store(&keys)?;
        Ok(Ledger::new(store, keys, Some(signer)).with_reserve(state, self.reserve_bytes))
    }

    /// Where the keys are that are files.
    fn own_folder(&self, state: &Path) -> Result<PathBuf, LedgerError> {
        let folder = state.join(&self.keys);
        let failed = |error: std::io::Error| LedgerError::Directory {
            path: folder.clone(),
            reason: error.to_string(),
        };
        durable::private(&folder).map_err(failed)?;
        Ok(folder)
    }

    fn master(&self, state: &Path, folder: &Path, make: bool) -> Result<Secret, LedgerError> {
        if let Ok(text) = std::env::var(MASTER_KEY) {
            return master_of(&text).ok_or_else(|| LedgerError::Key {
                file: MASTER_KEY.to_owned(),
                problem: "a master key is 64 hexadecimal digits and no more".to_owned(),
            });
        }
        let file = self.master_key.as_ref().map(|file| state.join(file));
        master(&file.unwrap_or_else(|| folder.join("master.key")), make)
    }

    fn signer(&self, folder: &Path) -> Result<Signer, LedgerError> {
        let file = folder.join("log.key");
        // The key names the log that it is of.
        let known = std::fs::read_to_string(&file).ok();
        let known = known.and_then(|text| text.split('+').nth(2).map(str::to_owned));
        let origin = self.origin.clone().or(known);
        let signer =
            Signer::open(&file, &origin.unwrap_or_else(|| format!("prokura.invalid/{}", ids::fresh("log"))))?;
        let public = folder.join("log.pub");
        if std::fs::read_to_string(&public).ok().as_deref() != Some(&format!("{}\n", signer.public_key)) {
            durable::replace(&public, "public", format!("{}\n", signer.public_key).as_bytes()).map_err(
                |error| LedgerError::Key { file: public.display().to_string(), problem: error.to_string() },
            )?;
        }
        Ok(signer)
    }
}
