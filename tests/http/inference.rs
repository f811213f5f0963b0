//! Machines that read for others.

use crate::stage::root;
use prokura::base::outbound::{Method, Outbound, Request};
use prokura::base::{Digest, Language, SystemClock};
use prokura::governance::{Principal, Role};
use prokura::http::{ApiKey, Node, node_router, serve};
use prokura::intake::{BankCodes, Limits};
use prokura::understanding::nodes::{Nodes, Place};
use prokura::understanding::readers::Done;
use prokura::understanding::{Compute, Live, Order, Readers, Schema, Understanding, Urgency, Work};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpListener;

const KEY: &str = "prk_node";

/// Starts a node on loopback, which serves while the test's runtime lives.
async fn node(state: &Path) -> (String, Arc<Live>) {
    node_at(state, "127.0.0.1:0").await
}

async fn node_at(state: &Path, address: &str) -> (String, Arc<Live>) {
    let schema = Schema::read(&root().join("config")).unwrap();
    let shipped = root().join("models/default");
    let models = Arc::new(Live::open(state, &shipped, &schema, Compute::default()).unwrap());
    let key = ApiKey {
        name: "api".into(),
        principal: Principal::new("api", Role::Operator),
        sha256: Digest::of(KEY.as_bytes()).hex().into(),
    };
    let administration = prokura::cases::administration(&crate::stage::root().join("config")).unwrap();
    let node = Node {
        administration: Arc::new(administration),
        models: Arc::clone(&models),
        readers: Arc::new(Readers::start(&Work { threads: 1, ..Work::default() }).unwrap()),
        banks: Arc::default(),
        clock: Arc::new(SystemClock),
        keys: vec![key],
        limits: Limits::default(),
    };
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, node_router(node), std::future::pending()));
    (address, models)
}

/// Readers that ask nodes at these addresses first, with this key.
fn asking(addresses: &[&str], key: &str) -> Readers {
    let outbound = Outbound::new(addresses.iter().map(ToString::to_string)).unwrap();
    let place = |address: &&str| Place { url: format!("http://{address}"), key: Some(key.to_owned()) };
    let places = addresses.iter().map(place).collect();
    let nodes = Nodes::new(outbound, places, Duration::from_secs(1), Duration::from_secs(20));
    Readers::before(&Work { threads: 1, ..Work::default() }, Some(Arc::new(nodes))).unwrap()
}

const TEXT: &str = "Ich heiße Max Müller, IBAN DE02120300000000202051. Bitte sperren Sie meine Karte, und wie hoch \
                    ist mein Kontostand?";

async fn read(readers: &Readers, models: &Arc<Understanding>) -> Done {
    let order = Order {
        models: Arc::clone(models),
        banks: Arc::new(BankCodes::default()),
        id: "m".to_owned(),
        text: TEXT.to_owned(),
        language: Language::De,
    };
    readers.read(order, Urgency::Urgent).await.unwrap()
}

/// Texts that nodes answered, of these by the second, and those that were read here.
fn counts(readers: &Readers) -> [u64; 3] {
    let counts = readers.nodes().unwrap().counts();
    [&counts.answered, &counts.hedged, &counts.local].map(|count| count.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_to_the_last_bit_what_this_machine_would() {
    let state = tempfile::tempdir().unwrap();
    let (address, models) = node(state.path()).await;
    let models = models.current();
    let here = read(&Readers::start(&Work::default()).unwrap(), &models).await;
    let readers = asking(&[&address], KEY);
    let there = read(&readers, &models).await;
    assert_eq!((&there.reading, counts(&readers)), (&here.reading, [1, 0, 0]));
    assert!(there.reading.digests.arithmetic.starts_with("int8.1 "), "{:?}", there.reading.digests);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_node_reads_this_machine_does() {
    let state = tempfile::tempdir().unwrap();
    let (address, models) = node(state.path()).await;
    let models = models.current();
    // Nobody listens there; a key that the node does not know.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for readers in [asking(&[&closed], KEY), asking(&[&address], "prk_wrong")] {
        let up = |readers: &Readers| readers.nodes().unwrap().states()[0].1;
        assert!(up(&readers));
        let first = read(&readers, &models).await;
        // The second time the node is not even asked.
        assert_eq!((read(&readers, &models).await.reading, up(&readers)), (first.reading, false));
        assert_eq!(counts(&readers), [0, 0, 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_not_waited_for_and_who_answers_again_is_asked_again() {
    let state = tempfile::tempdir().unwrap();
    let (address, models) = node(state.path()).await;
    let models = models.current();
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let readers = asking(&[&silent.local_addr().unwrap().to_string(), &address], KEY);
    read(&readers, &models).await;
    assert_eq!(counts(&readers), [1, 1, 0]);
    // The silent one still has something to do, so that the other is asked first now.
    read(&readers, &models).await;
    assert_eq!(counts(&readers), [2, 1, 0]);

    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let readers = asking(&[&away], KEY);
    read(&readers, &models).await;
    let nodes = Arc::clone(readers.nodes().unwrap());
    assert!(!nodes.states()[0].1);
    node_at(state.path(), &away).await;
    let (watching, digest) = (Arc::clone(&nodes), models.digest().clone());
    tokio::spawn(async move { watching.watch(|| digest.clone()).await });
    for _ in 0..200 {
        if nodes.states()[0].1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read(&readers, &models).await;
    assert_eq!(counts(&readers), [1, 0, 1]);
}

/// Asks a node over HTTP/1.1, which integrators speak.
async fn asked(address: &str, route: &str, body: Value) -> (u16, Value) {
    let request = Request {
        method: Method::Post,
        url: format!("http://{address}{route}"),
        headers: vec![("authorization".to_owned(), format!("Bearer {KEY}"))],
        json: Some(body),
        text: None,
        timeout: Duration::from_secs(10),
        max_bytes: 1 << 20,
        http2: false,
    };
    let answer = Outbound::new([address.to_owned()]).unwrap().send(request).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_answers_what_its_document_says_and_refuses_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let (address, models) = node(state.path()).await;
    let digest = models.current().digest().to_string();
    let (status, reading) =
        asked(&address, "/v1/understand", json!({"id": "m", "text": TEXT, "language": "de"})).await;
    assert_eq!((status, &reading["digests"]["model"]), (200, &json!(digest)), "{reading}");
    let (status, found) =
        asked(&address, "/v1/embeddings", json!({"texts": ["Karte weg", "lost card", "Karte weg"]})).await;
    assert_eq!(status, 200, "{found}");
    let vectors: Vec<Vec<f64>> = serde_json::from_value(found["vectors"].clone()).unwrap();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert_eq!((vectors.len(), vectors[0].len()), (3, 384));
    assert!(vectors[0] == vectors[2] && (dot(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-5);
    assert!(dot(&vectors[0], &vectors[1]) > 0.3);

    let other = Digest::of(b"another bundle").to_string();
    for (route, body, status, code) in [
        ("/v1/scores", json!({"model": other, "text": TEXT}), 409, "other_model"),
        ("/v1/embeddings", json!({"model": other, "texts": ["a"]}), 409, "other_model"),
        ("/v1/embeddings", json!({"texts": vec!["a"; 257]}), 400, "bad_body"),
        ("/v1/scores", json!({"model": digest}), 400, "bad_body"),
        ("/v1/understand", json!({"text": TEXT, "explain": true}), 400, "bad_body"),
        ("/v1/cases", json!({"text": TEXT}), 404, "no_route"),
    ] {
        let (got, answer) = asked(&address, route, body).await;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{route}: {answer}");
    }
}
