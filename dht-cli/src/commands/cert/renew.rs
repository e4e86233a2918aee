//! `cert renew` and `cert needs-renewal`: a certificate lives on under the same id.
//!
//! ```text
//! cert needs-renewal ── 5 ──▶ cert renew ── same role, name, id; new key, serial ──▶ DIR
//! DIR ── both files over the old ones ──▶ the node reads them, on SIGHUP or by itself
//! ```
//!
//! The old certificate stays good until it expires: between the copying to one host and to
//! the next nobody is shut out.

use std::path::PathBuf;
use std::time::Duration;

use chord_net_quic::identity::{self, Certified, Kind, LEAF_VALID, refuse_existing};
use rustls::pki_types::UnixTime;

use super::super::ca;
use super::super::remote::duration;
use super::{Written, describe, document, moment};
use crate::exit::{Exit, Stop};
use crate::term;

/// From this much of its life left on a certificate is renewed, unless told otherwise: the
/// node's own warnings begin a few days later.
const WITHIN: Duration = Duration::from_secs(30 * 86_400);

/// Renew a certificate: the same role, name and ring id, a new key and serial number
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli cert renew --ca ca --cert n1/n1.pem --out n1-renewed\n  \
    dht-cli cert needs-renewal n1/n1.pem || dht-cli cert renew --ca ca --cert n1/n1.pem --out n1-renewed\n\n\
    Copy both files over those of the node: it reads them within seconds, or at once on SIGHUP,\n\
    without a restart. The old certificate stays good until it expires or is revoked."
)]
pub(in crate::commands) struct Renew {
    /// The authority's directory
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The certificate to renew; it may have expired, but not be revoked
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Lifetime from now, with its unit [default: 90d]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    valid: Option<Duration>,
    /// Certify the public key of this signing request; no key is written
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Where to write; made if missing, nothing there is overwritten
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Ask whether it is time to renew a certificate: exit code 0 no, 5 yes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli cert needs-renewal /etc/dht/node.pem --within 30d")]
pub(in crate::commands) struct NeedsRenewal {
    /// The certificate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Yes, if it expires within this time [default: 30d]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    within: Option<Duration>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn renew(args: &Renew) -> Result<Exit, Stop> {
    let now = identity::now();
    let pem = ca::read_text(&args.cert)?;
    let old = ca::certified(&args.cert)?;
    let mut authority = ca::open(&args.ca)?;
    refuse_existing(&args.out, &old.name).map_err(ca::refused)?;
    let csr = args.csr.as_deref().map(ca::read_text).transpose()?;
    let valid = args.valid.unwrap_or(LEAF_VALID);
    let issued = authority
        .renew(&pem, valid, csr.as_deref(), now)
        .map_err(ca::refused)?;
    let written = Written::save(&issued, &args.out, &old.name)?;
    if args.json {
        let mut facts = written.document(&issued.certified, now);
        facts["renews"] = old.serial.to_string().into();
        term::json(&facts)?;
        return Ok(Exit::Done);
    }
    let facts = describe(&issued.certified, now);
    term::say(format!(
        "wrote {written}\n{facts}\n{}",
        advice(&old, &written, now)
    ));
    Ok(Exit::Done)
}

/// What to do with the new files, and what becomes of the old certificate.
fn advice(old: &Certified, written: &Written, now: UnixTime) -> String {
    let files = match &written.key {
        Some(_) => "both files over the old ones (the key stays mode 0600)",
        None => "it over the old one, and use it with the key of the signing request",
    };
    let reads = match old.role.kind() {
        Kind::Node => "; the node reads them within seconds, or at once on SIGHUP, and goes on",
        Kind::Client | Kind::Admin => "",
    };
    let rest = if old.left(now).is_zero() {
        format!("expired on {}", moment(old.not_after))
    } else {
        format!(
            "stays good until {}; if its key may be in other hands, revoke it",
            moment(old.not_after)
        )
    };
    format!(
        "copy {files}{reads}\nthe old certificate, serial {}, {rest}",
        old.serial
    )
}

pub(super) fn needs_renewal(args: &NeedsRenewal) -> Result<Exit, Stop> {
    let certified = ca::certified(&args.file)?;
    let now = identity::now();
    let left = certified.left(now);
    let due = left <= args.within.unwrap_or(WITHIN);
    if args.json {
        let mut facts = document(&certified, now);
        facts["needs_renewal"] = due.into();
        term::json(&facts)?;
    } else {
        let until = moment(certified.not_after);
        let end = if left.is_zero() {
            format!("it expired on {until}")
        } else {
            format!(
                "it expires on {until}, {} days left",
                certified.days_left(now)
            )
        };
        term::line(match due {
            true => format!("yes: {end}; renew it with `dht-cli cert renew`"),
            false => format!("no: {end}"),
        })?;
    }
    Ok(if due { Exit::Violation } else { Exit::Done })
}
