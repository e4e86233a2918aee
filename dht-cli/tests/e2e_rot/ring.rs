//! One ring whose members rot, one place at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chord_core::id::Id;

use super::chance::Chance;
use super::harness::cluster::Cluster;
use super::harness::http::Http;
use super::records::{self, COPIES, KEYS, holders, is_deleted, value};
use super::{audit, place};

const NODES: usize = 5;
/// For a whole ring again, and for a damaged member to be whole: the machine is busy.
const WHOLE: Duration = Duration::from_secs(120);
/// For a member to leave in order.
const LEAVE: Duration = Duration::from_secs(40);
/// For one request: a node that rests for its disk must not hold up the others' turn.
const CLIENT: Duration = Duration::from_secs(8);
/// Between two looks at everything: the nodes need the cores, too.
const PAUSE: Duration = Duration::from_millis(100);
/// Starts of one process at one place by whom the deployment has for that.
const STARTS_MAX: usize = 3;

/// When the place rots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum When {
    /// Stopped in order.
    Stopped,
    /// Killed.
    Killed,
    /// Running; killed when some reads are done.
    Running,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Figures {
    pub places: usize,
    when: BTreeMap<When, usize>,
    /// How the damage was met.
    met: BTreeMap<&'static str, usize>,
    reads: usize,
    refusals: BTreeMap<String, usize>,
    wrong: usize,
    denied: usize,
    silent: usize,
    slowest: Duration,
    /// Stores read record by record, records in them, and what they lacked.
    audited: (usize, usize),
    lacking: usize,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        fn sum<K: Ord + Clone>(all: &mut BTreeMap<K, usize>, some: &BTreeMap<K, usize>) {
            for (key, count) in some {
                *all.entry(key.clone()).or_default() += count;
            }
        }
        self.places += other.places;
        sum(&mut self.when, &other.when);
        sum(&mut self.met, &other.met);
        self.reads += other.reads;
        sum(&mut self.refusals, &other.refusals);
        self.wrong += other.wrong;
        self.denied += other.denied;
        self.silent += other.silent;
        self.slowest = self.slowest.max(other.slowest);
        self.audited.0 += other.audited.0;
        self.audited.1 += other.audited.1;
        self.lacking += other.lacking;
    }

    pub fn is_clean(&self) -> bool {
        (self.wrong, self.denied, self.silent, self.lacking) == (0, 0, 0, 0)
    }

    pub fn print(&self) {
        println!(
            "{} places, {:?}; met by: {:?}",
            self.places, self.when, self.met
        );
        println!("answers that were none: {:?}", self.refusals);
        println!(
            "{} reads answered; wrong values: {}, false \"not found\": {}; processes that ended \
             without a word: {}",
            self.reads, self.wrong, self.denied, self.silent
        );
        println!(
            "whole again after {:.1} s at most; {} stores read from their files, {} records, {} \
             lacking or wrong",
            self.slowest.as_secs_f64(),
            self.audited.0,
            self.audited.1,
            self.lacking
        );
    }
}

/// One ring.
pub struct Ring {
    number: usize,
    cluster: Cluster,
    ids: Vec<Id>,
    chance: Chance,
    figures: Figures,
}

impl Ring {
    /// A ring with its records, at rest.
    pub fn new(number: usize, seed: u64) -> Self {
        let mut cluster = Cluster::beside(NODES);
        for at in 0..NODES {
            cluster.start(at);
        }
        cluster.await_ring(0, NODES, WHOLE);
        let id = |text: &String| Id::from_hex(text).expect("an id");
        let ids = cluster.members.iter().map(|m| id(&m.id)).collect();
        let mut ring = Self {
            number,
            cluster,
            ids,
            chance: Chance::new(seed, 1_000 + number as u64),
            figures: Figures::default(),
        };
        ring.write();
        ring
    }

    fn write(&mut self) {
        let mut http = self.cluster.http(0);
        for n in 0..KEYS {
            let path = format!(
                "/v1/kv/{}?encoding=hex",
                super::harness::hex(&records::key(n))
            );
            let stored = value(n).unwrap_or_else(|| b"to be deleted".to_vec());
            let put = format!("{path}&copies={COPIES}");
            assert_eq!(http.ask("PUT", &put, &stored).expect("an answer").0, 204);
            if is_deleted(n) {
                assert_eq!(http.ask("DELETE", &path, b"").expect("an answer").0, 204);
            }
        }
        let live = (0..KEYS).filter(|&n| !is_deleted(n)).count();
        self.cluster.await_repair(COPIES * live, WHOLE);
    }

