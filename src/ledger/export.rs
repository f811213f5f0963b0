//! A file that proves what it says to whoever has the log's public key, on a machine that never saw the service.
//!
//! It is JSON, one value a line: what it is; the newest checkpoint; the entries in the order of the log; and the SHA-256
//! of all lines before the last. An export of one stream has, with each entry, its place in the tree and the hashes
//! that show that it is there. Each line has one form only, so that no bit of the file can change unseen.

use super::LedgerError;
use super::checkpoint::{self, NotSigned};
use super::entry::{Leaf, Stored, Stream};
use super::merkle::{self, Edge, Root};
use super::store::Store;
use super::verify::{Verified, damage};
use crate::base::{Digest, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Write};
use tlog_tiles::Hash;

const FORMAT: &str = "prokura-export-1";

/// So many entries are read at once.
const AT_ONCE: usize = 1_000;

/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    origin: String,
    /// The stream that this is of; `None` for the whole log.
    stream: Option<String>,
    entries: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    stream: String,
    seq: u64,
    kind: String,
    /// Milliseconds since 1970.
    at: i64,
    digests: String,
    key: Option<String>,
    /// Base64.
    body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    index: u64,
    hashes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    sha256: String,
}

impl Line {
    fn of(row: &Stored, proof: Option<Proof>) -> Self {
        Self {
            stream: row.stream.clone(),
            seq: row.seq,
            kind: row.kind.clone(),
            at: row.at.as_millis(),
            digests: row.digests.clone(),
            key: row.key.clone(),
            body: STANDARD.encode(&row.body),
            proof,
        }
    }

    fn leaf(&self) -> Option<Leaf> {
        let row = Stored {
            stream: self.stream.clone(),
            seq: self.seq,
            kind: self.kind.clone(),
            at: Timestamp::from_millis(self.at),
            digests: self.digests.clone(),
            key: self.key.clone(),
            body: STANDARD.decode(&self.body).ok()?,
            leaf: Leaf::default(),
            index: None,
        };
        Some(row.computed_leaf())
    }
}

/// Writes lines and digests them.
struct Writer<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
}

impl Writer<'_> {
    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.out.write_all(&line)
    }
}

/// What an export failed of.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("the export could not be written: {0}")]
    Write(#[from] io::Error),
    #[error("no checkpoint is signed yet: `prokura audit checkpoint` signs one")]
    NoCheckpoint,
    #[error("there is no stream `{0}`, or its newest entries are under no checkpoint yet")]
    NoStream(String),
}

/// Writes the whole log, or one stream with proofs. Returns how many entries.
pub fn export(store: &dyn Store, stream: Option<&Stream>, out: &mut dyn Write) -> Result<u64, ExportError> {
    let note = store.checkpoint()?.ok_or(ExportError::NoCheckpoint)?;
    let (origin, root) = checkpoint::unverified(&note).ok_or_else(|| LedgerError::Damaged {
        stream: "*".to_owned(),
        reason: "the newest checkpoint is not one".to_owned(),
    })?;
    let mut writer = Writer { out, digest: Sha256::new() };
    let header = |entries| Header {
        format: FORMAT.to_owned(),
        origin: origin.clone(),
        stream: stream.map(Stream::to_string),
        entries,
    };
    let signed = Signed { checkpoint: String::from_utf8_lossy(&note).into_owned() };
    let entries = match stream {
        None => {
            let entries = store.sequence()?;
            writer.line(&header(entries))?;
            writer.line(&signed)?;
            let mut written = 0;
            while written < entries {
                let most = AT_ONCE.min(usize::try_from(entries - written).unwrap_or(AT_ONCE));
                for row in store.range(written, most)? {
                    writer.line(&Line::of(&row, None))?;
                    written += 1;
                }
            }
            entries
        }
        Some(stream) => {
            let under = |row: &Stored| row.index.is_some_and(|index| index < root.size);
            let rows: Vec<Stored> = store.stream(stream, 0)?.into_iter().take_while(under).collect();
            if rows.is_empty() {
                return Err(ExportError::NoStream(stream.to_string()));
            }
            writer.line(&header(rows.len() as u64))?;
            writer.line(&signed)?;
            for row in &rows {
                let index = row.index.unwrap_or_default();
                let hashes =
                    merkle::inclusion(store, root, index, &row.leaf)?.iter().map(Hash::to_string).collect();
                writer.line(&Line::of(row, Some(Proof { index, hashes })))?;
            }
            rows.len() as u64
        }
    };
    let sha256 = Digest::of_hash(&writer.digest.clone().finalize()).hex().to_owned();
    writer.line(&End { sha256 })?;
    writer.out.flush()?;
    Ok(entries)
}

/// Reads lines that are as this program writes them, to the bit.
struct Reader<'a> {
    from: &'a mut dyn BufRead,
    digest: Sha256,
    lines: u64,
}

