//! config/prokura.toml: where things are and who may call. It decides nothing about a case.

use super::Failure;
use crate::base::{Finding, Language};
use crate::governance::Role;
use crate::intake::{IdentityConfig, Limits};
use crate::learning::drift::Thresholds;
use crate::ledger::LedgerSettings;
use crate::understanding::Work;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of a message's files, which are in memory while they are read.
const MOST_ATTACHED: usize = 32 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub service: ServiceSettings,
    #[serde(default)]
    pub ledger: LedgerSettings,
    #[serde(default)]
    pub intake: Intake,
    pub models: Models,
    #[serde(default)]
    pub inference: Work,
    pub policies: Policies,
    #[serde(default)]
    pub drift: Thresholds,
    #[serde(default)]
    pub outbound: OutboundSettings,
    /// Addresses of the bank's systems by name; they take the place of those in sources.toml and
    /// tools.toml.
    #[serde(default)]
    pub systems: BTreeMap<String, String>,
    pub identity: Option<IdentityConfig>,
    #[serde(default, rename = "key")]
    pub keys: Vec<Key>,
    /// The folder of the file: the pack.
    #[serde(skip)]
    pub folder: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    pub listen: SocketAddr,
    /// How long a request that opens a case waits for its outcome.
    pub wait_ms: u64,
    /// The state directory when neither --state nor PROKURA_STATE names one.
    pub state: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intake {
    pub language: Language,
    pub text_bytes: usize,
    pub attachments: usize,
    pub attachment_bytes: usize,
    /// The Bundesbank's file of bank codes, relative to this file.
    pub bank_codes: Option<PathBuf>,
}

impl Default for Intake {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            language: limits.language,
            text_bytes: limits.text_bytes,
            attachments: limits.attachments,
            attachment_bytes: limits.attachment_bytes,
            bank_codes: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The bundle's folder, relative to this file.
    pub bundle: PathBuf,
    /// The folder of labelled lines that explanations name the nearest of, relative to this file.
    pub lines: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// The documents that `prokura demo` indexes, relative to this file.
    pub documents: PathBuf,
    /// Generations that are older are let go; `None`: all are kept.
    pub keep_days: Option<u32>,
    /// The machine that publishes the policies of this one, as scheme, host and port; `None`: this one does.
    pub from: Option<String>,
    /// The file of an API key of that machine, relative to this file.
    pub key_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundSettings {
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub name: String,
    pub principal: String,
    pub role: Role,
    /// SHA-256 of the key, as `prokura key` prints it.
    pub sha256: String,
}

/// Where a file lies; a bare name lies here.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

impl Settings {
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::Input(format!("{shown}: {error}; name the settings with --config FILE"))
        })?;
        let mut settings: Self = toml::from_str(&text)
            .map_err(|error| Failure::Findings(vec![Finding::of_toml(&shown, &text, &error)]))?;
        settings.folder = folder_of(file);
        if settings.intake.attachment_bytes > MOST_ATTACHED {
            let message = format!("[intake] `attachment_bytes` can be at most {MOST_ATTACHED}");
            return Err(Failure::Findings(vec![Finding::new(&shown, 0, message)]));
        }
        for (i, key) in settings.keys.iter().enumerate() {
            let wrong = key.sha256.len() != 64 || !key.sha256.bytes().all(|b| b.is_ascii_hexdigit());
            if wrong
                || settings.keys.iter().take(i).any(|earlier| {
                    earlier.name == key.name || earlier.sha256.eq_ignore_ascii_case(&key.sha256)
                })
            {
                let message = format!(
                    "key `{}`: `sha256` must be 64 hexadecimal digits, and no two keys may share a name or a hash",
                    key.name
                );
                return Err(Failure::Findings(vec![Finding::new(&shown, 0, message)]));
            }
        }
        Ok(settings)
    }

    /// A path of this file, relative to it.
    pub fn beside(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.service.wait_ms)
    }

    pub fn limits(&self) -> Limits {
        Limits {
            text_bytes: self.intake.text_bytes,
            attachments: self.intake.attachments,
            attachment_bytes: self.intake.attachment_bytes,
            language: self.intake.language,
        }
    }
}
