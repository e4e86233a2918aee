//! The store on disk does what the store in memory does, and remembers it.

use bytes::Bytes;
use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::Span;
use chord_core::message::{Head, Version};
use chord_core::time::Instant;
use chord_net_quic::store::Store;
use chord_net_quic::store::disk::Engine;
use chord_net_quic::store::memory::Memory;
use proptest::prelude::*;

use crate::support::{at, by_memory, everything, key, open, page, put, record};
use crate::tape::Tape;

fn commands() -> impl Strategy<Value = Vec<StoreCommand>> {
    let version = |time| Version {
        time,
        writer: chord_core::id::Id::hash(b"writer"),
    };
    let a_record = (0..24_u64, 0..6_u64, 0..20_u64, any::<bool>()).prop_map(
        |(n, version, expires, tombstone)| {
            let value = [n as u8; 40];
            record(n, version, (!tombstone).then_some(&value[..]), expires)
        },
    );
    let command = prop_oneof![
        4 => proptest::collection::vec(a_record, 1..4).prop_map(put),
        1 => (0..20_u64, 0..20_u64, 0..9_u32).prop_map(|(now, bury, limit)| StoreCommand::Sweep {
            now: Instant(now),
            bury: Instant(bury),
            limit,
        }),
        1 => (0..24_u64, 0..6_u64).prop_map(move |(n, time)| StoreCommand::Discard {
            heads: vec![Head { key: key(n), version: version(time), copies: 1 }],
        }),
        1 => (0..24_u64).prop_map(|n| StoreCommand::Get { key: key(n) }),
        1 => (0..24_u64, 0..24_u64, 0..400_u32).prop_map(|(a, b, bytes_max)| {
            StoreCommand::GetMany { keys: vec![key(a), key(b)], bytes_max }
        }),
        1 => (0..24_u64, 0..24_u64).prop_map(|(a, b)| StoreCommand::Heads {
            keys: vec![key(a), key(b)],
        }),
        2 => (0..24_u64, 0..24_u64).prop_map(|(from, upto)| StoreCommand::Sums {
            span: Span::new(key(from).position(), key(upto).position()),
        }),
        3 => (0..24_u64, 0..24_u64, proptest::option::of(0..24_u64), 0..900_u32, any::<bool>())
            .prop_map(|(from, upto, after, bytes_max, lists)| {
                let span = Span::new(key(from).position(), key(upto).position());
                let after = after.map(key);
                if lists {
                    StoreCommand::List { span, after, bytes_max }
                } else {
                    StoreCommand::Scan { span, after, bytes_max }
                }
            }),
    ];
    proptest::collection::vec(command, 1..40)
}

fn on_disk(engine: &Engine, commands: &[StoreCommand]) -> Vec<StoreAnswer> {
    let mut rest = commands.iter().cloned();
    let written = engine
        .write(at(0), &mut || rest.next())
        .expect("a sound disk");
    let read = |(answer, command): (Option<StoreAnswer>, &StoreCommand)| {
        answer.unwrap_or_else(|| {
            let read = engine.read(std::slice::from_ref(command));
            read.expect("a sound disk")
                .remove(0)
                .expect("it writes or it reads")
        })
    };
    written.into_iter().zip(commands).map(read).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_disk_agrees_with_memory_and_still_does_after_a_restart(
        commands in commands(), together in any::<bool>(),
    ) {
        let tape = Tape::default();
        let (engine, _) = open(tape.clone()).expect("a sound disk");
        let mut memory = Memory::new();
        let writes = |command: &StoreCommand| matches!(
            command,
            StoreCommand::Put { .. } | StoreCommand::Discard { .. } | StoreCommand::Sweep { .. }
        );
        if together {
            // One group: each command sees what those before it did.
            let commands: Vec<_> = commands.into_iter().filter(writes).collect();
            let expected: Vec<_> =
                commands.iter().map(|command| by_memory(&mut memory, command.clone())).collect();
            prop_assert_eq!(on_disk(&engine, &commands), expected);
        } else {
            for command in commands {
                let expected = by_memory(&mut memory, command.clone());
                prop_assert_eq!(on_disk(&engine, &[command]), vec![expected]);
            }
        }
        prop_assert_eq!(engine.stats(), memory.stats());
        let all = page(Some(by_memory(&mut memory, everything())));
        let whole = StoreCommand::Sums { span: Span::whole(key(0).position()) };
        let sums = by_memory(&mut memory, whole.clone());
        drop(engine);
        let (engine, _) = open(tape).expect("a sound disk");
        prop_assert_eq!(engine.stats(), memory.stats());
        prop_assert_eq!(page(engine.read(&[everything()]).expect("reads").remove(0)), all);
        prop_assert_eq!(engine.read(&[whole]).expect("reads").remove(0), Some(sums));
    }
}

#[test]
fn the_life_after_a_restart_is_later_and_knows_the_highest_version() {
    let tape = Tape::default();
    let (engine, first) = open(tape.clone()).expect("opens");
    assert!(!first.crashed);
    let mut puts = vec![
        put(vec![record(1, 77, Some(b"x"), 9)]),
        put(vec![record(2, 70, None, 9)]),
    ]
    .into_iter();
    engine.write(at(5), &mut || puts.next()).expect("writes");
    drop(engine);
    let (engine, second) = open(tape.clone()).expect("opens");
    assert!(second.crashed && second.incarnation > first.incarnation);
    assert_eq!(second.clock, 77);
    engine.close(at(6)).expect("closes");
    let (_engine, third) = open(tape).expect("opens");
    assert!(!third.crashed && third.incarnation > second.incarnation);
}

#[test]
fn a_value_of_the_largest_size_and_a_page_of_many_come_back() {
    let (engine, _) = open(Tape::default()).expect("opens");
    let value = Bytes::from(vec![7; chord_core::message::VALUE_MAX]);
    let mut puts = (0..20).map(|n| put(vec![record(n, 1, Some(&value), 9)]));
    engine.write(at(0), &mut || puts.next()).expect("writes");
    let keys = (0..20).map(key).collect();
    let answers = engine
        .read(&[StoreCommand::GetMany {
            keys,
            bytes_max: 16 << 20,
        }])
        .expect("reads");
    let records = page(answers.into_iter().next().flatten());
    assert!(
        records.len() > 10 && records.len() < 20,
        "bounded: {}",
        records.len()
    );
    assert!(records.iter().all(|record| record.value == value));
}
