//! What the two threads promise: who waits for whom, and what happens when too much comes.

use chord_core::event::{StoreAnswer, StoreError};
use chord_net_quic::store::Store;

use crate::support::{Driven, at, discard, everything, get, open, page, put, record};
use crate::tape::Tape;

#[test]
fn a_put_is_not_answered_before_its_sync_and_reads_do_not_wait_for_it() {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    // Room in the file: growing syncs too, under a lock of redb that readers need.
    assert!(
        driven
            .one(put(vec![record(2, 1, Some(&[1; 200_000]), 50)]))
            .is_ok()
    );
    assert!(driven.one(discard(2, 1)).is_ok());
    for version in 1..5 {
        assert!(
            driven
                .one(put(vec![record(1, version, Some(b"old"), 50)]))
                .is_ok()
        );
    }
    tape.hold();
    let under_way = driven.submit(vec![put(vec![record(1, 9, Some(b"new"), 50)])], at(0));
    tape.await_sync();
    for _ in 0..3 {
        // Answered from the last commit while the next one waits for the disk.
        let found = page(driven.one(everything()).ok());
        assert_eq!(found[0].value, "old");
    }
    let before = driven.disk.work();
    assert_eq!(
        (before.groups, before.commands),
        (6, 6),
        "one after the other"
    );
    assert!(driven.answered(under_way).is_none());
    tape.release();
    assert!(matches!(
        driven.wait(under_way),
        Ok(StoreAnswer::Put { .. })
    ));
    let after = driven.disk.work();
    assert_eq!((after.groups, after.commands, after.refused), (7, 7, 0));
    assert!(after.time > before.time);
    // Answered before this was submitted: it must be seen.
    match driven.one(get(1)) {
        Ok(StoreAnswer::Record(Some(found))) => assert_eq!(found.value, "new"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_does_not_fit_the_queue_is_refused_at_once_and_the_rest_is_carried_out() {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    tape.hold();
    let first = driven.submit(vec![put(vec![record(0, 1, Some(b"x"), 50)])], at(0));
    tape.await_sync();
    // 80 MiB, where 64 MiB may wait.
    let value = vec![1; 1 << 20];
    let large = (1..=80)
        .map(|n| put(vec![record(n, 1, Some(&value), 50)]))
        .collect();
    let large = driven.submit(large, at(0));
    let refused = driven.await_refusals();
    assert!((16..=20).contains(&refused), "{refused} refused");
    tape.release();
    assert!(driven.wait(first).is_ok());
    let results: Vec<_> = (0..80).map(|n| driven.wait(large + n)).collect();
    let stored = results.iter().filter(|result| result.is_ok()).count();
    let full = results
        .iter()
        .filter(|result| **result == Err(StoreError::Full))
        .count();
    assert_eq!((stored, full), (80 - refused, refused));
    assert!(driven.broken.is_none());
}

#[test]
fn dropping_a_store_under_load_ends_its_threads_and_keeps_whole_groups() {
    let tape = Tape::default();
    let mut driven = Driven::new(open(tape.clone()).expect("opens").0);
    for turn in 0..20 {
        let puts = (0..10)
            .map(|n| put(vec![record(n, turn + 1, Some(b"x"), 50)]))
            .collect();
        driven.submit(puts, at(0));
    }
    drop(driven);
    let (engine, found) = open(tape).expect("opens");
    assert!(!found.crashed, "it was closed in order");
    assert!(page(engine.read(&[everything()]).expect("reads").remove(0)).len() <= 10);
}
