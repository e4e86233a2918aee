use bytes::Bytes;
use chord_core::message::{Header, OperationId};
use chord_core::time::Instant;

use super::*;

const HOUR: u64 = 3_600_000_000;

fn key() -> Key {
    Key::new(Bytes::from_static(b"k")).expect("one byte")
}

fn version(time: u64) -> Version {
    Version {
        time,
        writer: Id::ZERO,
    }
}

fn ring() -> Vec<(Id, u32)> {
    // The key's position is somewhere; three hosts hold it whatever it is.
    (0..3)
        .map(|host| (Id::from_prefix(u64::from(host) << 62), host))
        .collect()
}

fn record(value: &'static [u8], time: u64) -> Record {
    Record {
        key: key(),
        value: Bytes::from_static(value),
        header: Header {
            version: version(time),
            operation: OperationId::default(),
            copies: 3,
            tombstone: false,
            expires: Instant(HOUR),
            shadow: Instant(HOUR),
        },
    }
}

/// A write of `value`, acknowledged as version 5 with copies on hosts 0, 1 and 2.
fn written(value: &'static [u8]) -> Data {
    let mut data = Data::default();
    data.begun(&key(), 1, Some(sum(value)), [10, HOUR], 3);
    for host in 0..3 {
        data.stored(host, &key(), Some(version(5)), 11);
    }
    assert_eq!(data.acknowledged(&key(), 1, version(5), 12, 3, true), None);
    data
}

fn is_lost(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::LostUnexplained(_))
}

#[test]
fn an_acknowledged_write_reads_right_and_anything_else_does_not() {
    let data = written(b"v");
    assert_eq!(
        data.judge(&key(), Some(&record(b"v", 5)), 20),
        Judgement::Right
    );
    assert!(is_lost(&data.judge(&key(), None, 20)));
    let other = data.judge(&key(), Some(&record(b"x", 5)), 20);
    assert!(matches!(other, Judgement::Wrong(_)), "{other:?}");
    assert_eq!(data.due(20).count(), 1);
    assert_eq!(data.due(HOUR + 10).count(), 0);
    assert_eq!(data.judge(&key(), None, HOUR + 10), Judgement::Right);
    let late = data.judge(&key(), Some(&record(b"v", 5)), HOUR + EXPIRY_SLACK + 13);
    assert!(matches!(late, Judgement::Wrong(_)), "{late:?}");
}

#[test]
fn a_newer_write_is_no_loss_and_an_older_one_is() {
    let mut data = written(b"v");
    data.begun(&key(), 2, Some(sum(b"w")), [30, HOUR], 3);
    // Never acknowledged, but it may have survived.
    assert_eq!(
        data.judge(&key(), Some(&record(b"w", 9)), 40),
        Judgement::Right
    );
    for host in 0..3 {
        data.stored(host, &key(), Some(version(9)), 35);
    }
    assert_eq!(data.acknowledged(&key(), 2, version(9), 41, 3, true), None);
    assert!(is_lost(&data.judge(&key(), Some(&record(b"v", 5)), 42)));
}

#[test]
fn a_deletion_that_was_tried_explains_a_miss_and_one_that_did_nothing_does_not() {
    let mut data = written(b"v");
    data.begun(&key(), 2, None, [30, HOUR], 3);
    assert_eq!(data.judge(&key(), None, 40), Judgement::Right);
    data.void(&key(), 2);
    assert!(is_lost(&data.judge(&key(), None, 40)));
}

/// A deletion that both sides of a partition took stands under two versions, and the client was
/// told one.
#[test]
fn a_deletion_acknowledged_by_one_of_two_sides_may_have_won_under_another_version() {
    let mut data = written(b"v");
    data.begun(&key(), 2, None, [30, HOUR], 3);
    for host in 0..3 {
        data.stored(host, &key(), Some(version(5)), 31);
    }
    let mut calm = data.clone();
    data.acknowledged(&key(), 2, version(4), 40, 3, false);
    assert!(!data.may_be_deleted(&key(), version(5)), "no disk has it");
    for data in [&mut data, &mut calm] {
        data.stored(2, &key(), Some(version(6)), 35);
    }
    assert!(data.may_be_deleted(&key(), version(5)));
    assert_eq!(data.judge(&key(), None, 41), Judgement::Right);
    calm.acknowledged(&key(), 2, version(4), 40, 3, true);
    assert!(!calm.may_be_deleted(&key(), version(5)));
    assert!(is_lost(&calm.judge(&key(), None, 41)));
}

