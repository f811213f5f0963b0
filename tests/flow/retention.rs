//! Generations of the policies that are let go, and those that cases still need.

use crate::stage::{MESSAGE, Stage, models, root, shown, verified};
use prokura::base::{CaseId, Clock, Language, SystemClock, Timestamp};
use prokura::cases::{Decide, Packs, State, Status, needed_generations, note_let_go, search_again};
use prokura::governance::{Principal, Role};
use prokura::ledger::{Digests, Stream, StreamKind};
use prokura::policy::{self, Policies};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHARGED: &str = "Mir wurde derselbe Einkauf zweimal abgebucht!";
const EVER: Timestamp = Timestamp::from_millis(i64::MAX);

fn publish(state: &Path, paths: &[PathBuf]) -> prokura::base::Digest {
    let models = models().current();
    let options = policy::Options {
        language: Language::De,
        now: SystemClock.now(),
        models: Some(&models),
        bar: None,
        kept: None,
    };
    policy::index(state, paths, options, &|_, _| {}).unwrap().generation
}

fn packs(state: &Path) -> usize {
    std::fs::read_dir(state.join("index/vectors")).unwrap().count()
}

async fn decided(stage: &Stage, state: &State) -> State {
    let id = state.approval.as_ref().unwrap().0.id.clone();
    let by = Principal::new("sara", Role::Supervisor);
    let decide = Decide { by, approve: true, reason: None, binding: None };
    let case = stage.cases.decide(id.as_str(), decide).await.unwrap();
    stage.cases.drive(&case).await.unwrap()
}

#[tokio::test]
async fn what_an_open_case_began_with_stays_and_goes_when_it_has_ended() {
    let stage = Stage::new().await;
    let ledger = Arc::clone(&stage.cases.parts().ledger);
    let ended = stage.send(MESSAGE, verified("cus_001")).await;
    assert_eq!(ended.status, Status::Resolved, "{}", shown(&ended));
    assert_eq!(needed_generations(&ledger, 30).unwrap(), BTreeSet::new());
    let open = stage.send(CHARGED, verified("cus_016")).await;
    assert_eq!(open.status, Status::WaitingApproval, "{}", shown(&open));
    let needed = needed_generations(&ledger, 30).unwrap();
    let generation = open.grounds.as_ref().unwrap().generation.clone();
    assert_eq!(needed, [generation.clone()].into());

    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let samples = root().join("index/policies");
    assert_eq!(publish(state, std::slice::from_ref(&samples)), generation);
    // What shares the vectors of the samples; what stands alone; what answers.
    let more = state.join("more.md");
    std::fs::write(&more, "# More\n\nKeys cost one euro.\n").unwrap();
    let sharing = publish(state, &[samples, more.clone()]);
    std::fs::write(&more, "# Other\n\nKeys cost two euros.\n").unwrap();
    let current = publish(state, &[more]);
    let before = packs(state);
    assert_eq!(policy::forget(state, EVER, &needed).unwrap(), [sharing]);
    assert!(packs(state) < before, "vectors of what is gone alone are gone");
    assert!(
        policy::open_generation(state, generation.as_str()).is_ok(),
        "and those that others share are not"
    );

    let done = decided(&stage, &open).await;
    assert_eq!(done.status, Status::Resolved, "{}", shown(&done));
    let needed = needed_generations(&ledger, 30).unwrap();
    let gone = policy::forget(state, EVER, &needed).unwrap();
    assert_eq!((&gone, packs(state)), (&vec![generation.clone()], 1));
    note_let_go(&ledger, &Digests::new(), &gone).unwrap();
    let stream = Stream::new(StreamKind::Policies, "generations");
    let written = ledger.stream(&stream, 0).unwrap();
    assert_eq!(written.last().unwrap().body, serde_json::json!({"generations": [generation]}));
    // The last word of that stream is not taken for what answers.
    stage.cases.note_generation().unwrap();
    stage.cases.note_generation().unwrap();
    note_let_go(&ledger, &Digests::new(), &gone).unwrap();
    stage.cases.note_generation().unwrap();
    assert_eq!(ledger.stream(&stream, 0).unwrap().len(), written.len() + 2);
    // Who searched with it just now may not have written that down.
    assert_eq!(needed_generations(&ledger, 30).unwrap(), [generation.clone()].into());

    // A replay says that it is gone.
    let policies = Policies::open(state).unwrap();
    assert_eq!(policies.current(None).digest(), &current);
    let pack = Arc::clone(&stage.cases.parts().pack);
    let packs = Packs::new(Arc::clone(&ledger), state, pack);
    let case = CaseId::new(ended.case.as_str());
    let entries = stage.cases.entries(&case).await.unwrap();
    let read = models().current();
    let found =
        search_again(&case, &entries, &packs, |of| policies.pinned(of).ok(), |_| Some(Arc::clone(&read)))
            .unwrap();
    assert_eq!(
        found.iter().map(|searched| (&searched.generation, searched.same)).collect::<Vec<_>>(),
        [(&generation, None)]
    );
}

#[tokio::test]
async fn a_case_that_waits_for_the_customer_is_open_for_so_many_days() {
    let stage = Stage::new().await;
    let ledger = &stage.cases.parts().ledger;
    // Anybody may ask, and is asked for details.
    let open = stage.send("Meine Karte ist weg.", prokura::intake::Identity::Anonymous).await;
    assert!(matches!(open.status, Status::WaitingCustomer | Status::WithHuman), "{}", shown(&open));
    let needed = needed_generations(ledger, 30).unwrap();
    assert_eq!(needed, [open.grounds.unwrap().generation].into());
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_eq!(needed_generations(ledger, 0).unwrap(), BTreeSet::new());
}
