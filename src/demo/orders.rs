//! What the bank can be asked to do, and doing it. The same orders in the same sequence give the same
//! state, so that a restart can repeat them from the log.

use super::account::{
    Account, AccountStatus, Address, Booking, CardStatus, Kind, OrderState, PackageName, Transaction,
    TransferState,
};
use super::bank::Bank;
use super::generate::card_order;
use crate::base::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One order, with everything that was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "tool", content = "arguments", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    CardBlock {
        card: String,
        reason: String,
    },
    CardReplacement {
        card: String,
        address: Address,
    },
    Refund {
        account: String,
        transaction: String,
        amount: Money,
        reason: String,
    },
    ReverseRefund {
        refund: String,
        reason: String,
    },
    AccountUnlock {
        account: String,
    },
    AccountLock {
        account: String,
        reason: String,
    },
    DisputeOpen {
        account: String,
        transaction: String,
        reason: String,
    },
    DisputeWithdraw {
        account: String,
        transaction: String,
        reason: String,
    },
    AddressConfirm {
        account: String,
        address: Address,
    },
    AddressRestore {
        account: String,
        address: Address,
    },
    PackageCancel {
        account: String,
    },
    PackageRestore {
        account: String,
        reason: String,
    },
    TransferTrace {
        account: String,
        transfer: String,
    },
    TransferTraceClose {
        account: String,
        transfer: String,
        reason: String,
    },
    TransferCancel {
        account: String,
        transfer: String,
    },
    TransferRelease {
        account: String,
        transfer: String,
        reason: String,
    },
    TicketOpen {
        queue: String,
        summary: String,
        details: String,
        customer: Option<String>,
        account: Option<String>,
    },
    TicketClose {
        ticket: String,
        reason: String,
    },
}

impl Order {
    /// The tool that it is an order of.
    pub const fn tool(&self) -> &'static str {
        match self {
            Self::CardBlock { .. } => "card_block",
            Self::CardReplacement { .. } => "card_replacement",
            Self::Refund { .. } => "refund",
            Self::ReverseRefund { .. } => "reverse_refund",
            Self::AccountUnlock { .. } => "account_unlock",
            Self::AccountLock { .. } => "account_lock",
            Self::DisputeOpen { .. } => "dispute_open",
            Self::DisputeWithdraw { .. } => "dispute_withdraw",
            Self::AddressConfirm { .. } => "address_confirm",
            Self::AddressRestore { .. } => "address_restore",
            Self::PackageCancel { .. } => "package_cancel",
            Self::PackageRestore { .. } => "package_restore",
            Self::TransferTrace { .. } => "transfer_trace",
            Self::TransferTraceClose { .. } => "transfer_trace_close",
            Self::TransferCancel { .. } => "transfer_cancel",
            Self::TransferRelease { .. } => "transfer_release",
            Self::TicketOpen { .. } => "ticket_open",
            Self::TicketClose { .. } => "ticket_close",
        }
    }
}

/// The lock that ends when the customer has shown who they are.
pub const TOO_MANY_FAILED_LOGINS: &str = "too_many_failed_logins";

/// The lock that a customer asked for.
pub const ASKED_BY_CUSTOMER: &str = "asked_by_customer";

/// A refund that was booked.
#[derive(Clone, Debug)]
pub struct Refund {
    pub account: String,
    pub transaction: String,
    pub amount: Money,
    pub reversed: bool,
}