#[test]
fn an_acknowledgement_without_a_majority_is_seen() {
    let mut data = Data::default();
    data.begun(&key(), 1, Some(1), [10, HOUR], 3);
    data.stored(0, &key(), Some(version(5)), 11);
    assert!(
        data.acknowledged(&key(), 1, version(5), 12, 10, true)
            .is_some()
    );
    data.stored(1, &key(), Some(version(5)), 13);
    assert_eq!(data.acknowledged(&key(), 1, version(5), 14, 10, true), None);
}

#[test]
fn a_version_behind_an_acknowledged_one_is_seen() {
    let mut data = written(b"v");
    data.begun(&key(), 2, Some(2), [30, HOUR], 3);
    for host in 0..3 {
        data.stored(host, &key(), Some(version(6)), 31);
    }
    let parted = data
        .clone()
        .acknowledged(&key(), 2, version(4), 40, 3, false);
    assert_eq!(
        parted, None,
        "the sides of a partition do not know of each other"
    );
    let mut earlier = written(b"v");
    earlier.acknowledged(&key(), 1, version(5), 12, 3, false);
    earlier.begun(&key(), 2, Some(2), [30, HOUR], 3);
    let parted = earlier.acknowledged(&key(), 2, version(4), 40, 3, true);
    assert_eq!(
        parted, None,
        "nor those who were not parted of one that was"
    );
    for (at, excused) in [(25, true), (9, false), (35, false)] {
        let mut lost = written(b"v");
        for host in 0..2 {
            lost.died(host, true, &ring(), at);
        }
        lost.begun(&key(), 2, Some(2), [30, HOUR], 3);
        for host in 0..3 {
            lost.stored(host, &key(), Some(version(6)), 31);
        }
        let told = lost.acknowledged(&key(), 2, version(4), 40, 3, true);
        assert_eq!(told.is_none(), excused, "a majority went down at {at}");
    }
    assert!(
        data.acknowledged(&key(), 2, version(4), 40, 3, true)
            .is_some()
    );
}

#[test]
fn a_copy_of_an_earlier_write_that_comes_back_under_a_new_version_is_a_loss() {
    let mut data = written(b"v");
    data.begun(&key(), 2, Some(sum(b"w")), [30, HOUR], 3);
    let stored = record(b"v", 9);
    // As long as the second is under way, the order of the two is open.
    assert_eq!(data.judge(&key(), Some(&stored), 35), Judgement::Right);
    let mut parted = data.clone();
    for host in 0..3 {
        data.stored(host, &key(), Some(version(6)), 31);
        parted.stored(host, &key(), Some(version(6)), 31);
    }
    data.acknowledged(&key(), 2, version(6), 40, 3, true);
    assert!(is_lost(&data.judge(&key(), Some(&stored), 41)));
    let newer = record(b"w", 9);
    assert_eq!(data.judge(&key(), Some(&newer), 41), Judgement::Right);
    parted.acknowledged(&key(), 2, version(6), 40, 3, false);
    assert_eq!(parted.judge(&key(), Some(&stored), 41), Judgement::Right);
}

#[test]
fn losing_a_majority_at_once_explains_a_loss_and_losing_fewer_does_not() {
    let mut data = written(b"v");
    data.died(0, true, &ring(), 20);
    assert!(is_lost(&data.judge(&key(), None, 21)));
    data.died(1, true, &ring(), 30);
    let judged = data.judge(&key(), None, 31);
    assert!(matches!(judged, Judgement::LostExplained(_)), "{judged:?}");
}

#[test]
fn deaths_with_a_repair_between_them_explain_nothing() {
    let mut data = written(b"v");
    let mut alive = [true; 6];
    for (dead, heir) in [(0_u32, 3_u32), (1, 4), (2, 5)] {
        data.died(dead, true, &ring(), 20);
        alive[dead as usize] = false;
        data.stored(heir, &key(), Some(version(5)), 25);
        data.close_windows(|host| alive[host as usize], 3, 26);
    }
    assert!(is_lost(&data.judge(&key(), None, 31)));
}

