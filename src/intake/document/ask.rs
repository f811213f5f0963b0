//! The caller's side: starts a worker, gives it the file, and takes its answer or ends it.

use super::error::Unreadable;
use super::format::Format;
use super::limits::Limits;
use super::worker::{Answer, Header, Task};
use super::{Text, scan};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// This very program, also where its file has been replaced by a newer one meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// A page of A4 in grey at 600 dots an inch has 35 million dots.
const LARGEST_PICTURE: u64 = 64 << 20;

/// What a worker gets and where it comes from.
struct Request<'a> {
    limits: &'a Limits,
    header: &'a Header,
    bytes: &'a [u8],
    /// Bytes of the longest answer.
    longest: u64,
    /// When the time for the file is over.
    until: Instant,
}

/// Reads a file in a worker process.
///
/// It waits for the worker, at most for the limit of seconds each and for that of all; scanned pages are given to further
/// workers, one after another. Any number of threads may read at once.
///
/// # Errors
/// The file is not read; the reason says what can be done.
pub fn read(bytes: &[u8], name: &str, limits: &Limits) -> Result<Text, Unreadable> {
    let length = bytes.len() as u64;
    if length > limits.bytes {
        return Err(Unreadable::TooLarge { bytes: length, limit: limits.bytes });
    }
    let format = Format::of(name, bytes)?;
    let until = Instant::now() + Duration::from_secs(limits.all_seconds);
    let header =
        |attachments| Header { format, task: Task::Text, limits: Limits { attachments, ..limits.clone() } };
    let ask = |header: &Header| {
        let longest = longest_answer(limits);
        worker(&Request { limits, header, bytes, longest, until }).and_then(|answer| parsed(&answer))
    };
    let answer = match ask(&header(limits.attachments)) {
        // One of the attachments may have stopped the reader: the e-mail itself is read, then.
        Err(reason) if format == Format::Eml && is_the_readers_end(&reason) => {
            ask(&header(0)).map_err(|_| reason)
        }
        other => other,
    }?;
    let Answer { mut text, scanned } = answer;
    if !scanned.is_empty() {
        scan::recognise(&mut text, &scanned, (limits, until), &|page| {
            let header = Header { format, task: Task::Picture { page }, limits: limits.clone() };
            picture(&worker(&Request { limits, header: &header, bytes, longest: LARGEST_PICTURE, until })?)
        });
        if text.text.trim().is_empty() {
            return Err(if scan::tesseract().is_some() && limits.scans > 0 {
                Unreadable::NothingRecognised
            } else {
                Unreadable::OnlyPictures
            });
        }
    }
    Ok(text)
}

/// The JSON of a text may be twice as long as the text, where every second character is escaped.
pub(super) fn longest_answer(limits: &Limits) -> u64 {
    limits.answer.saturating_mul(2).saturating_add(1 << 20)
}

const fn is_the_readers_end(reason: &Unreadable) -> bool {
    matches!(
        reason,
        Unreadable::Memory { .. }
            | Unreadable::Time { .. }
            | Unreadable::Stopped { .. }
            | Unreadable::NoAnswer
            | Unreadable::TooMuchText { .. }
    )
}

fn parsed(answer: &[u8]) -> Result<Answer, Unreadable> {
    let answer: Result<Answer, Unreadable> =
        serde_json::from_slice(answer).map_err(|_| Unreadable::NoAnswer)?;
    let answer = answer?;
    // Nothing that leaves a worker is trusted to be what a worker of ours would say.
    let length = answer.text.text.chars().count();
    let ordered =
        answer.text.pages.is_sorted() && answer.text.pages.last().is_none_or(|last| *last <= length);
    let pages = answer.text.pages.len();
    // Each page that is demanded starts two more workers.
    let rising = answer.scanned.is_sorted_by(|one, next| one < next);
    let known = rising && answer.scanned.iter().all(|page| (1..=pages).contains(page));
    if ordered && known { Ok(answer) } else { Err(Unreadable::NoAnswer) }
}

/// A worker's picture is as it is; a reason in its place is JSON.
fn picture(answer: &[u8]) -> Result<Vec<u8>, Unreadable> {
    if answer.starts_with(scan::PICTURE) {
        return Ok(answer.to_vec());
    }
    let reason: Result<Answer, Unreadable> =
        serde_json::from_slice(answer).map_err(|_| Unreadable::NoAnswer)?;
    Err(reason.err().unwrap_or(Unreadable::NoAnswer))
}

/// What a worker of text recognition reads in a picture.
pub(super) fn recognised(
    picture: &[u8],
    header: &Header,
    (limits, until): (&Limits, Instant),
) -> Result<String, Unreadable> {
    let answer = worker(&Request { limits, header, bytes: picture, longest: limits.answer, until })?;
    if answer.starts_with(b"{\"Err\"") {
        parsed(&answer)?;
    }
    String::from_utf8(answer).map_err(|_| Unreadable::NoAnswer)
}

