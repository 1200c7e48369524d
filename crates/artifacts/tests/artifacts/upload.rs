//! Uploads: resumed after anything, never acknowledged before they are durable.

use std::time::Duration;

use berth_artifacts::{ArtifactError, ArtifactErrorKind, Upload};
use berth_metadata::Page;
use berth_metadata::tables::{blob, upload};
use berth_types::{Algorithm, Ctx, Digest, Identity};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use berth_testbed::{Place, broken, chunks, on_every_store};

on_every_store!(
    in_pieces,
    ranges_must_continue,
    whole_in_one_request,
    sha512_named_only_at_the_end,
    a_wrong_digest_ends_the_session,
    resumes_after_the_stream_broke,
    resumes_after_the_request_was_dropped,
    resumes_in_another_process,
    a_finish_that_crashed_is_found,
    long_streams_are_saved_on_the_way,
    bound_to_repository_and_caller,
    one_writer_at_a_time,
    cancelled_and_stale_uploads_leave_nothing,
);

fn kind<T: std::fmt::Debug>(result: Result<T, ArtifactError>) -> ArtifactErrorKind {
    result.expect_err("an error").kind()
}

async fn in_pieces(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let id = upload.id().to_owned();
    let upload =
        uploads.append(upload, chunks(&[b"one ", b"two "]), Some(0)).await.expect("append");
    assert_eq!(upload.received(), 8);
    let upload = uploads.append(upload, chunks(&[b"three"]), None).await.expect("append");
    let digest = Digest::sha256(b"one two three");
    assert!(place.bytes(&repository, &digest).await.is_none(), "not visible before its end");
    let blob = uploads.finish(upload, &digest).await.expect("finish");
    assert_eq!(blob.size, 13);
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(&b"one two three"[..]));
    let again = uploads.find(&place.ctx, &repository, &id).await;
    assert_eq!(kind(again), ArtifactErrorKind::UploadUnknown);
}

async fn ranges_must_continue(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let upload = uploads.append(upload, chunks(&[b"12345"]), Some(0)).await.expect("append");
    for wrong in [0, 4, 6] {
        let error = uploads.append(upload.clone(), chunks(&[b"6"]), Some(wrong)).await;
        assert!(matches!(error, Err(ArtifactError::UploadRange { received: 5 })), "{wrong}");
    }
    let digest = Digest::sha256(b"123456");
    let last = chunks(&[b"6"]);
    let error = uploads.append_and_finish(upload.clone(), last, Some(9), &digest).await;
    assert_eq!(kind(error), ArtifactErrorKind::UploadRange);
    let last = chunks(&[b"6"]);
    uploads.append_and_finish(upload, last, Some(5), &digest).await.expect("the right one");
}

async fn whole_in_one_request(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for content in [&b""[..], b"some content"] {
            let upload = uploads.start(&place.ctx, &repository).await.expect("start");
            let digest = Digest::of(algorithm, content);
            let body = futures::stream::iter([Ok::<_, String>(Bytes::copy_from_slice(content))]);
            uploads.append_and_finish(upload, body, None, &digest).await.expect("finish");
            assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(content));
        }
    }
    assert_eq!(place.objects().await.len(), 4);
}

async fn sha512_named_only_at_the_end(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    for (content, good) in [(&b"content"[..], true), (b"other", false)] {
        let upload = uploads.start(&place.ctx, &repository).await.expect("start");
        let upload = uploads.append(upload, chunks(&[b"content"]), None).await.expect("append");
        let digest = Digest::of(Algorithm::Sha512, content);
        let finished = uploads.finish(upload, &digest).await;
        assert_eq!(finished.is_ok(), good);
        assert_eq!(place.bytes(&repository, &digest).await.is_some(), good);
    }
    assert_eq!(place.objects().await.len(), 1, "the wrong one is not kept");
}

async fn a_wrong_digest_ends_the_session(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let wrong = Digest::sha256(b"something else");
    let body = chunks(&[b"content"]);
    let error = uploads.append_and_finish(upload.clone(), body, None, &wrong).await;
    assert!(matches!(
        error,
        Err(ArtifactError::DigestMismatch { actual, .. }) if actual == Digest::sha256(b"content")
    ));
    let again = uploads.find(&place.ctx, &repository, upload.id()).await;
    assert_eq!(kind(again), ArtifactErrorKind::UploadUnknown);
    assert!(place.bytes(&repository, &wrong).await.is_none());
    assert!(place.objects().await.is_empty());
}

