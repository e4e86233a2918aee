//! Bits that flip and pages that vanish under a store.

use bytes::Bytes;
use chord_core::event::{StoreAnswer, StoreError};
use chord_core::message::Record;
use chord_net_quic::store::disk::{Engine, Fault, OpenError};
use chord_net_quic::store::{Broken, Store};

use crate::support::{Chance, Driven, at, everything, get, late, open, page, put, quiet, record};
use crate::tape::Tape;

/// Records in the store that rots.
const RECORDS: u64 = 400;

fn whole(n: u64) -> Record {
    let value = Bytes::from(format!("value {n} ").repeat(1 + n as usize % 90));
    record(n, n + 1, Some(&value), u64::MAX)
}

/// The bytes of a store, after a stop in order or a crash.
fn bytes(in_order: bool) -> Vec<u8> {
    let tape = Tape::default();
    let (engine, _) = open(tape.clone()).expect("a sound disk");
    for from in (0..RECORDS).step_by(50) {
        let mut puts = [put((from..from + 50).map(whole).collect())].into_iter();
        engine.write(at(0), &mut || puts.next()).expect("writes");
    }
    if in_order {
        engine.close(late()).expect("closes");
    }
    drop(engine);
    std::mem::take(&mut tape.state().bytes)
}

/// What became of the store at one damaged place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Seen {
    right: u64,
    refused: u64,
    hidden: u64,
    wrong: u64,
    /// Hidden in stores in which a walk through everything found nothing.
    unnoticed: u64,
}

fn count(seen: &mut Seen, expected: Option<&Record>, found: Result<Option<Record>, Fault>) {
    match found {
        Err(_) => seen.refused += 1,
        Ok(found) if found.as_ref() == expected => seen.right += 1,
        Ok(None) => seen.hidden += 1,
        Ok(Some(_)) => seen.wrong += 1,
    }
}

/// Opens the bytes and reads everything, one by one and in one page; then writes.
fn look(bytes: Vec<u8>) -> Seen {
    let mut seen = Seen::default();
    let engine: Engine = match open(Tape::of(bytes)) {
        Ok((engine, _)) => engine,
        Err(OpenError::Fault(_)) => {
            seen.refused += RECORDS;
            return seen;
        }
        // The row that says whose it is has its own checksum.
        Err(other) => panic!("{other:?}"),
    };
    for n in 0..RECORDS {
        let found = engine
            .read(&[get(n)])
            .map(|mut answers| match answers.remove(0) {
                Some(StoreAnswer::Record(record)) => record,
                other => panic!("{other:?}"),
            });
        count(&mut seen, Some(&whole(n)), found);
    }
    if let Ok(mut answers) = engine.read(&[everything()]) {
        let expected: Vec<Record> = (0..RECORDS).map(whole).collect();
        let found = page(answers.remove(0));
        seen.wrong += found
            .iter()
            .filter(|record| !expected.contains(record))
            .count() as u64;
    }
    if walk(&engine).is_ok() {
        seen.unnoticed = seen.hidden + seen.wrong;
    }
    let mut puts = [put(vec![record(RECORDS, 1, Some(b"new"), 9)])].into_iter();
    let _ = engine.write(at(0), &mut || puts.next());
    seen
}

/// Verifies everything, piece by piece; returns how many pieces that were.
fn walk(engine: &Engine) -> Result<u32, Fault> {
    let (mut from, mut pieces) = (0, 1);
    while let Some(next) = engine.verify(from)? {
        assert!(next > from, "it gets on");
        (from, pieces) = (next, pieces + 1);
    }
    Ok(pieces)
}