/// Starts a worker and takes what it writes. Whatever happens, it is gone afterwards.
fn worker(request: &Request<'_>) -> Result<Vec<u8>, Unreadable> {
    let limits = request.limits;
    let not_started = |why: &dyn std::fmt::Display| Unreadable::NotStarted { why: why.to_string() };
    let program = limits.program.clone().unwrap_or_else(|| PathBuf::from(OWN_PROGRAM));
    let header = serde_json::to_string(request.header).map_err(|error| not_started(&error))?;
    let own = Instant::now() + Duration::from_secs(limits.seconds);
    let deadline = own.min(request.until);
    let late = Unreadable::Time { limit: if own > deadline { limits.all_seconds } else { limits.seconds } };
    if Instant::now() >= deadline {
        return Err(late);
    }
    let mut child = start(&program).map_err(|error| not_started(&error))?;
    let (taken, ended) = converse(&mut child, &header, request, deadline);
    // One that was killed may have ended by itself just before.
    let status = ended.or_else(|| child.wait().ok());
    match taken {
        Taken::NotStarted(error) => Err(not_started(&error)),
        Taken::TooLate => Err(late),
        Taken::TooMuch => Err(Unreadable::TooMuchText { limit: limits.answer >> 20 }),
        Taken::All(_) if ended.is_none() => Err(late),
        Taken::All(answer) => match status.and_then(|status| ending(status, limits)) {
            Some(reason) => Err(reason),
            None if answer.is_empty() => Err(Unreadable::NoAnswer),
            None => Ok(answer),
        },
    }
}

/// The program's own allocator takes a gigabyte of addresses before it is asked for anything, and a limit of
/// memory would count from there: in a worker it takes what it needs.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");

fn start(program: &Path) -> std::io::Result<Child> {
    Command::new(program)
        .arg0("prokura")
        .arg("read-document")
        .env_clear()
        .env(ALLOCATOR.0, ALLOCATOR.1)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

enum Taken {
    All(Vec<u8>),
    TooMuch,
    TooLate,
    NotStarted(std::io::Error),
}

/// Writes and reads at once, for neither side can be trusted to take all before it gives anything. The status is that of
/// a worker that ended by itself; any other is killed.
fn converse(
    child: &mut Child,
    header: &str,
    request: &Request<'_>,
    deadline: Instant,
) -> (Taken, Option<ExitStatus>) {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        let _ = child.kill();
        return (Taken::NotStarted(std::io::Error::other("its pipes are missing")), None);
    };
    let bytes = request.bytes;
    let longest = request.longest;
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        let name = || std::thread::Builder::new().name("document".to_owned());
        let writing = name().spawn_scoped(scope, move || {
            // A worker that has seen enough closes the pipe: what counts is its answer.
            let _ = input.write_all(header.as_bytes()).and_then(|()| input.write_all(b"\n"));
            let _ = input.write_all(bytes);
        });
        let reading = name().spawn_scoped(scope, move || {
            let mut answer = Vec::new();
            let read = output.take(longest.saturating_add(1)).read_to_end(&mut answer);
            let _ = send.send(read.map(|_| answer));
        });
        let taken = match (writing, reading) {
            (Ok(_), Ok(_)) => {
                match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(Ok(answer)) if answer.len() as u64 > longest => Taken::TooMuch,
                    Ok(Ok(answer)) => Taken::All(answer),
                    Ok(Err(error)) => Taken::NotStarted(error),
                    Err(_) => Taken::TooLate,
                }
            }
            (Err(error), _) | (_, Err(error)) => Taken::NotStarted(error),
        };
        let ended = if matches!(taken, Taken::All(_)) { wait(child, deadline) } else { None };
        if ended.is_none() {
            // Both threads wait for its pipes, also where it has answered and takes no more: only its end lets them go.
            let _ = child.kill();
        }
        (taken, ended)
    })
}

/// The status of a worker that has closed its output, which it does by ending.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Why a worker ended as it did; `None`: well.
fn ending(status: ExitStatus, limits: &Limits) -> Option<Unreadable> {
    const ABORT: i32 = 6;
    const PROCESSOR_TIME: i32 = 24;
    match status.signal() {
        Some(ABORT) => Some(Unreadable::Memory { limit: limits.memory >> 20 }),
        Some(PROCESSOR_TIME) => Some(Unreadable::Time { limit: limits.seconds }),
        Some(signal) => Some(Unreadable::Stopped { signal }),
        None if status.success() => None,
        None => Some(Unreadable::NoAnswer),
    }
}
