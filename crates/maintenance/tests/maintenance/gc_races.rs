//! The collector against everything that goes on beside it: whoever was told that something is
//! here finds it here.

use std::time::Duration;

use berth_artifacts::{ArtifactErrorKind, ManifestPush, Promise, PushOptions, RepositoryChanges};
use berth_oci::media_type;
use berth_types::{Ctx, Digest};
use bytes::Bytes;
use futures::future::join_all;

use crate::gc::{Sample, assert_sound, assert_tidy, at_once, come_due, put, with_grace};
use berth_testbed::{House, INSTANCE, Place, image, on_both_engines};

on_both_engines!(
    mount_against_delete,
    the_answer_that_a_blob_exists_against_the_sweep,
    manifest_against_the_sweep_of_its_blobs,
    tag_against_the_sweep_of_the_untagged,
    referrer_against_the_deletion_of_its_subject,
    upload_against_the_deletion_of_its_digest,
    deletion_of_a_repository_against_pushes_into_it,
    many_collections_at_once,
    pushes_against_the_sweep_of_objects,
);

/// How often two meet.
const ROUNDS: usize = 12;

const GRACE: Duration = Duration::from_secs(600);

async fn collect(artifacts: House) {
    artifacts.maintenance().gc().run(&()).await.expect("collection");
}

fn ctx() -> Ctx {
    Ctx::system("test")
}

async fn mount_against_delete(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let (one, two) = (place.repository("ns/one").await, place.repository("ns/two").await);
    for round in 0..ROUNDS {
        let bytes = format!("blob {round}");
        let digest = put(&artifacts, &one, bytes.as_bytes()).await;
        come_due(&artifacts).await;
        let mount = {
            let (artifacts, digest) = (artifacts.clone(), digest.clone());
            let (from, to) = (one.repo_id.clone(), two.repo_id.clone());
            tokio::spawn(async move { artifacts.blobs().mount(&from, &to, &digest).await })
        };
        let delete = {
            let (artifacts, digest, one) = (artifacts.clone(), digest.clone(), one.clone());
            tokio::spawn(async move {
                // The collector may have been faster.
                let _ = artifacts.blobs().delete(&ctx(), &one, &digest).await;
                come_due_but_links_of_two(&artifacts).await;
                collect(artifacts).await;
            })
        };
        let sweep = tokio::spawn(collect(artifacts.clone()));
        let mounted = mount.await.expect("join").expect("mount");
        delete.await.expect("join");
        sweep.await.expect("join");
        let found = place.bytes(&two, &digest).await;
        assert_eq!(found.as_deref(), mounted.then_some(bytes.as_bytes()), "round {round}");
        assert_sound(&artifacts).await;
    }
    assert_tidy(&place).await;
}

/// The blobs' reviews come due, not those of links, which a mount may just have made.
async fn come_due_but_links_of_two(artifacts: &House) {
    let mut session = artifacts.db.begin().await.expect("begin");
    let statement = "UPDATE blob SET review_after = 1 WHERE review_after IS NOT NULL";
    session.execute(statement, Vec::new()).await.expect("due");
    session.commit().await.expect("commit");
}

async fn the_answer_that_a_blob_exists_against_the_sweep(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let repository = place.repository("ns/app").await;
    for round in 0..ROUNDS {
        let bytes = format!("blob {round}");
        let digest = put(&artifacts, &repository, bytes.as_bytes()).await;
        come_due(&artifacts).await;
        let sweeps = [tokio::spawn(collect(artifacts.clone()))];
        let asks = (0..3).map(|_| {
            let (artifacts, digest) = (artifacts.clone(), digest.clone());
            tokio::spawn(async move {
                let name = "ns/app".parse().expect("name");
                let found = artifacts.blobs().pull(INSTANCE, &name, &digest, Promise::Keep).await;
                found.expect("look").expect("repository").content.is_some()
            })
        });
        let answers: Vec<bool> =
            join_all(asks).await.into_iter().map(|answer| answer.expect("join")).collect();
        for sweep in sweeps {
            sweep.await.expect("join");
        }
        collect(artifacts.clone()).await;
        let found = place.bytes(&repository, &digest).await;
        if answers.contains(&true) {
            assert_eq!(found.as_deref(), Some(bytes.as_bytes()), "round {round}");
        }
        assert_sound(&artifacts).await;
    }
    assert_tidy(&place).await;
}

