//! What happened, as one number, and as lines for a person.
//!
//! Every event a node handles goes into a rolling hash: when, who, what, and the numbers
//! that tell it from its like. Two runs with one hash did the same. A run can also keep the
//! hash after each event, to find the first that differs between two runs, and it can write
//! down the events of chosen hosts in a window of time.

use chord_core::draw::draw;

/// The rolling hash and what is recorded beside it.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    log: Option<Vec<u64>>,
    watch: Option<Watch>,
}

/// Which events to write down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// From this time on, in microseconds since the start of the run.
    pub from: u64,
    /// Up to this time.
    pub to: u64,
    /// Of these hosts; all if empty.
    pub hosts: Vec<u32>,
    /// Only the event with this number (counted from 0), whatever the other fields say.
    pub event: Option<u64>,
    /// Of an event only what it is, and not what came of it.
    pub brief: bool,
    /// What was written down.
    pub lines: Vec<String>,
}

impl Watch {
    /// Everything of everybody.
    #[must_use]
    pub fn all() -> Self {
        Self {
            from: 0,
            to: u64::MAX,
            hosts: Vec::new(),
            event: None,
            brief: false,
            lines: Vec::new(),
        }
    }

    /// One event, by its number.
    #[must_use]
    pub fn event(number: u64) -> Self {
        Self {
            event: Some(number),
            ..Self::all()
        }
    }
}

impl Trace {
    /// Keeps the hash after each event from now on.
    pub fn keep_log(&mut self) {
        self.log = Some(Vec::new());
    }

    /// Writes down what `watch` chooses from now on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// Mixes one event into the hash: its time, its host, and numbers for what it was.
    pub fn event(&mut self, now: u64, host: u32, what: [u64; 3]) {
        self.hash = draw(self.hash, now, u64::from(host));
        self.hash = draw(self.hash ^ what[0], what[1], what[2]);
        self.events += 1;
        if let Some(log) = &mut self.log {
            log.push(self.hash);
        }
    }

    /// Mixes in how a node reacted.
    pub fn reaction(&mut self, actions: usize) {
        self.hash = self.hash.rotate_left(7) ^ actions as u64;
    }

    /// Whether the event that was mixed in last is to be written down.
    #[must_use]
    pub fn wants(&self, now: u64, host: u32) -> bool {
        self.watch.as_ref().is_some_and(|watch| match watch.event {
            Some(number) => self.events == number + 1,
            None => {
                (watch.from..=watch.to).contains(&now)
                    && (watch.hosts.is_empty() || watch.hosts.contains(&host))
            }
        })
    }

    /// Whether only the kinds of events are to be written down.
    #[must_use]
    pub fn is_brief(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.brief)
    }

    /// Writes down a line.
    pub fn write(&mut self, now: u64, host: u32, line: &str) {
        if let Some(watch) = &mut self.watch {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            let line = compact(line);
            watch
                .lines
                .push(format!("{seconds:>6}.{micros:06} host {host:<4} {line}"));
        }
    }

    /// Writes down a line about the world, if its time is watched.
    pub fn tell(&mut self, now: u64, line: &str) {
        let watched = self
            .watch
            .as_ref()
            .is_some_and(|watch| watch.event.is_none() && (watch.from..=watch.to).contains(&now));
        if let (true, Some(watch)) = (watched, &mut self.watch) {
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            watch
                .lines
                .push(format!("{seconds:>6}.{micros:06} *         {line}"));
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were: one for each time a node handled something.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The lines written down so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.watch.as_ref().map_or(&[], |watch| &watch.lines)
    }

    /// The number of the first event after which two logs differ; `None` if they agree.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<u64> {
        let (one, other) = (self.log.as_deref()?, other.log.as_deref()?);
        let common = one
            .iter()
            .zip(other)
            .take_while(|(left, right)| left == right)
            .count();
        (common < one.len().max(other.len())).then_some(common as u64)
    }
}

/// A line without the contents of byte strings: values say nothing here.
fn compact(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(" b\"") {
        let (before, after) = rest.split_at(at);
        let value = &after[3..];
        let mut escaped = false;
        let end = value.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        out.push_str(before);
        out.push_str(" …");
        rest = &value[end + 1..];
    }
    out.push_str(rest);
    out
}

/// Prints lines that a watch wrote down to standard output, the latest `last` of them.
pub fn print(lines: &[String], last: usize) {
    for line in &lines[lines.len().saturating_sub(last)..] {
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_part_of_an_event_and_on_the_order() {
        let hash = |events: &[(u64, u32, [u64; 3])]| {
            let mut trace = Trace::default();
            for (now, host, what) in events {
                trace.event(*now, *host, *what);
            }
            trace.hash()
        };
        let base = (1, 2, [3, 4, 5]);
        let others = [
            (2, 2, [3, 4, 5]),
            (1, 3, [3, 4, 5]),
            (1, 2, [4, 4, 5]),
            (1, 2, [3, 5, 5]),
            (1, 2, [3, 4, 6]),
        ];
        for other in others {
            assert_ne!(hash(&[base]), hash(&[other]), "{other:?}");
            assert_ne!(hash(&[base, other]), hash(&[other, base]), "{other:?}");
        }
    }

    #[test]
    fn the_first_different_event_is_found() {
        let mut one = Trace::default();
        let mut other = Trace::default();
        one.keep_log();
        other.keep_log();
        for n in 0..10 {
            one.event(n, 0, [0; 3]);
            other.event(if n == 6 { 99 } else { n }, 0, [0; 3]);
            let difference = one.first_difference(&other);
            assert_eq!(difference, (n >= 6).then_some(6), "{n}");
        }
        other = one.clone();
        other.event(11, 0, [0; 3]);
        assert_eq!(one.first_difference(&other), Some(10), "one ran longer");
    }

    #[test]
    fn byte_strings_are_left_out_of_lines() {
        assert_eq!(compact("a: b\"x\\\"y\", c: b\"\", d"), "a: …, c: …, d");
        assert_eq!(compact("nothing b here"), "nothing b here");
    }

    #[test]
    fn a_watch_chooses_by_time_and_host() {
        let mut trace = Trace::default();
        assert!(!trace.wants(5, 1));
        trace.watch(Watch {
            from: 3,
            to: 6,
            hosts: vec![1],
            ..Watch::all()
        });
        assert!(trace.wants(5, 1));
        assert!(!trace.wants(5, 2) && !trace.wants(7, 1));
        trace.write(1_500_000, 1, "line");
        assert_eq!(trace.lines(), ["     1.500000 host 1    line"]);
    }
}
