//! What clients notice while a node that owns 200 MiB joins, and while it leaves.
//!
//! Three nodes, 3 copies, records of 4 KiB. Clients read and overwrite them through every
//! node that stays, at a steady pace. The newcomer takes the middle of the widest span, and
//! then leaves again. A call that is refused for the moment is repeated and its latency
//! includes that; anything else, or a wrong value, is a failed call. The 99th percentile of
//! gets while data moves is compared with that before, in the same run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chord_core::config::Config;
use chord_core::id::{Id, Span};
use chord_core::time::Micros;
use chord_net_quic::identity::IdChoice;
use chord_net_quic::{Node, NodeConfig};
use tokio::task::JoinHandle;

use crate::figure::{Figures, quantile};
use crate::ground::Ground;
use crate::ring::{self, Failed, Ring, get, put};

const NODES: usize = 3;
const BYTES: usize = 4_096;
/// Clients that read, and their pause between two calls.
const READERS: u32 = 8;
const READ_PACE: Duration = Duration::from_millis(10);
/// Clients that write.
const WRITERS: u32 = 4;
const WRITE_PACE: Duration = Duration::from_millis(50);
/// How long clients run before anything moves.
const BEFORE: Duration = Duration::from_secs(20);
/// Gate of the design: 99th percentile while data moves, as a multiple of that before.
const SLOWER_MAX: f64 = 2.0;
/// Long enough to hand over everything, on any disk.
const LEAVE: Micros = Micros::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) async fn run(ground: &Ground, mib: u32, figures: &mut Figures) -> Result<(), Failed> {
    let config = Config {
        leave_timeout: LEAVE,
        ..Config::default()
    };
    let mut ring = Ring::new(ground.path().to_owned(), config)?;
    ring.grow(NODES).await?;
    let newcomer = ring.prepare(IdChoice::Spread)?;
    let (moved, share, records) = records_for(&ring, &newcomer, mib);
    println!("{records} records of {BYTES} bytes, of which the newcomer will own {share}");
    ring.fill(records, BYTES).await?;
    ring.filled(records, true, PATIENCE).await?;

    let clients = Clients::start(&ring.nodes, records, moved);
    tokio::time::sleep(BEFORE).await;
    let before = clients.phase("before", Duration::ZERO);
    let begin = Instant::now();
    let node = ring.enter(newcomer).await?;
    println!("a member after {:.1} s", begin.elapsed().as_secs_f64());
    ring.filled(records, false, PATIENCE).await?;
    let joining = clients.phase("joining", begin.elapsed());
    let took = ring.filled(records, true, PATIENCE).await?;
    clients.phase("dropping surplus", took);

    let begin = Instant::now();
    let at = ring.nodes.len() - 1;
    ring.take(at);
    let left = node.shutdown().await;
    println!(
        "left after {:.1} s: {left:?}",
        begin.elapsed().as_secs_f64()
    );
    ring.filled(records, false, PATIENCE).await?;
    let leaving = clients.phase("leaving", begin.elapsed());
    let failed = clients.end().await;

    figures.at_most("failed calls", failed as f64, 0.0);
    figures.at_most(
        "p99 of gets while joining / before",
        joining / before,
        SLOWER_MAX,
    );
    figures.at_most(
        "p99 of gets while leaving / before",
        leaving / before,
        SLOWER_MAX,
    );
    for node in &ring.nodes {
        node.kill();
    }
    Ok(())
}

/// The newcomer's span, its records, and so many in all that it holds `mib`.
fn records_for(ring: &Ring, newcomer: &NodeConfig, mib: u32) -> (Span, u32, u32) {
    let wanted = mib * (1 << 20) / BYTES as u32;
    let id = newcomer.identity.certified().id().unwrap_or(Id::ZERO);
    let mut ids: Vec<Id> = ring.nodes.iter().map(Node::id).collect();
    ids.sort_unstable();
    let at = ids.partition_point(|other| *other < id);
    let span = Span::new(ids[(at + ids.len() - 1) % ids.len()], id);
    let mut owned = 0;
    let mut records = 0;
    while owned < wanted {
        owned += u32::from(span.contains(ring::key(records).position()));
        records += 1;
    }
    (span, owned, records)
}

/// What the clients met since it was last asked.
#[derive(Default)]
struct Met {
    gets: Vec<Duration>,
    /// Of these, what the newcomer owns, will own or has owned.
    moved: Vec<Duration>,
    puts: Vec<Duration>,
    refused: u32,
    failed: Vec<String>,
}

/// Clients at work.
struct Clients {
    met: Arc<Mutex<Met>>,
    tasks: Vec<JoinHandle<()>>,
    failed: Mutex<usize>,
}

impl Clients {
    fn start(nodes: &[Node], records: u32, moved: Span) -> Self {
        let met = Arc::new(Mutex::new(Met::default()));
        let client = |number: u32| {
            let (nodes, met) = (nodes.to_vec(), met.clone());
            let writes = number >= READERS;
            let pace = if writes { WRITE_PACE } else { READ_PACE };
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(pace);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let mut turn = number.wrapping_mul(0x9e37_79b9);
                loop {
                    ticks.tick().await;
                    turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let n = (turn >> 8) % records;
                    let node = &nodes[turn as usize % nodes.len()];
                    let begin = Instant::now();
                    let result = match writes {
                        true => put(node, n, BYTES).await,
                        false => get(node, n, BYTES).await,
                    };
                    let mut met = met.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(refused) => met.refused += refused,
                        Err(error) => met.failed.push(error.to_string()),
                    }
                    if !writes && moved.contains(ring::key(n).position()) {
                        met.moved.push(begin.elapsed());
                    }
                    let times = if writes { &mut met.puts } else { &mut met.gets };
                    times.push(begin.elapsed());
                }
            })
        };
        let tasks = (0..READERS + WRITERS).map(client).collect();
        Self {
            met,
            tasks,
            failed: Mutex::new(0),
        }
    }

    /// Says what they met since the last phase; the 99th percentile of gets in milliseconds.
    fn phase(&self, name: &str, took: Duration) -> f64 {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let Met {
            gets,
            moved,
            puts,
            refused,
            failed,
        } = std::mem::take(&mut *met);
        drop(met);
        let ms = |times: &Vec<Duration>, share| quantile(times.clone(), share).as_secs_f64() * 1e3;
        println!(
            "{name} ({:.1} s): {} gets, p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms, of what \
             moves p50 {:.2} ms, p99 {:.2} ms; {} puts, \
             p99 {:.2} ms; {refused} refused for the moment, {} failed",
            took.as_secs_f64(),
            gets.len(),
            ms(&gets, 0.5),
            ms(&gets, 0.99),
            ms(&gets, 1.0),
            ms(&moved, 0.5),
            ms(&moved, 0.99),
            puts.len(),
            ms(&puts, 0.99),
            failed.len(),
        );
        for error in failed.iter().take(5) {
            println!("  {error}");
        }
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) += failed.len();
        ms(&gets, 0.99)
    }

    /// Stops them; how many calls failed in all.
    async fn end(mut self) -> usize {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await; // Cancelled.
        }
        self.phase("at the end", Duration::ZERO);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
