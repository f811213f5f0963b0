//! A disk as a recording of system calls leaves it when the power fails: what was synchronised is there; of everything
//! else any part.

use super::Draw;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a recorded call did to the folder that is looked at, or told to somebody outside. Paths are relative to the folder.
#[derive(Clone, PartialEq, Debug)]
pub enum Did {
    Folder(PathBuf),
    Make(PathBuf),
    Write(PathBuf, usize, Vec<u8>),
    Cut(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    /// Everything up to this event is on the disk.
    Sync(PathBuf, usize),
    /// A client was told how this case ended.
    Told(String),
    /// The bank was asked for something under this key.
    Sent(String),
    Nothing,
}

impl Did {
    pub fn syncs(&self, ending: &str) -> bool {
        matches!(self, Self::Sync(path, _) if path.to_str().unwrap().ends_with(ending))
    }
}

/// Adds a recording. Calls count from when they returned; what overlaps a sync is not covered by it.
pub fn recorded(trace: &Path, state: &Path, did: &mut Vec<Did>) {
    let text = std::fs::read_to_string(trace).unwrap();
    assert!(!text.contains("\"..."), "the recording was cut");
    let mut begun: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (first, did.len()));
        } else if let Some((_, last)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let (first, since) = begun.remove(thread).unwrap();
            did.extend(call(&format!("{first}{last}"), since, state));
        } else {
            did.extend(call(rest, did.len(), state));
        }
    }
}

/// Everything in a call that strace writes in hexadecimal digits: strings, and the files of descriptors.
fn quoted(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for part in text.split(['"', '<', '>']) {
        if part.starts_with("\\x") {
            let digits = part.split("\\x").skip(1);
            found.push(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect());
        }
    }
    found
}

fn call(text: &str, since: usize, state: &Path) -> Option<Did> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let quoted = quoted(arguments);
    let path = |at: usize| -> Option<PathBuf> {
        let path = String::from_utf8(quoted.get(at)?.clone()).ok()?;
        let path = PathBuf::from(path).strip_prefix(state).ok()?.to_path_buf();
        // The policies were there before; the memory of SQLite is no file that outlives a process.
        (!path.starts_with("index") && !path.to_str()?.ends_with("-shm")).then_some(path)
    };
    match name {
        "mkdir" => path(0).map(Did::Folder),
        "openat" if arguments.contains("O_CREAT") => path(1).map(Did::Make),
        "unlink" => path(0).map(Did::Remove),
        "rename" => Some(Did::Rename(path(0)?, path(1)?)),
        "linkat" => Some(Did::Link(path(1)?, path(3)?)),
        "fsync" | "fdatasync" => path(0).map(|path| Did::Sync(path, since)),
        "ftruncate" => path(0).map(|path| Did::Cut(path, last_number(arguments))),
        "pwrite64" => path(0).map(|path| Did::Write(path, last_number(arguments), quoted[1].clone())),
        // At the end; see `Disk::after`.
        "write" if path(0).is_some() => Some(Did::Write(path(0)?, usize::MAX, quoted[1].clone())),
        "write" | "writev" | "sendto" | "sendmsg" => spoken(&quoted.concat()),
        // One that changes the folder in a way that is not known here would be left out of every image.
        "openat" => None,
        _ => panic!("what does this do to the disk? {text}"),
    }
}

fn last_number(arguments: &str) -> usize {
    let number = arguments.trim_end().trim_end_matches(')').rsplit(", ").next().unwrap();
    number.parse().unwrap()
}

fn spoken(bytes: &[u8]) -> Option<Did> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("HTTP/1.1 201 ") {
        let case = text.split_once("\"case\":\"")?.1.split('"').next()?;
        return Some(Did::Told(case.to_owned()));
    }
    let (_, after) =
        text.split_once("POST /cards/").and_then(|(_, rest)| rest.split_once("idempotency-key: "))?;
    Some(Did::Sent(after.lines().next()?.to_owned()))
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

/// A file, whatever it is called; folders have no content.
#[derive(Default)]
struct File {
    synced: Vec<u8>,
    /// When, and what was changed since it was synchronised.
    waiting: Vec<(usize, Change)>,
    length: usize,
    folder: bool,
}

/// One change of names, which happens whole: what goes, and what comes.
type Naming = (Option<PathBuf>, Option<(PathBuf, usize)>);