/// Why nothing was done.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    /// The thing acted upon does not exist.
    Unknown(&'static str),
    /// It exists and does not allow this.
    Impossible(&'static str),
}

/// Carries an order out as effect number `effect`, or leaves everything as it was.
pub fn carry_out(bank: &mut Bank, order: &Order, effect: u64, at: Timestamp) -> Result<Value, Refusal> {
    match order {
        Order::CardBlock { card, .. } => block(bank, card, at),
        Order::CardReplacement { card, address } => replace(bank, card, address, effect, at),
        Order::Refund { account, transaction, amount, .. } => {
            refund(bank, (account, transaction), *amount, effect, at)
        }
        Order::ReverseRefund { refund, .. } => reverse(bank, refund),
        Order::AccountUnlock { account } => unlock(bank, account, at),
        Order::AccountLock { account, reason } => lock(bank, account, reason, at),
        Order::DisputeOpen { account, transaction, .. } => dispute(bank, account, transaction, true),
        Order::DisputeWithdraw { account, transaction, .. } => dispute(bank, account, transaction, false),
        Order::AddressConfirm { account, address } => confirm_address(bank, account, address, at),
        Order::AddressRestore { account, address } => restore_address(bank, account, address),
        Order::PackageCancel { account } => change_package(bank, account, Some(PackageName::Basic)),
        Order::PackageRestore { account, .. } => change_package(bank, account, None),
        Order::TransferTrace { account, transfer } => trace(bank, account, transfer, true),
        Order::TransferTraceClose { account, transfer, .. } => trace(bank, account, transfer, false),
        Order::TransferCancel { account, transfer } => hold(bank, account, transfer, true),
        Order::TransferRelease { account, transfer, .. } => hold(bank, account, transfer, false),
        Order::TicketOpen { queue, summary, details, customer, account } => {
            let id = format!("tic_{effect:06}");
            let ticket = json!({"id": id, "queue": queue, "summary": summary, "details": details,
                "customer": customer, "account": account, "status": "open", "opened_at": at});
            bank.tickets.insert(id.clone(), ticket);
            Ok(json!({"ticket": id, "status": "open"}))
        }
        Order::TicketClose { ticket, .. } => {
            let open = bank.tickets.get_mut(ticket).ok_or(Refusal::Unknown("ticket"))?;
            if let Some(status) = open.get_mut("status") {
                *status = json!("closed");
            }
            Ok(json!({"ticket": ticket, "status": "closed"}))
        }
    }
}

fn block(bank: &mut Bank, card: &str, at: Timestamp) -> Result<Value, Refusal> {
    let account = bank.account_of_card(card).ok_or(Refusal::Unknown("card"))?;
    let held = account.cards.iter_mut().find(|held| held.id == card).ok_or(Refusal::Unknown("card"))?;
    held.status = CardStatus::Blocked;
    Ok(json!({"card": card, "status": "blocked", "blocked_at": at}))
}

fn replace(bank: &mut Bank, card: &str, to: &Address, effect: u64, at: Timestamp) -> Result<Value, Refusal> {
    let account = bank.account_of_card(card).ok_or(Refusal::Unknown("card"))?;
    let held = account.cards.iter_mut().find(|held| held.id == card).ok_or(Refusal::Unknown("card"))?;
    let mut order = card_order(0, OrderState::Ordered, at, 0);
    order.id = format!("ord_{effect:06}");
    order.ordered_at = at;
    let result = json!({"order": order.id, "card": card, "state": "ordered",
        "expected_by": order.expected_by, "city": to.city});
    held.order = Some(order);
    Ok(result)
}

fn refund(
    bank: &mut Bank,
    (account, transaction): (&str, &str),
    amount: Money,
    effect: u64,
    at: Timestamp,
) -> Result<Value, Refusal> {
    let held = bank.account_mut(account).ok_or(Refusal::Unknown("account"))?;
    let charged = charge(held, transaction)?;
    if charged.status != Booking::Booked {
        return Err(Refusal::Impossible("only a booked charge that was not refunded yet can be refunded"));
    }
    if amount.currency != charged.amount.currency || amount.minor <= 0 || amount.minor > charged.amount.minor
    {
        return Err(Refusal::Impossible("the amount is more than was charged, or in another currency"));
    }
    charged.status = Booking::Refunded;
    let merchant = charged.merchant.clone();
    let id = format!("ref_{effect:06}");
    held.balance.minor += amount.minor;
    let credit = Transaction {
        id: id.clone(),
        kind: Kind::Credit,
        merchant,
        amount,
        base: None,
        booked_at: at,
        status: Booking::Booked,
    };
    held.transactions.insert(0, credit);
    let booked =
        Refund { account: account.to_owned(), transaction: transaction.to_owned(), amount, reversed: false };
    bank.refunds.insert(id.clone(), booked);
    Ok(
        json!({"refund": id, "account": account, "transaction": transaction, "amount": amount, "status": "booked"}),
    )
}

/// What several wrong passwords locked; a lock of the bank's security stays.
fn unlock(bank: &mut Bank, id: &str, at: Timestamp) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    match (held.status, held.lock_reason) {
        (AccountStatus::Locked, Some(TOO_MANY_FAILED_LOGINS)) => {
            held.status = AccountStatus::Active;
            held.lock_reason = None;
            Ok(json!({"account": id, "status": "active", "unlocked_at": at}))
        }
        (AccountStatus::Locked, _) => {
            Err(Refusal::Impossible("only what failed logins locked is unlocked here"))
        }
        (AccountStatus::Active, _) => Err(Refusal::Impossible("the account is not locked")),
    }
}

