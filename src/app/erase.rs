//! `prokura erase` and `prokura rotate-keys`: what may not be readable any more.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::cases;
use crate::cli::{Erase, Place, RotateKeys};
use crate::ledger::{Digests, StateLock, master};
use serde_json::json;
use std::collections::BTreeSet;

pub fn erase(place: &Place, asked: &Erase) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let pack = wire::pack(&settings, None)?.pack;
    let digests = Digests::from([
        ("program".to_owned(), wire::program_digest()?),
        ("pack".to_owned(), pack.digest.clone()),
    ]);
    let by = format!("command-line:{}", rustix::process::getuid().as_raw());
    let found = cases::erase(
        &ledger,
        &digests,
        &pack,
        (&asked.subjects, &by),
        ledger.store().now().map_err(Failure::input)?,
    );
    let found = found.map_err(Failure::input)?;
    for kept in &found.kept {
        let until = kept.until.map_or_else(String::new, |until| format!(", until {}", until.date()));
        eprintln!("{} is kept: {}{until}", kept.case, kept.reason);
    }
    if !found.unknown.is_empty() {
        eprintln!("no case holds data of {} of {}", found.unknown.len(), asked.subjects.len());
    }
    output::json_pretty(&json!(found))
}

pub fn rotate(place: &Place, asked: &RotateKeys) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let new = asked.new_master_key.as_ref().map(|file| master(file, false));
    let new = new.transpose().map_err(Failure::input)?;
    // A service that runs has the old master key, and could open nothing any more.
    let _alone = match (&new, &settings.ledger.postgres) {
        (Some(_), None) => Some(StateLock::take(&wire::state(place, &settings)).map_err(Failure::input)?),
        _ => None,
    };
    if let Some(new) = &new
        && ledger.keys().is_master(new).map_err(Failure::input)?
    {
        let problem = "this is the master key already; make a new one with `openssl rand -hex 32`";
        return Err(Failure::Input(problem.to_owned()));
    }
    ledger.keys().rotate(BTreeSet::new(), new.as_ref()).map_err(Failure::input)?;
    match &asked.new_master_key {
        None => eprintln!("every key is wrapped by a new key-encryption key, and the old one is gone"),
        Some(file) => eprintln!(
            "the master key is now the one in {}: put it in the old one's place before anything else is started, and \
             destroy the old one",
            file.display()
        ),
    }
    let left =
        |error| format!("the keys are changed, and old ones are left in the key store's files: {error}");
    ledger.keys().forget_deleted().map_err(|error| Failure::Input(left(error)))
}
