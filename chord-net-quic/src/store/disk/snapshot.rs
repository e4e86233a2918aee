//! Reading: one moment of the store, undisturbed by commits.

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Key, Record};
use chord_core::sums;
use redb::{ReadOnlyTable, ReadTransaction};

use crate::store::disk::axis::Axis;
use crate::store::disk::fault::Fault;
use crate::store::disk::record::{self, Stored};
use crate::store::disk::tables::{DATA, SUMS, sum_of};

/// One moment of the store.
pub(super) struct Snapshot {
    data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    sums: ReadOnlyTable<&'static [u8; 3], &'static [u8; 16]>,
    axis: Axis,
}

impl Snapshot {
    pub(super) fn of(txn: &ReadTransaction, axis: Axis) -> Result<Self, Fault> {
        Ok(Self {
            data: txn.open_table(DATA)?,
            sums: txn.open_table(SUMS)?,
            axis,
        })
    }

    /// Answers a command that only reads; `None` for one that writes.
    pub(super) fn answer(&self, command: &StoreCommand) -> Result<Option<StoreAnswer>, Fault> {
        Ok(Some(match command {
            StoreCommand::Get { key } => StoreAnswer::Record(self.get(key)?),
            StoreCommand::GetMany { keys, bytes_max } => self.get_many(keys, *bytes_max)?,
            StoreCommand::Heads { keys } => self.heads(keys)?,
            StoreCommand::Sums { span } => self.sums(*span)?,
            StoreCommand::Scan {
                span,
                after,
                bytes_max,
            } => self.scan(*span, after.as_ref(), *bytes_max)?,
            StoreCommand::List {
                span,
                after,
                bytes_max,
            } => self.list(*span, after.as_ref(), *bytes_max)?,
            StoreCommand::Put { .. }
            | StoreCommand::Discard { .. }
            | StoreCommand::Sweep { .. } => {
                return Ok(None);
            }
        }))
    }

    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        let place = record::place(key);
        let Some(bytes) = self.data.get(place.as_slice())? else {
            return Ok(None);
        };
        let stored = record::decode(&place, bytes.value())?;
        Ok(Some(stored.record(key.clone(), self.axis)))
    }

    fn get_many(&self, keys: &[Key], bytes_max: u32) -> Result<StoreAnswer, Fault> {
        let mut records = Page::new(bytes_max);
        for key in keys {
            if let Some(record) = self.get(key)? {
                let size = record.size();
                if !records.add(record, size) {
                    break;
                }
            }
        }
        Ok(StoreAnswer::Page {
            records: records.items,
            more: records.more,
        })
    }

    fn heads(&self, keys: &[Key]) -> Result<StoreAnswer, Fault> {
        let mut heads = Vec::new();
        for key in keys {
            let place = record::place(key);
            if let Some(bytes) = self.data.get(place.as_slice())? {
                let stored = record::decode(&place, bytes.value())?;
                heads.push(self.head(key.clone(), &stored));
            }
        }
        let more = false;
        Ok(StoreAnswer::Heads { heads, more })
    }

    fn head(&self, key: Key, stored: &Stored<'_>) -> Head {
        Head {
            key,
            version: stored.version(),
            copies: stored.header(self.axis).copies,
        }
    }

    fn sums(&self, span: Span) -> Result<StoreAnswer, Fault> {
        let whole = |first: u16, last: u16| {
            let ([a, b], [c, d]) = (first.to_be_bytes(), last.to_be_bytes());
            let rows = self.sums.range::<&[u8; 3]>(&[a, b, 0]..=&[c, d, u8::MAX])?;
            rows.map(|row| {
                let (row, sum) = row?;
                Ok((row.value()[2], sum_of(sum.value())))
            })
            .collect()
        };
        let edge = |edge: Span| {
            let mut heads = Vec::new();
            self.walk(edge, None, |key, stored| {
                heads.push(self.head(key, stored));
                true
            })?;
            Ok::<_, Fault>(heads)
        };
        let sums = sums::answer(span, whole, edge)?;
        Ok(StoreAnswer::Sums { sums })
    }

    fn scan(&self, span: Span, after: Option<&Key>, bytes_max: u32) -> Result<StoreAnswer, Fault> {
        let mut records = Page::new(bytes_max);
        self.walk(span, after, |key, stored| {
            let record = stored.record(key, self.axis);
            let size = record.size();
            records.add(record, size)
        })?;
        Ok(StoreAnswer::Page {
            records: records.items,
            more: records.more,
        })
    }

    fn list(&self, span: Span, after: Option<&Key>, bytes_max: u32) -> Result<StoreAnswer, Fault> {
        let mut heads = Page::new(bytes_max);
        self.walk(span, after, |key, stored| {
            let head = self.head(key, stored);
            let size = head.size();
            heads.add(head, size)
        })?;
        Ok(StoreAnswer::Heads {
            heads: heads.items,
            more: heads.more,
        })
    }

    /// The records of a span behind `after`, in ring order, until `each` says no. A wrapped
    /// span is two ranges. An `after` outside the span skips nothing.
    fn walk(
        &self,
        span: Span,
        after: Option<&Key>,
        mut each: impl FnMut(Key, &Stored<'_>) -> bool,
    ) -> Result<(), Fault> {
        let after = after.filter(|key| span.contains(key.position()));
        for (first, last) in span.ranges().into_iter().flatten() {
            let Some(start) = start_in(span, (first, last), after) else {
                continue;
            };
            for row in self.data.range::<&[u8]>(start.as_slice()..)? {
                let (place, bytes) = row?;
                let place = place.value();
                if place
                    .get(..20)
                    .is_none_or(|position| position > last.0.as_slice())
                {
                    break;
                }
                let stored = record::decode(place, bytes.value())?;
                if !each(record::key_at(place)?, &stored) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Where a walk that has passed `after` begins in one range of a span; `None`: the range
/// lies behind it.
fn start_in(span: Span, (first, last): (Id, Id), after: Option<&Key>) -> Option<Vec<u8>> {
    let Some(after) = after else {
        return Some(first.0.to_vec());
    };
    let passed = span.rank(after.position());
    if passed < span.rank(first) {
        return Some(first.0.to_vec());
    }
    (passed <= span.rank(last)).then(|| {
        // The least place above: the same with a zero byte behind it.
        let mut above = record::place(after);
        above.push(0);
        above
    })
}

/// What has been gathered for an answer.
struct Page<T> {
    items: Vec<T>,
    total: usize,
    bytes_max: usize,
    more: bool,
}

impl<T> Page<T> {
    fn new(bytes_max: u32) -> Self {
        Self {
            items: Vec::new(),
            total: 0,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            more: false,
        }
    }

    /// Adds an item unless that would exceed the bound; the first always fits.
    fn add(&mut self, item: T, size: usize) -> bool {
        let grown = self.total.saturating_add(size);
        if !self.items.is_empty() && grown > self.bytes_max {
            self.more = true;
            return false;
        }
        self.total = grown;
        self.items.push(item);
        true
    }
}
