//! `ring show` and `ring check`: walk the live ring, draw it, judge it.
//!
//! ```text
//! ring check ── GET /v1/ring?scope=all ──▶ node ── view, view, … ──▶ every member
//!            ◀── members and lists ───────      (the node walks)
//! ```
//!
//! A walk takes time in which members may come and go, so `check` walks up to three times,
//! with a pause between, and reports only what all walks saw.

use std::collections::BTreeMap;
use std::time::Duration;

use chord_core::config::Config;
use chord_core::id::Id;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::remote::NodeArgs;
use super::ring_check::{self, Member, Violation};
use super::ring_draw;
use crate::client::{Ask, Client};
use crate::documents::{OptionDocument, PeerDocument, RingDocument};
use crate::exit::{Exit, Stop};
use crate::term::{self, Paint};

/// Walks of a check: what all of them saw is no passing state.
const WALKS: usize = 3;

/// Time between two walks: several stabilisations after a change fit into it.
const PAUSE: Duration = Duration::from_millis(500);

/// Walk the live ring: show it, or check that it is one
#[derive(Subcommand)]
pub(super) enum Command {
    Show(Show),
    Check(Check),
}

/// Walk the live ring and show every member
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli ring show\n  dht-cli ring show --format svg > ring.svg"
)]
pub(super) struct Show {
    /// How to show it
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Forms of showing a ring.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each member
    Table,
    /// The document of /v1/ring
    Json,
    /// A circle in text
    Ascii,
    /// A picture
    Svg,
}

/// Walk the live ring up to three times and check its invariants; exit code 5 if one is broken
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli ring check --node http://127.0.0.1:7480")]
pub(super) struct Check {
    /// Length of the successor lists [default: as the node is configured]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    successors: Option<u8>,
    /// Print the members, `ok` and `violations` as a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    match command {
        Command::Show(args) => super::block_on(async { show(&args).await }),
        Command::Check(args) => super::block_on(async { check(&args).await }),
    }
}

async fn show(args: &Show) -> Result<Exit, Stop> {
    let ring = walk(&args.node.client()?).await?;
    if args.json {
        term::json(&ring)?;
        return Ok(Exit::Done);
    }
    match args.format {
        Format::Table => term::line(ring_draw::table(&ring))?,
        Format::Json => term::json(&ring)?,
        Format::Ascii => term::line(ring_draw::ascii(&ring))?,
        Format::Svg => term::line(ring_draw::svg(&ring))?,
    }
    if ring.truncated {
        term::say("the walk stopped early: these are not all members");
    }
    Ok(Exit::Done)
}

/// What `ring check --json` prints.
#[derive(Serialize)]
struct CheckDocument {
    ok: bool,
    violations: Vec<Violation>,
    walks: usize,
    #[serde(flatten)]
    ring: RingDocument,
}

async fn check(args: &Check) -> Result<Exit, Stop> {
    let client = args.node.client()?;
    let length = match args.successors {
        Some(length) => usize::from(length),
        None => configured_length(&client).await,
    };
    let mut walks: Vec<Vec<Violation>> = Vec::new();
    let mut ring = walk(&client).await?;
    loop {
        if ring.truncated {
            return Err(Stop::unavailable(
                "the walk did not reach every member in time, so it proves nothing; try again",
            ));
        }
        walks.push(ring_check::check(&members(&ring)?, length));
        if ring_check::persisting(&walks).is_empty() || walks.len() == WALKS {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        ring = walk(&client).await?;
    }
    let violations = ring_check::persisting(&walks);
    let ok = violations.is_empty();
    let document = CheckDocument {
        ok,
        violations,
        walks: walks.len(),
        ring,
    };
    if args.json {
        term::json(&document)?;
    } else {
        term::line(verdict(&document, length, Paint::detect()))?;
    }
    Ok(if ok { Exit::Done } else { Exit::Violation })
}

fn verdict(document: &CheckDocument, length: usize, paint: Paint) -> String {
    let count = document.ring.members.len();
    let mut text = String::new();
    for violation in &document.violations {
        text.push_str(&format!("{}  {}\n", paint.bad("broken"), violation.what));
    }
    for PeerDocument { id, addr } in &document.ring.unreachable {
        let short = id.get(..8).unwrap_or(id);
        text.push_str(&format!(
            "{}  {short} at {addr} is named but does not answer\n",
            paint.dim("note")
        ));
    }
    let claim = if count > length {
        format!("at least {} principals", length + 1)
    } else {
        format!("small ring, lists of {length}: every member reaches it")
    };
    if document.ok {
        text.push_str(&format!(
            "{}  one ring of {count} members in order, all lists and predecessors right ({claim})",
            paint.good("ok")
        ));
    } else {
        text.push_str(&format!(
            "{} violations among {count} members, seen by all {} walks",
            document.violations.len(),
            document.walks
        ));
    }
    text
}

/// Length of the successor lists as the node is configured; the default where only
/// administrators may ask.
async fn configured_length(client: &Client) -> usize {
    let options = async {
        let reply = client.ask(Ask::get("/v1/config")).await.ok()?;
        reply.document::<BTreeMap<String, OptionDocument>>().ok()
    };
    let length = options
        .await
        .and_then(|options| options.get("ring.successors")?.value.parse().ok());
    length.unwrap_or_else(|| usize::from(Config::default().successors))
}

async fn walk(client: &Client) -> Result<RingDocument, Stop> {
    let reply = client.ask(Ask::get("/v1/ring?scope=all")).await?;
    if !reply.is_done() {
        return Err(reply.refused());
    }
    reply.document()
}

fn members(ring: &RingDocument) -> Result<Vec<Member>, Stop> {
    let id = |text: &str| {
        Id::from_hex(text).ok_or_else(|| {
            Stop::failed(format!(
                "the node's answer names {text:?}, which is no ring id"
            ))
        })
    };
    ring.members
        .iter()
        .map(|member| {
            Ok(Member {
                id: id(&member.id)?,
                predecessor: member.predecessor.as_deref().map(id).transpose()?,
                successors: member
                    .successors
                    .iter()
                    .map(|text| id(text))
                    .collect::<Result<_, _>>()?,
            })
        })
        .collect()
}
