//! How a system is told who calls. The pack says where the secret is; the secret itself stands in a file or in the
//! environment, and in no log, error, digest or `Debug`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// `auth` in tools.toml and sources.toml.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "RawAuth")]
pub struct Auth {
    kind: Kind,
    place: Place,
    /// What the bank lets this credential do.
    pub scopes: BTreeSet<String>,
    /// Of the file that it is declared in; 0 where nobody said.
    pub line: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// RFC 6750.
    Bearer,
    /// RFC 7617.
    Basic { user: String },
    /// The secret as the value of a header of its own.
    Header { name: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// Relative to the pack, or absolute.
    File(PathBuf),
    Environment(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    bearer: Option<String>,
    basic: Option<String>,
    header: Option<String>,
    secret: Option<String>,
    #[serde(default)]
    scopes: BTreeSet<String>,
}

const FORMS: &str = "write { bearer = \"file:PATH\" }, { header = \"NAME\", secret = \"file:PATH\" } or \
    { basic = \"USER\", secret = \"env:NAME\" }";

/// Headers that say how a message is read, or that something else sets.
const TAKEN: [&str; 6] =
    ["host", "connection", "content-length", "content-type", "transfer-encoding", "idempotency-key"];

impl TryFrom<RawAuth> for Auth {
    type Error = String;

    fn try_from(raw: RawAuth) -> Result<Self, String> {
        let (kind, place) = match (raw.bearer, raw.basic, raw.header, raw.secret) {
            (Some(place), None, None, None) => (Kind::Bearer, place),
            (None, Some(user), None, Some(place)) => (Kind::Basic { user }, place),
            (None, None, Some(name), Some(place)) => (Kind::Header { name }, place),
            _ => return Err(format!("`auth` has not the members that it needs; {FORMS}")),
        };
        match &kind {
            Kind::Header { name } if !is_header(name) => Err(format!(
                "`header` cannot be `{name}`; allowed: the name of a header, but for {}",
                TAKEN.join(", ")
            )),
            Kind::Basic { user } if user.contains(':') || !is_plain(user) => {
                Err(format!("`basic` cannot be `{user}`; allowed: a user's name without blanks and colons"))
            }
            _ => Ok(Self { kind, place: Place::parse(&place)?, scopes: raw.scopes, line: 0 }),
        }
    }
}

fn is_header(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token) && !TAKEN.contains(&name.to_ascii_lowercase().as_str())
}

/// What can stand in a header.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Place {
    /// What stands there is not repeated: it may be a secret, put there by mistake.
    fn parse(text: &str) -> Result<Self, String> {
        let name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !name.is_empty() && name.bytes().all(fits)
        };
        match text.split_once(':') {
            Some(("file", path)) if path.ends_with(".toml") || path.ends_with(".cedar") => Err(
                "where the secret is cannot be a file whose name ends in .toml or .cedar: such files are the pack's, \
                 and the record has their text"
                    .to_owned(),
            ),
            Some(("file", path)) if !path.trim().is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("env", variable)) if name(variable) => Ok(Self::Environment(variable.to_owned())),
            _ => Err("where the secret is must be `file:PATH` or `env:NAME`; the secret itself never stands in the \
                      pack"
                .to_owned()),
        }
    }
}

/// A secret file is not longer.
const MOST_BYTES: u64 = 64 << 10;

impl Auth {
    pub const fn on_line(mut self, line: usize) -> Self {
        self.line = line;
        self
    }

    /// Why this credential cannot be used as things are, with the remedy.
    pub fn fault(&self, folder: &Path) -> Option<String> {
        self.read(folder).err()
    }

    fn read(&self, folder: &Path) -> Result<Zeroizing<String>, String> {
        let (shown, text) = match &self.place {
            Place::Environment(name) => {
                let text = std::env::var(name).map(Zeroizing::new).map_err(|_| {
                    format!("the environment has no variable `{name}`; set it to the secret before the start")
                })?;
                (format!("the environment's `{name}`"), text)
            }
            Place::File(path) => {
                let path = folder.join(path);
                let shown = path.display().to_string();
                let told = |error: std::io::Error| {
                    format!("{shown}: {error}; put the secret into it, for this user alone (chmod 600)")
                };
                let there = std::fs::metadata(&path).map_err(told)?;
                if there.mode() & 0o007 != 0 {
                    let remedy = format!("chmod 600 {shown}, and change the secret: others may know it");
                    return Err(format!(
                        "{shown}: everybody on this machine can get at this secret; {remedy}"
                    ));
                }
                if !there.is_file() || there.len() > MOST_BYTES {
                    return Err(format!(
                        "{shown}: this is not a file of at most 64 KiB; name one with the secret"
                    ));
                }
                let text = std::fs::read_to_string(&path).map(Zeroizing::new).map_err(told)?;
                (shown, text)
            }
        };
        let secret = Zeroizing::new(text.trim().to_owned());
        match is_plain(&secret) {
            true => Ok(secret),
            false => {
                Err(format!("{shown}: this holds no secret; it is one line of visible ASCII without blanks"))
            }
        }
    }

    fn header(&self, secret: &str) -> (String, Zeroizing<String>) {
        let authorization = |value: String| ("authorization".to_owned(), Zeroizing::new(value));
        match &self.kind {
            Kind::Bearer => authorization(format!("Bearer {secret}")),
            Kind::Basic { user } => {
                let both = Zeroizing::new(format!("{user}:{secret}"));
                authorization(format!("Basic {}", STANDARD.encode(both.as_bytes())))
            }
            Kind::Header { name } => (name.clone(), Zeroizing::new(secret.to_owned())),
        }
    }
}

