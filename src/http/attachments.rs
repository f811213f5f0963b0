//! Files that callers send with a message: out of Base64, and read by workers while nothing else waits for them.

use super::cases::SaidAttachment;
use super::error::Refusal;
use crate::intake::document::Unreadable;
use crate::intake::{FILE_SECONDS, IntakeError, Limits, RawAttachment, ReadFile, read_file};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt, stream};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

/// Files that are read at once, of all messages. Policy documents have turns of their own.
static WORKERS: Semaphore = Semaphore::const_new(4);
/// And of one message: files that take all the time there is leave the half to other customers.
const OF_ONE_MESSAGE: usize = 2;
/// All files of a message together; it goes on without those that had no turn.
const LONGEST: Duration = Duration::from_secs(2 * (FILE_SECONDS + 1));
/// How long a file may take: a worker is given up a little earlier.
pub const OF_ONE_FILE: Duration = Duration::from_secs(FILE_SECONDS + 1);

/// What an attachment says: what its caller wrote, or what its file does.
pub struct Taken<'a> {
    name: &'a str,
    text: &'a str,
    file: ReadFile,
}

impl Taken<'_> {
    pub fn raw(&self) -> RawAttachment<'_> {
        let text = if self.text.is_empty() { &self.file.text } else { self.text };
        RawAttachment { name: self.name, text: text.as_bytes(), notes: &self.file.notes }
    }
}

/// Reads what came with a message. A file that cannot be read has a note in place of its text, and so has one that had no
/// turn `until` then.
///
/// # Errors
/// An attachment that is not as documented; more or longer ones than the settings allow.
pub async fn take<'a>(
    said: &'a [SaidAttachment],
    limits: &Limits,
    until: Instant,
) -> Result<Vec<Taken<'a>>, Refusal> {
    if said.len() > limits.attachments {
        let (count, limit) = (said.len(), limits.attachments);
        return Err(IntakeError::TooManyAttachments { count, limit }.into());
    }
    let files: Vec<Option<Vec<u8>>> =
        said.iter().enumerate().map(|(at, one)| decoded(at, one)).collect::<Result<_, _>>()?;
    let bytes = files.iter().flatten().map(Vec::len).sum();
    if bytes > limits.attachment_bytes {
        let limit = limits.attachment_bytes;
        return Err(IntakeError::FilesTooLarge { bytes, limit }.into());
    }
    let until = until.min(Instant::now() + LONGEST);
    let mut reading = Vec::with_capacity(files.len());
    for (one, file) in said.iter().zip(files) {
        reading.push(read(one.name.clone(), file, *limits, until));
    }
    let read: Vec<ReadFile> = stream::iter(reading).buffered(OF_ONE_MESSAGE).collect().await;
    let taken = said.iter().zip(read).map(|(one, file)| {
        let text = one.text.as_deref().unwrap_or_default();
        Taken { name: &one.name, text, file }
    });
    Ok(taken.collect())
}

/// The bytes of an attachment; `None` where it has its text.
fn decoded(at: usize, said: &SaidAttachment) -> Result<Option<Vec<u8>>, Refusal> {
    match (&said.text, &said.content) {
        (Some(_), None) => Ok(None),
        (None, Some(content)) => BASE64.decode(content).map(Some).map_err(|_| {
            let message = format!("the field `attachments[{at}].content` is not Base64");
            Refusal::bad(
                "bad_body",
                message,
                "send the file's bytes in Base64, with padding and without line breaks",
            )
        }),
        _ => {
            let message = format!("the field `attachments[{at}]` does not have one of `text` and `content`");
            Err(Refusal::bad("bad_body", message, "send `text`, or the file in `content`"))
        }
    }
}

