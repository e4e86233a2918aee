//! `cert`: certificates of nodes, clients and administrators.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chord_net_quic::identity::{
    self, Certified, IdChoice, Kind, LEAF_VALID, Order, Trust, refuse_existing,
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

/// Issue, show and verify certificates
#[derive(Subcommand)]
pub(super) enum Command {
    Issue(Issue),
    Show(Show),
    Verify(Verify),
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
#[command(after_help = "Example:\n  dht-cli cert verify n1/n1.pem --ca ca/ca.pem --crl ca/ca.crl")]
pub(super) struct Verify {
    /// The certificate
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Trusted authorities
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Their revocation lists
    #[arg(long, value_name = "FILE")]
    crl: PathBuf,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    match command {
        Command::Issue(args) => issue(&args),
        Command::Show(args) => show(&args),
        Command::Verify(args) => verify(&args),
    }
}

fn issue(args: &Issue) -> Result<Exit, Stop> {
    let now = identity::now();
    let mut authority = ca::open(&args.ca)?;
    refuse_existing(&args.out, &args.name).map_err(ca::refused)?;
    let csr = args.csr.as_deref().map(read_text).transpose()?;
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
    issued.save(&args.out, &args.name).map_err(ca::refused)?;
    term::say(format!(
        "wrote {}\n{}",
        args.out.join(format!("{}.pem", args.name)).display(),
        describe(&issued.certified, now)
    ));
    Ok(Exit::Done)
}

fn show(args: &Show) -> Result<Exit, Stop> {
    let certified = Certified::read(&args.file).map_err(ca::refused)?;
    let now = identity::now();
    if args.json {
        term::json(&document(&certified, now))?;
    } else {
        term::line(describe(&certified, now))?;
    }
    Ok(Exit::Done)
}

fn verify(args: &Verify) -> Result<Exit, Stop> {
    let trust = Trust::load(&args.ca, &args.crl, false).map_err(ca::refused)?;
    let leaf = CertificateDer::from_pem_file(&args.file)
        .map_err(|error| Stop::usage(format!("{}: {error}", args.file.display())))?;
    match trust.verify(&leaf, identity::now()) {
        Ok(certified) => {
            term::line(format!("good: {}", certified.name))?;
            Ok(Exit::Done)
        }
        Err(error) => {
            term::line(format!("refused: {error}"))?;
            Ok(Exit::Violation)
        }
    }
}

fn read_text(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path)
        .map_err(|error| Stop::usage(format!("{}: {error}", path.display())))
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
