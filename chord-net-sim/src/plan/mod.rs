//! A scenario: what to simulate, as written in a TOML file.
//!
//! Units are mandatory, and a key that means nothing is refused with the name that was
//! probably meant: a scenario that silently tests something else than it says is worse
//! than none. Times inside a scenario count from the end of the warm-up.

mod error;
mod expect;
mod faults;
mod overrides;
mod ring;
mod section;
mod units;

use std::sync::Arc;

use chord_core::config::Config;
use chord_core::message::VALUE_MAX;
use chord_core::time::Micros;
use toml::Table;

pub use error::PlanError;
pub use expect::{Expectation, Metric};
pub use faults::{DiskFate, FaultKind, Scheduled, Split, Whom};
pub use units::Rate;

use crate::chance::Probability;
use crate::link::{Background, Latency};
use section::Section;

/// A whole scenario. All times are in microseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// The seed to use when none is given.
    pub seed: u64,
    /// Time before anything is measured or broken; the ring forms in it.
    pub warmup: u64,
    /// Time with churn, faults and work.
    pub duration: u64,
    /// Time after the last fault before the final checks.
    pub quiet: u64,
    /// Check each node after each of its events.
    pub check_always: bool,
    /// Time between two checks of the whole ring.
    pub check_full: u64,
    /// Encode and decode every message.
    pub codec: bool,
    /// Members at the start.
    pub nodes: u32,
    /// How they get together.
    pub bootstrap: Bootstrap,
    /// The options of the core.
    pub ring: Arc<Config>,
    /// How long messages travel.
    pub latency: Latency,
    /// How long the disk takes.
    pub disk: DiskPace,
    /// How far the wall clock of a host is off at most, either way, from its start on, in
    /// microseconds.
    pub clocks: u64,
    /// Coming and going.
    pub churn: Churn,
    /// Lookups, if any.
    pub lookups: Option<Rate>,
    /// Record operations, if any.
    pub records: Option<RecordWork>,
    /// Faults that can hit any message.
    pub background: Background,
    /// Faults that happen at their time.
    pub faults: Vec<Scheduled>,
    /// Bounds on what is measured.
    pub expect: Vec<Expectation>,
}

/// How the first members get together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bootstrap {
    /// Each joins this long after the one before.
    OneByOne {
        /// In microseconds.
        interval: u64,
    },
    /// One founds, a second later all others join at once.
    Flash,
}

/// How long a disk takes, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskPace {
    /// Mean of a read; any read takes from half to one and a half times this.
    pub read: u64,
    /// The same of a write. Writes of one disk are done in order.
    pub write: u64,
    /// When a write that was answered is durable.
    pub sync: Syncing,
}

/// When a write that was answered outlives a crash. Anything but the first is a lie, which
/// the oracle must catch: with it a scenario is a control of the oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Syncing {
    /// Before it is answered.
    Before,
    /// It is answered at once, and durable when the disk has done it.
    After,
    /// It is answered when the disk has done it, and durable [`NEVER_SYNCED`] later.
    Never,
}

impl Syncing {
    const ALL: [(&'static str, Self); 3] = [
        ("before", Self::Before),
        ("after", Self::After),
        ("never", Self::Never),
    ];
}

/// How long a file system may keep to itself what it was never told to sync, in microseconds.
pub const NEVER_SYNCED: u64 = 30_000_000;

/// Coming and going, by chance.
#[derive(Clone, PartialEq, Debug)]
pub struct Churn {
    /// New nodes.
    pub joins: Option<Rate>,
    /// Processes that end without a word.
    pub crashes: Option<Rate>,
    /// Nodes that leave with a goodbye.
    pub leaves: Option<Rate>,
    /// Share of crashes that keep the disk ([`DiskFate::Kept`]).
    pub kept: Probability,
    /// Share of crashes that tear it ([`DiskFate::Torn`]); all others wipe it.
    pub torn: Probability,
    /// Share of crashed nodes that come back.
    pub back: Probability,
    /// Mean time until they do, in microseconds.
    pub down: f64,
    /// Nobody crashes or leaves at or below this many members.
    pub members_min: u32,
    /// Nobody joins at or above this many members.
    pub members_max: u32,
}

/// What clients do with records.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RecordWork {
    /// How often.
    pub rate: Rate,
    /// Weights of put, get, delete and quorum read.
    pub mix: [u32; 4],
    /// How many different keys.
    pub keys: u32,
    /// Bytes of a value.
    pub size: u32,
    /// Lifetime of a record; 0 is the default of the core.
    pub ttl: u64,
    /// Copies; 0 is the default of the core.
    pub copies: u8,
}

