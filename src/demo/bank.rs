//! The bank's state: the accounts with an index per searchable field, and what was done to them.

use super::account::{Account, AccountStatus};
use super::generate;
use super::stories;
use super::switches::Switches;
use crate::base::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The fields that `GET /accounts` searches by.
pub const SEARCHABLE: [&str; 8] = [
    "first_name",
    "last_name",
    "branch",
    "account_number",
    "iban",
    "date_of_birth",
    "postcode",
    "card_last4",
];

/// A search answers with at most this many ids, and says when there are more.
pub const MOST_IDS: usize = 500;

pub struct Bank {
    accounts: Vec<Account>,
    /// The example's twin, in view only under the `doubled` switch.
    twin: Option<Account>,
    places: HashMap<String, usize>,
    index: HashMap<(&'static str, String), Vec<usize>>,
    pub tickets: BTreeMap<String, Value>,
    pub refunds: BTreeMap<String, super::orders::Refund>,
}

impl Bank {
    pub fn new(seed: u64, day: Timestamp) -> Self {
        let accounts = generate::accounts(seed, day);
        let twin = accounts.first().map(|of| stories::twin(of, generate::ACCOUNTS + 1));
        let mut places = HashMap::new();
        let mut index: HashMap<_, Vec<usize>> = HashMap::new();
        for (place, account) in accounts.iter().enumerate() {
            places.insert(account.id.clone(), place);
            for (field, value) in searchable_values(account) {
                index.entry((field, comparable(field, &value))).or_default().push(place);
            }
        }
        Self { accounts, twin, places, index, tickets: BTreeMap::new(), refunds: BTreeMap::new() }
    }

    /// Ids of the accounts whose field has that value, in the order of their numbers, and whether there
    /// are more than are given.
    pub fn find(&self, field: &str, value: &str, switches: &Switches) -> (Vec<String>, bool) {
        let Some(known) = SEARCHABLE.iter().find(|known| **known == field) else { return (vec![], false) };
        let wanted = comparable(field, value);
        let hits = self.index.get(&(*known, wanted.clone())).into_iter().flatten();
        let mut ids: Vec<String> = hits
            .filter_map(|place| self.accounts.get(*place))
            .map(|account| account.id.clone())
            .filter(|id| !switches.missing.contains(id))
            .take(MOST_IDS + 1)
            .collect();
        if let Some(twin) = self.visible_twin(switches)
            && searchable_values(twin).iter().any(|(f, v)| *f == field && comparable(field, v) == wanted)
        {
            ids.push(twin.id.clone());
        }
        let more = ids.len() > MOST_IDS;
        ids.truncate(MOST_IDS);
        (ids, more)
    }

    /// The account as the routes show it, the switches applied.
    pub fn account(&self, id: &str, switches: &Switches) -> Option<Account> {
        if switches.missing.contains(id) {
            return None;
        }
        let twin = self.visible_twin(switches).filter(|twin| twin.id == id);
        let account = twin.or_else(|| self.places.get(id).and_then(|place| self.accounts.get(*place)))?;
        let mut account = account.clone();
        account.flags.fraud |= switches.fraud.contains(id);
        if switches.passed_on.contains(id) {
            "cus_else".clone_into(&mut account.customer);
            account.authorised.clear();
        }
        Some(account)
    }

    pub fn account_mut(&mut self, id: &str) -> Option<&mut Account> {
        if let Some(twin) = self.twin.as_mut().filter(|twin| twin.id == id) {
            return Some(twin);
        }
        self.places.get(id).and_then(|place| self.accounts.get_mut(*place))
    }