    /// Lets so many places rot, one after the other.
    ///
    /// # Errors
    /// A member is not whole again in time, or ended for another reason.
    pub fn suffer(mut self, places: usize) -> Result<Figures, String> {
        for _ in 0..places {
            if let Err(why) = self.one() {
                let logs = self.cluster.logs();
                return Err(format!("ring {}: {why}\n{logs}", self.number));
            }
        }
        self.read_files();
        Ok(self.figures)
    }

    fn one(&mut self) -> Result<(), String> {
        let victim = self.chance.below(NODES);
        let when = match self.figures.places % 3 {
            0 => When::Stopped,
            1 => When::Killed,
            _ => When::Running,
        };
        let said = self.cluster.log(victim).len();
        match when {
            When::Stopped => {
                self.cluster.process(victim).signal("TERM");
                let (code, _) = self.cluster.process(victim).wait(LEAVE);
                if code != Some(0) {
                    return Err(format!("n{} left with {code:?}", victim + 1));
                }
                self.cluster.members[victim].process = None;
            }
            When::Killed => self.cluster.kill(victim),
            When::Running => {}
        }
        let file = self.data_dir(victim).join("store.redb");
        let damage = place::damage(&file, &mut self.chance).map_err(|error| error.to_string())?;
        if when == When::Running {
            self.read_through(0..NODES);
            if self.cluster.process(victim).is_running() {
                self.cluster.kill(victim);
            }
        }
        let begun = Instant::now();
        self.cluster.start(victim);
        let healed = self.heal(victim, said);
        healed.map_err(|why| format!("n{} {when:?}, {damage}: {why}", victim + 1))?;
        self.figures.slowest = self.figures.slowest.max(begun.elapsed());
        self.figures.places += 1;
        *self.figures.when.entry(when).or_default() += 1;
        let met = met(&self.cluster.log(victim)[said..]);
        *self.figures.met.entry(met).or_default() += 1;
        Ok(())
    }

    /// Reads until the damaged member is whole.
    fn heal(&mut self, victim: usize, said: usize) -> Result<(), String> {
        let (begun, mut starts) = (Instant::now(), 0);
        loop {
            // The damaged one, which answers for all its keys, and another one.
            let other = (victim + 1 + self.chance.below(NODES - 1)) % NODES;
            self.read_through([victim, other]);
            for at in 0..NODES {
                if !self.cluster.process(at).is_running() {
                    self.ended(at, victim, said)?;
                    starts += 1;
                    if starts > STARTS_MAX {
                        return Err("it ends again and again".to_owned());
                    }
                    self.cluster.start(at);
                }
            }
            let seen = match self.is_whole(victim) {
                Ok(()) => match self.read_through(0..NODES) {
                    0 => return Ok(()),
                    refused => format!("{refused} reads refused"),
                },
                Err(why) => why,
            };
            std::thread::sleep(PAUSE);
            if begun.elapsed() > WHOLE {
                return Err(format!("not whole after {WHOLE:?}: {seen}"));
            }
        }
    }

    /// A process ended by itself: only the damaged one may, and not without a word.
    fn ended(&mut self, at: usize, victim: usize, said: usize) -> Result<(), String> {
        let (code, _) = self.cluster.process(at).wait(Duration::ZERO);
        if at != victim {
            return Err(format!("n{} ended with {code:?}", at + 1));
        }
        let log = self.cluster.log(victim);
        let word = log[said..].lines().next_back().unwrap_or_default();
        if code != Some(1) || !word.contains("damaged") {
            println!("n{} ended with {code:?}, saying {word:?}", at + 1);
            self.figures.silent += 1;
        }
        *self.figures.met.entry("an end with the cause").or_default() += 1;
        Ok(())
    }

    fn is_whole(&self, victim: usize) -> Result<(), String> {
        for at in 0..NODES {
            let status = self.cluster.status(at)?;
            let expected = self.expected(at).filter(|&n| !is_deleted(n)).count();
            // More are surplus, which later rounds drop.
            if status["copies_missing"] != 0
                || status["spans_unsettled"] != 0
                || status["records"].as_u64() < Some(expected as u64)
            {
                return Err(format!(
                    "n{}: {status}, {expected} records expected",
                    at + 1
                ));
            }
        }
        if self.walks(victim)? == 0 {
            return Err("its own walk is not through".to_owned());
        }
        let (code, said) = self.cluster.ring_check(victim);
        let document: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        match (code, document["members"].as_array().map(Vec::len)) {
            (Some(0), Some(NODES)) => Ok(()),
            other => Err(format!("ring check: {other:?}")),
        }
    }

