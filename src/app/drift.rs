//! `prokura models drift`.

use super::settings::Settings;
use super::{Failure, output, wire};
use crate::base::{Clock, SystemClock};
use crate::cli::Place;
use crate::learning::drift::Watch;

pub fn show(place: &Place) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let ledger = wire::existing_ledger(place, &settings)?;
    let found = Watch::default().measured(&ledger, SystemClock.now(), &settings.drift);
    let Some(found) = found.map_err(Failure::input)? else {
        let least = settings.drift.least;
        return Err(Failure::Input(format!(
            "fewer than {least} messages in one of the two windows; see [drift] in the settings"
        )));
    };
    output::json_pretty(&found)?;
    let crossed: Vec<String> = found.crossed().into_iter().collect();
    match crossed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Check(format!("beyond the threshold: {}", crossed.join(", ")))),
    }
}
