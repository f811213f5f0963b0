//! Against databases that run: an SQLite file, and a PostgreSQL server that each test starts in a folder of its own.

use super::super::SourceDeclarations;
use super::*;
use crate::base::Timestamp;
use crate::base::clock::FixedClock;
use crate::base::postgres::cluster::Cluster;
use std::process::Command;

const FORM: &str = r#"
timeout_ms = 2000
compact = ["iban"]
find = { last_name = "surname", iban = "iban", date_of_birth = "born", card_last4 = "last4" }
[sql.form]
id = "id"
owner = "customer"
authorised = "authorised"
system = ["status", "limit_minor", "surname"]
free_text = ["note"]
"#;

const ROWS: &str = "
INSERT INTO cards (id, customer, surname, iban, born, last4, status, limit_minor, note) VALUES
 (17, 'c1', 'Müller', 'DE123456', '1980-02-03', 4711, 'active', 150000, 'calls often'),
 (18, 'c2', 'von Berg', 'DE99', '1990-12-31', 11, 'locked', NULL, NULL),
 (19, 'c3', 'Müller', NULL, NULL, 4711, 'active', 7, '');
";

fn declared(url: &str, extra: &str) -> SqlDeclaration {
    let text = format!("[[sql]]\nname = \"cards\"\nurl = \"{url}\"\ntable = \"cards\"\n{extra}{FORM}");
    SourceDeclarations::parse("sources.toml", &text).unwrap().sql.remove(0)
}

fn outbound(cluster: &Cluster) -> Outbound {
    Outbound::new([cluster.host()]).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock::at(Timestamp::from_millis(7)))
}

async fn ids(source: &dyn Source, field: &str, value: &str) -> Vec<String> {
    let query = Query { field: field.to_owned(), value: value.to_owned() };
    let hits = source.find(&[query]).await.unwrap().remove(0);
    hits.ids.iter().map(|id| id.as_str().to_owned()).collect()
}

/// What every database has to answer to the same rows.
async fn check(source: &dyn Source) {
    assert_eq!(ids(source, "last_name", "MÜLLER").await, ["17", "19"]);
    assert_eq!(ids(source, "last_name", "von berg").await, ["18"]);
    assert_eq!(ids(source, "iban", "de12 3456").await, ["17"]);
    assert_eq!(ids(source, "date_of_birth", "3.2.1980").await, ["17"]);
    assert!(ids(source, "date_of_birth", "no date at all").await.is_empty());
    assert_eq!(ids(source, "card_last4", "4711").await, ["17", "19"]);
    for value in ["47x1", "99999999999999999999", "'; DROP TABLE cards; --", "%", "\u{1F600}"] {
        assert!(ids(source, "card_last4", value).await.is_empty(), "{value}");
        assert!(ids(source, "last_name", value).await.is_empty(), "{value}");
    }
    let entry = source.entry(&RecordId::new("17")).await.unwrap().unwrap();
    assert_eq!((entry.id.as_str(), entry.owner.as_str()), ("17", "c1"));
    assert_eq!(entry.authorised, [CustomerId::new("c2"), CustomerId::new("c9")]);
    let limit = (entry.fields.get("status"), entry.fields.get("limit_minor"));
    assert_eq!(limit, (Some(&Value::from("active")), Some(&Value::from(150_000))));
    // What a field of the look-up is called otherwise in the table has the field's name, too.
    assert_eq!(entry.fields.get("last_name"), entry.fields.get("surname"));
    assert_eq!(entry.fields.len(), 4);
    assert_eq!(entry.notes.get("note"), Some(&Value::from("calls often")));
    for id in ["20", "x", "17 OR 1=1"] {
        assert_eq!(source.entry(&RecordId::new(id)).await, Ok(None), "{id}");
    }
    let of = async |customer| {
        let hits = source.accounts_of(&CustomerId::new(customer)).await.unwrap();
        hits.ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("c2").await, ["17", "18"]);
    assert_eq!(of("c9").await, ["17"]);
    assert!(of("c").await.is_empty());
}

