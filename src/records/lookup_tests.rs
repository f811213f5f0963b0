use super::*;
use crate::base::clock::FixedClock;
use futures::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Map, json};
use std::collections::HashMap;

/// Owner, authorised, values by field.
type Held = (String, Vec<String>, HashMap<String, String>);

/// A source in memory whose answers can be spoilt.
#[derive(Default)]
struct Memory {
    name: &'static str,
    records: BTreeMap<String, Held>,
    /// What happens instead of an answer: to every query, or to those for one field.
    spoilt: Option<(Option<&'static str>, Spoilt)>,
    lies_about_accounts: bool,
}

#[derive(Clone, Copy)]
enum Spoilt {
    Fails(SourceError),
    Hangs,
}

impl Memory {
    fn with(mut self, id: &str, owner: &str, authorised: &[&str], values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
        let authorised = authorised.iter().map(ToString::to_string).collect();
        self.records.insert(id.to_owned(), (owner.to_owned(), authorised, values));
        self
    }

    async fn spoil(&self, field: Option<&str>) -> Result<(), SourceError> {
        match self.spoilt {
            Some((only, what)) if only.is_none() || only == field => match what {
                Spoilt::Fails(error) => Err(error),
                Spoilt::Hangs => std::future::pending().await,
            },
            _ => Ok(()),
        }
    }
}

impl Source for Memory {
    fn name(&self) -> &str {
        self.name
    }
    fn timeout(&self) -> Duration {
        Duration::from_millis(50)
    }
    fn searches(&self, field: &str) -> bool {
        field != "postcode"
    }
    fn find<'a>(&'a self, queries: &'a [Query]) -> BoxFuture<'a, Result<Vec<Hits>, SourceError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for Query { field, value } in queries {
                self.spoil(Some(field)).await?;
                let has = |(_, _, values): &Held| values.get(field).is_some_and(|held| held == value);
                let hits = self.records.iter().filter(|(_, held)| has(held));
                all.push(Hits::of(hits.map(|(id, _)| RecordId::new(id.as_str())).collect()));
            }
            Ok(all)
        })
    }
    fn entry<'a>(&'a self, id: &'a RecordId) -> BoxFuture<'a, Result<Option<Entry>, SourceError>> {
        Box::pin(async move {
            self.spoil(None).await?;
            Ok(self.records.get(id.as_str()).map(|(owner, authorised, _)| Entry {
                id: id.clone(),
                owner: CustomerId::new(owner.as_str()),
                authorised: authorised.iter().map(|id| CustomerId::new(id.as_str())).collect(),
                fields: Map::from_iter([("status".to_owned(), json!("locked"))]),
                notes: Map::new(),
            }))
        })
    }
    fn accounts_of<'a>(&'a self, customer: &'a CustomerId) -> BoxFuture<'a, Result<Hits, SourceError>> {
        Box::pin(async move {
            self.spoil(None).await?;
            let theirs = |(owner, authorised, _): &Held| {
                let customer = customer.as_str();
                self.lies_about_accounts || owner == customer || authorised.iter().any(|id| id == customer)
            };
            let found = self.records.iter().filter(|(_, record)| theirs(record));
            Ok(Hits::of(found.map(|(id, _)| RecordId::new(id.as_str())).collect()))
        })
    }
}

fn settings() -> LookupSettings {
    LookupSettings::parse("lookup.toml", include_str!("../../config/lookup.toml")).unwrap()
}

fn lookup(sources: Vec<Memory>) -> Lookup {
    let sources = sources.into_iter().map(|source| Arc::new(source) as Arc<dyn Source>).collect();
    Lookup::new(settings(), sources, Arc::new(FixedClock::at(Timestamp::from_millis(7))))
}

fn bank() -> Memory {
    let max = [("first_name", "Max"), ("last_name", "Müller"), ("branch", "Sparkasse Nürnberg")];
    Memory { name: "bank", ..Memory::default() }
        .with("acc_001", "cus_1", &["cus_3"], &[max[0], max[1], max[2], ("account_number", "ABC01234")])
        .with("acc_017", "cus_2", &[], &max[..2])
        .with("acc_204", "cus_3", &[], &max[2..])
        .with("acc_388", "cus_4", &[], &[("first_name", "Angelika")])
}