/// What a customer asked for is not opened again by an unlock; what undoes an unlock is.
fn lock(bank: &mut Bank, id: &str, reason: &str, at: Timestamp) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    if held.status == AccountStatus::Active {
        held.status = AccountStatus::Locked;
        let asked = reason == ASKED_BY_CUSTOMER;
        held.lock_reason = Some(if asked { ASKED_BY_CUSTOMER } else { TOO_MANY_FAILED_LOGINS });
    }
    Ok(json!({"account": id, "status": "locked", "locked_at": at}))
}

fn dispute(bank: &mut Bank, id: &str, transaction: &str, open: bool) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    let charged = charge(held, transaction)?;
    let (from, to) =
        if open { (Booking::Booked, Booking::Disputed) } else { (Booking::Disputed, Booking::Booked) };
    if charged.status != from {
        return Err(Refusal::Impossible(
            "the charge is not one that can be disputed, or withdrawn, as it is",
        ));
    }
    charged.status = to;
    Ok(json!({"transaction": transaction, "account": id, "status": if open { "open" } else { "withdrawn" }}))
}

/// The address becomes what the customer entered; what it was is told, so that it can be restored.
fn confirm_address(bank: &mut Bank, id: &str, address: &Address, at: Timestamp) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    if held.pending_address.as_ref() != Some(address) {
        return Err(Refusal::Impossible("this address does not wait to be confirmed"));
    }
    let before = std::mem::replace(&mut held.address, address.clone());
    held.postcode.clone_from(&address.postcode);
    held.pending_address = None;
    held.address_changed_at = Some(at);
    Ok(json!({"account": id, "status": "confirmed", "before": before}))
}

fn restore_address(bank: &mut Bank, id: &str, address: &Address) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    let confirmed = std::mem::replace(&mut held.address, address.clone());
    held.postcode.clone_from(&address.postcode);
    held.pending_address = Some(confirmed);
    Ok(json!({"account": id, "status": "restored"}))
}

fn change_package(bank: &mut Bank, id: &str, to: Option<PackageName>) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    if to.is_some() && held.package.name == PackageName::Basic {
        return Err(Refusal::Impossible("the account has no package that could be given up"));
    }
    held.package.change = to;
    let status = if to.is_some() { "scheduled" } else { "restored" };
    Ok(json!({"account": id, "status": status, "from": held.package.renews_on}))
}

/// Only what was not sent yet is cancelled, and only what was cancelled goes out after all.
fn hold(bank: &mut Bank, id: &str, transfer: &str, cancel: bool) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    let found = held.transfers.iter_mut().find(|held| held.id == transfer);
    let found = found.ok_or(Refusal::Unknown("transfer"))?;
    let (pending, cancelled) = (TransferState::Pending, TransferState::Cancelled);
    let (from, to) = if cancel { (pending, cancelled) } else { (cancelled, pending) };
    if found.state != from {
        return Err(Refusal::Impossible(
            "the transfer is not one that can be cancelled, or released, as it is",
        ));
    }
    found.state = to;
    Ok(json!({"transfer": transfer, "account": id, "status": to}))
}

fn trace(bank: &mut Bank, id: &str, transfer: &str, open: bool) -> Result<Value, Refusal> {
    let held = bank.account_mut(id).ok_or(Refusal::Unknown("account"))?;
    let found = held.transfers.iter_mut().find(|held| held.id == transfer);
    let found = found.ok_or(Refusal::Unknown("transfer"))?;
    if found.state != TransferState::Executed {
        return Err(Refusal::Impossible("only a transfer that was executed is traced"));
    }
    found.traced = open;
    Ok(json!({"transfer": transfer, "account": id, "status": if open { "open" } else { "closed" }}))
}

fn reverse(bank: &mut Bank, id: &str) -> Result<Value, Refusal> {
    let refund = bank.refunds.get(id).cloned().ok_or(Refusal::Unknown("refund"))?;
    if refund.reversed {
        return Err(Refusal::Impossible("the refund was reversed before"));
    }
    let held = bank.account_mut(&refund.account).ok_or(Refusal::Unknown("account"))?;
    charge(held, &refund.transaction)?.status = Booking::Booked;
    held.balance.minor -= refund.amount.minor;
    held.transactions.retain(|transaction| transaction.id != id);
    if let Some(booked) = bank.refunds.get_mut(id) {
        booked.reversed = true;
    }
    Ok(json!({"refund": id, "status": "reversed"}))
}

