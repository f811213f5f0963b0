//! Text to word pieces and whole words, with character positions in the original text.

use super::error::UnderstandingError;
use std::ops::Range;
use std::path::Path;
use tokenizers::Tokenizer;

/// More characters than this are not read.
const MOST_CHARACTERS: usize = 16_384;

/// WordPiece of the bundle.
pub struct Tokens {
    tokenizer: Tokenizer,
    reach: usize,
}

/// A text as the encoder takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tokenized {
    /// Piece ids with the special pieces at both ends; at most `reach`.
    pub ids: Vec<u32>,
    pub words: Vec<Word>,
    /// Whether the text goes on behind the last piece.
    pub truncated: bool,
}

/// A whole word: letters and digits without a space or punctuation between them, or one punctuation mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Characters (Unicode scalar values) of the original text.
    pub start: usize,
    pub end: usize,
    /// Its pieces, as positions in `ids`.
    pub pieces: Range<usize>,
}

impl Tokens {
    /// `reach` is the longest sequence that the encoder takes, in pieces.
    pub fn from_bytes(bytes: &[u8], reach: usize) -> Result<Self, UnderstandingError> {
        let fail = |error: tokenizers::Error| UnderstandingError::Tokens(error.to_string());
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(fail)?;
        // The published file pads every text to 128 pieces and cuts it there.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(fail)?;
        Ok(Self { tokenizer, reach })
    }

    pub fn from_file(path: &Path, reach: usize) -> Result<Self, UnderstandingError> {
        let bytes = std::fs::read(path).map_err(|error| UnderstandingError::Bundle {
            file: path.to_owned(),
            problem: error.to_string(),
            remedy: "run `make base-model` or `prokura models pull`",
        })?;
        Self::from_bytes(&bytes, reach)
    }

    /// Rows that a table of word vectors needs: one more than the highest id.
    pub fn pieces(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// The id of a piece.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.tokenizer.token_to_id(piece)
    }

    /// As much of a text as the encoder takes at once.
    pub fn read(&self, text: &str) -> Result<Tokenized, UnderstandingError> {
        self.pieces_of(text, self.reach)
    }

    /// The first pieces of a text, at most `most` of them with the special ones.
    pub fn read_first(&self, text: &str, most: usize) -> Result<Tokenized, UnderstandingError> {
        self.pieces_of(text, most.min(self.reach))
    }

    /// A text to its end, or to `MOST_CHARACTERS`.
    pub fn read_all(&self, text: &str) -> Result<Tokenized, UnderstandingError> {
        self.pieces_of(text, usize::MAX)
    }

    fn pieces_of(&self, text: &str, most: usize) -> Result<Tokenized, UnderstandingError> {
        let cut = text.char_indices().nth(MOST_CHARACTERS).map(|(at, _)| at);
        let head = cut.and_then(|at| text.get(..at)).unwrap_or(text);
        let encoding = self
            .tokenizer
            .encode_char_offsets(head, true)
            .map_err(|error| UnderstandingError::Tokens(error.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        let truncated = cut.is_some() || ids.len() > most;
        if ids.len() > most {
            let last = ids.last().copied();
            ids.truncate(most);
            if let (Some(end), Some(last)) = (ids.last_mut(), last) {
                *end = last;
            }
        }
        let inside = ids.len().saturating_sub(1);
        let mut words: Vec<Word> = Vec::new();
        let mut current = None;
        let pieces = encoding.get_word_ids().iter().zip(encoding.get_offsets()).enumerate();
        for (at, (word, &(start, end))) in pieces.take(inside) {
            match (word, words.last_mut()) {
                (None, _) => {}
                (Some(id), Some(last)) if current == Some(*id) => {
                    last.end = last.end.max(end);
                    last.pieces.end = at + 1;
                }
                (Some(id), _) => {
                    current = Some(*id);
                    words.push(Word { start, end, pieces: at..at + 1 });
                }
            }
        }
        Ok(Tokenized { ids, words, truncated })
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