impl Churn {
    /// What the draw of a crash leaves of its disk.
    #[must_use]
    pub fn disk(&self, drawn: u64) -> DiskFate {
        let survives = self.kept.or(self.torn);
        if self.kept.hit(drawn) {
            DiskFate::Kept
        } else if survives.is_some_and(|survives| survives.hit(drawn)) {
            DiskFate::Torn
        } else {
            DiskFate::Wiped
        }
    }
}

impl Plan {
    /// Whether a fault of it leaves disks without room.
    #[must_use]
    pub fn fills_disks(&self) -> bool {
        let full = |fault: &Scheduled| matches!(fault.kind, FaultKind::DiskFull { .. });
        self.faults.iter().any(full)
    }

    /// Reads a scenario and applies overrides of the form `section.key=value`.
    ///
    /// # Errors
    /// The first thing that makes no sense, and what to write instead.
    pub fn from_toml(text: &str, name: &str, overrides: &[String]) -> Result<Self, PlanError> {
        let parsed = text.parse::<Table>().map_err(|error| PlanError::Syntax {
            name: name.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        });
        let mut table = parsed?;
        for text in overrides {
            overrides::apply(&mut table, text)?;
        }
        let mut root = Section::new("", table);
        let run = root.section("run")?;
        let nodes = root.section("nodes")?;
        let ring = Arc::new(ring::read(root.section("ring")?)?);
        let latency = latency(root.section("latency")?)?;
        let disk = disk(root.section("disk")?)?;
        let mut clock = root.section("clock")?;
        let clocks = clock.duration("offset")?.unwrap_or(0);
        clock.finish()?;
        let churn = churn(root.section("churn")?, ring.successors)?;
        let mut work = root.section("work")?;
        let lookups = lookups(&mut work)?;
        let records = records(&mut work, &ring)?;
        work.finish()?;
        let background = background(root.section("faults")?)?;
        let faults: Result<Vec<_>, _> = root
            .sections("fault")?
            .into_iter()
            .map(faults::read)
            .collect();
        let expect = expect::read(root.section("expect")?)?;
        root.finish()?;

        let (nodes, bootstrap) = population(nodes)?;
        let plan = Self {
            name: name.to_owned(),
            seed: 1,
            warmup: 0,
            duration: 0,
            quiet: 0,
            check_always: true,
            check_full: 0,
            codec: false,
            nodes,
            bootstrap,
            ring,
            latency,
            disk,
            clocks,
            churn,
            lookups,
            records,
            background,
            faults: faults?,
            expect,
        };
        plan.timed(run)
    }

    /// Fills in the section `[run]`.
    fn timed(mut self, mut run: Section) -> Result<Self, PlanError> {
        if let Some(name) = run.text("name")? {
            self.name = name;
        }
        self.seed = run
            .whole("seed", "a whole number of at least 0")?
            .unwrap_or(1);
        self.duration = run.needed_duration("duration")?;
        let forming = self.bootstrap_time();
        let settled = forming + Micros::from_secs(30).0;
        self.warmup = run.duration("warmup")?.unwrap_or(settled);
        self.quiet = run.duration("quiet")?.unwrap_or(Micros::from_secs(120).0);
        self.codec = run.flag("codec")?.unwrap_or(false);
        let mut checks = run.section("checks")?;
        self.check_always = checks
            .maybe("cheap", "\"always\" or \"never\"", |value| {
                match value.as_str()? {
                    "always" => Some(true),
                    "never" => Some(false),
                    _ => None,
                }
            })?
            .unwrap_or(true);
        self.check_full = checks.duration("full")?.unwrap_or(Micros::from_secs(10).0);
        checks.finish()?;
        if self.check_full == 0 {
            return Err(PlanError::Contradiction {
                at: "run.checks.full".to_owned(),
                why: "write a time above zero between two full checks".to_owned(),
            });
        }
        if self.warmup < forming {
            return Err(PlanError::Contradiction {
                at: "run.warmup".to_owned(),
                why: format!("the nodes need {} ms to start: write more", forming / 1_000),
            });
        }
        for (n, fault) in self.faults.iter().enumerate() {
            if fault.at >= self.duration {
                return Err(PlanError::Contradiction {
                    at: format!("fault.{n}.at"),
                    why: "it begins after the end of the run: write less than `run.duration`"
                        .to_owned(),
                });
            }
        }
        run.finish()?;
        Ok(self)
    }

