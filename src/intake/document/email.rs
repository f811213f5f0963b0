//! E-mails: what was written, and what came with it.

use super::error::{Flaw, Unreadable};
use super::format::Format;
use super::limits::Limits;
use super::markdown::{Markdown, clean, squeezed};
use super::worker;
use super::{Attached, Text, html};
use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub fn read(bytes: &[u8], limits: &Limits) -> Result<Text, Unreadable> {
    let mut left = limits.attachments;
    nested(bytes, limits, 0, &mut left)
}

/// `depth`: how many e-mails this one stands in; `left`: how many more files are read, over all levels.
fn nested(bytes: &[u8], limits: &Limits, depth: usize, left: &mut usize) -> Result<Text, Unreadable> {
    if depth >= limits.emails {
        return Err(Unreadable::NestedEmails { limit: limits.emails });
    }
    let damaged = Unreadable::Damaged { format: Format::Eml, what: Flaw::Structure };
    let message = MessageParser::default().parse(bytes).ok_or(damaged)?;
    let mut text = Text { title: message.subject().map(line).filter(|s| !s.is_empty()), ..Text::default() };
    let mut markdown = Markdown::new(limits.answer);
    let head = head(&message);
    markdown.paragraph(&head);
    let (head, _) = markdown.finish()?;
    let body = body(&message, limits)?;
    text.text = format!("{head}\n\n{body}").trim().to_owned();
    for part in message.attachments() {
        let name = part.attachment_name().map(line).unwrap_or_default();
        let is_email = matches!(part.body, PartType::Message(_));
        let name = if name.is_empty() { unnamed(part) } else { name };
        let read = if limits.attachments == 0 {
            Err(Unreadable::LeftOut)
        } else if *left == 0 {
            Err(Unreadable::TooManyAttachments { limit: limits.attachments })
        } else {
            *left -= 1;
            attached(part.contents(), &name, is_email, limits, depth, left)
        };
        text.attachments.push(Attached { name, read });
        // Names alone may be many.
        if text.attachments.len() > limits.attachments.saturating_mul(2).max(100) {
            text.notes.push("more files came with it than are named here".to_owned());
            break;
        }
    }
    Ok(text)
}

fn attached(
    bytes: &[u8],
    name: &str,
    is_email: bool,
    limits: &Limits,
    depth: usize,
    left: &mut usize,
) -> Result<Text, Unreadable> {
    let format = if is_email { Format::Eml } else { Format::of(name, bytes)? };
    // A reader that gives up at one attachment leaves the others and the e-mail.
    let read = catch_unwind(AssertUnwindSafe(|| {
        if format == Format::Eml {
            return nested(bytes, limits, depth + 1, left);
        }
        let answer = worker::text_of(bytes.to_vec(), format, limits)?;
        let mut text = answer.text;
        let note =
            |page| format!("page {page} has a picture and no text; send the file by itself to have it read");
        text.notes.extend(answer.scanned.iter().map(note));
        Ok(text)
    }));
    read.unwrap_or(Err(Unreadable::Damaged { format, what: Flaw::Unexpected }))
}

/// Who wrote to whom, when and about what: one line each.
fn head(message: &Message<'_>) -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("{name}: {value}"));
        }
    };
    add("From", message.from().map(people));
    add("To", message.to().map(people));
    add("Date", message.date().map(|date| line(&date.to_rfc3339())));
    add("Subject", message.subject().map(line));
    lines.join("\n")
}

fn people(address: &Address<'_>) -> String {
    let all = address.iter().take(20).map(|person| {
        let name = person.name.as_deref().map(line).unwrap_or_default();
        match person.address.as_deref().map(line) {
            Some(address) if name.is_empty() => address,
            Some(address) => format!("{name} ({address})"),
            None => name,
        }
    });
    all.filter(|person| !person.is_empty()).collect::<Vec<_>>().join(", ")
}

fn line(text: &str) -> String {
    squeezed(&clean(text))
}

/// The text as it was written; where there is only HTML, that.
fn body(message: &Message<'_>, limits: &Limits) -> Result<String, Unreadable> {
    let mut markdown = Markdown::new(limits.answer);
    let mut pieces = Vec::new();
    for id in &message.text_body {
        match message.part(*id).map(|part| &part.body) {
            Some(PartType::Text(text)) => {
                for paragraph in text.replace('\r', "").split("\n\n") {
                    let lines: Vec<String> = paragraph.lines().map(clean).collect();
                    markdown.paragraph(&lines.join("\n"));
                }
            }
            Some(PartType::Html(html)) => pieces.push(html::read_text(html, limits)?.text),
            _ => {}
        }
    }
    let (text, _) = markdown.finish()?;
    pieces.insert(0, text);
    pieces.retain(|piece| !piece.trim().is_empty());
    Ok(pieces.join("\n\n"))
}

/// By its kind, where an attachment has no name.
fn unnamed(part: &MessagePart<'_>) -> String {
    let kind = part.content_type().map(|kind| (kind.ctype(), kind.subtype().unwrap_or_default()));
    let ending = match kind {
        _ if matches!(part.body, PartType::Message(_)) => "eml",
        Some(("text", "html")) => "html",
        Some(("text", "markdown")) => "md",
        Some(("text", _)) => "txt",
        Some(("application", "pdf")) => "pdf",
        _ => return "unnamed".to_owned(),
    };
    format!("unnamed.{ending}")
}
