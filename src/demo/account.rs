//! What the demonstration bank keeps, in the JSON form that its routes answer with.

use crate::base::{Money, Timestamp};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Account {
    pub id: String,
    /// The owner.
    pub customer: String,
    /// Customers registered to act for this account.
    pub authorised: Vec<String>,
    pub first_name: String,
    pub last_name: String,
    pub branch: String,
    pub account_number: String,
    pub iban: String,
    pub date_of_birth: String,
    pub postcode: String,
    pub product: &'static str,
    pub status: AccountStatus,
    pub lock_reason: Option<&'static str>,
    pub flags: Flags,
    pub balance: Money,
    pub address: Address,
    pub address_changed_at: Option<Timestamp>,
    /// When the customer last showed who they are in the app, with document and face.
    pub identity_confirmed_at: Option<Timestamp>,
    /// What the customer entered in the app, with two factors, and has not confirmed yet.
    pub pending_address: Option<Address>,
    pub package: Package,
    pub transfers: Vec<Transfer>,
    pub cards: Vec<Card>,
    pub transactions: Vec<Transaction>,
    /// Free text that clerks and customers typed.
    pub notes: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    Active,
    Locked,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Flags {
    pub fraud: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    pub street: String,
    pub postcode: String,
    pub city: String,
    pub country: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Card {
    pub id: String,
    pub last4: String,
    pub status: CardStatus,
    /// The newest card order, if there was one.
    pub order: Option<CardOrder>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CardStatus {
    Active,
    Blocked,
    PinBlocked,
}

/// What the account costs and holds.
#[derive(Clone, Debug, Serialize)]
pub struct Package {
    pub name: PackageName,
    /// For a month.
    pub price: Money,
    /// The day on which it goes on for another year, `YYYY-MM-DD`.
    pub renews_on: String,
    /// The change that is scheduled.
    pub change: Option<PackageName>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageName {
    Basic,
    Classic,
    Premium,
}

/// An outgoing transfer.
#[derive(Clone, Debug, Serialize)]
pub struct Transfer {
    pub id: String,
    pub payee: String,
    pub amount: Money,
    pub ordered_at: Timestamp,
    /// The day by which it is credited, `YYYY-MM-DD`.
    pub expected_by: String,
    pub state: TransferState,
    /// The bank looks where it is.
    pub traced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    Scheduled,
    Pending,
    Executed,
    Failed,
    Returned,
    Cancelled,
}

#[derive(Clone, Debug, Serialize)]
pub struct CardOrder {
    pub id: String,
    pub state: OrderState,
    pub ordered_at: Timestamp,
    /// `YYYY-MM-DD`.
    pub expected_by: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    Ordered,
    Produced,
    Shipped,
    Delivered,
    Returned,
}

#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    pub id: String,
    pub kind: Kind,
    pub merchant: String,
    /// What was charged, or credited when the kind is `credit`; never negative.
    pub amount: Money,
    /// What a fee is a share of, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Money>,
    pub booked_at: Timestamp,
    pub status: Booking,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    CardPayment,
    DirectDebit,
    CashWithdrawal,
    /// A fee of the price list; the merchant says which.
    Fee,
    Credit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Booking {
    Booked,
    Pending,
    Refunded,
    /// The customer objects to it, and people look at that.
    Disputed,
    /// Refused when it was tried.
    Declined,
    /// It was booked, and the merchant put it back.
    Reverted,
}

/// A German IBAN from a bank code of 8 digits and an account of 10, with the ISO 7064 mod 97-10 check
/// digits of ISO 13616.
pub fn german_iban(bank_code: &str, account: u64) -> String {
    let bban = format!("{bank_code}{account:010}");
    // D = 13, E = 14; the check digits are computed with 00 in their place.
    let remainder = format!("{bban}131400")
        .bytes()
        .fold(0_u32, |sum, digit| (sum * 10 + u32::from(digit.saturating_sub(b'0'))) % 97);
    format!("DE{:02}{bban}", 98 - remainder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digits_of_a_published_iban() {
        // The example in the Bundesbank's and the registry's documentation.
        assert_eq!(german_iban("37040044", 532_013_000), "DE89370400440532013000");
    }
}
