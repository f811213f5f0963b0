//! Readings for many callers at once, with the shipped bundle.

use super::*;
use crate::understanding::Schema;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

fn models() -> Arc<Understanding> {
    static LOADED: OnceLock<Arc<Understanding>> = OnceLock::new();
    let load = || {
        let schema = Schema::read(Path::new("config")).unwrap();
        Arc::new(Understanding::load(Path::new("models/default"), &schema).unwrap())
    };
    Arc::clone(LOADED.get_or_init(load))
}

fn order(text: &str) -> Order {
    Order {
        models: models(),
        banks: Arc::default(),
        id: "m".to_owned(),
        text: text.to_owned(),
        language: Language::De,
    }
}

const TEXTS: [&str; 5] = [
    "Meine Karte ist weg",
    "Wie hoch ist mein Kontostand?",
    "Ich heiße Max Müller, IBAN DE02120300000000202051, und komme nicht mehr in mein Konto.",
    "Bitte sperren Sie meine Karte, und wie ist mein Kontostand?",
    "",
];

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_get_what_each_gets_alone() {
    let readers = Arc::new(Readers::start(&Work { threads: 2, ..Work::default() }).unwrap());
    let asked: Vec<_> = (0..40)
        .map(|n| {
            let (readers, text) = (Arc::clone(&readers), TEXTS[n % TEXTS.len()]);
            let urgency = if n % 3 == 0 { Urgency::Bulk } else { Urgency::Urgent };
            tokio::spawn(async move { (text, readers.read(order(text), urgency).await.unwrap()) })
        })
        .collect();
    for asked in asked {
        let (text, done) = asked.await.unwrap();
        let found = recognise_with(text, &BankCodes::default());
        let known: Vec<Known<'_>> = found.iter().map(Known::from).collect();
        assert_eq!(done.reading, models().read("m", text, Language::De, &known).unwrap());
        assert_eq!(done.text, text);
    }
    let counts = readers.counts();
    assert_eq!(counts.readings.load(Ordering::Relaxed), 40);
    assert!(counts.batches.load(Ordering::Relaxed) <= 40 && readers.waiting() == (0, 0));
}

#[tokio::test]
async fn who_has_gone_is_not_read_for_and_too_many_are_refused() {
    let work = Work { threads: 1, queue: 2, ..Work::default() };
    let readers = Arc::new(Readers::start(&work).unwrap());
    // It keeps the one thread busy for a while.
    let long = "Ich komme nicht mehr in mein Konto, und die Karte ist weg. ".repeat(150);
    let spawn = |text: String, urgency: Urgency| {
        let readers = Arc::clone(&readers);
        tokio::spawn(async move { readers.read(order(&text), urgency).await.map(|done| done.reading) })
    };
    let busy = spawn(long, Urgency::Bulk);
    while readers.counts().batches.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (gone, stays) = (spawn("weg".to_owned(), Urgency::Urgent), spawn("da".to_owned(), Urgency::Urgent));
    while readers.waiting().0 < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = readers.read(order("zu viel"), Urgency::Urgent).await;
    assert!(matches!(refused, Err(Unread::Full)));
    gone.abort();
    // Who must be read waits for a place instead.
    let surely = readers.read_surely(order("sicher"), Urgency::Urgent).await;
    assert!(surely.is_ok() && stays.await.unwrap().is_ok() && busy.await.unwrap().is_ok());
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = readers.counts();
    assert_eq!((count(&counts.refused), count(&counts.unwanted), count(&counts.readings)), (1, 1, 3));
}

#[test]
fn the_urgent_come_first_but_not_for_ever() {
    let places = Arc::new(Semaphore::new(100));
    let mut waiting = Waiting::default();
    let mut answers = Vec::new();
    let mut job = |name: String| {
        let (done, answer) = oneshot::channel();
        answers.push(answer);
        let _place = Arc::clone(&places).try_acquire_owned().unwrap();
        Job { models: models(), text: name, wanted: Wanted::Scores(done), _place }
    };
    for n in 0..3 {
        waiting.bulk.push_back(job(format!("bulk {n}")));
    }
    for n in 0..18 {
        waiting.urgent.push_back(job(format!("urgent {n}")));
    }
    let taken: Vec<String> = std::iter::from_fn(|| waiting.pop()).map(|job| job.text).collect();
    let place = |name: &str| taken.iter().position(|text| text == name).unwrap();
    assert_eq!(taken.len(), 21);
    assert_eq!(
        (place("urgent 0"), place("bulk 0"), place("bulk 1")),
        (0, URGENT_FIRST, 2 * URGENT_FIRST + 1)
    );
    assert_eq!(place("bulk 2"), 20);
    assert_eq!(places.available_permits(), 100);
}
