use super::*;
use crate::understanding::tokens::Tokens;

/// Unused pieces behind the others.
const SPARE: usize = 40;

/// A small tokenizer of the published make.
fn published() -> Vec<u8> {
    let pieces = [
        "[PAD]",
        "[unused0]",
        "[unused1]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "а",
        "привет",
        "##мир",
        "k",
        "##a",
        "##r",
        "##t",
        "##e",
        "card",
        "##u",
        "s",
        "##c",
        "##h",
        "##o",
        "##n",
        "beautiful",
        "cricket",
        "##i",
        "a",
        "##ss",
    ];
    let spare = (0..SPARE).map(|n| format!("[unused{}]", n + 2));
    let all = pieces.iter().map(|piece| (*piece).to_owned()).chain(spare);
    let vocab: serde_json::Map<String, Value> =
        all.enumerate().map(|(id, piece)| (piece, json!(id))).collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [4], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [5], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    });
    serde_json::to_vec(&file).unwrap()
}

fn learned() -> Vocabulary {
    let glossary = HashMap::from([("karte".to_owned(), "card".to_owned())]);
    let german = [("Karte karte KARTE schön schön schoen schon schon schon", 5)];
    learn(&published(), &german, &["a beautiful card"], &glossary, 400).unwrap()
}

#[test]
fn pieces_take_rows_that_nothing_needs_and_begin_as_their_gloss() {
    let vocabulary = learned();
    let file: Value = serde_json::from_slice(&vocabulary.tokenizer).unwrap();
    let names = file["model"]["vocab"].as_object().unwrap();
    let row = |piece: &str| names.get(piece).and_then(Value::as_u64).map(|id| id as u32);
    assert_eq!(names.len(), 26 + SPARE, "as many rows as before");
    for kept in ["[PAD]", "[UNK]", "k", "##a", "card", "beautiful"] {
        assert!(row(kept).is_some(), "{kept} is still there");
    }
    assert!(row("[unused40]").is_none(), "unused rows go first");
    let karte = row("karte").expect("a frequent word is a piece");
    assert_eq!(vocabulary.rows[&karte], [14], "card");
    assert!(vocabulary.glossed >= 1);
    let ids: HashMap<String, u32> =
        [("k", 9), ("##a", 10), ("##ar", 11), ("##r", 12)].map(|(p, i)| (p.to_owned(), i)).into();
    assert_eq!(
        (scraps("kar", &ids), scraps("##ar", &ids), scraps("kz", &ids)),
        (vec![9, 11], vec![11], vec![])
    );
}

#[test]
fn both_spellings_are_one_word_and_positions_stay_those_of_the_text() {
    let tokens = Tokens::from_bytes(&learned().tokenizer, 128).unwrap();
    let read = |text: &str| tokens.read(text).unwrap();
    assert_eq!(read("schön").ids, read("schoen").ids);
    assert_ne!(read("schön").ids, read("schon").ids);
    assert_eq!(read("scho\u{308}n").ids, read("schön").ids, "composed or not");
    let text = "a schön, Karte";
    let words: Vec<String> =
        read(text).words.iter().map(|w| text.chars().skip(w.start).take(w.end - w.start).collect()).collect();
    assert_eq!(words, ["a", "schön", ",", "Karte"]);
}

#[test]
fn a_bad_glossary_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("glossary.tsv");
    std::fs::write(&file, "größe\tsize\nhaus house\n").unwrap();
    assert!(glossary(&file).unwrap_err().to_string().contains("glossary.tsv:2:1"));
    std::fs::write(&file, "größe\tsize\n").unwrap();
    assert_eq!(glossary(&file).unwrap()["groesse"], "size");
}

#[test]
fn the_same_texts_give_the_same_pieces() {
    let text =
        "sperre karte konto ueberweisung gebuehr karten konten sperren buchung buchen gebucht umgebucht";
    let once = |_| pieces(&[(text, 7)]).unwrap();
    let all: Vec<Vec<String>> = (0..5).map(once).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    assert!(all[0].contains(&"karte".to_owned()));
}
