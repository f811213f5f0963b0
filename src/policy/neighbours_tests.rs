//! Graphs over vectors that were made up, and generations that have one because the limit is low.

use super::super::generation::{Generation, root};
use super::super::publish::{Lock, Stamp, pointer};
use super::super::{
    Ask, Clearance, Document, Options, Policies, PolicyError, Question, amended, fetch, gather, offer,
    offered, offered_file, parse_date, verify,
};
use super::*;
use crate::base::{Language, Timestamp};
use crate::understanding::encoder::Kernel;
use crate::understanding::{Schema, Understanding};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::PathBuf;
use std::sync::OnceLock;

const WIDTH: usize = 64;

/// Vectors in clusters within clusters, one cluster after the other.
fn clustered(count: usize, seed: u64) -> Vec<Vec<i8>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut spread = |around: &[f32], by: f32| -> Vec<f32> {
        around.iter().map(|value| value + by * random.random_range(-1.0..1.0_f32)).collect()
    };
    let (mut topic, mut document) = (vec![0.0; WIDTH], vec![0.0; WIDTH]);
    let mut vectors = Vec::with_capacity(count);
    for number in 0..count {
        if number % 300 == 0 {
            topic = spread(&[0.0; WIDTH], 1.0);
        }
        if number % 10 == 0 {
            document = spread(&topic, 0.8);
        }
        let vector = spread(&document, 0.5);
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vectors.push(vector.iter().map(|value| (value / length * 127.0).round() as i8).collect());
    }
    vectors
}

/// The share of the nearest 50 that a graph finds.
fn recall(graph: &Graph, vectors: &[Vec<i8>], admits: Option<&dyn Fn(&usize) -> bool>) -> f64 {
    let kernel = Kernel::best();
    let asked = clustered(vectors.len(), 7).into_iter().step_by(vectors.len() / 40);
    let asked = asked.chain(vectors.iter().step_by(vectors.len() / 40).cloned());
    let (mut right, mut all) = (0, 0);
    for question in asked {
        let mut sums: Vec<(i32, usize)> = vectors
            .iter()
            .enumerate()
            .filter(|(number, _)| admits.is_none_or(|admits| admits(number)))
            .map(|(number, vector)| (-kernel.dots(&question, vector)[0], number))
            .collect();
        sums.sort_unstable();
        let worst = sums[49].0;
        let found = graph.nearest(&question, 50, admits);
        assert!(found.iter().all(|number| admits.is_none_or(|admits| admits(number))));
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
        // One that is as near as the fiftieth is as good.
        right += found.iter().filter(|at| -kernel.dots(&question, &vectors[**at])[0] <= worst).count();
        all += 50;
    }
    right as f64 / all as f64
}

#[test]
fn a_graph_finds_nearly_all_of_the_nearest() {
    let vectors = clustered(3_000, 1);
    let graph = Graph::build(&vectors.iter().map(Vec::as_slice).collect::<Vec<_>>(), &|_, _| {});
    let whole = recall(&graph, &vectors, None);
    let third = |number: &usize| number.is_multiple_of(3);
    let some = recall(&graph, &vectors, Some(&third));
    let few = |number: &usize| number.is_multiple_of(30);
    let filtered = recall(&graph, &vectors, Some(&few));
    // Whole subjects are out, and among them those that are asked for.
    let subjects = |number: &usize| (number / 300).is_multiple_of(3);
    let other = recall(&graph, &vectors, Some(&subjects));
    println!(
        "recall at 50: {whole:.4}, of a third {some:.4}, of a thirtieth {filtered:.4}, of subjects {other:.4}"
    );
    for share in [whole, some, filtered, other] {
        assert!(share >= 0.95, "{whole} {some} {filtered} {other}");
    }
    assert!(graph.nearest(&vectors[0], 0, None).is_empty());
}

