//! Urgency, sentiment and the wish for a human, beside what a list of words makes of them.

use super::bench::{Answer, of};
use super::figure::{Scale, Table, macro_f1};
use crate::base::Language;
use crate::learning::datasets::Tone;
use crate::understanding::heads::tone::{SENTIMENT, URGENCY};

/// `wish_from`: the probability from which a case goes to a person (`person_from` of the pack).
pub fn run(table: &mut Table, answers: &[Answer], wish_from: f64) {
    for language in Language::ALL {
        let (mut urgency, mut sentiment) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (mut wished, mut unwished) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for answer in of(answers, language) {
            let Some(tone) = answer.message.tone else { continue };
            let said = &answer.reading.tone;
            let words = by_words(&answer.message.text);
            urgency.0.push((tone.urgency, place(&URGENCY, &said.urgency.label)));
            urgency.1.push((tone.urgency, words.urgency));
            sentiment.0.push((tone.sentiment, place(&SENTIMENT, &said.sentiment.label)));
            sentiment.1.push((tone.sentiment, words.sentiment));
            let side = if tone.wants_human { &mut wished } else { &mut unwished };
            side.0.push(said.wants_human.get() >= wish_from);
            side.1.push(words.wants_human);
        }
        for (name, (model, words)) in [("urgency", urgency), ("sentiment", sentiment)] {
            let baseline = macro_f1(&words, 3, &vec![1; words.len()]);
            let n = (model.len(), model.len());
            let id = format!("tone.{language}.{name}");
            table.drawn(id, Scale::Share, n, baseline, |drawn| macro_f1(&model, 3, drawn));
        }
        table.hits(format!("tone.{language}.human_recall"), &wished.0, Some(&wished.1));
        table.hits(format!("tone.{language}.human_false"), &unwished.0, Some(&unwished.1));
    }
}

fn place(labels: &[&str; 3], label: &str) -> usize {
    labels.iter().position(|known| *known == label).unwrap_or(1)
}

const HUMAN: [&str; 22] = [
    "mitarbeiter",
    "berater",
    "menschen",
    "echten person",
    "echte person",
    "persönlich sprechen",
    "jemandem sprechen",
    "mit jemandem",
    "rückruf",
    "ruft mich",
    "rufen sie mich",
    "ansprechpartner",
    "human",
    "real person",
    "an agent",
    "speak to",
    "talk to",
    "speak with",
    "call me",
    "representative",
    "advisor",
    "actual person",
];
const HIGH: [&str; 24] = [
    "sofort",
    "dringend",
    "umgehend",
    "schnellstmöglich",
    "so schnell wie möglich",
    "eilt",
    "eilig",
    "notfall",
    "gestohlen",
    "geklaut",
    "betrug",
    "betrüger",
    "heute noch",
    "urgent",
    "immediately",
    "asap",
    "right now",
    "right away",
    "emergency",
    "stolen",
    "fraud",
    "scam",
    "hacked",
    "as soon as possible",
];
const LOW: [&str; 18] = [
    "gibt es",
    "welche",
    "was kostet",
    "wie viel kostet",
    "kann man",
    "grundsätzlich",
    "irgendwann",
    "keine eile",
    "nur mal",
    "interessiert",
    "do you",
    "is there",
    "are there",
    "what does",
    "can one",
    "no rush",
    "just wondering",
    "curious",
];
const NEGATIVE: [&str; 30] = [
    "nicht",
    "kein",
    "leider",
    "falsch",
    "fehler",
    "ärger",
    "unverschämt",
    "frech",
    "beschwer",
    "enttäusch",
    "sauer",
    "schlecht",
    "gestohlen",
    "verloren",
    "abgelehnt",
    "gesperrt",
    "not ",
    "n't",
    "wrong",
    "error",
    "unfortunately",
    "annoy",
    "angry",
    "ridiculous",
    "complain",
    "disappoint",
    "terrible",
    "lost",
    "declined",
    "still ",
];
const POSITIVE: [&str; 16] = [
    "vielen dank für",
    "super",
    "toll",
    "prima",
    "großartig",
    "begeistert",
    "zufrieden",
    "freue",
    "klasse",
    "great",
    "thanks for",
    "love",
    "happy",
    "excellent",
    "wonderful",
    "perfect",
];

/// The first list that has a word of the text decides.
fn by_words(text: &str) -> Tone {
    let text = text.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let of =
        |lists: [(&[&str], usize); 2]| lists.iter().find(|(words, _)| any(words)).map_or(1, |(_, at)| *at);
    Tone {
        urgency: of([(&HIGH, 2), (&LOW, 0)]),
        sentiment: of([(&POSITIVE, 2), (&NEGATIVE, 0)]),
        wants_human: any(&HUMAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_give_a_tone_in_both_languages() {
        let tone = |text: &str| {
            let tone = by_words(text);
            (tone.urgency, tone.sentiment, tone.wants_human)
        };
        assert_eq!(tone("Sofort sperren, die Karte wurde GESTOHLEN!"), (2, 0, false));
        assert_eq!(tone("Gibt es Sparkonten?"), (0, 1, false));
        assert_eq!(tone("The app is great, thanks"), (1, 2, false));
        assert_eq!(tone("Let me talk to a real person"), (1, 1, true));
    }

    #[test]
    fn labels_are_the_models() {
        assert_eq!((place(&URGENCY, "high"), place(&SENTIMENT, "negative"), place(&URGENCY, "?")), (2, 0, 1));
    }
}
