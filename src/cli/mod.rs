//! The command line, parsed to a value.
//!
//! Enters: the process's arguments. Leaves: `Arguments`, a `Command` with where its configuration and
//! state are. It must never run anything: `app` does.

mod plans;
mod tools;

use clap::{Args, Parser, Subcommand};
pub use plans::{GraphPlan, ListPlans, Plans};
use std::net::SocketAddr;
use std::path::PathBuf;
pub use tools::{ImportTools, ListTools, Tools};

/// Resolves customers' messages inside a bank: reads them, looks the facts up, finds the bank's policy,
/// plans, checks the plan against rules, acts, answers, and keeps a record that can be replayed.
#[derive(Parser, Debug)]
#[command(
    name = "prokura",
    version,
    about,
    after_help = "JSON goes to stdout, everything else to stderr.\n\
    Exit codes: 0 done, 1 the check failed, 2 bad usage or bad input."
)]
pub struct Arguments {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The service's settings; the pack lies beside them.
    #[arg(long, global = true, value_name = "FILE", default_value = "config/prokura.toml")]
    pub config: PathBuf,
    /// Where everything is written: the ledger, the index generations, caches.
    #[arg(long, global = true, value_name = "DIR", env = "PROKURA_STATE")]
    pub state: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the service: HTTP API and case engine.
    Serve(Serve),
    /// Run the service with a demonstration bank beside it, and print what to try.
    Demo(Demo),
    /// Run the demonstration bank alone, on loopback.
    DemoBank(DemoBank),
    /// Take one message through the whole pipeline, in this process.
    Resolve(Resolve),
    /// Read a message: intents, values, tone.
    Understand(Understand),
    /// Look records up by given values.
    Lookup(Lookup),
    /// Search the policy documents.
    Search(Search),
    /// Build and manage the index of the policy documents.
    #[command(subcommand)]
    Policies(Policies),
    /// Validate the whole pack and run every plan's own tests.
    Check(Check),
    /// The plans: what the service does for each concern.
    #[command(subcommand)]
    Plans(Plans),
    /// The tools: what can be done in the bank's systems at all.
    #[command(subcommand)]
    Tools(Tools),
    /// What may be done, and what must never be.
    #[command(subcommand)]
    Rules(Rules),
    /// Train a model bundle, or with --task heads for a label set of one's own, in this process.
    Train(Box<Train>),
    /// Measure the bundle: every figure with its interval, a linear baseline, and what is to be reached.
    #[command(
        after_help = "Test lines are opened by this command alone, and each opening is a line of the log. \
        Which files are\ntest sets stands in bar.toml of the --own folder; what a bundle is held to, in the file \
        of --bar. Exit code 1:\nbelow a bar. With --tickets nothing of this is read or logged, but your tickets \
        alone, a JSON line each:\n{\"text\": \"…\", \"leaf\": \"balance\"}, and optionally id, language, parent, channel."
    )]
    Evaluate(Evaluate),
    /// Fit a bundle's probabilities anew, its weights as they are: on your own tickets, for your mix of concerns.
    #[command(
        after_help = "A ticket is a JSON line: {\"text\": \"…\", \"leaf\": \"balance\"}, and optionally id, language, \
        parent, channel.\nTickets must not be ones that the bundle was trained on. The new bundle has another \
        digest."
    )]
    Calibrate(Calibrate),
    /// Model files.
    #[command(subcommand)]
    Models(Models),
    /// The record of everything that happened.
    #[command(subcommand)]
    Audit(Audit),
    /// Stop every new call of a tool, for a leaf, or at all; without a name: tell what is stopped.
    Stop(Stop),
    /// How far the machine goes by itself, for each leaf and tool: what the bank lets it do, what the evidence carries, and
    /// how many reviews are missing. Figures are of the model that reads.
    Autonomy(Shown),
    /// Destroy the keys of every case that holds data of somebody, unless it must be kept; the log's proofs still hold.
    #[command(
        after_help = "A case is kept while it is open, while a rule of [[retention]] in cases.toml holds it, and while it \
        holds data of\nanother customer who has not asked for it; each is told, with the reason and until when. A key \
        store in PostgreSQL keeps\nold rows in the server's own log: change the master key afterwards (prokura rotate-keys)."
    )]
    Erase(Erase),
    /// Wrap every key of the ledger by a new key-encryption key, and that by a new master key if one is named.
    RotateKeys(RotateKeys),
    /// Decide a case again from its record, and compare.
    #[command(
        after_help = "`outcome` is same, or differs (exit code 1), or why the two cannot be compared: other_program and \
        other_pack (decided\notherwise by what is not here any more), model_gone and generation_gone (--models), erased."
    )]
    Replay(Replay),
    /// Make an API key: prints the key and the line for the configuration.
    Key(Key),
    /// Read one document from standard input, in a process that gives up its rights first.
    #[command(hide = true)]
    ReadDocument,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// What it does: the whole service, or readings for other machines that do.
    #[arg(long, value_enum, default_value = "api", value_name = "ROLE")]
    pub role: ServeRole,
    /// Listen here instead of where the settings say.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// Where the service listens.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the demonstration bank listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4380")]
    pub bank: SocketAddr,
    /// A switch of the demonstration bank, such as `fraud=acc_001` or `slowness=500`. Repeatable.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    pub switches: Vec<String>,
}

