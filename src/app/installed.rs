//! The bundles of the state directory: listed, imported, promoted, rolled back, compared.

use super::settings::Settings;
use super::{Failure, evaluation, models, oneshot, output, wire};
use crate::base::priority::stand_back;
use crate::base::{Clock, Digest, SystemClock};
use crate::cli::{InstalledModels as Models, Place};
use crate::intake::recognise_with;
use crate::learning::evaluate::{self as measure, Few, Lines};
use crate::learning::promote::{self, Promotion, Refused};
use crate::policy::{self, Following, PolicyError};
use crate::understanding::installed::{self, Action, Change, Installed};
use crate::understanding::shadow::Report;
use crate::understanding::{Compute, Known, Schema, Understanding};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

pub fn run(place: &Place, asked: Models) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let here = Here {
        installed: Installed::of(&wire::state(place, &settings)),
        schema: Schema::read(&settings.folder).map_err(Failure::input)?,
        place,
        settings,
    };
    match asked {
        Models::List => here.list(),
        Models::Import { bundle } => here.import(&bundle),
        Models::Promote { model, tickets, own, bar, force } => {
            let lines = match tickets {
                Some(file) => Lines::Tickets { file, usual: here.settings.intake.language },
                None => Lines::Own(own),
            };
            here.promote(&model, lines, bar, force)
        }
        Models::Rollback { model } => here.rollback(model.as_deref()),
        Models::Shadow { stop: true, .. } => here.shadow(None),
        Models::Shadow { model: None, .. } => here.report(),
        Models::Shadow { model: Some(model), input: None, .. } => here.shadow(Some(&model)),
        Models::Shadow { model: Some(model), input: Some(input), .. } => here.compare(&model, &input),
    }
}

struct Here<'a> {
    installed: Installed,
    schema: Schema,
    settings: Settings,
    place: &'a Place,
}

#[derive(Serialize)]
struct Listing {
    /// What reads: what was promoted last, or the bundle in the settings.
    reading: Digest,
    installed: Vec<installed::Listed>,
    history: Vec<Change>,
}

