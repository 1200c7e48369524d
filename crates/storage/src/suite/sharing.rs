//! Several processes on one partial object, and what is left of one that died.

use super::places::Place;
use super::writing::{MIB, append, resumed, synced};
use super::{assert_object, pattern};
use crate::StorageErrorKind;

/// As the row of the database would be after a writer resumed the checkpoint.
fn stored_checkpoint(partial: &crate::PartialObject) -> String {
    serde_json::to_string(partial).expect("serialise")
}

pub(crate) async fn writers_in_turn_keep_what_they_synced(place: &Place) {
    for start in [0, 1000, 9 * MIB] {
        let shared = pattern(1, start);
        let store = place.store().await;
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &shared).await;
        let checkpoint = synced(&*store, &mut partial).await;
        drop(partial);

        // The first is slow; the second takes over from it, and the first does not know.
        let (one_store, other_store) = (place.store().await, place.store().await);
        let mut one = resumed(&checkpoint);
        one_store.resume(&mut one);
        let mut other = resumed(&stored_checkpoint(&one));
        other_store.resume(&mut other);
        append(&*other_store, &mut other, &pattern(3, 9 * MIB)).await;
        let other_form = synced(&*other_store, &mut other).await;
        append(&*one_store, &mut one, &pattern(2, 17 * MIB)).await;
        synced(&*one_store, &mut one).await;
        drop((one, other));
        // What the second has synced is as it was.
        let mut last = resumed(&other_form);
        store.resume(&mut last);
        append(&*store, &mut last, b"end").await;
        let stored = store.finish(last).await.expect("finish");
        let expected = [shared, pattern(3, 9 * MIB), b"end".to_vec()].concat();
        assert_object(&*store, &stored, &expected).await;
    }
}

pub(crate) async fn what_a_crash_finished_is_found(place: &Place) {
    if matches!(place, Place::Memory(_)) {
        // Nothing of it outlives a crash.
        return;
    }
    for size in [1000, 9 * MIB, 16 * MIB] {
        let bytes = pattern(4, size);
        let store = place.store().await;
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &bytes).await;
        let checkpoint = synced(&*store, &mut partial).await;
        assert_eq!(store.finished(&resumed(&checkpoint)).await.expect("ask"), None, "not yet");
        let first = store.finish(partial).await.expect("finish");

        // Nothing was stored about that; another process does it again.
        let later = place.store().await;
        let mut partial = resumed(&checkpoint);
        later.resume(&mut partial);
        let checkpoint = resumed(&stored_checkpoint(&partial));
        let stored = match later.finish(partial).await {
            Ok(stored) => stored,
            Err(error) => {
                assert_eq!(error.kind(), StorageErrorKind::NotFound, "{error}");
                let found = later.finished(&checkpoint).await.expect("ask").expect("it is there");
                assert_eq!(found, first);
                found
            }
        };
        assert_object(&*later, &stored, &bytes).await;
        later.tidy(&checkpoint).await.expect("tidy");
        assert_object(&*later, &stored, &bytes).await;
    }
}

pub(crate) async fn nothing_is_left_behind(place: &Place) {
    let store = place.store().await;
    for sizes in [&[0][..], &[1000], &[1000, 1, 2], &[9 * MIB, MIB, MIB], &[16 * MIB]] {
        let bytes = pattern(5, sizes.iter().sum());
        for finishes in [true, false] {
            let mut partial = store.create().await.expect("create");
            let mut rest = bytes.as_slice();
            let mut checkpoint = stored_checkpoint(&partial);
            for size in sizes {
                let (now, later) = rest.split_at(*size);
                rest = later;
                partial = resumed(&checkpoint);
                store.resume(&mut partial);
                append(&*store, &mut partial, now).await;
                checkpoint = synced(&*store, &mut partial).await;
            }
            if finishes {
                drop(partial);
                let mut partial = resumed(&checkpoint);
                store.resume(&mut partial);
                let stored = store.finish(partial).await.expect("finish");
                store.tidy(&resumed(&checkpoint)).await.expect("tidy");
                assert_object(&*store, &stored, &bytes).await;
            } else {
                store.abort(partial).await.expect("abort");
            }
            assert_eq!(place.unfinished().await, Vec::<String>::new(), "{sizes:?} {finishes}");
        }
    }
}
