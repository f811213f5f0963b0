//! ledger (front page to be written with the room)
