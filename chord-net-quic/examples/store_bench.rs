//! Puts a second through the persistent store, beside a bare redb loop that does as much:
//! the same commit settings, the same number of puts in a group, two tables.
//!
//! ```text
//! cargo run --release -p chord-net-quic --example store_bench -- [DIR] [SECONDS]
//! ```
//!
//! Both take turns, three times; the median of the three ratios counts. Ends with 1 if it is
//! below a half, with 2 on a file system in memory, where syncs cost nothing.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chord_core::event::{OpId, StoreCommand};
use chord_core::id::Id;
use chord_core::message::{Header, Key, OperationId, Record, Version};
use chord_net_quic::clock;
use chord_net_quic::store::disk::{Disk, Owner};
use chord_net_quic::store::{Report, Store, Token};
use redb::{Database, TableDefinition};
use tokio::sync::mpsc;

/// Puts in flight, and in a group of the bare loop.
const IN_FLIGHT: u64 = 64;
/// Bytes of a value.
const VALUE: usize = 100;
/// What a record takes on disk before its value.
const HEAD: usize = 87;
/// Below this share of the bare loop something is wrong.
const GATE: f64 = 0.5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let length = Duration::from_secs(seconds);
    let kind = file_system(&dir)?;
    println!(
        "{IN_FLIGHT} in flight, values of {VALUE} bytes, {seconds} s each, on {kind} ({})",
        dir.display()
    );
    if ["tmpfs", "ramfs", "devtmpfs"].contains(&kind.as_str()) {
        println!("refused: a sync costs nothing there; name a directory on a disk");
        return Ok(ExitCode::from(2));
    }
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let bare = bare(&dir, length)?;
        let (store, group) = store(&dir, length)?;
        let ratio = store / bare;
        println!(
            "bare {bare:>8.0}/s   store {store:>8.0}/s ({group:.0} a group)   ratio {ratio:.2}"
        );
        ratios.push(ratio);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!("median ratio {median:.2} (gate: {GATE})");
    Ok(if median < GATE {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Groups of puts into two tables, one after the other.
fn bare(dir: &Path, length: Duration) -> Result<f64, Box<dyn Error>> {
    const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("data");
    const INDEX: TableDefinition<'_, &[u8; 37], ()> = TableDefinition::new("index");
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
                let record = record(count);
                let mut place = record.key.position().0.to_vec();
                place.extend_from_slice(record.key.bytes());
                data.insert(place.as_slice(), &[7; HEAD + VALUE][..])?;
                let mut entry = [0; 37];
                entry[1..9].copy_from_slice(&count.to_be_bytes());
                entry[9..29].copy_from_slice(&record.key.position().0);
                index.insert(&entry, ())?;
                count += 1;
            }
        }
        txn.commit()?;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

/// The same through the store: as many in flight, the next when one is answered.
fn store(dir: &Path, length: Duration) -> Result<(f64, f64), Box<dyn Error>> {
    let dir = tempfile::tempdir_in(dir)?;
    let owner = Owner {
        cluster: "bench".to_owned(),
        id: Id::hash(b"bench"),
    };
    let (reporting, mut reports) = mpsc::unbounded_channel();
    let opened = Disk::open(dir.path(), &owner, 1, reporting);
    let (mut disk, _) = opened.map_err(|error| format!("{error:?}"))?;
    let mut submitted = 0;
    let mut submit = |disk: &mut Disk, count| {
        for _ in 0..count {
            let token = Token {
                position: 0,
                op: OpId(submitted),
            };
            let records = vec![record(submitted)];
            disk.submit(token, StoreCommand::Put { records }, clock::now());
            submitted += 1;
        }
        disk.flush();
    };
    let (begin, mut count, mut groups) = (Instant::now(), 0_u64, 0_u64);
    submit(&mut disk, IN_FLIGHT);
    while begin.elapsed() < length {
        match reports.blocking_recv().ok_or("the store has ended")? {
            Report::Answers(answers) => {
                if let Some(failed) = answers.iter().find(|answered| answered.result.is_err()) {
                    return Err(format!("a put failed: {failed:?}").into());
                }
                count += answers.len() as u64;
                groups += 1;
                submit(&mut disk, answers.len() as u64);
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    Ok((rate, count as f64 / groups.max(1) as f64))
}

fn record(n: u64) -> Record {
    let key = Key::new(Bytes::copy_from_slice(&n.to_be_bytes().repeat(4)));
    let expires = clock::mono() + chord_core::time::Micros::from_secs(86_400);
    Record {
        key: key.expect("32 bytes"),
        value: Bytes::from_static(&[7; VALUE]),
        header: Header {
            version: Version {
                time: n,
                writer: Id::ZERO,
            },
            operation: OperationId::default(),
            copies: 1,
            tombstone: false,
            expires,
            shadow: expires,
        },
    }
}

/// The kind of the file system that holds a directory, as the kernel names it.
fn file_system(dir: &Path) -> Result<String, Box<dyn Error>> {
    let dir = dir.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let holds = |line: &str| -> Option<(usize, String)> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(point)
            .then(|| (point.len(), kind.to_owned()))
    };
    // Of those mounted over each other, the last is in force.
    let found = mounts
        .lines()
        .filter_map(holds)
        .max_by_key(|(length, _)| *length);
    Ok(found.ok_or("no mount holds it")?.1)
}
