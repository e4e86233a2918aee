//! The commands: one file each, and the way from the arguments to the exit code.
//!
//! ```text
//! arguments ── clap ──▶ a command's Args ── run ──▶ Exit         the report is the output
//!                   │                          └──▶ Stop         a sentence on standard error
//!                   └─ bad usage: exit code 2
//! ```

mod ca;
mod cert;
mod demo;
mod get;
mod lookup;
mod node;
mod put;
mod remote;
mod ring;
mod ring_check;
mod ring_draw;
mod rm;
mod shell;
mod sim;
mod status;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::{Exit, Stop, end_on_panic};
use crate::term;

/// A distributed hash table: secured nodes on QUIC that form a Chord ring, store and find
/// values, and survive the loss of nodes.
#[derive(Parser)]
#[command(
    name = "dht-cli",
    version,
    after_help = "Example:\n  dht-cli demo          # a whole ring on this machine, no set-up"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    #[command(subcommand)]
    Ca(ca::Command),
    #[command(subcommand)]
    Cert(cert::Command),
    #[command(subcommand)]
    Node(node::Command),
    Put(put::Args),
    Get(get::Args),
    Rm(rm::Args),
    Lookup(lookup::Args),
    #[command(subcommand)]
    Ring(ring::Command),
    Status(status::Args),
    #[command(subcommand)]
    Sim(sim::Command),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Reads the arguments, runs the command, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    end_on_panic();
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(stop) => {
            if !stop.message.is_empty() {
                term::say(format!("dht-cli: {stop}"));
            }
            stop.exit.into()
        }
    }
}

impl Command {
    fn run(self) -> Result<Exit, Stop> {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Ca(command) => ca::run(command),
            Self::Cert(command) => cert::run(command),
            Self::Node(command) => node::run(command),
            Self::Put(args) => put::run(&args),
            Self::Get(args) => get::run(&args),
            Self::Rm(args) => rm::run(&args),
            Self::Lookup(args) => lookup::run(&args),
            Self::Ring(command) => ring::run(command),
            Self::Status(args) => status::run(&args),
            Self::Sim(command) => sim::run(command),
            Self::Completions(args) => shell::completions(&args, Cli::command()),
            Self::Man(args) => shell::man(&args, Cli::command()),
        }
    }
}

/// Runs a command's future on this thread; an interrupt ends it.
fn block_on<F>(work: F) -> Result<Exit, Stop>
where
    F: Future<Output = Result<Exit, Stop>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            result = work => result,
            signal = tokio::signal::ctrl_c() => match signal {
                Ok(()) => Err(Stop { exit: Exit::Interrupted, message: "interrupted".into() }),
                Err(error) => Err(Stop::failed(format!("cannot listen for signals: {error}"))),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves<'a>(
        command: &'a clap::Command,
        path: &str,
        found: &mut Vec<(String, &'a clap::Command)>,
    ) {
        let path = format!("{path} {}", command.get_name());
        let mut children = command
            .get_subcommands()
            .filter(|child| child.get_name() != "help")
            .peekable();
        if children.peek().is_none() {
            found.push((path, command));
            return;
        }
        for child in children {
            leaves(child, &path, found);
        }
    }

    #[test]
    fn the_definition_of_the_arguments_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_an_example() {
        let root = Cli::command();
        let mut found = Vec::new();
        leaves(&root, "", &mut found);
        assert!(found.len() >= 15, "{}", found.len());
        for (path, command) in found {
            let example = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(example.contains("Example"), "{path} has no example");
            assert!(example.contains("dht-cli "), "{path}: {example}");
            assert!(
                command.get_about().is_some(),
                "{path} does not say what it does"
            );
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let spoken = argument.get_help().is_some() || id == "help" || id == "version";
                assert!(spoken, "{path}: {id} has no help");
            }
        }
    }
}