/// A credential in use: its file is read again when it changes.
pub struct Credential {
    auth: Auth,
    /// Files are relative to it.
    folder: PathBuf,
    kept: Mutex<Option<(Stamp, Zeroizing<String>)>>,
}

/// Says whether a file is the one that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Credential {
    pub const fn new(auth: Auth, folder: PathBuf) -> Self {
        Self { auth, folder, kept: Mutex::new(None) }
    }

    /// The header that says who calls. Blocks for a file.
    ///
    /// # Errors
    /// Why there is no secret, with the remedy.
    pub fn header(&self) -> Result<(String, Zeroizing<String>), String> {
        let stamp = self.stamp();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((read, secret)), Some(stamp)) = (kept.as_ref(), stamp)
            && *read == stamp
        {
            return Ok(self.auth.header(secret));
        }
        let secret = self.auth.read(&self.folder)?;
        let header = self.auth.header(&secret);
        // Taken before it was read: what changes meanwhile is read again.
        *kept = stamp.map(|stamp| (stamp, secret));
        Ok(header)
    }

    /// The header after the system did not know who called; `None` where it is still the one that was sent.
    pub fn renewed(&self, sent: &str) -> Option<(String, Zeroizing<String>)> {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.header().ok().filter(|(_, value)| value.as_str() != sent)
    }

    fn stamp(&self) -> Option<Stamp> {
        let Place::File(path) = &self.auth.place else { return None };
        let there = std::fs::metadata(self.folder.join(path)).ok()?;
        Some(Stamp {
            inode: there.ino(),
            length: there.len(),
            modified: (there.mtime(), there.mtime_nsec()),
            // A file that was put in the place of another with the same times.
            changed: (there.ctime(), there.ctime_nsec()),
        })
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("auth", &self.auth).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn auth(text: &str) -> Result<Auth, String> {
        toml::from_str::<Auth>(text).map_err(|error| error.message().to_owned())
    }

    fn secret(folder: &Path, text: &str, mode: u32) {
        let path = folder.join("core.token");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn each_form_gives_its_header() {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "s3cret\n", 0o600);
        for (text, name, value) in [
            ("bearer = \"file:core.token\"", "authorization", "Bearer s3cret"),
            ("header = \"X-Api-Key\"\nsecret = \"file:core.token\"", "X-Api-Key", "s3cret"),
            (
                "basic = \"prokura\"\nsecret = \"file:core.token\"",
                "authorization",
                "Basic cHJva3VyYTpzM2NyZXQ=",
            ),
        ] {
            let credential = Credential::new(auth(text).unwrap(), folder.path().to_owned());
            let (told, header) = credential.header().unwrap();
            assert_eq!((told.as_str(), header.as_str()), (name, value));
            assert!(!format!("{credential:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_without_what_may_be_a_secret() {
        for (text, told) in [
            ("bearer = \"s3cret\"", "file:PATH"),
            ("bearer = \"env:\"", "env:NAME"),
            ("bearer = \"file:\"", "file:PATH"),
            ("bearer = \"file:plans/core.toml\"", "the record has their text"),
            ("header = \"X-Key\"", "has not the members"),
            ("bearer = \"file:a\"\nbasic = \"b\"\nsecret = \"file:c\"", "has not the members"),
            ("header = \"X Key\"\nsecret = \"file:a\"", "X Key"),
            ("header = \"Content-Length\"\nsecret = \"file:a\"", "Content-Length"),
            ("basic = \"a:b\"\nsecret = \"file:a\"", "colons"),
            ("bearer = \"file:a\"\nscope = [\"x\"]", "scope"),
        ] {
            let error = auth(text).unwrap_err();
            assert!(error.contains(told) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_missing_open_or_empty_secret_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let bearer = auth("bearer = \"file:core.token\"").unwrap();
        assert!(bearer.fault(folder.path()).unwrap().contains("chmod 600"));
        secret(folder.path(), "s3cret", 0o644);
        let told = bearer.fault(folder.path()).unwrap();
        assert!(
            told.contains("core.token") && told.contains("chmod 600") && !told.contains("s3cret"),
            "{told}"
        );
        for empty in ["", " \n", "two\nlines", "bl ank", "ümlaut"] {
            secret(folder.path(), empty, 0o600);
            assert!(bearer.fault(folder.path()).unwrap().contains("no secret"), "{empty:?}");
        }
        secret(folder.path(), "s3cret", 0o640);
        assert_eq!(bearer.fault(folder.path()), None);
        let variable = auth("bearer = \"env:PROKURA_NO_SUCH_VARIABLE\"").unwrap();
        assert!(variable.fault(folder.path()).unwrap().contains("PROKURA_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "first", 0o600);
        let bearer = auth("bearer = \"file:core.token\"").unwrap();
        let credential = Credential::new(bearer, folder.path().to_owned());
        assert_eq!(credential.header().unwrap().1.as_str(), "Bearer first");
        assert_eq!(credential.renewed("Bearer first"), None);
        secret(folder.path(), "second!", 0o600);
        assert_eq!(credential.header().unwrap().1.as_str(), "Bearer second!");
        assert_eq!(credential.renewed("Bearer first").unwrap().1.as_str(), "Bearer second!");
        std::fs::remove_file(folder.path().join("core.token")).unwrap();
        assert!(credential.header().is_err());
    }
}
