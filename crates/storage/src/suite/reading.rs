//! Reading objects.

use std::collections::BTreeSet;

use berth_types::{Clock as _, SystemClock};
use bytes::Bytes;
use futures::TryStreamExt as _;

use super::places::Place;
use super::{pattern, read_range, store_bytes};
use crate::{Object, StorageErrorKind, key};

pub(crate) async fn exact_ranges(place: &Place) {
    let store = place.store().await;
    let bytes = pattern(7, 1_600_001);
    let size = bytes.len() as u64;
    let stored = store_bytes(&*store, &bytes).await;
    let ends = [0, 1, 4_095, 65_536, 65_537, 524_288, 524_289, 1_048_577, size - 1, size];
    for start in ends {
        for end in ends.into_iter().filter(|end| start <= *end) {
            let part = read_range(&*store, &stored.key, start..end).await.expect("read");
            let expected = &bytes[start as usize..end as usize];
            assert!(part == expected, "bytes {start}..{end}");
        }
    }
    let backwards = std::ops::Range { start: 5, end: 3 };
    for beyond in [0..size + 1, size..size + 1, size + 5..size + 9, 0..u64::MAX, backwards] {
        let refused = read_range(&*store, &stored.key, beyond.clone()).await;
        let error = refused.expect_err("beyond the end");
        assert_eq!(error.kind(), StorageErrorKind::Range, "{beyond:?}: {error}");
        assert!(error.to_string().contains(&stored.key), "{error}");
    }
    let empty = store_bytes(&*store, b"").await;
    assert!(read_range(&*store, &empty.key, 0..0).await.expect("read").is_empty());
    let refused = read_range(&*store, &empty.key, 0..1).await.expect_err("nothing to read");
    assert_eq!(refused.kind(), StorageErrorKind::Range);
}

pub(crate) async fn pieces_are_small(place: &Place) {
    let store = place.store().await;
    let stored = store_bytes(&*store, &pattern(1, 5_000_000)).await;
    let stream = store.read(&stored.key, 0..stored.size, None).await.expect("read");
    let pieces: Vec<_> = stream.try_collect().await.expect("read");
    assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 1 << 20));
    assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), stored.size);
}

pub(crate) async fn what_is_not_there(place: &Place) {
    let store = place.store().await;
    store.ping().await.expect("ping");
    for absent in [key::fresh().as_str(), "../../etc/passwd", ""] {
        let read = store.read(absent, 0..1, None).await.err().expect("nothing to read");
        assert_eq!(read.kind(), StorageErrorKind::NotFound, "{absent}: {read}");
        let stat = store.stat(absent).await.expect_err("nothing to measure");
        assert_eq!(stat.kind(), StorageErrorKind::NotFound, "{absent}: {stat}");
    }
}

pub(crate) async fn keys_are_listed(place: &Place) {
    let store = place.store().await;
    let mut expected = BTreeSet::new();
    for seed in 0..5 {
        let stored = store_bytes(&*store, &pattern(seed, 100)).await;
        expected.insert((stored.key, stored.size));
    }
    let other = place.store().await;
    let listed: Vec<Object> = other.list().await.expect("list").try_collect().await.expect("list");
    for object in &listed {
        assert!(object.modified >= key::time(&object.key), "{object:?}");
        assert!(object.modified < SystemClock.now() + 60_000, "{object:?}");
    }
    let listed: BTreeSet<_> = listed.into_iter().map(|found| (found.key, found.size)).collect();
    assert_eq!(listed, expected);
}

pub(crate) async fn a_changed_object_is_not_read(place: &Place) {
    let store = place.store().await;
    // In one piece, and in the parts that S3 makes of it; and as a file.
    for (seed, size) in [(1, 0), (2, 1_000), (3, 9 << 20)] {
        let bytes = pattern(seed, size);
        let appended = store_bytes(&*store, &bytes).await;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &bytes).expect("written");
        let imported = store.import(file.path(), size as u64).await.expect("import");
        for stored in [appended, imported] {
            let other = place.store().await;
            assert_eq!(other.stat(&stored.key).await.expect("stat").stamp, stored.stamp);
            let read = async |stamp: &str| {
                let stream = other.read(&stored.key, 0..stored.size, Some(stamp)).await?;
                let pieces: Vec<Bytes> = stream.try_collect().await?;
                Ok::<_, crate::StorageError>(pieces.concat())
            };
            assert!(read(&stored.stamp).await.expect("unchanged") == bytes);

            place.overwrite(&stored.key, &pattern(seed + 100, size + 1)).await;
            let changed = read(&stored.stamp).await.expect_err("changed");
            assert_eq!(changed.kind(), StorageErrorKind::Changed, "{changed}");
            assert!(changed.to_string().contains(&stored.key), "{changed}");
            let stat = other.stat(&stored.key).await.expect("stat");
            assert_ne!(stat.stamp, stored.stamp);
            assert_eq!(stat.size, stored.size + 1);
            // Also when it is shorter than it was.
            place.overwrite(&stored.key, b"").await;
            if size > 0 {
                let changed = read(&stored.stamp).await.expect_err("changed");
                assert_eq!(changed.kind(), StorageErrorKind::Changed, "{changed}");
            }
        }
    }
}
