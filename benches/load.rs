//! Load on a running service's POST /v1/understand, for bench/serving.py: one line of JSON at the end.
//!
//!     cargo bench --bench load -- ADDRESS KEY TEXTS.jsonl closed CONNECTIONS SECONDS
//!     cargo bench --bench load -- ADDRESS KEY TEXTS.jsonl open RATE SECONDS
//!
//! `closed`: each connection sends its next request when it has its answer. `open`: requests are sent at their time,
//! RATE a second, whatever has become of those before; every other one has time (`bulk`).

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Milliseconds of the answers by urgency and status.
type Answers = Rc<RefCell<BTreeMap<(&'static str, u16), Vec<f64>>>>;

struct Target {
    address: String,
    /// Whole requests, urgent and bulk in turn.
    requests: Vec<(&'static str, Vec<u8>)>,
    answers: Answers,
    idle: RefCell<Vec<TcpStream>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [address, key, texts, kind, number, seconds] = arguments.as_slice() else {
        eprintln!("see the head of benches/load.rs");
        return;
    };
    let texts = std::fs::read_to_string(texts).unwrap();
    let request = |(at, line): (usize, &str)| {
        let bulk = kind == "open" && at % 2 == 1;
        let text: String = serde_json::from_str(line).unwrap();
        let body = json!({"text": text, "bulk": bulk}).to_string();
        let head = format!(
            "POST /v1/understand HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (if bulk { "bulk" } else { "urgent" }, [head.into_bytes(), body.into_bytes()].concat())
    };
    let target = Rc::new(Target {
        address: address.clone(),
        requests: texts.lines().enumerate().map(request).collect(),
        answers: Answers::default(),
        idle: RefCell::default(),
    });
    let (number, seconds): (f64, f64) = (number.parse().unwrap(), seconds.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = Instant::now();
    match kind.as_str() {
        "closed" => LocalSet::new().block_on(&runtime, closed(&target, number as usize, seconds)),
        _ => LocalSet::new().block_on(&runtime, open(&target, number, seconds)),
    }
    let passed = begun.elapsed().as_secs_f64();
    let mut told = serde_json::Map::new();
    for ((urgency, status), each) in target.answers.borrow_mut().iter_mut() {
        each.sort_by(f64::total_cmp);
        let at = |share: f64| each.get((each.len() as f64 * share) as usize).copied();
        let figures = json!({"n": each.len(), "p50_ms": at(0.5), "p99_ms": at(0.99), "per_second": each.len() as f64 / passed});
        told.insert(format!("{urgency} {status}"), figures);
    }
    println!("{}", json!({"seconds": passed, "answers": told}));
}

async fn closed(target: &Rc<Target>, connections: usize, seconds: f64) {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let all: Vec<_> = (0..connections)
        .map(|first| {
            let target = Rc::clone(target);
            tokio::task::spawn_local(async move {
                let mut at = first;
                while Instant::now() < until {
                    send(&target, at).await;
                    at += connections;
                }
            })
        })
        .collect();
    for each in all {
        each.await.unwrap();
    }
}

async fn open(target: &Rc<Target>, rate: f64, seconds: f64) {
    let begun = tokio::time::Instant::now();
    let mut all = Vec::new();
    for at in 0..(rate * seconds) as usize {
        tokio::time::sleep_until(begun + Duration::from_secs_f64(at as f64 / rate)).await;
        let target = Rc::clone(target);
        all.push(tokio::task::spawn_local(async move { send(&target, at).await }));
    }
    for each in all {
        each.await.unwrap();
    }
}

async fn send(target: &Target, at: usize) {
    let (urgency, request) = target.requests.get(at % target.requests.len()).unwrap();
    let begun = Instant::now();
    let there = target.idle.borrow_mut().pop();
    let mut stream = match there {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(&target.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        }
    };
    stream.write_all(request).await.unwrap();
    let status = answer(&mut stream).await;
    let passed = begun.elapsed().as_secs_f64() * 1e3;
    target.answers.borrow_mut().entry((urgency, status)).or_default().push(passed);
    target.idle.borrow_mut().push(stream);
}

/// Reads a whole answer, and gives its status.
async fn answer(stream: &mut TcpStream) -> u16 {
    let mut answer = Vec::with_capacity(4096);
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the service closed the connection");
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(answer.get(..head).unwrap()).unwrap().to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        if answer.len() >= head + 4 + length.parse::<usize>().unwrap() {
            return text.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}
