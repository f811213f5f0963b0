//! What a worker may not do, and what the caller does with one that does not behave.

use super::{installed, limits, made, taken};
use prokura::intake::document::{Limits, Unreadable, read};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_prokura");
/// How long to wait for what happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first line that a worker is sent, for a text file.
fn header() -> String {
    let limits = serde_json::to_string(&limits()).unwrap();
    format!("{{\"format\":\"text\",\"task\":\"text\",\"limits\":{limits}}}\n")
}

struct Worker(Child);

impl Worker {
    fn start(command: &mut Command) -> Self {
        command.env_clear().env("MIMALLOC_ARENA_RESERVE", "0");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Sends the header and no file: the worker waits for it, and has nothing left to give up.
    fn waiting(mut self) -> Self {
        self.0.stdin.as_mut().unwrap().write_all(header().as_bytes()).unwrap();
        until(|| self.status().contains("Seccomp:\t2"));
        self
    }

    fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_worker_has_given_up_its_rights_before_it_reads() {
    // A descriptor that the caller left open is closed, too.
    let command = format!("exec 7</etc/passwd; exec {PROGRAM} read-document");
    let worker = Worker::start(Command::new("/bin/sh").args(["-c", &command])).waiting();
    assert!(worker.status().contains("NoNewPrivs:\t1"), "{}", worker.status());
    assert!(worker.status().contains("Threads:\t1"), "{}", worker.status());
    let process = format!("/proc/{}", worker.0.id());
    let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap();
    let hard = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[26..].split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(hard("Max open files"), "3");
    for none in ["Max file size", "Max core file size", "Max processes"] {
        assert_eq!(hard(none), "0", "{none}");
    }
    assert_eq!(hard("Max cpu time"), "31");
    let memory: u64 = hard("Max address space").parse().unwrap();
    assert!((512 << 20..1 << 30).contains(&memory), "{memory}");
    let mut open: Vec<_> =
        std::fs::read_dir(format!("{process}/fd")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
}

#[test]
fn a_worker_calls_nothing_that_opens_connects_or_starts() {
    if !installed("strace") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in made::good() {
        let log = folder.path().join("log");
        let script = folder.path().join("traced");
        let line = format!("#!/bin/sh\nexec /usr/bin/strace -f -o {} {PROGRAM} \"$@\"\n", log.display());
        write_program(&script, &line);
        let traced = Limits { program: Some(script), ..limits() };
        let text = read(&bytes, name, &traced);
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if log.is_empty() {
            println!("documents: skipped, strace may not follow a process here");
            return;
        }
        assert!(text.is_ok(), "{name}: {text:?}");
        let (_, confined) = log.split_once("seccomp(SECCOMP_SET_MODE_FILTER").expect("there is a filter");
        let (_, after) = confined.split_once('\n').unwrap();
        for call in after.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim_start()) {
            let name_of_call = call.split('(').next().unwrap_or_default();
            let harmless = [
                "read",
                "write",
                "mmap",
                "munmap",
                "mremap",
                "mprotect",
                "madvise",
                "brk",
                "futex",
                "sigaltstack",
                "rt_sigaction",
                "rt_sigprocmask",
                "exit_group",
                "exit",
                "getrandom",
                "clock_gettime",
                "+++",
            ];
            // What is not allowed fails, and only naming memory and asking for the processor is tried.
            let refused = ["prctl", "getcpu", "sched_getaffinity"];
            let fine = harmless.iter().any(|known| name_of_call.starts_with(known))
                || (refused.contains(&name_of_call) && call.contains("EPERM"));
            assert!(fine, "{name}: {call}");
        }
        let before = log.split("seccomp(SECCOMP_SET_MODE_FILTER").next().unwrap();
        assert!(before.contains("landlock_restrict_self"), "{name}");
    }
}

#[test]
fn a_worker_dies_with_its_parent() {
    // The test holds the worker's input open, so that only the parent's death can end it.
    let command = format!("{PROGRAM} read-document <&0 & echo $!; wait");
    let mut parent = Worker::start(
        Command::new("/bin/sh").args(["-c", &format!("exec 3<&0; {}", command.replace("<&0", "<&3"))]),
    );
    let mut said = String::new();
    BufReader::new(parent.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    let worker = format!("/proc/{}/status", said.trim());
    parent.0.stdin.as_mut().unwrap().write_all(header().as_bytes()).unwrap();
    let status = || std::fs::read_to_string(&worker).unwrap_or_default();
    until(|| status().contains("Seccomp:\t2"));
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    until(|| status().is_empty() || status().contains("State:\tZ"));
}

fn write_program(path: &PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What comes of a worker that is this shell script.
fn with(script: &str) -> Result<String, Unreadable> {
    of(script, b"some text", "a.txt")
}

fn of(script: &str, bytes: &[u8], name: &str) -> Result<String, Unreadable> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    write_program(&program, &format!("#!/bin/sh\n{script}\n"));
    // Only a script that sleeps is to run out of time, however busy the machine is.
    let seconds = if script.contains("sleep") { 2 } else { 60 };
    let limits = Limits { program: Some(program), seconds, answer: 1 << 20, ..Limits::default() };
    read(bytes, name, &limits).map(|text| text.text)
}

#[test]
fn a_worker_that_does_not_behave_becomes_a_reason() {
    for (script, expected) in [
        ("exec sleep 60", Unreadable::Time { limit: 2 }),
        ("exec sleep 60 >&-", Unreadable::Time { limit: 2 }),
        ("exec yes", Unreadable::TooMuchText { limit: 1 }),
        ("echo no JSON", Unreadable::NoAnswer),
        ("echo '{\"Ok\":{\"text\":{\"title\":null}}}'", Unreadable::NoAnswer),
        ("exit 0", Unreadable::NoAnswer),
        ("cat >/dev/null; exit 3", Unreadable::NoAnswer),
        ("kill -SEGV $$", Unreadable::Stopped { signal: 11 }),
        ("kill -KILL $$", Unreadable::Stopped { signal: 9 }),
        ("kill -ABRT $$", Unreadable::Memory { limit: 512 }),
        ("kill -XCPU $$", Unreadable::Time { limit: 60 }),
        ("echo '{\"Err\":\"empty\"}'", Unreadable::Empty),
    ] {
        let start = Instant::now();
        assert_eq!(with(script), Err(expected), "{script}");
        assert!(start.elapsed() < PATIENCE, "{script}");
    }
    let told = |pages: &str, scanned: &str| {
        let text = format!(
            "{{\"title\":null,\"language\":null,\"text\":\"a\",\"pages\":[{pages}],\"attachments\":[],\"notes\":[]}}"
        );
        with(&format!("echo '{{\"Ok\":{{\"text\":{text},\"scanned\":[{scanned}]}}}}'"))
    };
    assert_eq!(told("0,1", ""), Ok("a".to_owned()));
    assert_eq!(told("1,0", ""), Err(Unreadable::NoAnswer));
    assert_eq!(told("0,5", ""), Err(Unreadable::NoAnswer));
    assert_eq!(told("0", "2"), Err(Unreadable::NoAnswer));
    // Each page that is demanded starts further workers, so none is demanded twice.
    assert_eq!(told("0,1", "1,1"), Err(Unreadable::NoAnswer));
    assert_eq!(told("0,1", "2,1"), Err(Unreadable::NoAnswer));
    let missing = Limits { program: Some(PathBuf::from("/nowhere/prokura")), ..Limits::default() };
    let error = read(b"x", "a.txt", &missing).unwrap_err();
    assert!(error.to_string().starts_with("the reader could not be started (No such file"), "{error}");
}

#[test]
fn all_workers_of_a_file_have_one_time_together() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    write_program(&program, "#!/bin/sh\nexec sleep 60\n");
    let limits = Limits { program: Some(program), seconds: 60, all_seconds: 2, ..Limits::default() };
    let start = Instant::now();
    // An e-mail is tried twice.
    assert_eq!(read(b"From: a\n\nb", "a.eml", &limits), Err(Unreadable::Time { limit: 2 }));
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_worker_that_takes_nothing_is_ended_in_time() {
    // More than a pipe holds: whoever writes it waits for the worker.
    let bytes = vec![b'a'; 1 << 20];
    for script in ["exec sleep 60 >&-", "echo '{\"Err\":\"empty\"}'; exec sleep 60 >&-"] {
        let start = Instant::now();
        assert_eq!(of(script, &bytes, "a.txt"), Err(Unreadable::Time { limit: 2 }), "{script}");
        assert!(start.elapsed() < PATIENCE, "{script}");
    }
    assert_eq!(of("echo '{\"Err\":\"empty\"}'", &bytes, "a.txt"), Err(Unreadable::Empty));
}

#[test]
fn an_email_that_stops_the_worker_is_read_without_what_came_with_it() {
    let text =
        "{\"title\":null,\"language\":null,\"text\":\"a\",\"pages\":[],\"attachments\":[],\"notes\":[]}";
    let script = format!(
        "read -r header; cat >/dev/null; case $header in *'\"attachments\":0'*) echo '{{\"Ok\":{{\"text\":{text},\"scanned\":[]}}}}';; \
         *) kill -SEGV $$;; esac"
    );
    assert_eq!(of(&script, b"From: a\n\nb", "a.eml"), Ok("a".to_owned()));
    assert_eq!(of(&script, b"text", "a.txt"), Err(Unreadable::Stopped { signal: 11 }));
}

#[test]
fn a_worker_gets_no_environment_and_stays_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = format!("env >{0}; pwd >>{0}", told.display());
    assert_eq!(with(&script), Err(Unreadable::NoAnswer));
    // The shell sets these for itself.
    let own = ["MIMALLOC_ARENA_RESERVE=0", "PWD=/", "OLDPWD=/", "SHLVL=0", "SHLVL=1", "_=/usr/bin/env", "/"];
    for line in std::fs::read_to_string(&told).unwrap().lines() {
        assert!(own.contains(&line), "{line}");
    }
}

#[test]
fn memory_and_time_are_limited() {
    let small = Limits { memory: 8 << 20, answer: 64 << 20, ..limits() };
    let error = read(&vec![b'a'; 30 << 20], "a.txt", &small).map(|text| text.text.len()).unwrap_err();
    assert_eq!(error, Unreadable::Memory { limit: 8 });
    assert!(error.to_string().starts_with("reading took more than 8 MiB of memory"));
    let error = read(&[b'a'; 100], "a.txt", &Limits { bytes: 99, ..limits() }).unwrap_err();
    assert_eq!(error, Unreadable::TooLarge { bytes: 100, limit: 99 });
    let error = read(&vec![b'a'; 2 << 20], "a.txt", &Limits { answer: 1 << 20, ..limits() }).unwrap_err();
    assert_eq!(error, Unreadable::TooMuchText { limit: 1 });
}

#[test]
fn several_are_read_at_once() {
    let good = made::good();
    std::thread::scope(|scope| {
        for round in 0..16 {
            let (name, bytes) = &good[round % good.len()];
            scope.spawn(move || assert!(taken(bytes, name).is_ok(), "{name}"));
        }
    });
}

#[test]
fn the_command_is_not_for_people() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("read-document"));
}