#[test]
fn a_disk_that_comes_back_is_no_loss_and_one_that_stays_away_is() {
    let mut data = written(b"v");
    data.died(0, false, &ring(), 20);
    data.died(1, false, &ring(), 21);
    assert!(matches!(
        data.judge(&key(), None, 22),
        Judgement::LostExplained(_)
    ));
    data.returned(0, 23);
    assert!(is_lost(&data.judge(&key(), None, 23)));
}

#[test]
fn the_bound_counts_majorities_lost_for_good_at_once_and_nothing_else() {
    let mut data = written(b"v");
    assert_eq!(data.bound(20), 0);
    data.died(0, true, &ring(), 20);
    assert_eq!(data.bound(21), 0, "a minority");
    data.died(1, false, &ring(), 30);
    assert_eq!(data.bound(31), 1, "a majority, if host 1 never comes back");
    data.returned(1, 32);
    assert_eq!(data.bound(33), 0, "it came back");
    data.died(1, true, &ring(), 34);
    assert_eq!(data.bound(35), 1);
    assert_eq!(data.bound(HOUR + 11), 0, "it would have expired");
}

#[test]
fn deaths_with_a_repair_between_them_do_not_add_up_to_a_bound() {
    let mut data = written(b"v");
    let mut alive = [true; 6];
    for (dead, heir) in [(0_u32, 3_u32), (1, 4), (2, 5)] {
        data.died(dead, true, &ring(), 20);
        alive[dead as usize] = false;
        data.stored(heir, &key(), Some(version(5)), 25);
        data.close_windows(|host| alive[host as usize], 3, 20);
    }
    assert_eq!(data.bound(31), 0);
}

#[test]
fn a_loss_explained_by_hosts_that_came_back_exceeds_the_bound() {
    let mut data = written(b"v");
    data.died(0, false, &ring(), 20);
    data.died(1, false, &ring(), 20);
    let judged = data.judge(&key(), None, 21);
    assert!(matches!(judged, Judgement::LostExplained(_)), "{judged:?}");
    assert!(data.is_within_bound(&key()));
    data.returned(0, 22);
    data.returned(1, 22);
    assert_eq!(data.bound(23), 0);
    assert!(!data.is_within_bound(&key()));
}

#[test]
fn a_repair_that_does_not_end_is_reported_once_it_was_quiet_for_long_enough() {
    let mut data = written(b"v");
    data.died(0, true, &ring(), 20);
    let live = |host| host != 0;
    let quiet = 1_000;
    assert!(
        data.unfinished(live, 9, quiet, quiet + REPAIR_MAX)
            .is_empty()
    );
    let lines = data.unfinished(live, 9, quiet, quiet + REPAIR_MAX + 1);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("2 of 3 copies"), "{lines:?}");
    let later = quiet + 2 * REPAIR_MAX;
    assert!(data.unfinished(live, 9, quiet, later).is_empty(), "once");
}

#[test]
fn a_repair_that_ended_and_one_that_has_nothing_to_copy_are_not_missed() {
    let mut data = written(b"v");
    data.died(0, true, &ring(), 20);
    let nobody = |_| false;
    assert!(data.unfinished(nobody, 9, 20, HOUR / 2).is_empty());
    data.stored(4, &key(), Some(version(5)), 25);
    data.close_windows(|host| host != 0, 9, 26);
    assert!(
        data.unfinished(|host| host != 0, 2, 20, HOUR / 2)
            .is_empty()
    );
}

#[test]
fn copies_dropped_without_a_death_are_an_unexplained_loss() {
    let mut data = written(b"v");
    for host in 0..3 {
        data.stored(host, &key(), None, 20);
    }
    let Judgement::LostUnexplained(detail) = data.judge(&key(), None, 21) else {
        panic!("nobody died")
    };
    assert!(detail.contains("last copy dropped by host 2"), "{detail}");
    assert_eq!(data.short_of_copies(|_| true, 9, 21).len(), 1);
}

#[test]
fn holders_are_the_first_members_at_or_after_a_position() {
    let ring: Vec<(Id, u32)> = (0..4)
        .map(|host| (Id::from_prefix(u64::from(host) << 62), host))
        .collect();
    let from =
        |prefix: u64, copies| holders(&ring, Id::from_prefix(prefix), copies).collect::<Vec<_>>();
    assert_eq!(from(1 << 62, 2), [1, 2]);
    assert_eq!(from((1 << 62) + 1, 3), [2, 3, 0]);
    assert_eq!(from(u64::MAX, 9), [0, 1, 2, 3]);
}
