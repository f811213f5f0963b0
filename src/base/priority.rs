//! Work that has time, on threads that stand behind those that answer.

/// Niceness, 0 to 19.
const BEHIND: i32 = 15;

/// Lets this thread, and those that it starts, run when no other wants to, as far as the system lets it: whoever waits
/// for an answer comes first. There is no way back.
pub fn stand_back() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BEHIND) {
        tracing::debug!(%error, "the thread's priority stays as it is");
    }
}

/// Does work on a thread of its own that stands back, and waits for its end.
///
/// # Errors
/// The thread cannot be started, or panics.
pub fn behind<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let standing_back = || {
        stand_back();
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("behind".to_owned());
        let running = thread.spawn_scoped(scope, standing_back)?;
        running.join().map_err(|_| std::io::Error::other("the work ended in a fault of the program"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stands_back_and_whoever_waits_for_it_does_not() {
        let own = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = own();
        assert_eq!((behind(own).unwrap(), own()), (BEHIND, before));
        assert!(behind(|| assert!(before > 99, "planted")).is_err());
    }
}
