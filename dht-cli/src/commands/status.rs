//! `status`: how a node is, at a glance.

use super::remote::NodeArgs;
use crate::client::Ask;
use crate::documents::{CertificateDocument, DuplicateDocument, StatusDocument, WorkDocument};
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
    let rows = [
        ("member", format!("{}  {}", status.id, status.addr)),
        (
            "state",
            format!("{state}, up {}", length(status.uptime_seconds)),
        ),
        ("serves", service(status, paint)),
        ("ring", population(status.members)),
        (
            "records",
            format!("{} ({})", status.records, size(status.bytes)),
        ),
        ("store", store(status, paint)),
        (
            "repair",
            format!(
                "{} fetched, {} sent",
                size(status.repair_fetched_bytes),
                size(status.repair_sent_bytes)
            ),
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
        ("certificate", certificate(status, paint)),
        ("predecessor", neighbour(status.predecessor.as_ref())),
        ("successor", neighbour(status.successors.first())),
    ];
    let duplicate = status.duplicate.as_ref();
    let duplicate = duplicate.map(|other| ("duplicate", paint.bad(&told_of(other))));
    let lines: Vec<String> = rows
        .iter()
        .chain(&duplicate)
        .map(|(name, value)| format!("{name:<17}{value}"))
        .collect();
    lines.join("\n")
}

/// The disk, and what it does: room, commits, what it refused and what expired.
fn store(status: &StatusDocument, paint: Paint) -> String {
    let WorkDocument {
        commits,
        writes,
        commit_micros,
        refused,
        expired,
    } = status.work;
    let each = |total: u64| total as f64 / commits as f64;
    let mut told = vec![status.store.clone()];
    match status.room.as_str() {
        "enough" => told.push("room for more".into()),
        "nearly_full" => told.push(paint.bad("nearly full: puts are refused until there is room")),
        "full" => told.push(paint.bad("full: puts are refused until there is room")),
        _ => {} // An earlier build does not say.
    }
    if commits > 0 {
        let (batch, took) = (each(writes), each(commit_micros) / 1_000.0);
        told.push(format!("{batch:.1} writes in {took:.1} ms a commit"));
        told.push(format!("{expired} expired"));
    }
    if refused > 0 {
        told.push(paint.bad(&format!("{refused} puts refused for want of room")));
    }
    told.join(", ")
}

fn is_full(status: &StatusDocument) -> bool {
    matches!(status.room.as_str(), "nearly_full" | "full")
}

fn certificate(status: &StatusDocument, paint: Paint) -> String {
    let CertificateDocument {
        expires_days: days,
        expires,
    } = &status.certificate;
    match days {
        ..0 => paint.bad(&format!(
            "expired on {expires}: the others refuse this node; renew it with `dht-cli cert renew`"
        )),
        0..9 => paint.bad(&format!(
            "{days} days left: renew it with `dht-cli cert renew`"
        )),
        9.. => format!("{days} days left"),
    }
}

/// What there is to say of another process with the node's certificate.
fn told_of(other: &DuplicateDocument) -> String {
    let now = if other.refused {
        "the others hold to it and refuse this node, which begins a new life and joins again"
    } else {
        "if it runs still, both will be thrown out in turn"
    };
    format!(
        "another process uses this node's certificate, last noticed {}: {now}; stop it, or revoke \
         the certificate",
        other.seen
    )
}

/// How many members the ring has, as far as the node knows.
fn population(members: u64) -> String {
    match members {
        0 => "unknown".into(),
        1 => "this member alone".into(),
        others => format!("about {others} members"),
    }
}

