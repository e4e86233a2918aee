//! `get`: reads a value.

use std::path::PathBuf;

use serde_json::json;

use super::remote::{KeyArgs, NodeArgs, to_hex};
use crate::client::Ask;
use crate::exit::{Exit, Stop};
use crate::term;

/// Read a value; exit code 3 if there is none
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli get greeting\n  dht-cli get --quorum logo --out logo.png"
)]
pub(super) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// Write the value to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask a majority of the holders: never older than what such a read returned before
    #[arg(long)]
    quorum: bool,
    /// Print size, version and (without --out) the value in hexadecimal as a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    let key = args.key.hex()?;
    let mut path = format!("/v1/kv/{key}?encoding=hex");
    if args.quorum {
        path.push_str("&quorum=true");
    }
    let client = args.node.client()?;
    super::block_on(async {
        let reply = client.ask(Ask::get(path)).await?;
        if !reply.is_done() {
            return Err(reply.refused());
        }
        if let Some(file) = &args.out {
            std::fs::write(file, &reply.body)
                .map_err(|error| Stop::failed(format!("{}: {error}", file.display())))?;
        }
        if args.json {
            let mut document = json!({
                "key": key,
                "bytes": reply.body.len(),
                "version": reply.version,
            });
            if args.out.is_none() {
                document["value_hex"] = to_hex(&reply.body).into();
            }
            term::json(&document)?;
        } else if args.out.is_none() {
            term::raw(&reply.body)?;
        }
        Ok(Exit::Done)
    })
}