fn charge<'a>(account: &'a mut Account, id: &str) -> Result<&'a mut Transaction, Refusal> {
    let found = account.transactions.iter_mut().find(|held| held.id == id && held.kind != Kind::Credit);
    found.ok_or(Refusal::Unknown("transaction"))
}

#[cfg(test)]
mod tests {
    use super::super::switches::Switches;
    use super::*;
    use crate::base::Currency;

    const DAY: Timestamp = Timestamp::from_millis(1_790_035_200_000);

    fn refund_of(minor: i64) -> Order {
        Order::Refund {
            account: "acc_015".to_owned(),
            transaction: "txn_015_91".to_owned(),
            amount: Money::new(minor, Currency::EUR),
            reason: "charged twice".to_owned(),
        }
    }

    #[test]
    fn a_refund_and_its_reversal_leave_the_account_as_it_was() {
        let mut bank = Bank::new(1, DAY);
        let switches = Switches::default();
        let seen = |bank: &Bank| serde_json::to_value(bank.account("acc_015", &switches)).unwrap();
        let before = seen(&bank);
        assert_eq!(carry_out(&mut bank, &refund_of(4_999), 1, DAY).unwrap()["refund"], "ref_000001");
        assert_ne!(seen(&bank), before);
        let undo = Order::ReverseRefund { refund: "ref_000001".to_owned(), reason: "mistake".to_owned() };
        carry_out(&mut bank, &undo, 2, DAY).unwrap();
        assert_eq!(seen(&bank), before);
        assert!(matches!(carry_out(&mut bank, &undo, 3, DAY), Err(Refusal::Impossible(_))));
    }

    #[test]
    fn a_charge_is_refunded_once_and_never_beyond_what_was_charged() {
        let mut bank = Bank::new(1, DAY);
        assert!(matches!(carry_out(&mut bank, &refund_of(5_000), 1, DAY), Err(Refusal::Impossible(_))));
        carry_out(&mut bank, &refund_of(4_999), 1, DAY).unwrap();
        assert!(matches!(carry_out(&mut bank, &refund_of(4_999), 2, DAY), Err(Refusal::Impossible(_))));
    }

    #[test]
    fn what_failed_logins_locked_is_unlocked_and_nothing_else() {
        let mut bank = Bank::new(1, DAY);
        let locked = |bank: &mut Bank, reason| {
            let held = bank.account_mut("acc_015").unwrap();
            (held.status, held.lock_reason) = (AccountStatus::Locked, Some(reason));
        };
        let unlock = Order::AccountUnlock { account: "acc_015".to_owned() };
        assert!(matches!(carry_out(&mut bank, &unlock, 1, DAY), Err(Refusal::Impossible(_))));
        locked(&mut bank, "card_problem");
        assert!(matches!(carry_out(&mut bank, &unlock, 2, DAY), Err(Refusal::Impossible(_))));
        locked(&mut bank, TOO_MANY_FAILED_LOGINS);
        assert_eq!(carry_out(&mut bank, &unlock, 3, DAY).unwrap()["status"], "active");
        let lock = Order::AccountLock { account: "acc_015".to_owned(), reason: "undone".to_owned() };
        assert_eq!(carry_out(&mut bank, &lock, 4, DAY).unwrap()["status"], "locked");
        assert_eq!(carry_out(&mut bank, &unlock, 5, DAY).unwrap()["status"], "active");
    }

    #[test]
    fn a_blocked_card_stays_blocked_and_a_replacement_is_on_order() {
        let mut bank = Bank::new(1, DAY);
        let order = Order::CardBlock { card: "card_006".to_owned(), reason: "lost".to_owned() };
        carry_out(&mut bank, &order, 1, DAY).unwrap();
        let address = bank.account("acc_006", &Switches::default()).unwrap().address;
        let order = Order::CardReplacement { card: "card_006".to_owned(), address };
        carry_out(&mut bank, &order, 2, DAY).unwrap();
        let card = bank.account("acc_006", &Switches::default()).unwrap().cards.remove(0);
        assert_eq!(card.status, CardStatus::Blocked);
        assert_eq!(card.order.unwrap().id, "ord_000002");
        let unknown = Order::CardBlock { card: "card_0".to_owned(), reason: "lost".to_owned() };
        assert_eq!(carry_out(&mut bank, &unknown, 3, DAY), Err(Refusal::Unknown("card")));
    }
}
