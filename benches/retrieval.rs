//! What a search and an index cost, beside tantivy's BM25 with its own tokeniser over the same passages and beside the
//! encoder alone.
//!
//!     cargo bench --bench retrieval -- search DOCUMENTS QUESTIONS FOLDER
//!     cargo bench --bench retrieval -- index DOCUMENTS QUESTIONS FOLDER
//!     cargo bench --bench retrieval -- reindex DOCUMENTS QUESTIONS FOLDER [SECONDS]
//!     cargo bench --bench retrieval -- neighbours FOLDER [VECTORS...]
//!
//! DOCUMENTS and QUESTIONS are JSON lines ({"id","title","content"}; {"query"}). One line of JSON on standard output.
//! FOLDER is on the disk that is measured, and is emptied afterwards. `neighbours` makes up its vectors, in clusters: 50,000,
//! 200,000 and 500,000 of them unless told otherwise.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

use prokura::base::{Language, Timestamp};
use prokura::policy::neighbours::Graph;
use prokura::policy::{self, Clearance, Document, Generation, Options, Policies, Question};
use prokura::understanding::encoder::Kernel;
use prokura::understanding::search::SearchWeights;
use prokura::understanding::{Calibration, Schema, Understanding, bundle};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{STORED, Schema as TantivySchema, TEXT};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// All questions are asked so often, in turns with the peers.
const ROUNDS: usize = 5;
/// Documents of the corpus that grows.
const MANY: usize = 10_000;
/// Bytes of a vector.
const WIDTH: usize = 384;
/// Neighbours that a question looks for.
const WANTED: usize = 50;
/// Questions that neighbours are looked for.
const ASKED: usize = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let told = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["search", documents, questions, folder] => {
            search(Path::new(documents), Path::new(questions), Path::new(folder))
        }
        ["index", documents, questions, folder] => {
            index(Path::new(documents), Path::new(questions), Path::new(folder))
        }
        ["reindex", documents, questions, folder] => {
            reindex(Path::new(documents), Path::new(questions), Path::new(folder), 60)
        }
        ["reindex", documents, questions, folder, seconds] => {
            reindex(Path::new(documents), Path::new(questions), Path::new(folder), seconds.parse().unwrap())
        }
        ["neighbours", folder] => neighbours(Path::new(folder), &[50_000, 200_000, 500_000]),
        ["neighbours", folder, counts @ ..] => {
            let counts: Vec<usize> = counts.iter().map(|count| count.parse().unwrap()).collect();
            neighbours(Path::new(folder), &counts)
        }
        _ => {
            eprintln!("see the head of benches/retrieval.rs");
            return;
        }
    };
    println!("{told}");
}

fn models(folder: &Path) -> Understanding {
    Understanding::load(folder, &Schema::read(Path::new("config")).unwrap()).unwrap()
}

fn shipped() -> PathBuf {
    PathBuf::from("models/default")
}

/// The shipped bundle with weights that leave out the comparison piece by piece.
fn without_pieces(folder: &Path) -> Understanding {
    let opened = bundle::open(&shipped()).unwrap();
    let without = |(language, weights): (&Language, &SearchWeights)| {
        (*language, SearchWeights { pieces: 0.0, ..weights.clone() })
    };
    let search = opened.calibration.search.iter().map(without).collect();
    let calibration = Calibration { search, ..opened.calibration };
    bundle::recalibrated(&shipped(), folder, &calibration, str::to_owned).unwrap();
    models(folder)
}

fn options(models: &Understanding) -> Options<'_> {
    Options {
        language: Language::En,
        now: Timestamp::from_millis(1_790_000_000_000),
        models: Some(models),
        bar: None,
        kept: None,
    }
}

fn documents(file: &Path) -> Vec<Document> {
    policy::gather(&[file.to_path_buf()], Language::En, &|_, _| {}).unwrap().documents
}

/// `count` documents: those of the file over and over, each time with other ids and a sentence of its own, so that no
/// two have the same text.
fn many(all: &[Document], count: usize) -> Vec<Document> {
    let numbered = all.iter().cycle().take(count).enumerate();
    let mut many: Vec<Document> = numbered
        .map(|(at, document)| Document {
            id: format!("{}-{at:05}", document.id),
            body: format!("{}\n\nReference of this document: {at}.", document.body),
            ..document.clone()
        })
        .collect();
    many.sort_by(|a, b| a.id.cmp(&b.id));
    many
}

fn questions(file: &Path) -> Vec<Question> {
    let text = std::fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        Question {
            id: "q".to_owned(),
            text: value["query"].as_str().unwrap().to_owned(),
            about: Vec::new(),
            language: None,
            audience: Clearance::All,
            as_of: policy::parse_date("2026-09-21").unwrap(),
            documents: None,
            product: None,
            top: 10,
            each: None,
        }
    };
    text.lines().map(line).collect()
}