async fn manifest_against_the_sweep_of_its_blobs(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let repository = place.repository("ns/app").await;
    for round in 0..ROUNDS {
        let sample = Sample::new(&format!("image {round}"));
        sample.push_blobs(&artifacts, &repository).await;
        come_due(&artifacts).await;
        let sweep = tokio::spawn(collect(artifacts.clone()));
        let pushed = push(&artifacts, &repository, &format!("v{round}"), &sample.manifest).await;
        sweep.await.expect("join");
        come_due(&artifacts).await;
        collect(artifacts.clone()).await;
        match pushed {
            Ok(_) => {
                for bytes in [&sample.config, &sample.layer] {
                    let found = place.bytes(&repository, &Digest::sha256(bytes)).await;
                    assert_eq!(found.as_ref(), Some(bytes), "round {round}");
                }
            }
            Err(error) => assert_eq!(error.kind(), ArtifactErrorKind::ManifestBlobUnknown),
        }
        assert_sound(&artifacts).await;
    }
    assert_tidy(&place).await;
}

async fn push(
    artifacts: &House,
    repository: &berth_artifacts::Repository,
    reference: &str,
    body: &str,
) -> Result<berth_artifacts::Pushed, berth_artifacts::ArtifactError> {
    let reference = reference.parse().expect("reference");
    let body = Bytes::from(body.to_owned());
    let options = PushOptions::default();
    let reference = &reference;
    let push = ManifestPush { repository, reference, content_type: None, body, options };
    artifacts.manifests().push(&ctx(), push).await
}

async fn forgets_untagged(artifacts: &House, repository: &berth_artifacts::Repository) {
    let changes = RepositoryChanges { untagged_days: Some(Some(0)), ..Default::default() };
    let repositories = artifacts.repositories();
    let updated = repositories.update(&ctx(), INSTANCE, &repository.repo_id, changes).await;
    updated.expect("policy");
}

async fn tag_against_the_sweep_of_the_untagged(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let repository = place.repository("ns/app").await;
    forgets_untagged(&artifacts, &repository).await;
    let moving = "moving".parse().expect("reference");
    for round in 0..ROUNDS {
        let sample = Sample::new(&format!("image {round}"));
        sample.push_blobs(&artifacts, &repository).await;
        let untagged = sample.digest().to_string();
        push(&artifacts, &repository, &untagged, &sample.manifest).await.expect("push");
        collect(artifacts.clone()).await;
        come_due(&artifacts).await;
        let sweep = tokio::spawn(collect(artifacts.clone()));
        // The tag leaves the image of the round before and comes to this one.
        let pushed = push(&artifacts, &repository, "moving", &sample.manifest).await;
        sweep.await.expect("join");
        match pushed {
            Ok(_) => {
                come_due(&artifacts).await;
                collect(artifacts.clone()).await;
                let manifests = artifacts.manifests();
                let found = manifests.get(&repository.repo_id, &moving).await.expect("the tag");
                assert_eq!(found.digest, sample.digest(), "round {round}");
                let layer = Digest::sha256(&sample.layer);
                assert_eq!(place.bytes(&repository, &layer).await, Some(sample.layer));
            }
            // The manifest went first, and its blobs with it.
            Err(error) => assert_eq!(error.kind(), ArtifactErrorKind::ManifestBlobUnknown),
        }
        assert_sound(&artifacts).await;
    }
    assert!(place.count("SELECT COUNT(*) AS n FROM manifest").await <= 1);
    assert_tidy(&place).await;
}

async fn referrer_against_the_deletion_of_its_subject(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let repository = place.repository("ns/app").await;
    forgets_untagged(&artifacts, &repository).await;
    for round in 0..ROUNDS {
        let subject = Sample::new(&format!("subject {round}"));
        subject.push_blobs(&artifacts, &repository).await;
        let reference = subject.digest().to_string();
        push(&artifacts, &repository, &reference, &subject.manifest).await.expect("push");
        come_due(&artifacts).await;
        // After that nothing of the referrer is due.
        let signature = put(&artifacts, &repository, format!("signature {round}").as_bytes()).await;
        let empty = put(&artifacts, &repository, b"{}").await;
        let size = format!("signature {round}").len();
        let body = image(&empty, 2, &[(&signature, size)]).replace(
            "\"layers\"",
            &format!(
                r#""subject":{{"mediaType":"{}","digest":"{}","size":7}},"layers""#,
                media_type::OCI_MANIFEST,
                subject.digest()
            ),
        );
        let sweep = tokio::spawn(collect(artifacts.clone()));
        let referrer = Digest::sha256(body.as_bytes());
        push(&artifacts, &repository, referrer.as_str(), &body).await.expect("push");
        sweep.await.expect("join");
        assert_sound(&artifacts).await;
    }
    // Referrers outlive their subjects for the grace, and not longer.
    come_due(&artifacts).await;
    collect(artifacts.clone()).await;
    come_due(&artifacts).await;
    collect(artifacts.clone()).await;
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM manifest").await, 0);
    assert_tidy(&place).await;
}

