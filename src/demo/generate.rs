//! Draws the bank's data: the same seed and day give the same accounts, cards and transactions.

use super::account::{
    Account, AccountStatus, Address, Booking, Card, CardOrder, CardStatus, Flags, Kind, OrderState, Package,
    PackageName, Transaction, german_iban,
};
use super::draw::Draw;
use super::names::{BRANCHES, Branch, FIRST_NAMES, LAST_NAMES, MERCHANTS, STREETS};
use super::stories;
use crate::base::{Currency, Money, Timestamp};
use std::collections::HashSet;

/// How many accounts are drawn.
pub const ACCOUNTS: u64 = 10_000;
/// Accounts up to this number each have their own owner, whose number is the account's.
const OWN_OWNER_UP_TO: u64 = 400;
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// All accounts, in the order of their numbers. `day` is the midnight before which everything was booked.
pub fn accounts(seed: u64, day: Timestamp) -> Vec<Account> {
    let mut taken = HashSet::new();
    for number in stories::FIXED_NUMBERS {
        taken.insert(look_alike_class(number));
    }
    let mut accounts: Vec<Account> = Vec::new();
    for number in 1..=ACCOUNTS {
        let mut draw = Draw::new(seed, number);
        let sibling = (number > OWN_OWNER_UP_TO && draw.one_in(8))
            .then(|| accounts.get(usize::try_from(number - 1 - draw.below(100) - 1).unwrap_or(0)).cloned())
            .flatten();
        let mut account = fresh_account(number, &mut draw, sibling.as_ref(), &mut taken);
        account.transactions = transactions(number, &mut draw, day);
        account.cards = cards(number, &mut draw, day);
        stories::tell(&mut account, number, day);
        accounts.push(account);
    }
    accounts
}

pub fn account_id(number: u64) -> String {
    format!("acc_{number:03}")
}

/// Two account numbers that a reader may confuse (0/O, 1/I, 2/Z, 5/S, 8/B) are of one class, and no class
/// is drawn twice.
pub fn look_alike_class(number: &str) -> String {
    let fold = |c| match c {
        'O' => '0',
        'I' | 'L' => '1',
        'Z' => '2',
        'S' => '5',
        'B' => '8',
        other => other,
    };
    number.chars().map(fold).collect()
}

fn fresh_account(
    number: u64,
    draw: &mut Draw,
    sibling: Option<&Account>,
    taken: &mut HashSet<String>,
) -> Account {
    let (first_name, last_name, branch) = loop {
        let first = draw.pick_early(FIRST_NAMES).copied().unwrap_or_default();
        let last = draw.pick_early(LAST_NAMES).copied().unwrap_or_default();
        let at = draw.below(BRANCHES.len() as u64);
        let Some(branch) = BRANCHES.get(usize::try_from(at).unwrap_or(0)) else { continue };
        if !stories::reserved(first, last, branch.name) {
            break (first, last, branch);
        }
    };
    let account_number = loop {
        let drawn = draw_account_number(draw);
        if taken.insert(look_alike_class(&drawn)) {
            break drawn;
        }
    };
    let address = address(draw, branch);
    let mut account = Account {
        id: account_id(number),
        customer: format!("cus_{number:03}"),
        authorised: vec![],
        first_name: first_name.to_owned(),
        last_name: last_name.to_owned(),
        branch: branch.name.to_owned(),
        account_number,
        iban: german_iban(branch.code, drawn_konto(number)),
        date_of_birth: date_of_birth(draw),
        postcode: address.postcode.clone(),
        product: draw.pick(&["giro", "giro", "giro", "savings"]).copied().unwrap_or("giro"),
        status: AccountStatus::Active,
        lock_reason: None,
        flags: Flags { fraud: draw.one_in(400) },
        balance: euros(draw.below(900_000) as i64 - 20_000),
        address,
        address_changed_at: None,
        identity_confirmed_at: None,
        pending_address: None,
        package: package(number),
        transfers: vec![],
        cards: vec![],
        transactions: vec![],
        notes: String::new(),
    };
    if draw.one_in(60) {
        account.status = AccountStatus::Locked;
        account.lock_reason = draw.pick(&["too_many_failed_logins", "inactive", "card_problem"]).copied();
    }
    if let Some(owner) = sibling {
        account.customer.clone_from(&owner.customer);
        account.first_name.clone_from(&owner.first_name);
        account.last_name.clone_from(&owner.last_name);
        account.date_of_birth.clone_from(&owner.date_of_birth);
        account.address.clone_from(&owner.address);
        account.postcode.clone_from(&owner.postcode);
        account.branch.clone_from(&owner.branch);
        account.iban = stories::iban_at(&owner.branch, drawn_konto(number));
        account.product = "savings";
    }
    account
}

/// Nothing is drawn for it, so that everything else is drawn as ever.
fn package(number: u64) -> Package {
    let (name, minor) = match number % 3 {
        0 => (PackageName::Basic, 490),
        1 => (PackageName::Classic, 450),
        _ => (PackageName::Premium, 1_090),
    };
    Package { name, price: euros(minor), renews_on: format!("2027-{:02}-01", 1 + number % 12), change: None }
}

/// Ten digits, different for every account number up to 10^10 / 7.
pub fn drawn_konto(number: u64) -> u64 {
    (number * 7_368_787 + 1_200_345_678) % 9_999_999_967
}

fn draw_account_number(draw: &mut Draw) -> String {
    let letters: String = (0..3).map(|_| char::from(b'A' + draw.below(26) as u8)).collect();
    format!("{letters}{:05}", draw.below(100_000))
}

