//! Disks that fail, fill up, or hold what is not ours.

use std::fs;
use std::io;

use chord_core::event::{StoreAnswer, StoreCommand, StoreError};
use chord_core::id::Id;
use chord_net_quic::store::disk::{Disk, Engine, FILL_MAX, Fault, Folder, OpenError, Owner};
use chord_net_quic::store::memory::Memory;
use chord_net_quic::store::{Broken, Room, Store};
use redb::{Database, TableDefinition};
use tokio::sync::mpsc;
use twox_hash::XxHash3_64;

use crate::support::{
    Driven, at, by_memory, discard, everything, get, open, owner, page, put, quiet, record, sweep,
};
use crate::tape::{Fails, Tape};

/// Some of everything, one command a group.
fn workload() -> Vec<StoreCommand> {
    let value = [5; 900];
    let mut commands = Vec::new();
    for n in 0..12 {
        commands.push(put(vec![record(n % 5, n + 1, Some(&value), 20 + n)]));
    }
    commands.push(put(vec![record(1, 50, None, 90)]));
    commands.push(discard(2, 99));
    commands.push(sweep(26, 0, 3));
    commands.push(put((0..6)
        .map(|n| record(n, 60, Some(&value), 70))
        .collect()));
    commands
}

/// Runs the workload on a disk of which one call fails. Returns whether it was reached.
fn with_a_failing_call(number: u64, kind: io::ErrorKind, goes_on: bool) -> bool {
    let tape = Tape::default();
    // Made without failures: that happens under another name.
    drop(open(tape.clone()).expect("a sound disk"));
    {
        let mut state = tape.state();
        state.calls = 0;
        state.fails = Some(Fails { at: number, kind });
    }
    let mut memory = Memory::new();
    let mut unsure = None;
    match open(tape.clone()) {
        Err(OpenError::Fault(Fault::Failed(_) | Fault::NoRoom)) => {}
        Err(other) => panic!("call {number}: {other:?}"),
        Ok((engine, _)) => {
            let mut driven = Driven::new(engine);
            let (mut broken, mut time) = (false, 0);
            for command in workload() {
                let synced = !tape.state().sync_failed;
                // Each a second later: puts are tried again.
                time += 1_000_000;
                match driven.run(vec![command.clone()], at(time)).remove(0) {
                    Ok(answer) => {
                        assert!(synced && !broken, "call {number}: answered after a failure");
                        assert_eq!(by_memory(&mut memory, command), answer, "call {number}");
                    }
                    Err(StoreError::Full) => {
                        assert!(goes_on && !broken, "call {number}: full");
                    }
                    Err(StoreError::Failed) => {
                        unsure = unsure.or(Some(command));
                        broken = true;
                    }
                }
            }
            if broken {
                let broken = driven.broken.take();
                assert!(
                    matches!(broken, Some(Broken::Failed(_))),
                    "call {number}: {broken:?}"
                );
            }
        }
    }
    let reached = tape.state().calls >= number;
    tape.state().fails = None;
    let (engine, _) = open(tape).expect("the disk is sound again");
    let found = page(engine.read(&[everything()]).expect("reads").remove(0));
    let acknowledged = page(Some(by_memory(&mut memory, everything())));
    if found != acknowledged {
        // The command under way may have been carried out.
        let unsure = unsure.unwrap_or_else(|| panic!("call {number}: more or less than said"));
        by_memory(&mut memory, unsure);
        assert_eq!(
            found,
            page(Some(by_memory(&mut memory, everything()))),
            "call {number}"
        );
    }
    reached
}

#[test]
fn every_call_that_fails_gives_clean_errors_and_no_reply_follows_a_failed_sync() {
    quiet();
    let mut number = 1;
    while with_a_failing_call(number, io::ErrorKind::Other, false) {
        number += 1;
    }
    assert!(number > 200, "only {number} calls");
}

#[test]
fn a_write_without_room_is_refused_and_the_store_goes_on() {
    quiet();
    let mut number = 1;
    while with_a_failing_call(number, io::ErrorKind::StorageFull, true) {
        number += 1;
    }
    assert!(number > 200, "only {number} calls");
}

