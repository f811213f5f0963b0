//! What the routes work with.

use super::auth::ApiKey;
use crate::cases::Cases;
use crate::intake::{IdentityKeys, Limits};
use std::path::PathBuf;
use std::time::Duration;

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
    /// The state directory, for the list of policy generations.
    pub state: PathBuf,
}
