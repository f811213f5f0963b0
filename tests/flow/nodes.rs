//! Several nodes share a ledger on PostgreSQL.

use crate::stage::cluster::Cluster;
use crate::stage::{Stage, engine, incoming, shown, verified};
use prokura::base::outbound::Outbound;
use prokura::base::{CaseId, ids};
use prokura::cases::{Cases, Status};
use prokura::ledger::store::OPTIONS;
use prokura::ledger::{Database, Ledger, LedgerSettings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const MESSAGE: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";

fn ledger(cluster: &Cluster, state: &Path) -> Ledger {
    let of = |name: &str| Database {
        url: format!("postgres://admin@{}/{name}", cluster.host()),
        password_file: Some("admin".into()),
        certificate: None,
    };
    let settings = LedgerSettings {
        postgres: Some(of("ledger")),
        key_database: Some(of("keys")),
        master_key: Some(cluster.folder.path().join("master.key")),
        ..LedgerSettings::default()
    };
    let outbound = Outbound::new([cluster.host()]).unwrap();
    settings.connect(state, cluster.folder.path(), &outbound).unwrap()
}

/// Two nodes with state directories of their own and the same keys.
async fn two_nodes(stage: &Stage) -> (Cluster, [Arc<Ledger>; 2], [Cases; 2]) {
    let cluster = Cluster::with(&["fsync=on"]);
    cluster.run("CREATE DATABASE ledger").await;
    cluster.run("CREATE DATABASE keys").await;
    std::fs::write(cluster.folder.path().join("master.key"), "0f".repeat(32)).unwrap();
    let states = ["one", "two"].map(|name| stage.directory.path().join(name));
    let first = Arc::new(ledger(&cluster, &states[0]));
    std::fs::create_dir_all(states[1].join("keys")).unwrap();
    std::fs::copy(states[0].join("keys/log.key"), states[1].join("keys/log.key")).unwrap();
    let second = Arc::new(ledger(&cluster, &states[1]));
    let nodes = [&first, &second].map(|ledger| engine(stage.bank, Arc::clone(ledger)));
    (cluster, [first, second], nodes)
}

async fn resolved(cases: &Cases, case: &CaseId) {
    for _ in 0..200 {
        let state = cases.state(case).await.unwrap();
        if state.status != Status::Running {
            assert_eq!(state.status, Status::Resolved, "{}", shown(&state));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{case} was not finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_leaves_is_finished_by_another_and_what_it_has_is_not_touched() {
    let stage = Stage::new().await;
    let (_cluster, ledgers, [one, two]) = two_nodes(&stage).await;
    let case = CaseId::new(ids::fresh("case"));
    one.accept(incoming(case.clone(), MESSAGE, verified("cus_015"))).await.unwrap();
    // The first node has claimed it: nobody else takes it, or drives it.
    assert_eq!(two.recover().await.unwrap(), 0);
    assert_eq!(two.drive(&case).await.unwrap().length, 1);
    drop(one);
    assert_eq!(two.recover().await.unwrap(), 1);
    resolved(&two, &case).await;
    assert_eq!(stage.effects().len(), 1);
    for ledger in ledgers {
        ledger.sign().unwrap();
        let found = ledger.verify(&[], true).unwrap();
        assert_eq!((found.damage, found.unsigned), (None, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_work_and_every_case_ends_once() {
    let stage = Stage::new().await;
    let (_cluster, ledgers, nodes) = two_nodes(&stage).await;
    let mut cases = Vec::new();
    for n in 0..12 {
        let case = CaseId::new(ids::fresh("case"));
        // One node takes the message, and both try to be the one that works on it.
        let message = incoming(case.clone(), "Wie hoch ist mein Kontostand?", verified("cus_015"));
        nodes[n % 2].accept(message).await.unwrap();
        nodes.iter().for_each(|node| node.start(case.clone()));
        cases.push(case);
    }
    for case in &cases {
        resolved(&nodes[0], case).await;
        let entries = nodes[1].entries(case).await.unwrap();
        let replies = entries.iter().filter(|entry| entry.kind == "replied").count();
        assert_eq!(replies, 1, "{case}");
    }
    std::thread::scope(|scope| {
        ledgers.iter().for_each(|ledger| drop(scope.spawn(|| ledger.sign().unwrap())));
    });
    let found = ledgers[0].verify(&[], true).unwrap();
    assert_eq!((found.damage, found.unsigned), (None, 0));
}

#[tokio::test]
async fn a_node_that_stands_still_in_a_transaction_keeps_its_rows_from_nobody() {
    let cluster = Cluster::with(&["fsync=off"]);
    cluster.run("CREATE TABLE rows (n int); INSERT INTO rows VALUES (1)").await;
    let mut config: tokio_postgres::Config = cluster.url("admin", "").parse().unwrap();
    config.password("admin secret").options(OPTIONS);
    let (still, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    still.batch_execute("BEGIN; UPDATE rows SET n = 2").await.unwrap();
    // Less than a lease: whoever takes the case over gets its row.
    cluster.run("SET lock_timeout = 14000; UPDATE rows SET n = 3").await;
    assert!(still.batch_execute("COMMIT").await.is_err());
}
