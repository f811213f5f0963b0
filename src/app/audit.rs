//! `prokura audit`: whether the log is what was written, and files that prove it elsewhere.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{Clock, SystemClock, ids};
use crate::cli::{Audit, Place};
use crate::ledger::{self, Cosigner, LedgerError, Root, Stream, StreamKind, Verified, Witness};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

pub fn run(place: &Place, asked: &Audit) -> Result<(), Failure> {
    match asked {
        Audit::Verify { export: Some(file), public_key, witness, witness_key, .. } => {
            let Some(key) = public_key else {
                let problem = "an export is verified with the log's --public-key, which comes from whoever runs the \
                    service and never from the export";
                return Err(Failure::Input(problem.to_owned()));
            };
            let key = public_key_of(key)?;
            let witnessed = witnessed(witness, witness_key.as_deref(), &key)?;
            let file = open(file)?;
            told(&ledger::verify_export(&mut BufReader::new(file), &key, &witnessed))
        }
        Audit::Verify { public_key, witness, witness_key, full, .. } => {
            verify(place, public_key.as_deref(), (witness, witness_key.as_deref()), *full)
        }
        Audit::Export { out, case } => export(place, out.as_deref(), case.as_deref()),
        Audit::Checkpoint => checkpoint(place),
    }
}

fn verify(
    place: &Place,
    public_key: Option<&str>,
    (witness, witness_key): (&[PathBuf], Option<&str>),
    full: bool,
) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let opened = wire::existing_ledger(place, &settings)?;
    let own = || opened.signer().map(|signer| signer.public_key.clone()).unwrap_or_default();
    let key = public_key.map(public_key_of).transpose()?.unwrap_or_else(own);
    let mut seen = witnessed(witness, witness_key, &key)?;
    if let Some(witness) = wire::witness(place, &settings)? {
        seen.extend(kept(&witness, &key)?);
    }
    let found = ledger::verify(opened.store(), &key, &seen, full).map_err(|error| match error {
        // What cannot be read any more does not pass.
        LedgerError::Broken(_) | LedgerError::Damaged { .. } => Failure::Check(error.to_string()),
        other => Failure::input(other),
    })?;
    told(&found)
}

/// As JSON, and in words; a damage is an error.
fn told(found: &Verified) -> Result<(), Failure> {
    output::json_pretty(&json!({ "intact": found.damage.is_none(), "found": found }))?;
    if found.unsigned > 0 {
        eprintln!("{} entries are under no checkpoint yet: nothing proves them", found.unsigned);
    }
    if found.signed > found.witnessed {
        eprintln!(
            "no witness has seen the last {} signed entries: whoever holds the signing key could have rewritten them",
            found.signed - found.witnessed
        );
    }
    match &found.damage {
        None => Ok(()),
        Some(damage) => Err(Failure::Check(format!("entry {}: {}", damage.index, damage.reason))),
    }
}

/// The key itself, or what the file of this name holds.
fn public_key_of(given: &str) -> Result<String, Failure> {
    if given.split('+').count() >= 3 && !Path::new(given).exists() {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(given).map_err(|error| {
        let wanted = "a key is name+12345678+base64, or a file with it";
        Failure::Input(format!("`{given}` is no key, and as a file: {error}; {wanted}"))
    })?;
    Ok(text.trim().to_owned())
}

fn open(file: &Path) -> Result<File, Failure> {
    if file.is_dir() {
        let problem = "it is a folder; name a file that `prokura audit export` wrote";
        return Err(Failure::Input(format!("{}: {problem}", file.display())));
    }
    File::open(file).map_err(|error| Failure::Input(format!("{}: {error}", file.display())))
}

/// What is in these files, and folders of a witness; with a witness's key, what that one has signed.
fn witnessed(paths: &[PathBuf], witness_key: Option<&str>, key: &str) -> Result<Vec<Root>, Failure> {
    let cosigner = witness_key.map(|given| {
        let problem =
            "--witness-key is the verifier key of a cosigner, name+12345678+base64, or a file with it";
        Cosigner::read(&public_key_of(given)?).ok_or_else(|| Failure::Input(problem.to_owned()))
    });
    let cosigner = cosigner.transpose()?;
    let mut roots = Vec::new();
    for path in paths {
        let witness = Witness::at(path.clone());
        let witness = match &cosigner {
            Some(cosigner) => witness.with_cosigner(cosigner.clone()),
            None => witness,
        };
        if path.is_dir() {
            roots.extend(kept(&witness, key)?);
            continue;
        }
        let shown = path.display();
        let note = std::fs::read(path).map_err(|error| Failure::Input(format!("{shown}: {error}")))?;
        let root = witness.read(&note, key);
        roots.push(root.map_err(|error| Failure::Check(format!("{shown}: {error}")))?);
    }
    Ok(roots)
}

/// What a witness keeps in its folder. What else lies there is told: it may have been a checkpoint.
fn kept(witness: &Witness, key: &str) -> Result<Vec<Root>, Failure> {
    let (roots, others) = witness.checkpoints(key).map_err(Failure::input)?;
    if let Some(first) = others.first() {
        eprintln!(
            "{} files of the witness are no checkpoint that counts; the first is {}: what they may have shown is not checked",
            others.len(),
            first.display()
        );
    }
    Ok(roots)
}

fn export(place: &Place, out: Option<&Path>, case: Option<&str>) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let opened = wire::existing_ledger(place, &settings)?;
    opened.sign().map_err(Failure::input)?;
    let stream = case.map(|case| Stream::new(StreamKind::Case, case));
    let write =
        |to: &mut dyn Write| ledger::export(opened.store(), stream.as_ref(), to).map_err(Failure::input);
    let entries = match out {
        None => write(&mut std::io::stdout().lock())?,
        Some(path) => {
            // It is there whole or not at all, and what was there stays until then.
            let shown = path.display();
            let failed = |error: std::io::Error| Failure::Input(format!("{shown}: {error}"));
            if path.starts_with(wire::state(place, &settings)) {
                return Err(Failure::Input(format!(
                    "{shown}: an export goes outside of the state directory"
                )));
            }
            let part = path.with_file_name(ids::fresh("export"));
            let mut file = BufWriter::new(File::create(&part).map_err(failed)?);
            let written = write(&mut file).and_then(|entries| {
                file.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
                std::fs::rename(&part, path).map_err(failed)?;
                Ok(entries)
            });
            if written.is_err() {
                // Nobody needs half of it.
                let _ = std::fs::remove_file(&part);
            }
            written?
        }
    };
    let key = opened.signer().map(|signer| signer.public_key.as_str()).unwrap_or_default();
    eprintln!(
        "{entries} entries; verify them elsewhere with `prokura audit verify --export FILE --public-key {key}`"
    );
    Ok(())
}

fn checkpoint(place: &Place) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let opened = wire::existing_ledger(place, &settings)?;
    opened.sign().map_err(Failure::input)?;
    if let Some(witness) = wire::witness(place, &settings)? {
        witness.keep(&opened, SystemClock.now()).map_err(Failure::input)?;
    }
    match opened.store().checkpoint().map_err(Failure::input)? {
        Some(note) => output::out(&String::from_utf8_lossy(&note)),
        None => Err(Failure::Input("nothing is written yet, so there is nothing to sign".to_owned())),
    }
}