#[derive(Args, Debug)]
pub struct DemoBank {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4380")]
    pub listen: SocketAddr,
    /// Where requests.jsonl and effects.jsonl are written; default: `demo-bank` in the state directory.
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// Of the bank's records.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A switch, such as `fraud=acc_001`. Repeatable.
    #[arg(long = "switch", value_name = "NAME=VALUE")]
    pub switches: Vec<String>,
    /// End when standard input ends, as it does when a parent process dies.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

#[derive(Args, Debug)]
pub struct Resolve {
    /// The message; `-` reads it from standard input.
    pub text: String,
    /// The whole case as JSON.
    #[arg(long)]
    pub json: bool,
    /// Against a demonstration bank started for this message.
    #[arg(long)]
    pub demo: bool,
    /// The verified sender; with --demo the owner of acc_001 unless said otherwise.
    #[arg(long = "as", value_name = "CUSTOMER", conflicts_with_all = ["anonymous", "claimed"])]
    pub customer: Option<String>,
    /// Nobody knows who sent it.
    #[arg(long, conflicts_with = "claimed")]
    pub anonymous: bool,
    /// The sender says that they are this, and nobody checked.
    #[arg(long, value_name = "FROM")]
    pub claimed: Option<String>,
    /// How the verified sender was authenticated.
    #[arg(long, value_name = "LEVEL", default_value = "sca", value_parser = ["sca", "login"])]
    pub assurance: String,
    /// A switch of the demonstration bank. Repeatable.
    #[arg(long = "switch", value_name = "NAME=VALUE", requires = "demo")]
    pub switches: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Understand {
    /// The message; `-` reads it from standard input.
    #[arg(required_unless_present = "input")]
    pub text: Option<String>,
    /// JSON lines with `id` and `text`; one reading a line comes out. `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub input: Option<PathBuf>,
    /// de or en; otherwise the text decides.
    #[arg(long)]
    pub language: Option<String>,
    /// Say which words drove each intent, and what found each value.
    #[arg(long)]
    pub explain: bool,
    /// Name the nearest of these labelled lines, too (a folder like models/data); default: `[models] lines`. Reading
    /// them takes a minute the first time.
    #[arg(long, value_name = "DIR", requires = "explain")]
    pub lines: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Lookup {
    #[command(subcommand)]
    pub command: Option<LookupCommand>,
    /// Values, as `field=value`; a field may come several times.
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "input")]
    pub values: Vec<String>,
    /// JSON lines with `id` and `fields`, or a CSV file with the columns of the file source. `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "values")]
    pub input: Option<PathBuf>,
    /// Against a demonstration bank started for this look-up.
    #[arg(long)]
    pub demo: bool,
    /// A switch of the demonstration bank. Repeatable.
    #[arg(long = "switch", value_name = "NAME=VALUE", requires = "demo")]
    pub switches: Vec<String>,
}

#[derive(Subcommand, Debug)]
pub enum LookupCommand {
    /// Estimate what agreements are worth, from questions and the records of the file source.
    #[command(
        after_help = "A question is a JSON line: {\"id\": \"q1\", \"fields\": {\"last_name\": [\"Müller\"]}}, and \
        optionally \"record\": the\nid of the record that is meant, or null where none is. Without such labels the \
        weights are estimated by\nexpectation and maximisation. The configuration names the fields and their kinds \
        in [lookup.matching] (a file of\nits own) or [matching] (lookup.toml); that section is written to --out, with \
        `m` and `u` filled in. JSON on\nstandard output has the same with the weight of every level."
    )]
    Fit(LookupFit),
}