#[test]
fn the_same_vectors_make_the_same_graph_and_it_is_read_as_it_was_written() {
    let vectors = clustered(400, 2);
    let vectors: Vec<&[i8]> = vectors.iter().map(Vec::as_slice).collect();
    let files = |folder: &Path| [GRAPH, DATA].map(|name| fs::read(folder.join(name)).unwrap());
    let write = |folder: &Path| {
        let graph = Graph::build(&vectors, &|_, _| {});
        graph.write(folder).unwrap();
        graph
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let graph = write(folders[0].path());
    write(folders[1].path());
    let [shape, data] = files(folders[0].path());
    assert!([shape, data.clone()] == files(folders[1].path()));

    let folder = folders[0].path();
    let read = Graph::open(folder, &data, (400, WIDTH)).unwrap();
    for question in vectors.iter().step_by(7) {
        assert_eq!(read.nearest(question, 20, None), graph.nearest(question, 20, None));
    }
    // Another width or number of vectors, or vectors that are cut or say another length, never get to hnsw_rs.
    assert!(Graph::open(folder, &data, (399, WIDTH)).is_none());
    assert!(Graph::open(folder, &data, (400, WIDTH - 1)).is_none());
    assert!(Graph::open(folder, &data[..data.len() - 1], (400, WIDTH)).is_none());
    assert!(Graph::open(folder, &[], (400, WIDTH)).is_none());
    let mut other = data.clone();
    other[HEAD + LENGTH.start] ^= 1;
    assert!(Graph::open(folder, &other, (400, WIDTH)).is_none());
    fs::write(folder.join(GRAPH), b"").unwrap();
    assert!(Graph::open(folder, &data, (400, WIDTH)).is_none());
}

fn shipped() -> &'static Understanding {
    static SHIPPED: OnceLock<Understanding> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    SHIPPED.get_or_init(|| {
        Understanding::load(&root.join("models/default"), &Schema::read(&root.join("config")).unwrap())
            .unwrap()
    })
}

/// A document about what its number says; every second one is in German, every fifth is internal.
fn document(folder: &Path, number: usize, body: &str) -> Document {
    let line = serde_json::json!({
        "id": format!("d{number:02}"), "title": format!("Notice {number}"), "content": body,
        "language": if number.is_multiple_of(2) { "de" } else { "en" },
        "audience": if number.is_multiple_of(5) { "internal" } else { "public" },
    });
    let file = folder.join("one.jsonl");
    fs::write(&file, line.to_string()).unwrap();
    gather(&[file], Language::En, &|_, _| {}).unwrap().documents.pop().unwrap()
}

const SUBJECTS: [&str; 6] = ["cards", "transfers", "loans", "savings", "cash", "passwords"];

fn corpus(folder: &Path) -> Vec<Document> {
    let body = |number: usize| {
        let subject = SUBJECTS[number % 6];
        format!(
            "# Fees\n\nThe fee for {subject} is {number} euros.\n\n# Times\n\nIt takes {number} days with {subject}.\n"
        )
    };
    (0..40).map(|number| document(folder, number, &body(number))).collect()
}

/// With a graph beyond so many passages.
fn publish(state: &Path, documents: &[Document], limit: usize) -> Digest {
    let options = Options {
        language: Language::En,
        now: Timestamp::from_millis(1_790_000_000_000),
        models: Some(shipped()),
        bar: None,
        kept: None,
    };
    let mut lock = Lock::take(state).unwrap();
    lock.limit = limit;
    lock.publish(documents, options, &|_, _| {}).unwrap().generation
}

fn question(text: &str) -> Question {
    Question {
        audience: Clearance::All,
        top: 100,
        each: Some(0),
        ..Question::public(text, parse_date("2026-09-21").unwrap())
    }
}

fn questions() -> Vec<Question> {
    let mut all: Vec<Question> =
        SUBJECTS.iter().map(|subject| question(&format!("How much for {subject}?"))).collect();
    all.push(Question { audience: Clearance::Public, ..question("What does a card cost?") });
    all.push(Question { language: Some(Language::De), ..question("Was kostet ein Kredit?") });
    all
}

fn folder(state: &Path, digest: &Digest) -> PathBuf {
    root(state).join(digest.hex())
}

fn listed(state: &Path, digest: &Digest) -> BTreeSet<String> {
    let files = offered(state, digest.as_str()).unwrap().unwrap().files.into_iter();
    files.map(|file| file.name).filter(|name| name.starts_with(NAME)).collect()
}

