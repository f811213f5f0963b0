use super::*;

const SHIPPED: &str = include_str!("../../config/tools.toml");

#[test]
fn the_shipped_tools_are_sound_and_undo_each_other() {
    let mut tools = Tools::parse("tools.toml", SHIPPED).unwrap();
    let risks: Vec<_> = tools.by_name.iter().map(|(name, tool)| (name.as_str(), tool.risk)).collect();
    assert_eq!(
        risks,
        [
            ("account_lock", Risk::Protective),
            ("account_unlock", Risk::Reversible),
            ("address_confirm", Risk::Reversible),
            ("address_restore", Risk::Protective),
            ("card_block", Risk::Protective),
            ("card_replacement", Risk::Irreversible),
            ("dispute_open", Risk::Reversible),
            ("dispute_withdraw", Risk::Protective),
            ("package_cancel", Risk::Reversible),
            ("package_restore", Risk::Protective),
            ("refund", Risk::Money),
            ("reverse_refund", Risk::Irreversible),
            ("ticket_close", Risk::Protective),
            ("ticket_open", Risk::Reversible),
            ("transfer_cancel", Risk::Reversible),
            ("transfer_release", Risk::Irreversible),
            ("transfer_trace", Risk::Reversible),
            ("transfer_trace_close", Risk::Protective),
        ]
    );
    let refund = &tools.by_name["refund"];
    assert_eq!(refund.compensation, Compensation::Tool("reverse_refund".to_owned()));
    assert_eq!(refund.arguments().len(), 4);
    assert_eq!(tools.by_name["card_block"].path_arguments(), ["card"]);
    assert!(tools.set_system("core_bank", "http://127.0.0.1:1/") && !tools.set_system("x", "http://y"));
    assert_eq!(tools.systems["core_bank"], "http://127.0.0.1:1");
}

/// One planted fault, and what the finding must say.
#[test]
fn each_fault_is_found_with_its_line_and_what_is_allowed() {
    let cases = [
        ("path = \"/cards/{card}/block\"", "path = \"/cards/{crad}/block\"", "{crad}"),
        ("timeout_ms = 3000", "timeout_ms = 0", "1 to 60000"),
        ("retries = 2", "retries = 99", "0 to 10"),
        ("system = \"core_bank\"", "system = \"core\"", "core_bank"),
        ("method = \"POST\"", "method = \"GET\"", "read"),
        ("method = \"POST\"", "method = \"HEAD\"", "HEAD"),
        ("risk = \"protective\"", "risk = \"\"", "chosen by a person"),
        ("scope = \"cards:block\"", "scope = \"\"", "must cover"),
        ("window_seconds = 86400", "window_seconds = 0", "remembers"),
        ("scope = \"cards:block\"", "stale_ms = 5\nscope = \"cards:block\"", "\"read\""),
        ("scope = \"cards:block\"", "parallel = 0\nscope = \"cards:block\"", "1 to 1000"),
        ("scope = \"cards:block\"", "free = [\"card\"]\nscope = \"cards:block\"", "not in the path"),
        ("scope = \"refunds:write\"", "free = [\"amount\"]\nscope = \"refunds:write\"", "texts of the input"),
        ("open_ms = 20000", "open_ms = 20000\nprobes = 0", "1 to 100"),
        ("[breaker]", "[retry_budget]\npercent = 101\n[breaker]", "0 to 100"),
        ("[breaker]", "[auth]\ncore = { bearer = \"file:t\" }\n[breaker]", "core_bank"),
        ("[breaker]", "[auth]\ncore_bank = { bearer = \"t0p\" }\n[breaker]", "file:PATH"),
        (
            "limit = { minor = 500000, currency = \"EUR\" }",
            "limit = [{ minor = 1, currency = \"EUR\" }, { minor = 2, currency = \"EUR\" }]",
            "two amounts",
        ),
        ("limit = { minor = 500000, currency = \"EUR\" }", "limit = []", "one amount for each"),
        ("limit = { minor = 500000, currency", "limit = { minor = 0, currency", "from 1 on"),
        ("on_ambiguous = \"query\"\nquery = ", "on_ambiguous = \"query\"\n#", "`query`"),
        ("path = \"/effects/{key}\"", "path = \"/effects/{id}\"", "{key}"),
        ("compensation = \"reverse_refund\"", "compensation = \"reverse_refnd\"", "reverse_refund"),
        ("compensation = \"reverse_refund\"", "compensation = \"none\"", "a tool"),
        ("compensation_reason = \"a blocked", "scope2 = \"a blocked", "scope2"),
        ("additionalProperties = false\nproperties.card", "properties.card", "additionalProperties"),
        ("name = \"refund\"", "name = \"card_block\"", "no other tool"),
        ("{ type = \"string\", pattern = \"^[A-Za-z", "{ type = \"strong\", pattern = \"^[A-Za-z", "schema"),
        (
            "limit = { minor = 500000, currency = \"EUR\" }",
            "limit = { minor = 1.5, currency = \"EUR\" }",
            "1.5",
        ),
        ("failures = 5", "failures = 0", "1 to 1000"),
    ];
    for (from, to, told) in cases {
        assert!(SHIPPED.contains(from), "{from}");
        let found = Tools::parse("tools.toml", &SHIPPED.replacen(from, to, 1)).unwrap_err();
        let line = SHIPPED.split(from).next().unwrap().matches('\n').count() + 1;
        let near =
            found.iter().any(|finding| finding.line.abs_diff(line) <= 4 && finding.message.contains(told));
        assert!(near, "{to} at line {line}: {found:?}");
    }
}

