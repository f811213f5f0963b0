//! The handle that always answers from the current generation.

use super::error::PolicyError;
use super::fetch::{self, Fetched};
use super::generation::{Generation, root};
use super::grounds::Grounds;
use super::publish::{Stamp, pointer};
use super::search::Question;
use super::vectors::Shelf;
use crate::base::Digest;
use crate::understanding::Understanding;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The policies of a state directory. Each search answers from one generation: the one that is current
/// when it begins. Cheap to share between threads.
pub struct Policies {
    state: PathBuf,
    shelf: Shelf,
    live: Mutex<Live>,
    /// Held by who loads what was published.
    loading: Mutex<()>,
    /// Whether somebody refreshes regularly, so that no search has to.
    watched: AtomicBool,
    /// The earlier generations that were asked for last, at most [`KEPT`], the last one first.
    earlier: Mutex<VecDeque<Arc<Generation>>>,
    /// Why what the origin published is not here.
    behind: Mutex<Option<String>>,
}

struct Live {
    newest: Arc<Generation>,
    /// With the vectors of other encoders.
    others: Vec<Arc<Generation>>,
    stamp: Stamp,
    /// Why a generation that `stamp` names could not be loaded.
    fault: Option<String>,
    /// When that was tried last.
    tried: Instant,
}

/// What could not be loaded is tried again after so long: the disk may only have failed for a moment.
const AGAIN: Duration = Duration::from_secs(10);

/// Earlier generations that stay open for the cases that began with them.
const KEPT: usize = 4;

impl Policies {
    /// # Errors
    /// [`PolicyError::NotBuilt`] when nothing was published yet; a damaged generation.
    pub fn open(state: &Path) -> Result<Self, PolicyError> {
        let stamp = pointer(state)?.ok_or_else(|| PolicyError::NotBuilt { state: state.to_path_buf() })?;
        let shelf = Shelf::new(root(state));
        let (newest, others) = load(&root(state), &stamp, &[], &shelf)?;
        Ok(Self {
            state: state.to_path_buf(),
            shelf,
            live: Mutex::new(Live { newest, others, stamp, fault: None, tried: Instant::now() }),
            loading: Mutex::default(),
            watched: AtomicBool::new(false),
            earlier: Mutex::default(),
            behind: Mutex::default(),
        })
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// See [`Generation::search`].
    ///
    /// # Errors
    /// A failure of the search engine or of the encoder.
    pub fn search(
        &self,
        question: &Question,
        models: Option<&Understanding>,
    ) -> Result<Grounds, PolicyError> {
        self.current(models.and_then(Understanding::searcher)).search(question, models)
    }

    /// From now on searches do not look for what was published: the caller calls [`Policies::refresh`] often.
    pub fn watched(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// The current generation with vectors of this encoder or, where there is none, the newest one: its passages are
    /// then found by their words. When a newly published one cannot be loaded, the last good one goes on
    /// answering and [`Policies::fault`] says why.
    pub fn current(&self, encoder: Option<&Digest>) -> Arc<Generation> {
        if !self.watched.load(Ordering::Relaxed) {
            self.refresh();
        }
        let live = self.live();
        let own = live.all().find(|one| one.manifest().encoder.as_ref() == encoder);
        Arc::clone(own.unwrap_or(&live.newest))
    }

    /// Looks at the pointer, and loads what was newly published. Searches go on meanwhile.
    pub fn refresh(&self) {
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, before) = {
            let live = self.live();
            (live.all().cloned().collect::<Vec<_>>(), live.stamp.clone())
        };
        let fault = match pointer(&self.state) {
            Ok(Some(stamp)) if stamp == before && !self.live().is_due() => return,
            Ok(Some(stamp)) => {
                let loaded = load(&root(&self.state), &stamp, &known, &self.shelf);
                let mut live = self.live();
                live.stamp = stamp;
                live.tried = Instant::now();
                live.fault = loaded.as_ref().err().map(PolicyError::to_string);
                if let Ok(loaded) = loaded {
                    (live.newest, live.others) = loaded;
                }
                return;
            }
            Ok(None) => "the pointer to the current generation is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        self.live().fault = Some(fault);
    }

    /// Fetches what the machine whose policies these are has published, if it has; old questions go on meanwhile. What
    /// answers no new question is had only where `older`.
    ///
    /// # Errors
    /// The origin does not say what it has: nobody knows of anything newer then. Or a generation did not come, or not
    /// as it was made: what answered goes on answering, and [`Policies::behind`] says why until it has come.
    pub fn fetch(&self, ask: &fetch::Ask, older: bool) -> Result<Fetched, PolicyError> {
        let fetched = fetch::look(&self.state, &self.shelf, ask, (false, older));
        match &fetched {
            Err(PolicyError::Origin { .. } | PolicyError::Busy { .. }) => {}
            other => *self.kept_behind() = other.as_ref().err().map(PolicyError::to_string),
        }
        if fetched.as_ref().is_ok_and(|fetched| fetched.current.is_some()) {
            self.refresh();
        }
        fetched
    }

    /// Why what the origin published last is not here, if so. For the readiness of the service.
    pub fn behind(&self) -> Option<String> {
        self.kept_behind().clone()
    }

    fn kept_behind(&self) -> MutexGuard<'_, Option<String>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation of this digest, for a case that began with it.
    ///
    /// # Errors
    /// Why it cannot be had any more: it was let go, it is damaged, or another program built it.
    pub fn pinned(&self, digest: &Digest) -> Result<Arc<Generation>, PolicyError> {
        if let Some(current) = self.live().all().find(|one| one.digest() == digest) {
            return Ok(Arc::clone(current));
        }
        let earlier = || self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = earlier().iter().find(|one| one.digest() == digest) {
            return Ok(Arc::clone(known));
        }
        // Nobody who asks for another one waits for this.
        let read = Arc::new(Generation::read(&root(&self.state), digest, &self.shelf)?);
        let mut earlier = earlier();
        earlier.retain(|one| one.digest() != digest);
        earlier.push_front(Arc::clone(&read));
        earlier.truncate(KEPT);
        Ok(read)
    }

    /// Why what was published last is not what answers, if so. For the readiness of the service.
    pub fn fault(&self) -> Option<String> {
        self.refresh();
        self.live().fault.clone()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn is_due(&self) -> bool {
        self.fault.is_some() && self.tried.elapsed() >= AGAIN
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Generation>> {
        std::iter::once(&self.newest).chain(&self.others)
    }
}

/// The generations that the pointer names, the newest apart; those that are `known` are not read again. Of the others
/// those that can be had.
fn load(
    root: &Path,
    (all, _): &Stamp,
    known: &[Arc<Generation>],
    shelf: &Shelf,
) -> Result<(Arc<Generation>, Vec<Arc<Generation>>), PolicyError> {
    let open = |digest: &Digest| match known.iter().find(|one| one.digest() == digest) {
        Some(generation) => Ok(Arc::clone(generation)),
        None => Generation::read(root, digest, shelf).map(Arc::new),
    };
    let newest = open(&all.newest.generation)?;
    let other = |digest: &Digest| match open(digest) {
        Ok(generation) => Some(generation),
        // Whoever reads with that encoder is answered from the newest one, by words alone.
        Err(error) => {
            tracing::warn!(%error, "a generation with another encoder's vectors cannot be searched");
            None
        }
    };
    Ok((newest, all.others.iter().filter_map(|one| other(&one.generation)).collect()))
}