async fn resumes_after_the_stream_broke(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let error = uploads.append(upload.clone(), broken(&[b"first ", b"second "]), Some(0)).await;
    assert!(matches!(error, Err(ArtifactError::UploadBroken { received: 13, .. })));
    let upload = uploads.find(&place.ctx, &repository, upload.id()).await.expect("find");
    assert_eq!(upload.received(), 13);
    let digest = Digest::sha256(b"first second third");
    let error =
        uploads.append_and_finish(upload.clone(), broken(&[b"thi"]), Some(13), &digest).await;
    assert_eq!(kind(error), ArtifactErrorKind::UploadBroken);
    let rest = chunks(&[b"rd"]);
    uploads.append_and_finish(upload, rest, Some(16), &digest).await.expect("finish");
    let bytes = place.bytes(&repository, &digest).await;
    assert_eq!(bytes.as_deref(), Some(&b"first second third"[..]));
}

/// The request's future is dropped, as a server does when the connection is gone.
async fn resumes_after_the_request_was_dropped(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let (client, body) = mpsc::channel::<Result<Bytes, String>>(4);
    let request = uploads.append(upload.clone(), ReceiverStream::new(body), Some(0));
    client.send(Ok(Bytes::from_static(b"half"))).await.expect("send");
    assert!(tokio::time::timeout(Duration::from_millis(100), request).await.is_err());
    client.send(Err("connection reset".to_owned())).await.expect("the writer still reads");
    let mut upload = uploads.find(&place.ctx, &repository, upload.id()).await.expect("find");
    for _ in 0..100 {
        if upload.received() == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        upload = uploads.find(&place.ctx, &repository, upload.id()).await.expect("find");
    }
    let digest = Digest::sha256(b"half and half");
    let rest = chunks(&[b" and half"]);
    uploads.append_and_finish(upload, rest, Some(4), &digest).await.expect("finish");
}

/// What a killed process wrote beyond the row is cut off.
async fn a_finish_that_crashed_is_found(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    // Small, and large enough for parts of a bucket.
    for size in [10, 9 << 20] {
        let content = Bytes::from(vec![size as u8; size]);
        let upload = uploads.start(&place.ctx, &repository).await.expect("start");
        let body = tokio_stream::iter([Ok::<_, String>(content.clone())]);
        let upload = uploads.append(upload, body, None).await.expect("append");
        let mut session = place.artifacts.db.read().await.expect("read");
        let row = upload::find(&mut session, upload.id()).await.expect("find").expect("a row");
        drop(session);
        let checkpoint = || serde_json::from_str(&row.partial).expect("a checkpoint");
        let mut partial = checkpoint();
        place.artifacts.store.resume(&mut partial);
        let stored = place.artifacts.store.finish(partial).await.expect("finish");
        // The process stops here, and the collector runs before the client is back.
        let mut session = place.artifacts.db.read().await.expect("read");
        let named = blob::is_key_used(&mut session, &stored.key).await.expect("used");
        drop(session);
        let found = place.artifacts.store.finished(&checkpoint()).await.expect("finished");
        assert_eq!(found.is_some_and(|found| found.key == stored.key), named);

        let second = place.restarted().await;
        let uploads = second.uploads();
        let found = uploads.find(&place.ctx, &repository, upload.id()).await.expect("find");
        assert_eq!(found.received(), size as u64);
        let digest = Digest::sha256(&content);
        uploads.finish(found, &digest).await.expect("finish");
        let bytes = place.bytes(&repository, &digest).await.expect("a blob");
        assert!(content == bytes);
    }
}

async fn resumes_in_another_process(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let upload = uploads.append(upload, chunks(&[b"durable "]), None).await.expect("append");
    // The first process receives more, and dies before it says so.
    let (client, body) = mpsc::channel::<Result<Bytes, String>>(4);
    let first = place.artifacts.clone();
    let dying = upload.clone();
    let request = tokio::spawn(async move {
        first.uploads().append(dying, ReceiverStream::new(body), Some(8)).await
    });
    client.send(Ok(Bytes::from_static(b"lost lost lost"))).await.expect("send");
    tokio::time::sleep(Duration::from_millis(50)).await;

    let second = place.restarted().await;
    let uploads = second.uploads();
    let found = uploads.find(&place.ctx, &repository, upload.id()).await.expect("find");
    assert_eq!(found.received(), 8);
    let digest = Digest::sha256(b"durable ending");
    let rest = chunks(&[b"ending"]);
    uploads.append_and_finish(found, rest, Some(8), &digest).await.expect("finish");
    let bytes = place.bytes(&repository, &digest).await;
    assert_eq!(bytes.as_deref(), Some(&b"durable ending"[..]));
    // The first one was no process after all: it finds its upload gone and changes nothing.
    drop(client);
    let late = request.await.expect("join");
    assert_eq!(kind(late), ArtifactErrorKind::UploadUnknown);
    let bytes = place.bytes(&repository, &digest).await;
    assert_eq!(bytes.as_deref(), Some(&b"durable ending"[..]));
}

