//! Golden traces: what happens in three small worlds, event by event.
//!
//! Each `traces/NAME.toml` has a `traces/NAME.trace`: the hash of the run, then a line for every
//! event a node handled (when, who, what) and everything that was done to the world. The same
//! files are compared in every profile and on every platform, so debug and release, or two
//! machines, that differ fail here. After a change of behaviour that is meant,
//! `REGENERATE_TRACES=1 cargo test -p chord-net-sim --test traces` writes them anew: read the
//! difference before committing it.

use std::fs;
use std::path::PathBuf;

use chord_net_sim::plan::Plan;
use chord_net_sim::sim::World;
use chord_net_sim::trace::Watch;

/// The seed of every golden trace.
const SEED: u64 = 1;

fn file(name: &str, kind: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    folder.join(format!("{name}.{kind}"))
}

/// Runs a small world to the end of its duration.
fn trace(name: &str) -> String {
    let text = fs::read_to_string(file(name, "toml")).expect("the scenario is there");
    let plan = Plan::from_toml(&text, name, &[]).expect("a good scenario");
    let mut world = World::new(&plan, SEED);
    let watch = Watch {
        brief: true,
        ..Watch::all()
    };
    world.trace_mut().watch(watch);
    world.run_until(plan.warmup + plan.duration);
    assert!(
        world.violations().kept().is_empty(),
        "{:?}",
        world.violations().kept()
    );
    let trace = world.trace();
    let (hash, events) = (trace.hash(), trace.events());
    let mut out = format!("hash {hash:016x}, {events} events\n");
    for line in trace.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The first line that differs, by its number, as it was and as it is.
fn first_difference<'a>(golden: &'a str, now: &'a str) -> Option<(usize, &'a str, &'a str)> {
    let (mut golden, mut now) = (golden.lines(), now.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (golden.next(), now.next()) {
            (None, None) => return None,
            (old, new) if old == new => {}
            (old, new) => return Some((number, old.unwrap_or("(end)"), new.unwrap_or("(end)"))),
        }
    }
}

/// Events first: a different hash alone says only that something differs.
fn without_hash(trace: &str) -> &str {
    trace.split_once('\n').map_or("", |(_, events)| events)
}

fn compare(name: &str) {
    let now = trace(name);
    let path = file(name, "trace");
    if std::env::var_os("REGENERATE_TRACES").is_some() {
        fs::write(&path, &now).expect("the folder is writable");
        return;
    }
    let golden = fs::read_to_string(&path).expect("written by REGENERATE_TRACES=1");
    if let Some((line, old, new)) = first_difference(without_hash(&golden), without_hash(&now)) {
        panic!("{name}, event line {line}:\n  was {old}\n  is  {new}");
    }
    assert_eq!(
        golden.lines().next(),
        now.lines().next(),
        "{name}: only the hash differs"
    );
}

#[test]
fn three_nodes_join_as_they_always_did() {
    compare("three-join");
}

#[test]
fn four_nodes_write_and_lose_one_as_they_always_did() {
    compare("four-write-one-dies");
}

#[test]
fn five_nodes_are_parted_and_one_leaves_as_they_always_did() {
    compare("five-part-and-one-leaves");
}

#[test]
fn the_first_line_that_differs_is_found() {
    let found = first_difference;
    assert_eq!(found("a\nb\n", "a\nb\n"), None);
    assert_eq!(found("a\nb\n", "a\nc\n"), Some((2, "b", "c")));
    assert_eq!(found("a\n", "a\nb\n"), Some((2, "(end)", "b")));
    assert_eq!(found("a\nb\n", "a\n"), Some((2, "b", "(end)")));
}
