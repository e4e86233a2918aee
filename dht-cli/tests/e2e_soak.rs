//! Five processes, the source files of our own dependencies, and `kill -9`.
//!
//! Stages in the order of a bad day: the ring forms; every file is stored through one node
//! and read through the others; a node dies while others read; it comes back after a minute
//! and, killed again, at once; then all of that happens to the founder. Each stage prints its
//! figures with their gates, and a missed gate ends the run with exit code 101.
//!
//! A read that is refused is tried again, and counted; its gate includes the tries, so what a
//! client sees of a death is at most the two seconds of [`READ`].
//!
//! Not part of a plain `cargo test`, for it takes minutes:
//! `cargo test -p dht-cli --test e2e_soak`. `DHT_E2E_FILES` and `DHT_E2E_ABSENCE_SECONDS`
//! change the number of files (2,000) and the long absence (60).

mod harness;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::cluster::Cluster;
use harness::http::Http;
use harness::sources::{self, Source};
use harness::tcp::Tcp;
use harness::{gate, until};

const RING: Duration = Duration::from_secs(5);
const HEAL: Duration = Duration::from_secs(10);
const REJOIN: Duration = Duration::from_secs(10);
/// For a read, from the first try to the value.
const READ: Duration = Duration::from_secs(2);
const REPAIR: Duration = Duration::from_secs(120);

/// Copies of a record when nobody asks for another number.
const COPIES: usize = 3;

/// The member that stores everything, the founder.
const WRITER: usize = 0;
/// The member that dies first.
const VICTIM: usize = 2;

fn main() {
    let begin = Instant::now();
    let files = sources::collect(number("DHT_E2E_FILES", 2_000));
    let absence = Duration::from_secs(number("DHT_E2E_ABSENCE_SECONDS", 60) as u64);
    count(&files);
    let copies = COPIES * files.len();

    let mut cluster = Cluster::new(5);
    for at in 0..4 {
        cluster.start_and_wait(at);
    }
    let last = Instant::now();
    cluster.start(4);
    cluster.await_ring(4, 5, RING);
    gate(
        "five nodes, one after another: one ring after the start of the last",
        last.elapsed(),
        RING,
    );

    let stored = store(&cluster, &files);
    println!(
        "stored through {}: {:.1} s",
        cluster.members[WRITER].name,
        stored.as_secs_f64()
    );
    let calm = read(&cluster, &files, &[1, 2, 3, 4], &AtomicUsize::new(0));
    calm.report("read through the four others", files.len());

    for doomed in [VICTIM, WRITER] {
        let others: Vec<usize> = (0..5).filter(|&at| at != doomed).collect();
        let killed = die_while_read(&mut cluster, &files, doomed, &others);
        come_back(&mut cluster, doomed, killed, absence, copies);
        let again = read(&cluster, &files, &others, &AtomicUsize::new(0));
        again.report("read again", files.len());
        nobody_denied(&cluster, &others);
        die_and_come_back_at_once(&mut cluster, doomed, copies);
    }

    let last = read(&cluster, &files, &[0, 1, 2, 3, 4], &AtomicUsize::new(0));
    last.report("read at the end, through all", files.len());
    nobody_denied(&cluster, &[0, 1, 2, 3, 4]);
    let founded = |at: usize| cluster.log(at).matches("founded a ring").count();
    assert_eq!((0..5).map(founded).sum::<usize>(), 1, "a second ring");
    println!("e2e_soak passed in {:.0} s", begin.elapsed().as_secs_f64());
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

fn count(files: &[Source]) {
    let bytes: usize = files.iter().map(|file| file.content.len()).sum();
    let empty = files.iter().filter(|file| file.content.is_empty()).count();
    let tcp = files.iter().filter(|file| file.fits_tcp()).count();
    let large = files.len() - tcp - empty;
    println!(
        "{} files, {bytes} bytes: {tcp} through both ports in turn, {empty} empty and {large} above \
         65,495 bytes through HTTP only",
        files.len()
    );
    assert!(
        files.len() < 100 || large > 0,
        "some files must be too large for the binary port"
    );
}

/// Stores every file through one node: every other one that fits through its binary port, the
/// rest through HTTP. A PUT of the binary protocol has no answer, but a GET behind it waits for it.
fn store(cluster: &Cluster, files: &[Source]) -> Duration {
    const WRITERS: usize = 4;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for share in 0..WRITERS {
            let (mut tcp, mut http) = (cluster.tcp(WRITER), cluster.http(WRITER));
            scope.spawn(move || {
                for (at, file) in files.iter().enumerate().skip(share).step_by(WRITERS) {
                    if !file.fits_tcp() || at / WRITERS % 2 == 0 {
                        http.put(&file.key, "", &file.content).expect("stored");
                        continue;
                    }
                    tcp.put(&file.key, 0, 0, &file.content).expect("sent");
                    let back = tcp.get(&file.key).expect("answered");
                    assert_eq!(back.as_ref(), Some(&file.content), "what was just stored");
                }
            });
        }
    });
    begin.elapsed()
}

