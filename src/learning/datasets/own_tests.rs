use super::*;

fn pack() -> (Dag, Extraction) {
    crate::learning::train::pack(Path::new("config")).unwrap()
}

#[test]
fn marks_become_values_and_the_rest_stays_text() {
    let (dag, extraction) = pack();
    let row = "account_locked@cards.3\tde\th-H\tIch, [first_name|Max] [last_name|Müller], komme nicht rein!";
    let (_, line) = parse(row, &dag, &extraction).ok().unwrap();
    assert_eq!(line.text(), "Ich, Max Müller, komme nicht rein!");
    let drawn = crate::learning::draw::plain(&line);
    assert_eq!(drawn.values, [("first_name".to_owned(), 5, 8), ("last_name".to_owned(), 9, 15)]);
    let target = line.target.unwrap();
    assert_eq!((Some(target.leaf), target.parent), (dag.leaf("account_locked"), dag.parent("cards")));
    assert_eq!(line.tone, Some(Tone { urgency: 2, sentiment: 0, wants_human: true }));
}

#[test]
fn concerns_are_marked_with_braces() {
    let (dag, extraction) = pack();
    let row = "several.1\tde\tn0\tHallo, {balance: Stand von [account_number|ABC01234]?} und {change_pin: neue PIN}. Gruß";
    let (_, line) = parse(row, &dag, &extraction).ok().unwrap();
    let drawn = crate::learning::draw::plain(&line);
    assert_eq!(drawn.text, "Hallo, Stand von ABC01234? und neue PIN. Gruß");
    let leaves: Vec<_> = drawn.concerns.iter().map(|(t, start, end)| (t.leaf, *start, *end)).collect();
    assert_eq!(leaves, [(dag.leaf("balance").unwrap(), 7, 26), (dag.leaf("change_pin").unwrap(), 31, 39)]);
    assert_eq!((line.source, line.target), (Source::Several, None));
}

#[test]
fn a_bad_line_names_its_column_and_the_remedy() {
    let (dag, extraction) = pack();
    let bad = [
        ("balance.1\tde\tn0", 1, "columns"),
        ("balance\tde\tn0\tx", 1, "situation"),
        ("balans.1\tde\tn0\tx", 1, "not a leaf"),
        ("balance@cards.1\tde\tn0\tx", 1, "does not stand under"),
        ("balance.1\tfr\tn0\tx", 2, "language"),
        ("balance.1\tde\tx0\tx", 3, "tone"),
        ("balance.1\tde\tn0\tein [name|x]", 4, "not a field"),
        ("balance.1\tde\tn0\tein [iban|x", 4, "no end"),
        ("balance.1\tde\tn0\tein [iban|]", 4, "names no field"),
        ("balance.1\tde\tn0\tein ] da", 4, "without"),
        ("balance.1\tde\tn0\t{balance: ein}", 4, "a concern is marked"),
        ("several.1\tde\tn0\tein", 4, "no concern"),
        ("several.1\tde\tn0\t{balance: ein", 4, "no end"),
        ("several.1\tde\tn0\t{balance ein}", 4, "name no concern"),
        ("several.1\tde\tn0\t{balans: ein}", 1, "not a leaf"),
    ];
    for (row, column, word) in bad {
        let fault = parse(row, &dag, &extraction).err().unwrap();
        assert!(
            fault.column == column && fault.problem.contains(word),
            "{row}: {} {}",
            fault.column,
            fault.problem
        );
        assert!(!fault.remedy.is_empty());
    }
}

#[test]
fn a_german_line_means_what_its_english_twin_means_and_both_are_in_one_part() {
    let (dag, extraction) = pack();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("utterances")).unwrap();
    let head = "id\tlang\ttone\ttext\n";
    let rows: String = (0..40)
        .map(|n| format!("balance.{n}\tde\tn0\tStand {n}\nbalance.{n}\ten\tn0\tbalance {n}\n"))
        .collect();
    std::fs::write(folder.path().join("utterances/a.tsv"), format!("{head}{rows}")).unwrap();
    std::fs::write(folder.path().join("extraction.tsv"), head).unwrap();
    let lines = read(folder.path(), &dag, &extraction).unwrap();
    assert_eq!(lines.len(), 80);
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].meaning.as_deref(), Some(pair[1].text().as_str()));
        assert_eq!(pair[0].split, pair[1].split);
    }
    std::fs::write(folder.path().join("extraction.tsv"), format!("{head}\nbad")).unwrap();
    let error = read(folder.path(), &dag, &extraction).unwrap_err().to_string();
    assert!(error.contains("extraction.tsv:3:1"), "{error}");
}

#[test]
fn the_shipped_lines_are_read() {
    let (dag, extraction) = pack();
    let lines = super::read(std::path::Path::new("models/data"), &dag, &extraction).unwrap();
    let of = |source: Source| lines.iter().filter(|line| line.source == source).count();
    assert!(of(Source::Own) > 16_000 && of(Source::Entities) > 2_000, "{}", lines.len());
    let several = lines.iter().filter(|line| line.source == Source::Several);
    assert!(several.clone().count() > 600 && several.clone().all(|line| !line.concerns.is_empty()));
}
