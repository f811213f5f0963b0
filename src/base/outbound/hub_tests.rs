//! Against a stand-in of a hub on this machine.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

const BODY: &[u8] = b"{\"hidden_size\": 384}";

/// What the stand-in does when a file is asked for.
#[derive(Clone)]
enum Answer {
    Give,
    /// Sends the client to this address.
    Redirect(String),
    /// Claims that the file is kept in block storage.
    Blocks,
}

/// Starts a hub that knows one file; gives `host:port` and what was asked.
fn stand_in(answer: Answer) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let response = respond(&head, &answer);
            log.lock().unwrap().push(head);
            let _ = stream.write_all(&response);
        }
    });
    (address, asked)
}

fn respond(head: &str, answer: &Answer) -> Vec<u8> {
    let ok = |extra: &str, body: &[u8], send: bool| {
        let mut out = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\nconnection: close\r\n{extra}\r\n",
            body.len()
        )
        .into_bytes();
        if send {
            out.extend_from_slice(body);
        }
        out
    };
    if head.starts_with("POST") && head.contains("/paths-info/main") {
        let blocks = if matches!(answer, Answer::Blocks) { ",\"xetHash\":\"ab\"" } else { "" };
        let list = format!(
            "[{{\"type\":\"file\",\"oid\":\"1\",\"size\":{},\"path\":\"config.json\"{blocks}}}]",
            BODY.len()
        );
        return ok("", list.as_bytes(), true);
    }
    if head.contains("/owner/name/resolve/main/config.json") {
        if let Answer::Redirect(target) = answer {
            return format!("HTTP/1.1 302 Found\r\nlocation: http://{target}/x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .into_bytes();
        }
        return ok("etag: \"1\"\r\nx-repo-commit: abc\r\n", BODY, head.starts_with("GET"));
    }
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
}

async fn pull_from(address: &str, hosts: Vec<String>, digest: Digest, into: &Path) -> Result<(), HubError> {
    let outbound = Outbound::new(hosts).unwrap();
    let hub = Hub { endpoint: format!("http://{address}"), token: None, revision: "main".to_owned() };
    let wanted = [Wanted { name: "config.json".to_owned(), digest }];
    pull(&outbound, &hub, "owner/name", &wanted, into).await
}

#[tokio::test]
async fn a_file_arrives_and_no_token_leaves() {
    let (address, asked) = stand_in(Answer::Give);
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("base");
    pull_from(&address, vec![address.clone()], Digest::of(BODY), &into).await.unwrap();
    assert_eq!(std::fs::read(into.join("config.json")).unwrap(), BODY);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the folder");
    assert!(asked.lock().unwrap().iter().all(|head| !head.to_lowercase().contains("authorization")));
}

#[tokio::test]
async fn another_file_than_expected_is_not_kept() {
    let (address, _) = stand_in(Answer::Give);
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("base");
    let error = pull_from(&address, vec![address.clone()], Digest::of(b"x"), &into).await.unwrap_err();
    assert!(matches!(error, HubError::WrongDigest { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_hub_that_is_not_allowed_is_not_asked() {
    let (address, asked) = stand_in(Answer::Give);
    let folder = tempfile::tempdir().unwrap();
    let error = pull_from(&address, vec![], Digest::of(BODY), folder.path()).await.unwrap_err();
    assert!(matches!(error, HubError::NotAllowed { .. }), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_goes_only_to_an_allowed_host() {
    let (elsewhere, asked) = stand_in(Answer::Give);
    let (address, _) = stand_in(Answer::Redirect(elsewhere.clone()));
    let folder = tempfile::tempdir().unwrap();
    let error =
        pull_from(&address, vec![address.clone()], Digest::of(BODY), folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("not on the allow-list"), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn block_storage_must_be_allowed_too() {
    let (address, asked) = stand_in(Answer::Blocks);
    let folder = tempfile::tempdir().unwrap();
    let error =
        pull_from(&address, vec![address.clone()], Digest::of(BODY), folder.path()).await.unwrap_err();
    assert!(matches!(&error, HubError::NotAllowed { host } if host.starts_with("cas-server")), "{error}");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
