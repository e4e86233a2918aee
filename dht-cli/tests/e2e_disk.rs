//! A disk that is full, for real: three processes, one of them on a small file system that
//! puts fill to the mark, and an ordinary file to the last block.
//!
//! ```text
//! puts ─▶ 85 %: refused, typed ─▶ an ordinary file takes the rest ─▶ SIGKILL, start, twice
//!      ─▶ a fourth member takes over what it owns ─▶ SIGTERM, start ─▶ room: puts again
//! ```
//!
//! After each step every acknowledged record is read through every member, once, without a
//! second try. The run prints its figures and panics (exit code 101) when a gate is missed.
//!
//! Needs the right to mount: without it the run is skipped, says so, and fails where `CI` is
//! `true`. Not part of a plain `cargo test`: `cargo test -p dht-cli --test e2e_disk`.

// The parts are files of a test, not an interface.
#![allow(unreachable_pub)]

mod harness;

use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_core::id::Id;
use chord_core::message::Key;

use harness::cluster::Cluster;
use harness::process;
use harness::tmpfs::Tmpfs;
use harness::{gate, until};

/// The file system of the one on trial, and what lies there beside its store at first.
const DISK_MIB: u32 = 64;
const ORDINARY: usize = 28 << 20;
/// Which member that is.
const TRIED: usize = 1;
const VALUE: usize = 48 << 10;
/// For a whole ring on a busy machine.
const RING: Duration = Duration::from_secs(60);
/// From room on the disk to a put that is taken.
const RECOVERY: Duration = Duration::from_secs(10);
/// Puts that must be refused in each state.
const REFUSALS: usize = 20;

fn main() {
    let begun = Instant::now();
    let mut cluster = Cluster::new(4);
    let data_dir = cluster
        .dir()
        .join(format!("{}.data", cluster.members[TRIED].name));
    let disk = match Tmpfs::mount(&data_dir, DISK_MIB) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIP e2e_disk: 1 run of 1 skipped, cannot mount a file system: {why}");
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "skipped where it must run"
            );
            return;
        }
    };
    let mut story = Story {
        cluster: &mut cluster,
        disk: &disk,
        acknowledged: Vec::new(),
        deleted: Vec::new(),
        next: 0,
        reads: 0,
    };
    story.tell();
    for member in &mut cluster.members {
        member.process = None;
    }
    drop(disk);
    println!("e2e_disk passed in {:.0} s", begun.elapsed().as_secs_f64());
}

struct Story<'a> {
    cluster: &'a mut Cluster,
    disk: &'a Tmpfs,
    acknowledged: Vec<usize>,
    deleted: Vec<usize>,
    /// The next key to try.
    next: usize,
    reads: usize,
}

