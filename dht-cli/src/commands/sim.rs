//! `sim run`: a scenario in the simulator, and its verdict.

use std::path::PathBuf;

use chord_net_sim::plan::Plan;
use chord_net_sim::report::{Report, Verdict};
use chord_net_sim::scenarios;
use chord_net_sim::sim::{self, Progress, Twice};
use clap::Subcommand;

use crate::exit::{Exit, Stop};
use crate::term;

/// Run scenarios in the simulator
#[derive(Subcommand)]
pub(super) enum Command {
    Run(Run),
}

/// Run a scenario; exit code 0 for PASS, 5 for FAIL, 6 for VACUOUS (a fault never fired)
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  dht-cli sim run crash-one\n  \
    dht-cli sim run my-scenario.toml --seed 7 --set nodes.count=48 --twice")]
pub(super) struct Run {
    /// A scenario file, or the name of a shipped scenario
    #[arg(value_name = "FILE|NAME")]
    scenario: String,
    /// Seed, instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Override a value, such as nodes.count=48; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Run it twice and compare every event
    #[arg(long)]
    twice: bool,
    /// Write the report as a JSON document; - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(command: Command) -> Result<Exit, Stop> {
    let Command::Run(args) = command;
    let text = read(&args.scenario)?;
    let plan = Plan::from_toml(&text, &args.scenario, &args.set)
        .map_err(|error| Stop::usage(format!("{}: {error}", args.scenario)))?;
    let seed = args.seed.unwrap_or(plan.seed);
    let (send, done) = tokio::sync::oneshot::channel();
    let twice = args.twice;
    // A thread of its own, so that an interrupt is heard while it computes.
    std::thread::spawn(move || {
        let outcome = if twice {
            sim::twice(&plan, seed, &mut show_progress)
        } else {
            Twice::Same(Box::new(sim::run(&plan, seed, &mut show_progress)))
        };
        // Nobody waits any more after an interrupt.
        let _ = send.send(outcome);
    });
    super::block_on(async {
        let outcome = done
            .await
            .map_err(|_| Stop::failed("the simulation ended without a report"))?;
        term::progress("");
        conclude(&args, seed, &outcome)
    })
}

fn conclude(args: &Run, seed: u64, outcome: &Twice) -> Result<Exit, Stop> {
    let report = match outcome {
        Twice::Same(report) => report,
        Twice::Differs {
            event,
            first,
            second,
        } => {
            let text = format!(
                "FAIL  two runs with seed {seed} differ at event {event}\n  first:  {}\n  second: {}",
                first.join("\n          "),
                second.join("\n          ")
            );
            term::line(text)?;
            return Ok(Exit::Violation);
        }
    };
    let to_stdout = args
        .json
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    if let Some(path) = &args.json {
        write_json(path, to_stdout, report)?;
    }
    if !to_stdout {
        term::line(report.to_string().trim_end())?;
        if args.twice {
            term::line("  twice      both runs agree on every event")?;
        }
        term::line(format!("  replay     {}", replay(args, seed)))?;
    }
    Ok(match report.verdict {
        Verdict::Pass => Exit::Done,
        Verdict::Fail => Exit::Violation,
        Verdict::Vacuous => Exit::Vacuous,
    })
}

fn write_json(path: &std::path::Path, to_stdout: bool, report: &Report) -> Result<(), Stop> {
    if to_stdout {
        return term::json(report);
    }
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Stop::failed(format!("cannot write the report as JSON: {error}")))?;
    std::fs::write(path, text + "\n")
        .map_err(|error| Stop::failed(format!("{}: {error}", path.display())))
}

/// The command that runs the same again.
fn replay(args: &Run, seed: u64) -> String {
    let mut text = format!("dht-cli sim run {} --seed {seed}", args.scenario);
    for setting in &args.set {
        text.push_str(&format!(" --set '{setting}'"));
    }
    text
}

/// The text of a shipped scenario or of a file; a file wins, it is nearer.
fn read(scenario: &str) -> Result<String, Stop> {
    match std::fs::read_to_string(scenario) {
        Ok(text) => Ok(text),
        Err(error) => scenarios::find(scenario).map(str::to_owned).ok_or_else(|| {
            let names: Vec<&str> = scenarios::SHIPPED.iter().map(|(name, _)| *name).collect();
            Stop::usage(format!(
                "{scenario}: {error}; name a scenario file, or one of {}",
                names.join(", ")
            ))
        }),
    }
}

fn show_progress(progress: Progress) {
    term::progress(&format!(
        "{:.0} of {:.0} s simulated, {} events, {} members",
        progress.simulated_seconds, progress.total_seconds, progress.events, progress.members
    ));
}
