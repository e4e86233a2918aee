//! `rm`: deletes a record.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::remote::{KeyArgs, NodeArgs};
use crate::client::Ask;
use crate::exit::{Exit, Stop};
use crate::term;

/// Delete a record; a key that is not there is no failure
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli rm greeting")]
pub(super) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// Print the key as a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    let key = args.key.hex()?;
    let client = args.node.client()?;
    let path = format!("/v1/kv/{key}?encoding=hex");
    super::block_on(async {
        let reply = client
            .ask(Ask {
                method: Method::DELETE,
                path,
                body: Bytes::new(),
            })
            .await?;
        if !reply.is_done() {
            return Err(reply.refused());
        }
        if args.json {
            term::json(&json!({ "key": key }))?;
        }
        Ok(Exit::Done)
    })
}