fn fields(given: &[(&str, &[&str])]) -> Fields {
    given
        .iter()
        .map(|(field, values)| ((*field).to_owned(), values.iter().map(ToString::to_string).collect()))
        .collect()
}

fn example() -> Fields {
    fields(&[
        ("first_name", &["Max", "Angelika"]),
        ("last_name", &["Müller"]),
        ("branch", &["Sparkasse Nürnberg"]),
        ("account_number", &["ABCO1234", "ABC01234"]),
        ("email", &["max@example.org"]),
    ])
}

fn grant(customer: &str) -> ReadGrant {
    ReadGrant::seal(CustomerId::new(customer))
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

#[tokio::test]
async fn the_worked_example_scores_as_told() {
    let facts = lookup(vec![bank()]).find("t1", &example()).await;
    let told: Vec<_> = facts.candidates.iter().map(|c| (c.id.as_str(), c.score)).collect();
    assert_eq!(told, [("acc_001", 10.0), ("acc_017", 3.0), ("acc_204", 2.0), ("acc_388", 1.0)]);
    assert_eq!(facts.selected, [RecordId::new("acc_001")]);
    let matched: Vec<_> = facts.candidates[0].matched.iter().map(|m| (m.value.as_str(), m.weight)).collect();
    assert_eq!(matched, [("ABC01234", 5.0), ("Sparkasse Nürnberg", 2.0), ("Müller", 2.0), ("Max", 1.0)]);
    assert_eq!(facts.sources[0].status, SourceStatus::Answered);
    assert!(facts.records.is_empty() && facts.complete());
}

#[tokio::test]
async fn hits_of_several_sources_are_merged_by_id() {
    let second = Memory { name: "cards", ..Memory::default() }.with(
        "acc_017",
        "cus_2",
        &[],
        &[("branch", "Sparkasse Nürnberg"), ("last_name", "Müller")],
    );
    let facts = lookup(vec![bank(), second]).find("t1", &example()).await;
    let of = |id| facts.candidates.iter().find(|c| c.id == RecordId::new(id)).unwrap().score;
    assert_eq!((of("acc_001"), of("acc_017")), (10.0, 5.0));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_or_hangs_is_told_and_the_others_count() {
    for (spoilt, status) in [
        ((None, Spoilt::Hangs), SourceStatus::TimedOut),
        ((None, Spoilt::Fails(SourceError::Refused)), SourceStatus::Refused),
        ((None, Spoilt::Fails(SourceError::Garbage)), SourceStatus::Garbage),
        ((Some("branch"), Spoilt::Fails(SourceError::Garbage)), SourceStatus::Partial),
        ((Some("branch"), Spoilt::Hangs), SourceStatus::Partial),
    ] {
        let broken = Memory { name: "broken", spoilt: Some(spoilt), ..Memory::default() };
        let facts = lookup(vec![broken, bank()]).find("t1", &example()).await;
        assert_eq!(facts.sources[0].status, status);
        assert_eq!(facts.sources[1].status, SourceStatus::Answered);
        assert!(!facts.complete());
        assert_eq!(facts.selected, [RecordId::new("acc_001")]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_the_number_of_values() {
    let many: Vec<String> = (0..5_000).map(|n| format!("name {n}")).collect();
    let mut fields = example();
    fields.insert("last_name".to_owned(), many);
    let hanging = Memory { name: "slow", spoilt: Some((None, Spoilt::Hangs)), ..Memory::default() };
    let start = Instant::now();
    let facts = lookup(vec![hanging, bank()]).find("t1", &fields).await;
    assert!(start.elapsed() <= Duration::from_millis(4_100), "{:?}", start.elapsed());
    assert_eq!(facts.sources[0].status, SourceStatus::TimedOut);
    // Too many values: the source answered what it was asked, which was not all.
    assert_eq!(facts.sources[1].status, SourceStatus::Partial);
    assert_eq!(facts.candidates[0].id, RecordId::new("acc_001"));
}

#[tokio::test]
async fn only_owner_and_registered_persons_read_a_record() {
    let lookup = lookup(vec![bank()]);
    for (customer, relation) in [
        ("cus_1", Some(Relation::Owner)),
        ("cus_3", Some(Relation::Authorised)),
        ("cus_2", None),
        ("cus_99", None),
    ] {
        let mut facts = lookup.find("t1", &example()).await;
        lookup.read(&grant(customer), &mut facts, &example()).await;
        assert_eq!(facts.records.first().map(|record| record.relation), relation, "{customer}");
        assert_eq!(facts.basis, Basis::Values);
        assert_eq!(facts.selected, [RecordId::new("acc_001")]);
        let again = lookup.refresh(&grant(customer), &RecordId::new("acc_001")).await;
        assert_eq!(again.ok().map(|record| record.relation), relation);
    }
}

#[tokio::test]
async fn without_an_identifying_field_the_customers_own_accounts_are_taken() {
    let lookup = lookup(vec![bank()]);
    // A name and a branch reach the threshold together, but neither identifies an account by itself.
    let named =
        fields(&[("first_name", &["Max"]), ("last_name", &["Müller"]), ("branch", &["Sparkasse Nürnberg"])]);
    for given in [named, fields(&[]), fields(&[("account_number", &["  "])])] {
        let mut facts = lookup.find("t1", &given).await;
        lookup.read(&grant("cus_3"), &mut facts, &given).await;
        // cus_3 is registered for acc_001 and owns acc_204.
        assert_eq!((ids(&facts.records), facts.basis), (vec!["acc_204"], Basis::Identity));
        assert_eq!(facts.selected, [RecordId::new("acc_204")]);
    }
}

#[tokio::test]
async fn a_list_of_accounts_that_lies_gives_nothing_away() {
    let lookup = lookup(vec![Memory { lies_about_accounts: true, ..bank() }]);
    let mut facts = lookup.find("t1", &fields(&[])).await;
    lookup.read(&grant("cus_4"), &mut facts, &fields(&[])).await;
    assert_eq!(ids(&facts.records), ["acc_388"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_read_is_not_taken_for_a_missing_record() {
    for what in [Spoilt::Hangs, Spoilt::Fails(SourceError::Garbage)] {
        let lookup = lookup(vec![Memory { spoilt: Some((None, what)), ..bank() }]);
        let id = RecordId::new("acc_001");
        assert!(matches!(lookup.refresh(&grant("cus_1"), &id).await, Err(ReadError::Unavailable(_))));
        let mut facts = lookup.find("t1", &example()).await;
        lookup.read(&grant("cus_1"), &mut facts, &fields(&[])).await;
        assert!(facts.records.is_empty() && facts.selected.is_empty());
        assert_ne!(facts.sources[0].status, SourceStatus::Answered);
    }
    let missing = lookup(vec![bank()]).refresh(&grant("cus_1"), &RecordId::new("acc_9")).await;
    assert_eq!(missing, Err(ReadError::NotTheirs));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_verified_waits_equally_long_whatever_there_is() {
    let hanging = || Memory { spoilt: Some((None, Spoilt::Hangs)), name: "slow", ..Memory::default() };
    let most = |sources| {
        let settings = LookupSettings { unverified_ms: 40, ..settings() };
        let sources = Vec::into_iter(sources).map(|source| Arc::new(source) as Arc<dyn Source>).collect();
        Lookup::new(settings, sources, Arc::new(FixedClock::at(Timestamp::from_millis(7))))
    };
    let mut took = Vec::new();
    for (sources, given) in [
        (vec![bank()], example()),
        (vec![bank()], fields(&[("account_number", &["ABC99999"])])),
        (vec![bank()], fields(&[])),
        // It would have answered with an error after 50 ms; what is there by then is told.
        (vec![hanging(), bank()], example()),
    ] {
        let (begun, slow) = (Instant::now(), sources.len() > 1);
        let facts = most(sources).find_evenly("t1", &given).await;
        took.push(begun.elapsed());
        assert_eq!(slow, facts.sources.first().is_some_and(|source| source.status == SourceStatus::TimedOut));
    }
    assert!(took.iter().all(|one| *one == took[0] && one.as_millis() >= 40), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_customer_is_shown_as_every_source_has_them() {
    let other = Memory { name: "cards", ..Memory::default() }.with("k1", "cus_1", &[], &[]).with(
        "k2",
        "cus_3",
        &[],
        &[],
    );
    let person = BTreeMap::from([("status".to_owned(), super::super::agreement::Kind::Exact)]);
    let settings = LookupSettings { person, ..settings() };
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(bank()), Arc::new(other)];
    let lookup = Lookup::new(settings, sources, Arc::new(FixedClock::at(Timestamp::from_millis(7))));
    let mut facts = lookup.find("t1", &example()).await;
    lookup.read(&grant("cus_1"), &mut facts, &example()).await;
    let customer = facts.customer.unwrap();
    let told: Vec<_> = customer.values["status"][0].sources.iter().map(|from| from.record.as_str()).collect();
    // acc_204 names cus_3 as its owner: what cus_1 may do there is no part of who cus_1 is.
    assert_eq!((told, customer.conflicts.len()), (vec!["acc_001", "k1"], 0));
}

#[test]
fn a_question_that_does_not_fit_is_named_by_line_without_its_content() {
    assert!(Question::parse("{\"id\": \"t1\", \"fields\": {\"iban\": [\"x\"]}}", 1).is_ok());
    for bad in ["{Huber", "{\"id\": \"Huber\"}", "{\"id\": \"t\", \"fields\": {}, \"Huber\": 1}", "[]"] {
        let told = Question::parse(bad, 3).unwrap_err().to_string();
        assert!(told.contains("line 3") && !told.contains("Huber"), "{told}");
    }
}

/// The score as anyone would compute it: per field, does any given value equal the record's?
fn naive(
    records: &[BTreeMap<String, String>],
    given: &Fields,
    settings: &LookupSettings,
) -> Vec<(String, u32)> {
    let mut scored: Vec<(String, u32)> = records
        .iter()
        .enumerate()
        .map(|(at, record)| {
            let matches = |(field, held): (&String, &String)| {
                let any = given.get(field).is_some_and(|values| values.contains(held));
                if any && field != "postcode" { settings.weight(field).unwrap_or(0) } else { 0 }
            };
            (format!("acc_{at:03}"), record.iter().map(matches).sum())
        })
        .filter(|(_, score)| *score > 0)
        .collect();
    scored.sort_by_key(|(id, score)| (std::cmp::Reverse(*score), id.clone()));
    scored
}

fn field() -> impl Strategy<Value = String> {
    let names = ["first_name", "last_name", "branch", "account_number", "iban", "postcode", "email"];
    prop::sample::select(names.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn scores_agree_with_an_independent_computation(
        records in prop::collection::vec(prop::collection::btree_map(field(), "[ab]{1,2}", 0..6), 0..12),
        given in prop::collection::btree_map(field(), prop::collection::vec("[ab]{1,2}", 0..4), 0..6),
    ) {
        let mut memory = Memory { name: "bank", ..Memory::default() };
        for (at, record) in records.iter().enumerate() {
            let values: Vec<_> = record.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
            memory = memory.with(&format!("acc_{at:03}"), "cus_1", &[], &values);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let facts = runtime.block_on(lookup(vec![memory]).find("t", &given));
        let told: Vec<_> = facts.candidates.iter().map(|c| (c.id.as_str().to_owned(), c.score as u32)).collect();
        let expected = naive(&records, &given, &settings());
        let max = expected.first().map_or(0, |(_, score)| *score);
        let selected: Vec<_> = expected.iter().filter(|(_, score)| *score == max && max >= 5).cloned().collect();
        prop_assert_eq!(told, expected);
        let ids: Vec<_> = facts.selected.iter().map(|id| id.as_str().to_owned()).collect();
        prop_assert_eq!(ids, selected.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    }
}
