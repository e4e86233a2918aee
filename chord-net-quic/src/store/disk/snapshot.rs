//! Reading: one moment of the store, undisturbed by commits.

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::{Id, Span};
use chord_core::message::{Head, Key, Record};
use redb::{ReadOnlyTable, ReadTransaction};

use crate::store::disk::axis::Axis;
use crate::store::disk::fault::Fault;
use crate::store::disk::record::{self, Stored};
use crate::store::disk::tables::DATA;

/// Most bytes that one answer to `GetMany` holds beyond its first record; the rest is left
/// out like a miss, and whoever needs it asks again.
const MANY_MAX: usize = 16 << 20;

/// One moment of the store.
pub(super) struct Snapshot {
    data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    axis: Axis,
}

impl Snapshot {
    pub(super) fn of(txn: &ReadTransaction, axis: Axis) -> Result<Self, Fault> {
        Ok(Self {
            data: txn.open_table(DATA)?,
            axis,
        })
    }

    /// Answers a command that only reads; `None` for one that writes.
    pub(super) fn answer(&self, command: &StoreCommand) -> Result<Option<StoreAnswer>, Fault> {
        Ok(Some(match command {
            StoreCommand::Get { key } => StoreAnswer::Record(self.get(key)?),
            StoreCommand::GetMany { keys } => self.get_many(keys)?,
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

    fn get_many(&self, keys: &[Key]) -> Result<StoreAnswer, Fault> {
        let (mut records, mut total) = (Vec::new(), 0_usize);
        for key in keys {
            if total > MANY_MAX {
                break;
            }
            if let Some(record) = self.get(key)? {
                total = total.saturating_add(record.size());
                records.push(record);
            }
        }
        Ok(StoreAnswer::Page {
            records,
            more: false,
        })
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
            let head = Head {
                key,
                version: stored.version(),
                copies: stored.header(self.axis).copies,
            };
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