#[derive(Default)]
pub struct Disk {
    files: Vec<File>,
    now: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    waiting: Vec<(usize, Naming)>,
}

impl Disk {
    pub fn after(did: &[Did]) -> Self {
        let mut disk = Self::default();
        for (when, did) in did.iter().enumerate() {
            disk.does(when, did);
        }
        disk
    }

    fn does(&mut self, when: usize, did: &Did) {
        match did {
            Did::Folder(path) | Did::Make(path) if !self.now.contains_key(path) => {
                self.files.push(File { folder: matches!(did, Did::Folder(_)), ..File::default() });
                self.name(when, (None, Some((path.clone(), self.files.len() - 1))));
            }
            Did::Remove(path) => self.name(when, (Some(path.clone()), None)),
            Did::Rename(from, to) => {
                let file = self.now[from];
                self.name(when, (Some(from.clone()), Some((to.clone(), file))));
            }
            Did::Link(file, to) => self.name(when, (None, Some((to.clone(), self.now[file])))),
            Did::Write(path, at, bytes) => {
                let file = &mut self.files[self.now[path]];
                let at = if *at == usize::MAX { file.length } else { *at };
                file.length = file.length.max(at + bytes.len());
                file.waiting.push((when, Change::Write(at, bytes.clone())));
            }
            Did::Cut(path, length) => {
                let file = &mut self.files[self.now[path]];
                file.length = *length;
                file.waiting.push((when, Change::Cut(*length)));
            }
            Did::Sync(path, since) => self.sync(path, *since),
            _ => {}
        }
    }

    fn name(&mut self, when: usize, naming: Naming) {
        rename(&mut self.now, &naming);
        self.waiting.push((when, naming));
    }

    /// A folder's names, or a file's content.
    fn sync(&mut self, path: &Path, since: usize) {
        if let Some(file) = self.now.get(path) {
            let File { synced, waiting, .. } = &mut self.files[*file];
            waiting.retain(|(when, change)| {
                let done = *when < since;
                if done {
                    change.apply(synced, 0, usize::MAX);
                }
                !done
            });
        }
        let inside = |(gone, come): &Naming| {
            gone.iter().chain(come.iter().map(|(path, _)| path)).all(|named| named.parent() == Some(path))
        };
        let synced = &mut self.synced;
        self.waiting.retain(|(when, naming)| {
            let done = *when < since && inside(naming);
            if done {
                rename(synced, naming);
            }
            !done
        });
    }

    /// Writes into a folder what may be left: any part of what was not synchronised, sector by sector.
    pub fn build(&self, folder: &Path, draw: &mut Draw) {
        let kept = [0, 20, 50, 80, 100][draw.below(5) as usize];
        let sector = [512, 4096][draw.below(2) as usize];
        let mut names = self.synced.clone();
        for (_, naming) in self.waiting.iter().filter(|_| draw.percent(kept)) {
            rename(&mut names, naming);
        }
        std::fs::create_dir(folder).unwrap();
        for (name, file) in names {
            let path = folder.join(&name);
            if self.files[file].folder {
                std::fs::create_dir(path).unwrap();
            } else if path.parent().unwrap().exists() {
                std::fs::write(path, self.files[file].after_a_loss(kept, sector, draw)).unwrap();
            }
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, (gone, come): &Naming) {
    if let Some(gone) = gone {
        names.remove(gone);
    }
    names.extend(come.clone());
}

impl Change {
    /// As far as it lies between the two.
    fn apply(&self, content: &mut Vec<u8>, from: usize, to: usize) {
        match self {
            Self::Cut(length) => content.resize(*length, 0),
            Self::Write(at, bytes) => {
                let (from, to) = (from.max(*at), to.min(at + bytes.len()));
                content.resize(content.len().max(to), 0);
                content[from..to].copy_from_slice(&bytes[from - at..to - at]);
            }
        }
    }
}

impl File {
    fn after_a_loss(&self, kept: u64, sector: usize, draw: &mut Draw) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (_, change) in &self.waiting {
            let (first, last) = match change {
                Change::Write(at, bytes) => (at / sector, (at + bytes.len() - 1) / sector),
                Change::Cut(_) => (0, 0),
            };
            for number in first..=last {
                if draw.percent(kept) {
                    let end =
                        if matches!(change, Change::Cut(_)) { usize::MAX } else { (number + 1) * sector };
                    change.apply(&mut content, number * sector, end);
                }
            }
        }
        content
    }
}
