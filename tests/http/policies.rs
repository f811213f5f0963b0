//! Administration of the policy documents over the API, and the page for it.

use super::Served;
use crate::documents::made;
use crate::stage::{Stage, models, raw};
use prokura::base::{Clock, Digest, Language, SystemClock};
use prokura::ledger::{Stream, StreamKind};
use prokura::policy::{self, Options};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

const SAFE_BOX: &str = "---\nid: safe-box-en\nversion: \"1\"\ntitle: Safe deposit boxes\nlanguage: en\nowner: Vault\n---\n\
    # Renting\n\nA safe deposit box in the vault of the main branch costs 84 EUR a year.\n\n\
    # Lost key\n\nWhoever loses the key of a safe deposit box pays 310 EUR for drilling. See [hours](hours.md).\n";
const UPLOAD: &str = "/v1/policies/documents?name=safe-box.md";
const PREVIEW: &str = "/v1/policies/preview?name=safe-box.md";
const QUESTION: &str = "I lost the key of my safe deposit box";

/// Nobody looks for what was published: a change itself has to see to it that it answers.
async fn served() -> Served {
    let stage = Stage::with_own_policies().await;
    stage.cases.parts().policies.watched();
    Served::around(stage).await
}

impl Served {
    async fn current(&self) -> String {
        let (status, told) = self.call("agent", "GET", "/v1/policies", None).await;
        assert_eq!(status, 200, "{told}");
        let all = told["generations"].as_array().unwrap();
        let current: Vec<&Value> = all.iter().filter(|one| one["current"] == true).collect();
        assert_eq!(current.len(), 1, "{told}");
        current[0]["generation"].as_str().unwrap().to_owned()
    }

    /// The document that stands first, and the passage.
    async fn first(&self, query: &str) -> Value {
        let asked = json!({"query": query, "language": "en"});
        let (status, found) = self.call("agent", "POST", "/v1/search", Some(asked)).await;
        assert_eq!(status, 200, "{found}");
        found["passages"][0].clone()
    }