/// A length of time for people: its two largest units.
fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    let mut amount = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < UNITS.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// What a client may expect of the node now. Only a member serves; that no write has failed
/// yet says nothing of one that takes none.
fn service(status: &StatusDocument, paint: Paint) -> String {
    let since = status.unavailable_since.as_ref();
    let since = since.map_or_else(String::new, |moment| format!(" since {moment}"));
    let refused = status.duplicate.as_ref().is_some_and(|other| other.refused);
    match status.state.as_str() {
        "joined" if status.certificate.expires_days < 0 => {
            paint.bad("what needs no other member: its certificate has expired")
        }
        "joined" if refused => paint.bad("what needs no other member: they refuse this node"),
        "joined" if since.is_empty() && is_full(status) => {
            paint.bad("reads and deletes; puts are refused until the disk has room")
        }
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

    fn joined() -> StatusDocument {
        StatusDocument {
            id: "07".repeat(20),
            addr: "127.0.0.1:7400".into(),
            state: "joined".into(),
            unavailable_since: None,
            may_have_lost: 0,
            members: 0,
            records: 0,
            bytes: 0,
            copies_missing: 0,
            spans_unsettled: 0,
            repair_fetched_bytes: 0,
            repair_sent_bytes: 0,
            work: WorkDocument::default(),
            room: "enough".into(),
            certificate: CertificateDocument {
                expires_days: 89,
                expires: "2025-06-01T12:00:00Z".into(),
            },
            incarnation: 1,
            duplicate: None,
            predecessor: None,
            successors: Vec::new(),
            store: "memory".into(),
            uptime_seconds: 5,
            version: String::new(),
        }
    }

    fn row_of(status: &StatusDocument, name: &str) -> Option<String> {
        let text = describe(status, Paint::plain());
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(name));
        rows.next().map(|row| row.trim().to_owned())
    }

    fn row(state: &str, since: Option<&str>) -> String {
        let status = StatusDocument {
            state: state.into(),
            unavailable_since: since.map(Into::into),
            ..joined()
        };
        row_of(&status, "serves").expect("a row")
    }

    #[test]
    fn the_work_of_the_store_and_a_full_disk_are_told() {
        let mut status = StatusDocument {
            repair_fetched_bytes: 3 << 20,
            repair_sent_bytes: 2_048,
            ..joined()
        };
        let wanted = "memory, room for more";
        assert_eq!(row_of(&status, "store").as_deref(), Some(wanted));
        let moved = row_of(&status, "repair").expect("a row");
        assert_eq!(moved, "3.0 MiB fetched, 2.0 KiB sent");
        status.store = "redb".into();
        status.room = "nearly_full".into();
        status.work = WorkDocument {
            commits: 4,
            writes: 10,
            commit_micros: 5_200,
            refused: 7,
            expired: 3,
        };
        let wanted = "redb, nearly full: puts are refused until there is room, 2.5 writes in 1.3 ms \
                      a commit, 3 expired, 7 puts refused for want of room";
        assert_eq!(row_of(&status, "store").as_deref(), Some(wanted));
        let wanted = "reads and deletes; puts are refused until the disk has room";
        assert_eq!(row_of(&status, "serves").as_deref(), Some(wanted));
    }

    #[test]
    fn an_expired_certificate_and_a_duplicate_are_told_with_the_remedy() {
        let mut status = joined();
        assert_eq!(
            row_of(&status, "certificate").as_deref(),
            Some("89 days left")
        );
        assert_eq!(row_of(&status, "duplicate"), None);
        status.duplicate = Some(DuplicateDocument {
            refused: true,
            incarnation: 7,
            times: 1,
            seen: "2025-03-01T12:00:00Z".into(),
        });
        let told = row_of(&status, "duplicate").expect("a row");
        assert!(
            told.contains("2025-03-01T12:00:00Z") && told.contains("revoke"),
            "{told}"
        );
        let serves = row_of(&status, "serves").expect("a row");
        assert!(serves.contains("they refuse this node"), "{serves}");
        status.certificate.expires_days = -1;
        let told = row_of(&status, "certificate").expect("a row");
        let expected = "expired on 2025-06-01T12:00:00Z: the others refuse this node";
        assert!(
            told.starts_with(expected) && told.contains("cert renew"),
            "{told}"
        );
        let serves = row_of(&status, "serves").expect("a row");
        assert!(serves.contains("certificate has expired"), "{serves}");
    }

    #[test]
    fn figures_are_for_people() {
        let lengths = [
            (0, "0 s"),
            (61, "1 min 1 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ];
        for (seconds, text) in lengths {
            assert_eq!(length(seconds), text);
        }
        let sizes = [
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (3 << 19, "1.5 MiB"),
            (u64::MAX, "16777216.0 TiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
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
