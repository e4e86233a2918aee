//! Power cuts at every write and every sync of a workload.

use std::collections::BTreeMap;

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::message::Record;
use chord_net_quic::store::Stats;
use chord_net_quic::store::Store;
use chord_net_quic::store::disk::Engine;
use chord_net_quic::store::memory::Memory;

use crate::images::{Syncs, at_each_point};
use crate::support::{
    Chance, Driven, at, by_memory, discard, everything, open, page, put, quiet, record, sweep,
};
use crate::tape::{Op, Tape};

/// What must be true from a point of the run on.
#[derive(Clone, Debug)]
struct Promise {
    /// So many operations had been issued.
    from: usize,
    /// So many commands are done, or so many lives have begun.
    count: usize,
}

/// A recorded run.
#[derive(Debug)]
struct Run {
    ops: Vec<Op>,
    /// What the store holds after so many commands.
    states: Vec<(Vec<Record>, Stats)>,
    submitted: Vec<Promise>,
    acknowledged: Vec<Promise>,
    /// Lives whose beginning was reported.
    lives: Vec<Promise>,
}

/// When the answer to a write leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replies {
    AfterCommit,
    BeforeCommit,
}

fn latest(promises: &[Promise], point: usize) -> usize {
    let until = promises.partition_point(|promise| promise.from <= point);
    promises[..until].last().map_or(0, |promise| promise.count)
}

/// Commands that come one after the other: new records, newer ones, older ones, large ones,
/// deletions, lifetimes that end, records that were handed over.
fn commands(chance: &mut Chance, turn: u64) -> Vec<StoreCommand> {
    let count = 1 + chance.below(6);
    let mut commands = Vec::new();
    for n in 0..count {
        let version = turn * 10 + n;
        let name = chance.below(40);
        let length = [3, 40, 700, 5_000][chance.below(4) as usize];
        let value = vec![chance.next() as u8; length];
        let expires = 10 + chance.below(600);
        commands.push(match chance.below(10) {
            0 => put(vec![record(name, version, None, expires)]),
            1 => discard(name, version.saturating_sub(chance.below(100))),
            2 => sweep(turn * 5, (turn * 5).saturating_sub(60), 5),
            3 => put(vec![record(
                name,
                version.saturating_sub(300),
                Some(&value),
                expires,
            )]),
            4 => {
                let name = |n| (name + n) % 40;
                put((0..4)
                    .map(|n| record(name(n), version, Some(&value), expires))
                    .collect())
            }
            _ => put(vec![record(name, version, Some(&value), expires)]),
        });
    }
    commands
}

/// Three lives of a store: the first two end in order and by a crash.
fn run(turns: u64, replies: Replies) -> Run {
    let tape = Tape::recording();
    let mut memory = Memory::new();
    let mut chance = Chance(1);
    let mut run = Run {
        ops: Vec::new(),
        states: vec![(Vec::new(), Stats::default())],
        submitted: Vec::new(),
        acknowledged: Vec::new(),
        lives: Vec::new(),
    };
    for life in 0..3 {
        let (engine, found) = open(tape.clone()).expect("a sound disk");
        assert_eq!(found.crashed, life == 2, "life {life}");
        run.lives.push(Promise {
            from: tape.length(),
            count: found.incarnation as usize,
        });
        if life == 1 {
            // Without its threads, so that it is dropped as a crash would: not in order.
            let mut group = commands(&mut chance, life * turns).into_iter();
            run.submit(&mut memory, group.as_slice(), tape.length());
            engine
                .write(at(life), &mut || group.next())
                .expect("a sound disk");
            run.acknowledge(tape.length());
            drop(engine);
            continue;
        }
        let mut driven = Driven::new(engine);
        for turn in 0..turns {
            let group = commands(&mut chance, life * turns + turn);
            let expected = run.submit(&mut memory, &group, tape.length());
            if replies == Replies::BeforeCommit {
                run.acknowledge(tape.length());
            }
            let answers = driven.run(group, at(life * turns + turn));
            assert!(answers.into_iter().eq(expected.into_iter().map(Ok)));
            run.acknowledge(tape.length());
        }
    }
    run.ops = std::mem::take(&mut tape.state().ops);
    run
}

impl Run {
    fn submit(
        &mut self,
        memory: &mut Memory,
        commands: &[StoreCommand],
        from: usize,
    ) -> Vec<StoreAnswer> {
        let mut answers = Vec::new();
        for command in commands {
            answers.push(by_memory(memory, command.clone()));
            let all = page(Some(by_memory(memory, everything())));
            self.states.push((all, memory.stats()));
        }
        let count = self.states.len() - 1;
        self.submitted.push(Promise { from, count });
        answers
    }

