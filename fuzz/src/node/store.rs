//! A store that tells the truth: the node's own, and what the other members hold together.

use std::collections::BTreeMap;
use std::convert::Infallible;

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::Span;
use chord_core::message::{Head, Key, Record, Version};
use chord_core::sums::{Leaves, PartSum};

/// Records by key; the higher version wins.
#[derive(Default)]
pub(super) struct Shelf {
    records: BTreeMap<Key, Record>,
}

impl Shelf {
    pub(super) fn get(&self, key: &Key) -> Option<Record> {
        self.records.get(key).cloned()
    }

    /// Records in the order asked until `bytes_max` is reached, and whether more follow.
    pub(super) fn get_many(&self, keys: &[Key], bytes_max: u32) -> (Vec<Record>, bool) {
        let mut records: Vec<Record> = Vec::new();
        let mut size = 0;
        for record in keys.iter().filter_map(|key| self.get(key)) {
            if !records.is_empty() && size + record.size() > bytes_max as usize {
                return (records, true);
            }
            size += record.size();
            records.push(record);
        }
        (records, false)
    }

    /// Stores each record; says which of them are stored in a higher version.
    pub(super) fn put(&mut self, records: Vec<Record>) -> Vec<(u16, Version)> {
        let mut newer = Vec::new();
        for (index, record) in (0..).zip(records) {
            let stored = self.records.get(&record.key).map(|old| old.header.version);
            match stored {
                Some(version) if version > record.header.version => newer.push((index, version)),
                Some(version) if version == record.header.version => {}
                _ => drop(self.records.insert(record.key.clone(), record)),
            }
        }
        newer
    }

    /// The records of a span behind a key, in ring order, until `bytes_max` is reached, and
    /// whether more follow.
    pub(super) fn page(
        &self,
        span: Span,
        after: Option<&Key>,
        bytes_max: u32,
    ) -> (Vec<Record>, bool) {
        let place = |key: &Key| (span.rank(key.position()), key.bytes().clone());
        let from = after.map(place);
        let mut found: Vec<&Record> = self
            .records
            .values()
            .filter(|record| span.contains(record.key.position()))
            .filter(|record| from.as_ref().is_none_or(|from| place(&record.key) > *from))
            .collect();
        found.sort_by_key(|record| place(&record.key));
        let mut page = Vec::new();
        let mut size = 0;
        for record in &found {
            if !page.is_empty() && size + record.size() > bytes_max as usize {
                break;
            }
            size += record.size();
            page.push((*record).clone());
        }
        let more = page.len() < found.len();
        (page, more)
    }

    pub(super) fn heads(
        &self,
        span: Span,
        after: Option<&Key>,
        bytes_max: u32,
    ) -> (Vec<Head>, bool) {
        let (records, more) = self.page(span, after, bytes_max);
        (records.iter().map(Record::head).collect(), more)
    }

    /// The sums of the parts of a span.
    pub(super) fn sums(&self, span: Span) -> Vec<PartSum> {
        let mut leaves = Leaves::default();
        for record in self.records.values() {
            leaves.insert(&record.head());
        }
        let Ok(sums) = leaves.answer(span, |edge| {
            Ok::<_, Infallible>(self.heads(edge, None, u32::MAX).0)
        });
        sums
    }

    fn discard(&mut self, heads: &[Head]) -> u32 {
        let before = self.records.len();
        for head in heads {
            if self
                .records
                .get(&head.key)
                .is_some_and(|r| r.header.version <= head.version)
            {
                self.records.remove(&head.key);
            }
        }
        u32::try_from(before - self.records.len()).expect("few records")
    }

    /// What a sound store answers.
    pub(super) fn execute(&mut self, command: StoreCommand) -> StoreAnswer {
        match command {
            StoreCommand::Get { key } => StoreAnswer::Record(self.get(&key)),
            StoreCommand::GetMany { keys, bytes_max } => {
                let (records, more) = self.get_many(&keys, bytes_max);
                StoreAnswer::Page { records, more }
            }
            StoreCommand::Heads { keys } => StoreAnswer::Heads {
                heads: self
                    .get_many(&keys, u32::MAX)
                    .0
                    .iter()
                    .map(Record::head)
                    .collect(),
                more: false,
            },
            StoreCommand::Put { records } => StoreAnswer::Put {
                newer: self.put(records),
            },
            StoreCommand::Scan {
                span,
                after,
                bytes_max,
            } => {
                let (records, more) = self.page(span, after.as_ref(), bytes_max);
                StoreAnswer::Page { records, more }
            }
            StoreCommand::List {
                span,
                after,
                bytes_max,
            } => {
                let (heads, more) = self.heads(span, after.as_ref(), bytes_max);
                StoreAnswer::Heads { heads, more }
            }
            StoreCommand::Sums { span } => StoreAnswer::Sums {
                sums: self.sums(span),
            },
            StoreCommand::Discard { heads } => StoreAnswer::Discarded {
                count: self.discard(&heads),
            },
            StoreCommand::Sweep { now, bury, limit } => {
                let before = self.records.len();
                let mut left = limit;
                self.records.retain(|_, record| {
                    let gone = record.header.expires <= now && record.header.shadow < bury;
                    let gone = gone && left > 0;
                    left -= u32::from(gone);
                    !gone
                });
                let buried = u32::try_from(before - self.records.len()).expect("few records");
                StoreAnswer::Swept {
                    expired: 0,
                    buried,
                    more: left == 0 && limit > 0,
                }
            }
        }
    }
}
