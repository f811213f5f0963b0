//! Labelled lines from every source, in one form.

pub mod banking77;
pub mod clean;
pub mod clinc150;
pub mod injections;
pub mod labels;
pub mod marks;
pub mod mobie;
pub mod own;
pub mod policies;
pub mod smartdata;
pub mod tickets;

use crate::base::Language;
use std::ops::Range;
use std::sync::Arc;

/// Where a line comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Banking77,
    Clinc150,
    /// CLINC150's other domains and out-of-scope lines.
    Elsewhere,
    /// The project's own lines with an intent.
    Own,
    /// The project's own lines for extraction alone.
    Entities,
    /// The project's own lines with their concerns marked: mostly two, some three, some a long one.
    Several,
    Mobie,
    /// The training part of the German SmartData corpus.
    Smartdata,
    /// Sections of the sample policies, for the retrieval vector.
    Policies,
}

impl Source {
    pub const ALL: [Self; 9] = [
        Self::Banking77,
        Self::Clinc150,
        Self::Elsewhere,
        Self::Own,
        Self::Entities,
        Self::Several,
        Self::Mobie,
        Self::Smartdata,
        Self::Policies,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Banking77 => "banking77",
            Self::Clinc150 => "clinc150",
            Self::Elsewhere => "elsewhere",
            Self::Own => "own",
            Self::Entities => "entities",
            Self::Several => "several",
            Self::Mobie => "mobie",
            Self::Smartdata => "smartdata",
            Self::Policies => "policies",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Split {
    Train,
    Dev,
    Test,
}

/// A stretch of text, with the field it is a value of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub field: Option<String>,
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub leaf: usize,
    /// The way in, where the line names it.
    pub parent: Option<usize>,
    /// For every leaf whether the line speaks against it: the loss is normalised over these. Leaves that
    /// another source would also call right are left out.
    pub against: Arc<Vec<bool>>,
}

/// A stretch of a line with a concern of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Concern {
    /// Positions in the line's pieces.
    pub pieces: Range<usize>,
    pub target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    pub urgency: usize,
    pub sentiment: usize,
    pub wants_human: bool,
}

impl Tone {
    /// That of two messages in one: as urgent as the more urgent, as unhappy as the unhappier, and a wish for
    /// a person in either is one.
    pub fn with(self, other: Self) -> Self {
        Self {
            urgency: self.urgency.max(other.urgency),
            sentiment: self.sentiment.min(other.sentiment),
            wants_human: self.wants_human || other.wants_human,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub source: Source,
    pub split: Split,
    pub language: Language,
    pub pieces: Vec<Piece>,
    /// What the whole line is about; `None` where its concerns are marked, and for lines without an intent.
    pub target: Option<Target>,
    /// In the order of the text; empty where the whole line is one concern or none is known.
    pub concerns: Vec<Concern>,
    pub tone: Option<Tone>,
    /// For every extraction group whether the line's marks are complete for it.
    pub groups: Vec<bool>,
    /// Text whose vector under the base model the line's retrieval vector shall have: for a German line its
    /// English twin.
    pub meaning: Option<String>,
}

impl Line {
    /// News and messages of travellers, which teach names and what no customer of a bank writes.
    pub fn is_news(&self) -> bool {
        matches!(self.source, Source::Mobie | Source::Smartdata)
    }

    pub fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}

/// A number in 0..100 that depends on the text alone: splits stay the same when lines are added.
pub(crate) fn bucket(text: &str) -> u32 {
    let digest = crate::base::Digest::of(text.as_bytes());
    digest.hex().get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0) % 100
}
