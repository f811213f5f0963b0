//! What was done of late, or is intended: rules limit it, so that no splitting and no two cases at once pass a limit.

use crate::base::{CustomerId, Money, RecordId};
use serde::{Deserialize, Serialize};

/// How often, and how much of one currency in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Sum {
    pub count: i64,
    pub amount: i64,
}

impl Sum {
    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            amount: self.amount.saturating_add(other.amount),
        }
    }
}

/// Over the hour that runs and the 24, or the 720, before it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Window {
    pub day: Sum,
    pub month: Sum,
}

impl Window {
    fn plus(self, other: Self) -> Self {
        Self { day: self.day.plus(other.day), month: self.month.plus(other.month) }
    }
}

/// Where an effect counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything that is done for a customer.
    Customer(CustomerId),
    /// Everything that is done to a record.
    Account(RecordId),
    /// A tool, for one customer.
    Tool { tool: String, customer: CustomerId },
    /// A tool, for everybody.
    Bank(String),
}

impl Scope {
    /// The scopes of a call, of everything that counts towards its totals.
    pub fn of_call(tool: &str, customer: &CustomerId, account: &RecordId) -> [Self; 4] {
        [
            Self::Customer(customer.clone()),
            Self::Account(account.clone()),
            Self::Tool { tool: tool.to_owned(), customer: customer.clone() },
            Self::Bank(tool.to_owned()),
        ]
    }

    /// One name for each.
    pub fn name(&self) -> String {
        match self {
            Self::Customer(customer) => format!("customer {customer}"),
            Self::Account(record) => format!("account {record}"),
            Self::Tool { tool, customer } => format!("tool {tool} {customer}"),
            Self::Bank(tool) => format!("bank {tool}"),
        }
    }
}

/// What counts in a scope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counted {
    pub scope: Scope,
    /// ISO 4217; empty where nothing is paid.
    pub currency: String,
    #[serde(flatten)]
    pub window: Window,
}

/// Everything that counted when it was looked up.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Totals(pub Vec<Counted>);

impl Totals {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts a call that is intended.
    pub fn add(&mut self, scopes: &[Scope], amount: Option<Money>) {
        self.change(scopes, amount, 1);
    }

    /// A call that certainly came to nothing counts no longer.
    pub fn subtract(&mut self, scopes: &[Scope], amount: Option<Money>) {
        self.change(scopes, amount, -1);
    }

    fn change(&mut self, scopes: &[Scope], amount: Option<Money>, sign: i64) {
        let one = Sum { count: sign, amount: amount.map_or(0, |amount| amount.minor).saturating_mul(sign) };
        let one = Window { day: one, month: one };
        let currency = amount.as_ref().map_or("", |amount| amount.currency.code());
        for scope in scopes {
            let known = self.0.iter_mut().find(|known| known.scope == *scope && known.currency == currency);
            match known {
                Some(known) => known.window = known.window.plus(one),
                None if sign > 0 => {
                    self.0.push(Counted { scope: scope.clone(), currency: currency.to_owned(), window: one })
                }
                None => {}
            }
        }
    }

    /// The window of a scope: how often in all currencies, how much in this one.
    fn window(&self, scope: &Scope, currency: &str) -> Window {
        let of = self.0.iter().filter(|known| known.scope == *scope);
        of.fold(Window::default(), |sum, known| {
            let mut window = known.window;
            if known.currency != currency {
                (window.day.amount, window.month.amount) = (0, 0);
            }
            sum.plus(window)
        })
    }

    /// What rules compare with limits: the totals of these scopes in the order of [`Scope::of_call`].
    pub fn of(&self, scopes: &[Scope; 4], amount: Option<Money>) -> Spent {
        let currency = amount.as_ref().map_or("", |amount| amount.currency.code());
        let [customer, account, tool, bank] = scopes.each_ref().map(|scope| self.window(scope, currency));
        Spent { customer, account, tool, bank }
    }
}

/// The totals of a call, itself included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Spent {
    pub customer: Window,
    pub account: Window,
    pub tool: Window,
    pub bank: Window,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Currency;

    fn euro(minor: i64) -> Option<Money> {
        Some(Money { minor, currency: Currency::parse("EUR").unwrap() })
    }

    fn scopes(tool: &str) -> [Scope; 4] {
        Scope::of_call(tool, &CustomerId::new("cus_1"), &RecordId::new("acc_1"))
    }

    #[test]
    fn amounts_count_in_their_own_currency_and_calls_in_every_one() {
        let mut totals = Totals::default();
        totals.add(&scopes("refund"), euro(500));
        totals.add(&scopes("refund"), Some(Money { minor: 70, currency: Currency::parse("CHF").unwrap() }));
        totals.add(&scopes("card_block"), None);
        let spent = totals.of(&scopes("refund"), euro(1));
        assert_eq!(spent.customer.day, Sum { count: 3, amount: 500 });
        assert_eq!(spent.tool.month, Sum { count: 2, amount: 500 });
        assert_eq!(totals.of(&scopes("card_block"), None).bank.day, Sum { count: 1, amount: 0 });
        let other = Scope::of_call("refund", &CustomerId::new("cus_2"), &RecordId::new("acc_1"));
        let spent = totals.of(&other, euro(1));
        assert_eq!((spent.customer.day.count, spent.account.day.count, spent.bank.day.count), (0, 3, 2));
    }

    #[test]
    fn what_came_to_nothing_is_taken_off_and_nothing_overflows() {
        let mut totals = Totals::default();
        totals.add(&scopes("refund"), euro(i64::MAX));
        totals.add(&scopes("refund"), euro(i64::MAX));
        assert_eq!(totals.of(&scopes("refund"), euro(1)).bank.day.amount, i64::MAX);
        let mut totals = Totals::default();
        totals.add(&scopes("refund"), euro(5));
        totals.subtract(&scopes("refund"), euro(5));
        assert_eq!(totals.of(&scopes("refund"), euro(1)), Spent::default());
        totals.subtract(&scopes("other"), euro(5));
        assert_eq!(totals.of(&scopes("other"), euro(1)).tool, Window::default());
    }
}
