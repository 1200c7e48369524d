//! Reading objects.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;

use super::places::Place;
use super::{pattern, read_range, store_bytes};
use crate::{StorageErrorKind, key};

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
    let stream = store.read(&stored.key, 0..stored.size).await.expect("read");
    let pieces: Vec<_> = stream.try_collect().await.expect("read");
    assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 1 << 20));
    assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), stored.size);
}

pub(crate) async fn what_is_not_there(place: &Place) {
    let store = place.store().await;
    store.ping().await.expect("ping");
    for absent in [key::fresh().as_str(), "../../etc/passwd", ""] {
        let read = store.read(absent, 0..1).await.err().expect("nothing to read");
        assert_eq!(read.kind(), StorageErrorKind::NotFound, "{absent}: {read}");
        let size = store.size(absent).await.expect_err("nothing to measure");
        assert_eq!(size.kind(), StorageErrorKind::NotFound, "{absent}: {size}");
    }
}

pub(crate) async fn keys_are_listed(place: &Place) {
    let store = place.store().await;
    let mut expected = BTreeSet::new();
    for seed in 0..5 {
        expected.insert(store_bytes(&*store, &pattern(seed, 100)).await.key);
    }
    let other = place.store().await;
    let listed: BTreeSet<String> =
        other.list().await.expect("list").try_collect().await.expect("list");
    assert_eq!(listed, expected);
}
