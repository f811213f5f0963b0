//! What the ledger and the case engine must survive: faults of the disk at every call, loss of power, sudden death, nodes
//! that stand still, a database that goes away, and forged logs. By default a sample with a fixed seed;
//! `PROKURA_TORTURE=all` (`make torture`) does everything. See docs/torture.md.

mod bank;
mod disk;
mod flips;
mod kills;
mod pair;
mod points;
mod power;
mod restarts;
mod stopped;
mod tracing;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Whether everything is asked for.
fn all() -> bool {
    std::env::var("PROKURA_TORTURE").is_ok_and(|asked| asked == "all")
}

/// A number from the environment, or `full` of a full run, or `sample`.
fn amount(name: &str, full: u64, sample: u64) -> u64 {
    let asked = std::env::var(name).ok().map(|text| text.parse().unwrap());
    asked.unwrap_or(if all() { full } else { sample })
}

/// The program under test; another build of it, such as a release, is named by `PROKURA_BIN`.
fn program() -> PathBuf {
    std::env::var_os("PROKURA_BIN").map_or_else(|| env!("CARGO_BIN_EXE_prokura").into(), PathBuf::from)
}

/// Random numbers that a seed repeats (SplitMix64).
struct Draw(u64);

impl Draw {
    /// `PROKURA_TORTURE_SEED` draws others.
    fn new() -> Self {
        Self(amount("PROKURA_TORTURE_SEED", 1, 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred draws.
    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A started program that ends with this value; a program of ours also with the thread that started it.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Nobody is asked and nothing is finished: SIGKILL.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success(), "{name} was not sent");
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that runs the program, and is killed by the system when who started it is gone.
fn prokura() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program()).current_dir(crate::stage::root());
    command.env("PROKURA_LOG", "error");
    command
}

/// An HTTP exchange; an answer that was cut off is an error, as is none.
fn exchange(
    address: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<(u16, Value)> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut sent = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        sent.push_str(&format!("{name}: {value}\r\n"));
    }
    sent.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(sent.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        return Err(cut());
    }
    Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))))
}

/// How cases ended.
#[derive(Default)]
struct Tally {
    cases: usize,
    /// Calls that the ledger says were done.
    done: usize,
    /// Calls that the ledger does not know the outcome of, handed to a person.
    unknown: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cases, done, unknown } = self;
        write!(
            f,
            "{cases} cases ended, {done} effects once each, {unknown} unknown to the ledger and left to a person"
        )
    }
}

/// Holds the ended cases against what the bank did: what is told as done was done once, what is told as failed was not,
/// what nobody knows was done at most once; and the bank did nothing that no case tells of.
fn judge(cases: &BTreeMap<String, Value>, effects: &[Value]) -> Tally {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut blocked = BTreeSet::new();
    for effect in effects {
        *times.entry(effect["key"].as_str().unwrap()).or_default() += 1;
        assert!(blocked.insert(effect["arguments"].to_string()), "the same was done twice: {effect}");
    }
    let mut tally = Tally { cases: cases.len(), ..Tally::default() };
    for (id, case) in cases {
        let status = case["status"].as_str().unwrap_or("none");
        assert!(
            ["resolved", "waiting_approval", "with_human"].contains(&status),
            "{id} did not end: {case:#}"
        );
        for call in case["calls"].as_array().unwrap() {
            let found = times.remove(call["key"].as_str().unwrap()).unwrap_or(0);
            match call["outcome"].as_str().unwrap() {
                "done" => {
                    assert_eq!(found, 1, "{id} says that this was done: {call}");
                    tally.done += 1;
                }
                "failed" => assert_eq!(found, 0, "{id} says that this failed: {call}"),
                _ => {
                    assert!(found <= 1, "{id}: {call}");
                    tally.unknown += 1;
                }
            }
        }
    }
    assert!(times.is_empty(), "the bank did what no case tells of: {times:?}");
    tally
}