#[test]
fn a_tool_needs_no_more_than_its_credential_covers() {
    let with = |scopes: &str| {
        let auth =
            format!("[auth]\ncore_bank = {{ bearer = \"file:core.token\", scopes = [{scopes}] }}\n[breaker]");
        Tools::parse("tools.toml", &SHIPPED.replacen("[breaker]", &auth, 1))
    };
    let shipped = Tools::parse("tools.toml", SHIPPED).unwrap();
    let scopes: BTreeSet<String> =
        shipped.by_name.values().map(|tool| format!("\"{}\"", tool.scope)).collect();
    let listed = |scopes: &BTreeSet<String>| scopes.iter().cloned().collect::<Vec<_>>().join(", ");
    let tools = with(&listed(&scopes)).unwrap();
    assert!(tools.auth_of(&tools.by_name["refund"]).is_some());
    assert_eq!(tools.credentials().map(|(whose, _)| whose).collect::<Vec<_>>(), ["[auth] `core_bank`"]);
    let mut fewer = scopes.clone();
    assert!(fewer.remove("\"refunds:write\""));
    let found = with(&listed(&fewer)).unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].message.contains("refunds:write") && found[0].message.contains("tickets:write"));
    // A tool's own credential stands in the place of the system's.
    let own = SHIPPED.replacen(
        "scope = \"cards:block\"",
        "scope = \"cards:block\"\nauth = { header = \"X-Api-Key\", secret = \"env:KEY\", scopes = [\"cards:read\"] }",
        1,
    );
    let found = Tools::parse("tools.toml", &own).unwrap_err();
    assert!(
        found[0].message.contains("`cards:block`") && found[0].message.contains("cards:read"),
        "{found:?}"
    );
}

#[test]
fn a_limit_is_one_amount_or_one_for_each_currency() {
    let money = |minor, code| Some(Money::new(minor, crate::base::Currency::parse(code).unwrap()));
    let tools = Tools::parse("tools.toml", SHIPPED).unwrap();
    let refund = &tools.by_name["refund"];
    assert!(refund.within_limit(money(500_000, "EUR")) && !refund.within_limit(money(500_001, "EUR")));
    assert!(!refund.within_limit(money(1, "CHF")) && !refund.within_limit(None));
    assert!(tools.by_name["card_block"].within_limit(None) && !refund.restores_access);
    let two = SHIPPED.replacen(
        "limit = { minor = 500000, currency = \"EUR\" }",
        "limit = [{ minor = 500000, currency = \"EUR\" }, { minor = 500, currency = \"CHF\" }]\nrestores_access = true",
        1,
    );
    let tools = Tools::parse("tools.toml", &two).unwrap();
    let refund = &tools.by_name["refund"];
    assert!(refund.restores_access);
    assert!(refund.within_limit(money(500, "CHF")) && !refund.within_limit(money(501, "CHF")));
    assert!(!refund.within_limit(money(1, "USD")));
}

#[test]
fn tools_of_one_machine_share_it() {
    let mut tools = Tools::parse("tools.toml", SHIPPED).unwrap();
    tools.set_system("core_bank", "https://core.bank.example:8443/v2");
    assert_eq!(tools.machine(&tools.by_name["refund"]), "https://core.bank.example:8443");
    assert_eq!(tools.breaker.probes, 1);
    assert_eq!(tools.retry_budget, RetrySettings { percent: 10, reserve: 10 });
}

#[test]
fn retry_needs_a_key_that_is_remembered() {
    let tickets = SHIPPED.find("name = \"ticket_open\"").unwrap();
    let (head, tail) = SHIPPED.split_at(tickets);
    let tail = tail.replacen("idempotency = ", "# ", 1).replacen("\"query\"", "\"retry\"", 1);
    let bad = format!("{head}{tail}");
    let found = Tools::parse("tools.toml", &bad).unwrap_err();
    assert!(found[0].message.contains("`idempotency`"), "{found:?}");
}