#[tokio::test]
async fn an_sqlite_file_answers_and_is_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |sql: &str| {
        rusqlite::Connection::open(folder.path().join("cards.db")).unwrap().execute_batch(sql).unwrap();
    };
    write(
        "CREATE TABLE cards (id INTEGER, customer TEXT, authorised TEXT, surname TEXT, iban TEXT, born TEXT, \
         last4 INTEGER, status TEXT, limit_minor INTEGER, note TEXT);",
    );
    write(ROWS);
    let outbound = Outbound::new([]).unwrap();
    let kinds = BTreeMap::from([("last_name".to_owned(), Kind::Name)]);
    for list in ["c2; c9", "[\"c2\", \"c9\"]"] {
        write(&format!("UPDATE cards SET authorised = '{list}' WHERE id = 17"));
        check(
            &*SqlSource::open(&declared("sqlite:cards.db", ""), folder.path(), &outbound, &kinds, &clock())
                .unwrap(),
        )
        .await;
    }
    let declared = declared("sqlite:cards.db", "indexed = true\nreload_s = 60\n");
    let source = SqlSource::open(&declared, folder.path(), &outbound, &kinds, &clock()).unwrap();
    let query = Query { field: "last_name".to_owned(), value: "Müller".to_owned() };
    // Garbled values cannot be found yet, so the list is not all there may be.
    assert!(source.indexed().is_none() && source.find(std::slice::from_ref(&query)).await.unwrap()[0].more);
    assert_eq!(source.reload().await, Some(Duration::from_secs(60)));
    assert_eq!(source.indexed().unwrap().ids.len(), 3);
    assert!(!source.find(&[query]).await.unwrap()[0].more);
    let read_at = source.indexed().unwrap().read_at;
    assert_eq!((read_at, source.indexed().unwrap().stale()), (Some(Timestamp::from_millis(7)), false));
    // A column that is not there is a fault and not a text to compare with.
    let mut wrong = declared.clone();
    wrong.find.insert("last_name".to_owned(), "sirname".to_owned());
    let wrong = SqlSource::open(&wrong, folder.path(), &outbound, &BTreeMap::new(), &clock()).unwrap();
    let sirname = [Query { field: "last_name".to_owned(), value: "sirname".to_owned() }];
    assert_eq!(wrong.find(&sirname).await, Err(SourceError::Refused));
    // Ids that other sources have, too, are kept apart.
    let mut apart = declared.clone();
    apart.form.prefix = "card:".to_owned();
    let apart = SqlSource::open(&apart, folder.path(), &outbound, &BTreeMap::new(), &clock()).unwrap();
    assert_eq!(ids(&*apart, "iban", "DE123456").await, ["card:17"]);
    assert!(apart.may_have(&RecordId::new("card:17")) && !apart.may_have(&RecordId::new("17")));
    assert_eq!(apart.entry(&RecordId::new("card:17")).await.unwrap().unwrap().id.as_str(), "card:17");
    assert_eq!(apart.entry(&RecordId::new("17")).await, Ok(None));
    std::fs::remove_file(folder.path().join("cards.db")).unwrap();
    assert_eq!(source.entry(&RecordId::new("17")).await, Err(SourceError::Refused));
    // What was read stays.
    source.reload().await;
    assert_eq!((source.indexed().unwrap().ids.len(), source.indexed().unwrap().stale()), (3, true));
}

const TABLE: &str = "
CREATE TABLE cards (id bigint PRIMARY KEY, customer varchar(20) NOT NULL, authorised AUTHORISED, surname text,
  iban char(22), born date, last4 integer, status text, limit_minor bigint, note text);
GRANT ALL ON cards TO prokura;
";