    /// When the last of the first members starts.
    #[must_use]
    pub fn bootstrap_time(&self) -> u64 {
        match self.bootstrap {
            Bootstrap::OneByOne { interval } => {
                interval.saturating_mul(u64::from(self.nodes.saturating_sub(1)))
            }
            Bootstrap::Flash => Micros::from_secs(1).0,
        }
    }
}

fn population(mut section: Section) -> Result<(u32, Bootstrap), PlanError> {
    let count = section.count("count")?.unwrap_or(10);
    let interval = section.duration("interval")?;
    let wanted = "\"one-by-one\" or \"flash\"";
    let flash = section.maybe("bootstrap", wanted, |value| match value.as_str()? {
        "one-by-one" => Some(false),
        "flash" => Some(true),
        _ => None,
    })?;
    let at = section.at("count");
    section.finish()?;
    // Addresses are numbered in the lower three bytes of 10.0.0.0/8.
    if !(1..=1_000_000).contains(&count) {
        return Err(PlanError::Contradiction {
            at,
            why: "write 1 to 1_000_000".to_owned(),
        });
    }
    let bootstrap = match flash {
        Some(true) => Bootstrap::Flash,
        Some(false) | None => Bootstrap::OneByOne {
            interval: interval.unwrap_or(Micros::from_millis(250).0),
        },
    };
    Ok((count, bootstrap))
}

fn latency(mut section: Section) -> Result<Latency, PlanError> {
    let wanted = "\"constant\", \"uniform\", \"exponential\" or \"lognormal\"";
    let ms = |n: u64| Micros::from_millis(n).0;
    let model = section
        .text("model")?
        .unwrap_or_else(|| "uniform".to_owned());
    let latency = match model.as_str() {
        "constant" => Latency::Constant(section.duration("delay")?.unwrap_or(ms(20))),
        "uniform" => {
            let low = section.duration("low")?.unwrap_or(ms(5));
            let high = section.duration("high")?.unwrap_or(ms(35));
            if low > high {
                let why = format!("{low} us is more than `high` = {high} us: swap them");
                return Err(PlanError::Contradiction {
                    at: section.at("low"),
                    why,
                });
            }
            Latency::Uniform { low, high }
        }
        "exponential" => Latency::Exponential {
            mean: section.duration("mean")?.unwrap_or(ms(50)) as f64,
        },
        "lognormal" => Latency::LogNormal {
            median: section.duration("median")?.unwrap_or(ms(30)) as f64,
            sigma: section.number("sigma")?.unwrap_or(0.5).min(4.0),
        },
        _ => return Err(section.wrong("model", &toml::Value::String(model), wanted)),
    };
    section.finish()?;
    Ok(latency)
}

fn disk(mut section: Section) -> Result<DiskPace, PlanError> {
    let read = section.duration("read")?.unwrap_or(50);
    let write = section.duration("write")?.unwrap_or(500);
    let wanted = "\"before\", \"after\" or \"never\"";
    let sync = section.maybe("sync", wanted, |value| {
        let name = value.as_str()?;
        let named = Syncing::ALL.iter().find(|(known, _)| *known == name);
        named.map(|(_, sync)| *sync)
    })?;
    section.finish()?;
    Ok(DiskPace {
        read,
        write,
        sync: sync.unwrap_or(Syncing::Before),
    })
}

