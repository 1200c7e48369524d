//! Writing objects.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::places::Place;
use super::{assert_object, pattern, read_range, store_bytes};
use crate::{BlobStore, PartialObject, StorageErrorKind};

pub(super) const MIB: usize = 1 << 20;

pub(super) async fn append(store: &dyn BlobStore, partial: &mut PartialObject, bytes: &[u8]) {
    store.append(partial, Bytes::copy_from_slice(bytes)).await.expect("append");
}

/// As it lies in a row of the database.
pub(super) async fn synced(store: &dyn BlobStore, partial: &mut PartialObject) -> String {
    store.sync(partial).await.expect("sync");
    serde_json::to_string(partial).expect("serialise")
}

pub(super) fn resumed(checkpoint: &str) -> PartialObject {
    serde_json::from_str(checkpoint).expect("deserialise")
}

async fn objects(store: &dyn BlobStore) -> Vec<String> {
    let listed = store.list().await.expect("list");
    listed.map_ok(|object| object.key).try_collect().await.expect("list")
}

pub(crate) async fn objects_of_odd_sizes(place: &Place) {
    let store = place.store().await;
    let sizes = [0, 1, 511, 65_537, MIB - 1, MIB, 5 * MIB, 5 * MIB + 1, 8 * MIB, 17 * MIB + 3];
    for (size, step) in
        sizes.into_iter().zip([1, 1, 7, 999, MIB, 3_333, 700_001, 65_536, MIB, 8 * MIB])
    {
        let bytes = pattern(3, size);
        let mut partial = store.create().await.expect("create");
        for piece in bytes.chunks(step) {
            append(&*store, &mut partial, piece).await;
        }
        assert_eq!(partial.len, size as u64);
        let stored = store.finish(partial).await.expect("finish");
        assert_object(&*store, &stored, &bytes).await;
    }
}

pub(crate) async fn a_synced_form_goes_on_in_another_store(place: &Place) {
    // Pieces smaller and larger than what S3 takes as a part, with a tail that grows, one that is
    // replaced by as many other bytes, and none.
    for sizes in [&[10, 0, 20, 30][..], &[6 * MIB, 1, 8 * MIB, 2 * MIB], &[MIB; 8]] {
        let bytes = pattern(9, sizes.iter().sum());
        let mut checkpoint = {
            let store = place.store().await;
            let mut partial = store.create().await.expect("create");
            synced(&*store, &mut partial).await
        };
        let mut rest = bytes.as_slice();
        for size in sizes {
            let store = place.store().await;
            let mut partial = resumed(&checkpoint);
            assert_eq!(partial.len as usize, bytes.len() - rest.len());
            let (now, later) = rest.split_at(*size);
            rest = later;
            append(&*store, &mut partial, now).await;
            checkpoint = synced(&*store, &mut partial).await;
        }
        let store = place.store().await;
        let stored = store.finish(resumed(&checkpoint)).await.expect("finish");
        assert_object(&*store, &stored, &bytes).await;
    }
    // Several syncs in one process: the tail of three mebibytes stands, in length, for other bytes.
    let bytes = pattern(10, 14 * MIB);
    let store = place.store().await;
    let mut partial = store.create().await.expect("create");
    append(&*store, &mut partial, &bytes[..3 * MIB]).await;
    synced(&*store, &mut partial).await;
    append(&*store, &mut partial, &bytes[3 * MIB..11 * MIB]).await;
    let checkpoint = synced(&*store, &mut partial).await;
    drop(partial);
    let mut partial = resumed(&checkpoint);
    append(&*store, &mut partial, &bytes[11 * MIB..]).await;
    let stored = store.finish(partial).await.expect("finish");
    assert_object(&*store, &stored, &bytes).await;
}

