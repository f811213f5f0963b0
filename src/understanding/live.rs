//! The bundle that reads now, changed without holding anybody up: the next one is loaded and warmed beside it,
//! then takes its place; who is reading ends with the old one, which is freed behind the last of them.

use super::bundle::EVIDENCE;
use super::encoder::Compute;
use super::error::UnderstandingError;
use super::installed::{Change, Chosen, Installed, chosen};
use super::read::{Schema, Understanding};
use super::shadow::{Report, Shadow};
use crate::base::{Digest, durable};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub struct Live {
    schema: Schema,
    compute: Compute,
    installed: Installed,
    /// Reads where nothing was promoted.
    shipped: PathBuf,
    now: RwLock<Now>,
    /// The bundle that a waiting case last asked for beside the current one: there are few others.
    pinned: Mutex<Option<Arc<Understanding>>>,
}

#[derive(Clone)]
struct Now {
    current: Arc<Understanding>,
    shadow: Option<Arc<Shadow>>,
    /// What was to be loaded when it was last looked.
    asked: Chosen,
    faults: Faults,
    /// Looks until what could not be loaded is tried again.
    wait: u32,
    /// Messages of the shadow's report when it was last written.
    written: usize,
}

/// What is not as it should be.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// The history cannot be read, or not be written down.
    history: Option<String>,
    /// What was promoted last cannot be loaded.
    current: Option<String>,
    /// The challenger cannot be loaded.
    shadow: Option<String>,
    /// Its report cannot be written.
    report: Option<String>,
}

/// A bundle that cannot be loaded is tried again after so many looks: somebody may have mended it.
const AGAIN: u32 = 30;

/// One bundle took another's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    pub from: Digest,
    pub to: Digest,
}

impl Live {
    /// Loads the bundle that was promoted last, or the shipped one.
    pub fn open(
        state: &Path,
        shipped: &Path,
        schema: &Schema,
        compute: Compute,
    ) -> Result<Self, UnderstandingError> {
        let installed = Installed::of(state);
        let current = installed.chosen()?.current;
        let reads = Arc::new(match &current {
            Some(model) => installed.load(model, schema, &compute)?,
            None => Understanding::load_on(shipped, schema, &compute)?,
        });
        let asked = Chosen { current, shadow: None };
        let faults = Faults::default();
        let now = Now { current: reads, shadow: None, asked, faults, wait: 0, written: 0 };
        let live = Self {
            schema: schema.clone(),
            compute,
            installed,
            shipped: shipped.to_owned(),
            now: RwLock::new(now),
            pinned: Mutex::default(),
        };
        live.refresh();
        Ok(live)
    }

