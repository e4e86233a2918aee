//! The judge of `e2e_crash` with planted losses: what it must refuse, and what it must allow.

#![allow(unreachable_pub, dead_code)]

mod judge;

use std::time::Duration;

use judge::{During, History, Kind, Seen, Violation};

const FOR_GOOD: Kind = Kind::Put(None);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn short() -> Kind {
    Kind::Put(Some(at(5)))
}

/// Writes that begin every ten seconds and take one; true: acknowledged.
fn history(writes: &[(Kind, bool)]) -> History {
    let mut history = History::default();
    for (place, &(kind, acknowledged)) in (0..).zip(writes) {
        assert_eq!(history.begin(kind, at(10 * place)), place as usize);
        history.end(acknowledged, at(10 * place + 1));
    }
    history
}

/// A read that takes one second.
fn read(history: &History, begun: u64, seen: Seen) -> Result<(), Violation> {
    let (begun, ended) = (at(begun), at(begun + 1));
    history.judge(During { begun, ended }, seen)
}

#[test]
fn only_the_last_acknowledged_value_may_be_seen() {
    let history = history(&[(FOR_GOOD, true), (FOR_GOOD, true)]);
    assert_eq!(read(&history, 20, Seen::Write(1)), Ok(()));
    assert_eq!(read(&history, 20, Seen::Nothing), Err(Violation::Lost));
    assert_eq!(read(&history, 20, Seen::Write(0)), Err(Violation::Stale));
    assert_eq!(read(&history, 20, Seen::Garbage), Err(Violation::Wrong));
    assert_eq!(read(&history, 20, Seen::Write(2)), Err(Violation::Wrong));
}

#[test]
fn a_write_that_failed_may_have_happened_or_not_until_the_next_is_acknowledged() {
    let open = history(&[(FOR_GOOD, true), (FOR_GOOD, false), (Kind::Delete, false)]);
    for seen in [Seen::Write(0), Seen::Write(1), Seen::Nothing] {
        assert_eq!(read(&open, 30, seen), Ok(()));
    }
    let closed = history(&[(FOR_GOOD, true), (FOR_GOOD, false), (FOR_GOOD, true)]);
    assert_eq!(read(&closed, 30, Seen::Write(2)), Ok(()));
    assert_eq!(read(&closed, 30, Seen::Write(1)), Err(Violation::Late));
    assert_eq!(read(&closed, 30, Seen::Write(0)), Err(Violation::Stale));
}

#[test]
fn a_failed_put_explains_no_absence_and_a_failed_delete_no_older_value() {
    let put = history(&[(FOR_GOOD, true), (FOR_GOOD, false)]);
    assert_eq!(read(&put, 20, Seen::Nothing), Err(Violation::Lost));
    let delete = history(&[(FOR_GOOD, true), (FOR_GOOD, true), (Kind::Delete, false)]);
    assert_eq!(read(&delete, 30, Seen::Write(0)), Err(Violation::Stale));
}

#[test]
fn what_was_deleted_or_has_expired_stays_away_and_uncovers_nothing_older() {
    let deleted = history(&[(FOR_GOOD, true), (Kind::Delete, true)]);
    assert_eq!(read(&deleted, 20, Seen::Nothing), Ok(()));
    assert_eq!(read(&deleted, 20, Seen::Write(0)), Err(Violation::Back));
    assert_eq!(read(&deleted, 20, Seen::Write(1)), Err(Violation::Wrong));
    let expired = history(&[(FOR_GOOD, true), (short(), true)]);
    assert_eq!(read(&expired, 11, Seen::Nothing), Err(Violation::Lost));
    assert_eq!(read(&expired, 11, Seen::Write(1)), Ok(()));
    assert_eq!(read(&expired, 30, Seen::Nothing), Ok(()));
    assert_eq!(read(&expired, 30, Seen::Write(1)), Err(Violation::Expired));
    assert_eq!(read(&expired, 30, Seen::Write(0)), Err(Violation::Back));
}

#[test]
fn around_the_end_of_a_lifetime_both_may_be_seen() {
    let history = history(&[(short(), true)]);
    for begun in 3..=8 {
        assert_eq!(read(&history, begun, Seen::Write(0)), Ok(()), "{begun}");
        assert_eq!(read(&history, begun, Seen::Nothing), Ok(()), "{begun}");
    }
    assert_eq!(read(&history, 1, Seen::Nothing), Err(Violation::Lost));
    assert_eq!(read(&history, 9, Seen::Write(0)), Err(Violation::Expired));
}

#[test]
fn a_write_under_way_or_answered_during_the_read_may_be_seen_or_not() {
    let mut history = history(&[(FOR_GOOD, true)]);
    history.begin(FOR_GOOD, at(10));
    assert_eq!(read(&history, 12, Seen::Write(0)), Ok(()));
    assert_eq!(read(&history, 12, Seen::Write(1)), Ok(()));
    assert_eq!(read(&history, 12, Seen::Nothing), Err(Violation::Lost));
    assert_eq!(
        read(&history, 8, Seen::Write(1)),
        Err(Violation::Wrong),
        "not yet begun"
    );
    history.end(true, at(13));
    assert_eq!(read(&history, 12, Seen::Write(0)), Ok(()));
    assert_eq!(read(&history, 13, Seen::Write(0)), Err(Violation::Stale));
}

#[test]
fn before_the_first_acknowledged_write_there_may_be_nothing() {
    let unsure = history(&[(FOR_GOOD, false)]);
    assert_eq!(read(&unsure, 20, Seen::Nothing), Ok(()));
    assert_eq!(read(&unsure, 20, Seen::Write(0)), Ok(()));
    let mut withdrawn = unsure;
    withdrawn.withdraw();
    assert_eq!(read(&withdrawn, 20, Seen::Write(0)), Err(Violation::Wrong));
}