    /// Keys that a member should hold, deleted ones among them.
    fn expected(&self, at: usize) -> impl Iterator<Item = usize> {
        (0..KEYS).filter(move |&n| holders(&self.ids, n).contains(&at))
    }

    /// How often a member has verified all its records in this life.
    fn walks(&self, at: usize) -> Result<u64, String> {
        let answer = self.cluster.http(at).ask("GET", "/metrics", b"");
        let (_, body) = answer.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let line = |line: &&str| line.starts_with("dht_store_verified_total ");
        let line = text.lines().find(line).ok_or("no such metric")?;
        let count = line.split(' ').nth(1).and_then(|count| count.parse().ok());
        count.ok_or_else(|| line.to_owned())
    }

    /// Reads every key through these members and judges; returns how many had no answer.
    fn read_through(&mut self, members: impl IntoIterator<Item = usize>) -> usize {
        let mut refused = 0;
        for at in members {
            let mut http = Http::new(self.cluster.members[at].web, CLIENT);
            for n in 0..KEYS {
                let quorum = self.chance.percent(20);
                let key = super::harness::hex(&records::key(n));
                let path = format!("/v1/kv/{key}?encoding=hex&quorum={quorum}");
                let found = match http.ask("GET", &path, b"") {
                    Ok((200, found)) => Some(found),
                    Ok((404, _)) => None,
                    Ok((status, _)) => {
                        refused += self.refused(&status.to_string());
                        continue;
                    }
                    Err(error) => {
                        refused += self.refused(&error.kind().to_string());
                        // Whoever does not listen will not listen a moment later.
                        break;
                    }
                };
                self.judge(at, n, quorum, found);
            }
        }
        refused
    }

    fn refused(&mut self, why: &str) -> usize {
        *self.figures.refusals.entry(why.to_owned()).or_default() += 1;
        1
    }

    fn judge(&mut self, through: usize, n: usize, quorum: bool, found: Option<Vec<u8>>) {
        self.figures.reads += 1;
        let expected = value(n);
        if found == expected {
            return;
        }
        let how = format!("rot-{n} through n{}, quorum={quorum}", through + 1);
        if let Some(found) = found {
            self.figures.wrong += 1;
            println!("WRONG {how}: {:?}", String::from_utf8_lossy(&found));
        } else {
            self.figures.denied += 1;
            println!("DENIED {how}");
        }
    }

    /// Kills all at the same moment and reads what their disks hold.
    fn read_files(&mut self) {
        for member in &mut self.cluster.members {
            member.process.as_mut().expect("it runs").strike();
        }
        for at in 0..NODES {
            self.cluster.kill(at);
        }
        for at in 0..NODES {
            let read = audit::read(&self.data_dir(at), "test.example", self.ids[at]);
            let expected: Vec<usize> = self.expected(at).collect();
            match read {
                Ok(records) => {
                    self.figures.audited.0 += 1;
                    self.figures.audited.1 += records.len();
                    for n in expected {
                        let record = records.get(&records::key(n));
                        let right = record.is_some_and(|record| {
                            record.header.tombstone == is_deleted(n)
                                && record.value == value(n).unwrap_or_default()
                        });
                        if !right {
                            self.figures.lacking += 1;
                            println!("LACKING n{}: rot-{n}", at + 1);
                        }
                    }
                }
                Err(why) => {
                    self.figures.lacking += expected.len();
                    println!("LACKING n{}: everything, {why}", at + 1);
                }
            }
        }
    }

    fn data_dir(&self, at: usize) -> PathBuf {
        let name = &self.cluster.members[at].name;
        self.cluster.dir().join(format!("{name}.data"))
    }
}

/// How a member came to know of its damage, as its log says.
fn met(log: &str) -> &'static str {
    if log.contains("begins again with an empty store") {
        "a rebuild in place"
    } else if log.contains("begins with an empty one") {
        "an empty store at the start"
    } else {
        "nobody: nothing in use was hit"
    }
}