    async fn ids(&self, key: &str) -> Vec<String> {
        let (status, told) = self.call(key, "GET", "/v1/policies/documents", None).await;
        assert_eq!(status, 200, "{told}");
        let all = told["documents"].as_array().unwrap().iter();
        all.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Kind and body of every change.
    fn changes(&self) -> Vec<(String, Value)> {
        let stream = Stream::new(StreamKind::Policies, "changes");
        let entries = self.stage.cases.parts().ledger.stream(&stream, 0).unwrap();
        entries.into_iter().map(|entry| (entry.kind, entry.body)).collect()
    }
}

#[tokio::test]
async fn what_is_uploaded_answers_at_once_and_can_be_taken_back() {
    let served = served().await;
    let before = served.current().await;
    assert_ne!(served.first(QUESTION).await["document"], "safe-box-en");

    let (status, read) = served.send("policy_admin", PREVIEW, SAFE_BOX.as_bytes()).await;
    assert_eq!(status, 200, "{read}");
    assert_eq!(read["documents"][0]["id"], "safe-box-en");
    assert_eq!(read["documents"][0]["passages"][1]["section"], json!(["Lost key"]));
    assert_eq!(read["concerns"].as_array().unwrap().len(), 1, "only what it brings: {read}");
    assert_eq!(read["concerns"][0]["target"], "hours.md");
    assert_eq!(served.current().await, before);
    assert!(!served.ids("policy_admin").await.contains(&"safe-box-en".to_owned()));
    assert_eq!(served.changes(), []);

    let (status, done) = served.send("policy_admin", UPLOAD, SAFE_BOX.as_bytes()).await;
    assert_eq!((status, &done["built"], &done["previous"]), (200, &json!(true), &json!(before)), "{done}");
    assert!(done["tested"]["enough"] == true && done["encoder"].is_string(), "{done}");
    let first = served.first(QUESTION).await;
    assert_eq!((&first["document"], &first["section"]), (&json!("safe-box-en"), &json!(["Lost key"])));
    assert!(first["sentences"][0]["text"].as_str().unwrap().contains("310 EUR"), "{first}");
    let after = served.current().await;
    assert_eq!(done["generation"], json!(after));

    // What was written down says who and what, and nothing that the document says.
    let source = Digest::of(SAFE_BOX.as_bytes()).to_string();
    let named = json!([{"id": "safe-box-en", "version": "1", "source": source}]);
    let asked = json!({
        "by": {"name": "policy_admin", "role": "policy_admin", "policies": ["policy-administrators-publish"]}, "what": "upload", "documents": named,
        "source": source, "forced": false,
    });
    let changes = served.changes();
    assert_eq!(changes[0], ("asked".to_owned(), asked.clone()));
    let mut ended = asked;
    (ended["before"], ended["after"]) = (json!(before), json!(after));
    assert_eq!(changes[1], ("done".to_owned(), ended));
    assert!(!format!("{changes:?}").contains("310"));

    let path = format!("/v1/policies/diff?from={}&to={}", &before[7..19], &after[7..19]);
    let (_, found) = served.call("agent", "GET", &path, None).await;
    let changed = found["documents"].as_array().unwrap();
    assert_eq!((changed.len(), &changed[0]["change"]), (1, &json!("added")), "{found}");
    assert_eq!(changed[0]["plans"], json!([]));

    let back = json!({"generation": before});
    let (status, rolled) = served.call("operator", "POST", "/v1/policies/rollback", Some(back)).await;
    assert_eq!((status, rolled), (200, json!({"current": before, "previous": after})));
    assert_ne!(served.first(QUESTION).await["document"], "safe-box-en");
    let (kind, last) = served.changes().pop().unwrap();
    assert_eq!(
        (kind.as_str(), &last["what"], &last["by"]["name"]),
        ("done", &json!("rollback"), &json!("operator"))
    );
    assert_eq!((&last["before"], &last["after"]), (&json!(after), &json!(before)));
}

#[tokio::test]
async fn a_pdf_is_uploaded_found_by_its_page_and_removed() {
    let served = served().await;
    let page = |text: &str| format!("BT /F 12 Tf 72 700 Td ({text}) Tj ET").into_bytes();
    let texts = [
        "Renting a safe deposit box costs 84 EUR a year.",
        "Who loses the key of a safe deposit box pays 310 EUR.",
    ];
    let pdf = made::pages(&texts.map(page), &[b"null".to_vec()]);
    let path = "/v1/policies/documents?name=box.pdf&id=box-en&title=Safe%20deposit%20boxes&language=en&version=7&owner=Vault";
    let (status, done) = served.send("operator", path, &pdf).await;
    assert_eq!(status, 200, "{done}");
    let first = served.first(QUESTION).await;
    assert_eq!(
        (&first["document"], &first["version"], &first["page"]),
        (&json!("box-en"), &json!("7"), &json!(1))
    );
    let (_, listed) = served.call("auditor", "GET", "/v1/policies/documents", None).await;
    let all = listed["documents"].as_array().unwrap();
    let line = all.iter().find(|one| one["id"] == "box-en").unwrap();
    assert_eq!((&line["owner"], &line["source"]), (&json!("Vault"), &json!(Digest::of(&pdf))));
    assert_eq!(all.len() as u64, done["documents"].as_u64().unwrap());

    let (status, gone) = served.call("policy_admin", "DELETE", "/v1/policies/documents/box-en", None).await;
    assert_eq!(status, 200, "{gone}");
    assert_ne!(served.first(QUESTION).await["document"], "box-en");
    let (kind, last) = served.changes().pop().unwrap();
    assert_eq!(
        (kind.as_str(), &last["what"], &last["documents"][0]["version"]),
        ("done", &json!("remove"), &json!("7"))
    );
    let (status, refused) =
        served.call("policy_admin", "DELETE", "/v1/policies/documents/box-en", None).await;
    assert_eq!((status, &refused["error"]["code"]), (404, &json!("no_document")));

    // An earlier generation is still there to look at, until it is forgotten.
    let of = |name: &Value| format!("/v1/policies/documents?generation={}", name.as_str().unwrap());
    let (status, then) = served.call("agent", "GET", &of(&done["generation"]), None).await;
    assert_eq!((status, then["documents"].as_array().unwrap().len()), (200, all.len()));
    let (_, verified) = served.call("auditor", "GET", "/v1/policies/verify", None).await;
    let whole = verified["generations"].as_array().unwrap();
    assert!(whole.len() == 2 && whole.iter().all(|one| one["whole"] == true), "{verified}");
    let days = Some(json!({"days": 0}));
    let (status, forgotten) = served.call("policy_admin", "POST", "/v1/policies/forget", days).await;
    assert_eq!((status, &forgotten["forgotten"]), (200, &json!([done["generation"]])));
    assert_eq!(served.call("agent", "GET", &of(&done["generation"]), None).await.0, 404);
    assert_eq!(served.changes().pop().unwrap().1["forgotten"], json!([done["generation"]]));
}

#[tokio::test]
async fn a_role_changes_and_sees_what_it_may() {
    let served = served().await;
    let before = served.current().await;
    for key in ["agent", "supervisor", "auditor", "model_admin", "channel", "system"] {
        for path in [UPLOAD, PREVIEW] {
            assert_eq!(served.send(key, path, SAFE_BOX.as_bytes()).await.0, 403, "{key} {path}");
        }
        let (body, rolled) = (Some(json!({"generation": before})), "/v1/policies/rollback");
        assert_eq!(served.call(key, "POST", rolled, body).await.0, 403, "{key}");
        let path = "/v1/policies/documents/fees-de";
        assert_eq!(served.call(key, "DELETE", path, None).await.0, 403, "{key}");
        assert_eq!(served.call(key, "POST", "/v1/policies/forget", Some(json!({"days": 0}))).await.0, 403);
    }
    for path in ["/v1/policies", "/v1/policies/documents", "/v1/policies/diff?from=0&to=1"] {
        assert_eq!(served.call("channel", "GET", path, None).await.0, 403, "{path}");
    }
    assert_eq!(served.call("agent", "GET", "/v1/policies/verify", None).await.0, 403);
    assert_eq!((served.current().await, served.changes()), (before.clone(), Vec::new()));

    // A document for supervisors is none for agents: not in the list, and not in what changed.
    let path = format!("{UPLOAD}&audience=supervisor");
    assert_eq!(served.send("policy_admin", &path, SAFE_BOX.as_bytes()).await.0, 200);
    let own = "safe-box-en".to_owned();
    for (key, sees) in [("agent", false), ("supervisor", true), ("auditor", true), ("policy_admin", true)] {
        assert_eq!(served.ids(key).await.contains(&own), sees, "{key}");
        let path = format!("/v1/policies/diff?from={before}&to={}", served.current().await);
        let (status, found) = served.call(key, "GET", &path, None).await;
        assert_eq!((status, found["documents"].as_array().unwrap().len()), (200, usize::from(sees)), "{key}");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_its_reason_and_changes_nothing() {
    let served = served().await;
    let before = served.current().await;
    let bomb = made::flat_bomb("word/document.xml", "<w:document><w:body>", 200 << 20);
    let large = vec![b'a'; (16 << 20) + 1];
    let personal = b"---\naudience: Max Mustermann\n---\n# Fees\n\nText".as_slice();
    let same_day =
        b"---\nid: fees-en\nversion: \"77\"\nvalid_from: 2026-01-01\nlanguage: en\n---\n# Fees\n\nText"
            .as_slice();
    let cases: [(&str, &[u8], u16, &str); 13] = [
        ("documents?name=a.docx", &bomb, 422, "inflate"),
        ("preview?name=a.docx", &bomb, 422, "inflate"),
        ("documents?name=a.pdf", b"%PDF-1.7 and nothing", 422, "damaged"),
        ("documents?name=a.pdf", b"no pdf", 422, "the content is"),
        ("documents?name=a.md", personal, 422, "line 2, audience: write `public`"),
        ("documents?name=a.md", same_day, 422, "begins on the same day"),
        ("documents?name=a.jsonl", b"\"Max Mustermann\"", 422, "one JSON object a line"),
        ("documents?name=a.jsonl", b"", 422, "there would be no document"),
        ("documents?name=a.md", &large, 413, "16777216"),
        ("documents?name=a.pages", b"x", 415, ".docx"),
        ("documents", b"x", 400, "`name`"),
        ("documents?name=a.md&colour=red", b"x", 400, "`colour`"),
        ("documents?name=..%2Fa.md", b"x", 400, "`name`"),
    ];
    for (path, bytes, wanted, says) in cases {
        let (status, told) = served.send("policy_admin", &format!("/v1/policies/{path}"), bytes).await;
        assert_eq!(status, wanted, "{path} {told}");
        let said = format!("{} {}", told["error"]["message"], told["error"]["remedy"]);
        assert!(said.contains(says) && !said.contains("Mustermann"), "{path} {told}");
    }
    let form =
        [("Authorization", "Bearer policy_admin"), ("Content-Type", "multipart/form-data; boundary=x")];
    assert_eq!(raw(&served.address, "POST", UPLOAD, &form, b"--x--").await.0, 415);
    for (path, body, code) in [
        ("/v1/policies/rollback", json!({"generation": "ffff"}), "no_generation"),
        ("/v1/policies/test", json!({"generation": "ffff"}), "no_generation"),
    ] {
        let (status, told) = served.call("policy_admin", "POST", path, Some(body)).await;
        assert_eq!((status, &told["error"]["code"]), (404, &json!(code)), "{path}");
    }
    let (status, told) = served.call("policy_admin", "GET", "/v1/policies/diff?from=ffff", None).await;
    assert_eq!((status, &told["error"]["code"]), (400, &json!("bad_query")));
    assert_eq!(served.current().await, before);
    // Of all these only what could be read was asked for.
    let kinds: Vec<(String, Value)> =
        served.changes().into_iter().map(|(kind, body)| (kind, body["reason"].clone())).collect();
    assert_eq!(kinds, [("asked".to_owned(), Value::Null), ("refused".to_owned(), json!("bad_document"))]);
    let (status, found) = served.call("policy_admin", "POST", "/v1/policies/validate", None).await;
    assert!(status == 200 && found["concerns"].is_array(), "{found}");
}

#[tokio::test]
async fn what_does_not_answer_the_saved_questions_or_is_cited_stays() {
    let served = served().await;
    let (status, tested) = served.call("auditor", "POST", "/v1/policies/test", Some(json!({}))).await;
    assert_eq!((status, &tested["enough"]), (200, &json!(true)), "{tested}");
    let asked = tested["asked"].as_u64().unwrap();
    assert!(asked > 9 && tested["questions"].as_array().unwrap().len() as u64 == asked, "{tested}");

    let mut refused = None;
    for id in ["automated-service-privacy-de", "internal-approval-limits-en"] {
        let before = served.current().await;
        let path = format!("/v1/policies/documents/{id}");
        let (status, told) = served.call("policy_admin", "DELETE", &path, None).await;
        if status != 200 {
            refused = Some((id, path, before, status, told));
            break;
        }
    }
    let (id, path, before, status, told) = refused.unwrap();
    assert_eq!((status, &told["error"]["code"]), (409, &json!("below_bar")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains(id), "{told}");
    assert_eq!(served.current().await, before);
    assert!(served.ids("agent").await.contains(&id.to_owned()));
    let (kind, body) = served.changes().pop().unwrap();
    assert_eq!(
        (kind.as_str(), &body["reason"], &body["forced"]),
        ("refused", &json!("below_bar"), &json!(false))
    );
    let (status, told) = served.call("policy_admin", "DELETE", &format!("{path}?force=true"), None).await;
    assert_eq!((status, &told["tested"]), (200, &Value::Null), "{told}");
    assert!(!served.ids("agent").await.contains(&id.to_owned()));
    assert_eq!(served.changes().pop().unwrap().1["forced"], json!(true));

    // Without the last document of a plan the service would not start again.
    let forced = |id: &str| format!("/v1/policies/documents/{id}?force=true");
    assert_eq!(served.call("operator", "DELETE", &forced("complaints-de"), None).await.0, 200);
    let (status, told) = served.call("operator", "DELETE", &forced("complaints-en"), None).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("cited")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("formal_complaint"), "{told}");

    // One changes at a time.
    let state = served.stage.directory.path().to_owned();
    let holding = tokio::task::spawn_blocking(move || {
        let models = models().current();
        let options = Options {
            language: Language::En,
            now: SystemClock.now(),
            models: Some(&models),
            bar: None,
            kept: None,
        };
        policy::follow(&state, options, &|_, _| {}).unwrap()
    });
    let holding = holding.await.unwrap();
    let (status, told) = served.send("policy_admin", UPLOAD, SAFE_BOX.as_bytes()).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("publishing")), "{told}");
    drop(holding);
    let path = format!("{UPLOAD}&force=true");
    assert_eq!(served.send("policy_admin", &path, SAFE_BOX.as_bytes()).await.0, 200);
}

#[tokio::test]
async fn a_change_goes_on_when_nobody_waits_for_it() {
    let served = served().await;
    let before = served.current().await;
    let request = format!(
        "POST {UPLOAD} HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer policy_admin\r\nContent-Length: {}\r\n\r\n{SAFE_BOX}",
        SAFE_BOX.len()
    );
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let until = async |wanted: usize| {
        while served.changes().len() < wanted {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", served.changes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until(1).await;
    drop(stream);
    until(2).await;
    assert_eq!(served.changes()[1].0, "done");
    assert_ne!(served.current().await, before);
}

#[tokio::test]
async fn so_many_files_are_held_and_a_customers_message_is_none_of_them() {
    let served = served().await;
    let begun = format!(
        "POST {PREVIEW} HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer policy_admin\r\nContent-Length: {}\r\n\r\n---",
        SAFE_BOX.len()
    );
    let mut coming = Vec::new();
    let until_refused = Instant::now() + Duration::from_secs(60);
    for _ in 0..4 {
        let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        coming.push(stream);
    }
    let asked = async || served.send("policy_admin", PREVIEW, SAFE_BOX.as_bytes()).await;
    let refused = loop {
        let (status, told) = asked().await;
        if status != 200 {
            break (status, told);
        }
        assert!(Instant::now() < until_refused, "they were all taken");
        // One of those that come may have met the one that was asked just now.
        let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        coming.push(stream);
    };
    assert_eq!((refused.0, &refused.1["error"]["code"]), (429, &json!("busy")), "{}", refused.1);
    let file = json!({"text": "Was kostet die Kontoführung?", "attachments": [{"name": "a.txt", "content": "YWJj"}]});
    let (status, told) = served.call("channel", "POST", "/v1/cases", Some(file)).await;
    assert!(matches!(status, 201 | 202), "{told}");
    drop(coming);
    while asked().await.0 != 200 {
        assert!(Instant::now() < until_refused, "no place is given back");
    }
}

#[tokio::test]
async fn the_page_loads_nothing_but_itself() {
    let served = served().await;
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    let request = "GET /console/policies HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-type: text/html; charset=utf-8"),
        "{head}"
    );
    for header in ["x-content-type-options: nosniff", "x-frame-options: deny", "cache-control: no-store"] {
        assert!(head.contains(header), "{header}");
    }
    let policy = answer.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    // What the browser runs is what the policy lets run.
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(page.matches(&open).count(), 1, "{tag}");
        let text = page.split_once(&open).unwrap().1.split_once(&close).unwrap().0;
        assert!(text.len() > 500, "{tag}");
        use base64::Engine as _;
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash.as_ref());
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{tag}: {policy}");
    }
    let (status, told) = raw(&served.address, "POST", "/console/policies", &[], b"").await;
    assert!(status == 405 && told.contains("method_not_allowed"), "{status} {told}");
}
