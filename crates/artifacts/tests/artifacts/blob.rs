//! Blobs: shared bytes, damaged bytes, mounts and deletions.

use berth_artifacts::{ArtifactError, ArtifactErrorKind};
use berth_types::Digest;

use berth_testbed::{Place, broken, chunks, on_both_engines};

on_both_engines!(
    put_verifies,
    one_copy_of_what_many_push_at_once,
    a_second_push_repairs_damaged_bytes,
    membership_decides_who_serves,
    local_files_become_blobs,
);

const CONTENT: &[u8] = b"the same bytes";

async fn put_verifies(place: Place) {
    let repository = place.repository("ns/app").await;
    let blobs = place.artifacts.blobs();
    let digest = Digest::sha256(CONTENT);
    let wrong = Digest::sha256(b"other");
    let attempts = [
        (
            blobs.put(&place.ctx, &repository, &wrong, None, chunks(&[CONTENT])).await,
            ArtifactErrorKind::DigestInvalid,
        ),
        (
            blobs.put(&place.ctx, &repository, &digest, Some(3), chunks(&[CONTENT])).await,
            ArtifactErrorKind::SizeInvalid,
        ),
        (
            blobs.put(&place.ctx, &repository, &digest, Some(99), chunks(&[CONTENT])).await,
            ArtifactErrorKind::SizeInvalid,
        ),
        (
            blobs.put(&place.ctx, &repository, &digest, None, broken(&[CONTENT])).await,
            ArtifactErrorKind::UploadBroken,
        ),
    ];
    for (attempt, kind) in attempts {
        assert_eq!(attempt.expect_err("refused").kind(), kind);
    }
    assert!(place.objects().await.is_empty());
    assert!(place.bytes(&repository, &digest).await.is_none());
    place.put(&repository, CONTENT).await;
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
}

async fn one_copy_of_what_many_push_at_once(place: Place) {
    let digest = Digest::sha256(CONTENT);
    let mut repositories = Vec::new();
    for n in 0..8 {
        repositories.push(place.repository(&format!("ns/app{n}")).await);
    }
    let pushes = repositories.iter().map(|repository| {
        let (artifacts, ctx) = (place.artifacts.clone(), place.ctx.clone());
        let (repository, digest) = (repository.clone(), digest.clone());
        tokio::spawn(async move {
            let upload = artifacts.uploads().start(&ctx, &repository).await?;
            let body = chunks(&[CONTENT]);
            artifacts.uploads().append_and_finish(upload, body, None, &digest).await
        })
    });
    let mut keys = Vec::new();
    for push in futures::future::join_all(pushes).await {
        keys.push(push.expect("join").expect("push").storage_key);
    }
    keys.dedup();
    assert_eq!(keys.len(), 1);
    assert_eq!(place.objects().await, keys);
    for repository in &repositories {
        assert_eq!(place.bytes(repository, &digest).await.as_deref(), Some(CONTENT));
    }
}

async fn a_second_push_repairs_damaged_bytes(place: Place) {
    let repository = place.repository("ns/app").await;
    let digest = place.put(&repository, CONTENT).await;
    let blobs = place.artifacts.blobs();
    let stat = || async {
        let found = blobs.stat(&repository.repo_id, &digest).await.expect("stat");
        found.expect("there").storage_key
    };
    let first = stat().await;
    place.put(&repository, CONTENT).await;
    assert_eq!(stat().await, first, "whole bytes stay");

    // Gone.
    place.artifacts.store.delete(&first).await.expect("delete");
    let other = place.repository("ns/other").await;
    assert!(!blobs.link_existing(&other.repo_id, &digest).await.expect("link"));
    place.put(&other, CONTENT).await;
    let second = stat().await;
    assert_ne!(second, first);
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));

    // Too short.
    let file = find(&place.path("blobs"), &second).expect("a file of that name");
    std::fs::remove_file(&file).expect("remove");
    std::fs::write(&file, b"short").expect("write");
    place.put(&repository, CONTENT).await;
    assert_eq!(place.bytes(&other, &digest).await.as_deref(), Some(CONTENT));
}

fn find(folder: &std::path::Path, key: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, key) {
                return Some(found);
            }
        } else if entry.file_name().to_string_lossy().contains(key) {
            return Some(path);
        }
    }
    None
}

async fn membership_decides_who_serves(place: Place) {
    let (from, to) = (place.repository("ns/from").await, place.repository("ns/to").await);
    let digest = place.put(&from, CONTENT).await;
    let blobs = place.artifacts.blobs();
    assert!(blobs.stat(&to.repo_id, &digest).await.expect("stat").is_none());
    assert!(!blobs.mount(&to.repo_id, &from.repo_id, &digest).await.expect("mount"));
    assert!(blobs.mount(&from.repo_id, &to.repo_id, &digest).await.expect("mount"));
    assert_eq!(place.bytes(&to, &digest).await.as_deref(), Some(CONTENT));

    blobs.delete(&place.ctx, &from, &digest).await.expect("delete");
    assert!(place.bytes(&from, &digest).await.is_none());
    let again = blobs.delete(&place.ctx, &from, &digest).await;
    assert!(matches!(again, Err(ArtifactError::BlobUnknown(_))));
    assert_eq!(place.bytes(&to, &digest).await.as_deref(), Some(CONTENT), "the other keeps it");
    assert!(!blobs.mount(&from.repo_id, &to.repo_id, &digest).await.expect("mount"));
    assert!(blobs.link_existing(&from.repo_id, &digest).await.expect("link"));
    let gone = blobs.link_existing("crr-none", &digest).await;
    assert_eq!(gone.expect_err("gone").kind(), ArtifactErrorKind::RepositoryNotFound);
}

async fn local_files_become_blobs(place: Place) {
    let repository = place.repository("ns/app").await;
    let blobs = place.artifacts.blobs();
    let digest = Digest::sha256(CONTENT);
    let file = place.path("layer");
    std::fs::write(&file, CONTENT).expect("write");
    assert!(blobs.import_file(&repository.repo_id, &digest, &file, 3).await.is_err());
    std::fs::write(&file, CONTENT).expect("write");
    let size = CONTENT.len() as u64;
    let stored = blobs.store_file(&digest, &file, size).await.expect("store");
    assert!(place.bytes(&repository, &digest).await.is_none(), "linked nowhere yet");
    let mut session = place.artifacts.db.begin().await.expect("begin");
    let unknown = blobs.link_in(&mut session, &repository.repo_id, &Digest::sha256(b"?")).await;
    assert_eq!(unknown.expect_err("unknown").kind(), ArtifactErrorKind::BlobUnknown);
    blobs.link_in(&mut session, &repository.repo_id, &digest).await.expect("link");
    session.commit().await.expect("commit");
    assert_eq!(place.bytes(&repository, &digest).await.as_deref(), Some(CONTENT));
    let again = blobs.import_file(&repository.repo_id, &digest, &file, size).await.expect("again");
    assert_eq!(again.storage_key, stored.storage_key, "one copy");
    assert_eq!(place.objects().await.len(), 1);
}