#[derive(Args, Debug)]
pub struct LookupFit {
    /// JSON lines, or a CSV file with the columns of the file source. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where to write the section of the settings.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Search {
    /// What is to be found.
    #[arg(required_unless_present = "input")]
    pub query: Option<String>,
    /// JSON lines with `id` and `query`, and optionally `as_of`, `audience`, `language`, `product`. `-` is standard
    /// input.
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    pub input: Option<PathBuf>,
    /// Most passages a question, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub top: u64,
    /// Most passages of one document, each of another section; 0: any number of any. By default a further section of a
    /// document has to be better than those of others, by more for each.
    #[arg(long, value_name = "N")]
    pub each: Option<usize>,
    /// `public`, `internal` for what is public and for all of the bank, a role's name for what is for that role, too,
    /// or `all`.
    #[arg(long, value_name = "WHO", default_value = "internal")]
    pub audience: String,
    /// Only documents of this product.
    #[arg(long, value_name = "NAME")]
    pub product: Option<String>,
    /// The day whose documents apply, YYYY-MM-DD; default: today.
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<String>,
    /// Only documents in this language.
    #[arg(long)]
    pub language: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Policies {
    /// Build the next generation from these files and folders and publish it.
    Index {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The language of documents that do not say theirs.
        #[arg(long, default_value = "en")]
        language: String,
        /// Publish it also when it does not answer the saved questions (retrieval-bar.toml beside the settings).
        #[arg(long)]
        force: bool,
    },
    /// Put documents in the place of those with the same id and version, or beside the others.
    Put {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The language of documents that do not say theirs.
        #[arg(long, default_value = "en")]
        language: String,
        /// Publish it also when it does not answer the saved questions.
        #[arg(long)]
        force: bool,
    },
    /// Take documents away, in all their versions.
    Remove {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Publish it also when it does not answer the saved questions, or plans cite what is gone.
        #[arg(long)]
        force: bool,
    },
    /// Read files as `index` would, and tell what a person should look at: links to nowhere, the same text twice,
    /// sentences that say the same with other numbers. Publishes nothing; exit code 1 when there is something.
    Validate {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// How one file is read: what it says of itself, and the passages that can be quoted.
    Preview {
        file: PathBuf,
        #[arg(long, default_value = "en")]
        language: String,
    },
    /// Ask the saved questions (retrieval-bar.toml beside the settings); exit code 1 when too few find their document.
    Test {
        /// Default: the current one.
        generation: Option<String>,
    },
    /// Read generations whole and hold every file against its digest; exit code 1 when one is damaged.
    Verify {
        /// Default: all.
        generation: Option<String>,
    },
    /// Remove generations that are not current, were built before so many days and are needed by no open case; cases that
    /// were answered from them can no longer be searched again (`replay --models`).
    Forget {
        #[arg(long, value_name = "N")]
        days: u32,
    },
    /// Fetch the generations of another machine, once; `[policies] from` does it all the time.
    Fetch {
        /// Scheme, host and port; the host has to be on the [outbound] hosts list.
        #[arg(long, value_name = "URL")]
        from: String,
        /// The file of an API key of that machine.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// The generations of the state directory.
    List,
    /// Make an earlier generation the current one, with vectors of the bundle that reads now.
    Rollback {
        generation: String,
        /// Also when it lacks documents that plans cite.
        #[arg(long)]
        force: bool,
    },
    /// What changed from one generation to another.
    Diff { from: String, to: String },
}

#[derive(Subcommand, Debug)]
pub enum Rules {
    /// Prove by cvc5 that the rules keep every invariant, or show a request that breaks one.
    #[command(
        after_help = "Exit code 1 where an invariant is refuted, where the solver does not say or cannot be run, and where the \
        rules in\nrules/invariants/broken keep the invariant that they should break: all of that is not proven."
    )]
    Prove(Prove),
    /// Prove, and write the proof into the ledger: the service starts with no other rules.
    #[command(after_help = "The rules that the program comes with are proven already.")]
    Activate(Prove),
}

#[derive(Args, Debug)]
pub struct Prove {
    /// cvc5, by its path or its name.
    #[arg(long, value_name = "PROGRAM", env = "CVC5", default_value = "cvc5")]
    pub solver: PathBuf,
    /// For all questions together.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Check {
    /// Findings and counts as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Train {
    /// The folder of public data sets; what is not there is skipped with a line.
    #[arg(long, value_name = "DIR", env = "PROKURA_DATA")]
    pub data: Option<PathBuf>,
    /// Our own labelled lines.
    #[arg(long, value_name = "DIR", default_value = "models/data")]
    pub own: PathBuf,
    /// The base model, as `make base-model` fetches it.
    #[arg(long, value_name = "DIR", default_value = "models/base")]
    pub base: PathBuf,
    /// Checkpoints; an interrupted run goes on from here.
    #[arg(long, value_name = "DIR", required_unless_present = "heads_only")]
    pub work: Option<PathBuf>,
    /// Where the finished bundle is written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A bundle to start from instead of the base model: no German stage, much shorter.
    #[arg(long, value_name = "DIR")]
    pub start: Option<PathBuf>,
    /// Passes over the largest public set.
    #[arg(long)]
    pub epochs: Option<f64>,
    /// Steps, instead of passes.
    #[arg(long)]
    pub steps: Option<usize>,
    /// Single-set models whose views are handed on; 0: none.
    #[arg(long, value_name = "N")]
    pub teachers: Option<usize>,
    /// Leave these parts out, to see what they are worth.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// Weight of guessing hidden pieces of German text; 0: none are hidden.
    #[arg(long, value_name = "WEIGHT")]
    pub masked: Option<f64>,
    /// The result of an earlier German stage (`german-….safetensors` in its work folder).
    #[arg(long, value_name = "FILE")]
    pub german_from: Option<PathBuf>,
    /// Steps of the German stage.
    #[arg(long, value_name = "N")]
    pub german_steps: Option<usize>,
    /// Threads that share the lines of a step; default: all cores.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Of everything that is drawn; the same seed gives the same weights with the same number of threads.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Heads for the label set of this task file (models/tasks) instead of a bundle: trained and measured with
    /// each fold held out, then trained on all for the weights in --out. Starts from --base or --start.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["teachers", "without"])]
    pub task: Option<PathBuf>,
    /// With --task: hold out only these folds, counted from 0.
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "task")]
    pub folds: Vec<usize>,
    /// With --task: measure the task's development folds alone, to choose a recipe; keeps no weights.
    #[arg(long, requires = "task", conflicts_with = "folds")]
    pub develop: bool,
    /// Add the leaves that intents.toml has and the bundle of --start has not, from --tickets; the trunk stays
    /// as it is. Takes less than a minute.
    #[arg(long, requires_all = ["start", "tickets"], conflicts_with_all = ["task", "teachers", "without", "steps"])]
    pub heads_only: bool,
    /// Train the search of the bundle of --start alone, on questions about documents of the data folder; what
    /// readings go through stays bit for bit as it is. Under an hour on two cores.
    #[arg(long, requires_all = ["start", "data"], conflicts_with_all = ["task", "teachers", "without", "steps", "heads_only"])]
    pub search_only: bool,
    /// Labelled tickets, at least 10 a new leaf: {"text": "…", "leaf": "…"}, a JSON line each.
    #[arg(long, value_name = "FILE", requires = "heads_only")]
    pub tickets: Option<PathBuf>,
}