    pub fn current(&self) -> Arc<Understanding> {
        Arc::clone(&self.read().current)
    }

    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.read().shadow.clone()
    }

    pub fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Why what reads may not be what was promoted last.
    pub fn fault(&self) -> Option<String> {
        let faults = self.read().faults.clone();
        faults.history.or(faults.current)
    }

    /// Why no challenger reads along although one is to, or why its report is not kept. It holds nobody up.
    pub fn shadow_fault(&self) -> Option<String> {
        let faults = self.read().faults.clone();
        faults.shadow.or(faults.report)
    }

    /// Tells why the history cannot be read or written down; what reads goes on reading.
    pub fn lost(&self, reason: String) {
        self.write(|now| now.faults.history = Some(reason));
    }

    /// This bundle; the current one where it is not there any more. Whoever asks for one that is not in memory
    /// waits while it is loaded.
    pub fn pinned(&self, model: &Digest) -> Arc<Understanding> {
        let current = self.current();
        if current.digest() == model {
            return current;
        }
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = pinned.as_ref().filter(|there| there.digest() == model) {
            return Arc::clone(there);
        }
        match self.installed.open(model, &self.shipped, &self.schema, &self.compute) {
            Some(found) => Arc::clone(pinned.insert(Arc::new(found))),
            None => current,
        }
    }

    /// What a bundle was measured at, as the file beside it says; `None` where there is no such file.
    pub fn evidence(&self, model: &Digest) -> Option<String> {
        let beside = |folder: &Path| std::fs::read_to_string(folder.join(EVIDENCE)).ok();
        beside(&self.installed.folder(model)).or_else(|| beside(&self.shipped))
    }

    /// Follows the history of the installed bundles as its file has it.
    pub fn refresh(&self) -> Option<Swapped> {
        match self.installed.history() {
            Ok(history) => self.follow(&history),
            Err(error) => {
                self.lost(error.to_string());
                None
            }
        }
    }

    /// Looks which bundles are to read now, and loads what is new. Blocks for as long as loading takes; nobody
    /// who reads waits for it.
    pub fn follow(&self, history: &[Change]) -> Option<Swapped> {
        let asked = chosen(history);
        let before = self.read().clone();
        self.save_report(&before);
        let again = before.wait == 1;
        self.write(|now| (now.wait, now.faults.history) = (now.wait.saturating_sub(1), None));
        let mut swapped = None;
        if asked.current != before.asked.current || (again && before.faults.current.is_some()) {
            match self.load(asked.current.as_ref()) {
                Ok(next) => {
                    let (from, to) = (before.current.digest().clone(), next.digest().clone());
                    self.write(|now| (now.current, now.faults.current) = (next, None));
                    swapped = (from != to).then_some(Swapped { from, to });
                }
                Err(error) => {
                    let fault = Some(error.to_string());
                    self.write(|now| (now.faults.current, now.wait) = (fault, AGAIN));
                }
            }
        }
        let retry = again && before.faults.shadow.is_some();
        if asked.shadow != before.asked.shadow || swapped.is_some() || retry {
            let loaded = asked.shadow.as_ref().map(|model| self.load(Some(model))).transpose();
            let (shadow, fault) = match loaded {
                Ok(challenger) => (challenger.map(|challenger| Arc::new(self.beside(challenger))), None),
                Err(error) => (None, Some(error.to_string())),
            };
            self.write(|now| {
                now.wait = if fault.is_some() { AGAIN } else { now.wait };
                (now.shadow, now.faults.shadow, now.faults.report, now.written) = (shadow, fault, None, 0);
            });
        }
        self.write(|now| now.asked = asked);
        swapped
    }

    fn beside(&self, challenger: Arc<Understanding>) -> Shadow {
        let shadow = Shadow::new(self.current().digest(), challenger);
        let earlier = self.report_file(&shadow.report());
        let earlier = std::fs::read(earlier).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(earlier) = earlier {
            shadow.resume(earlier);
        }
        shadow
    }

    /// An installed bundle, or the shipped one, ready to read.
    fn load(&self, model: Option<&Digest>) -> Result<Arc<Understanding>, UnderstandingError> {
        let folder = model.map_or_else(|| self.shipped.clone(), |model| self.installed.folder(model));
        let next = match model {
            Some(model) => self.installed.load(model, &self.schema, &self.compute)?,
            None => Understanding::load_on(&folder, &self.schema, &self.compute)?,
        };
        next.warm(&folder)?;
        Ok(Arc::new(next))
    }

    fn report_file(&self, report: &Report) -> PathBuf {
        self.installed.report(&report.current, &report.challenger)
    }

    fn save_report(&self, now: &Now) {
        let Some(shadow) = &now.shadow else { return };
        let report = shadow.report();
        if report.messages == now.written {
            return;
        }
        let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
        match durable::replace(&self.report_file(&report), "building", &json) {
            Ok(()) => self.write(|now| (now.written, now.faults.report) = (report.messages, None)),
            Err(error) => self.write(|now| now.faults.report = Some(format!("the shadow's report: {error}"))),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Now> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Language, Timestamp};
    use crate::understanding::bundle;
    use crate::understanding::installed::Action;

    fn change(action: Action, model: Option<&Digest>) -> Change {
        Change {
            at: Timestamp::from_millis(0),
            action,
            model: model.cloned(),
            previous: None,
            by: "test".to_owned(),
            forced: None,
            below: Vec::new(),
        }
    }

    /// The shipped bundle, and one that is less sure.
    fn two(state: &Path) -> (Live, Digest, Digest) {
        let schema = Schema::read(Path::new("config")).unwrap();
        let shipped = Path::new("models/default");
        let live = Live::open(state, shipped, &schema, Compute::default()).unwrap();
        let mut calibration = live.current().calibration().clone();
        calibration.intent.all = 3.0;
        calibration.intent.languages.clear();
        let folder = state.join("softer");
        bundle::recalibrated(shipped, &folder, &calibration, str::to_owned).unwrap();
        let softer = live.installed().import(&folder, &schema).unwrap();
        let first = live.current().digest().clone();
        (live, first, softer)
    }

    #[test]
    fn a_promoted_bundle_takes_over_and_a_damaged_one_does_not() {
        let state = tempfile::tempdir().unwrap();
        let (live, first, softer) = two(state.path());
        assert_eq!(live.refresh(), None);
        let reading_now = live.current();
        let promote = |model: &Digest| {
            live.installed().note(&change(Action::Promoted, Some(model))).unwrap();
            live.refresh()
        };
        let swapped = promote(&softer);
        assert_eq!(swapped, Some(Swapped { from: first.clone(), to: softer.clone() }));
        assert_eq!((live.current().digest(), reading_now.digest()), (&softer, &first));
        // A case that began with the first one goes on with it, and both are there at once.
        let pinned = live.pinned(&first);
        assert!(pinned.digest() == &first && Arc::ptr_eq(&pinned, &live.pinned(&first)));
        assert_eq!(live.pinned(&Digest::of(b"gone")).digest(), &softer);
        assert_eq!(promote(&Digest::of(b"gone")), None);
        assert_eq!(live.current().digest(), &softer);
        assert!(live.fault().unwrap().contains("there is no such folder"));
        live.installed().note(&change(Action::RolledBack, None)).unwrap();
        assert_eq!(live.refresh().map(|swapped| swapped.to), Some(first.clone()));
        assert_eq!(live.fault(), None);
        // A folder whose files are another bundle's, or damaged, does not read; mended it does, without a word.
        let folder = live.installed().folder(&softer);
        let aside = state.path().join("aside");
        std::fs::rename(&folder, &aside).unwrap();
        bundle::copy(Path::new("models/default"), &folder).unwrap();
        assert_eq!(promote(&softer), None);
        assert!(live.fault().unwrap().contains(&format!("it holds {first}")), "{:?}", live.fault());
        std::fs::write(folder.join("weights.safetensors"), "damage").unwrap();
        assert!((0..AGAIN).all(|_| live.refresh().is_none()));
        assert!(live.fault().unwrap().contains("its digest is not the one"), "{:?}", live.fault());
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
        assert_eq!((0..AGAIN).find_map(|_| live.refresh()).map(|swapped| swapped.to), Some(softer));
        assert_eq!(live.fault(), None);
    }

    #[test]
    fn a_shadow_is_started_reported_on_and_ended() {
        let state = tempfile::tempdir().unwrap();
        let (live, first, softer) = two(state.path());
        live.installed().note(&change(Action::ShadowStarted, Some(&softer))).unwrap();
        live.refresh();
        let shadow = live.shadow().unwrap();
        let text = "My card was stolen!";
        let said = live.current().read("m1", text, Language::En, &[]).unwrap();
        shadow.read("case_1", (text, Language::En), &[], &said).unwrap();
        live.refresh();
        let file = live.report_file(&shadow.report());
        let report: Report = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((&report.current, &report.challenger, report.messages), (&first, &softer, 1));
        assert!(report.confidence.challenger < report.confidence.current);
        live.installed().note(&change(Action::ShadowEnded, None)).unwrap();
        live.refresh();
        assert!(live.shadow().is_none());
        // A challenger that is gone is no fault of what reads.
        let gone = Digest::of(b"gone");
        live.installed().note(&change(Action::ShadowStarted, Some(&gone))).unwrap();
        live.refresh();
        assert!(live.fault().is_none() && live.shadow_fault().unwrap().contains("no such folder"));
        live.installed().note(&change(Action::ShadowEnded, None)).unwrap();
        live.refresh();
        assert_eq!(live.shadow_fault(), None);
    }
}
