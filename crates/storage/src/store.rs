//! The contract of a blob store.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use berth_types::Millis;
use bytes::Bytes;
use futures::stream::BoxStream;
use url::Url;

use crate::{ByteStream, PartialObject, StorageError};

/// A whole, durable object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The object's stamp, as in [`ObjectStat`].
    pub stamp: String,
}

/// What the store can say about an object without reading its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStat {
    /// Bytes.
    pub size: u64,
    /// A mark that is another one once somebody wrote to the object behind the store's back: time
    /// and size of the file, the `ETag` of S3. Bytes that rot on a disk keep it.
    pub stamp: String,
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it came to be: the later of the time in its key and the store's own time of it.
    pub modified: Millis,
}

/// Immutable objects by unique key.
///
/// An object is written as a [`PartialObject`] and is not to be seen until it is finished; then it
/// never changes. Two requests that race on one partial object never write to the same object.
/// Nothing that was synced or finished is lost when the process or the machine stops.
///
/// Every future may be dropped: then nothing is finished, and a partial object that was being
/// appended to is to be resumed from its last checkpoint.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Begins an object. Costs nothing until bytes come.
    async fn create(&self) -> Result<PartialObject, StorageError>;

    /// To be called for a checkpoint that is resumed, before it is appended to or finished, and after a
    /// sync when more is to come. `true` when the checkpoint changed by that: then it has to be stored
    /// first, on condition that what is stored is still the checkpoint it was, so that of two who resume
    /// the same checkpoint one fails, and neither can write over what the other has synced.
    fn resume(&self, _partial: &mut PartialObject) -> bool {
        false
    }

    /// Appends. May return before the bytes are written; an error of theirs then comes with a later
    /// call. After an error, go back to the last checkpoint.
    async fn append(&self, partial: &mut PartialObject, data: Bytes) -> Result<(), StorageError>;

    /// Makes everything appended so far durable; then, and only then, the serialised `partial` is a
    /// checkpoint that can be resumed, also by another process. It has to be stored before the next
    /// sync, which may remove what only older checkpoints name. Two that resume the same checkpoint do not
    /// disturb each other: the later one goes on with a copy, or see [`BlobStore::resume`].
    async fn sync(&self, partial: &mut PartialObject) -> Result<(), StorageError>;

    /// Makes the object: whole, durable, and readable under the returned key.
    async fn finish(&self, partial: PartialObject) -> Result<Stored, StorageError>;

    /// The object that finishing a checkpoint made when whoever did that died before he could say so, and
    /// finishing it again fails by NotFound. Somebody else may have appended other bytes to the same
    /// checkpoint: the caller compares size and digest.
    async fn finished(&self, _form: &PartialObject) -> Result<Option<Stored>, StorageError> {
        Ok(None)
    }

    /// To be called once it is stored that a partial object, last synced as `checkpoint`, was finished:
    /// removes what was kept until then.
    async fn tidy(&self, _form: &PartialObject) -> Result<(), StorageError> {
        Ok(())
    }

    /// Throws a partial object away. Idempotent.
    async fn abort(&self, partial: PartialObject) -> Result<(), StorageError>;

    /// Makes an object of a finished local file. The file stays and is the caller's to remove; it
    /// must not be written to any more, since the folder store may share its bytes.
    ///
    /// # Errors
    /// Corrupt when the file does not have `size` bytes.
    async fn import(&self, file: &Path, size: u64) -> Result<Stored, StorageError>;

    /// Exactly the bytes of `range`, of the object that has the stamp when one is given: compared
    /// with that of the opened object, before any byte is returned and at no further cost.
    ///
    /// # Errors
    /// Changed when the object has another stamp, Range when the range goes beyond the end,
    /// NotFound. Changed comes before Range.
    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: Option<&str>,
    ) -> Result<ByteStream, StorageError>;

    /// Size and stamp.
    ///
    /// # Errors
    /// NotFound.
    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError>;

    /// Where anybody can read the object for a while without credentials; `None` from a store that
    /// nobody else can reach.
    async fn url(&self, _key: &str, _expires: Duration) -> Result<Option<Url>, StorageError> {
        Ok(None)
    }

    /// Removes an object. Idempotent.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// All objects, in no order: for the collector, and for tests.
    async fn list(&self) -> Result<BoxStream<'static, Result<Object, StorageError>>, StorageError>;

    /// Removes what unfinished objects left behind and nobody touched for `older_than`, which must
    /// be longer than an upload may pause. Returns how many pieces went.
    async fn sweep(&self, older_than: Duration) -> Result<u64, StorageError>;

    /// Whether the store can be used now.
    async fn ping(&self) -> Result<(), StorageError>;
}
