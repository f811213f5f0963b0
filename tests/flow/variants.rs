//! Twenty messages like the worked example, with other people, branches and confusions, made here from the
//! bank's own records; the scores that must come out are computed here, over all records, by other code.

use crate::stage::{Stage, shown, verified};
use prokura::base::{Clock, SystemClock, Timestamp};
use prokura::demo::generate::accounts;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DAY: i64 = 86_400_000;

/// {0} first name, {1} last name, {2} branch, {3} partner's first name, {4} account number as typed.
const FORMS: [&str; 5] = [
    "Ich bin Kundin bei der {2}, ich heiße {0} {1}, mein Mann heißt {3} {1}, Kontonummer {4}. Wir kommen beide nicht mehr ins Konto.",
    "Guten Tag, hier ist {0} {1}, Kunde der {2}. Das Konto {4}, das ich mit meiner Frau {3} {1} habe, ist gesperrt.",
    "Mein Name ist {0} {1}, meine Frau {3} {1} und ich haben bei der {2} das Konto {4}. Der Zugang zum Konto ist gesperrt.",
    "Hello, I am {0} {1}, customer of {2}, my wife is {3} {1}, account number {4}. Our account has been locked.",
    "My name is {0} {1}, my husband is {3} {1}. We bank with {2}, account {4}, and we are locked out of our account.",
];

fn confused(number: &str, turn: usize) -> String {
    let pairs = [('0', 'O'), ('1', 'I'), ('5', 'S'), ('8', 'B'), ('2', 'Z')];
    let digits = number.char_indices().skip(3);
    let found: Vec<(usize, char)> = digits
        .filter_map(|(i, c)| pairs.iter().find(|(digit, _)| *digit == c).map(|(_, letter)| (i, *letter)))
        .collect();
    let Some((at, letter)) = found.get(turn % found.len().max(1)) else { return number.to_owned() };
    number.char_indices().map(|(i, c)| if i == *at { *letter } else { c }).collect()
}

fn independent_score(
    account: &Value,
    first: &BTreeSet<String>,
    last: &str,
    branch: &str,
    number: &str,
) -> u32 {
    let is = |field: &str, wanted: &str| {
        account[field].as_str().is_some_and(|have| have.to_lowercase() == wanted.to_lowercase())
    };
    let mut score = 0;
    if first.iter().any(|name| is("first_name", name)) {
        score += 1;
    }
    if is("last_name", last) {
        score += 2;
    }
    if is("branch", branch) {
        score += 2;
    }
    if is("account_number", number) {
        score += 5;
    }
    score
}

#[tokio::test]
async fn twenty_variants_score_as_computed_by_hand() {
    let stage = Stage::new().await;
    let now = SystemClock.now().as_millis();
    let day = Timestamp::from_millis(now - now.rem_euclid(DAY));
    let all: Vec<Value> = accounts(1, day).iter().map(|account| json!(account)).collect();
    let partners = ["Andrea", "Stefan", "Claudia", "Thomas", "Monika"];
    let mut wrong = Vec::new();
    for turn in 0..20 {
        let account = &all[500 + turn * 431];
        let get = |field: &str| account[field].as_str().unwrap().to_owned();
        let (first, last, branch, number) =
            (get("first_name"), get("last_name"), get("branch"), get("account_number"));
        let partner = partners[turn % partners.len()];
        let typed = confused(&number, turn);
        let message = FORMS[turn % FORMS.len()]
            .replace("{0}", &first)
            .replace("{1}", &last)
            .replace("{2}", &branch)
            .replace("{3}", partner)
            .replace("{4}", &typed);
        let state = stage.send(&message, verified(account["customer"].as_str().unwrap())).await;
        let names = BTreeSet::from([first.clone(), partner.to_owned()]);
        let mut expected: Vec<(u32, String)> = all
            .iter()
            .map(|a| {
                (independent_score(a, &names, &last, &branch, &number), a["id"].as_str().unwrap().to_owned())
            })
            .filter(|(score, _)| *score > 0)
            .collect();
        expected.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let facts = state.facts.as_ref().unwrap();
        let found: Vec<(u32, String)> = facts
            .candidates
            .iter()
            .map(|candidate| (candidate.score as u32, candidate.id.to_string()))
            .collect();
        let selected: Vec<String> = facts.selected.iter().map(ToString::to_string).collect();
        if found != expected || selected != [account["id"].as_str().unwrap()] {
            let heads =
                (found.iter().take(3).collect::<Vec<_>>(), expected.iter().take(3).collect::<Vec<_>>());
            wrong.push(format!("{message}\n  found, expected: {heads:?}\n  fields {:?}", state.fields));
        }
        assert_eq!(
            state.reading.as_ref().unwrap().leaf(),
            Some("account_locked"),
            "{message}\n{}",
            shown(&state)
        );
    }
    assert!(wrong.is_empty(), "{} of 20 differ:\n{}", wrong.len(), wrong.join("\n"));
}
