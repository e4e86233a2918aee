//! The entries `[[fault]]`: what happens when.

use chord_core::time::Micros;

use super::PlanError;
use super::section::Section;
use super::units;
use crate::kind;

/// A scheduled fault.
#[derive(Clone, PartialEq, Debug)]
pub struct Scheduled {
    /// When first, in microseconds after the warm-up.
    pub at: u64,
    /// How long it lasts, in microseconds; `None`: for good, or at once.
    pub lasts: Option<u64>,
    /// Time from one occurrence to the next, in microseconds.
    pub every: u64,
    /// How many occurrences.
    pub times: u32,
    /// What.
    pub kind: FaultKind,
}

/// What a scheduled fault does.
#[derive(Clone, PartialEq, Debug)]
pub enum FaultKind {
    /// Messages between two groups of hosts are lost.
    Partition {
        /// Which hosts are apart from the others.
        split: Split,
        /// Only what the group sends is lost.
        one_way: bool,
    },
    /// Requests of one kind are lost.
    Blackhole {
        /// An index into [`kind::REQUESTS`].
        request: usize,
    },
    /// Processes end without a word; with a duration they start again after it.
    Crash {
        /// Which.
        whom: Whom,
        /// What is left of their disks.
        disk: DiskFate,
        /// Time between one victim and the next, in microseconds.
        gap: u64,
        /// How much later than the duration says each starts again at most, drawn by chance,
        /// in microseconds.
        spread: u64,
    },
    /// Nodes leave with a goodbye.
    Leave {
        /// Which.
        whom: Whom,
    },
    /// New nodes join.
    Join {
        /// How many at once.
        nodes: u32,
    },
    /// Wall clocks jump; with a duration they jump back after it. The monotonic clock goes on
    /// as ever.
    Clock {
        /// Whose.
        whom: Whom,
        /// How far, in microseconds: each host draws one of these.
        by: Vec<i64>,
    },
    /// Disks have no room: values are refused, all else goes on.
    DiskFull {
        /// Whose.
        whom: Whom,
    },
    /// The next write of a disk fails, and every one after it; whether it is there all the same
    /// is chance. Its process ends soon after, and with a duration starts again after it.
    DiskError {
        /// Whose.
        whom: Whom,
    },
    /// Processes stand still; what arrives meanwhile is handled when they go on.
    Pause {
        /// Which.
        whom: Whom,
    },
}

impl FaultKind {
    /// Its name in a scenario.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::Blackhole { .. } => "blackhole",
            Self::Crash { .. } => "crash",
            Self::Leave { .. } => "leave",
            Self::Join { .. } => "join",
            Self::Clock { .. } => "clock",
            Self::DiskFull { .. } => "disk-full",
            Self::DiskError { .. } => "disk-error",
            Self::Pause { .. } => "pause",
        }
    }
}

/// What a crash leaves of a disk. What was answered is on it in any case, unless it is wiped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFate {
    /// The process alone died: everything it had submitted is written.
    Kept,
    /// The power went: of what was submitted and not answered, some is written, by chance.
    Torn,
    /// Nothing.
    Wiped,
}

impl DiskFate {
    const ALL: [(&'static str, Self); 3] = [
        ("kept", Self::Kept),
        ("torn", Self::Torn),
        ("wiped", Self::Wiped),
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, fate)| *fate == self);
        named.map_or("?", |(name, _)| name)
    }
}

/// Which hosts a fault hits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whom {
    /// Every live member.
    All,
    /// So many live members, drawn by chance.
    Any(u32),
    /// These, by the order in which they were created; dead ones are passed over.
    These(Vec<u32>),
}

/// How a partition divides the hosts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Split {
    /// Half of the live hosts, drawn by chance.
    Half,
    /// So many live hosts, drawn by chance.
    Isolate(u32),
    /// The hosts in this share of the ring, beginning at a position drawn by chance.
    Arc(f64),
}