#[tokio::test]
async fn a_postgresql_table_answers() {
    let cluster = Cluster::with(&["fsync=off"]);
    std::fs::write(cluster.folder.path().join("password"), "a secret\n").unwrap();
    cluster.run("CREATE USER prokura PASSWORD 'a secret'").await;
    let kinds = BTreeMap::from([("last_name".to_owned(), Kind::Name)]);
    let open = |url: &str, extra: &str| {
        let extra = format!("password_file = \"password\"\n{extra}");
        SqlSource::open(&declared(url, &extra), cluster.folder.path(), &outbound(&cluster), &kinds, &clock())
    };
    // Authorised persons may be a text, a list, or JSON.
    for (kind, list) in
        [("text", "'c2; c9'"), ("text[]", "ARRAY['c2', 'c9']"), ("jsonb", "'[\"c2\", \"c9\"]'::jsonb")]
    {
        let table = TABLE.replace("AUTHORISED", kind);
        let set = format!("UPDATE cards SET authorised = {list} WHERE id = 17");
        cluster.run(&format!("DROP TABLE IF EXISTS cards; {table} {ROWS} {set}")).await;
        check(&*open(&cluster.url("prokura", ""), "").unwrap()).await;
    }
    // Columns of a fixed width are filled up with blanks.
    let wide = TABLE
        .replace("AUTHORISED", "text")
        .replace("id bigint", "id char(8)")
        .replace("varchar(20)", "char(12)");
    let set = "UPDATE cards SET authorised = 'c2; c9' WHERE id = '17'";
    cluster.run(&format!("DROP TABLE cards; {wide} {ROWS} {set}")).await;
    check(&*open(&cluster.url("prokura", ""), "").unwrap()).await;
    // Over TLS, with the server's own certificate as the only authority; and by no other.
    let tls = open(&cluster.url("prokura", ""), "certificate = \"data/server.crt\"\n").unwrap();
    assert_eq!(ids(&*tls, "last_name", "Müller").await, ["17", "19"]);
    let other = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-keyout", "/dev/null", "-out", "other.crt"])
        .current_dir(cluster.folder.path())
        .output()
        .unwrap();
    assert!(other.status.success());
    let foreign = open(&cluster.url("prokura", ""), "certificate = \"other.crt\"\n").unwrap();
    assert_eq!(foreign.entry(&RecordId::new("17")).await, Err(SourceError::Refused));
    // In memory, too.
    let indexed = open(&cluster.url("prokura", ""), "indexed = true\n").unwrap();
    assert_eq!(indexed.reload().await, Some(Duration::from_secs(300)));
    assert_eq!(indexed.indexed().unwrap().ids.len(), 3);
    // A place that is not on the list is refused before there is any connection.
    let elsewhere = Outbound::new([]).unwrap();
    let plain = declared(&cluster.url("prokura", ""), "");
    let refused = SqlSource::open(&plain, cluster.folder.path(), &elsewhere, &kinds, &clock()).err().unwrap();
    assert!(refused.to_string().contains("allow-list"), "{refused}");
}

