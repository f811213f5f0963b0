//! This process among those that share a ledger: it says that it lives, so that nobody takes its cases over, and stops
//! saying so when it ends.

use crate::base::ids;
use crate::ledger::{Ledger, LedgerError};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A node that was not heard of for so long has ended, or must act as if it had.
const LEASE: Duration = Duration::from_secs(15);

/// A node of this name, until this is dropped.
pub struct Node {
    pub name: String,
    ledger: Arc<Ledger>,
    _alive: Sender<()>,
}

impl Node {
    /// # Errors
    /// A ledger that cannot be written, a thread that cannot be started.
    pub fn join(ledger: &Arc<Ledger>) -> Result<Self, LedgerError> {
        let name = ids::fresh("node");
        ledger.store().beat(&name, LEASE.as_millis() as i64)?;
        let (alive, ended) = channel::<()>();
        let (own, own_ledger) = (name.clone(), Arc::clone(ledger));
        let beat = move || {
            while ended.recv_timeout(LEASE / 3) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = own_ledger.store().beat(&own, LEASE.as_millis() as i64) {
                    tracing::error!(%error, "other nodes cannot be told that this one lives");
                }
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        thread.map_err(|error| LedgerError::Store(error.to_string()))?;
        Ok(Self { name, ledger: Arc::clone(ledger), _alive: alive })
    }
}

impl Node {
    /// Says that it lives. Whoever stood still for long must do so before it takes anything: else it would take its own
    /// cases again and again, as those of a dead one.
    ///
    /// # Errors
    /// A ledger that cannot be written.
    pub fn beat(&self) -> Result<(), LedgerError> {
        self.ledger.store().beat(&self.name, LEASE.as_millis() as i64)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.ledger.store().beat(&self.name, 0) {
            tracing::warn!(%error, "this node's cases are taken over only when its time is up");
        }
    }
}
