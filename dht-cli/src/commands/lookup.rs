//! `lookup`: where a key lives, and the way there.

use super::remote::{KeyArgs, NodeArgs};
use crate::client::Ask;
use crate::documents::{HopDocument, LookupDocument};
use crate::exit::{Exit, Stop};
use crate::term;

/// Find the member that owns a key
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli lookup --trace greeting")]
pub(super) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// Show every member that was asked, how long it took, and why it was chosen
    #[arg(long)]
    trace: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    let key = args.key.hex()?;
    let client = args.node.client()?;
    let path = format!("/v1/lookup/{key}?encoding=hex&trace={}", args.trace);
    super::block_on(async {
        let reply = client.ask(Ask::get(path)).await?;
        if !reply.is_done() {
            return Err(reply.refused());
        }
        let found: LookupDocument = reply.document()?;
        if args.json {
            term::json(&found)?;
        } else {
            term::line(describe(&found))?;
        }
        Ok(Exit::Done)
    })
}

fn describe(found: &LookupDocument) -> String {
    let mut text = format!(
        "position  {}\nowner     {}  {}",
        found.position, found.owner.id, found.owner.addr
    );
    let Some(hops) = &found.hops else {
        return text;
    };
    if hops.is_empty() {
        text.push_str("\nno hops: the node's own table knew");
    } else {
        text.push_str("\n\n");
        text.push_str(&trace(hops));
    }
    text
}

/// The hops of a lookup as a table, for people.
pub(super) fn trace(hops: &[HopDocument]) -> String {
    let rows: Vec<Vec<String>> = hops
        .iter()
        .enumerate()
        .map(|(at, hop)| {
            let round_trip = hop.rtt_us.map_or_else(
                || "no answer".into(),
                |us| format!("{:.2} ms", us as f64 / 1e3),
            );
            let short = hop.id.get(..8).unwrap_or(&hop.id).to_owned();
            vec![
                (at + 1).to_string(),
                short,
                hop.addr.clone(),
                round_trip,
                why(&hop.why).into(),
            ]
        })
        .collect();
    term::table(&["hop", "member", "address", "round trip", "why"], &rows)
}

fn why(word: &str) -> &str {
    match word {
        "table" => "closest before the key in the own table",
        "closer" => "named as closer by the hop before",
        "owner" => "named as owner; its answer confirms",
        "detour" => "another way round a hop that did not answer",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_shows_silence_as_silence() {
        let hop = |rtt_us, why: &str| HopDocument {
            id: "0123456789".repeat(4),
            addr: "127.0.0.1:1".into(),
            rtt_us,
            why: why.into(),
        };
        let text = trace(&[hop(None, "table"), hop(Some(1_500), "owner")]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].contains("no answer") && lines[1].contains("01234567 "),
            "{text}"
        );
        assert!(
            lines[2].contains("1.50 ms") && lines[2].contains("confirms"),
            "{text}"
        );
    }
}