    fn acknowledge(&mut self, from: usize) {
        let count = self.states.len() - 1;
        self.acknowledged.push(Promise { from, count });
    }

    /// The first point at which a crash is of interest: the file was made, which is done
    /// under another name.
    fn first(&self) -> usize {
        self.lives[0].from
    }

    /// What is wrong with what is found after a crash at a point.
    fn violation(&self, point: usize, bytes: Vec<u8>) -> Option<String> {
        let tape = Tape::of(bytes);
        let (engine, found) = match open(tape) {
            Ok(opened) => opened,
            Err(error) => return Some(format!("it does not open: {error:?}")),
        };
        let told = latest(&self.lives, point);
        if (found.incarnation as usize) <= told {
            return Some(format!("life {} after life {told}", found.incarnation));
        }
        let all = match engine.read(&[everything()]) {
            Ok(answers) => page(answers.into_iter().next().flatten()),
            Err(fault) => return Some(format!("it cannot be read: {fault:?}")),
        };
        let (least, most) = (
            latest(&self.acknowledged, point),
            latest(&self.submitted, point),
        );
        let holds =
            |(state, stats): &(Vec<Record>, Stats)| *state == all && *stats == engine.stats();
        if !self.states[least..=most].iter().any(holds) {
            return Some(format!("it holds no state between {least} and {most}"));
        }
        point
            .is_multiple_of(16)
            .then(|| inconsistent(&engine))
            .flatten()
    }

    /// Every crash image of every point, on two threads: how many there were, and what was
    /// wrong with how many.
    fn enumerate(&self, syncs: Syncs) -> (usize, BTreeMap<String, usize>) {
        quiet();
        let (first, end) = (self.first(), self.ops.len() + 1);
        let middle = first + (end - first) / 2;
        let part = |points| {
            let (mut count, mut wrong) = (0, BTreeMap::new());
            at_each_point(&self.ops, points, syncs, &mut |point, variant, bytes| {
                count += 1;
                if let Some(what) = self.violation(point, bytes) {
                    *wrong.entry(format!("{variant}: {what}")).or_insert(0) += 1;
                }
            });
            (count, wrong)
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| part(middle..end));
            let (mut count, mut wrong) = part(first..middle);
            let (more, others) = other.join().expect("no panic");
            count += more;
            for (what, times) in others {
                *wrong.entry(what).or_insert(0) += times;
            }
            (count, wrong)
        })
    }
}

/// Whether the index of lifetimes names every record: a sweep at the end of time takes all.
fn inconsistent(engine: &Engine) -> Option<String> {
    let mut sweeps = [sweep(u64::MAX - 1, u64::MAX - 1, u32::MAX)].into_iter();
    match engine.write(at(0), &mut || sweeps.next()) {
        Ok(_) if engine.stats() == Stats::default() => None,
        other => Some(format!(
            "a sweep of all left {:?}: {other:?}",
            engine.stats()
        )),
    }
}

#[test]
fn no_power_cut_loses_or_revives_anything() {
    let run = run(30, Replies::AfterCommit);
    let (count, wrong) = run.enumerate(Syncs::Kept);
    println!("{} operations, {count} crash points", run.ops.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count >= 20_000, "only {count} crash points");
}

#[test]
fn a_disk_that_ignores_syncs_is_found_out() {
    let run = run(6, Replies::AfterCommit);
    let (count, wrong) = run.enumerate(Syncs::Ignored(40));
    let losses = losses(&wrong);
    println!("{losses} losses at {count} crash points");
    assert!(losses > 0, "{wrong:#?}");
}

/// Of what went wrong, the losses: the store opens, and what it holds was never acknowledged
/// together.
fn losses(wrong: &std::collections::BTreeMap<String, usize>) -> usize {
    let lost = |what: &&String| what.contains("it holds no state");
    let lost = wrong.iter().filter(|(what, _)| lost(what));
    lost.map(|(_, count)| count).sum()
}

#[test]
fn replies_before_the_commit_are_found_out() {
    let run = run(6, Replies::BeforeCommit);
    let (count, wrong) = run.enumerate(Syncs::Kept);
    let losses = losses(&wrong);
    println!("{losses} losses at {count} crash points");
    assert!(losses > 0, "{wrong:#?}");
}
