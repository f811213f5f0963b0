//! `prokura policies`: what administrators do with the bank's documents.

use super::oneshot::language;
use super::settings::Settings;
use super::{Failure, background, output, wire};
use crate::base::{Clock, Language, SystemClock};
use crate::cases;
use crate::cli::{Place, Policies as Asked};
use crate::ledger::Digests;
use crate::planning::Plans;
use crate::policy::bar::RetrievalBar;
use crate::policy::{self, Clearance, Document, PolicyError, Published, validate};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn run(place: &Place, asked: Asked) -> Result<(), Failure> {
    let settings = Settings::read(&place.config)?;
    let here = Here { state: wire::state(place, &settings), place, settings };
    if matches!(
        asked,
        Asked::Index { .. } | Asked::Put { .. } | Asked::Remove { .. } | Asked::Rollback { .. }
    ) {
        // A service may not have started with these settings yet.
        policy::take_from(&here.state, here.settings.policies.from.as_deref()).map_err(Failure::input)?;
    }
    match asked {
        Asked::Index { paths, language, force } => here.publish(&language, force, |state, options| {
            policy::index(state, &paths, options, &output::progress("indexing"))
        }),
        Asked::Put { paths, language, force } => here.publish(&language, force, |state, options| {
            let put = policy::gather(&paths, options.language, &|_, _| {})?;
            let (plans, progress) = (here.plans(), output::progress("indexing"));
            let kept = kept(&plans);
            let options = policy::Options { kept: (!force).then_some(&kept), ..options };
            let published = policy::amend(state, (put.documents, &BTreeSet::new()), options, &progress)?;
            Ok(Published { skipped: put.skipped, notes: put.notes, ..published })
        }),
        Asked::Remove { ids, force } => here.publish("en", force, |state, options| {
            let removed: BTreeSet<String> = ids.iter().cloned().collect();
            let (plans, progress) = (here.plans(), output::progress("indexing"));
            let kept = kept(&plans);
            let options = policy::Options { kept: (!force).then_some(&kept), ..options };
            policy::amend(state, (Vec::new(), &removed), options, &progress)
        }),
        Asked::List => {
            policy::list(&here.state).map_err(Failure::input)?.iter().try_for_each(output::json_line)
        }
        Asked::Rollback { generation, force } => here.roll_back(&generation, force),
        Asked::Diff { from, to } => here.diff(&from, &to),
        Asked::Verify { generation } => here.verify(generation.as_deref()),
        Asked::Validate { paths, language } => validated(&paths, &language),
        Asked::Preview { file, language } => preview(&file, &language),
        Asked::Test { generation } => here.test(generation.as_deref()),
        Asked::Forget { days } => here.forget(days),
        Asked::Fetch { from, key_file } => {
            let ask = wire::asking(&here.settings, &from, &key_file)?;
            output::json_pretty(&policy::fetch(&here.state, &*ask).map_err(Failure::input)?)
        }
    }
}

struct Here<'a> {
    state: PathBuf,
    settings: Settings,
    place: &'a Place,
}

fn code(language_code: &str) -> Result<Language, Failure> {
    Ok(language(Some(language_code))?.unwrap_or(Language::En))
}

