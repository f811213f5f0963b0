//! understanding (front page to be written with the room)