#[test]
fn a_disk_that_is_nearly_full_refuses_puts_and_nothing_else_until_there_is_room() {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    let new = |n, version| put(vec![record(n, version, Some(b"x"), 50)]);
    assert!(driven.one(new(1, 1)).is_ok());
    tape.state().fill = FILL_MAX;
    assert_eq!(driven.one(new(2, 2)), Err(StoreError::Full));
    let mixed = put(vec![record(1, 3, None, 50), record(2, 3, Some(b"x"), 50)]);
    assert_eq!(driven.one(mixed), Err(StoreError::Full));
    let Ok(StoreAnswer::Record(Some(_))) = driven.one(get(1)) else {
        panic!("reads go on");
    };
    assert!(
        driven.one(put(vec![record(1, 4, None, 50)])).is_ok(),
        "deletes go on"
    );
    let answers = driven.run(vec![new(3, 5), discard(1, 9), new(4, 5)], at(0));
    assert!(matches!(
        answers[..],
        [
            Err(StoreError::Full),
            Ok(StoreAnswer::Discarded { count: 1 }),
            Err(StoreError::Full)
        ]
    ));
    tape.state().fill = FILL_MAX - 1;
    assert!(driven.one(new(2, 2)).is_ok());
    assert_eq!(driven.rooms, [Room::Nearly, Room::Enough]);
}

#[test]
fn a_disk_without_any_room_serves_reads_and_takes_puts_once_there_is_some() {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    let large = |n, version| put(vec![record(n, version, Some(&[1; 100_000]), 50)]);
    assert!(driven.one(large(0, 1)).is_ok());
    let room = tape.state().bytes.len() as u64;
    tape.state().room = Some(room);
    let refused = (1..40)
        .filter(|n| driven.one(large(*n, 1)) == Err(StoreError::Full))
        .count();
    assert!(refused > 30, "{refused} refused");
    assert!(matches!(
        driven.one(get(0)),
        Ok(StoreAnswer::Record(Some(_)))
    ));
    assert!(
        driven.one(put(vec![record(0, 2, None, 50)])).is_ok(),
        "deletes go on"
    );
    tape.state().room = None;
    assert_eq!(
        driven.one(large(50, 1)),
        Err(StoreError::Full),
        "not tried again yet"
    );
    let later = driven.run(vec![large(50, 1)], at(1_000_000));
    assert!(later[0].is_ok());
    assert!(driven.broken.is_none());
    assert_eq!(driven.rooms, [Room::None, Room::Enough]);
}

/// How many of 60 records can be deleted, one every two seconds, when others have filled the disk
/// to the last block; or a quota, which shows nowhere.
fn deleted_without_a_free_block(fill: u32, reserve: usize) -> usize {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    let value = [1; 40_000];
    for n in 0..60 {
        let new = put(vec![record(n, 1, Some(&value), 500)]);
        assert!(driven.one(new).is_ok(), "there is room");
    }
    {
        let mut state = tape.state();
        (state.fill, state.free, state.reserve) = (fill, Some(0), reserve);
    }
    let mut delete = |n: u64| {
        let gone = put(vec![record(n, 2, None, 500)]);
        driven.run(vec![gone], at(2_000_000 * (n + 1)))[0].is_ok()
    };
    let count = (0..60).filter(|n| delete(*n)).count();
    assert!(driven.broken.is_none());
    let rooms = &driven.rooms;
    assert!(rooms.len() <= 2, "told once of each: {rooms:?}");
    count
}

#[test]
fn deletes_go_on_without_a_free_block_by_what_is_held_ready() {
    for fill in [1_000, 0] {
        assert_eq!(deleted_without_a_free_block(fill, 1_024), 60, "{fill}");
        let without = deleted_without_a_free_block(fill, 0);
        assert!(without < 60, "nothing had to be held ready");
        println!("{without} of 60 with nothing held ready");
    }
}

fn open_in(dir: &std::path::Path, owner: &Owner) -> Result<(Driven, Option<String>), OpenError> {
    let (reporting, reports) = mpsc::unbounded_channel();
    let (disk, opened) = Disk::open(dir, owner, 1, reporting)?;
    Ok((Driven::over(disk, reports), opened.damaged))
}

