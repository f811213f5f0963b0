//! Files that callers send with a message: out of Base64, and read by workers while nothing else waits for them.

use super::cases::SaidAttachment;
use super::error::Refusal;
use crate::intake::document::Unreadable;
use crate::intake::{IntakeError, Limits, RawAttachment, ReadFile, read_file};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::join_all;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Files that are read at once, of all messages.
static WORKERS: Semaphore = Semaphore::const_new(4);
/// The message goes on without a file that takes longer, in seconds.
const LONGEST: u64 = 20;

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

/// Reads what came with a message. A file that cannot be read has a note in place of its text.
///
/// # Errors
/// An attachment that is not as documented; more or longer ones than the settings allow.
pub async fn take<'a>(said: &'a [SaidAttachment], limits: &Limits) -> Result<Vec<Taken<'a>>, Refusal> {
    if said.len() > limits.attachments {
        let (count, limit) = (said.len(), limits.attachments);
        return Err(IntakeError::TooManyAttachments { count, limit }.into());
    }
    let files: Vec<Option<Vec<u8>>> =
        said.iter().enumerate().map(|(at, one)| decoded(at, one)).collect::<Result<_, _>>()?;
    let bytes = files.iter().flatten().map(Vec::len).sum();
    if bytes > limits.attachment_bytes {
        let limit = limits.attachment_bytes;
        return Err(IntakeError::TooLong { part: "attached files", bytes, limit }.into());
    }
    let read = said.iter().zip(files).map(|(one, file)| async move {
        let text = one.text.as_deref().unwrap_or_default();
        let file = match file {
            Some(bytes) => read(one.name.clone(), bytes, *limits).await,
            None => ReadFile::default(),
        };
        Taken { name: &one.name, text, file }
    });
    Ok(join_all(read).await)
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

/// Whatever happens, it ends in time; a worker that goes on is counted until it has ended.
async fn read(name: String, bytes: Vec<u8>, limits: Limits) -> ReadFile {
    let reading = async {
        let permit = WORKERS.acquire().await.ok();
        let work = move || {
            let file = read_file(&name, &bytes, &limits);
            drop(permit);
            file
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| ReadFile::unread(&Unreadable::NoAnswer))
    };
    let late = |_| ReadFile::unread(&Unreadable::Time { limit: LONGEST });
    tokio::time::timeout(Duration::from_secs(LONGEST), reading).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: Option<&str>, content: Option<&str>) -> SaidAttachment {
        let own = |text: Option<&str>| text.map(str::to_owned);
        SaidAttachment { name: "a.txt".to_owned(), text: own(text), content: own(content) }
    }

    async fn refused(said: &[SaidAttachment], limits: Limits) -> Refusal {
        take(said, &limits).await.err().unwrap()
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
    }
}
