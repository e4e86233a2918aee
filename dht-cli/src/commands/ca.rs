//! `ca`: the private authority of a cluster.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chord_net_quic::identity::{
    self, CertificateAuthority, Certified, Entry, IdentityError, Serial,
};
use clap::Subcommand;
use serde_json::json;

use crate::documents::rfc3339;
use crate::exit::{Exit, Stop};
use crate::term;

/// Found and run the private certificate authority of a cluster
#[derive(Subcommand)]
pub(super) enum Command {
    Init(Init),
    List(List),
    Revoke(Revoke),
    Crl(Crl),
}

/// Found a cluster: write ca.pem, ca.key (keep it offline) and ca.crl
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli ca init --dir ca --cluster example.net")]
pub(super) struct Init {
    /// Where to write; made if missing, nothing there is overwritten
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The cluster's name, like a DNS name; it is in every certificate
    #[arg(long, value_name = "NAME")]
    cluster: String,
}

/// List what was issued: name, role, ring id, serial, expiry, revocation
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli ca list --dir ca")]
pub(super) struct List {
    /// The authority's directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Revoke a certificate: write a new ca.crl, to be copied to every node
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli ca revoke --dir ca --cert n3.pem")]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Revoke {
    /// The authority's directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The certificate
    #[arg(long, value_name = "FILE", group = "which")]
    cert: Option<PathBuf>,
    /// Its serial number, as `ca list` shows it
    #[arg(long, value_name = "HEX", group = "which")]
    serial: Option<Serial>,
}

/// Issue the revocation list again, before the present one runs out
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli ca crl --dir ca")]
pub(super) struct Crl {
    /// The authority's directory
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    match command {
        Command::Init(args) => init(&args),
        Command::List(args) => list(&args),
        Command::Revoke(args) => revoke(&args),
        Command::Crl(args) => crl(&args),
    }
}

/// Opens the authority in `dir`.
pub(super) fn open(dir: &Path) -> Result<CertificateAuthority, Stop> {
    CertificateAuthority::open(dir, identity::now()).map_err(|error| match error {
        IdentityError::Read { path, source }
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            ) =>
        {
            Stop::usage(format!(
                "{} is not the directory of an authority, or not all of it: there is no {}; name \
                 the directory that `dht-cli ca init` made",
                dir.display(),
                path.display()
            ))
        }
        other => refused(other),
    })
}

/// The certificate in a file, with its name in what is said of it otherwise.
pub(super) fn certified(path: &Path) -> Result<Certified, Stop> {
    Certified::read(path).map_err(|error| match error {
        IdentityError::Shape(_) | IdentityError::Malformed(_) => {
            Stop::usage(format!("{}: {error}", path.display()))
        }
        other => refused(other),
    })
}

/// A text file that the caller named.
pub(super) fn read_text(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path).map_err(|error| {
        Stop::usage(format!(
            "cannot read {}: {error}; check the path and who may read it",
            path.display()
        ))
    })
}

/// What an error of the identity module means to the caller: files and names are theirs.
pub(super) fn refused(error: IdentityError) -> Stop {
    match error {
        IdentityError::Write { path, source } if is_no_directory(&source) => Stop::usage(format!(
            "{} cannot be made: a file stands in its place; name another directory",
            path.display()
        )),
        IdentityError::Write { .. } | IdentityError::Entropy(_) | IdentityError::Signing(_) => {
            Stop::failed(error)
        }
        _ => Stop::usage(error),
    }
}

fn is_no_directory(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory
    )
}

fn init(args: &Init) -> Result<Exit, Stop> {
    let authority =
        CertificateAuthority::init(&args.dir, &args.cluster, identity::now()).map_err(refused)?;
    term::say(format!(
        "founded the authority of {} in {dir}\n\
         next: dht-cli cert issue --ca {dir} --name n1 --out n1\n\
         give every node ca.pem and ca.crl; ca.key stays here and signs",
        authority.cluster(),
        dir = args.dir.display(),
    ));
    Ok(Exit::Done)
}

fn list(args: &List) -> Result<Exit, Stop> {
    let authority = open(&args.dir)?;
    if args.json {
        term::json(&json!({
            "cluster": authority.cluster().to_string(),
            "crl_number": authority.crl_number(),
            "issued": authority.entries(),
        }))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = authority
        .entries()
        .iter()
        .map(|entry| {
            let end = entry.revoked.map_or_else(
                || format!("valid until {}", moment(entry.not_after)),
                |at| format!("revoked {}", moment(at)),
            );
            let id = entry.id.map_or_else(String::new, |id| id.to_string());
            vec![
                entry.name.clone(),
                entry.role.to_string(),
                entry.serial.to_string(),
                end,
                id,
            ]
        })
        .collect();
    term::line(term::table(
        &["name", "role", "serial", "state", "ring id"],
        &rows,
    ))?;
    Ok(Exit::Done)
}

/// Seconds since 1970 as a date for people.
fn moment(seconds: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn revoke(args: &Revoke) -> Result<Exit, Stop> {
    let mut authority = open(&args.dir)?;
    let now = identity::now();
    let entry = match (&args.cert, &args.serial) {
        (Some(path), _) => {
            let pem = read_text(path)?;
            certified(path)?;
            authority.revoke_certificate(&pem, now)
        }
        (None, Some(serial)) => authority.revoke_serial(serial, now),
        (None, None) => return Err(Stop::usage("name the certificate: --cert or --serial")),
    }
    .map_err(refused)?;
    let others = others_of(&authority, &entry, now.as_secs());
    term::say(format!(
        "revoked {} ({}, serial {})\n{others}copy {} number {} to every node: each reads it \
         again by itself",
        entry.name,
        entry.role,
        entry.serial,
        args.dir.join("ca.crl").display(),
        authority.crl_number(),
    ));
    Ok(Exit::Done)
}

/// Who was renewed has two certificates for a while, and is not shut out while one is good.
fn others_of(authority: &CertificateAuthority, revoked: &Entry, now: u64) -> String {
    let good = |entry: &&Entry| {
        let same = (entry.role, &entry.name, entry.id) == (revoked.role, &revoked.name, revoked.id);
        same && entry.revoked.is_none() && entry.not_after >= now
    };
    let line = |entry: &Entry| {
        format!(
            "it has another that is still good, serial {}: revoke that too, if this was not \
             its forerunner\n",
            entry.serial
        )
    };
    authority.entries().iter().filter(good).map(line).collect()
}

fn crl(args: &Crl) -> Result<Exit, Stop> {
    let mut authority = open(&args.dir)?;
    let number = authority.reissue_crl(identity::now()).map_err(refused)?;
    term::say(format!(
        "wrote {} number {number}",
        args.dir.join("ca.crl").display()
    ));
    Ok(Exit::Done)
}