/// Microseconds: the median, the 99th of a hundred, the mean.
fn summary(mut micros: Vec<f64>) -> Value {
    micros.sort_by(f64::total_cmp);
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
    let mean = micros.iter().sum::<f64>() / micros.len() as f64;
    json!({"n": micros.len(), "p50_us": at(0.5), "p99_us": at(0.99), "mean_us": mean})
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64() * 1e6)
}

/// tantivy as its documentation has it: one text field, BM25, ten results.
struct Plain {
    reader: tantivy::IndexReader,
    parser: QueryParser,
}

impl Plain {
    fn new(documents: &[Document]) -> Self {
        let mut builder = TantivySchema::builder();
        let text = builder.add_text_field("text", TEXT);
        let id = builder.add_text_field("id", STORED);
        let index = tantivy::Index::create_in_ram(builder.build());
        let mut writer = index.writer_with_num_threads(1, 64_000_000).unwrap();
        for passage in policy::passages(documents) {
            let mut entry = tantivy::TantivyDocument::default();
            entry.add_text(text, &passage.text);
            entry.add_text(id, &documents[passage.document].id);
            writer.add_document(entry).unwrap();
        }
        writer.commit().unwrap();
        Self { reader: index.reader().unwrap(), parser: QueryParser::for_index(&index, vec![text]) }
    }

    fn search(&self, question: &str) -> usize {
        let words: String = question
            .chars()
            .map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' })
            .collect();
        let (query, _) = self.parser.parse_query_lenient(&words);
        self.reader.searcher().search(&query, &TopDocs::with_limit(10).order_by_score()).unwrap().len()
    }
}

fn search(file: &Path, asked: &Path, folder: &Path) -> Value {
    let (all, asked) = (documents(file), questions(asked));
    let full = models(&shipped());
    let vectors = without_pieces(&folder.join("bundle"));
    let state = folder.join("state");
    let published = policy::publish(&state, &all, options(&full), &|_, _| {}).unwrap();
    let generation = policy::open_generation(&state, published.generation.as_str()).unwrap();
    let plain = Plain::new(&all);
    let mut times: [Vec<f64>; 6] = Default::default();
    for round in 0..=ROUNDS {
        for question in &asked {
            let best = generation.search(question, Some(&full)).unwrap().passages.swap_remove(0);
            let pair = format!("{} {}", question.text, best.text);
            let each = [
                timed(|| black_box(plain.search(&question.text))).1,
                timed(|| black_box(full.embedded(&[&question.text]).unwrap())).1,
                timed(|| black_box(generation.search(question, None).unwrap())).1,
                timed(|| black_box(generation.search(question, Some(&vectors)).unwrap())).1,
                timed(|| black_box(generation.search(question, Some(&full)).unwrap())).1,
                // What a head that judges a question and a passage read together would cost for each.
                timed(|| black_box(full.embedded(&[&pair]).unwrap())).1,
            ];
            // The first round warms up.
            if round > 0 {
                each.iter().zip(&mut times).for_each(|(time, times)| times.push(*time));
            }
        }
    }
    let mean = |at: usize| times[at].iter().sum::<f64>() / times[at].len() as f64;
    let told = json!({
        "documents": all.len(), "passages": published.passages, "questions": asked.len(),
        "kernel": full.model().kernel().as_str(),
        "tantivy_bm25": summary(times[0].clone()),
        "encoder": summary(times[1].clone()),
        "words": summary(times[2].clone()),
        "without_rerank": summary(times[3].clone()),
        "whole": summary(times[4].clone()),
        "pair": summary(times[5].clone()),
        "pairs_in_the_time_of_the_rerank": (mean(4) - mean(3)) / mean(5),
        "whole_over_tantivy": mean(4) / mean(0),
        "words_over_tantivy": mean(2) / mean(0),
        "without_rerank_over_encoder": mean(3) / mean(1),
        "whole_over_encoder": mean(4) / mean(1),
    });
    std::fs::remove_dir_all(folder).unwrap();
    told
}

fn size(folder: &Path) -> u64 {
    let entry = |entry: std::fs::DirEntry| {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }
    };
    std::fs::read_dir(folder).unwrap().map(|found| entry(found.unwrap())).sum()
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What searches cost in a small and in a large generation, asked in turns.
fn growth(small: &Generation, large: &Generation, asked: &[Question], models: &Understanding) -> Value {
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        for question in asked {
            let each = [(small, None), (large, None), (small, Some(models)), (large, Some(models))];
            for ((generation, models), times) in each.into_iter().zip(&mut times) {
                let (found, time) = timed(|| generation.search(question, models).unwrap());
                black_box(found);
                if round > 0 {
                    times.push(time);
                }
            }
        }
    }
    let [small_words, large_words, small_whole, large_whole] = times.map(summary);
    let passages = |of: &Generation| of.manifest().passages;
    let ratio =
        |large: &Value, small: &Value| large["p50_us"].as_f64().unwrap() / small["p50_us"].as_f64().unwrap();
    json!({
        "passages": [passages(small), passages(large)],
        "words_ratio": ratio(&large_words, &small_words), "whole_ratio": ratio(&large_whole, &small_whole),
        "words": [small_words, large_words], "whole": [small_whole, large_whole],
    })
}

