//! Raw channel input becomes a [`Message`]: within limits, in UTF-8, without control characters, with card
//! numbers masked, its language known.

use super::error::IntakeError;
use super::language;
use super::message::{Attachment, Identity, Message};
use super::redact::mask_cards;
use crate::base::{CaseId, Language, MessageId, Timestamp};

/// What the channel delivered, before anything was looked at.
#[derive(Clone, Debug, Default)]
pub struct RawMessage<'a> {
    /// Expected to be UTF-8.
    pub text: &'a [u8],
    /// The language that the channel believes in: it decides where the text does not.
    pub language: Option<Language>,
    pub attachments: Vec<RawAttachment<'a>>,
}

/// Text taken from something that came with the message.
#[derive(Clone, Debug)]
pub struct RawAttachment<'a> {
    pub name: &'a str,
    pub text: &'a [u8],
    /// What of its file was not read, and why.
    pub notes: &'a [String],
}

/// What is known of a message without reading it. `identity` comes from [`super::identity::verify`] or is not
/// `Verified`; `channel` from the API key.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub id: MessageId,
    pub case: CaseId,
    pub channel: String,
    pub identity: Identity,
    pub received_at: Timestamp,
}

/// Bytes of files that a request of the usual length has room for.
pub const FILES_IN_ANY_BODY: usize = 512 * 1024;

/// From the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a message's text, and of each attachment's.
    pub text_bytes: usize,
    pub attachments: usize,
    /// Bytes of all files of a message together.
    pub attachment_bytes: usize,
    /// Where neither the text nor the channel tells the language.
    pub language: Language,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_bytes: 64 * 1024,
            attachments: 10,
            attachment_bytes: FILES_IN_ANY_BODY,
            language: Language::De,
        }
    }
}

/// Takes a message in. Its text keeps its length in Unicode scalar values.
///
/// # Errors
/// No visible text, a text or attachment above the limit or not in UTF-8, too many attachments.
pub fn accept(raw: &RawMessage<'_>, envelope: Envelope, limits: &Limits) -> Result<Message, IntakeError> {
    let text = clean("message", raw.text, limits.text_bytes)?;
    if !text.chars().any(is_visible) {
        return Err(IntakeError::Empty);
    }
    let count = raw.attachments.len();
    if count > limits.attachments {
        return Err(IntakeError::TooManyAttachments { count, limit: limits.attachments });
    }
    let mut attachments = Vec::with_capacity(count);
    for attachment in &raw.attachments {
        attachments.push(Attachment {
            name: clean("attachment's name", attachment.name.as_bytes(), limits.text_bytes)?,
            text: clean("attachment", attachment.text, limits.text_bytes)?,
            notes: attachment.notes.iter().map(|note| printable(note)).collect(),
        });
    }
    let language = language::detect(&text, raw.language.unwrap_or(limits.language));
    let Envelope { id, case, channel, identity, received_at } = envelope;
    Ok(Message { id, case, channel, language, text, event: None, attachments, identity, received_at })
}

fn clean(part: &'static str, bytes: &[u8], limit: usize) -> Result<String, IntakeError> {
    if bytes.len() > limit {
        return Err(IntakeError::TooLong { part, bytes: bytes.len(), limit });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| IntakeError::NotUtf8 { part, position: error.valid_up_to() })?;
    Ok(printable(text))
}

/// Without control characters and card numbers.
pub(super) fn printable(text: &str) -> String {
    let printable: String = text.chars().map(|c| if is_control(c) { ' ' } else { c }).collect();
    mask_cards(&printable)
}

/// Control characters other than tab and line breaks, and those that turn the direction of writing, which
/// make a person read another text than the program (Unicode Technical Report 36, section 2.2). Each becomes
/// one space.
fn is_control(c: char) -> bool {
    let layout = matches!(c, '\t' | '\n' | '\r');
    (c.is_control() && !layout) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Something to read: neither space nor one of the characters that show nothing.
fn is_visible(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(text: &[u8]) -> Result<Message, IntakeError> {
        with(RawMessage { text, ..RawMessage::default() })
    }

    fn with(raw: RawMessage<'_>) -> Result<Message, IntakeError> {
        let envelope = Envelope {
            id: MessageId::new("msg_1"),
            case: CaseId::new("case_1"),
            channel: "chat".to_owned(),
            identity: Identity::Anonymous,
            received_at: Timestamp::from_millis(0),
        };
        accept(&raw, envelope, &Limits::default())
    }

    #[test]
    fn a_message_is_cleaned_masked_and_its_language_known() {
        let message = taken("Meine Karte\u{0}4111 1111 1111 1111\u{202e} ist weg\r\n".as_bytes()).unwrap();
        assert_eq!(message.text, "Meine Karte •••• •••• •••• 1111  ist weg\r\n");
        assert_eq!(message.language, Language::De);
        let notes = ["`4111111111111111.png` in it is not read".to_owned()];
        let attachment =
            RawAttachment { name: "4111111111111111.pdf", text: b"pay 4111-1111-1111-1111", notes: &notes };
        let message =
            with(RawMessage { text: b"see attached", language: None, attachments: vec![attachment] })
                .unwrap();
        assert_eq!(message.attachments[0].name, "••••••••••••1111.pdf");
        assert_eq!(message.attachments[0].text, "pay ••••-••••-••••-1111");
        assert_eq!(message.attachments[0].notes, ["`••••••••••••1111.png` in it is not read"]);
    }

    #[test]
    fn the_channel_decides_the_language_only_where_the_text_does_not() {
        let hinted = |text: &'static str, language| {
            with(RawMessage { text: text.as_bytes(), language, attachments: Vec::new() }).unwrap().language
        };
        assert_eq!(hinted("4711", Some(Language::En)), Language::En);
        assert_eq!(hinted("4711", None), Language::De);
        assert_eq!(hinted("Wo ist meine neue Karte?", Some(Language::En)), Language::De);
    }

    #[test]
    fn what_cannot_be_taken_names_the_remedy() {
        for empty in ["", " \r\n\t", "\u{0}\u{200b}\u{feff}\u{ad}"] {
            assert_eq!(taken(empty.as_bytes()), Err(IntakeError::Empty));
        }
        let limit = 64 * 1024;
        assert!(taken(&vec![b'a'; limit]).is_ok());
        let long = taken(&vec![b'a'; 1024 * 1024]).unwrap_err();
        assert_eq!(long, IntakeError::TooLong { part: "message", bytes: 1024 * 1024, limit });
        assert!(long.to_string().contains("65536") && long.to_string().contains("1048576"));
        assert_eq!(taken(b"ab\xff"), Err(IntakeError::NotUtf8 { part: "message", position: 2 }));
        let attachment = RawAttachment { name: "a", text: b"\xc3", notes: &[] };
        let raw = RawMessage { text: b"hello", language: None, attachments: vec![attachment; 1] };
        assert_eq!(with(raw), Err(IntakeError::NotUtf8 { part: "attachment", position: 0 }));
        let many = vec![RawAttachment { name: "a", text: b"b", notes: &[] }; 11];
        let raw = RawMessage { text: b"hello", language: None, attachments: many };
        assert_eq!(with(raw), Err(IntakeError::TooManyAttachments { count: 11, limit: 10 }));
    }

    proptest! {
        #[test]
        fn no_input_breaks_it_and_offsets_hold(bytes in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
            let _ = taken(&bytes);
            if let Ok(message) = taken(text.as_bytes()) {
                prop_assert_eq!(message.text.chars().count(), text.chars().count());
                prop_assert_eq!(message.text.chars().find(|c| is_control(*c)), None);
            }
        }
    }
}
