//! What the routes work with.

use super::auth::ApiKey;
use super::policies::Administration;
use crate::cases::Cases;
use crate::intake::{IdentityKeys, Limits};
use crate::learning::drift::Drift;
use crate::understanding::Nearest;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Everything that the HTTP face needs. Cloning shares it.
#[derive(Clone)]
pub struct Api {
    pub cases: Cases,
    /// The digests must differ: a key names one principal.
    pub keys: Vec<ApiKey>,
    /// Whose identity tokens are accepted; `None`: nobody is ever verified, and a token is refused.
    pub identity: Option<IdentityKeys>,
    /// Of one message; its language is where neither text nor caller tells one.
    pub limits: Limits,
    /// How long an answer waits for a case to come to rest before it says 202.
    pub wait: Duration,
    /// How far messages and readings are from what they were; `None` while too few are known.
    pub drift: Arc<RwLock<Option<Drift>>>,
    /// Labelled lines that an explanation names the nearest of; `None` until they were read, and where the
    /// settings name none.
    pub nearest: Arc<RwLock<Option<Arc<Nearest>>>>,
    /// Held while a text is explained.
    pub explaining: Arc<Semaphore>,
    pub administration: Administration,
}