    /// The account that a card belongs to.
    pub fn account_of_card(&mut self, card: &str) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.cards.iter().any(|held| held.id == card))
    }

    /// The accounts that a customer owns or is registered to act for, with that relation.
    pub fn accounts_of(&self, customer: &str, switches: &Switches) -> Vec<Value> {
        let all = self.accounts.iter().chain(self.visible_twin(switches));
        all.filter(|account| !switches.missing.contains(&account.id))
            .filter_map(|account| {
                let relation = if account.customer == customer {
                    "owner"
                } else if account.authorised.iter().any(|id| id == customer) {
                    "authorised"
                } else {
                    return None;
                };
                Some(json!({"id": account.id, "relation": relation, "product": account.product}))
            })
            .collect()
    }

    /// Who a customer is, as their first account says.
    pub fn customer(&self, customer: &str) -> Option<Value> {
        let account = self.accounts.iter().find(|account| account.customer == customer)?;
        Some(json!({
            "id": customer,
            "first_name": account.first_name,
            "last_name": account.last_name,
            "date_of_birth": account.date_of_birth,
            "address": account.address,
        }))
    }

    pub fn knows_customer(&self, customer: &str) -> bool {
        self.accounts.iter().any(|account| account.customer == customer)
    }

    /// How many accounts there are and how many of them are locked.
    pub fn size(&self) -> (usize, usize) {
        let locked = self.accounts.iter().filter(|account| account.status == AccountStatus::Locked).count();
        (self.accounts.len(), locked)
    }

    fn visible_twin(&self, switches: &Switches) -> Option<&Account> {
        self.twin.as_ref().filter(|_| switches.doubled)
    }
}

fn searchable_values(account: &Account) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("first_name", account.first_name.clone()),
        ("last_name", account.last_name.clone()),
        ("branch", account.branch.clone()),
        ("account_number", account.account_number.clone()),
        ("iban", account.iban.clone()),
        ("date_of_birth", account.date_of_birth.clone()),
        ("postcode", account.postcode.clone()),
    ];
    values.extend(account.cards.iter().map(|card| ("card_last4", card.last4.clone())));
    values
}

/// Upper and lower case are the same everywhere; in numbers so are spaces.
fn comparable(field: &str, value: &str) -> String {
    let lower = value.to_lowercase();
    if matches!(field, "account_number" | "iban" | "card_last4") {
        lower.chars().filter(|c| !c.is_whitespace()).collect()
    } else {
        lower.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank() -> Bank {
        Bank::new(1, Timestamp::from_millis(1_790_035_200_000))
    }

    #[test]
    fn search_is_exact_but_forgives_case_and_spaces() {
        let (bank, switches) = (bank(), Switches::default());
        assert_eq!(bank.find("account_number", "abc 01234", &switches).0, ["acc_001"]);
        assert!(bank.find("account_number", "ABCO1234", &switches).0.is_empty());
        assert!(bank.find("branch", "sparkasse  nürnberg", &switches).0.contains(&"acc_001".to_owned()));
        assert!(bank.find("branch", "Nürnberg", &switches).0.is_empty());
        assert!(bank.find("shoe_size", "44", &switches).0.is_empty());
    }

    #[test]
    fn a_hidden_account_is_nowhere_and_a_doubled_one_is_found_by_its_own_number() {
        let bank = bank();
        let hidden = Switches { missing: ["acc_001".to_owned()].into(), ..Switches::default() };
        assert!(bank.find("account_number", "ABC01234", &hidden).0.is_empty());
        assert!(bank.account("acc_001", &hidden).is_none());
        assert!(bank.accounts_of("cus_001", &hidden).is_empty());
        let doubled = Switches { doubled: true, ..Switches::default() };
        assert_eq!(bank.find("account_number", "ABCO1234", &doubled).0, ["acc_10001"]);
        let (twin, first) =
            (bank.account("acc_10001", &doubled).unwrap(), bank.account("acc_001", &doubled).unwrap());
        assert_eq!((&twin.customer, &twin.branch), (&first.customer, &first.branch));
        assert_ne!(twin.iban, first.iban);
        assert!(bank.account("acc_10001", &Switches::default()).is_none());
    }

    #[test]
    fn relations_are_told_apart() {
        let (bank, switches) = (bank(), Switches::default());
        let of = bank.accounts_of("cus_024", &switches);
        let told: Vec<_> =
            of.iter().map(|a| (a["id"].as_str().unwrap(), a["relation"].as_str().unwrap())).collect();
        assert_eq!(told, [("acc_024", "owner"), ("acc_025", "authorised")]);
    }
}