impl Story<'_> {
    fn tell(&mut self) {
        for at in 0..3 {
            self.cluster.start(at);
        }
        self.cluster.await_ring(0, 3, RING);
        self.disk.take("ordinary", ORDINARY);
        self.fill();
        self.refused("the disk is full to the mark");
        self.refused_by_the_other_ports();
        self.read_all("the disk is full to the mark");
        self.delete(10);

        let taken = self.disk.fill_up("rest");
        println!("an ordinary file took the last {taken} bytes");
        self.refused("not a block is free");
        self.read_all("not a block is free");
        self.delete(10);
        for life in 1..=2 {
            self.cluster.kill(TRIED);
            self.disk.fill_up(&format!("rest {life}"));
            let begun = Instant::now();
            self.cluster.start(TRIED);
            self.cluster.await_ring(TRIED, 3, RING);
            gate(
                "killed, started on the full disk, one ring after",
                begun.elapsed(),
                RING,
            );
            self.refused("started on a full disk");
            self.read_all("started on a full disk");
            self.delete(10);
        }
        self.hand_over();
        self.recover();
    }

    fn value(n: usize) -> Vec<u8> {
        format!("{n} ").into_bytes().repeat(VALUE / 6)
    }

    fn key(n: usize) -> Vec<u8> {
        format!("disk-{n}").into_bytes()
    }

    /// Keys that the one on trial owns, by the ids of those who run.
    fn next_owned(&mut self) -> usize {
        let id = |text: &str| Id::from_hex(text).expect("an id");
        let ids: Vec<Id> = self
            .running()
            .map(|at| id(&self.cluster.members[at].id))
            .collect();
        let tried = id(&self.cluster.members[TRIED].id);
        loop {
            let n = self.next;
            self.next += 1;
            let key = Key::new(Bytes::from(Self::key(n))).expect("short");
            let owner = ids.iter().min_by_key(|id| key.position().distance(**id));
            if owner == Some(&tried) {
                return n;
            }
        }
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        let members = &self.cluster.members;
        (0..members.len()).filter(|&at| members[at].process.is_some())
    }

    /// Status and code of the answer to one put, sent through another member.
    fn put(&self, n: usize) -> (u16, String) {
        let path = format!(
            "/v1/kv/{}?encoding=hex&copies=3",
            harness::hex(&Self::key(n))
        );
        let answer = self.cluster.http(0).ask("PUT", &path, &Self::value(n));
        let (status, body) = answer.expect("an answer");
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = document["code"].as_str().unwrap_or_default().to_owned();
        (status, code)
    }

    /// Puts until one is refused for want of room.
    fn fill(&mut self) {
        let begun = Instant::now();
        loop {
            let n = self.next_owned();
            match self.put(n) {
                (204, _) => self.acknowledged.push(n),
                (507, code) => {
                    assert_eq!(code, "disk_full");
                    break;
                }
                other => panic!("neither stored nor refused: {other:?}"),
            }
            assert!(self.acknowledged.len() < 4_000, "it is never full");
        }
        println!(
            "{} records of {} KiB stored in {:.1} s, then 507 disk_full",
            self.acknowledged.len(),
            VALUE >> 10,
            begun.elapsed().as_secs_f64()
        );
    }

    /// Every put that needs this disk is refused, with the typed error.
    fn refused(&mut self, when: &str) {
        let mut typed = 0;
        for _ in 0..REFUSALS {
            let n = self.next_owned();
            typed += usize::from(self.put(n) == (507, "disk_full".to_owned()));
        }
        println!("{when}: {REFUSALS} puts, {typed} refused with 507 disk_full");
        assert_eq!(typed, REFUSALS, "{when}");
        let status = self.cluster.status(TRIED).expect("it serves");
        let (room, refused) = (&status["room"], &status["work"]["refused"]);
        assert!(room == "nearly_full" || room == "full", "{when}: {status}");
        assert!(
            refused.as_u64() >= Some(REFUSALS as u64),
            "{when}: {status}"
        );
    }

    /// The command line says why and ends with 1. On the binary port, where a PUT has no answer, a
    /// GET after it finds nothing, or what the other holders stored; nothing else.
    fn refused_by_the_other_ports(&mut self) {
        let key = String::from_utf8(Self::key(self.next_owned())).expect("ours");
        let url = self.cluster.url(2);
        let said = process::expect(
            self.cluster.dir(),
            1,
            &["put", &key, "value", "--node", &url],
        );
        assert!(said.contains("disk"), "{said}");
        // 32 bytes on this port: another key that belongs there.
        let padded = loop {
            let mut key = [0; 32];
            let text = Self::key(self.next_owned());
            key[..text.len()].copy_from_slice(&text);
            let owners = self.owner_of(&key);
            if owners == TRIED {
                break key;
            }
        };
        let mut tcp = self.cluster.tcp(0);
        tcp.put(&padded, 0, 3, b"value").expect("sent");
        // Refused for want of room at the owner; the other holders may have stored it.
        let found = tcp.get(&padded).expect("an answer");
        let survived = match found.as_deref() {
            None => "FAILURE",
            Some(b"value") => "the value, which survived at the other holders",
            Some(other) => panic!("a put that was refused became {other:?}"),
        };
        println!(
            "dht-cli put: exit code 1, {:?}; a GET on the binary port after its PUT: {survived}",
            said.trim()
        );
    }

    fn owner_of(&self, key: &[u8]) -> usize {
        let key = Key::new(Bytes::copy_from_slice(key)).expect("short");
        let id = |at: &usize| Id::from_hex(&self.cluster.members[*at].id).expect("an id");
        self.running()
            .min_by_key(|at| key.position().distance(id(at)))
            .expect("somebody runs")
    }

    /// Every acknowledged record and every deletion, through every member, one try each.
    fn read_all(&mut self, when: &str) {
        let begun = Instant::now();
        let (mut right, mut total, mut wrong) = (0, 0, Vec::new());
        for at in self.running().collect::<Vec<_>>() {
            let mut http = self.cluster.http(at);
            let expected = self.acknowledged.iter().map(|&n| (n, Some(Self::value(n))));
            let gone = self.deleted.iter().map(|&n| (n, None));
            for (n, value) in expected.chain(gone) {
                total += 1;
                match http.get(&Self::key(n)) {
                    Ok(found) if found == value => right += 1,
                    Ok(found) => wrong.push(format!("{n}: {:?} bytes", found.map(|v| v.len()))),
                    Err(error) => wrong.push(format!("{n}: {error}")),
                }
            }
        }
        self.reads += total;
        println!(
            "{when}: {right} of {total} reads right, in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        assert!(
            wrong.is_empty(),
            "{when}: {wrong:?}\n{}",
            self.cluster.logs()
        );
    }

    /// Deletes go on.
    fn delete(&mut self, count: usize) {
        let mut http = self.cluster.http(2);
        let mut answers = Vec::new();
        for _ in 0..count {
            let n = self.acknowledged.pop().expect("there are records");
            let path = format!("/v1/kv/{}?encoding=hex", harness::hex(&Self::key(n)));
            let (status, body) = http.ask("DELETE", &path, b"").expect("an answer");
            answers.push((status, String::from_utf8_lossy(&body).into_owned()));
            self.deleted.push(n);
        }
        let done = answers.iter().filter(|(status, _)| *status == 204).count();
        println!("{done} of {count} deletes done");
        assert_eq!(done, count, "{answers:?}\n{}", self.cluster.logs());
    }

    /// A newcomer takes over a part of what the full one holds.
    fn hand_over(&mut self) {
        self.cluster.start(3);
        self.cluster.await_ready(3, RING);
        let took = self.cluster.await_ring(0, 4, RING);
        gate("a fourth member joined, one ring after", took, RING);
        self.read_all("a fourth member took over");
    }

    /// There is room again, and nobody tells the node.
    fn recover(&mut self) {
        for name in ["ordinary", "rest", "rest 1", "rest 2"] {
            self.disk.give_back(name);
        }
        let n = self.next_owned();
        let ((), took) = until("a put is taken again", RECOVERY * 2, || match self.put(n) {
            (204, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        self.acknowledged.push(n);
        gate("room again, a put taken after", took, RECOVERY);
        for _ in 0..REFUSALS {
            let n = self.next_owned();
            assert_eq!(self.put(n).0, 204, "there is room");
            self.acknowledged.push(n);
        }
        let status = self.cluster.status(TRIED).expect("it serves");
        assert_eq!(status["room"], "enough", "{status}");
        let copies = 3 * self.acknowledged.len();
        let took = self.cluster.await_repair(copies, RING);
        gate("every record at its three copies after", took, RING);
        self.read_all("there is room again");
        let ballast = format!("{}.data/ballast", self.cluster.members[TRIED].name);
        let ballast = self.cluster.dir().join(ballast);
        let ((), took) = until("the ballast is whole again", RECOVERY * 2, || {
            let held = std::fs::metadata(&ballast).map_err(|error| error.to_string())?;
            let whole = held.len() >= 4 << 20;
            whole
                .then_some(())
                .ok_or_else(|| format!("{} bytes", held.len()))
        });
        gate("room again, the ballast whole after", took, RECOVERY);
        println!("{} reads in all, every one right", self.reads);
    }
}