async fn long_streams_are_saved_on_the_way(place: Place) {
    // Many bytes, or some bytes and some time.
    saved_on_the_way(&place, 33, Duration::ZERO).await;
    saved_on_the_way(&place, 2, Duration::from_millis(5_100)).await;
}

async fn saved_on_the_way(place: &Place, parts: usize, pause: Duration) {
    const PART: usize = 8 << 20;
    let repository = place.repository(&format!("ns/app{parts}")).await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let (client, body) = mpsc::channel::<Result<Bytes, String>>(1);
    let artifacts = place.artifacts.clone();
    let receiving = upload.clone();
    let request = tokio::spawn(async move {
        artifacts.uploads().append(receiving, ReceiverStream::new(body), Some(0)).await
    });
    let part = Bytes::from(vec![7u8; PART]);
    for _ in 1..parts {
        client.send(Ok(part.clone())).await.expect("send");
    }
    tokio::time::sleep(pause).await;
    client.send(Ok(part.clone())).await.expect("send");
    let other = place.restarted().await;
    let mut seen = 0;
    for _ in 0..500 {
        let found = other.uploads().find(&place.ctx, &repository, upload.id()).await;
        seen = found.expect("find").received();
        if seen > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let whole = (parts * PART) as u64;
    // Of many parts a slow machine may save some before they are many, and then it saves whole ones.
    let expected = if pause.is_zero() { seen.max(1).next_multiple_of(PART as u64) } else { whole };
    assert_eq!(seen, expected, "in the row while the request still runs");
    assert!(seen <= whole, "{seen} of {whole}");
    drop(client);
    let upload = request.await.expect("join").expect("append");
    assert_eq!(upload.received(), whole);
    let digest = Digest::sha256(&vec![7u8; parts * PART]);
    uploads.finish(upload, &digest).await.expect("finish");
}

async fn bound_to_repository_and_caller(place: Place) {
    let repository = place.repository("ns/app").await;
    let other = place.repository("ns/other").await;
    let uploads = place.artifacts.uploads();
    let upload = uploads.start(&place.ctx, &repository).await.expect("start");
    let stranger = Ctx::new(Identity::root("2", "other"), "R".to_owned());
    for (ctx, repository) in [(&place.ctx, &other), (&stranger, &repository)] {
        let found = uploads.find(ctx, repository, upload.id()).await;
        assert_eq!(kind(found), ArtifactErrorKind::UploadUnknown);
    }
    assert!(uploads.find(&place.ctx, &repository, "nothing").await.is_err());
}

async fn one_writer_at_a_time(place: Place) {
    let repository = place.repository("ns/app").await;
    let upload = place.artifacts.uploads().start(&place.ctx, &repository).await.expect("start");
    let writers = [&b"aaaaaaaa"[..], b"bbbb", b"cc"].map(|part| {
        let (artifacts, upload) = (place.artifacts.clone(), upload.clone());
        tokio::spawn(
            async move { artifacts.uploads().append(upload, chunks(&[part]), Some(0)).await },
        )
    });
    let mut winners: Vec<Upload> = Vec::new();
    for writer in writers {
        match writer.await.expect("join") {
            Ok(upload) => winners.push(upload),
            Err(error) => assert_eq!(error.kind(), ArtifactErrorKind::UploadRange),
        }
    }
    let winner = winners.pop().expect("one wins");
    assert!(winners.is_empty());
    let content = match winner.received() {
        8 => &b"aaaaaaaa"[..],
        4 => b"bbbb",
        _ => b"cc",
    };
    let digest = Digest::sha256(content);
    place.artifacts.uploads().finish(winner, &digest).await.expect("finish");
}

async fn cancelled_and_stale_uploads_leave_nothing(place: Place) {
    let repository = place.repository("ns/app").await;
    let uploads = place.artifacts.uploads();
    for purge in [false, true] {
        let upload = uploads.start(&place.ctx, &repository).await.expect("start");
        let upload = uploads.append(upload, chunks(&[b"content"]), None).await.expect("append");
        if purge {
            assert_eq!(uploads.purge(0).await.expect("purge"), 0, "it is not stale yet");
            assert_eq!(uploads.purge(i64::MAX).await.expect("purge"), 1);
        } else {
            uploads.cancel(upload.clone()).await.expect("cancel");
            assert_eq!(
                kind(uploads.cancel(upload.clone()).await),
                ArtifactErrorKind::UploadUnknown
            );
        }
        let late = uploads.append(upload, chunks(&[b"more"]), None).await;
        assert_eq!(kind(late), ArtifactErrorKind::UploadUnknown);
    }
    let left = place.artifacts.store.sweep(Duration::ZERO).await.expect("sweep");
    assert_eq!(left, 0, "no partial objects");
    let (tags, total) =
        place.artifacts.tags().page(&repository.repo_id, Page::new(1, 10)).await.expect("tags");
    assert_eq!((tags.len(), total), (0, 0));
}