#[test]
fn a_store_in_use_or_of_somebody_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut driven, _) = open_in(dir.path(), &owner()).expect("opens");
    assert!(
        driven
            .one(put(vec![record(1, 1, Some(b"x"), u64::MAX)]))
            .is_ok()
    );
    assert!(matches!(
        open_in(dir.path(), &owner()),
        Err(OpenError::InUse)
    ));
    drop(driven);
    let other = Owner {
        id: Id::hash(b"other"),
        ..owner()
    };
    match open_in(dir.path(), &other) {
        Err(OpenError::Foreign(whose)) => assert_eq!(whose, owner()),
        other => panic!("{:?}", other.map(|_| "opened")),
    }
    let (mut driven, damaged) = open_in(dir.path(), &owner()).expect("opens");
    assert_eq!((driven.disk.stats().records, damaged), (1, None));
    assert!(matches!(
        driven.one(get(1)),
        Ok(StoreAnswer::Record(Some(_)))
    ));
}

#[test]
fn a_newer_store_is_refused_by_the_name_of_its_writer_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    drop(open_in(dir.path(), &owner()).expect("opens"));
    let path = Folder::new(dir.path()).path();
    let database = Database::open(&path).expect("a redb file");
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let txn = database.begin_write().expect("begins");
    for (name, bytes) in [("schema", &[0, 0, 0, 2][..]), ("writer", b"9.9.9")] {
        let seed = XxHash3_64::oneshot(name.as_bytes());
        let mut row = XxHash3_64::oneshot_with_seed(seed, bytes)
            .to_be_bytes()
            .to_vec();
        row.extend_from_slice(bytes);
        let mut table = txn.open_table(meta).expect("a table");
        table.insert(name, row.as_slice()).expect("inserts");
    }
    txn.commit().expect("commits");
    drop(database);
    match open_in(dir.path(), &owner()) {
        Err(OpenError::Newer { schema: 2, writer }) => assert_eq!(writer, "9.9.9"),
        other => panic!("{:?}", other.map(|_| "opened")),
    }
    assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 1);
}

#[test]
fn a_damaged_file_is_moved_aside_and_an_empty_store_takes_its_place() {
    quiet();
    let dir = tempfile::tempdir().expect("a directory");
    let path = Folder::new(dir.path()).path();
    for (n, rubbish) in [vec![0; 100_000], b"no store".to_vec(), Vec::new()]
        .into_iter()
        .enumerate()
    {
        fs::write(&path, &rubbish).expect("writes");
        let (mut driven, damaged) = open_in(dir.path(), &owner()).expect("opens");
        // An empty file is what redb makes a database of.
        assert_eq!(damaged.is_some(), !rubbish.is_empty(), "{damaged:?}");
        assert!(
            driven
                .one(put(vec![record(1, 1, Some(b"x"), u64::MAX)]))
                .is_ok()
        );
        drop(driven);
        let aside = dir.path().join(format!("store.redb.damaged-{}", n + 1));
        assert_eq!(aside.exists(), !rubbish.is_empty());
        let (driven, damaged) = open_in(dir.path(), &owner()).expect("opens again");
        assert_eq!((driven.disk.stats().records, damaged), (1, None));
    }
}

#[test]
fn a_step_of_the_wall_clock_is_noted_with_the_next_group_even_an_idle_one() {
    let tape = Tape::default();
    let (engine, _) = open(tape.clone()).expect("opens");
    let write = |engine: &Engine, command, now| {
        let mut commands = [command].into_iter();
        engine.write(now, &mut || commands.next()).expect("writes")
    };
    let hour = 3_600_000_000;
    let mut stepped = at(1_000_010);
    stepped.wall += 5 * hour;
    let lives = 2_000_000_000;
    write(
        &engine,
        put(vec![record(1, 1, Some(b"x"), lives)]),
        at(1_000_000),
    );
    write(&engine, sweep(0, 0, 1), stepped);
    drop(engine);
    // Ten microseconds after the step, in a process whose monotonic clock begins anew.
    let mut now = at(7);
    now.wall = stepped.wall + 10;
    let (engine, found) = Engine::open(
        std::sync::Arc::new(tape),
        &owner(),
        1,
        now,
        crate::support::tuning(),
    )
    .expect("opens");
    assert_eq!(found.clock_behind.0, 0);
    let Some(StoreAnswer::Record(Some(record))) = engine.read(&[get(1)]).expect("reads").remove(0)
    else {
        panic!("it is there");
    };
    assert_eq!(record.header.expires.0, lives - 1_000_020 + 7);
}
