//! `prokura stop`: an emergency stop, also where no service answers.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{Clock, Digest, SystemClock};
use crate::cases::{self, ALL, Who};
use crate::cli::{Place, Stop};
use crate::governance::{Act, Principal, Role};
use crate::ledger::Digests;
use serde_json::json;
use std::path::Path;

pub fn run(place: &Place, asked: &Stop) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let now = SystemClock.now();
    let digests = Digests::from([("program".to_owned(), wire::program_digest()?)]);
    let stops = match (&asked.what, asked.start) {
        (None, _) => cases::stops(&ledger).map_err(Failure::input)?.0,
        (Some(what), true) => {
            let Some(file) = &asked.key_file else {
                let problem = "starting again takes two people: each names the file of their own API key with --key-file";
                return Err(Failure::Input(problem.to_owned()));
            };
            let by = principal(&settings, file)?;
            cases::start_again(&ledger, &digests, (what, Who::of(&by)), now).map_err(Failure::input)?
        }
        (Some(what), false) => {
            // A pack with faults must not stand in the way of stopping everything.
            if what != ALL
                && let Some(remedy) = wire::pack(&settings, None)?.pack.cannot_stop(what)
            {
                return Err(Failure::Input(format!("`{what}` names nothing that can be stopped; {remedy}")));
            }
            // Nor must rules that nobody can read.
            let by = match &asked.key_file {
                Some(file) => known(&settings, file)?,
                None => {
                    let user = rustix::process::getuid().as_raw();
                    Principal::new(format!("command-line:{user}"), Role::Operator)
                }
            };
            let reason = asked.reason.as_deref();
            cases::stop(&ledger, &digests, (what, Who::of(&by), reason), now).map_err(Failure::input)?
        }
    };
    output::json_pretty(&json!({ "stops": stops }))
}

/// Whoever the key in the file names, if the rules let them start something again.
fn principal(settings: &Settings, file: &Path) -> Result<Principal, Failure> {
    let known = known(settings, file)?;
    let rules = cases::administration(&settings.folder).map_err(Failure::Findings)?;
    let said = rules.evaluate(&known, Act::Stop);
    match said.allowed {
        true => Ok(Principal { policies: said.policies, ..known }),
        false => Err(Failure::Input(format!(
            "{}: role `{}` may not stop or start anything; use the key of one of: {}",
            file.display(),
            known.role,
            rules.roles(Act::Stop).join(", ")
        ))),
    }
}

/// Whoever the key in the file names.
fn known(settings: &Settings, file: &Path) -> Result<Principal, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| Failure::Input(format!("{shown}: {error}")))?;
    let digest = Digest::of(text.trim().as_bytes());
    let known = settings.keys.iter().find(|key| key.sha256.eq_ignore_ascii_case(digest.hex()));
    match known {
        Some(key) => Ok(Principal::new(key.principal.clone(), key.role)),
        None => Err(Failure::Input(format!("{shown}: no key of prokura.toml is this one"))),
    }
}
