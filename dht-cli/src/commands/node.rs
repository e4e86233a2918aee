//! `node run`: flags beside the configuration, then the node itself.

use std::path::PathBuf;

use clap::Subcommand;

use crate::config::{self, Sources};
use crate::exit::{Exit, Stop};
use crate::node_run;
use crate::term;

/// Run a node
#[derive(Subcommand)]
pub(super) enum Command {
    Run(Box<Run>),
}

/// Run a node in the foreground until SIGINT or SIGTERM, which hand its data over first
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  dht-cli node run -c node.toml\n  \
    dht-cli node run -c node.ini --join a.example.org:7400 --set ring.copies=5\n  \
    dht-cli node run -c node.toml --print-config\n\n\
    Each option may also stand in the environment, such as DHT_NODE_LISTEN for node.listen;\n\
    a flag beats the environment, the environment beats the file.\n\n\
    Exit code 0: everything handed over or safe on disk; 4: not everything; 130: a second signal.")]
pub(super) struct Run {
    /// Configuration: .toml, or .ini with a [dht] section
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// UDP address for other nodes
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// What other nodes dial, if it is not the address listened on
    #[arg(long, value_name = "IP:PORT")]
    advertise: Option<String>,
    /// A member to join through; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    join: Vec<String>,
    /// Directory for what survives a restart
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Ring positions of this host
    #[arg(long = "virtual", value_name = "N")]
    positions: Option<String>,
    /// Address of the binary client protocol, or off
    #[arg(long, value_name = "IP:PORT|off")]
    tcp: Option<String>,
    /// Address of the HTTP API, or off
    #[arg(long, value_name = "IP:PORT|off")]
    http: Option<String>,
    /// Address of the Chord service over gRPC, or off
    #[arg(long, value_name = "IP:PORT|off")]
    grpc: Option<String>,
    /// Trusted authorities
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// This node's certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<String>,
    /// Its private key, mode 0600
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Revocation lists of the authorities
    #[arg(long, value_name = "FILE")]
    crl: Option<String>,
    /// Where records are kept
    #[arg(long, value_name = "KIND")]
    store: Option<String>,
    /// Any option by its name, such as ring.copies=5; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print the configuration in force, and where each value came from, and end
    #[arg(long)]
    print_config: bool,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    let Command::Run(args) = command;
    let sources = Sources::from_process(args.config.clone(), args.flags()?);
    if args.print_config {
        return print_config(&sources);
    }
    node_run::run(config::load(&sources).map_err(Stop::usage)?)
}

/// Prints what is in force, also if it is not enough to start a node: that it is not matters
/// only to whoever names a file, and is said in any case.
fn print_config(sources: &Sources) -> Result<Exit, Stop> {
    let loaded = config::gather(sources).map_err(Stop::usage)?;
    term::raw(loaded.report().as_bytes())?;
    match loaded.check() {
        Err(error) if sources.file.is_some() => Err(Stop::usage(error)),
        Err(error) => {
            term::say(format!("not enough to start a node: {error}"));
            Ok(Exit::Done)
        }
        Ok(()) => Ok(Exit::Done),
    }
}

impl Run {
    /// Name of the option and value of each flag that was given.
    fn flags(&self) -> Result<Vec<(String, String)>, Stop> {
        let mut flags = Vec::new();
        for setting in &self.set {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                Stop::usage(format!(
                    "--set {setting}: write NAME=VALUE, such as ring.copies=5"
                ))
            })?;
            flags.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let named = [
            ("node.listen", &self.listen),
            ("node.advertise", &self.advertise),
            ("node.data_dir", &self.data_dir),
            ("node.virtual", &self.positions),
            ("api.tcp", &self.tcp),
            ("api.http", &self.http),
            ("api.grpc", &self.grpc),
            ("tls.ca", &self.ca),
            ("tls.cert", &self.cert),
            ("tls.key", &self.key),
            ("tls.crl", &self.crl),
            ("store.kind", &self.store),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                flags.push((name.to_owned(), value.clone()));
            }
        }
        if !self.join.is_empty() {
            flags.push(("node.join".to_owned(), self.join.join(",")));
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        run: Run,
    }

    fn flags(arguments: &[&str]) -> Result<Vec<(String, String)>, Exit> {
        let only = Only::try_parse_from(std::iter::once(&"x").chain(arguments)).expect("parsed");
        only.run.flags().map_err(|stop| stop.exit)
    }

    #[test]
    fn flags_become_options_by_their_name() {
        let said = flags(&[
            "--listen",
            "1.2.3.4:5",
            "--join",
            "a:1,b:2",
            "--join",
            "c:3",
            "--set",
            "ring.ttl=1h",
        ]);
        let expected = [
            ("ring.ttl", "1h"),
            ("node.listen", "1.2.3.4:5"),
            ("node.join", "a:1,b:2,c:3"),
        ];
        let expected = expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        assert_eq!(said, Ok(expected));
        assert_eq!(flags(&["--set", "ring.ttl"]), Err(Exit::Usage));
    }

    #[test]
    fn every_flag_names_an_option_that_exists() {
        let said = flags(&[
            "--listen",
            "x",
            "--advertise",
            "x",
            "--data-dir",
            "x",
            "--virtual",
            "x",
            "--tcp",
            "x",
            "--http",
            "x",
            "--grpc",
            "x",
            "--ca",
            "x",
            "--cert",
            "x",
            "--key",
            "x",
            "--crl",
            "x",
            "--store",
            "x",
            "--join",
            "x",
        ]);
        for (name, _) in said.expect("flags") {
            assert!(config::knobs().any(|knob| knob.name() == name), "{name}");
        }
    }
}
