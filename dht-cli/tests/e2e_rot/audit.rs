//! Reads the store of a process that is gone, record by record, from a copy of its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chord_core::event::{StoreAnswer, StoreCommand};
use chord_core::id::{Id, Span};
use chord_core::message::Record;
use chord_net_quic::clock;
use chord_net_quic::store::disk::{Engine, Folder, Owner, Tuning};

/// Every record of the store in `data_dir`, by key. Pages are verified as after a crash.
///
/// # Errors
/// It is damaged, or there is none.
pub fn read(data_dir: &Path, cluster: &str, id: Id) -> Result<BTreeMap<Vec<u8>, Record>, String> {
    let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
    let folder = Folder::new(copy.path());
    let name = folder.path();
    let name = name.file_name().ok_or("the store has a name")?;
    std::fs::copy(data_dir.join(name), folder.path()).map_err(|error| error.to_string())?;
    let owner = Owner {
        cluster: cluster.to_owned(),
        id,
    };
    let (engine, _) = Engine::open(Arc::new(folder), &owner, 0, clock::now(), Tuning::default())
        .map_err(|error| format!("{error:?}"))?;
    let everything = StoreCommand::Scan {
        span: Span::new(id, id),
        after: None,
        bytes_max: u32::MAX,
    };
    let mut answers = engine
        .read(&[everything])
        .map_err(|fault| fault.to_string())?;
    match answers.pop().flatten() {
        Some(StoreAnswer::Page { records, .. }) => Ok(records
            .into_iter()
            .map(|record| (record.key.bytes().to_vec(), record))
            .collect()),
        other => Err(format!("no page: {other:?}")),
    }
}
