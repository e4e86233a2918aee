//! `status`: how a node is, at a glance.

use super::remote::NodeArgs;
use crate::client::Ask;
use crate::documents::StatusDocument;
use crate::exit::{Exit, Stop};
use crate::term::{self, Paint};

/// Show how a node is: state, keys, copies missing, neighbours, certificate
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli status --node http://127.0.0.1:7480")]
pub(super) struct Args {
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    let client = args.node.client()?;
    super::block_on(async {
        let reply = client.ask(Ask::get("/v1/status")).await?;
        if !reply.is_done() {
            return Err(reply.refused());
        }
        let status: StatusDocument = reply.document()?;
        if args.json {
            term::json(&status)?;
        } else {
            term::line(describe(&status, Paint::detect()))?;
        }
        Ok(Exit::Done)
    })
}

fn describe(status: &StatusDocument, paint: Paint) -> String {
    let warn = |bad: bool, text: String| if bad { paint.bad(&text) } else { text };
    let neighbour = |peer: Option<&crate::documents::PeerDocument>| {
        peer.map_or_else(
            || "none".into(),
            |peer| format!("{}  {}", peer.id, peer.addr),
        )
    };
    let state = match status.state.as_str() {
        "joined" => paint.good(&status.state),
        other => paint.bad(other),
    };
    let writes = status.unavailable_since.as_ref().map_or_else(
        || "reach a majority".into(),
        |since| paint.bad(&format!("no majority since {since}")),
    );
    let days = status.certificate.expires_days;
    let rows = [
        ("member", format!("{}  {}", status.id, status.addr)),
        ("state", format!("{state} (start {})", status.incarnation)),
        ("writes", writes),
        ("ring", format!("about {} members", status.members)),
        (
            "records",
            format!("{} ({} bytes)", status.records, status.bytes),
        ),
        (
            "copies missing",
            warn(status.copies_missing > 0, status.copies_missing.to_string()),
        ),
        (
            "unsettled spans",
            warn(
                status.spans_unsettled > 0,
                status.spans_unsettled.to_string(),
            ),
        ),
        (
            "may have lost",
            warn(
                status.may_have_lost > 0,
                format!("{} spans", status.may_have_lost),
            ),
        ),
        ("certificate", warn(days < 9, format!("{days} days left"))),
        ("predecessor", neighbour(status.predecessor.as_ref())),
        ("successor", neighbour(status.successors.first())),
    ];
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:<16}{value}"))
        .collect();
    lines.join("\n")
}
