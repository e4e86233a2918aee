//! Writers and readers that never rest, and the readers that look at everything.
//!
//! Each writer has keys of its own, so that the writes of a key have an order. Every request
//! goes through a member picked by chance, also through those that are down just then.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::harness::cluster::CLIENT_TIMEOUT;
use super::harness::http::Http;
use super::judge::Kind;
use super::ledger::{Ledger, name, value};

const WRITERS: usize = 4;
const READERS: usize = 3;
/// Between two requests of a client: the nodes need some of the cores.
const PACE: Duration = Duration::from_millis(5);
/// For one record in the end, tries included.
const PATIENCE: Duration = Duration::from_secs(90);

/// Clients at work.
pub struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Sets them to work on the HTTP ports of all members.
    pub fn start(ledger: &Arc<Ledger>, ports: &[u16], seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |at: usize| {
            let (ledger, stop, mut members) = (ledger.clone(), stop.clone(), Members::new(ports));
            let mut chance = Chance::new(seed, at as u64);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if at < WRITERS {
                        let key = WRITERS * chance.below(ledger.len() / WRITERS) + at;
                        write(&ledger, &mut members, key, &mut chance);
                    } else {
                        let key = chance.below(ledger.len());
                        let (member, quorum) = (chance.below(members.len()), chance.percent(50));
                        let _ = read(&ledger, &mut members, key, member, quorum);
                    }
                    std::thread::sleep(PACE);
                }
            })
        };
        Self {
            threads: (0..WRITERS + READERS).map(client).collect(),
            stop: stop.clone(),
        }
    }

    /// Lets them finish what they do.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
    }
}

/// One connection to each member.
struct Members(Vec<Http>);

impl Members {
    fn new(ports: &[u16]) -> Self {
        let client = |&port: &u16| Http::new(port, CLIENT_TIMEOUT);
        Self(ports.iter().map(client).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

fn path(key: usize) -> String {
    format!("/v1/kv/{}", name(key))
}

fn write(ledger: &Ledger, members: &mut Members, key: usize, chance: &mut Chance) {
    let kind = match chance.below(100) {
        0..70 => Kind::Put(None),
        70..85 => Kind::Put(Some(Duration::from_secs(3 + chance.below(12) as u64))),
        _ => Kind::Delete,
    };
    let member = chance.below(members.len());
    let http = &mut members.0[member];
    let place = ledger.begin(key, kind);
    let path = path(key);
    let answer = match kind {
        Kind::Put(None) => http.once("PUT", &format!("{path}?copies=3"), &value(key, place)),
        Kind::Put(Some(ttl)) => {
            let path = format!("{path}?copies=3&ttl={}", ttl.as_secs());
            http.once("PUT", &path, &value(key, place))
        }
        Kind::Delete => http.once("DELETE", &path, b""),
    };
    match answer {
        Ok((204, _)) => ledger.end(key, true),
        Ok((status, body)) => {
            ledger.refused("write", &reason(status, &body));
            ledger.end(key, false);
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => ledger.withdraw(key),
        Err(error) => {
            ledger.refused("write", &error.kind().to_string());
            ledger.end(key, false);
        }
    }
}

/// Reads and judges; the error is a reason why there was no answer.
fn read(
    ledger: &Ledger,
    members: &mut Members,
    key: usize,
    member: usize,
    quorum: bool,
) -> Result<(), String> {
    let how = format!(
        "a {} read through n{}",
        if quorum { "quorum" } else { "plain" },
        member + 1
    );
    let begun = ledger.now();
    let path = format!("{}?quorum={quorum}", path(key));
    let why = match members.0[member].once("GET", &path, b"") {
        Ok((200, value)) => {
            ledger.judge(key, begun, Some(&value), &how);
            return Ok(());
        }
        Ok((404, _)) => {
            ledger.judge(key, begun, None, &how);
            return Ok(());
        }
        Ok((status, body)) => reason(status, &body),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Err(error.to_string()),
        Err(error) => error.kind().to_string(),
    };
    ledger.refused("read", &why);
    Err(why)
}

/// Status and code of a problem document.
fn reason(status: u16, body: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!("{status} {}", document["code"].as_str().unwrap_or("?"))
}

/// Reads every key, plain and with a quorum, and judges: through every member, or each key
/// through two of them. Returns the longest that a key took, its tries included, or why one
/// cannot be read.
///
/// # Errors
/// A key that no try of [`PATIENCE`] could read.
pub fn look_at_all(ledger: &Ledger, ports: &[u16], through_all: bool) -> Result<Duration, String> {
    let look = |member: usize| {
        let (mut members, mut longest) = (Members::new(ports), Duration::ZERO);
        for key in 0..ledger.len() {
            for quorum in [false, true] {
                let turn = (key + 2 * usize::from(quorum)) % ports.len();
                if !through_all && turn != member {
                    continue;
                }
                let begun = Instant::now();
                while let Err(why) = read(ledger, &mut members, key, member, quorum) {
                    if begun.elapsed() > PATIENCE {
                        return Err(format!("{} through n{}: {why}", name(key), member + 1));
                    }
                    std::thread::sleep(PACE);
                }
                longest = longest.max(begun.elapsed());
            }
        }
        Ok(longest)
    };
    std::thread::scope(|scope| {
        let look = &look;
        let threads: Vec<_> = (0..ports.len())
            .map(|at| scope.spawn(move || look(at)))
            .collect();
        let mut longest = Duration::ZERO;
        for thread in threads {
            longest = longest.max(thread.join().expect("a reader does not panic")?);
        }
        Ok(longest)
    })
}
