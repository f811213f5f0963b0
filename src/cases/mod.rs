//! The case engine: sequences the rooms, and nothing else.
//!
//! Enters: messages, votes, the outcomes of effects. Leaves: events in the ledger, from which a case's
//! state is folded, and the effects that they call for. `step` is pure and decides; `run` performs and
//! decides nothing. After a restart the fold says what is still to be done.

mod access;
mod alike;
mod call;
mod dials;
mod erase;
mod error;
mod event;
mod generations;
mod handover;
mod models;
mod node;
mod notices;
mod pack;
mod packs;
mod people;
mod perform;
mod policies;
mod proofs;
mod replay;
mod reviews;
mod run;
mod search;
mod state;
mod step;
mod stops;
mod totals;
mod view;

pub use dials::{dial_book, measured};
pub use erase::{Erasure, Kept, Retention, erase, erased, unfinished};
pub use error::CaseError;
pub use event::{Event, ReplyKind};
pub use generations::{needed as needed_generations, note_let_go};
pub use handover::handover;
pub use models::recorded;
pub use notices::Occurrence;
pub use pack::{Checked, Pack, PackFiles, administration, load as load_pack};
pub use packs::{Packs, record as record_pack};
pub use policies::{CitedChange, PolicyDifference, difference, lost};
pub use proofs::{is_proven, note_proof, note_shipped, proof_name};
pub use replay::{Comparison, Difference, Replayed, Reread, Searched, replay, reread, search_again};
pub use reviews::{Answer, ReviewRefused};
pub use run::{Cases, Decide, Incoming, Notice, Parts};
pub use state::{CallState, Effect, Stage, State, Status};
pub use step::{Deed, Dial, Input, Now, step};
pub use stops::{ALL, Stop, Who, start_again, stop, stops};
pub use view::{PendingApproval, customer_view, staff_view, trace};