pub(crate) async fn chunks_of_every_size(place: &Place) {
    // Each chunk is synced and continued by another process.
    let tiny = [1].repeat(60);
    let falling = [4096, 4000, 2000, 1999, 900, 7, 6, 5, 4, 3];
    let mixed = [MIB, 1, 50_000_000, 5 * MIB, 3, 9 * MIB, MIB, MIB, 1];
    for sizes in [&tiny[..], &falling, &mixed] {
        let bytes = pattern(12, sizes.iter().sum());
        let store = place.store().await;
        let mut partial = store.create().await.expect("create");
        let mut rest = bytes.as_slice();
        for size in sizes {
            let (now, later) = rest.split_at(*size);
            rest = later;
            store.resume(&mut partial);
            for piece in now.chunks(700_001) {
                append(&*store, &mut partial, piece).await;
            }
            partial = resumed(&synced(&*store, &mut partial).await);
        }
        store.resume(&mut partial);
        let stored = store.finish(partial).await.expect("finish");
        assert_object(&*store, &stored, &bytes).await;
    }
}

pub(crate) async fn what_was_not_synced_is_written_again(place: &Place) {
    for (first, lost) in [(100, 50), (6 * MIB, 9 * MIB), (2 * MIB, 9 * MIB)] {
        let bytes = pattern(1, first + lost);
        let store = place.store().await;
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &bytes[..first]).await;
        let checkpoint = synced(&*store, &mut partial).await;
        append(&*store, &mut partial, &pattern(2, lost)).await;
        drop(partial);

        let store = place.store().await;
        let mut partial = resumed(&checkpoint);
        append(&*store, &mut partial, &bytes[first..]).await;
        let stored = store.finish(partial).await.expect("finish");
        assert_object(&*store, &stored, &bytes).await;
    }
}

pub(crate) async fn two_that_resume_one_checkpoint_keep_their_own_bytes(place: &Place) {
    for start in [0, 1000, 6 * MIB] {
        let shared = pattern(1, start);
        let (one_store, other_store) = (place.store().await, place.store().await);
        let mut partial = one_store.create().await.expect("create");
        append(&*one_store, &mut partial, &shared).await;
        let checkpoint = synced(&*one_store, &mut partial).await;
        drop(partial);

        let (mut one, mut other) = (resumed(&checkpoint), resumed(&checkpoint));
        append(&*one_store, &mut one, &pattern(2, 5000)).await;
        append(&*other_store, &mut other, &pattern(3, 5000)).await;
        let one_form = synced(&*one_store, &mut one).await;
        let other_form = synced(&*other_store, &mut other).await;
        drop((one, other));
        let one = one_store.finish(resumed(&one_form)).await;
        let other = other_store.finish(resumed(&other_form)).await;
        // Two that share parts of one multipart upload cannot both complete it, but whoever does
        // has what it wrote. Small ones share nothing, and both do.
        assert!(one.is_ok() || other.is_ok());
        assert!(start > MIB || (one.is_ok() && other.is_ok()));
        for (stored, seed) in [(one, 2), (other, 3)] {
            if let Ok(stored) = stored {
                let expected = [shared.clone(), pattern(seed, 5000)].concat();
                assert_object(&*one_store, &stored, &expected).await;
            }
        }
    }
}

pub(crate) async fn a_stale_form_cannot_change_a_finished_object(place: &Place) {
    for start in [0, 1000, 6 * MIB] {
        let store = place.store().await;
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &pattern(1, start)).await;
        let stale = synced(&*store, &mut partial).await;
        append(&*store, &mut partial, &pattern(2, 5000)).await;
        let stored = store.finish(partial).await.expect("finish");

        let late = place.store().await;
        let mut partial = resumed(&stale);
        let appended = late.append(&mut partial, pattern(3, 5000).into()).await;
        if appended.is_ok()
            && let Ok(other) = late.finish(partial).await
        {
            assert_ne!(other.key, stored.key);
        }
        // Nor can throwing it away.
        late.abort(resumed(&stale)).await.expect("abort");
        let expected = [pattern(1, start), pattern(2, 5000)].concat();
        assert_object(&*store, &stored, &expected).await;
    }
}

