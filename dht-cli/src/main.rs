//! The binary `dht-cli`. Everything is in the library, so that tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    dht_cli::commands::main()
}