impl Reader<'_> {
    fn line<T: Serialize + for<'a> Deserialize<'a>>(&mut self) -> Result<T, String> {
        let mut line = Vec::new();
        let read = io::Read::take(&mut *self.from, LONGEST).read_until(b'\n', &mut line);
        self.lines += 1;
        read.map_err(|error| error.to_string())?;
        if line.last() != Some(&b'\n') {
            return Err(if line.is_empty() { "the file ends here" } else { "the line has no end" }.to_owned());
        }
        let value: T =
            serde_json::from_slice(&line).map_err(|_| "this is not what belongs here".to_owned())?;
        let mut again = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
        again.push(b'\n');
        if again != line {
            return Err("the line is not written as an export writes it".to_owned());
        }
        self.digest.update(&line);
        Ok(value)
    }
}

/// Whether an export is what a log with this key has signed, and continues the checkpoints that a witness kept.
///
/// Nothing of the export is trusted: neither its key, nor its sizes, nor that it is complete.
pub fn verify_export(from: &mut dyn BufRead, public_key: &str, witnessed: &[Root]) -> Verified {
    let mut reader = Reader { from, digest: Sha256::new(), lines: 0 };
    let mut told = Verified::default();
    let found = check(&mut reader, public_key, witnessed, &mut told);
    told.damage = found.err().map(|reason| damage(told.entries, format!("line {}: {reason}", reader.lines)));
    told
}

fn check(
    reader: &mut Reader<'_>,
    public_key: &str,
    witnessed: &[Root],
    told: &mut Verified,
) -> Result<(), String> {
    let header: Header = reader.line()?;
    if header.format != FORMAT {
        return Err(format!("this is no export that this program knows (`{FORMAT}`)"));
    }
    if public_key.split('+').next() != Some(&header.origin) {
        return Err(format!("the export is of the log `{}`, the public key of another", header.origin));
    }
    let note: Signed = reader.line()?;
    let root = checkpoint::read(note.checkpoint.as_bytes(), public_key)
        .map_err(|error: NotSigned| error.to_string())?;
    match &header.stream {
        None => whole(reader, header.entries, root, witnessed, told)?,
        Some(stream) => {
            // Of a witness it can be held against what that saw of just this checkpoint.
            let seen = witnessed.iter().find(|seen| seen.size == root.size);
            if seen.is_some_and(|seen| *seen != root) {
                return Err("the signed checkpoint is not the one that the witness saw".to_owned());
            }
            one_stream(reader, stream, header.entries, root, told)?;
            told.witnessed = if seen.is_some() { told.signed } else { 0 };
        }
    }
    let digest = Digest::of_hash(&reader.digest.clone().finalize());
    let end: End = reader.line()?;
    if end.sha256 != digest.hex() {
        return Err("the lines before are not those that were written".to_owned());
    }
    match io::Read::read(&mut *reader.from, &mut [0]) {
        Ok(0) => Ok(()),
        _ => Err("something stands behind the end".to_owned()),
    }
}

fn whole(
    reader: &mut Reader<'_>,
    entries: u64,
    root: Root,
    witnessed: &[Root],
    told: &mut Verified,
) -> Result<(), String> {
    let beyond = witnessed.iter().chain([&root]).map(|root| root.size).max().unwrap_or(0);
    if beyond > entries {
        return Err(format!("{beyond} entries were signed, and the export has {entries}"));
    }
    let mut edge = Edge::default();
    let mut tiles = Vec::new();
    for _ in 0..entries {
        let line: Line = reader.line()?;
        if line.proof.is_some() {
            return Err("this entry does not belong here".to_owned());
        }
        edge.push(&line.leaf().ok_or("the body is no base64")?, &mut tiles);
        tiles.clear();
        told.entries = edge.size();
        for seen in witnessed.iter().filter(|seen| seen.size == edge.size()) {
            if *seen != edge.root() {
                return Err("the entries up to here are not those that the witness saw".to_owned());
            }
            told.witnessed = seen.size;
        }
        if root.size == edge.size() {
            if root != edge.root() {
                return Err("the entries up to here are not those of the signed checkpoint".to_owned());
            }
            told.signed = root.size;
        }
    }
    told.unsigned = told.entries - told.signed;
    Ok(())
}