impl Here<'_> {
    fn shipped(&self) -> PathBuf {
        self.settings.beside(&self.settings.models.bundle)
    }

    /// The digest of what reads now.
    fn reading(&self) -> Result<Digest, Failure> {
        match self.installed.chosen().map_err(Failure::input)?.current {
            Some(model) => Ok(model),
            None => crate::understanding::bundle::verified_digest(&self.shipped()).map_err(Failure::input),
        }
    }

    fn change(&self, action: Action, model: Option<&Digest>, previous: Option<Digest>) -> Change {
        let (at, model) = (SystemClock.now(), model.cloned());
        Change { at, action, model, previous, by: whoever(), forced: None, below: Vec::new() }
    }

    fn list(&self) -> Result<(), Failure> {
        output::json_pretty(&Listing {
            reading: self.reading()?,
            installed: self.installed.list().map_err(Failure::input)?,
            history: self.installed.history().map_err(Failure::input)?,
        })
    }

    fn import(&self, bundle: &Path) -> Result<(), Failure> {
        let _lock = self.installed.lock().map_err(Failure::input)?;
        let model = self.installed.import(bundle, &self.schema).map_err(Failure::input)?;
        let change = self.change(Action::Imported, Some(&model), None);
        self.installed.note(&change).map_err(Failure::input)?;
        output::json_pretty(&json!({"model": model}))
    }

    fn promote(
        &self,
        asked: &str,
        lines: Lines,
        bar: Option<PathBuf>,
        force: Option<String>,
    ) -> Result<(), Failure> {
        let model = self.installed.find(asked).map_err(Failure::input)?;
        let previous = self.reading()?;
        let few = Few {
            bundle: self.installed.folder(&model),
            config: models::pack_folder(self.place),
            lines,
            bank_codes: wire::bank_codes(&self.settings)?,
            bar: evaluation::bar(bar, &self.settings)?,
        };
        // A service on this machine goes on answering meanwhile.
        stand_back();
        // Loading it for this also checks it whole. It takes a while, in which somebody may have to roll back.
        let measured = measure::few(&few).map_err(Failure::input)?;
        measured.notes.iter().for_each(|note| eprintln!("{note}"));
        let _lock = self.installed.lock().map_err(Failure::input)?;
        if self.reading()? != previous || measured.model != model {
            return Err(Failure::Input("the models were changed meanwhile; promote it again".to_owned()));
        }
        // What reads now must be there to go back to, and for the cases that began with it.
        if self.installed.find(previous.as_str()).is_err() {
            self.installed.keep(&self.shipped()).map_err(Failure::input)?;
        }
        let _following = self.policies_follow(&model)?;
        let (by, at) = (whoever(), SystemClock.now());
        let promotion = Promotion { model, previous, measured: &measured, by, at, force };
        let change = promote::promote(&self.installed, promotion).map_err(|refused| match refused {
            Refused::Below(_) | Refused::Unmeasured(_) => Failure::Check(refused.to_string()),
            _ => Failure::input(refused),
        })?;
        output::json_pretty(&json!({"promoted": change, "figures": measured.figures}))
    }

    /// Loads a bundle, and builds the generation of the policies with its vectors where there is none: a search with
    /// this bundle finds it from the moment on that the bundle reads. Nothing else is published before the result is
    /// dropped.
    fn policies_follow(&self, model: &Digest) -> Result<Option<Following>, Failure> {
        let models = self.installed.load(model, &self.schema, &Compute::default()).map_err(Failure::input)?;
        let options = wire::indexing(&self.settings, &models);
        let state = wire::state(self.place, &self.settings);
        policy::take_from(&state, self.settings.policies.from.as_deref()).map_err(Failure::input)?;
        match policy::follow(&state, options, &output::progress("indexing")) {
            Ok(following) => Ok(Some(following)),
            Err(PolicyError::NotBuilt { .. }) => Ok(None),
            Err(error) => Err(Failure::input(error)),
        }
    }

    fn rollback(&self, asked: Option<&str>) -> Result<(), Failure> {
        let _lock = self.installed.lock().map_err(Failure::input)?;
        let history = self.installed.history().map_err(Failure::input)?;
        let asked = asked.map(|asked| self.installed.find(asked)).transpose().map_err(Failure::input)?;
        let target = promote::before(&history, asked.as_ref()).map_err(Failure::input)?;
        let current = installed::chosen(&history).current;
        if current.as_ref() == Some(&target) {
            return Err(Failure::input(Refused::Reads(target)));
        }
        let _following = self.policies_follow(&target)?;
        let change = self.change(Action::RolledBack, Some(&target), current);
        self.installed.note(&change).map_err(Failure::input)?;
        output::json_pretty(&json!({"rolled_back": change}))
    }

    fn shadow(&self, asked: Option<&str>) -> Result<(), Failure> {
        let _lock = self.installed.lock().map_err(Failure::input)?;
        let model = asked.map(|asked| self.installed.find(asked)).transpose().map_err(Failure::input)?;
        let action = match &model {
            Some(model) if *model == self.reading()? => {
                return Err(Failure::input(Refused::Reads(model.clone())));
            }
            Some(model) => {
                self.installed.load(model, &self.schema, &Compute::default()).map_err(Failure::input)?;
                Action::ShadowStarted
            }
            None => {
                self.challenger()?;
                Action::ShadowEnded
            }
        };
        let change = self.change(action, model.as_ref(), None);
        self.installed.note(&change).map_err(Failure::input)?;
        output::json_pretty(&json!({"shadow": change}))
    }

    /// What reads along.
    fn challenger(&self) -> Result<Digest, Failure> {
        let challenger = self.installed.chosen().map_err(Failure::input)?.shadow;
        challenger.ok_or_else(|| {
            Failure::Input(
                "no challenger reads along; start one with `prokura models shadow DIGEST`".to_owned(),
            )
        })
    }

    /// What the running service has written down.
    fn report(&self) -> Result<(), Failure> {
        let challenger = self.challenger()?;
        let file = self.installed.report(&self.reading()?, &challenger);
        let bytes = std::fs::read(&file).map_err(|error| {
            let shown = file.display();
            Failure::Input(format!("{shown}: {error}; a running service writes it when messages come in"))
        })?;
        let report: Report = serde_json::from_slice(&bytes).map_err(Failure::input)?;
        output::json_pretty(&report)
    }

    fn compare(&self, asked: &str, input: &Path) -> Result<(), Failure> {
        let folder = match Path::new(asked) {
            folder if folder.is_dir() => folder.to_owned(),
            _ => self.installed.folder(&self.installed.find(asked).map_err(Failure::input)?),
        };
        let compute = wire::compute(&self.settings)?;
        let load =
            |folder: &Path| Understanding::load_on(folder, &self.schema, &compute).map_err(Failure::input);
        let (current, challenger) = (load(&wire::bundle(self.place, &self.settings)?)?, load(&folder)?);
        let banks = wire::bank_codes(&self.settings)?;
        let mut report = Report::new(current.digest(), challenger.digest());
        oneshot::messages(input, None, &self.settings.limits(), |id, message| {
            let found = recognise_with(&message.text, &banks);
            let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
            let read = |models: &Understanding| {
                models.read(id, &message.text, message.language, &known).map_err(Failure::input)
            };
            report.add(id, &read(&current)?, &read(&challenger)?);
            Ok(())
        })?;
        output::json_pretty(&report)
    }
}

/// Who runs the command, as the environment says; whoever may write the state directory could write any name.
fn whoever() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}