/// What reading showed.
#[derive(Default)]
struct Reading {
    took: Duration,
    reads: usize,
    /// Answers that were a FAILURE or a refusal.
    again: usize,
    /// The longest that one read took, its tries included.
    slowest: Duration,
}

impl Reading {
    fn report(&self, what: &str, files: usize) {
        println!(
            "{what}: {} reads of {files} files identical in {:.1} s, {} answers were a refusal and \
             asked for again",
            self.reads,
            self.took.as_secs_f64(),
            self.again,
        );
        gate("  the slowest read, tries included", self.slowest, READ);
    }
}

/// Reads every file through each of `readers`, all at once; an answer that is another value
/// than the stored one fails the run, one that is none is tried again.
fn read(cluster: &Cluster, files: &[Source], readers: &[usize], progress: &AtomicUsize) -> Reading {
    let begin = Instant::now();
    let parts: Vec<Reading> = std::thread::scope(|scope| {
        let threads: Vec<_> = readers
            .iter()
            .map(|&reader| {
                let mut client = Client {
                    tcp: cluster.tcp(reader),
                    http: cluster.http(reader),
                };
                scope.spawn(move || {
                    let mut reading = Reading::default();
                    for (at, file) in files.iter().enumerate() {
                        let binary = file.fits_tcp() && (at + reader) % 2 == 0;
                        client.read(file, binary, &mut reading);
                        progress.fetch_add(1, Ordering::Relaxed);
                    }
                    reading
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a reader is content"))
            .collect()
    });
    let mut all = Reading {
        took: begin.elapsed(),
        ..Reading::default()
    };
    for part in parts {
        all.reads += part.reads;
        all.again += part.again;
        all.slowest = all.slowest.max(part.slowest);
    }
    all
}

/// No member has said "not found" through its binary port since it was started.
fn nobody_denied(cluster: &Cluster, members: &[usize]) {
    for &at in members {
        let metrics = cluster.http(at).ask("GET", "/metrics", b"");
        let metrics = String::from_utf8(metrics.expect("it runs").1).expect("text");
        let gets = |line: &&str| {
            line.starts_with("dht_tcp_requests_total{") && line.contains("kind=\"get\"")
        };
        let of = |result: &str| {
            let word = format!("result=\"{result}\"");
            let mut lines = metrics.lines().filter(gets);
            let line = lines.find(|line| line.contains(&word));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        assert!(of("ok").is_some_and(|count| count > 0.0), "{metrics}");
        let denied = of("not_found").unwrap_or(0.0);
        assert_eq!(denied, 0.0, "{} denied values", cluster.members[at].name);
    }
}

struct Client {
    tcp: Tcp,
    http: Http,
}

impl Client {
    /// Reads until the value is there, through the binary port or HTTP; a refusal is tried
    /// again while there is time.
    fn read(&mut self, file: &Source, binary: bool, reading: &mut Reading) {
        let what = format!("the value of {}", harness::hex(&file.key));
        let begin = Instant::now();
        until(&what, READ, || {
            let answer = if binary {
                self.tcp.get(&file.key)
            } else {
                self.http.get(&file.key)
            };
            match answer {
                Ok(Some(value)) => {
                    assert!(value == file.content, "{what}: another value came back");
                    reading.reads += 1;
                    Ok(())
                }
                // The binary protocol says "not found" and "not now" with one word.
                // Which it was is counted: see `nobody_denied`.
                Ok(None) if binary => {
                    reading.again += 1;
                    Err("FAILURE".into())
                }
                Ok(None) => panic!("{what}: not found, though it was acknowledged"),
                Err(error) => {
                    reading.again += 1;
                    Err(error.to_string())
                }
            }
        });
        reading.slowest = reading.slowest.max(begin.elapsed());
    }
}

/// Kills a member when a third of the reading through the others is done.
fn die_while_read(
    cluster: &mut Cluster,
    files: &[Source],
    doomed: usize,
    readers: &[usize],
) -> Instant {
    let all = readers.len() * files.len();
    let progress = AtomicUsize::new(0);
    let name = cluster.members[doomed].name.clone();
    let mut victim = cluster.members[doomed].process.take().expect("it runs");
    let cluster = &*cluster;
    let (killed, reading) = std::thread::scope(|scope| {
        let progress = &progress;
        let reading = scope.spawn(move || read(cluster, files, readers, progress));
        until("a third of the reading", Duration::from_secs(120), || {
            let done = progress.load(Ordering::Relaxed);
            if 3 * done >= all {
                Ok(())
            } else {
                Err(format!("{done} reads"))
            }
        });
        let killed = Instant::now();
        victim.kill();
        let done = progress.load(Ordering::Relaxed);
        assert!(done < all, "nothing was left to read when {name} died");
        cluster.await_ring(readers[0], 4, HEAL);
        gate(
            &format!("{name} killed after {done} of {all} reads: one ring of four after its death"),
            killed.elapsed(),
            HEAL,
        );
        (killed, reading.join().expect("the readers are content"))
    });
    reading.report("read through the four others meanwhile", files.len());
    killed
}

/// Starts a member again `absence` after its death.
fn come_back(cluster: &mut Cluster, at: usize, killed: Instant, absence: Duration, copies: usize) {
    std::thread::sleep(absence.saturating_sub(killed.elapsed()));
    let name = cluster.members[at].name.clone();
    cluster.start(at);
    let took = await_member(cluster, at);
    gate(
        &format!("{name} back after {} s: a member after", absence.as_secs()),
        took,
        REJOIN,
    );
    println!(
        "  copies complete after {:.1} s",
        cluster.await_repair(copies, REPAIR).as_secs_f64()
    );
}

fn die_and_come_back_at_once(cluster: &mut Cluster, at: usize, copies: usize) {
    let name = cluster.members[at].name.clone();
    let killed = Instant::now();
    cluster.kill(at);
    cluster.start(at);
    let gap = killed.elapsed();
    assert!(
        gap < Duration::from_millis(500),
        "{name} was away for {gap:?}"
    );
    let took = await_member(cluster, at);
    gate(
        &format!("{name} back after {} ms: a member after", gap.as_millis()),
        took,
        REJOIN,
    );
    println!(
        "  copies complete after {:.1} s",
        cluster.await_repair(copies, REPAIR).as_secs_f64()
    );
}

/// Waits until a member says that it is one, and the ring that it has five.
fn await_member(cluster: &mut Cluster, at: usize) -> Duration {
    let begin = Instant::now();
    cluster.await_ready(at, REJOIN);
    cluster.await_ring((at + 1) % 5, 5, REJOIN);
    begin.elapsed()
}