/// The same documents, with a graph and without one, find the same.
fn same(state: &Path, digest: &Digest) {
    let shelf = Shelf::new(root(state));
    let graph = Generation::read(&root(state), digest, &shelf).unwrap();
    let mut scan = Generation::read(&root(state), digest, &shelf).unwrap();
    assert!(graph.neighbours.is_some());
    scan.neighbours = None;
    for question in questions() {
        let [one, other] = [&graph, &scan].map(|of| of.search(&question, Some(shipped())).unwrap());
        assert!(!one.passages.is_empty());
        assert_eq!(one, other, "{}", question.text);
    }
}

#[test]
fn a_graph_goes_from_one_generation_to_the_next_until_too_much_has_changed() {
    let (state, bodies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = state.path();
    let documents = corpus(bodies.path());
    let first = publish(state, &documents, 20);
    assert_eq!(listed(state, &first), FILES.map(str::to_owned).into());
    same(state, &first);

    // What answers of the next is what is there now.
    let policies = Policies::open(state).unwrap();
    let found = |question: &Question| -> Vec<(String, String)> {
        let found = policies.search(question, Some(shipped())).unwrap().passages;
        found.into_iter().map(|passage| (passage.document, passage.text)).collect()
    };
    let asked = question("How much for savings?");
    assert!(found(&asked).iter().any(|(id, _)| id == "d03"));
    let put = vec![
        document(bodies.path(), 3, "# Fees\n\nSavings accounts are free of charge.\n"),
        document(bodies.path(), 77, "# Parrots\n\nA parrot may not enter the branch.\n"),
    ];
    let documents = amended(documents, put, &["d09".to_owned()].into()).unwrap();
    let second = publish(state, &documents, 20);
    let inode = |digest: &Digest| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(folder(state, digest).join(GRAPH)).unwrap().ino()
    };
    assert_eq!(inode(&first), inode(&second));
    let after = found(&asked);
    assert!(after.iter().any(|(_, text)| text.contains("free of charge")), "{after:?}");
    assert!(after.iter().all(|(id, text)| id != "d09" && !text.contains("is 3 euros")), "{after:?}");
    assert_eq!(found(&question("Can I bring my parrot?"))[0].0, "d77");
    same(state, &second);
    let generation = Generation::read(&root(state), &second, &Shelf::new(root(state))).unwrap();
    let neighbours = generation.neighbours.unwrap();
    let uncovered = neighbours.uncovered().iter().map(|at| generation.documents[*at].id.as_str());
    assert_eq!(uncovered.collect::<Vec<_>>(), ["d03", "d77"]);
    assert!(neighbours.thinned);

    // With a quarter gone the graph is made anew.
    let gone = (20..30).map(|number| format!("d{number}")).collect();
    let third = publish(state, &amended(documents, Vec::new(), &gone).unwrap(), 20);
    assert_ne!(inode(&second), inode(&third));
    same(state, &third);
    assert!(verify(state, None).unwrap().iter().all(|one| one.whole));
}

