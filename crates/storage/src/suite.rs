//! One suite of tests for every store: a folder, memory, S3 by MinIO, and the same with the refusals
//! of OSS before it.

mod leftovers;
mod places;
mod reading;
mod sharing;
mod writing;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::{BlobStore, StorageError, Stored};

macro_rules! suite {
    ($($case:ident::$test:ident;)*) => {
        suite!(@place folder, places::folder(), $($case::$test;)*);
        suite!(@place memory, places::memory(), $($case::$test;)*);
        suite!(@place s3_like_oss, places::oss(), $($case::$test;)*);
        suite!(@place s3_minio, places::minio(), $($case::$test;)*);
    };
    (@place $place:ident, $make:expr, $($case:ident::$test:ident;)*) => {
        mod $place {
            use super::{leftovers, places, reading, sharing, writing};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let place = $make;
                    $case::$test(&place).await;
                    place.assert_nothing_refused();
                }
            )*
        }
    };
}

suite! {
    writing::objects_of_odd_sizes;
    writing::a_synced_form_goes_on_in_another_store;
    writing::what_was_not_synced_is_written_again;
    writing::two_that_resume_one_checkpoint_keep_their_own_bytes;
    writing::chunks_of_every_size;
    writing::a_stale_form_cannot_change_a_finished_object;
    writing::nothing_is_seen_before_it_is_finished;
    writing::abort_is_idempotent_and_final;
    writing::delete_is_idempotent;
    writing::files_are_imported;
    writing::a_form_of_another_store_is_refused;
    sharing::writers_in_turn_keep_what_they_synced;
    sharing::what_a_crash_finished_is_found;
    sharing::nothing_is_left_behind;
    leftovers::multipart_uploads_are_swept;
    leftovers::what_grows_is_not_swept;
    leftovers::a_busy_service_is_asked_again;
    reading::exact_ranges;
    reading::pieces_are_small;
    reading::what_is_not_there;
    reading::keys_are_listed;
    reading::a_changed_object_is_not_read;
}

/// Bytes that differ at every place and between seeds.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
    let mut bytes = Vec::with_capacity(len + 4);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

async fn store_bytes(store: &dyn BlobStore, bytes: &[u8]) -> Stored {
    let mut partial = store.create().await.expect("create");
    store.append(&mut partial, Bytes::copy_from_slice(bytes)).await.expect("append");
    store.finish(partial).await.expect("finish")
}

async fn read_range(
    store: &dyn BlobStore,
    key: &str,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StorageError> {
    let stream = store.read(key, range, None).await?;
    let add = |mut all: Vec<u8>, piece: Bytes| async move {
        all.extend_from_slice(&piece);
        Ok(all)
    };
    stream.try_fold(Vec::new(), add).await
}

/// Asserts without printing megabytes.
async fn assert_object(store: &dyn BlobStore, stored: &Stored, expected: &[u8]) {
    assert_eq!(stored.size, expected.len() as u64);
    let stat = store.stat(&stored.key).await.expect("stat");
    assert_eq!((stat.size, &stat.stamp), (stored.size, &stored.stamp));
    let bytes = read_range(store, &stored.key, 0..stored.size).await.expect("read");
    assert_eq!(bytes.len(), expected.len());
    let difference = bytes.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(difference, None, "first difference in an object of {} bytes", expected.len());
}