pub(crate) async fn nothing_is_seen_before_it_is_finished(place: &Place) {
    let store = place.store().await;
    for size in [10, 9 * MIB] {
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &pattern(1, size)).await;
        store.sync(&mut partial).await.expect("sync");
        assert_eq!(objects(&*store).await, Vec::<String>::new());
        let absent = read_range(&*store, &partial.key, 0..1).await.expect_err("not finished");
        assert_eq!(absent.kind(), StorageErrorKind::NotFound);
        // The process stops here.
        drop(partial);
    }
    let store = place.store().await;
    assert_eq!(objects(&*store).await, Vec::<String>::new());
    assert_eq!(store.sweep(Duration::from_secs(3600)).await.expect("sweep"), 0);
    let finished = store_bytes(&*store, b"whole").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(store.sweep(Duration::from_millis(1)).await.expect("sweep") >= 1);
    assert_eq!(store.sweep(Duration::from_millis(1)).await.expect("sweep"), 0);
    assert_object(&*store, &finished, b"whole").await;
}

pub(crate) async fn abort_is_idempotent_and_final(place: &Place) {
    let store = place.store().await;
    for size in [0, 10, 9 * MIB] {
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &pattern(1, size)).await;
        let checkpoint = synced(&*store, &mut partial).await;
        store.abort(partial).await.expect("abort");
        store.abort(resumed(&checkpoint)).await.expect("abort again");
        if size > 0 {
            store.finish(resumed(&checkpoint)).await.expect_err("it is gone");
        }
    }
    let untouched = store.create().await.expect("create");
    store.abort(untouched).await.expect("abort");
    assert_eq!(objects(&*store).await, Vec::<String>::new());
}

pub(crate) async fn delete_is_idempotent(place: &Place) {
    let store = place.store().await;
    let stored = store_bytes(&*store, b"bytes").await;
    let kept = store_bytes(&*store, b"bytes").await;
    store.delete(&stored.key).await.expect("delete");
    store.delete(&stored.key).await.expect("delete again");
    let gone = store.stat(&stored.key).await.expect_err("deleted");
    assert_eq!(gone.kind(), StorageErrorKind::NotFound);
    assert_object(&*store, &kept, b"bytes").await;
}

pub(crate) async fn files_are_imported(place: &Place) {
    let store = place.store().await;
    // Of the same file system as the folder store, and of another.
    for folder in [std::env::temp_dir(), "/dev/shm".into()] {
        for size in [0, 1, 8 * MIB, 8 * MIB + 1, 17 * MIB] {
            let bytes = pattern(5, size);
            let file = tempfile::NamedTempFile::new_in(&folder).expect("a file");
            std::fs::write(file.path(), &bytes).expect("written");
            let stored = store.import(file.path(), size as u64).await.expect("import");
            assert!(file.path().exists(), "the file is the caller's");
            drop(file);
            assert_object(&*store, &stored, &bytes).await;
        }
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    let wrong = store.import(file.path(), 1).await.expect_err("the file is empty");
    assert_eq!(wrong.kind(), StorageErrorKind::Corrupt);
    let path = file.path().to_owned();
    drop(file);
    let absent = store.import(&path, 1).await.expect_err("no file");
    assert_eq!(absent.kind(), StorageErrorKind::NotFound);
    assert!(absent.to_string().contains(&*path.to_string_lossy()));
}

pub(crate) async fn a_form_of_another_store_is_refused(place: &Place) {
    let store = place.store().await;
    let foreign = match place {
        Place::Folder(_) => r#"{"key":"k","len":0,"state":"memory"}"#,
        _ => r#"{"key":"k","len":0,"state":{"folder":{"file":"k"}}}"#,
    };
    let mut partial = resumed(foreign);
    let refused = store.append(&mut partial, Bytes::from_static(b"x")).await;
    assert_eq!(refused.expect_err("foreign").kind(), StorageErrorKind::Other);
}
