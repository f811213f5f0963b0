//! The bundle that reads now, changed without holding anybody up: the next one is loaded and warmed beside it,
//! then takes its place; who is reading ends with the old one, which is freed behind the last of them.

use super::error::UnderstandingError;
use super::installed::{Installed, Pointer};
use super::read::{Schema, Understanding};
use super::shadow::{Report, Shadow};
use crate::base::{Digest, durable};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

pub struct Live {
    schema: Schema,
    installed: Installed,
    /// Reads where nothing was promoted.
    shipped: PathBuf,
    now: RwLock<Now>,
    /// Bundles that waiting cases began with, while somebody uses them.
    pinned: Mutex<BTreeMap<Digest, Weak<Understanding>>>,
}

#[derive(Clone)]
struct Now {
    current: Arc<Understanding>,
    shadow: Option<Arc<Shadow>>,
    /// What the pointers named when they were last looked at.
    asked: (Option<Digest>, Option<Digest>),
    /// Why what they name is not what reads.
    fault: Option<String>,
    /// Messages of the shadow's report when it was last written.
    written: usize,
}

/// One bundle took another's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    pub from: Digest,
    pub to: Digest,
}

impl Live {
    /// The bundle that was promoted last, or the shipped one.
    pub fn open(state: &Path, shipped: &Path, schema: &Schema) -> Result<Self, UnderstandingError> {
        let installed = Installed::of(state);
        let asked = (installed.pointer(Pointer::Current)?, installed.pointer(Pointer::Shadow)?);
        let folder = asked.0.as_ref().map_or_else(|| shipped.to_owned(), |model| installed.folder(model));
        let current = Arc::new(Understanding::load(&folder, schema)?);
        let now = Now { current, shadow: None, asked: (asked.0, None), fault: None, written: 0 };
        let live = Self {
            schema: schema.clone(),
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

    /// Why what was promoted last is not what reads, if so.
    pub fn fault(&self) -> Option<String> {
        self.read().fault.clone()
    }

    /// The bundle that a case began with; the current one where it is not there any more.
    pub fn pinned(&self, model: &Digest) -> Arc<Understanding> {
        let current = self.current();
        if current.digest() == model {
            return current;
        }
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = pinned.get(model).and_then(Weak::upgrade) {
            return there;
        }
        pinned.retain(|_, weak| weak.strong_count() > 0);
        let folders = [self.installed.folder(model), self.shipped.clone()];
        let load = |folder: &PathBuf| Understanding::load(folder, &self.schema).ok();
        match folders.iter().filter_map(load).find(|found| found.digest() == model) {
            Some(found) => {
                let found = Arc::new(found);
                pinned.insert(model.clone(), Arc::downgrade(&found));
                found
            }
            None => current,
        }
    }

    /// Looks at the pointers, and loads what they name where it is something new. Blocks for as long as loading
    /// takes; nobody who reads waits for it.
    pub fn refresh(&self) -> Option<Swapped> {
        let before = self.read().clone();
        let pointers = |which| self.installed.pointer(which);
        let asked = match (pointers(Pointer::Current), pointers(Pointer::Shadow)) {
            (Ok(current), Ok(shadow)) => (current, shadow),
            (Err(error), _) | (_, Err(error)) => {
                self.write(|now| now.fault = Some(error.to_string()));
                return None;
            }
        };
        self.save_report(&before);
        if asked == before.asked {
            return None;
        }
        let mut swapped = None;
        if asked.0 != before.asked.0 {
            let folder = asked.0.as_ref().map_or_else(|| self.shipped.clone(), |m| self.installed.folder(m));
            match self.load(&folder) {
                Ok(next) => {
                    let (from, to) = (before.current.digest().clone(), next.digest().clone());
                    self.write(|now| (now.current, now.fault) = (next, None));
                    swapped = (from != to).then_some(Swapped { from, to });
                }
                Err(error) => self.write(|now| now.fault = Some(error.to_string())),
            }
        }
        if asked.1 != before.asked.1 || swapped.is_some() {
            let challenger = asked.1.as_ref().map(|model| self.load(&self.installed.folder(model)));
            match challenger.transpose() {
                Ok(challenger) => {
                    let shadow = challenger.map(|challenger| Arc::new(self.beside(challenger)));
                    self.write(|now| (now.shadow, now.written) = (shadow, 0));
                }
                Err(error) => self.write(|now| now.fault = Some(error.to_string())),
            }
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

    fn load(&self, folder: &Path) -> Result<Arc<Understanding>, UnderstandingError> {
        let next = Understanding::load(folder, &self.schema)?;
        next.warm()?;
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
            Ok(()) => self.write(|now| now.written = report.messages),
            Err(error) => self.write(|now| now.fault = Some(format!("the shadow's report: {error}"))),
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
    use crate::understanding::installed::{Action, Change};

    fn change(action: Action) -> Change {
        Change {
            at: Timestamp::from_millis(0),
            action,
            model: None,
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
        let live = Live::open(state, shipped, &schema).unwrap();
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
            live.installed().point(Pointer::Current, Some(model), &change(Action::Promoted)).unwrap();
            live.refresh()
        };
        let swapped = promote(&softer);
        assert_eq!(swapped, Some(Swapped { from: first.clone(), to: softer.clone() }));
        assert_eq!((live.current().digest(), reading_now.digest()), (&softer, &first));
        // A case that began with the first one goes on with it, and both are there at once.
        let pinned = live.pinned(&first);
        assert!(pinned.digest() == &first && Arc::ptr_eq(&pinned, &live.pinned(&first)));
        assert_eq!(live.pinned(&Digest::of(b"gone")).digest(), &softer);
        let gone = live.installed().folder(&softer).join("weights.safetensors");
        std::fs::write(&gone, "damage").unwrap();
        assert_eq!(promote(&Digest::of(b"gone")), None);
        assert_eq!(live.current().digest(), &softer);
        assert!(live.fault().unwrap().contains("there is no such folder"));
        live.installed().point(Pointer::Current, None, &change(Action::RolledBack)).unwrap();
        assert_eq!(live.refresh().map(|swapped| swapped.to), Some(first));
        assert_eq!(live.fault(), None);
    }

    #[test]
    fn a_shadow_is_started_reported_on_and_ended() {
        let state = tempfile::tempdir().unwrap();
        let (live, first, softer) = two(state.path());
        live.installed().point(Pointer::Shadow, Some(&softer), &change(Action::ShadowStarted)).unwrap();
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
        live.installed().point(Pointer::Shadow, None, &change(Action::ShadowEnded)).unwrap();
        live.refresh();
        assert!(live.shadow().is_none());
    }
}
