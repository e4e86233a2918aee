//! `put`: stores a value.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use chord_core::message::VALUE_MAX;
use hyper::Method;
use serde_json::json;

use super::remote::{KeyArgs, NodeArgs, duration};
use crate::client::Ask;
use crate::exit::{Exit, Stop};
use crate::term;

/// Store a value under a key; done when a majority of its holders have it
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  dht-cli put greeting 'hello, ring'\n  \
    dht-cli put --ttl 1h --copies 5 logo @logo.png\n  date | dht-cli put now -")]
pub(super) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    /// The value, @FILE for a file's content, or - for standard input; at most 1 MiB
    #[arg(value_name = "VALUE|@FILE|-", allow_hyphen_values = true)]
    value: String,
    /// Lifetime with its unit; 0s is the node's default
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Copies, the owner's included; 0 is the node's default, too many are its maximum
    #[arg(long, value_name = "N")]
    copies: Option<u8>,
    /// Print the version as a JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    let key = args.key.hex()?;
    let mut path = format!("/v1/kv/{key}?encoding=hex");
    if let Some(ttl) = &args.ttl {
        duration(ttl).map_err(|why| Stop::usage(format!("--ttl {ttl}: {why}")))?;
        path.push_str(&format!("&ttl={ttl}"));
    }
    if let Some(copies) = args.copies {
        path.push_str(&format!("&copies={copies}"));
    }
    let client = args.node.client()?;
    let body = Bytes::from(value(&args.value)?);
    let size = body.len();
    super::block_on(async {
        let reply = client
            .ask(Ask {
                method: Method::PUT,
                path,
                body,
            })
            .await?;
        if !reply.is_done() {
            return Err(reply.refused());
        }
        if args.json {
            term::json(&json!({ "key": key, "bytes": size, "version": reply.version }))?;
        }
        Ok(Exit::Done)
    })
}

/// The value that an argument stands for.
fn value(argument: &str) -> Result<Vec<u8>, Stop> {
    if argument == "-" {
        return bounded(std::io::stdin().lock(), "standard input");
    }
    let Some(path) = argument.strip_prefix('@') else {
        return bounded(argument.as_bytes(), "the value");
    };
    let file = File::open(path).map_err(|error| {
        Stop::usage(format!(
            "{path}: {error} (a value that begins with @ names a file; use - to pass such text)"
        ))
    })?;
    bounded(file, path)
}

/// Everything a source has, if that is no more than a value may have.
fn bounded(source: impl Read, name: &str) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(VALUE_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    source
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Stop::failed(format!("{name}: {error}")))?;
    if bytes.len() > VALUE_MAX {
        return Err(Stop::usage(format!(
            "{name}: more than 1 MiB, the most a value may have"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_from_arguments_and_files_up_to_one_mebibyte() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("value");
        let argument = format!("@{}", path.display());
        assert_eq!(value(&argument).expect_err("no file").exit, Exit::Usage);
        std::fs::write(&path, vec![7; VALUE_MAX]).expect("written");
        assert_eq!(value(&argument).expect("fits").len(), VALUE_MAX);
        std::fs::write(&path, vec![7; VALUE_MAX + 1]).expect("written");
        assert_eq!(value(&argument).expect_err("too long").exit, Exit::Usage);
        assert_eq!(value("plain"), Ok(b"plain".to_vec()));
        assert_eq!(value(""), Ok(vec![]));
    }
}