/// Reads one entry.
pub(super) fn read(mut section: Section) -> Result<Scheduled, PlanError> {
    let wanted = "\"partition\", \"blackhole\", \"crash\", \"leave\", \"join\", \"clock\", \
                  \"disk-full\", \"disk-error\" or \"pause\"";
    let name = section.needed_text("kind", wanted)?;
    let at = section.needed_duration("at")?;
    let lasts = section.duration("for")?;
    let every = section.duration("every")?;
    let times = section
        .count("times")?
        .unwrap_or(if every.is_some() { 2 } else { 1 });
    let kind = match name.as_str() {
        "partition" => partition(&mut section)?,
        "blackhole" => blackhole(&mut section)?,
        "crash" => FaultKind::Crash {
            whom: whom(&mut section)?,
            disk: disk(&mut section)?,
            gap: section.duration("gap")?.unwrap_or(0),
            spread: section.duration("spread")?.unwrap_or(0),
        },
        "leave" => FaultKind::Leave {
            whom: whom(&mut section)?,
        },
        "join" => FaultKind::Join {
            nodes: section.count("nodes")?.unwrap_or(1),
        },
        "clock" => FaultKind::Clock {
            by: jumps(&mut section)?,
            whom: whom(&mut section)?,
        },
        "disk-full" => FaultKind::DiskFull {
            whom: whom(&mut section)?,
        },
        "disk-error" => FaultKind::DiskError {
            whom: whom(&mut section)?,
        },
        "pause" => FaultKind::Pause {
            whom: whom(&mut section)?,
        },
        _ => {
            let found = toml::Value::String(name);
            return Err(section.wrong("kind", &found, wanted));
        }
    };
    let lasting = matches!(
        kind,
        FaultKind::Partition { .. }
            | FaultKind::Blackhole { .. }
            | FaultKind::DiskFull { .. }
            | FaultKind::Pause { .. }
    );
    if lasting && lasts.is_none() {
        let wanted = "how long it lasts, such as \"30s\"".to_owned();
        return Err(PlanError::Missing {
            at: section.at("for"),
            wanted,
        });
    }
    section.finish()?;
    let every = every.unwrap_or(Micros::from_secs(1).0);
    Ok(Scheduled {
        at,
        lasts,
        every,
        times,
        kind,
    })
}

fn partition(section: &mut Section) -> Result<FaultKind, PlanError> {
    let wanted = "\"half\", \"isolate(1)\" or \"arc(0.3)\"";
    let split = section.maybe("split", wanted, |value| {
        match units::call(value.as_str()?)? {
            ("half", None) => Some(Split::Half),
            ("isolate", Some(nodes)) => Some(Split::Isolate(nodes as u32)),
            ("arc", Some(share)) if share < 1.0 => Some(Split::Arc(share)),
            _ => None,
        }
    })?;
    let one_way = section.flag("one_way")?.unwrap_or(false);
    Ok(FaultKind::Partition {
        split: split.unwrap_or(Split::Half),
        one_way,
    })
}

fn blackhole(section: &mut Section) -> Result<FaultKind, PlanError> {
    let wanted = format!("one of {}", kind::REQUESTS.join(", "));
    let request = section.maybe("message", &wanted, |value| {
        let name = value.as_str()?;
        kind::REQUESTS.iter().position(|known| *known == name)
    })?;
    let missing = PlanError::Missing {
        at: section.at("message"),
        wanted,
    };
    Ok(FaultKind::Blackhole {
        request: request.ok_or(missing)?,
    })
}

fn jumps(section: &mut Section) -> Result<Vec<i64>, PlanError> {
    let wanted = "a list of jumps such as [\"1h\", \"-10y\"]";
    let jumps = section.maybe("by", wanted, |value| {
        let jumps = value.as_array()?.iter();
        let jumps: Option<Vec<i64>> = jumps.map(|jump| units::signed(jump.as_str()?)).collect();
        jumps.filter(|jumps| !jumps.is_empty())
    })?;
    let missing = PlanError::Missing {
        at: section.at("by"),
        wanted: wanted.to_owned(),
    };
    jumps.ok_or(missing)
}

fn disk(section: &mut Section) -> Result<DiskFate, PlanError> {
    let wanted = "\"kept\", \"torn\" or \"wiped\"";
    let disk = section.maybe("disk", wanted, |value| {
        let name = value.as_str()?;
        let named = DiskFate::ALL.iter().find(|(known, _)| *known == name);
        named.map(|(_, fate)| *fate)
    })?;
    Ok(disk.unwrap_or(DiskFate::Wiped))
}

fn whom(section: &mut Section) -> Result<Whom, PlanError> {
    let these = section.maybe("which", "a list of host numbers such as [0, 4]", |value| {
        let numbers = value.as_array()?.iter();
        numbers
            .map(|number| u32::try_from(number.as_integer()?).ok())
            .collect()
    })?;
    let nodes = section.maybe("nodes", "a whole number or \"all\"", |value| {
        if value.as_str() == Some("all") {
            return Some(Whom::All);
        }
        u32::try_from(value.as_integer()?).ok().map(Whom::Any)
    })?;
    match (these, nodes) {
        (Some(_), Some(_)) => Err(PlanError::Contradiction {
            at: section.at("nodes"),
            why: "say either `nodes` (how many) or `which` (a list), not both".to_owned(),
        }),
        (Some(these), None) => Ok(Whom::These(these)),
        (None, nodes) => Ok(nodes.unwrap_or(Whom::Any(1))),
    }
}
