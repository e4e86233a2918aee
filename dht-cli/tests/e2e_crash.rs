//! Five processes with their records on disk, clients that never rest, and the plug.
//!
//! A parent remembers every acknowledged write. First members are killed one at a time, at
//! instants drawn from a seed: running, handing over, starting, recovering. Then, for a number
//! of rounds, all five within [`AT_ONCE`], every third time once more while they come back.
//! Every answer to a reader is judged meanwhile, and in the end every key is read through
//! every member, plain and with a quorum. One wrong answer fails the run (exit code 101) and
//! keeps logs and data of the nodes in the directory that it names.
//!
//! Not part of a plain `cargo test`, for it takes minutes:
//! `cargo test -p dht-cli --test e2e_crash`. `DHT_CRASH_KILLS` (60) and `DHT_CRASH_ROUNDS` (10)
//! say how much, `DHT_CRASH_SEED` (1) which instants; `DHT_CRASH_STORE=memory` shows that
//! the run can fail: what is not on a disk does not outlive the rounds.

// The parts are files of a test, not an interface.
#![allow(unreachable_pub)]

mod harness;

#[path = "e2e_crash/chance.rs"]
mod chance;
#[path = "e2e_crash/clients.rs"]
mod clients;
#[path = "e2e_crash/judge.rs"]
mod judge;
#[path = "e2e_crash/ledger.rs"]
mod ledger;
#[path = "e2e_crash/plug.rs"]
mod plug;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chance::Chance;
use clients::Clients;
use harness::cluster::Cluster;
use judge::Violation;
use ledger::Ledger;

const NODES: usize = 5;
const KEYS: usize = 400;
/// For a whole ring again, on a busy machine.
const RING: Duration = Duration::from_secs(60);
/// From the first kill of a round to the last.
const AT_ONCE: Duration = Duration::from_millis(10);

fn main() {
    let begun = Instant::now();
    let (kills, rounds) = (
        number("DHT_CRASH_KILLS", 60),
        number("DHT_CRASH_ROUNDS", 10),
    );
    let seed = number("DHT_CRASH_SEED", 1);
    println!("{kills} kills, {rounds} rounds of all, seed {seed}");
    let mut cluster = Cluster::new(NODES);
    if let Ok(kind) = std::env::var("DHT_CRASH_STORE") {
        cluster.flags = vec!["--set".to_owned(), format!("store.kind={kind}")];
    }
    let ledger = Arc::new(Ledger::new(KEYS));
    let story = AssertUnwindSafe(|| tell(&mut cluster, &ledger, kills, rounds, seed as u64));
    let ended = std::panic::catch_unwind(story)
        .unwrap_or_else(|_| Err("the story broke off, see above".to_owned()));
    report(&ledger);
    if let Err(why) = &ended {
        println!("FAIL {why}");
    }
    if ended.is_err() || !ledger.is_clean() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("e2e_crash-{seed}"));
        keep(&mut cluster, &kept);
        println!("logs and data of the nodes: {}", kept.display());
        panic!(
            "e2e_crash failed after {:.0} s",
            begun.elapsed().as_secs_f64()
        );
    }
    println!("e2e_crash passed in {:.0} s", begun.elapsed().as_secs_f64());
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

fn tell(
    cluster: &mut Cluster,
    ledger: &Arc<Ledger>,
    kills: usize,
    rounds: usize,
    seed: u64,
) -> Result<(), String> {
    for at in 0..NODES {
        cluster.start(at);
    }
    cluster.await_ring(0, NODES, RING);
    let ports: Vec<u16> = cluster.members.iter().map(|member| member.web).collect();
    one_at_a_time(cluster, ledger, &ports, kills, seed)?;
    all_at_once(cluster, ledger, &ports, rounds, seed)
}

