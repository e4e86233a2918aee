use super::*;

fn plan(text: &str) -> Result<Plan, PlanError> {
    Plan::from_toml(text, "test", &[])
}

fn refused(text: &str) -> String {
    plan(text).expect_err(text).to_string()
}

const FULL: &str = r#"
[run]
name = "everything"
seed = 42
duration = "10m"
warmup = "1m"
quiet = "2m"
codec = true
checks = { cheap = "never", full = "1s" }

[nodes]
count = 24
bootstrap = "flash"

[ring]
successors = 8
copies_max = 4
stabilise_max = "2s"
page_bytes = "64KiB"
jitter = false

[latency]
model = "exponential"
mean = "50ms"

[disk]
read = "10us"
write = "1ms"
sync = "never"

[churn]
joins = "2/min"
crashes = "1/30s"
leaves = "1/min"
kept = 0.5
back = 1
down = "10s"
members_min = 10

[work]
lookups = { rate = "1/30s per node", keys = "uniform" }
records = { rate = "1/s", mix = { put = 1, get = 9 }, size = "1KiB", copies = 3 }

[faults]
drop = 0.02
duplicate = 0.001
reorder = 0.1
reorder_by = "100ms"

[[fault]]
at = "2m"
for = "30s"
kind = "partition"
split = "arc(0.3)"

[[fault]]
at = "5m"
every = "1m"
times = 3
kind = "crash"
which = [0, 3]
disk = "torn"
spread = "2s"

[expect]
lookup_success = ">= 0.99"
converged_within = "60s"
"#;

