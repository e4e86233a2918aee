//! An open redb file whose end is caught too: on a damaged one even closing may panic.

use std::ops::{Deref, DerefMut};

use redb::{Builder, Database, DatabaseError, Durability, WriteTransaction};

use crate::store::disk::fault::{Fault, caught};
use crate::store::disk::medium::Backend;

/// An open file.
#[derive(Debug)]
pub(super) struct Handle(Option<Database>);

impl Handle {
    /// Opens what a backend holds; an empty one becomes an empty database.
    pub(super) fn open(
        backend: Backend,
        cache_bytes: usize,
    ) -> Result<Result<Self, DatabaseError>, Fault> {
        caught(|| {
            let opened = Builder::new()
                .set_cache_size(cache_bytes)
                .create_with_backend(backend);
            Ok(opened.map(|database| Self(Some(database))))
        })
    }

    /// A transaction whose commit is durable, in two phases, with quick repair.
    pub(super) fn begin(&self) -> Result<WriteTransaction, Fault> {
        let mut txn = self.begin_write()?;
        txn.set_durability(Durability::Immediate)
            .map_err(|error| Fault::Failed(error.to_string()))?;
        txn.set_two_phase_commit(true);
        txn.set_quick_repair(true);
        Ok(txn)
    }

    /// Closes it and says how that went.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        let database = self.0.take();
        caught(|| Ok(database.map_or(Ok(()), Database::close)?))
    }
}

impl Deref for Handle {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("taken only by its end")
    }
}

impl DerefMut for Handle {
    fn deref_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("taken only by its end")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let database = self.0.take();
        let _ = caught(|| {
            drop(database);
            Ok(())
        });
    }
}
