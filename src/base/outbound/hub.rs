//! Takes model files from a hub (the Hugging Face protocol), under the same rules as every other request:
//! hosts from the allow-list, pinned addresses, no proxies. A redirect is followed only to an allowed host,
//! because hubs keep large files on another one.

use super::{Outbound, Pinned};
use crate::base::Digest;
use hf_hub::HFClient;
use hf_hub::repository::RepoTreeEntry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the hub is and which state of the repository is meant.
#[derive(Clone, Debug)]
pub struct Hub {
    /// `https://host` or `http://host:port`, without a path.
    pub endpoint: String,
    /// Sent only to the endpoint; none is taken from the environment.
    pub token: Option<String>,
    /// Branch, tag or commit.
    pub revision: String,
}

/// A file that is wanted, and what it must be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub name: String,
    pub digest: Digest,
}

/// The base encoder's repository and files.
pub const BASE_REPOSITORY: &str = "sentence-transformers/all-MiniLM-L6-v2";
pub const BASE_FILES: [(&str, &str); 3] = [
    ("config.json", "sha256:953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ("model.safetensors", "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("tokenizer.json", "sha256:be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
];

/// No model file may be larger.
const MOST_BYTES: u64 = 512 * 1024 * 1024;
/// The hub's block storage, which its client asks directly.
const BLOCK_HOSTS: [&str; 2] = ["cas-server.xethub.hf.co", "transfer.xethub.hf.co"];

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("`{0}` is not a hub; write https://host")]
    BadEndpoint(String),
    #[error("`{0}` is not a repository; write owner/name")]
    BadRepository(String),
    #[error("host `{host}` is not on the allow-list; add it to `[outbound] hosts` in prokura.toml")]
    NotAllowed { host: String },
    #[error("the hub did not give `{what}`: {problem}")]
    NotGiven { what: String, problem: String },
    #[error("`{name}` from the hub has digest {found}, not the expected {wanted}; nothing was kept")]
    WrongDigest { name: String, found: Digest, wanted: Digest },
    #[error("`{name}` has {bytes} bytes, which is too many")]
    TooLong { name: String, bytes: u64 },
    #[error("{}: {problem}; name a folder that can be written", file.display())]
    Disk { file: PathBuf, problem: String },
}

/// Takes the files into `into`. All are checked before the first is put in place.
pub async fn pull(
    outbound: &Outbound,
    hub: &Hub,
    repository: &str,
    files: &[Wanted],
    into: &Path,
) -> Result<(), HubError> {
    let (owner, name) =
        repository.split_once('/').ok_or_else(|| HubError::BadRepository(repository.to_owned()))?;
    let client = client(outbound, hub)?;
    let model = client.model(owner, name);
    let tree = model
        .get_paths_info()
        .paths(files.iter().map(|file| file.name.clone()).collect::<Vec<_>>())
        .revision(hub.revision.clone())
        .send()
        .await
        .map_err(|error| not_given(repository, &error))?;
    for entry in &tree {
        admit(outbound, entry)?;
    }
    let part = into.with_extension("part");
    let disk = |file: &Path, error: std::io::Error| HubError::Disk {
        file: file.to_owned(),
        problem: error.to_string(),
    };
    std::fs::create_dir_all(&part).map_err(|error| disk(&part, error))?;
    for file in files {
        let path = model
            .download_file()
            .filename(file.name.clone())
            .revision(hub.revision.clone())
            .local_dir(part.clone())
            .send()
            .await
            .map_err(|error| not_given(&file.name, &error))?;
        let bytes = std::fs::read(&path).map_err(|error| disk(&path, error))?;
        let found = Digest::of(&bytes);
        if found != file.digest {
            let _ = std::fs::remove_dir_all(&part);
            return Err(HubError::WrongDigest {
                name: file.name.clone(),
                found,
                wanted: file.digest.clone(),
            });
        }
    }
    std::fs::create_dir_all(into).map_err(|error| disk(into, error))?;
    for file in files {
        let target = into.join(&file.name);
        std::fs::rename(part.join(&file.name), &target).map_err(|error| disk(&target, error))?;
    }
    let _ = std::fs::remove_dir_all(&part);
    Ok(())
}

/// A file is small enough, and where the hub keeps it in block storage those hosts are allowed.
fn admit(outbound: &Outbound, entry: &RepoTreeEntry) -> Result<(), HubError> {
    let RepoTreeEntry::File { size, path, xet_hash, .. } = entry else { return Ok(()) };
    if *size > MOST_BYTES {
        return Err(HubError::TooLong { name: path.clone(), bytes: *size });
    }
    let missing = BLOCK_HOSTS.iter().find(|host| !outbound.allowed.contains(**host));
    match (xet_hash, missing) {
        (Some(_), Some(host)) => Err(HubError::NotAllowed { host: (*host).to_owned() }),
        _ => Ok(()),
    }
}

fn client(outbound: &Outbound, hub: &Hub) -> Result<HFClient, HubError> {
    let url = reqwest::Url::parse(&hub.endpoint).ok().filter(|url| url.has_host());
    let url = url.ok_or_else(|| HubError::BadEndpoint(hub.endpoint.clone()))?;
    let host = named(&url);
    if !outbound.allowed.contains(&host) {
        return Err(HubError::NotAllowed { host });
    }
    let allowed = Arc::clone(&outbound.allowed);
    let policy = reqwest::redirect::Policy::custom(move |attempt| {
        let host = named(attempt.url());
        match (allowed.contains(&host), attempt.previous().len() < 5) {
            (true, true) => attempt.follow(),
            (false, _) => attempt.error(format!("redirect to `{host}`, which is not on the allow-list")),
            (true, false) => attempt.error("too many redirects"),
        }
    });
    let setup = |error: String| HubError::NotGiven { what: "a connection".to_owned(), problem: error };
    let http = reqwest::Client::builder()
        .redirect(policy)
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(60))
        .dns_resolver(Arc::new(Pinned::default()))
        .user_agent(concat!("prokura/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| setup(error.to_string()))?;
    // Without a token the client would take one from the environment. A token that cannot stand in a
    // header is left out of the request.
    let token = hub.token.clone().unwrap_or_else(|| "\n".to_owned());
    HFClient::builder()
        .endpoint(hub.endpoint.clone())
        .token(token)
        .client(http)
        .cache_enabled(false)
        .retry_max_attempts(2)
        .build()
        .map_err(|error| setup(error.to_string()))
}

fn named(url: &reqwest::Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// With the causes: a refused redirect is one.
fn not_given(what: &str, error: &dyn std::error::Error) -> HubError {
    let mut problem = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        problem = format!("{problem}: {inner}");
        cause = inner.source();
    }
    HubError::NotGiven { what: what.to_owned(), problem }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