impl Here<'_> {
    fn publish(
        &self,
        language: &str,
        force: bool,
        work: impl FnOnce(&Path, policy::Options) -> Result<Published, PolicyError>,
    ) -> Result<(), Failure> {
        let models = wire::understanding(self.place, &self.settings)?;
        let bar = wire::retrieval_bar(&self.settings)?.filter(|_| !force);
        let options = wire::indexing(&self.settings, &models);
        let options = policy::Options { language: code(language)?, bar: bar.as_ref(), ..options };
        let published = work(&self.state, options).map_err(failed)?;
        for skipped in &published.skipped {
            eprintln!("skipped {}: its format is not read", skipped.display());
        }
        published.notes.iter().for_each(|note| eprintln!("{note}"));
        output::json_pretty(&published)
    }

    /// A pack that cannot be loaded has none to tell of.
    fn plans(&self) -> Plans {
        wire::pack(&self.settings, None).map(|checked| checked.pack.plans).unwrap_or_default()
    }

    fn roll_back(&self, generation: &str, force: bool) -> Result<(), Failure> {
        let models = wire::understanding(self.place, &self.settings)?;
        let plans = self.plans();
        let kept = kept(&plans);
        let options = wire::indexing(&self.settings, &models);
        let options = policy::Options { kept: (!force).then_some(&kept), ..options };
        let rolled = policy::rollback(&self.state, generation, options, &output::progress("embedding"));
        output::json_line(&rolled.map_err(Failure::input)?)
    }

    fn diff(&self, from: &str, to: &str) -> Result<(), Failure> {
        let plans = self.plans();
        let found = cases::difference(&self.state, &plans, (from, to), &Clearance::All);
        output::json_pretty(&found.map_err(Failure::input)?)
    }

    /// Each generation, or the one that is asked for.
    fn verify(&self, asked: Option<&str>) -> Result<(), Failure> {
        let verified = policy::verify(&self.state, asked).map_err(Failure::input)?;
        verified.iter().try_for_each(output::json_line)?;
        match verified.iter().filter(|one| !one.whole).count() {
            0 => Ok(()),
            damaged => Err(Failure::Check(format!("{damaged} generations cannot be searched"))),
        }
    }

    fn test(&self, asked: Option<&str>) -> Result<(), Failure> {
        let bar: RetrievalBar = wire::retrieval_bar(&self.settings)?.ok_or_else(|| {
            let file = wire::bar_file(&self.settings);
            Failure::Input(format!("there is no {}; write the questions there", file.display()))
        })?;
        let models = wire::understanding(self.place, &self.settings)?;
        let now = SystemClock.now();
        let today = policy::parse_date(&now.date())
            .ok_or_else(|| Failure::Input("the clock gives no date".to_owned()))?;
        let tested = match asked {
            Some(asked) => {
                let generation = policy::open_generation(&self.state, asked).map_err(Failure::input)?;
                bar.test(&generation, &[], Some(&models), today)
            }
            None => {
                let policies = policy::Policies::open(&self.state).map_err(Failure::input)?;
                bar.test(&policies.current(models.searcher()), &[], Some(&models), today)
            }
        };
        let tested = tested.map_err(Failure::input)?;
        output::json_pretty(&tested)?;
        if tested.enough { Ok(()) } else { Err(failed(PolicyError::BelowBar(Box::new(tested)))) }
    }

    /// What open cases need stays, where there are any.
    fn forget(&self, days: u32) -> Result<(), Failure> {
        let before = SystemClock.now().plus_millis(-i64::from(days) * background::DAY);
        let gone = match wire::found_ledger(self.place, &self.settings)? {
            None => policy::forget(&self.state, before, &BTreeSet::new()).map_err(Failure::input)?,
            Some(ledger) => {
                let open_days = wire::pack(&self.settings, None)?.pack.service.open_days;
                let digests = Digests::from([("program".to_owned(), wire::program_digest()?)]);
                background::let_go(&ledger, &digests, (&self.state, before), open_days, BTreeSet::new())?
            }
        };
        output::json_line(&json!({"forgotten": gone}))
    }
}

fn kept(plans: &Plans) -> impl Fn(&[Document], &[Document]) -> Option<String> {
    |before, after| cases::lost(plans, before, after, false)
}

/// What does not answer the saved questions was built, and has failed a check.
fn failed(error: PolicyError) -> Failure {
    match error {
        PolicyError::BelowBar(_) => Failure::Check(error.to_string()),
        _ => Failure::input(error),
    }
}

fn validated(paths: &[PathBuf], language: &str) -> Result<(), Failure> {
    let gathered =
        policy::gather(paths, code(language)?, &output::progress("reading")).map_err(Failure::input)?;
    gathered.skipped.iter().for_each(|file| eprintln!("skipped {}: its format is not read", file.display()));
    gathered.notes.iter().for_each(|note| eprintln!("{note}"));
    let concerns = validate::concerns(&gathered.documents);
    concerns.iter().try_for_each(output::json_line)?;
    match concerns.len() {
        0 => Ok(()),
        1 => Err(Failure::Check("1 thing to look at".to_owned())),
        many => Err(Failure::Check(format!("{many} things to look at"))),
    }
}

/// How a file is read, and what of it can be quoted.
fn preview(file: &Path, language: &str) -> Result<(), Failure> {
    let gathered =
        policy::gather(&[file.to_path_buf()], code(language)?, &|_, _| {}).map_err(Failure::input)?;
    for document in &gathered.documents {
        output::json_pretty(&policy::preview(document))?;
    }
    Ok(())
}