fn index(file: &Path, asked: &Path, folder: &Path) -> Value {
    let full = models(&shipped());
    let all = documents(file);
    let state = folder.join("state");
    let (small, whole) = timed(|| policy::publish(&state, &all, options(&full), &|_, _| {}).unwrap());
    let texts: Vec<String> = policy::passages(&all).into_iter().map(|passage| passage.text).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let ((), encoder) = timed(|| {
        std::thread::scope(|scope| {
            for part in texts.chunks(texts.len().div_ceil(threads)) {
                let full = &full;
                scope.spawn(move || {
                    for batch in part.chunks(16) {
                        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
                        black_box(full.embedded(&batch).unwrap());
                    }
                });
            }
        });
    });
    let grown = folder.join("grown");
    let corpus = many(&all, MANY);
    let (published, first) = timed(|| policy::publish(&grown, &corpus, options(&full), &|_, _| {}).unwrap());
    let before = resident();
    let policies = Policies::open(&grown).unwrap();
    let memory = resident().saturating_sub(before);
    let generation = policies.current(full.searcher());
    let small = policy::open_generation(&state, small.generation.as_str()).unwrap();
    let growth = growth(&small, &generation, &questions(asked), &full);
    let mut updates = Vec::new();
    for round in 0..5 {
        let document =
            Document { body: format!("The fee of round {round} is {round} EUR."), ..corpus[7].clone() };
        let (published, seconds) = timed(|| {
            let put = (vec![document], &BTreeSet::new());
            let published = policy::amend(&grown, put, options(&full), &|_, _| {}).unwrap();
            // Until a search finds it.
            policies.refresh();
            assert_eq!(policies.current(full.searcher()).digest(), &published.generation);
            published
        });
        black_box(published);
        updates.push(seconds / 1e6);
    }
    let packs = size(&grown.join("index/vectors"));
    let own = size(&grown.join("index").join(published.generation.hex()));
    let told = json!({
        "documents": all.len(), "passages": texts.len(), "documents_per_second": all.len() as f64 / (whole / 1e6),
        "encoder_share": encoder / whole, "threads": threads,
        "many_documents": MANY, "many_passages": published.passages, "many_seconds": first / 1e6,
        "update_seconds": updates, "search": growth,
        "disk_per_10000_passages": (packs + own) as f64 / published.passages as f64 * 1e4,
        "vectors_in_memory_per_10000_passages": generation.vector_bytes() as f64 / published.passages as f64 * 1e4,
        "resident_per_10000_passages": memory as f64 / published.passages as f64 * 1e4,
    });
    drop((policies, generation));
    std::fs::remove_dir_all(folder).unwrap();
    told
}

/// Questions without a pause for so many seconds, and as long again with ten reindexes among them.
fn reindex(file: &Path, asked: &Path, folder: &Path, seconds: u64) -> Value {
    let (all, asked) = (documents(file), questions(asked));
    let full = Arc::new(models(&shipped()));
    let state = folder.join("state");
    policy::publish(&state, &all, options(&full), &|_, _| {}).unwrap();
    let policies = Arc::new(Policies::open(&state).unwrap());
    policies.watched();
    let (ended, failed, mixed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |changes: usize| -> (Vec<f64>, usize) {
        let mut times = Vec::new();
        let until = Instant::now() + Duration::from_secs(seconds);
        let done = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut done = 0;
                for round in 0..changes {
                    let mut next = all.clone();
                    next[0].body = format!("{} Round {round}.", all[0].body);
                    policy::publish(&state, &next, options(&full), &|_, _| {}).unwrap();
                    done += 1;
                    let pause = until.saturating_duration_since(Instant::now()) / (changes - round) as u32;
                    std::thread::sleep(pause);
                }
                done
            });
            let refresher = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    policies.refresh();
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            for question in asked.iter().cycle() {
                if Instant::now() >= until {
                    break;
                }
                let (found, time) = timed(|| policies.search(question, Some(&full)));
                times.push(time);
                match found {
                    Err(_) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                    Ok(found) => {
                        let of = policies.pinned(&found.generation);
                        let whole = of.is_ok_and(|of| found.passages.iter().all(|passage| of.holds(passage)));
                        mixed.fetch_add(usize::from(!whole), Ordering::Relaxed);
                    }
                }
            }
            let done = writer.join().unwrap();
            ended.store(true, Ordering::Relaxed);
            refresher.join().unwrap();
            done
        });
        ended.store(false, Ordering::Relaxed);
        (times, done)
    };
    let (quiet, _) = run(0);
    let (busy, done) = run(10);
    let (quiet, busy) = (summary(quiet), summary(busy));
    let p99 = |of: &Value| of["p99_us"].as_f64().unwrap();
    let told = json!({
        "reindexes": done, "failed": failed.into_inner(), "mixed": mixed.into_inner(),
        "quiet": quiet, "busy": busy, "p99_ratio": p99(&busy) / p99(&quiet),
    });
    drop(policies);
    std::fs::remove_dir_all(folder).unwrap();
    told
}