/// Damages a store in many places, one at a time.
fn rot(in_order: bool, places: u64) -> Seen {
    quiet();
    let sound = bytes(in_order);
    let mut chance = Chance(9);
    let mut total = Seen::default();
    let mut refusing = 0;
    for _ in 0..places {
        let mut bytes = sound.clone();
        let at = chance.below(bytes.len() as u64) as usize;
        if chance.below(2) == 0 {
            bytes[at] ^= 1 << chance.below(8);
        } else {
            let from = at & !4_095;
            let upto = (from + 4_096).min(bytes.len());
            bytes[from..upto].fill(0);
        }
        let seen = look(bytes);
        refusing += u64::from(seen.refused > 0);
        total.right += seen.right;
        total.refused += seen.refused;
        total.hidden += seen.hidden;
        total.wrong += seen.wrong;
        total.unnoticed += seen.unnoticed;
    }
    println!("{places} places (stopped in order: {in_order}), {refusing} noticed: {total:?}");
    assert!(
        refusing > 0 && total.right > 0,
        "the damage is where nobody looks"
    );
    assert_eq!(total.unnoticed, 0, "a walk finds what hides a key");
    total
}

#[test]
fn rot_never_shows_a_wrong_value() {
    // A key may be hidden by a damaged page above it: so an owner has a miss corroborated.
    assert_eq!(rot(true, 300).wrong, 0);
}

#[test]
fn after_a_crash_rot_shows_no_wrong_value_and_hides_none() {
    let seen = rot(false, 300);
    assert_eq!((seen.wrong, seen.hidden), (0, 0));
}

#[test]
fn a_walk_through_a_sound_store_finds_nothing_whatever_was_done_to_it() {
    let (engine, _) = open(Tape::default()).expect("a sound disk");
    assert_eq!(walk(&engine), Ok(1));
    let long = Bytes::from(vec![7; 5_000]);
    let write = |n: u64, version: u64, value: Option<&Bytes>| {
        let mut puts = [put(vec![record(
            n,
            version,
            value.map(|v| &v[..]),
            1 << 40,
        )])]
        .into_iter();
        engine.write(at(0), &mut || puts.next()).expect("writes");
    };
    for n in 0..200 {
        write(n, 1, Some(&long));
    }
    for n in 0..200 {
        match n % 3 {
            0 => write(n, 2, Some(&long)),
            1 => write(n, 2, None),
            _ => {}
        }
    }
    assert!(walk(&engine).expect("sound") > 1);
}

#[test]
fn an_idle_store_finds_rot_by_itself() {
    quiet();
    let tape = Tape::of(bytes(true));
    {
        let mut state = tape.state();
        let needle = b"value 123 value";
        let places: Vec<usize> = (0..state.bytes.len() - needle.len())
            .filter(|&at| state.bytes[at..].starts_with(needle))
            .collect();
        assert!(!places.is_empty(), "no value found");
        places.iter().for_each(|&at| state.bytes[at] ^= 0x40);
    }
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    driven.wait_for_the_end();
    match driven.broken.take() {
        Some(Broken::Damaged(why)) => assert!(why.contains("checksum"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(tape.state().set_aside, 1);
}

#[test]
fn damage_met_while_running_ends_the_store_and_moves_it_aside() {
    quiet();
    let sound = bytes(true);
    let tape = Tape::of(sound.clone());
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    // Every value rots at once; what is in memory is still right.
    {
        let mut state = tape.state();
        let needle = b"value 123 value";
        let mut at = 0;
        while let Some(found) = state.bytes[at..]
            .windows(needle.len())
            .position(|w| w == needle)
        {
            state.bytes[at + found] ^= 0x40;
            at += found + 1;
        }
        assert!(at > 0, "no value found");
    }
    assert_eq!(driven.one(get(123)), Err(StoreError::Failed));
    assert_eq!(tape.state().set_aside, 1);
    assert_eq!(driven.one(get(1)), Err(StoreError::Failed));
    assert_eq!(driven.one(put(vec![whole(1)])), Err(StoreError::Failed));
    match driven.broken.take() {
        Some(Broken::Damaged(why)) => {
            assert!(why.contains("checksum") && why.contains("elsewhere"))
        }
        other => panic!("{other:?}"),
    }
    assert!(driven.disk.stats().records > 0);
    assert_eq!(tape.state().set_aside, 1, "once");
}
