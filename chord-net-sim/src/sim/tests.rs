use std::collections::BTreeSet;

use bytes::Bytes;
use chord_core::event::{
    Action, CallError, Class, Command, Event, OpId, StoreCommand, Terms, Ticket,
};
use chord_core::id::Id;
use chord_core::message::{Header, OperationId, Record, Request, Response, Version};
use chord_core::peer::Peer;
use chord_core::time::Instant as Mono;

use super::*;
use crate::host::{Asked, addr_of};
use crate::plan::DiskFate;
use crate::report::Verdict;

fn plan(text: &str) -> Plan {
    Plan::from_toml(text, "test", &[]).expect("a good plan")
}

const BUSY: &str = r#"
[run]
duration = "20s"
warmup = "10s"
quiet = "30s"
codec = true

[nodes]
count = 5

[latency]
model = "exponential"
mean = "10ms"

[work]
lookups = { rate = "5/s" }
records = { rate = "5/s", mix = { put = 1, get = 1 } }

[faults]
drop = 0.02
"#;

#[test]
fn a_run_depends_on_its_seed_and_on_nothing_else() {
    let plan = plan(BUSY);
    let hash = |seed| run(&plan, seed, &mut |_| {}).trace_hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
    assert!(matches!(twice(&plan, 3, &mut |_| {}), Twice::Same(_)));
}

#[test]
fn a_clone_of_the_world_has_the_same_future() {
    let plan = plan(BUSY);
    let mut world = World::new(&plan, 4);
    world.run_until(15_000_000);
    let mut other = world.clone();
    world.run_until(40_000_000);
    other.run_until(40_000_000);
    assert!(world.trace().events() > 0);
    assert_eq!(world.trace().hash(), other.trace().hash());
}

#[test]
fn a_fault_that_never_fires_makes_a_run_vacuous() {
    let quiet = plan("[run]\nduration = \"10s\"\n[nodes]\ncount = 3");
    let report = run(&quiet, 1, &mut |_| {});
    assert_eq!(report.verdict, Verdict::Pass, "{report}");

    // No host 99 exists, so nobody crashes.
    let never = "[run]\nduration = \"10s\"\n[nodes]\ncount = 3\n\
                 [[fault]]\nkind = \"crash\"\nat = \"1s\"\nwhich = [99]";
    let report = run(&plan(never), 1, &mut |_| {});
    assert_eq!(report.verdict, Verdict::Vacuous, "{report}");
    assert!(report.to_string().contains("NEVER FIRED"), "{report}");
}

#[test]
fn an_expectation_that_is_not_met_fails_a_run() {
    let impossible = "[run]\nduration = \"10s\"\n[nodes]\ncount = 3\n\
                      [work]\nlookups = { rate = \"1/s\" }\n\
                      [expect]\nlookup_p50 = \">= 100s\"";
    let report = run(&plan(impossible), 1, &mut |_| {});
    assert_eq!(report.verdict, Verdict::Fail);
    let [violation] = &report.violations[..] else {
        panic!("{report}")
    };
    assert_eq!(violation.invariant, "expect");
}

/// A world with two hosts that are up.
fn pair() -> World {
    let plan = plan("[run]\nduration = \"1h\"\n[nodes]\ncount = 2\ninterval = \"1us\"");
    let mut world = World::new(&plan, 1);
    world.run_until(5_000_000);
    assert!(world.hosts().iter().all(|host| host.is_up()));
    world
}

fn invariants(world: &World) -> Vec<&str> {
    world
        .violations()
        .kept()
        .iter()
        .map(|violation| violation.invariant.as_str())
        .collect()
}

fn call(world: &World, op: u64, to: Peer) -> Action {
    let deadline = Mono(world.now() + 1_000_000);
    let terms = Terms {
        deadline,
        class: Class::Ring,
        trace: 0,
    };
    Action::Call {
        op: OpId(op),
        to,
        terms,
        request: Request::Ping,
    }
}

/// An operation number no node mints.
const FOREIGN: u64 = u64::MAX - 7;

#[test]
fn a_ticket_answered_twice_or_never_minted_is_a_violation() {
    let mut world = pair();
    assert!(invariants(&world).is_empty());
    let reply = Action::Reply {
        ticket: Ticket(u64::MAX),
        response: Response::Done,
    };
    world.execute(0, reply);
    assert_eq!(invariants(&world), ["ticket-once"]);
}

