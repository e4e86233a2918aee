//! SIGTERM hands the data over, and its exit code says so.

mod harness;

use std::time::{Duration, Instant};

use harness::cluster::Cluster;
use harness::{gate, until};

const RING: Duration = Duration::from_secs(5);

/// The leave's own deadline, and a little for the process around it.
const LEAVE: Duration = Duration::from_secs(33);

/// Who waits for somebody that waits for him gives up at the deadline of 30 s; who does not,
/// is done long before.
const CIRCLE: Duration = Duration::from_secs(15);

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn value(number: u32) -> Vec<u8> {
    format!("value {number} ").repeat(30).into_bytes()
}

fn started(count: usize) -> Cluster {
    let mut cluster = Cluster::new(count);
    for at in 0..count {
        cluster.start(at);
    }
    cluster.await_ring(0, count, RING);
    cluster
}

#[test]
fn a_terminated_node_hands_over_even_values_of_one_copy() {
    let mut cluster = started(5);
    let mut http = cluster.http(0);
    for number in 0..200 {
        let copies = if number % 2 == 0 { "&copies=1" } else { "" };
        http.put(&key(number), copies, &value(number))
            .expect("stored");
    }
    // Each leaves in its turn, so that some of them held the only copy of something.
    for (leaving, reader, signal) in [(3, 1, "TERM"), (0, 4, "INT")] {
        cluster.process(leaving).signal(signal);
        let (code, took) = cluster.process(leaving).wait(LEAVE);
        println!(
            "{} left in {:.2} s",
            cluster.members[leaving].name,
            took.as_secs_f64()
        );
        assert_eq!(code, Some(0), "all handed over\n{}", cluster.log(leaving));
        cluster.members[leaving].process = None;
        let mut http = cluster.http(reader);
        for number in 0..200 {
            let back = http.get(&key(number)).expect("readable at once");
            assert_eq!(back, Some(value(number)), "{number}");
        }
    }
    gate("one ring of three", cluster.await_ring(1, 3, RING), RING);
}

#[test]
fn a_terminated_node_that_is_alone_keeps_its_records_on_disk_or_says_what_it_drops() {
    let mut cluster = started(1);
    let store = |cluster: &mut Cluster| {
        let mut http = cluster.http(0);
        http.put(b"kept by nobody else", "", b"x").expect("stored");
        cluster.process(0).signal("TERM");
        let (code, _) = cluster.process(0).wait(LEAVE);
        cluster.members[0].process = None;
        code
    };
    assert_eq!(store(&mut cluster), Some(0), "{}", cluster.log(0));
    cluster.start_and_wait(0);
    let back = cluster.http(0).get(b"kept by nobody else").expect("read");
    assert_eq!(back.as_deref(), Some(&b"x"[..]));
    cluster.process(0).signal("TERM");
    cluster.process(0).wait(LEAVE);

    let ini = cluster.dir().join("n1.ini");
    let text = std::fs::read_to_string(&ini).expect("it was written");
    let elsewhere: String = text
        .lines()
        .filter(|line| !line.starts_with("data_dir"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&ini, elsewhere).expect("written");
    cluster.start_and_wait(0);
    assert_eq!(store(&mut cluster), Some(4), "{}", cluster.log(0));
    let log = cluster.log(0);
    assert!(log.contains("0 records handed over, 1 not"), "{log}");
}

#[test]
fn all_nodes_terminated_at_once_end_without_waiting_for_each_other_in_a_circle() {
    let mut cluster = started(5);
    let mut http = cluster.http(0);
    for number in 0..100 {
        http.put(&key(number), "", &value(number)).expect("stored");
    }
    for at in 0..5 {
        cluster.process(at).signal("TERM");
    }
    let begin = Instant::now();
    let mut ends = Vec::new();
    for at in 0..5 {
        let (code, _) = cluster.process(at).wait(LEAVE);
        println!("{}: exit code {code:?}", cluster.members[at].name);
        ends.push(code);
    }
    gate("all five ended after", begin.elapsed(), CIRCLE);
    // What the last one holds is safe on its disk.
    let done = |code: &Option<i32>| *code == Some(0);
    assert!(ends.iter().all(done), "{ends:?}\n{}", cluster.logs());
}

/// A node waits for its heir, which stands still and which it may not give up for minutes:
/// only the second signal can end it.
#[test]
fn a_second_signal_ends_a_leave_that_cannot_finish() {
    let patience = [
        "--set",
        "ring.leave_timeout=30m",
        "--set",
        "ring.timeout_min=10m",
        "--set",
        "ring.timeout_first=10m",
        "--set",
        "ring.timeout_max=10m",
    ];
    for second in ["TERM", "INT"] {
        let mut cluster = Cluster::new(2);
        cluster.start_with(0, &patience);
        cluster.start(1);
        cluster.await_ring(0, 2, RING);
        cluster
            .http(0)
            .put(b"a key", "", b"a value")
            .expect("stored");
        cluster.process(1).signal("STOP");
        cluster.process(0).signal("TERM");
        until("it begins to hand over", LEAVE, || {
            let log = cluster.log(0);
            match log.contains("handing over") {
                true => Ok(()),
                false => Err(log),
            }
        });
        assert!(cluster.process(0).is_running(), "it waits for its heir");
        cluster.process(0).signal(second);
        let (code, took) = cluster.process(0).wait(LEAVE);
        println!("ended {:.2} s after the second signal", took.as_secs_f64());
        assert_eq!(code, Some(130), "{}", cluster.log(0));
        assert!(
            cluster.log(0).contains("without handing over"),
            "{}",
            cluster.log(0)
        );
    }
}