#[test]
fn only_questions_that_admit_much_go_through_the_graph() {
    let (state, bodies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let documents = corpus(bodies.path());
    let below = publish(state.path(), &documents, 80);
    assert!(listed(state.path(), &below).is_empty());
    let files = fs::read_dir(folder(state.path(), &below)).unwrap();
    assert!(files.flatten().all(|file| !file.file_name().to_string_lossy().starts_with(NAME)));

    // The same documents have the same name with a graph.
    let other = tempfile::tempdir().unwrap();
    let above = publish(other.path(), &documents, 79);
    assert_eq!(above, below);
    let generation = Generation::read(&root(other.path()), &above, &Shelf::new(root(other.path()))).unwrap();
    let neighbours = generation.neighbours.as_ref().unwrap();
    assert!(neighbours.serves(80) && !neighbours.serves(79));
    let vectors = generation.vectors.as_ref().unwrap();
    let asked = vectors.vector(4, 1);
    let nearest = |admitted: &[bool]| neighbours.nearest(asked, 5, admitted);
    assert_eq!(nearest(&[true; 40])[0], (4, 9));
    let mut but_one = [true; 40];
    but_one[4] = false;
    assert!(nearest(&but_one).iter().all(|(document, _)| *document != 4));
    assert_eq!(nearest(&[false; 40]), []);
}

#[test]
fn documents_with_the_same_passages_share_points() {
    let (state, bodies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut documents = corpus(bodies.path());
    let twin = Document { id: "d05-twin".to_owned(), ..documents[5].clone() };
    documents.insert(6, twin);
    let digest = publish(state.path(), &documents, 20);
    let generation = Generation::read(&root(state.path()), &digest, &Shelf::new(root(state.path()))).unwrap();
    let neighbours = generation.neighbours.as_ref().unwrap();
    assert_eq!(neighbours.held.len(), 80);
    let vector = generation.vectors.as_ref().unwrap().vector(5, 0).to_vec();
    assert_eq!(neighbours.nearest(&vector, 1, &[true; 41]), [(5, 10), (6, 12)]);
    let mut second = [true; 41];
    second[5] = false;
    assert_eq!(neighbours.nearest(&vector, 1, &second), [(6, 12)]);
    same(state.path(), &digest);
}

#[test]
fn damage_is_found_and_a_damaged_graph_is_not_taken_over() {
    let (state, bodies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = state.path();
    let documents = corpus(bodies.path());
    let first = publish(state, &documents, 20);
    let read = || Generation::read(&root(state), &first, &Shelf::new(root(state)));
    for name in FILES {
        let file = folder(state, &first).join(name);
        let whole = fs::read(&file).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [&whole[..whole.len() / 2], &[], &flipped] {
            fs::write(&file, bytes).unwrap();
            assert!(
                matches!(read(), Err(PolicyError::Damaged { file, .. }) if file == name),
                "{name} with {} bytes",
                bytes.len()
            );
        }
        assert!(verify(state, None).unwrap().iter().all(|one| !one.whole));
        fs::write(&file, &whole).unwrap();
    }
    assert!(read().is_ok());
    // A graph with the right digests that is not over these vectors.
    let mut files = read().unwrap().manifest().files.clone();
    files.remove(DATA);
    let mut lacking =
        |name: &str| fs::read(folder(state, &first).join(name)).unwrap_or_default()[..9].to_vec();
    let shelf = Shelf::new(root(state));
    assert!(Neighbours::open(&folder(state, &first), &files, &mut lacking, (&[], &[], 9), &shelf).is_err());

    fs::write(folder(state, &first).join(DATA), b"").unwrap();
    let gone = ["d01".to_owned()].into();
    let second = publish(state, &amended(documents, Vec::new(), &gone).unwrap(), 20);
    same(state, &second);
}

#[test]
fn a_graph_comes_with_the_generation_from_another_machine() {
    let (origin, bodies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let documents = corpus(bodies.path());
    let first = publish(origin.path(), &documents, 20);
    let state = origin.path().to_owned();
    let ask: Box<Ask> = Box::new(move |path: &str, _| {
        let rest = path.strip_prefix("/v1/policies/generations").unwrap();
        let bytes = match rest.strip_prefix('/').map(|rest| rest.split_once("/files/").ok_or(rest)) {
            None => serde_json::to_vec(&offer(&state).unwrap()).unwrap(),
            Some(Err(digest)) => serde_json::to_vec(&offered(&state, digest).unwrap()).unwrap(),
            Some(Ok((digest, name))) => {
                let name = name.replace("%2F", "/");
                fs::read(offered_file(&state, digest, &name).unwrap().unwrap()).unwrap()
            }
        };
        Ok(bytes)
    });
    let node = tempfile::tempdir().unwrap();
    assert_eq!(fetch(node.path(), &ask).unwrap().fetched, std::slice::from_ref(&first));
    let (all, _): Stamp = pointer(node.path()).unwrap().unwrap();
    assert_eq!(all.newest.generation, first);
    assert_eq!(listed(node.path(), &first), listed(origin.path(), &first));
    same(node.path(), &first);
}