#[test]
fn a_ticket_never_answered_is_a_violation_once_it_is_due() {
    let mut world = pair();
    let due = world.now() + 1_000_000;
    let process = world.hosts[1].process.as_mut().expect("up");
    process.open(Asked::Join, due);
    world.run_until(due - 1);
    world.check_ring();
    assert!(invariants(&world).is_empty());
    world.run_until(due + 20_000_000);
    assert!(
        invariants(&world).contains(&"ticket-overdue"),
        "{:?}",
        invariants(&world)
    );
}

#[test]
fn an_operation_used_twice_is_a_violation() {
    let mut world = pair();
    let peer = world.hosts()[1].peer();
    let action = call(&world, FOREIGN, peer);
    world.execute(0, action.clone());
    assert!(invariants(&world).is_empty());
    world.execute(0, action);
    let command = StoreCommand::Discard { heads: Vec::new() };
    world.execute(
        0,
        Action::Store {
            op: OpId(FOREIGN),
            command,
        },
    );
    assert_eq!(invariants(&world), ["operation-once", "operation-once"]);
}

#[test]
fn messages_that_go_astray_are_a_violation_at_the_end() {
    let text = "[run]\nduration = \"1s\"\nquiet = \"1s\"\n[nodes]\ncount = 1";
    let mut world = World::new(&plan(text), 1);
    world.run_until(1_000_000);
    world.messages.sent += 1;
    while !world.is_finished() && world.step() {}
    assert_eq!(invariants(&world), ["messages-add-up"]);
}

/// What node 0 hears about a call, within two seconds.
fn answer_to(world: &mut World, to: Peer) -> Option<Result<(), CallError>> {
    let action = call(world, FOREIGN, to);
    world.trace_mut().watch(Watch {
        hosts: vec![0],
        ..Watch::all()
    });
    world.execute(0, action);
    let until = world.now() + 2_000_000;
    world.run_until(until);
    let named = format!("op: {:?}", OpId(FOREIGN));
    let line = world
        .trace()
        .lines()
        .iter()
        .find(|line| line.contains(&named))?
        .clone();
    if line.contains("result: Ok(") {
        return Some(Ok(()));
    }
    let errors = [
        CallError::Unreachable,
        CallError::Restarted { incarnation: 2 },
    ];
    let named = |error: &CallError| line.contains(&format!("result: Err({error:?})"));
    errors.into_iter().find(named).map(Err)
}

#[test]
fn a_call_to_a_wrong_id_or_to_nobody_is_unreachable() {
    let mut world = pair();
    let mut wrong = world.hosts()[1].peer();
    wrong.id = chord_core::id::Id::MAX;
    assert_eq!(
        answer_to(&mut world.clone(), wrong),
        Some(Err(CallError::Unreachable))
    );
    let nobody = Peer {
        addr: addr_of(77),
        ..wrong
    };
    assert_eq!(
        answer_to(&mut world, nobody),
        Some(Err(CallError::Unreachable))
    );
}

#[test]
fn a_call_to_an_earlier_life_is_answered_restarted_and_a_seed_is_whoever_is_there() {
    let mut world = pair();
    let before = world.hosts()[1].peer();
    world.crash(1, DiskFate::Kept);
    let silence = answer_to(&mut world.clone(), before);
    assert_eq!(silence, None, "a host that is down stays silent");
    world.start(1);
    let after = answer_to(&mut world.clone(), before);
    assert_eq!(after, Some(Err(CallError::Restarted { incarnation: 2 })));
    let reached = |to| answer_to(&mut world.clone(), to).expect("an answer");
    assert_eq!(
        reached(Peer {
            incarnation: 0,
            ..before
        }),
        Ok(())
    );
    assert_eq!(reached(Peer::seed(before.addr)), Ok(()));
}

#[test]
fn a_process_that_stands_still_hears_everything_later() {
    let mut world = pair();
    world.pause(1, 500_000);
    let peer = world.hosts()[1].peer();
    let action = call(&world, FOREIGN, peer);
    world.trace_mut().watch(Watch {
        hosts: vec![1],
        ..Watch::all()
    });
    let resumed = world.now() + 500_000;
    world.execute(0, action);
    world.run_until(resumed - 1);
    assert!(
        world.trace().lines().is_empty(),
        "{:?}",
        world.trace().lines()
    );
    world.run_until(resumed + 100_000);
    assert!(
        world
            .trace()
            .lines()
            .iter()
            .any(|line| line.contains("Ping"))
    );
}