fn one_stream(
    reader: &mut Reader<'_>,
    stream: &str,
    entries: u64,
    root: Root,
    told: &mut Verified,
) -> Result<(), String> {
    let mut before = None;
    for seq in 0..entries {
        let line: Line = reader.line()?;
        let leaf = line.leaf().ok_or("the body is no base64")?;
        let Some(proof) = line.proof.filter(|_| line.stream == stream && line.seq == seq) else {
            return Err("this entry does not belong here".to_owned());
        };
        let hashes: Result<Vec<Hash>, _> = proof.hashes.iter().map(|hash| Hash::parse_hash(hash)).collect();
        if !hashes.is_ok_and(|hashes| merkle::included(&hashes, root, proof.index, &leaf)) {
            return Err(format!("the entry of index {} is not in the signed tree", proof.index));
        }
        if before.is_some_and(|before| before >= proof.index) {
            return Err("the entries are not in the order of the log".to_owned());
        }
        before = Some(proof.index);
        told.entries += 1;
        told.signed += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Append, By, Ledger, LedgerSettings, NewEvent, StreamKind};
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn ledger(folder: &Path) -> Ledger {
        LedgerSettings::default().open(folder).unwrap()
    }

    fn write(ledger: &Ledger, case: &str, expected: u64, bodies: std::ops::Range<u64>) {
        let events = bodies
            .map(|n| NewEvent { at: Timestamp::from_millis(1_000), kind: "counted", body: json!({ "n": n }) })
            .collect();
        let batch = Append {
            status: "running".into(),
            ..Append::kept(
                Stream::new(StreamKind::Case, case),
                expected,
                [("pack".to_owned(), Digest::of(b"pack"))].into(),
                events,
            )
        };
        ledger.append(&batch, By::Anybody).unwrap();
    }

    fn exported(ledger: &Ledger, stream: Option<&str>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stream = stream.map(|name| Stream::new(StreamKind::Case, name));
        export(ledger.store(), stream.as_ref(), &mut bytes).unwrap();
        bytes
    }

    fn key(ledger: &Ledger) -> String {
        ledger.signer().unwrap().public_key.clone()
    }

    fn problem(bytes: &[u8], key: &str, witnessed: &[Root]) -> Option<String> {
        verify_export(&mut &*bytes, key, witnessed).damage.map(|damage| damage.reason)
    }

    #[test]
    fn an_export_tells_what_is_signed_and_holds_no_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        write(&ledger, "a", 0, 0..300);
        let first = ledger.sign().unwrap().unwrap();
        write(&ledger, "b", 0, 0..7);
        let bytes = exported(&ledger, None);
        assert!(!String::from_utf8_lossy(&bytes).contains("\"n\""));
        let told = verify_export(&mut &*bytes, &key(&ledger), &[]);
        assert_eq!((told.entries, told.signed, told.unsigned, told.witnessed), (307, 300, 7, 0));
        assert_eq!(told.damage, None);
        ledger.sign().unwrap();
        let told = verify_export(&mut &*exported(&ledger, None), &key(&ledger), &[first]);
        assert_eq!((told.signed, told.unsigned, told.witnessed, told.damage), (307, 0, 300, None));
    }

    #[test]
    fn one_stream_comes_with_proofs() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        write(&ledger, "a", 0, 0..5);
        write(&ledger, "b", 0, 0..290);
        write(&ledger, "a", 5, 5..8);
        ledger.sign().unwrap();
        let bytes = exported(&ledger, Some("a"));
        let told = verify_export(&mut &*bytes, &key(&ledger), &[]);
        assert_eq!((told.entries, told.signed, told.damage), (8, 8, None));
        let text = String::from_utf8(bytes).unwrap();
        let swapped: Vec<&str> = [0, 1, 3, 2, 4].iter().map(|n| text.lines().nth(*n).unwrap()).collect();
        assert!(problem(swapped.join("\n").as_bytes(), &key(&ledger), &[]).unwrap().contains("belong"));
        let whole = text.as_bytes();
        let root = ledger.checkpoint().unwrap().unwrap();
        let seen = |root: Root| verify_export(&mut &*whole, &key(&ledger), &[root]);
        assert_eq!((seen(root).witnessed, seen(root).damage), (8, None));
        assert_eq!(seen(Root { size: root.size + 1, ..root }).witnessed, 0);
        let other = Root { hash: tlog_tiles::record_hash(b"x"), ..root };
        assert!(seen(other).damage.unwrap().reason.contains("the witness saw"));
        let none = export(ledger.store(), Some(&Stream::new(StreamKind::Case, "c")), &mut Vec::new());
        assert!(none.unwrap_err().to_string().contains("case/c"));
    }

    #[test]
    fn cut_reordered_and_rewritten_exports_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        write(&ledger, "a", 0, 0..40);
        let seen = ledger.sign().unwrap().unwrap();
        write(&ledger, "b", 0, 0..40);
        ledger.sign().unwrap();
        let bytes = exported(&ledger, None);
        let key = key(&ledger);
        for cut in 0..bytes.len() {
            assert!(problem(&bytes[..cut], &key, &[]).is_some(), "cut at {cut}");
        }
        assert!(problem(&[bytes.as_slice(), b"\n"].concat(), &key, &[]).is_some());
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        lines.swap(10, 11);
        assert!(problem(&lines.concat(), &key, &[]).unwrap().contains("signed checkpoint"));
        // Whoever has the signing key can sign another history, but not make a witness forget.
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir(other.path().join("keys")).unwrap();
        std::fs::copy(folder.path().join("keys/log.key"), other.path().join("keys/log.key")).unwrap();
        let forged = super::super::LedgerSettings::default().open(other.path()).unwrap();
        write(&forged, "a", 0, 0..80);
        forged.sign().unwrap();
        let bytes = exported(&forged, None);
        assert_eq!(problem(&bytes, &key, &[]), None);
        assert!(problem(&bytes, &key, &[seen]).unwrap().contains("witness saw"));
        let longer = Root { size: 81, ..seen };
        assert!(problem(&bytes, &key, &[longer]).unwrap().contains("81 entries were signed"));
    }
}
