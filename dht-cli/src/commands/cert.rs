//! `cert`: certificates of nodes, clients and administrators.

mod renew;
mod unlisted;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chord_net_quic::identity::{
    self, Certified, IdChoice, Issued, Kind, LEAF_VALID, Order, Trust, refuse_existing,
};
use clap::Subcommand;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::json;

use super::ca;
use super::remote::duration;
use crate::documents::rfc3339;
use crate::exit::{Exit, Stop};
use crate::term;

/// Issue, show, verify and renew certificates
#[derive(Subcommand)]
pub(super) enum Command {
    Issue(Issue),
    Show(Show),
    Verify(Verify),
    Renew(renew::Renew),
    NeedsRenewal(renew::NeedsRenewal),
}

/// Issue a certificate: NAME.pem and NAME.key (0600); the authority picks a node's ring id
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli cert issue --ca ca --name n1 --out n1\n  \
    dht-cli cert issue --ca ca --name laptop --role client --valid 30d --out ."
)]
pub(super) struct Issue {
    /// The authority's directory
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// Name of the files, and in the certificate of a client or administrator
    #[arg(long, value_name = "NAME")]
    name: String,
    /// node, client or admin
    #[arg(long, value_name = "ROLE", default_value = "node")]
    role: Kind,
    /// Lifetime with its unit [default: 90d]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    valid: Option<Duration>,
    /// Certify the public key of this signing request; no key is written
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Put the node into the widest gap between the ids given so far
    #[arg(long)]
    spread: bool,
    /// Where to write; made if missing, nothing there is overwritten
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Show what a certificate says
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli cert show n1/n1.pem")]
pub(super) struct Show {
    /// The certificate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Verify a certificate against an authority and its revocation list; exit code 5 if refused
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli cert verify n1/n1.pem --ca ca/ca.pem --crl ca/ca.crl\n  \
    dht-cli cert verify n1/n1.pem --ca ca/ca.pem    # not whether it was revoked"
)]
pub(super) struct Verify {
    /// The certificate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Trusted authorities
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Their revocation lists; without them a revoked certificate looks good
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    match command {
        Command::Issue(args) => issue(&args),
        Command::Show(args) => show(&args),
        Command::Verify(args) => verify(&args),
        Command::Renew(args) => renew::renew(&args),
        Command::NeedsRenewal(args) => renew::needs_renewal(&args),
    }
}

fn issue(args: &Issue) -> Result<Exit, Stop> {
    let now = identity::now();
    let mut authority = ca::open(&args.ca)?;
    refuse_existing(&args.out, &args.name).map_err(ca::refused)?;
    let csr = args.csr.as_deref().map(ca::read_text).transpose()?;
    let order = Order {
        name: &args.name,
        kind: args.role,
        valid: args.valid.unwrap_or(LEAF_VALID),
        id: if args.spread {
            IdChoice::Spread
        } else {
            IdChoice::Random
        },
        csr: csr.as_deref(),
    };
    let issued = authority.issue(&order, now).map_err(ca::refused)?;
    let written = Written::save(&issued, &args.out, &args.name)?;
    if args.json {
        term::json(&written.document(&issued.certified, now))?;
        return Ok(Exit::Done);
    }
    let facts = describe(&issued.certified, now);
    term::say(format!("wrote {written}\n{facts}"));
    Ok(Exit::Done)
}

/// The files of a certificate fresh from the authority.
struct Written {
    cert: String,
    /// None if a signing request was given: whoever made that has the key.
    key: Option<String>,
}

impl Written {
    fn save(issued: &Issued, dir: &Path, name: &str) -> Result<Self, Stop> {
        let paths = issued.save(dir, name).map_err(ca::refused)?;
        let mut paths = paths.iter().map(|path| path.display().to_string());
        Ok(Self {
            cert: paths.next().expect("the certificate's comes first"),
            key: paths.next(),
        })
    }

    fn document(&self, certified: &Certified, now: UnixTime) -> serde_json::Value {
        let mut facts = document(certified, now);
        facts["cert"] = self.cert.as_str().into();
        facts["key"] = self.key.as_deref().into();
        facts
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cert)?;
        self.key
            .as_ref()
            .map_or(Ok(()), |key| write!(f, " and {key}"))
    }
}

fn show(args: &Show) -> Result<Exit, Stop> {
    let certified = ca::certified(&args.file)?;
    let now = identity::now();
    if args.json {
        term::json(&document(&certified, now))?;
    } else {
        term::line(describe(&certified, now))?;
    }
    Ok(Exit::Done)
}

fn verify(args: &Verify) -> Result<Exit, Stop> {
    let leaf = CertificateDer::from_pem_slice(ca::read_text(&args.file)?.as_bytes());
    let leaf = leaf.map_err(|_| {
        Stop::usage(format!(
            "{} holds no certificate in PEM form; is this the right file?",
            args.file.display()
        ))
    })?;
    let now = identity::now();
    let judged = match &args.crl {
        Some(crl) => {
            let trust = Trust::load(&args.ca, crl, false).map_err(ca::refused)?;
            trust.verify(&leaf, now)
        }
        None => unlisted::verify(&args.ca, &leaf, now)?,
    };
    let listed = args.crl.is_some();
    if args.json {
        term::json(&json!({
            "good": judged.is_ok(),
            "name": judged.as_ref().ok().map(|certified| &certified.name),
            "error": judged.as_ref().err().map(ToString::to_string),
            "revocation_checked": listed,
        }))?;
    } else {
        term::line(match &judged {
            Ok(certified) if listed => format!("good: {}", certified.name),
            Ok(certified) => format!(
                "good: {}, as far as can be told: without --crl it may have been revoked",
                certified.name
            ),
            Err(error) => format!("refused: {error}"),
        })?;
    }
    Ok(match judged {
        Ok(_) => Exit::Done,
        Err(_) => Exit::Violation,
    })
}

fn document(certified: &Certified, now: UnixTime) -> serde_json::Value {
    json!({
        "role": certified.role.kind().to_string(),
        "name": certified.name,
        "cluster": certified.cluster.to_string(),
        "id": certified.id().map(|id| id.to_string()),
        "serial": certified.serial.to_string(),
        "issuer": certified.issuer,
        "not_before": moment(certified.not_before),
        "not_after": moment(certified.not_after),
        "days_left": certified.days_left(now),
    })
}

fn describe(certified: &Certified, now: UnixTime) -> String {
    let mut rows = vec![
        ("role", certified.role.kind().to_string()),
        ("name", certified.name.clone()),
        ("cluster", certified.cluster.to_string()),
    ];
    if let Some(id) = certified.id() {
        rows.push(("ring id", id.to_string()));
    }
    rows.extend([
        ("serial", certified.serial.to_string()),
        ("issuer", certified.issuer.clone()),
        ("valid from", moment(certified.not_before)),
        (
            "valid until",
            format!(
                "{} ({} days left)",
                moment(certified.not_after),
                certified.days_left(now)
            ),
        ),
    ]);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:<13}{value}"))
        .collect();
    lines.join("\n")
}

fn moment(time: UnixTime) -> String {
    rfc3339(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