#[test]
fn a_crash_ends_tickets_and_loses_what_the_disk_does_not_keep() {
    let mut world = pair();
    let events = world.trace().events();
    world.command(1, Asked::Join, u64::MAX, Command::Status);
    assert_eq!(world.trace().events(), events + 1);
    world.crash(1, DiskFate::Wiped);
    assert!(!world.hosts()[1].is_up() && world.hosts()[1].disk.is_empty());
    world.handle(1, Event::Wake);
    assert_eq!(world.hosts().iter().filter(|host| host.is_up()).count(), 1);
    world.start(1);
    assert_eq!(world.hosts()[1].incarnation, 2);
}

/// A host that has been answered one write, was given more, and crashes before it is answered
/// those: the numbers of the writes that its disk holds afterwards.
fn written_at_a_crash(seed: u64, disk: DiskFate) -> Vec<u64> {
    const PENDING: u64 = 4;
    let plan = plan("[run]\nduration = \"1h\"\n[nodes]\ncount = 1\n[disk]\nwrite = \"10ms\"");
    let mut world = World::new(&plan, seed);
    world.run_until(1_000_000);
    let key = |n: u64| super::work::record_key(n);
    let write = |world: &mut World, n: u64| {
        let header = Header {
            version: Version {
                time: 1 + n,
                writer: Id::ZERO,
            },
            operation: OperationId::default(),
            copies: 1,
            tombstone: false,
            expires: Mono(u64::MAX),
            shadow: Mono(u64::MAX),
        };
        let record = Record {
            key: key(n),
            value: Bytes::new(),
            header,
        };
        let command = StoreCommand::Put {
            records: vec![record],
        };
        let op = OpId(FOREIGN + n);
        world.execute(0, Action::Store { op, command });
    };
    write(&mut world, 0);
    world.run_until(1_900_000);
    (1..=PENDING).for_each(|n| write(&mut world, n));
    world.crash(0, disk);
    world.run_until(2_500_000);
    let disk = &world.hosts()[0].disk;
    let there = (0..=PENDING).filter(|n| disk.get(&key(*n)).is_some());
    there.collect()
}

#[test]
fn a_power_cut_keeps_every_answered_write_and_some_of_the_others() {
    assert_eq!(written_at_a_crash(1, DiskFate::Kept), [0, 1, 2, 3, 4]);
    assert_eq!(written_at_a_crash(1, DiskFate::Wiped), []);
    let torn = |seed| written_at_a_crash(seed, DiskFate::Torn);
    let seen: BTreeSet<Vec<u64>> = (0..400).map(torn).collect();
    assert!(seen.iter().all(|there| there[0] == 0), "the answered one");
    assert_eq!(seen.len(), 16, "every subset of the other four: {seen:?}");
    assert_eq!(torn(7), torn(7));
}

#[test]
fn a_wall_clock_jumps_there_and_back_and_the_monotonic_one_goes_on() {
    let plan = plan(
        "[run]\nduration = \"1h\"\nwarmup = \"1s\"\n[nodes]\ncount = 2\ninterval = \"1us\"\n\
         [clock]\noffset = \"2s\"\n\
         [[fault]]\nkind = \"clock\"\nat = \"10s\"\nfor = \"5s\"\nwhich = [1]\nby = [\"-10y\"]",
    );
    let mut world = World::new(&plan, 1);
    world.run_until(5_000_000);
    let before = [0, 1].map(|host| world.clocks(host));
    assert_ne!(before[0].wall, before[1].wall, "off from the start");
    assert!(before[0].wall.abs_diff(before[1].wall) <= 4_000_000);
    world.run_until(12_000_000);
    let clocks = [0, 1].map(|host| world.clocks(host));
    assert_eq!(clocks[0].wall, before[0].wall + 7_000_000);
    let years = 10 * 365 * 86_400 * 1_000_000;
    assert_eq!(clocks[1].wall + years, before[1].wall + 7_000_000);
    assert_eq!(clocks.map(|now| now.mono), [Mono(12_000_000); 2]);
    world.run_until(20_000_000);
    assert_eq!(world.clocks(1).wall, before[1].wall + 15_000_000);
    assert_eq!(world.ledger.vacuous().count(), 0);
}

#[test]
fn a_host_that_is_down_can_refuse() {
    let plan = plan(
        "[run]\nduration = \"1h\"\n[nodes]\ncount = 2\ninterval = \"1us\"\n\
         [faults]\nrefused = 1",
    );
    let mut world = World::new(&plan, 1);
    world.run_until(5_000_000);
    let peer = world.hosts()[1].peer();
    world.crash(1, DiskFate::Kept);
    assert_eq!(
        answer_to(&mut world, peer),
        Some(Err(CallError::Unreachable))
    );
    assert_eq!(world.ledger.vacuous().count(), 0);
}

