//! What unfinished objects leave in a bucket, and a service that is busy.

use std::time::Duration;

use super::places::Place;
use super::writing::{MIB, append, synced};
use super::{assert_object, pattern, store_bytes};

pub(crate) async fn multipart_uploads_are_swept(place: &Place) {
    let store = place.store().await;
    for seed in 0..5 {
        let mut partial = store.create().await.expect("create");
        // Part of them synced, the others as a crash leaves them.
        append(&*store, &mut partial, &pattern(seed, 8 * MIB + 1)).await;
        if seed % 2 == 0 {
            synced(&*store, &mut partial).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if matches!(place, Place::S3 { .. }) {
        assert_eq!(place.multipart_uploads().await.len(), 5);
    }
    let kept = store_bytes(&*store, b"whole").await;
    assert_eq!(store.sweep(Duration::from_secs(3600)).await.expect("sweep"), 0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(store.sweep(Duration::from_millis(1)).await.expect("sweep") >= 5);
    assert_eq!(place.unfinished().await, Vec::<String>::new());
    assert_object(&*store, &kept, b"whole").await;
}

pub(crate) async fn what_grows_is_not_swept(place: &Place) {
    const OLD: Duration = Duration::from_secs(3);
    let store = place.store().await;
    let chunks = [8 * MIB, MIB, 1000, 8 * MIB, 1000, 7];
    let bytes = pattern(8, chunks.iter().sum());
    let mut partial = store.create().await.expect("create");
    let mut rest = bytes.as_slice();
    for size in chunks {
        let (now, later) = rest.split_at(size);
        rest = later;
        append(&*store, &mut partial, now).await;
        synced(&*store, &mut partial).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(store.sweep(OLD).await.expect("sweep"), 0);
    }
    let stored = store.finish(partial).await.expect("finish");
    assert_object(&*store, &stored, &bytes).await;
}

pub(crate) async fn a_busy_service_is_asked_again(place: &Place) {
    let Some(proxy) = place.proxy() else { return };
    proxy.busy_every(3);
    let store = place.store().await;
    for size in [10, 9 * MIB, 17 * MIB] {
        let bytes = pattern(6, size);
        let mut partial = store.create().await.expect("create");
        append(&*store, &mut partial, &bytes[..size / 2]).await;
        synced(&*store, &mut partial).await;
        append(&*store, &mut partial, &bytes[size / 2..]).await;
        let stored = store.finish(partial).await.expect("finish");
        assert_object(&*store, &stored, &bytes).await;
        store.sweep(Duration::from_secs(3600)).await.expect("sweep");
        store.delete(&stored.key).await.expect("delete");
    }
    proxy.busy_every(0);
}