/// Vectors around vectors: of everything, of a subject (500 passages), of a document (10), of a passage. Gives passages in
/// no order, and questions near some of them.
fn clustered(count: usize) -> (Vec<Vec<i8>>, Vec<Vec<i8>>) {
    let mut random = StdRng::seed_from_u64(1);
    let mut spread = |around: &[f32], by: f32| -> Vec<f32> {
        around.iter().map(|value| value + by * random.random_range(-1.0..1.0_f32)).collect()
    };
    let stored = |vector: &[f32]| -> Vec<i8> {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| (value / length * 127.0).round() as i8).collect()
    };
    let all = spread(&[0.0; WIDTH], 0.7);
    let (mut subject, mut document) = (Vec::new(), Vec::new());
    let (mut passages, mut questions) = (Vec::with_capacity(count), Vec::with_capacity(ASKED));
    for number in 0..count {
        if number % 500 == 0 {
            subject = spread(&all, 1.0);
        }
        if number % 10 == 0 {
            document = spread(&subject, 0.5);
        }
        let passage = spread(&document, 0.4);
        passages.push(stored(&passage));
        if number % (count / ASKED).max(1) == 0 {
            questions.push(stored(&spread(&passage, 0.5)));
        }
    }
    for at in (1..count).rev() {
        passages.swap(at, random.random_range(0..=at));
    }
    (passages, questions)
}

/// The sum of the last of the nearest admitted, by a scan of all.
fn compared(kernel: Kernel, question: &[i8], flat: &[i8], admits: &dyn Fn(&usize) -> bool) -> i32 {
    let sums = kernel.dots(question, flat).into_iter().enumerate();
    let mut sums: Vec<i32> = sums.filter(|(number, _)| admits(number)).map(|(_, sum)| sum).collect();
    *sums.select_nth_unstable_by(WANTED - 1, |a, b| b.cmp(a)).1
}

/// A scan of all vectors beside a search of the graph, of all and of every second one.
fn neighbours(folder: &Path, counts: &[usize]) -> Value {
    let kernel = Kernel::best();
    let mut cases = Vec::new();
    for count in counts {
        let (passages, questions) = clustered(*count);
        let flat = passages.concat();
        let vectors: Vec<&[i8]> = passages.iter().map(Vec::as_slice).collect();
        std::fs::create_dir_all(folder).unwrap();
        let (graph, built) = timed(|| Graph::build(&vectors, &|_, _| {}));
        graph.write(folder).unwrap();
        drop(graph);
        let data = std::fs::read(folder.join("neighbours.hnsw.data")).unwrap();
        let before = resident();
        let (graph, opened) = timed(|| Graph::open(folder, &data, (*count, WIDTH)).unwrap());
        let memory = resident().saturating_sub(before);
        let (all, half) = (|_: &usize| true, |number: &usize| number.is_multiple_of(2));
        let of = |admits: &dyn Fn(&usize) -> bool, filter: Option<&dyn Fn(&usize) -> bool>| {
            let (mut scan, mut search, mut right) = (Vec::new(), Vec::new(), 0);
            for question in &questions {
                let (last, time) = timed(|| compared(kernel, question, &flat, admits));
                scan.push(time);
                let (found, time) = timed(|| graph.nearest(question, WANTED, filter));
                search.push(time);
                // One that is as near as the last is as good.
                let near = |number: &&usize| kernel.dots(question, vectors[**number])[0] >= last;
                right += found.iter().filter(near).count();
            }
            let recall = right as f64 / (WANTED * questions.len()) as f64;
            json!({"scan": summary(scan), "graph": summary(search), "recall": recall})
        };
        cases.push(json!({
            "vectors": count, "all": of(&all, None), "half": of(&half, Some(&half)),
            "build_seconds": built / 1e6, "open_seconds": opened / 1e6,
            "bytes": size(folder), "resident_bytes": memory,
        }));
        drop(graph);
        std::fs::remove_dir_all(folder).unwrap();
    }
    json!({"kernel": kernel.as_str(), "wanted": WANTED, "cases": cases})
}
