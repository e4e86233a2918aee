//! Figures of nodes with stores on a disk, beside their gates.
//!
//! ```text
//! cargo run --release -p chord-net-quic --example bench -- WHAT [SIZE] [DIR]
//!
//! store   [SECONDS]   puts/s of a node, beside a bare redb loop
//! repair  [RECORDS]   copies after a loss, and after joins and leaves
//! move    [MIB]       what clients notice while a node with so much joins and leaves
//! restart [MIB]       from the start of a node with so much until it serves
//! ```
//!
//! The stores are in DIR, or beside the program. Ends with 0 if every gate was reached, 1 if
//! one was missed or nothing could be measured, 2 for a mistake in the arguments or a DIR on
//! a file system in memory, where a sync costs nothing.

mod figure;
mod ground;
mod movement;
mod repair;
mod restart;
mod ring;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use figure::Figures;
use ground::Ground;
use ring::Failed;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let what = words.next().unwrap_or_default();
    if what == restart::AS_NODE {
        restart::be_node(&arguments[1..]).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let default = match what {
        "store" => 5,
        "repair" => 100_000,
        "move" => 200,
        "restart" => 1_024,
        _ => return Ok(mistaken("one of store, repair, move, restart")),
    };
    let Ok(size) = words.next().map_or(Ok(default), str::parse::<u32>) else {
        return Ok(mistaken("a number as the second argument"));
    };
    let Some(ground) = Ground::new(words.next().map(PathBuf::from))? else {
        return Ok(ExitCode::from(2));
    };
    println!("{what} {size}: {}", ground.describe());
    let mut figures = Figures::default();
    match what {
        "store" => store::run(&ground, size, &mut figures).await?,
        "repair" => repair::run(&ground, size, &mut figures).await?,
        "move" => movement::run(&ground, size, &mut figures).await?,
        _ => restart::run(&ground, size, &mut figures).await?,
    }
    Ok(figures.verdict())
}

fn mistaken(wanted: &str) -> ExitCode {
    println!("wanted: {wanted}; see the head of chord-net-quic/examples/bench/main.rs");
    ExitCode::from(2)
}
