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
    let days = status.certificate.expires_days;
    let rows = [
        ("member", format!("{}  {}", status.id, status.addr)),
        ("state", format!("{state} (start {})", status.incarnation)),
        ("serves", service(status, paint)),
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

/// What a client may expect of the node now. Only a member serves; that no write has failed
/// yet says nothing of one that takes none.
fn service(status: &StatusDocument, paint: Paint) -> String {
    let since = status.unavailable_since.as_ref();
    let since = since.map_or_else(String::new, |moment| format!(" since {moment}"));
    match status.state.as_str() {
        "joined" if since.is_empty() => "reads and writes".into(),
        "joined" => paint.bad(&format!("reads; writes find no majority{since}")),
        "joining" => paint.bad(&format!("nothing yet: it has been joining{since}")),
        "lost" => paint.bad("nothing: it is cut off from every other member and joins again"),
        "leaving" => paint.bad("what others own; it hands its own records over"),
        _ => paint.bad("nothing any more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::CertificateDocument;

    fn row(state: &str, since: Option<&str>) -> String {
        let status = StatusDocument {
            id: "07".repeat(20),
            addr: "127.0.0.1:7400".into(),
            state: state.into(),
            unavailable_since: since.map(Into::into),
            may_have_lost: 0,
            members: 0,
            records: 0,
            bytes: 0,
            copies_missing: 0,
            spans_unsettled: 0,
            certificate: CertificateDocument { expires_days: 89 },
            incarnation: 1,
            predecessor: None,
            successors: Vec::new(),
            store: "memory".into(),
            uptime_seconds: 5,
            version: String::new(),
        };
        let text = describe(&status, Paint::plain());
        let mut rows = text.lines().filter_map(|line| line.strip_prefix("serves"));
        rows.next().expect("a row").trim().to_owned()
    }

    #[test]
    fn only_a_member_without_complaints_serves_everything() {
        let moment = Some("2025-03-01T12:00:00Z");
        assert_eq!(row("joined", None), "reads and writes");
        let unable = row("joined", moment);
        assert!(
            unable.contains("no majority since 2025-03-01T12:00:00Z"),
            "{unable}"
        );
        let joining = row("joining", moment);
        assert_eq!(
            joining,
            "nothing yet: it has been joining since 2025-03-01T12:00:00Z"
        );
        for state in ["joining", "lost", "left"] {
            assert!(row(state, None).starts_with("nothing"), "{state}");
        }
    }
}
