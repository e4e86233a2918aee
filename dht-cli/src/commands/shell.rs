//! `completions` and `man`: what a package or a shell wants to know of the commands, made
//! from their definition.

use std::path::PathBuf;

use clap_complete::Shell;

use crate::exit::{Exit, Stop};
use crate::term;

/// Print the completions for a shell
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli completions bash > ~/.local/share/bash-completion/completions/dht-cli\n  \
    dht-cli completions zsh > ~/.zfunc/_dht-cli"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Write a manual page for each command
#[derive(clap::Args)]
#[command(after_help = "Example:\n  dht-cli man ~/.local/share/man/man1 && man dht-cli-put")]
pub(super) struct Man {
    /// Where to write; made if missing, older pages are replaced
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn completions(args: &Completions, mut definition: clap::Command) -> Result<Exit, Stop> {
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, name, &mut script);
    term::raw(&script)?;
    Ok(Exit::Done)
}

pub(super) fn man(args: &Man, definition: clap::Command) -> Result<Exit, Stop> {
    let failed = |error| Stop::failed(format!("{}: {error}", args.dir.display()));
    std::fs::create_dir_all(&args.dir).map_err(failed)?;
    // Without it each command would get a second page that only says where the first is.
    clap_mangen::generate_to(definition.disable_help_subcommand(true), &args.dir)
        .map_err(failed)?;
    Ok(Exit::Done)
}
