//! `prokura tools`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum Tools {
    /// The declared tools: name, risk, system, limits, purpose.
    #[command(
        after_help = "How a tool is at the moment (breaker, requests under way) is known to the service that calls it: ask that one \
        with\n--from and --key-file, or GET /v1/tools."
    )]
    List(ListTools),
    /// Make sections for tools.toml of the operations of an OpenAPI 3.0 or 3.1 document. Nothing is fetched.
    #[command(
        after_help = "What such a document does not say is left blank (\"\"), and `prokura check` refuses it until a person has filled \
        it in:\nthe risk always, unless the operation says it (x-prokura-risk); GET is read. What cannot be a tool is left \
        out and told\non standard error. docs/tools.md says what becomes of what."
    )]
    Import(ImportTools),
}

#[derive(Args, Debug)]
pub struct ListTools {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// A running service: scheme, host and port; the host has to be on the [outbound] hosts list.
    #[arg(long, value_name = "URL", requires = "key_file")]
    pub from: Option<String>,
    /// The file of an API key of that service, of somebody who works in the bank.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ImportTools {
    /// YAML or JSON.
    pub file: PathBuf,
    /// The system's name in `[systems]`; default: made of the document's title.
    #[arg(long, value_name = "NAME")]
    pub system: Option<String>,
    /// Only operations with these ids.
    #[arg(long, value_name = "OPERATION", num_args = 1.., value_delimiter = ',')]
    pub only: Vec<String>,
    /// Write to this file, which must not be there yet, and not to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
