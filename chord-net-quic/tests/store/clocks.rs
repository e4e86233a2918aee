//! Lives that begin with a wall clock years from the truth, and what of it is noted.

use std::sync::Arc;

use chord_core::event::StoreAnswer;
use chord_core::time::{Instant, Now};
use chord_net_quic::store::disk::{Engine, Tuning};

use crate::support::{WALL, get, owner, put, record};
use crate::tape::Tape;

const HOUR: u64 = 3_600_000_000;
const YEARS: u64 = 10 * 365 * 24 * HOUR;

fn began(wall: u64) -> Now {
    Now {
        mono: Instant(0),
        wall,
    }
}

fn open(tape: &Tape, wall: u64) -> Engine {
    let medium = Arc::new(tape.clone());
    let opened = Engine::open(medium, &owner(), 1, began(wall), Tuning::default());
    opened.expect("a sound disk").0
}

fn write(engine: &Engine, n: u64, wall: u64) {
    let mut commands = [put(vec![record(n, 1, Some(b"x"), HOUR)])].into_iter();
    let written = engine.write(began(wall), &mut || commands.next());
    written.expect("a sound disk");
}

/// How long a record lives on at the beginning of a life; 0 if it has expired.
fn left(engine: &Engine, n: u64) -> u64 {
    match engine.read(&[get(n)]).expect("a sound disk").remove(0) {
        Some(StoreAnswer::Record(Some(record))) => record.header.expires.0,
        other => panic!("{other:?}"),
    }
}

/// A disk with one record that has an hour to live.
fn stored() -> Tape {
    let tape = Tape::default();
    let engine = open(&tape, WALL);
    write(&engine, 1, WALL);
    engine.close(began(WALL)).expect("a sound disk");
    tape
}

#[test]
fn what_a_clock_years_ahead_took_for_expired_lives_by_the_corrected_one() {
    let tape = stored();
    let engine = open(&tape, WALL + 60_000_000 + YEARS);
    assert_eq!(left(&engine, 1), 0);
    engine.correct_clock(YEARS as i64);
    assert_eq!(left(&engine, 1), HOUR - 60_000_000);
    // What is written now agrees with that, and so do later lives, by a clock that is as wrong or
    // was set right, and whether anybody is there to contradict it.
    write(&engine, 2, WALL + 60_000_000 + YEARS);
    assert_eq!(left(&engine, 2), HOUR);
    drop(engine);
    let engine = open(&tape, WALL + 61_000_000 + YEARS);
    for _ in 0..2 {
        assert_eq!(left(&engine, 1), HOUR - 61_000_000);
        assert_eq!(left(&engine, 2), HOUR - 1_000_000);
        engine.correct_clock(YEARS as i64);
    }
    write(&engine, 3, WALL + 61_000_000 + YEARS);
    drop(engine);
    let engine = open(&tape, WALL + 71_000_000 + 3 * YEARS);
    assert_eq!(left(&engine, 1), 0, "nobody has said anything yet");
    engine.correct_clock(3 * YEARS as i64);
    assert_eq!(left(&engine, 1), HOUR - 71_000_000);
    drop(engine);
    let engine = open(&tape, WALL + 80_000_000);
    assert_eq!(
        left(&engine, 1),
        HOUR - 61_000_000,
        "time is only given back"
    );
}

/// A node that is a member and stores nothing notes the steps of its clock all the same.
#[test]
fn a_member_notes_a_step_although_it_stores_nothing() {
    let tape = stored();
    let engine = open(&tape, WALL + 1_000_000);
    engine.vouch_for_clock();
    let stepped = Now {
        mono: Instant(1_000_000),
        wall: WALL + 2_000_000 + YEARS,
    };
    let written = engine.write(stepped, &mut || None);
    assert!(written.expect("a sound disk").is_empty());
    engine.close(stepped).expect("a sound disk");
    let engine = open(&tape, WALL + 3_000_000 + YEARS);
    assert_eq!(left(&engine, 1), HOUR - 3_000_000);
}

/// A member that lies must not make whoever restarts bury all it has.
#[test]
fn no_word_of_others_takes_time_away() {
    let tape = stored();
    for life in 0..3 {
        let engine = open(&tape, WALL + 60_000_000);
        for behind in [HOUR as i64, YEARS as i64, i64::MAX, i64::MIN + 1, i64::MIN] {
            engine.correct_clock(-behind.saturating_abs());
            assert_eq!(left(&engine, 1), HOUR - 60_000_000, "life {life}");
        }
        engine
            .close(began(WALL + 60_000_000))
            .expect("a sound disk");
    }
    // What is given back is no more than the time away, and is taken back with the word.
    let engine = open(&tape, WALL + 60_000_000);
    engine.correct_clock(i64::MAX);
    assert_eq!(left(&engine, 1), HOUR);
    engine.correct_clock(0);
    assert_eq!(left(&engine, 1), HOUR - 60_000_000);
    write(&engine, 2, WALL + 60_000_000);
    engine.correct_clock(YEARS as i64);
    assert_eq!(left(&engine, 1), HOUR - 60_000_000, "something was stored");
}

/// However it ends: a life that has stored nothing has asked nobody for the time.
#[test]
fn a_wrong_clock_is_not_noted_before_anything_is_stored() {
    for in_order in [true, false] {
        let tape = stored();
        let engine = open(&tape, WALL + YEARS);
        if in_order {
            engine.close(began(WALL + YEARS)).expect("a sound disk");
        }
        drop(engine);
        let engine = open(&tape, WALL + 60_000_000);
        assert_eq!(left(&engine, 1), HOUR - 60_000_000, "stopped: {in_order}");
    }
}

#[test]
fn an_empty_store_has_nothing_to_correct() {
    let tape = Tape::default();
    // A node makes its new store whole, in a life that stores nothing, before it opens it.
    drop(open(&tape, WALL + YEARS));
    let engine = open(&tape, WALL + YEARS);
    engine.correct_clock(YEARS as i64);
    write(&engine, 1, WALL + YEARS);
    assert_eq!(left(&engine, 1), HOUR);
}