/// What a running service does.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeRole {
    /// Cases, approvals, documents: the whole service.
    Api,
    /// Readings, scores and vectors for other machines, over HTTP/1.1 and HTTP/2; no ledger, no documents.
    Inference,
}

/// A part of the training that can be left out.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Pieces for German words.
    Pieces,
    /// German pieces begin as their English gloss.
    Glosses,
    /// German lines point where the base model has their English twin.
    Twins,
    /// A German line is nearer to its twin than to other lines.
    Contrast,
    /// Words of the other language put into lines now and then.
    Switching,
    /// Training on the development lines of public sets: for choosing a recipe.
    Whole,
    /// Beginning with what the teachers learned.
    Merging,
    /// Public sets: the own lines alone.
    Public,
    /// Rounding to eight bits at the end.
    EightBit,
    /// Averaging of the last weights.
    Averaging,
}

#[derive(Args, Debug)]
pub struct Evaluate {
    /// The figures as JSON, shares as 0 to 1.
    #[arg(long)]
    pub json: bool,
    /// The folder of public data sets; what is not there is skipped with a line.
    #[arg(long, value_name = "DIR", env = "PROKURA_DATA")]
    pub data: Option<PathBuf>,
    /// Your own labelled tickets, and nothing else.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["split", "log", "own"])]
    pub tickets: Option<PathBuf>,
    /// One task alone: `retrieval`, whether questions find the documents that answer them.
    #[arg(long, value_parser = ["retrieval"], conflicts_with_all = ["tickets", "split"])]
    pub task: Option<String>,
    /// Explain 200 messages, too, and check that what is said of them is true; takes minutes.
    #[arg(long, conflicts_with = "tickets")]
    pub explanations: bool,
    /// The weights as training left them (trained-*.safetensors in the work folder): tell on how many lines
    /// rounding them to eight bits changes the leaf.
    #[arg(long, value_name = "FILE", conflicts_with = "tickets")]
    pub full: Option<PathBuf>,
    /// Write everything as one page of HTML, too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Measure nothing but how often each leaf is read right at which confidence, and write that: evidence.json beside a
    /// bundle is what the autonomy dial begins with. With --tickets of those, else of the test lines.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["html", "full", "explanations", "task", "bar", "split"])]
    pub evidence: Option<PathBuf>,
    /// What figures are held to; default: bars.toml beside the settings.
    #[arg(long, value_name = "FILE")]
    pub bar: Option<PathBuf>,
    /// Our own labelled lines, and bar.toml, which names the test sets.
    #[arg(long, value_name = "DIR", default_value = "models/data")]
    pub own: PathBuf,
    /// `test`, or `dev` for the same figures on development lines: nothing is opened and no bar applies.
    #[arg(long, value_parser = ["test", "dev"], default_value = "test")]
    pub split: String,
    /// Where the opening of test lines is written down.
    #[arg(long, value_name = "FILE", default_value = "models/data/openings.tsv")]
    pub log: PathBuf,
    /// The base model, whose retrieval the bundle's is held against.
    #[arg(long, value_name = "DIR", default_value = "models/base")]
    pub base: PathBuf,
    /// Another bundle than the settings name.
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Calibrate {
    /// The bundle; default: the one that the settings name.
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Where the calibrated bundle is written; may be the same folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Labelled tickets, at least 100; without them the development lines of --own and --data.
    #[arg(long, value_name = "FILE")]
    pub tickets: Option<PathBuf>,
    /// The shares of leaves that probabilities are to hold for: `lines` (those of the tickets), `assumed` (those
    /// of training), or a JSON file of leaf and share. Default: lines with --tickets, else assumed.
    #[arg(long, value_name = "MIX")]
    pub mix: Option<String>,
    /// The folder of public data sets.
    #[arg(long, value_name = "DIR", env = "PROKURA_DATA")]
    pub data: Option<PathBuf>,
    /// Our own labelled lines.
    #[arg(long, value_name = "DIR", default_value = "models/data")]
    pub own: PathBuf,
}

#[derive(Subcommand, Debug)]
pub enum Models {
    /// Fetch the base model from a hub and check it.
    Pull {
        /// The hub's address; its host must be on `[outbound] hosts`.
        #[arg(long, default_value = "https://huggingface.co")]
        hub: String,
        /// Where its files are put.
        #[arg(long, value_name = "DIR", default_value = "models/base")]
        out: PathBuf,
    },
    /// Hold the messages of the last days against those before. Exit code 1: something is beyond its threshold.
    Drift,
    #[command(flatten)]
    Installed(InstalledModels),
}

/// What is done with the bundles of the state directory.
#[derive(Subcommand, Debug)]
pub enum InstalledModels {
    /// The bundles of the state directory, and what was done with them.
    List,
    /// Check a bundle whole and copy it into the state directory.
    Import {
        #[arg(value_name = "DIR")]
        bundle: PathBuf,
    },
    /// Let an installed bundle read from now on. A running service changes over within two seconds, without
    /// an interruption. Exit code 1: it is below a bar.
    Promote {
        /// Its digest or the beginning of it.
        model: String,
        /// Labelled tickets to measure it on; without them the development lines of --own.
        #[arg(long, value_name = "FILE")]
        tickets: Option<PathBuf>,
        /// Our own labelled lines.
        #[arg(long, value_name = "DIR", default_value = "models/data")]
        own: PathBuf,
        /// What figures are held to; default: bars.toml beside the settings.
        #[arg(long, value_name = "FILE")]
        bar: Option<PathBuf>,
        /// Promote it although it is below a bar; the reason is written down.
        #[arg(long, value_name = "REASON")]
        force: Option<String>,
    },
    /// Go back to the bundle that read before, or to the one that is named.
    Rollback { model: Option<String> },
    /// Let a challenger read along without effect, and report where it disagrees. Without a digest: the
    /// report so far.
    Shadow {
        model: Option<String>,
        /// End it.
        #[arg(long, conflicts_with_all = ["model", "input"])]
        stop: bool,
        /// Compare on these messages now (JSON lines with `id` and `text`), instead of on live traffic.
        #[arg(long, value_name = "FILE", requires = "model")]
        input: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub enum Audit {
    /// Walk the whole log: every entry against its hash, all of them against the newest signed checkpoint and those of
    /// the witness; exit code 1 when anything was changed.
    Verify {
        /// Verify this file instead, which `prokura audit export` wrote; no service, settings or state are needed.
        #[arg(long, value_name = "FILE", requires = "public_key", conflicts_with = "full")]
        export: Option<PathBuf>,
        /// The log's public key, or a file with it (keys/log.pub of the state directory, as its operators publish it).
        /// Without it the state directory is verified with its own.
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
        /// Earlier checkpoints: a file with one, or the folder of a witness. May be given several times.
        #[arg(long, value_name = "PATH")]
        witness: Vec<PathBuf>,
        /// The public key of a witness on another machine, or a file with it: only checkpoints count that it has signed.
        #[arg(long, value_name = "KEY", requires = "witness")]
        witness_key: Option<String>,
        /// Hold every tile of the tree and every earlier checkpoint against the entries, too.
        #[arg(long)]
        full: bool,
    },
    /// Sign what is not signed yet, and write a file that can be verified anywhere with the public key alone. What is
    /// about customers is encrypted in it.
    Export {
        /// Standard output if none is named.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// One case, each entry with the proof that it is in the log.
        #[arg(long)]
        case: Option<String>,
    },
    /// Sign what is not signed yet, show it to the witness, and print the newest checkpoint.
    Checkpoint,
}

#[derive(Args, Debug)]
pub struct Stop {
    /// A tool, a leaf, or `all`. A running service obeys within a second, on every node, also after a restart.
    pub what: Option<String>,
    /// Why, about no customer.
    #[arg(long, value_name = "TEXT", conflicts_with = "start")]
    pub reason: Option<String>,
    /// Start it again: the first person asks for it, and a second one, with another key, does it.
    #[arg(long, requires = "what")]
    pub start: bool,
    /// The file of your API key, which says who you are; the key is one of prokura.toml, of a supervisor or operator.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Shown {
    /// The same as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Erase {
    /// A customer's id, a record's id, or the address of a sender who was not verified.
    #[arg(value_name = "SUBJECT", required = true, value_parser = subject)]
    pub subjects: Vec<String>,
}

#[derive(Args, Debug)]
pub struct RotateKeys {
    /// The file of the new master key (openssl rand -hex 32). Stop the service first: it has the old one.
    #[arg(long, value_name = "FILE")]
    pub new_master_key: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Replay {
    pub case: String,
    /// Read the messages again, too, with the bundles that read them. With the same pack, bank codes and program the same
    /// bundle and arithmetic must say the same, bit for bit (else exit code 1); everything else, and what a GPU read,
    /// is compared, and a difference is told.
    #[arg(long)]
    pub models: bool,
}

#[derive(Args, Debug)]
pub struct Key {
    /// Who will hold it.
    #[arg(value_parser = named)]
    pub principal: String,
    /// channel, agent, supervisor, policy_admin, model_admin, auditor, operator or system.
    pub role: String,
}

/// Whoever is erased may be called anything: an address may hold quotes.
fn subject(given: &str) -> Result<String, String> {
    let told = || "a name is not empty".to_owned();
    Some(given.trim().to_owned()).filter(|name| !name.is_empty()).ok_or_else(told)
}

/// A name without blanks around it, as a file of settings can hold it.
fn named(given: &str) -> Result<String, String> {
    let fits = !given.trim().is_empty() && !given.chars().any(|c| c.is_control() || c == '"' || c == '\\');
    let told = || "a name is not empty, and has no quotes, backslashes or control characters".to_owned();
    if fits { Ok(given.trim().to_owned()) } else { Err(told()) }
}

/// Parses the process's arguments; prints help or usage errors and ends the process itself (code 2).
pub fn parse() -> Arguments {
    Arguments::parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_behind_the_command() {
        let parsed =
            Arguments::try_parse_from(["prokura", "resolve", "--demo", "--json", "hello", "--state", "s"])
                .unwrap();
        assert_eq!(parsed.place.state, Some(PathBuf::from("s")));
        assert!(matches!(parsed.command, Command::Resolve(Resolve { json: true, demo: true, .. })));
    }

    #[test]
    fn folds_and_development_belong_to_a_task() {
        let train = ["prokura", "train", "--work", "w", "--out", "o"];
        let parsed = |more: &[&str]| Arguments::try_parse_from(train.iter().chain(more));
        assert!(parsed(&["--folds", "1"]).is_err());
        assert!(parsed(&["--task", "t.toml", "--develop", "--folds", "1"]).is_err());
        let Command::Train(train) = parsed(&["--task", "t.toml", "--folds", "1,3"]).unwrap().command else {
            panic!("not train");
        };
        assert_eq!(train.folds, [1, 3]);
    }

    #[test]
    fn a_sender_is_verified_or_not() {
        let both = ["prokura", "resolve", "x", "--as", "cus_1", "--anonymous"];
        assert!(Arguments::try_parse_from(both).is_err());
    }
}