async fn upload_against_the_deletion_of_its_digest(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    let (one, two) = (place.repository("ns/one").await, place.repository("ns/two").await);
    for round in 0..ROUNDS {
        let bytes = format!("blob {round}");
        let digest = put(&artifacts, &one, bytes.as_bytes()).await;
        artifacts.blobs().delete(&ctx(), &one, &digest).await.expect("delete");
        come_due(&artifacts).await;
        let sweeps =
            [tokio::spawn(collect(artifacts.clone())), tokio::spawn(collect(artifacts.clone()))];
        put(&artifacts, &two, bytes.as_bytes()).await;
        for sweep in sweeps {
            sweep.await.expect("join");
        }
        collect(artifacts.clone()).await;
        let found = place.bytes(&two, &digest).await;
        assert_eq!(found.as_deref(), Some(bytes.as_bytes()), "round {round}");
        assert_sound(&artifacts).await;
    }
    assert_tidy(&place).await;
}

async fn deletion_of_a_repository_against_pushes_into_it(place: Place) {
    let artifacts = with_grace(&place, GRACE);
    for round in 0..ROUNDS {
        let repository = place.repository(&format!("ns/app{round}")).await;
        let pushes = (0..4).map(|number| {
            let (artifacts, repository) = (artifacts.clone(), repository.clone());
            tokio::spawn(async move {
                let bytes = Bytes::from(format!("blob {round} {number}"));
                let digest = Digest::sha256(&bytes);
                let upload = artifacts.uploads().start(&ctx(), &repository).await?;
                let body = futures::stream::iter([Ok::<_, String>(bytes)]);
                artifacts.uploads().append_and_finish(upload, body, None, &digest).await
            })
        });
        let pushes: Vec<_> = pushes.collect();
        let repositories = artifacts.repositories();
        repositories.delete(&ctx(), INSTANCE, &repository.repo_id).await.expect("delete");
        for push in pushes {
            if let Err(error) = push.await.expect("join") {
                let expected =
                    [ArtifactErrorKind::RepositoryNotFound, ArtifactErrorKind::UploadUnknown];
                assert!(expected.contains(&error.kind()), "{error}");
            }
        }
        assert_sound(&artifacts).await;
    }
    assert_tidy(&place).await;
    assert!(place.objects().await.is_empty());
}

async fn many_collections_at_once(place: Place) {
    let artifacts = at_once(&place);
    let mut expected = 0;
    for name in ["ns/one", "ns/two", "ns/three"] {
        let repository = place.repository(name).await;
        forgets_untagged(&artifacts, &repository).await;
        for number in 0..30 {
            let sample = Sample::new(&format!("image {number}"));
            sample.push_blobs(&artifacts, &repository).await;
            let untagged = sample.digest().to_string();
            push(&artifacts, &repository, &untagged, &sample.manifest).await.expect("push");
        }
        expected += 30;
    }
    let runs = (0..4).map(|_| {
        let artifacts = artifacts.clone();
        tokio::spawn(
            async move { artifacts.maintenance().gc().run(&()).await.expect("collection") },
        )
    });
    let (mut manifests, mut links, mut blobs) = (0, 0, 0);
    for run in join_all(runs).await {
        let report = run.expect("join");
        manifests += report.manifests;
        links += report.links;
        blobs += report.blobs;
    }
    // What one holds the others leave to the next time.
    come_due(&artifacts).await;
    let rest = artifacts.maintenance().gc().run(&()).await.expect("collection");
    manifests += rest.manifests;
    links += rest.links;
    blobs += rest.blobs;
    assert_eq!((manifests, links, blobs), (expected, 2 * expected, 60), "each was collected once");
    assert!(place.objects().await.is_empty());
    assert_tidy(&place).await;
}

async fn pushes_against_the_sweep_of_objects(place: Place) {
    // Without a grace an object goes before it has a row: then the push fails, and never leaves a
    // row without bytes.
    let artifacts = at_once(&place);
    let repository = place.repository("ns/app").await;
    let sweeps = tokio::spawn({
        let artifacts = artifacts.clone();
        async move {
            for _ in 0..20 {
                collect(artifacts.clone()).await;
            }
        }
    });
    let pushes = (0..4).map(|pusher| {
        let (artifacts, repository) = (artifacts.clone(), repository.clone());
        tokio::spawn(async move {
            for number in 0..30 {
                let bytes = Bytes::from(format!("blob {pusher} {number}"));
                let digest = Digest::sha256(&bytes);
                let body = futures::stream::iter([Ok::<_, String>(bytes)]);
                let _ = artifacts.blobs().put(&ctx(), &repository, &digest, None, body).await;
                let audit = artifacts.maintenance().gc().audit().await.expect("audit");
                assert!(audit.missing_objects.is_empty(), "{audit:?}");
            }
        })
    });
    for push in join_all(pushes).await {
        push.expect("join");
    }
    sweeps.await.expect("join");
    assert_tidy(&place).await;
}