fn address(draw: &mut Draw, branch: &Branch) -> Address {
    Address {
        street: format!("{} {}", draw.pick(STREETS).copied().unwrap_or_default(), 1 + draw.below(120)),
        postcode: format!("{}{:03}", branch.post, draw.below(1000)),
        city: branch.town.to_owned(),
        country: "DE".to_owned(),
    }
}

fn date_of_birth(draw: &mut Draw) -> String {
    format!("{}-{:02}-{:02}", 1936 + draw.below(71), 1 + draw.below(12), 1 + draw.below(28))
}

pub const fn euros(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn cards(number: u64, draw: &mut Draw, day: Timestamp) -> Vec<Card> {
    let order = draw.one_in(20).then(|| {
        let state = draw
            .pick(&[OrderState::Ordered, OrderState::Produced, OrderState::Shipped, OrderState::Delivered])
            .copied()
            .unwrap_or(OrderState::Ordered);
        card_order(number, state, day, 1 + draw.below(9) as i64)
    });
    let status = if draw.one_in(80) { CardStatus::PinBlocked } else { CardStatus::Active };
    vec![Card { id: format!("card_{number:03}"), last4: format!("{:04}", draw.below(10_000)), status, order }]
}

/// An order made `days_ago` days before `day`, expected ten days after it was made.
pub fn card_order(number: u64, state: OrderState, day: Timestamp, days_ago: i64) -> CardOrder {
    let ordered_at = day.plus_millis(-days_ago * DAY_MS + 10 * 60 * 60 * 1000);
    let expected_by = ordered_at.plus_millis(10 * DAY_MS).date();
    CardOrder { id: format!("ord_{number:03}"), state, ordered_at, expected_by }
}

/// Three to ten transactions of the last 60 days, newest first; never the same merchant with the same
/// amount twice, so that a double charge is only where a story puts one.
fn transactions(number: u64, draw: &mut Draw, day: Timestamp) -> Vec<Transaction> {
    let mut seen = HashSet::new();
    let mut drawn = Vec::new();
    for _ in 0..3 + draw.below(8) {
        let merchant = draw.pick(MERCHANTS).copied().unwrap_or_default();
        let minor = 180 + draw.below(18_000) as i64;
        if !seen.insert((merchant, minor)) {
            continue;
        }
        let kind = if draw.one_in(4) { Kind::DirectDebit } else { Kind::CardPayment };
        let booked_at = day.plus_millis(-(draw.below(60 * 24 * 60) as i64) * 60_000);
        drawn.push((booked_at, merchant, minor, kind));
    }
    drawn.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    drawn
        .into_iter()
        .enumerate()
        .map(|(at, (booked_at, merchant, minor, kind))| Transaction {
            id: format!("txn_{number:03}_{:02}", at + 1),
            kind,
            merchant: merchant.to_owned(),
            amount: euros(minor),
            base: None,
            booked_at,
            status: Booking::Booked,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const DAY: Timestamp = Timestamp::from_millis(1_790_035_200_000);

    fn valid_iban(iban: &str) -> bool {
        let (head, tail) = iban.split_at(4);
        let digits: String =
            format!("{tail}{head}").chars().map(|c| c.to_digit(36).unwrap().to_string()).collect();
        digits.bytes().fold(0_u32, |sum, digit| (sum * 10 + u32::from(digit - b'0')) % 97) == 1
    }

    #[test]
    fn ids_numbers_and_ibans_are_unique_and_valid() {
        let accounts = accounts(1, DAY);
        assert!(accounts.len() >= 10_000);
        let mut seen = HashSet::new();
        for account in &accounts {
            assert!(seen.insert(account.id.clone()));
            assert!(seen.insert(account.iban.clone()));
            assert!(seen.insert(look_alike_class(&account.account_number)));
            assert!(valid_iban(&account.iban), "{}", account.iban);
            assert!(account.iban.len() == 22);
        }
        assert!(accounts.iter().filter(|account| account.last_name == "Müller").count() > 50);
    }

    #[test]
    fn the_same_seed_gives_the_same_bank_and_another_seed_another_one() {
        let json = |seed| serde_json::to_string(&accounts(seed, DAY)).unwrap();
        let first = json(1);
        assert_eq!(first, json(1));
        assert_ne!(first, json(2));
    }

    #[test]
    fn the_records_of_the_worked_example_score_as_told_whatever_the_seed() {
        for seed in [1, 2, 99] {
            let mut scores = HashMap::new();
            for account in accounts(seed, DAY) {
                let mut score = 0;
                score += u32::from(["Max", "Angelika"].contains(&account.first_name.as_str()));
                score += 2 * u32::from(account.last_name == "Müller");
                score += 2 * u32::from(account.branch == "Sparkasse Nürnberg");
                score += 5 * u32::from(["ABC01234", "ABCO1234"].contains(&account.account_number.as_str()));
                scores.insert(account.id, score);
            }
            assert_eq!(scores.get("acc_001"), Some(&10));
            assert_eq!(scores.get("acc_017"), Some(&3));
            assert_eq!(scores.get("acc_204"), Some(&2));
            assert_eq!(scores.get("acc_388"), Some(&1));
            assert_eq!(scores.values().filter(|score| **score > 3).count(), 1);
        }
    }

    #[test]
    fn owners_are_the_same_person_on_each_of_their_accounts() {
        let mut people: HashMap<String, (String, String)> = HashMap::new();
        let mut second = 0;
        for account in accounts(1, DAY) {
            let name = (account.first_name, account.date_of_birth);
            if let Some(known) = people.get(&account.customer) {
                assert_eq!(known, &name, "{}", account.customer);
                second += 1;
            }
            people.insert(account.customer, name);
        }
        assert!(second > 500, "{second} second accounts");
    }
}
