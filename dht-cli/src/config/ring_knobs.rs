//! The options of `[ring]`: every option of the core, by its name there.

use super::knobs::{Knob, quoted};
use super::units::{show_duration, show_size};

pub(super) const RING: &[Knob] = &[
    Knob {
        section: "ring",
        key: "successors",
        help: "length of the successor list",
        set: |s, raw, _| raw.number().map(|value| s.ring.successors = value),
        show: |s| s.ring.successors.to_string(),
    },
    Knob {
        section: "ring",
        key: "copies",
        help: "default copies of a record, the owner's included",
        set: |s, raw, _| raw.number().map(|value| s.ring.copies = value),
        show: |s| s.ring.copies.to_string(),
    },
    Knob {
        section: "ring",
        key: "copies_max",
        help: "most copies a client may ask for",
        set: |s, raw, _| raw.number().map(|value| s.ring.copies_max = value),
        show: |s| s.ring.copies_max.to_string(),
    },
    Knob {
        section: "ring",
        key: "ttl",
        help: "lifetime for clients that ask for the default",
        set: |s, raw, _| raw.duration().map(|value| s.ring.ttl = value),
        show: |s| quoted(show_duration(s.ring.ttl)),
    },
    Knob {
        section: "ring",
        key: "ttl_max",
        help: "longest lifetime a client may ask for",
        set: |s, raw, _| raw.duration().map(|value| s.ring.ttl_max = value),
        show: |s| quoted(show_duration(s.ring.ttl_max)),
    },
    Knob {
        section: "ring",
        key: "forget",
        help: "a member dead for this long stops counting for majorities",
        set: |s, raw, _| raw.duration().map(|value| s.ring.forget = value),
        show: |s| quoted(show_duration(s.ring.forget)),
    },
    Knob {
        section: "ring",
        key: "stabilise_min",
        help: "least time between two stabilisations at rest",
        set: |s, raw, _| raw.duration().map(|value| s.ring.stabilise_min = value),
        show: |s| quoted(show_duration(s.ring.stabilise_min)),
    },
    Knob {
        section: "ring",
        key: "stabilise_max",
        help: "most time between two stabilisations",
        set: |s, raw, _| raw.duration().map(|value| s.ring.stabilise_max = value),
        show: |s| quoted(show_duration(s.ring.stabilise_max)),
    },
    Knob {
        section: "ring",
        key: "settle_delay",
        help: "wait before the stabilisation that follows a change",
        set: |s, raw, _| raw.duration().map(|value| s.ring.settle_delay = value),
        show: |s| quoted(show_duration(s.ring.settle_delay)),
    },
    Knob {
        section: "ring",
        key: "finger_pace",
        help: "pace of finger refreshes",
        set: |s, raw, _| raw.duration().map(|value| s.ring.finger_pace = value),
        show: |s| quoted(show_duration(s.ring.finger_pace)),
    },
    Knob {
        section: "ring",
        key: "passive_pace",
        help: "pace of asking somebody once known for one's own owner",
        set: |s, raw, _| raw.duration().map(|value| s.ring.passive_pace = value),
        show: |s| quoted(show_duration(s.ring.passive_pace)),
    },
    Knob {
        section: "ring",
        key: "repair_pace",
        help: "pace of comparing records with their other holders",
        set: |s, raw, _| raw.duration().map(|value| s.ring.repair_pace = value),
        show: |s| quoted(show_duration(s.ring.repair_pace)),
    },
    Knob {
        section: "ring",
        key: "sweep_pace",
        help: "pace of sweeping expired records",
        set: |s, raw, _| raw.duration().map(|value| s.ring.sweep_pace = value),
        show: |s| quoted(show_duration(s.ring.sweep_pace)),
    },
    Knob {
        section: "ring",
        key: "timeout_min",
        help: "least time granted to a call",
        set: |s, raw, _| raw.duration().map(|value| s.ring.timeout_min = value),
        show: |s| quoted(show_duration(s.ring.timeout_min)),
    },
    Knob {
        section: "ring",
        key: "timeout_first",
        help: "time granted to the first call to a stranger",
        set: |s, raw, _| raw.duration().map(|value| s.ring.timeout_first = value),
        show: |s| quoted(show_duration(s.ring.timeout_first)),
    },
    Knob {
        section: "ring",
        key: "timeout_max",
        help: "most time granted to a call",
        set: |s, raw, _| raw.duration().map(|value| s.ring.timeout_max = value),
        show: |s| quoted(show_duration(s.ring.timeout_max)),
    },
    Knob {
        section: "ring",
        key: "command_timeout",
        help: "time granted to an operation of a client",
        set: |s, raw, _| raw.duration().map(|value| s.ring.command_timeout = value),
        show: |s| quoted(show_duration(s.ring.command_timeout)),
    },
    Knob {
        section: "ring",
        key: "leave_timeout",
        help: "time granted to a leave",
        set: |s, raw, _| raw.duration().map(|value| s.ring.leave_timeout = value),
        show: |s| quoted(show_duration(s.ring.leave_timeout)),
    },
    Knob {
        section: "ring",
        key: "skew_max",
        help: "how far a write may lie ahead of a holder's clock",
        set: |s, raw, _| raw.duration().map(|value| s.ring.skew_max = value),
        show: |s| quoted(show_duration(s.ring.skew_max)),
    },
    Knob {
        section: "ring",
        key: "repair_bound",
        help: "how long a deleted record is remembered beyond its lifetime",
        set: |s, raw, _| raw.duration().map(|value| s.ring.repair_bound = value),
        show: |s| quoted(show_duration(s.ring.repair_bound)),
    },
    Knob {
        section: "ring",
        key: "passive_max",
        help: "peers once known that are kept for healing",
        set: |s, raw, _| raw.number().map(|value| s.ring.passive_max = value),
        show: |s| s.ring.passive_max.to_string(),
    },
    Knob {
        section: "ring",
        key: "table_max",
        help: "peers of the routing table beyond the neighbours",
        set: |s, raw, _| raw.number().map(|value| s.ring.table_max = value),
        show: |s| s.ring.table_max.to_string(),
    },
    Knob {
        section: "ring",
        key: "ops_max",
        help: "operations in flight",
        set: |s, raw, _| raw.number().map(|value| s.ring.ops_max = value),
        show: |s| s.ring.ops_max.to_string(),
    },
    Knob {
        section: "ring",
        key: "page_bytes",
        help: "bytes of a page of records",
        set: |s, raw, _| raw.size().map(|value| s.ring.page_bytes = value),
        show: |s| quoted(show_size(s.ring.page_bytes.into())),
    },
    Knob {
        section: "ring",
        key: "jitter",
        help: "spread periodic tasks by chance",
        set: |s, raw, _| raw.flag().map(|value| s.ring.jitter = value),
        show: |s| s.ring.jitter.to_string(),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_core_is_here() {
        let printed = format!("{:?}", chord_core::config::Config::default());
        let fields = printed.matches(": ").count();
        assert_eq!(RING.len(), fields, "{printed}");
        for knob in RING {
            assert!(
                printed.contains(&format!(" {}: ", knob.key)),
                "{}",
                knob.key
            );
        }
    }
}