fn one_at_a_time(
    cluster: &mut Cluster,
    ledger: &Arc<Ledger>,
    ports: &[u16],
    count: usize,
    seed: u64,
) -> Result<(), String> {
    let begun = Instant::now();
    let clients = Clients::start(ledger, ports, seed);
    let kills = plug::pull(cluster, count, &mut Chance::new(seed, 100));
    clients.stop();
    let kills = kills?;
    println!(
        "{} kills in {:.0} s: {:?}; {} left in order before the kill; {} absences above a second; ready again after {:.1} s at most",
        kills.count(),
        begun.elapsed().as_secs_f64(),
        kills.by_phase,
        kills.left,
        kills.missed,
        kills.slowest.as_secs_f64()
    );
    let phases = kills.by_phase.values().filter(|&&kills| kills > 0).count();
    if count >= 60 && phases < plug::PHASES {
        return Err(format!("only {phases} of {} phases were hit", plug::PHASES));
    }
    let ring = cluster.await_ring(0, NODES, RING);
    let begun = Instant::now();
    let longest = clients::look_at_all(ledger, ports, true)?;
    println!(
        "one ring of {NODES} after {:.1} s; every key through every member, plain and quorum, in {:.1} s, \
         the slowest in {:.1} s",
        ring.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
        longest.as_secs_f64()
    );
    Ok(())
}

fn all_at_once(
    cluster: &mut Cluster,
    ledger: &Arc<Ledger>,
    ports: &[u16],
    rounds: usize,
    seed: u64,
) -> Result<(), String> {
    let mut chance = Chance::new(seed, 200);
    let mut round = 0;
    while round < rounds {
        let clients = Clients::start(ledger, ports, seed + 1_000 + round as u64);
        std::thread::sleep(Duration::from_millis(500) + chance.millis(1_000));
        // The clients go on, so that they are also there when two rings form by mistake.
        let twice = round % 3 == 2;
        let back = fail_together(cluster, twice, &mut chance);
        clients.stop();
        let (killed, ring) = back?;
        let begun = Instant::now();
        let longest = clients::look_at_all(ledger, ports, round + 1 == rounds)?;
        let fast = killed <= AT_ONCE;
        println!(
            "round {}{}: all killed within {:.1} ms{}; one ring after {:.1} s; every key read in {:.1} s, \
             the slowest in {:.1} s",
            round + 1,
            if twice { ", twice" } else { "" },
            killed.as_secs_f64() * 1_000.0,
            if fast { "" } else { ", too slow to count" },
            ring.as_secs_f64(),
            begun.elapsed().as_secs_f64(),
            longest.as_secs_f64()
        );
        round += usize::from(fast);
    }
    Ok(())
}

/// Kills all and starts them again; returns how long the killing took, and the return of the
/// ring.
fn fail_together(
    cluster: &mut Cluster,
    twice: bool,
    chance: &mut Chance,
) -> Result<(Duration, Duration), String> {
    let mut killed = plug::pull_all(cluster)?;
    std::thread::sleep(chance.millis(200));
    plug::revive_all(cluster, chance);
    if twice {
        std::thread::sleep(chance.millis(1_500));
        killed = killed.max(plug::pull_all(cluster)?);
        plug::revive_all(cluster, chance);
    }
    let ring = cluster.await_ring(0, NODES, RING);
    Ok((killed, ring))
}

fn report(ledger: &Ledger) {
    println!(
        "{} writes acknowledged, {} uncertain; {} answers to reads judged",
        ledger.acknowledged.load(Ordering::Relaxed),
        ledger.uncertain.load(Ordering::Relaxed),
        ledger.reads.load(Ordering::Relaxed)
    );
    println!("answers that were none: {:?}", ledger.refusals());
    let count = |violation| ledger.count(violation);
    println!(
        "acknowledged writes lost: {}, replaced by older ones: {}; deleted or expired keys back: {}; \
         expired values served: {}; failed writes over newer ones: {}; wrong values: {}",
        count(Violation::Lost),
        count(Violation::Stale),
        count(Violation::Back),
        count(Violation::Expired),
        count(Violation::Late),
        count(Violation::Wrong)
    );
}

/// Keeps what the nodes leave behind.
fn keep(cluster: &mut Cluster, to: &Path) {
    for member in &mut cluster.members {
        member.process = None;
    }
    let _ = std::fs::remove_dir_all(to);
    copy(cluster.dir(), to).expect("logs can be kept");
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
