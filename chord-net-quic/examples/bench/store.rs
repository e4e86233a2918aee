//! Puts a second through a whole node, beside a bare redb loop that does as much: the same
//! commit settings, as many puts in a group as are in flight, two tables.
//!
//! One node, one copy, values of 100 bytes, 64 puts in flight through its handle: client,
//! protocol, store, answer. Both take turns, three times; the median of the ratios counts.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_core::config::Config;
use chord_core::message::Key;
use chord_net_quic::{Node, PutOptions};
use redb::{Database, TableDefinition};
use tokio::task::JoinSet;

use crate::figure::{Figures, median};
use crate::ground::Ground;
use crate::ring::{Failed, Ring, told};

/// Puts in flight, and in a group of the bare loop.
const IN_FLIGHT: u64 = 64;
/// Bytes of a value.
const VALUE: usize = 100;
/// What a record takes on disk before its value.
const HEAD: usize = 87;
/// Gate of the design: share of the bare loop.
const SHARE: f64 = 0.5;
const REPETITIONS: usize = 3;

const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");
const INDEX: TableDefinition<'_, &[u8; 37], ()> = TableDefinition::new("index");

pub(crate) async fn run(
    ground: &Ground,
    seconds: u32,
    figures: &mut Figures,
) -> Result<(), Failed> {
    let length = Duration::from_secs(seconds.into());
    let mut ratios = Vec::new();
    for _ in 0..REPETITIONS {
        let bare = bare(ground.path(), length)?;
        let (node, group) = node(ground.path(), length).await?;
        let ratio = node / bare;
        println!("bare {bare:>8.0}/s   node {node:>8.0}/s ({group:.0} a group)   ratio {ratio:.2}");
        ratios.push(ratio);
    }
    figures.at_least(
        "puts/s through a node, share of a bare redb loop",
        median(ratios),
        SHARE,
    );
    Ok(())
}

/// Groups of puts into two tables, one after the other.
fn bare(dir: &Path, length: Duration) -> Result<f64, Failed> {
    let dir = tempfile::tempdir_in(dir)?;
    let database = Database::create(dir.path().join("bare.redb"))?;
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < length {
        let mut txn = database.begin_write()?;
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        {
            let mut data = txn.open_table(DATA)?;
            let mut index = txn.open_table(INDEX)?;
            for _ in 0..IN_FLIGHT {
                let key = key(count);
                let mut place = key.position().0.to_vec();
                place.extend_from_slice(key.bytes());
                data.insert(place.as_slice(), &[7; HEAD + VALUE][..])?;
                let mut entry = [0; 37];
                entry[1..9].copy_from_slice(&count.to_be_bytes());
                entry[9..29].copy_from_slice(&key.position().0);
                index.insert(&entry, ())?;
                count += 1;
            }
        }
        txn.commit()?;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// The same through a node: as many in flight, the next when one is acknowledged.
async fn node(dir: &Path, length: Duration) -> Result<(f64, f64), Failed> {
    let dir = tempfile::tempdir_in(dir)?;
    let options = Config {
        copies: 1,
        ..Config::default()
    };
    let mut ring = Ring::new(dir.path().to_owned(), options)?;
    ring.grow(1).await?;
    let node = ring.take(0);
    let (begin, mut tasks) = (Instant::now(), JoinSet::new());
    for first in 0..IN_FLIGHT {
        let node = node.clone();
        tasks.spawn(async move { puts(&node, first, begin + length).await });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done??;
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    let work = node.status().await.map_err(told)?.store;
    node.kill();
    Ok((rate, work.commands as f64 / work.groups.max(1) as f64))
}

/// Every 64th put from the first on, one after the other.
async fn puts(node: &Node, first: u64, until: Instant) -> Result<u64, Failed> {
    let mut count = 0;
    while Instant::now() < until {
        let value = Bytes::from_static(&[7; VALUE]);
        let key = key(first + count * IN_FLIGHT);
        let put = node.put(key, value, PutOptions::default());
        put.await.map_err(told)?;
        count += 1;
    }
    Ok(count)
}

fn key(n: u64) -> Key {
    Key::new(Bytes::copy_from_slice(&n.to_be_bytes().repeat(4))).expect("32 bytes")
}