#[tokio::test]
async fn a_postgresql_server_that_fails_is_told_apart_and_comes_back() {
    let mut cluster = Cluster::with(&["fsync=off"]);
    std::fs::write(cluster.folder.path().join("password"), "a secret").unwrap();
    let table = TABLE.replace("AUTHORISED", "text");
    cluster.run(&format!("CREATE USER prokura PASSWORD 'a secret'; {table} {ROWS}")).await;
    let extra = "password_file = \"password\"\n";
    let of = |text: &str| {
        let text = text.replace("timeout_ms = 2000", "timeout_ms = 300");
        let declared = SourceDeclarations::parse("sources.toml", &text).unwrap().sql.remove(0);
        SqlSource::open(&declared, cluster.folder.path(), &outbound(&cluster), &BTreeMap::new(), &clock())
            .unwrap()
    };
    let text = format!(
        "[[sql]]\nname = \"cards\"\nurl = \"{}\"\ntable = \"cards\"\n{extra}{FORM}",
        cluster.url("prokura", "")
    );
    let source = of(&text);
    assert_eq!(ids(&*source, "last_name", "Müller").await, ["17", "19"]);
    let error = |source: Arc<dyn Source>| async move {
        source.find(&[Query { field: "last_name".into(), value: "Müller".into() }]).await.unwrap_err()
    };
    for (wrong, right) in [
        ("table = \"cards\"", "table = \"carts\""),
        ("\"surname\"", "\"sirname\""),
        ("\"password\"", "\"data/PG_VERSION\""),
    ] {
        assert_eq!(error(of(&text.replace(wrong, right))).await, SourceError::Refused, "{right}");
    }
    // A view with a row that cannot be read has failed: it is not an empty one.
    cluster.run("CREATE VIEW broken AS SELECT *, (1 / (limit_minor - 7)) AS share FROM cards; GRANT ALL ON broken TO prokura").await;
    let broken = of(&text.replace("table = \"cards\"", "table = \"broken\""));
    assert_eq!(error(Arc::clone(&broken)).await, SourceError::Rejected);
    assert_eq!(broken.entry(&RecordId::new("19")).await, Err(SourceError::Rejected));
    // Somebody holds the table: the server gives up when the source's time is over.
    let mut config: tokio_postgres::Config = cluster.url("admin", "").parse().unwrap();
    let (client, connection) = config.password("admin secret").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE cards").await.unwrap();
    assert_eq!(error(Arc::clone(&source)).await, SourceError::TimedOut);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(&*source, "last_name", "Müller").await, ["17", "19"]);
    // Nothing is written, whatever the user may do.
    cluster.run("CREATE VIEW writing AS SELECT * FROM cards; \
        CREATE FUNCTION write() RETURNS bigint LANGUAGE sql AS $$ UPDATE cards SET limit_minor = 0 RETURNING id $$; \
        DROP VIEW writing; CREATE VIEW writing AS SELECT cards.*, write() AS written FROM cards; \
        GRANT ALL ON writing TO prokura").await;
    let writing = of(&text.replace("table = \"cards\"", "table = \"writing\""));
    assert_eq!(error(writing).await, SourceError::Refused);
    // The connections end, and new ones are made.
    cluster.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'prokura'").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ids(&*source, "last_name", "Müller").await, ["17", "19"]);
    let _ = Command::new("kill").args(["-INT", &cluster.server.id().to_string()]).status();
    let _ = cluster.server.wait();
    assert_eq!(error(source).await, SourceError::Refused);
}

#[test]
fn a_url_says_where_and_who_and_holds_no_password() {
    let read = |url: &str, extra: &str| {
        let text = format!("[[sql]]\nname = \"cards\"\nurl = \"{url}\"\ntable = \"cards\"\n{extra}{FORM}");
        SourceDeclarations::parse("sources.toml", &text).map(drop).map_err(|found| found[0].to_string())
    };
    assert!(read("postgres://p@127.0.0.1/db", "").is_ok());
    assert!(read("postgres://p@10.1.1.1/db?sslmode=disable", "").is_ok());
    assert!(read("postgres://p@10.1.1.1/db", "certificate = \"ca.pem\"\n").is_ok());
    let told = read("postgres://p@10.1.1.1/db", "").unwrap_err();
    assert!(told.starts_with("sources.toml:3: `url`") && told.contains("certificate"), "{told}");
    let told = read("postgres://p:secret@10.1.1.1/db", "certificate = \"ca.pem\"\n").unwrap_err();
    assert!(!told.contains("secret") && told.contains("password_file"), "{told}");
    for bad in [
        "postgres://10.1.1.1/db",
        "postgres://p@10.1.1.1",
        "postgres://p@a,b/db",
        "sqlite:",
        "mysql://p@x/y",
        "",
    ] {
        assert!(read(bad, "certificate = \"ca.pem\"\n").is_err(), "{bad}");
    }
    let told = read("sqlite:x.db", "reload_s = 0\n").unwrap_err();
    assert!(told.contains("`reload_s` cannot be `0`"), "{told}");
    let told = read("sqlite:x.db", "limits = { parallel = 0 }\n").unwrap_err();
    assert!(told.contains("`limits.parallel` cannot be `0`; allowed: 1 to 256"), "{told}");
}