/// Whatever happens, it ends in time; a worker that goes on is counted until it has ended. A file has its whole time, or no
/// turn: how long others took says nothing about it.
async fn read(name: String, bytes: Option<Vec<u8>>, limits: Limits, until: Instant) -> ReadFile {
    let Some(bytes) = bytes else { return ReadFile::default() };
    let Some(latest) = until.checked_sub(OF_ONE_FILE) else { return ReadFile::not_looked_at() };
    let permit = match timeout_at(latest.into(), WORKERS.acquire()).await {
        Ok(Ok(permit)) if Instant::now() <= latest => permit,
        _ => return ReadFile::not_looked_at(),
    };
    let work = move || {
        let file = read_file(&name, &bytes, &limits);
        drop(permit);
        file
    };
    let reading = timeout_at(until.into(), tokio::task::spawn_blocking(work)).await;
    match reading {
        Ok(Ok(file)) => file,
        Ok(Err(_)) => ReadFile::unread(&Unreadable::NoAnswer),
        Err(_) => ReadFile::unread(&Unreadable::Time { limit: FILE_SECONDS }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: Option<&str>, content: Option<&str>) -> SaidAttachment {
        let own = |text: Option<&str>| text.map(str::to_owned);
        SaidAttachment { name: "a.txt".to_owned(), text: own(text), content: own(content) }
    }

    async fn refused(said: &[SaidAttachment], limits: Limits) -> Refusal {
        take(said, &limits, Instant::now()).await.err().unwrap()
    }

    #[tokio::test]
    async fn what_is_no_attachment_is_named() {
        let limits = Limits::default();
        let good = said(Some("a"), None);
        for bad in [said(None, None), said(Some("a"), Some("YQ==")), said(None, Some("Max Müller"))] {
            let refusal = refused(&[good.clone(), bad], limits).await;
            assert_eq!((refusal.status.as_u16(), refusal.code), (400, "bad_body"));
            assert!(refusal.message.contains("`attachments[1]"), "{refusal}");
            assert!(!refusal.to_string().contains("Müller"), "{refusal}");
        }
        for broken in ["YQ", "YQ==\n", "Y Q=", "_-8="] {
            let refusal = refused(&[said(None, Some(broken))], limits).await;
            assert!(refusal.message.contains("`attachments[0].content`"), "{broken}: {refusal}");
        }
        let few = Limits { attachments: 1, ..limits };
        assert_eq!(refused(&[good.clone(), good], few).await.code, "too_many_attachments");
        let small = Limits { attachment_bytes: 5, ..limits };
        let file = said(None, Some("YWJj"));
        let refusal = refused(&[file.clone(), file], small).await;
        assert_eq!((refusal.status.as_u16(), refusal.code), (413, "too_large"));
        assert!(
            refusal.message.contains("have 6 bytes together") && refusal.remedy.contains("smaller"),
            "{refusal}"
        );
    }

    #[tokio::test]
    async fn a_file_that_has_no_turn_is_told_apart_from_one_that_cannot_be_read() {
        let files = [said(None, Some("YWJj")), said(Some("as ever"), None), said(None, Some("YWJj"))];
        let taken = async |until| take(&files, &Limits::default(), until).await.ok().unwrap();
        let not_looked_at = |taken: &[Taken<'_>]| -> Vec<bool> {
            taken
                .iter()
                .map(|one| one.raw().notes.iter().any(|note| note.starts_with("not looked at")))
                .collect()
        };
        let late = taken(Instant::now() + Duration::from_secs(5)).await;
        assert_eq!(not_looked_at(&late), [true, false, true]);
        assert_eq!(late[1].raw().text, b"as ever");
        // The same where others have all the workers.
        let others = WORKERS.acquire_many(4).await.unwrap();
        let begun = Instant::now();
        let crowded = taken(begun + OF_ONE_FILE + Duration::from_millis(50)).await;
        assert_eq!(not_looked_at(&crowded), [true, false, true]);
        assert!(begun.elapsed() < OF_ONE_FILE);
        drop(others);
        let in_time = taken(begun + Duration::from_secs(60)).await;
        assert_eq!(not_looked_at(&in_time), [false; 3]);
    }
}