fn churn(mut section: Section, successors: u8) -> Result<Churn, PlanError> {
    let churn = Churn {
        joins: section.rate("joins")?,
        crashes: section.rate("crashes")?,
        leaves: section.rate("leaves")?,
        kept: section.probability("kept")?,
        torn: section.probability("torn")?,
        back: section.probability("back")?,
        down: section.duration("down")?.unwrap_or(Micros::from_secs(20).0) as f64,
        // Above this the ring stays inside the premises of its proof.
        members_min: section
            .count("members_min")?
            .unwrap_or(u32::from(successors) + 1),
        members_max: section.count("members_max")?.unwrap_or(u32::MAX),
    };
    if churn.kept.or(churn.torn).is_none() {
        return Err(PlanError::Contradiction {
            at: section.at("torn"),
            why: "more than 1 with `kept`: write less".to_owned(),
        });
    }
    section.finish()?;
    Ok(churn)
}

fn lookups(work: &mut Section) -> Result<Option<Rate>, PlanError> {
    if !work.has("lookups") {
        work.section("lookups")?;
        return Ok(None);
    }
    let mut section = work.section("lookups")?;
    let rate = section.rate("rate")?;
    uniform(&mut section)?;
    let missing = PlanError::Missing {
        at: section.at("rate"),
        wanted: "how often, such as \"1/30s per node\"".to_owned(),
    };
    section.finish()?;
    Ok(Some(rate.ok_or(missing)?))
}

fn records(work: &mut Section, ring: &Config) -> Result<Option<RecordWork>, PlanError> {
    if !work.has("records") {
        work.section("records")?;
        return Ok(None);
    }
    let mut section = work.section("records")?;
    let rate = section.rate("rate")?;
    let missing = PlanError::Missing {
        at: section.at("rate"),
        wanted: "how often, such as \"0.1/s per node\"".to_owned(),
    };
    uniform(&mut section)?;
    let mix = if section.has("mix") {
        let mut mix = section.section("mix")?;
        let weight = |weight: Option<u32>| weight.unwrap_or(0);
        let weights = [
            weight(mix.count("put")?),
            weight(mix.count("get")?),
            weight(mix.count("delete")?),
            weight(mix.count("quorum")?),
        ];
        mix.finish()?;
        weights
    } else {
        section.section("mix")?;
        [1, 1, 0, 0]
    };
    let size = section.size("size")?.unwrap_or(100);
    let keys = section.count("count")?.unwrap_or(100).max(1);
    let ttl = section.duration("ttl")?.unwrap_or(0);
    let copies = section
        .whole("copies", "a whole number from 0 to 255")?
        .unwrap_or(0);
    let (size_at, mix_at, copies_at) =
        (section.at("size"), section.at("mix"), section.at("copies"));
    section.finish()?;
    if size > VALUE_MAX as u64 {
        let why = "a value holds at most 1 MiB: write less".to_owned();
        return Err(PlanError::Contradiction { at: size_at, why });
    }
    if mix.iter().all(|weight| *weight == 0) {
        let why = "all weights are zero: give `put`, `get`, `delete` or `quorum` one".to_owned();
        return Err(PlanError::Contradiction { at: mix_at, why });
    }
    if copies > ring.copies_max {
        let why = format!(
            "more than `ring.copies_max` = {}: write less",
            ring.copies_max
        );
        return Err(PlanError::Contradiction { at: copies_at, why });
    }
    let rate = rate.ok_or(missing)?;
    let size = u32::try_from(size).expect("bounded by the largest value");
    Ok(Some(RecordWork {
        rate,
        mix,
        keys,
        size,
        ttl,
        copies,
    }))
}

/// The only distribution of keys so far, named so that a scenario says what it means.
fn uniform(section: &mut Section) -> Result<(), PlanError> {
    let read = |value: &toml::Value| (value.as_str()? == "uniform").then_some(());
    section.maybe("keys", "\"uniform\"", read).map(|_| ())
}

fn background(mut section: Section) -> Result<Background, PlanError> {
    let background = Background {
        drop: section.probability("drop")?,
        duplicate: section.probability("duplicate")?,
        reorder: section.probability("reorder")?,
        refused: section.probability("refused")?,
        reorder_by: section
            .duration("reorder_by")?
            .unwrap_or(Micros::from_millis(200).0),
    };
    section.finish()?;
    Ok(background)
}

#[cfg(test)]
mod tests;