#[test]
fn more_explained_losses_than_the_deaths_allow_are_a_violation() {
    let text = "[run]\nduration = \"1s\"\nquiet = \"1s\"\n[nodes]\ncount = 1";
    let mut world = World::new(&plan(text), 1);
    world.run_until(1_000_000);
    world.finish.count_explained();
    while !world.is_finished() && world.step() {}
    assert_eq!(invariants(&world), ["explained-bound"]);
}

#[test]
fn a_repair_that_does_not_finish_is_a_violation() {
    let text = "[run]\nduration = \"1s\"\n[nodes]\ncount = 2\ninterval = \"1us\"";
    let mut world = World::new(&plan(text), 1);
    world.run_until(5_000_000);
    let key = super::work::record_key(1);
    let version = Version {
        time: 1,
        writer: Id::ZERO,
    };
    let now = world.now();
    world.data.begun(&key, 1, Some(1), [now, u64::MAX], 2);
    for host in 0..2 {
        world.data.stored(host, &key, Some(version), now);
    }
    let members = world.members.clone();
    let wrong = world.data.acknowledged(&key, 1, version, now, 2, true);
    assert_eq!(wrong, None);
    // The oracle believes in a copy that no disk has: nobody can repair it.
    world.data.died(1, true, &members, now);
    while !world.is_finished() && world.step() {}
    let broken = invariants(&world);
    assert!(broken.contains(&"repair-unfinished"), "{broken:?}");
}

#[test]
fn a_quorum_read_that_goes_back_is_a_violation_unless_hosts_were_kept_apart() {
    let mut world = pair();
    let key = super::work::record_key(1);
    let version = |time| Version {
        time,
        writer: Id::ZERO,
    };
    world.reads.wrote(&key, version(7), u64::MAX, true);
    let (begun, seen) = (world.now(), world.reads.seen(&key));
    let mut parted = world.clone();
    parted.owners.split(1, vec![true], begun);
    parted.check_order(begun, &key, seen, Some((version(5), u64::MAX)));
    assert_eq!(invariants(&parted), Vec::<&str>::new());
    world.check_order(begun, &key, seen, Some((version(7), u64::MAX)));
    assert_eq!(invariants(&world), Vec::<&str>::new());
    world.check_order(begun, &key, seen, Some((version(5), u64::MAX)));
    world.check_order(begun, &key, seen, None);
    assert_eq!(invariants(&world), ["quorum-read", "quorum-read"]);
}

#[test]
fn a_read_may_or_may_not_see_a_write_that_was_in_flight_and_sees_what_was_answered() {
    let text = "[run]\nduration = \"1h\"\n[nodes]\ncount = 1\n\
                [disk]\nread = \"10ms\"\nwrite = \"1ms\"";
    let mut world = World::new(&plan(text), 1);
    world.run_until(5_000_000);
    let (mut seen, mut unseen) = (0, 0);
    for n in 0..20_u64 {
        let key = super::work::record_key(1_000 + n);
        let reads = |world: &mut World, op: u64| {
            let (op, key) = (OpId(op), key.clone());
            let command = StoreCommand::Get { key };
            world.execute(0, Action::Store { op, command });
        };
        let header = Header {
            version: Version::default(),
            operation: OperationId::default(),
            copies: 1,
            tombstone: false,
            expires: Mono(u64::MAX),
            shadow: Mono(u64::MAX),
        };
        let record = Record {
            key: key.clone(),
            value: Bytes::new(),
            header,
        };
        let records = vec![record];
        let (write, first, second) = (FOREIGN - 3 * n - 2, FOREIGN - 3 * n - 1, FOREIGN - 3 * n);
        let command = StoreCommand::Put { records };
        let op = OpId(write);
        world.execute(0, Action::Store { op, command });
        reads(&mut world, first);
        world.trace_mut().watch(Watch::all());
        let answered = world.now() + 3_000;
        world.run_until(answered);
        reads(&mut world, second);
        world.run_until(answered + 50_000);
        let found = |op: u64| {
            let named = format!("op: {:?}, result: Ok(Record(Some(", OpId(op));
            let mut lines = world.trace().lines().iter();
            lines.any(|line| line.contains(&named))
        };
        assert!(
            found(second),
            "it was answered before the read was asked for"
        );
        let count = if found(first) { &mut seen } else { &mut unseen };
        *count += 1;
    }
    assert!(seen > 3 && unseen > 3, "{seen} saw it, {unseen} did not");
}
