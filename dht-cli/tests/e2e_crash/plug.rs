//! Who pulls the plug, and when.
//!
//! ```text
//! running ── SIGKILL ─────────────────▶ down ── start ──▶ starting ──▶ ready ──▶ next victim
//!         └─ SIGTERM ─ 0..250 ms ─ KILL ─▲                   │ KILL       │ KILL
//!                    (hand-over)         └──────(start)──────┴─(recovery)─┘
//! ```
//!
//! One member is down at a time, and every instant is drawn from the seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::harness::cluster::Cluster;
use super::harness::http::Http;

/// For a member to be ready again: far above what is seen, for the machine may be busy.
const READY: Duration = Duration::from_secs(60);

/// Phases of a life in which members are killed: running, starting, recovering, handing over.
pub const PHASES: usize = 4;

/// Kills, by the phase of the life that they ended.
#[derive(Debug, Default)]
pub struct Kills {
    /// By name of the phase.
    pub by_phase: BTreeMap<&'static str, usize>,
    /// Members that had left in order before the kill came.
    pub left: usize,
    /// Absences of one to four seconds.
    pub missed: usize,
    /// The longest from a start to ready.
    pub slowest: Duration,
}

impl Kills {
    /// All of them.
    pub fn count(&self) -> usize {
        self.by_phase.values().sum()
    }
}

/// Kills members one after another until `count` kills are done and all are ready again.
///
/// # Errors
/// A member ended although nobody killed it.
pub fn pull(cluster: &mut Cluster, count: usize, chance: &mut Chance) -> Result<Kills, String> {
    let mut kills = Kills::default();
    while kills.count() < count {
        let at = chance.below(cluster.members.len());
        std::thread::sleep(chance.millis(400));
        if chance.percent(25) {
            hand_over(cluster, at, chance, &mut kills)?;
        } else {
            strike(cluster, at, "running", &mut kills)?;
        }
        while revive(cluster, at, count, chance, &mut kills)? {}
    }
    Ok(kills)
}

/// Ends a leave before it is done.
fn hand_over(
    cluster: &mut Cluster,
    at: usize,
    chance: &mut Chance,
    kills: &mut Kills,
) -> Result<(), String> {
    expect_alive(cluster, at)?;
    cluster.process(at).signal("TERM");
    std::thread::sleep(chance.millis(250));
    if cluster.process(at).is_running() {
        return strike(cluster, at, "hand-over", kills);
    }
    kills.left += 1;
    let (code, _) = cluster.process(at).wait(Duration::ZERO);
    cluster.members[at].process = None;
    match code {
        Some(0) => Ok(()),
        code => Err(format!(
            "{} left with exit code {code:?}",
            cluster.members[at].name
        )),
    }
}

/// Starts a member again, and says whether it was killed before it was left in peace.
fn revive(
    cluster: &mut Cluster,
    at: usize,
    count: usize,
    chance: &mut Chance,
    kills: &mut Kills,
) -> Result<bool, String> {
    // Back before anybody noticed, while they notice, or when others stand in for it.
    std::thread::sleep(match chance.below(100) {
        0..40 => chance.millis(20),
        40..75 => chance.millis(700),
        _ => {
            kills.missed += 1;
            Duration::from_secs(1) + chance.millis(3_000)
        }
    });
    cluster.start(at);
    let begun = Instant::now();
    if chance.percent(35) && kills.count() < count {
        // A start takes a tenth of a second, what follows it a few.
        let window = if chance.percent(60) { 120 } else { 1_500 };
        let phase = if lives(cluster, at, chance.millis(window)) {
            "recovery"
        } else {
            "start"
        };
        strike(cluster, at, phase, kills)?;
        return Ok(true);
    }
    cluster.await_ready(at, READY);
    kills.slowest = kills.slowest.max(begun.elapsed());
    Ok(false)
}

/// Waits, and says whether the member was ready meanwhile.
fn lives(cluster: &Cluster, at: usize, time: Duration) -> bool {
    let (begun, mut ready) = (Instant::now(), false);
    while begun.elapsed() < time {
        if !ready {
            let left = time
                .saturating_sub(begun.elapsed())
                .max(Duration::from_millis(1));
            let mut http = Http::new(cluster.members[at].web, left);
            ready = matches!(http.once("GET", "/readyz", b""), Ok((200, _)));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    ready
}

fn strike(
    cluster: &mut Cluster,
    at: usize,
    phase: &'static str,
    kills: &mut Kills,
) -> Result<(), String> {
    expect_alive(cluster, at)?;
    cluster.kill(at);
    *kills.by_phase.entry(phase).or_default() += 1;
    Ok(())
}

fn expect_alive(cluster: &mut Cluster, at: usize) -> Result<(), String> {
    if cluster.process(at).is_running() {
        return Ok(());
    }
    let (code, _) = cluster.process(at).wait(Duration::ZERO);
    Err(format!(
        "{} ended by itself: exit code {code:?}",
        cluster.members[at].name
    ))
}

/// Kills all at once; returns the time from the first signal to the last.
///
/// # Errors
/// A member had ended although nobody killed it.
pub fn pull_all(cluster: &mut Cluster) -> Result<Duration, String> {
    for at in 0..cluster.members.len() {
        expect_alive(cluster, at)?;
    }
    let begun = Instant::now();
    for member in &mut cluster.members {
        member.process.as_mut().expect("it runs").strike();
    }
    let took = begun.elapsed();
    for at in 0..cluster.members.len() {
        cluster.kill(at);
    }
    Ok(took)
}

/// Starts all in an order of chance.
pub fn revive_all(cluster: &mut Cluster, chance: &mut Chance) {
    let mut order: Vec<usize> = (0..cluster.members.len()).collect();
    while !order.is_empty() {
        let at = order.swap_remove(chance.below(order.len()));
        cluster.start(at);
        std::thread::sleep(chance.millis(100));
    }
}
