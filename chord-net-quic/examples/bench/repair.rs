//! How long until every record has its copies again after a node was lost for good, and
//! whether their number is exact after nodes came and went.
//!
//! Six nodes, records of 1 KiB in 3 copies. One node is killed and its directory forgotten:
//! the clock runs until each record is at its owner and the next two. Then ten nodes join and
//! ten leave, and a census of all stores must find nothing missing and nothing beside.

use std::time::{Duration, Instant};

use chord_core::config::Config;
use chord_net_quic::identity::IdChoice;

use crate::figure::Figures;
use crate::ground::Ground;
use crate::ring::{Failed, Ring};

const NODES: usize = 6;
const BYTES: usize = 1_024;
/// Comings and goings.
const CHANGES: usize = 10;
/// Gate of the design, in seconds.
const REPAIRED_WITHIN: f64 = 60.0;
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run(
    ground: &Ground,
    records: u32,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let mut ring = Ring::new(ground.path().to_owned(), Config::default())?;
    ring.grow(NODES).await?;
    let begin = Instant::now();
    ring.fill(records, BYTES).await?;
    let took = begin.elapsed().as_secs_f64();
    println!("{records} records of {BYTES} bytes written in {took:.1} s");
    ring.filled(records, true, PATIENCE).await?;

    ring.take(NODES / 2).kill();
    let took = ring.filled(records, false, PATIENCE).await?;
    let census = ring.census(records).await?;
    println!("a node of {NODES} was lost: {census:?}");
    let seconds = took.as_secs_f64();
    figures.at_most(
        "seconds until all copies were back",
        seconds,
        REPAIRED_WITHIN,
    );
    figures.at_most("copies missing", census.missing as f64, 0.0);

    for change in 0..CHANGES {
        let newcomer = ring.prepare(IdChoice::Spread)?;
        ring.enter(newcomer).await?;
        let begin = Instant::now();
        let left = ring.take(change % ring.nodes.len()).shutdown().await;
        println!(
            "change {}: left after {:.1} s, {} handed over, {} not",
            change + 1,
            begin.elapsed().as_secs_f64(),
            left.handed_over,
            left.remaining
        );
    }
    let took = ring.filled(records, true, PATIENCE).await?;
    let census = ring.census(records).await?;
    println!(
        "exact {:.1} s after {CHANGES} joins and leaves: {census:?}",
        took.as_secs_f64()
    );
    figures.at_most("copies missing", census.missing as f64, 0.0);
    figures.at_most("copies beside", census.surplus as f64, 0.0);
    for node in &ring.nodes {
        node.kill();
    }
    Ok(())
}