#[test]
fn every_section_is_read() {
    let plan = plan(FULL).expect("a good scenario");
    assert_eq!(
        (plan.name.as_str(), plan.seed, plan.nodes),
        ("everything", 42, 24)
    );
    assert_eq!(
        (plan.duration, plan.warmup, plan.check_full),
        (600_000_000, 60_000_000, 1_000_000)
    );
    assert!(plan.codec && !plan.check_always);
    assert_eq!(plan.bootstrap, Bootstrap::Flash);
    assert_eq!(
        (plan.ring.successors, plan.ring.page_bytes, plan.ring.jitter),
        (8, 65_536, false)
    );
    assert_eq!(plan.ring.stabilise_max, Micros::from_secs(2));
    assert_eq!(plan.latency, Latency::Exponential { mean: 50_000.0 });
    assert_eq!(plan.disk.sync, Syncing::Never);
    assert_eq!(
        plan.churn.crashes,
        Some(Rate {
            interval: 30e6,
            per_node: false
        })
    );
    let records = plan.records.expect("has record work");
    assert_eq!(
        (records.mix, records.size, records.copies),
        ([1, 9, 0, 0], 1_024, 3)
    );
    assert_eq!(plan.background.reorder_by, 100_000);
    let [partition, crash] = &plan.faults[..] else {
        panic!("{:?}", plan.faults)
    };
    assert_eq!(partition.lasts, Some(30_000_000));
    assert_eq!(
        partition.kind,
        FaultKind::Partition {
            split: Split::Arc(0.3),
            one_way: false
        }
    );
    assert_eq!((crash.times, crash.every), (3, 60_000_000));
    let whom = Whom::These(vec![0, 3]);
    assert_eq!(
        crash.kind,
        FaultKind::Crash {
            whom,
            disk: DiskFate::Torn,
            gap: 0,
            spread: 2_000_000,
        }
    );
    assert_eq!(plan.expect.len(), 2);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let cases = [
        ("[run]\nduraton = \"1m\"", "run.duration is missing"),
        (
            "[run]\nduration = \"1m\"\nwarmpu = \"1m\"",
            "did you mean `warmup`?",
        ),
        (
            "[run]\nduration = \"1m\"\n[ring]\nsucessors = 3",
            "did you mean `successors`?",
        ),
        (
            "[run]\nduration = \"1m\"\n[chrun]\n",
            "did you mean `churn`?",
        ),
        (
            "[run]\nduration = \"1m\"\n[faults]\ndrops = 0.1",
            "did you mean `drop`?",
        ),
        (
            "[run]\nduration = \"1m\"\n[expect]\nlookup_sucess = \">= 1\"",
            "lookup_success",
        ),
        (
            "[run]\nduration = \"1m\"\n[[fault]]\nkind = \"leave\"\nat = \"1s\"\nnode = 1",
            "`nodes`",
        ),
    ];
    for (text, part) in cases {
        let message = refused(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn a_value_without_unit_or_out_of_range_is_refused_with_a_remedy() {
    let cases = [
        (
            "[run]\nduration = 600",
            "run.duration = 600 makes no sense: write a duration",
        ),
        (
            "[run]\nduration = \"1m\"\n[faults]\ndrop = 2",
            "a probability from 0 to 1",
        ),
        (
            "[run]\nduration = \"1m\"\n[nodes]\ncount = -1",
            "a whole number",
        ),
        (
            "[run]\nduration = \"1m\"\n[nodes]\ncount = 0",
            "1 to 1_000_000",
        ),
        (
            "[run]\nduration = \"1m\"\n[nodes]\nbootstrap = \"magic\"",
            "one-by-one",
        ),
        (
            "[run]\nduration = \"1m\"\n[disk]\nsync = \"sometimes\"",
            "\"before\", \"after\" or \"never\"",
        ),
        (
            "[run]\nduration = \"1m\"\n[ring]\ncopies = 9",
            "copies = 9: choose 1 to",
        ),
        (
            "[run]\nduration = \"1m\"\n[ring]\npage_bytes = 512",
            "a size such as",
        ),
        (
            "[run]\nduration = \"1m\"\n[latency]\nmodel = \"warp\"",
            "exponential",
        ),
        (
            "[run]\nduration = \"1m\"\n[latency]\nlow = \"9s\"",
            "swap them",
        ),
        (
            "[run]\nduration = \"1m\"\n[work]\nlookups = {}",
            "work.lookups.rate is missing",
        ),
        (
            "[run]\nduration = \"1m\"\n[work]\nrecords = { rate = \"1/s\", mix = {} }",
            "weights",
        ),
        (
            "[run]\nduration = \"1m\"\nwarmup = \"1ms\"",
            "the nodes need",
        ),
        (
            "[run]\nduration = \"1m\"\n[[fault]]\nkind = \"leave\"\nat = \"2m\"",
            "after the end",
        ),
        (
            "[run]\nduration = \"1m\"\n[[fault]]\nkind = \"flood\"\nat = \"1s\"",
            "\"blackhole\"",
        ),
        (
            "[run]\nduration = \"1m\"\n[[fault]]\nkind = \"pause\"\nat = \"1s\"",
            "for is missing",
        ),
        ("[run]\nduration = \"1m\"\n[run]", "not valid TOML"),
    ];
    for (text, part) in cases {
        let message = refused(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn overrides_set_values_that_exist_and_values_that_do_not() {
    let overrides = [
        "run.duration=5m",
        "nodes.count=3",
        "faults.drop = 0.5",
        "fault.0.split=half",
        "disk.read=\"2ms\"",
    ]
    .map(str::to_owned);
    let plan = Plan::from_toml(FULL, "test", &overrides[..1]).map(|plan| plan.duration);
    // The second fault begins at 5 min, which the shorter run no longer reaches.
    assert!(
        matches!(plan, Err(PlanError::Contradiction { .. })),
        "{plan:?}"
    );
    let plan = Plan::from_toml(FULL, "test", &overrides[1..]).expect("good overrides");
    assert_eq!(plan.nodes, 3);
    assert_eq!(Some(plan.background.drop), Probability::new(0.5));
    let FaultKind::Partition { split, .. } = plan.faults[0].kind else {
        panic!("a partition")
    };
    assert_eq!(split, Split::Half);
    assert_eq!(plan.disk.read, 2_000);
}

#[test]
fn a_bad_override_is_refused() {
    for text in [
        "run.duration",
        "=3",
        "run..x=1",
        "run.name.deep=1",
        "fault.9.at=1s",
    ] {
        let refused = Plan::from_toml(FULL, "test", &[text.to_owned()]);
        assert!(
            matches!(refused, Err(PlanError::Override { .. })),
            "{text}: {refused:?}"
        );
    }
    let unknown = Plan::from_toml(FULL, "test", &["run.sede=1".to_owned()]);
    assert!(
        matches!(unknown, Err(PlanError::UnknownKey { .. })),
        "{unknown:?}"
    );
}
