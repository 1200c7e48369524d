//! Manifests: what is refused, what is stored, what happens with it in one transaction.

use std::sync::Arc;

use berth_artifacts::{
    ArtifactErrorKind, ManifestPush, PushOptions, ReferrerFilter, ReferrerPage, Repository,
    RepositoryChanges, is_derived_tag,
};
use berth_metadata::Page;
use berth_oci::media_type;
use berth_types::{Algorithm, Digest, Reference};
use bytes::Bytes;

use crate::listener::Listener;
use berth_testbed::{INSTANCE, Place, image, image_with, index, on_both_engines};

on_both_engines!(
    stored_and_served_byte_for_byte,
    refused_documents,
    accepted_documents,
    one_type_per_document,
    immutable_tags_stay,
    listeners_share_the_transaction,
    a_push_within_a_transaction_of_the_caller,
    tags_and_deletion,
    referrers,
);

const CONFIG: &[u8] = br#"{"os":"linux","architecture":"amd64"}"#;
const LAYER: &[u8] = b"layer bytes";

/// A repository with a config, a layer, and the manifest of both (not pushed).
async fn stocked(place: &Place, name: &str) -> (Repository, String) {
    let repository = place.repository(name).await;
    let (config, layer) =
        (place.put(&repository, CONFIG).await, place.put(&repository, LAYER).await);
    let body = image(&config, CONFIG.len(), &[(&layer, LAYER.len())]);
    (repository, body)
}

async fn stored_and_served_byte_for_byte(place: Place) {
    let (repository, body) = stocked(&place, "ns/app").await;
    let body = format!(" {body}\n");
    let pushed = place.push(&repository, "v1", &body).await.expect("push");
    assert_eq!(pushed.digest, Digest::sha256(body.as_bytes()));
    let size = i64::try_from(CONFIG.len() + LAYER.len()).expect("size");
    assert_eq!((pushed.image_size, pushed.layer_count), (size, 1));
    let manifests = place.artifacts.manifests();
    for reference in ["v1", pushed.digest.as_str()] {
        let reference: Reference = reference.parse().expect("reference");
        let got = manifests.get(&repository.repo_id, &reference).await.expect("get");
        assert_eq!(got.content, body.as_bytes());
        assert_eq!(got.media_type, media_type::OCI_MANIFEST);
    }
    let digest = Digest::of(Algorithm::Sha512, body.as_bytes());
    let other = place.push(&repository, digest.as_str(), &body).await.expect("by sha512");
    assert_eq!(other.digest, digest);
    let unknown = manifests.get(&repository.repo_id, &"v2".parse().expect("tag")).await;
    assert_eq!(unknown.expect_err("unknown").kind(), ArtifactErrorKind::ManifestUnknown);

    let info = place.artifacts.tags().get(&repository.repo_id, &"v1".parse().expect("tag")).await;
    let info = info.expect("tag");
    assert_eq!((info.size, info.layer_count), (size, 1));
    assert_eq!(info.image_id, Digest::sha256(CONFIG));
}

async fn refused_documents(place: Place) {
    let (repository, good) = stocked(&place, "ns/app").await;
    let (config, layer) = (Digest::sha256(CONFIG), Digest::sha256(LAYER));
    let absent = Digest::sha256(b"absent");
    let oci = Some(media_type::OCI_MANIFEST);
    let flood: Vec<Digest> = (0..4200u32).map(|n| Digest::sha256(&n.to_le_bytes())).collect();
    let flood = index(&flood.iter().collect::<Vec<_>>());
    let cases: Vec<(&str, Option<&str>, String, ArtifactErrorKind)> = vec![
        ("not JSON", oci, "{".to_owned(), ArtifactErrorKind::ManifestInvalid),
        (
            "image and index at once",
            oci,
            image_with(r#""manifests":[],"#, &config, CONFIG.len(), &[]),
            ArtifactErrorKind::ManifestInvalid,
        ),
        (
            "another type than its Content-Type",
            Some(media_type::DOCKER_MANIFEST),
            good.clone(),
            ArtifactErrorKind::ManifestInvalid,
        ),
        (
            "an index that calls itself an image",
            Some(media_type::OCI_INDEX),
            good.clone(),
            ArtifactErrorKind::ManifestInvalid,
        ),
        (
            "schema 1",
            None,
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            ArtifactErrorKind::ManifestInvalid,
        ),
        (
            "a missing layer",
            oci,
            image(&config, CONFIG.len(), &[(&layer, LAYER.len()), (&absent, 3)]),
            ArtifactErrorKind::ManifestBlobUnknown,
        ),
        (
            "a missing config",
            oci,
            image(&absent, 3, &[(&layer, LAYER.len())]),
            ArtifactErrorKind::ManifestBlobUnknown,
        ),
        (
            "a size that is not true",
            oci,
            image(&config, CONFIG.len(), &[(&layer, LAYER.len() + 1)]),
            ArtifactErrorKind::ManifestInvalid,
        ),
        ("too much", None, " ".repeat(4 * 1024 * 1024 + 1), ArtifactErrorKind::ManifestTooLarge),
        ("too many", None, flood, ArtifactErrorKind::ManifestInvalid),
    ];
    for (what, content_type, body, kind) in cases {
        let options = PushOptions::default();
        let error = place.push_with(&repository, "v1", content_type, &body, options).await;
        assert_eq!(error.expect_err(what).kind(), kind, "{what}");
    }
    let wrong = place.push(&repository, absent.as_str(), &good).await;
    assert_eq!(wrong.expect_err("digest").kind(), ArtifactErrorKind::DigestInvalid);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM manifest").await, 0);
    assert_eq!(place.count("SELECT COUNT(*) AS n FROM tag").await, 0);

    // A blob of another repository does not count.
    let other = place.repository("ns/other").await;
    let error = place.push(&other, "v1", &good).await.expect_err("not linked");
    assert_eq!(error.kind(), ArtifactErrorKind::ManifestBlobUnknown);
}

async fn accepted_documents(place: Place) {
    let (repository, good) = stocked(&place, "ns/app").await;
    let config = Digest::sha256(CONFIG);
    let absent = Digest::sha256(b"absent");
    // Non-distributable layers may be elsewhere.
    let foreign = image(&config, CONFIG.len(), &[(&absent, 3)]).replace(
        media_type::OCI_LAYER_GZIP,
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    );
    place.push(&repository, "foreign", &foreign).await.expect("foreign");
    // Attestations and other artifacts have the empty config.
    let empty = place.put(&repository, b"{}").await;
    let statement = place.put(&repository, b"statement").await;
    let artifact = image(&empty, 2, &[(&statement, 9)])
        .replace(media_type::OCI_CONFIG, media_type::OCI_EMPTY)
        .replace(media_type::OCI_LAYER_GZIP, "application/vnd.in-toto+json");
    place.push(&repository, "attestation", &artifact).await.expect("attestation");
    // No layers at all.
    let bare = image(&config, CONFIG.len(), &[]);
    assert_eq!(place.push(&repository, "bare", &bare).await.expect("bare").layer_count, 0);
    // The same layer twice.
    let layer = Digest::sha256(LAYER);
    let pair = [(&layer, LAYER.len()), (&layer, LAYER.len())];
    let twice = image(&config, CONFIG.len(), &pair);
    assert_eq!(place.push(&repository, "twice", &twice).await.expect("twice").layer_count, 2);
    // Children of an index may be missing, and count once they are there.
    let child = Digest::sha256(good.as_bytes());
    let sparse = index(&[&child, &absent]);
    assert_eq!(place.push(&repository, "index", &sparse).await.expect("sparse").image_size, 0);
    let pushed = place.push(&repository, child.as_str(), &good).await.expect("child");
    let again = place.push(&repository, "index", &sparse).await.expect("again");
    assert_eq!((again.image_size, again.layer_count), (pushed.image_size, 1));
    let info =
        place.artifacts.tags().get(&repository.repo_id, &"index".parse().expect("tag")).await;
    assert_eq!(info.expect("tag").size, pushed.image_size);
}

async fn one_type_per_document(place: Place) {
    let (repository, good) = stocked(&place, "ns/app").await;
    let untyped = good.replace(&format!("\"mediaType\":\"{}\",", media_type::OCI_MANIFEST), "");
    let push = |content_type| {
        place.push_with(&repository, "v1", Some(content_type), &untyped, PushOptions::default())
    };
    push(media_type::DOCKER_MANIFEST).await.expect("first");
    let error = push(media_type::OCI_MANIFEST).await.expect_err("the same bytes as another type");
    assert_eq!(error.kind(), ArtifactErrorKind::ManifestInvalid);
    push(media_type::DOCKER_MANIFEST).await.expect("the same again");
}

async fn immutable_tags_stay(place: Place) {
    let (repository, first) = stocked(&place, "ns/app").await;
    let second = image(&Digest::sha256(CONFIG), CONFIG.len(), &[]);
    let changes = RepositoryChanges { tag_immutability: Some(true), ..Default::default() };
    let repositories = place.artifacts.repositories();
    repositories.update(&place.ctx, INSTANCE, &repository.repo_id, changes).await.expect("update");
    // The caller's copy of the row is old; the row decides.
    place.push(&repository, "v1", &first).await.expect("first");
    place.push(&repository, "v1", &first).await.expect("the same again");
    let error = place.push(&repository, "v1", &second).await.expect_err("moves the tag");
    assert_eq!(error.kind(), ArtifactErrorKind::TagImmutable);
    let options =
        PushOptions { extra_tags: vec!["v1".parse().expect("tag")], ..PushOptions::default() };
    let error = place.push_with(&repository, "v2", None, &second, options).await;
    assert_eq!(error.expect_err("moves it too").kind(), ArtifactErrorKind::TagImmutable);
    let unchanged = place.artifacts.tags().list(&repository.repo_id, None, 10).await.expect("list");
    assert_eq!(unchanged.len(), 1, "v2 was not made either");
    for body in [&first, &second] {
        place.push(&repository, "latest", body).await.expect("the one tag that may move");
    }
    let options = PushOptions { override_immutable: true, ..PushOptions::default() };
    place.push_with(&repository, "v1", None, &second, options).await.expect("Berth's own build");
}

async fn listeners_share_the_transaction(place: Place) {
    let (repository, body) = stocked(&place, "ns/app").await;
    let listener = Arc::new(Listener::default());
    let artifacts = place.artifacts.clone().with_listener(listener.clone());
    let push = |tag: &str, options: PushOptions| {
        let (artifacts, repository, ctx) =
            (artifacts.clone(), repository.clone(), place.ctx.clone());
        let (reference, body) = (tag.parse().expect("tag"), Bytes::from(body.clone()));
        async move {
            let manifests = artifacts.manifests();
            let (repository, reference) = (&repository, &reference);
            let push = ManifestPush { repository, reference, content_type: None, body, options };
            manifests.push(&ctx, push).await
        }
    };
    *listener.refuses.lock().expect("lock") = Some("the queue is full".to_owned());
    let error = push("v1", PushOptions::default()).await.expect_err("undone");
    assert_eq!(error.to_string(), "after a push: the queue is full");
    for sql in [
        "SELECT COUNT(*) AS n FROM tag",
        "SELECT COUNT(*) AS n FROM manifest",
        "SELECT COUNT(*) AS n FROM setting WHERE name LIKE 'heard %'",
    ] {
        assert_eq!(place.count(sql).await, 0, "{sql}");
    }
    *listener.refuses.lock().expect("lock") = None;
    let options = PushOptions {
        derived_from: Some("v1".parse().expect("tag")),
        extra_tags: vec!["v1_containerd_accelerated".parse().expect("tag")],
        override_immutable: true,
    };
    let pushed = push("v1_accelerated", options).await.expect("push");
    let pushes = listener.pushes.lock().expect("lock").clone();
    let tags: Vec<_> = pushes.iter().map(|push| push.tag.as_str()).collect();
    assert_eq!(tags, ["v1_accelerated", "v1_containerd_accelerated"]);
    assert!(pushes.iter().all(|push| is_derived_tag(push.tag.as_str())
        && push.derived_from.as_ref().map(berth_types::Tag::as_str) == Some("v1")
        && push.digest == pushed.digest
        && push.instance_id == INSTANCE
        && push.layer_count == 1));
    // A push by digest has no tag to tell of.
    let digest = pushed.digest.to_string();
    push(&digest, PushOptions::default()).await.expect("by digest");
    assert_eq!(listener.pushes.lock().expect("lock").len(), 2);
}

async fn a_push_within_a_transaction_of_the_caller(place: Place) {
    let (repository, body) = stocked(&place, "ns/app").await;
    let manifests = place.artifacts.manifests();
    let reference = "v1".parse().expect("tag");
    for commits in [false, true] {
        let mut session = place.artifacts.db.begin().await.expect("begin");
        let body = Bytes::from(body.clone());
        let options = PushOptions::default();
        let (repository, reference) = (&repository, &reference);
        let push = ManifestPush { repository, reference, content_type: None, body, options };
        manifests.push_in(&mut session, &place.ctx, push).await.expect("push");
        if commits {
            session.commit().await.expect("commit");
        } else {
            drop(session);
        }
        assert_eq!(manifests.get(&repository.repo_id, reference).await.is_ok(), commits);
    }
}

async fn tags_and_deletion(place: Place) {
    let (repository, body) = stocked(&place, "ns/app").await;
    let id = repository.repo_id.as_str();
    for tag in ["b", "a", "C", "b_accelerated", "10"] {
        place.push(&repository, tag, &body).await.expect(tag);
    }
    let tags = place.artifacts.tags();
    let list = async |after, limit| {
        let names = tags.list(id, after, limit).await.expect("list");
        names.into_iter().map(|tag| tag.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10).await, ["10", "C", "a", "b", "b_accelerated"], "in byte order");
    assert_eq!(list(Some("a"), 1).await, ["b"]);
    assert!(list(Some("b_accelerated"), 5).await.is_empty());
    let (page, total) = tags.page(id, Page::new(2, 3)).await.expect("page");
    assert_eq!((page.len(), total), (2, 5));

    let tag = "a".parse().expect("tag");
    tags.delete(&place.ctx, &repository, &tag).await.expect("delete");
    let again = tags.delete(&place.ctx, &repository, &tag).await;
    assert_eq!(again.expect_err("again").kind(), ArtifactErrorKind::TagNotFound);
    let digest = Digest::sha256(body.as_bytes());
    let manifests = place.artifacts.manifests();
    let by_digest = Reference::Digest(digest.clone());
    manifests.get(id, &by_digest).await.expect("the manifest stays");

    let layer = Digest::sha256(LAYER);
    let blobs = place.artifacts.blobs();
    let used = blobs.delete(&place.ctx, &repository, &layer).await;
    assert_eq!(used.expect_err("used").kind(), ArtifactErrorKind::BlobInUse);
    manifests.delete(&place.ctx, &repository, &digest).await.expect("delete");
    assert!(manifests.get(id, &by_digest).await.is_err());
    assert!(list(None, 10).await.is_empty(), "its tags went with it");
    let again = manifests.delete(&place.ctx, &repository, &digest).await;
    assert_eq!(again.expect_err("again").kind(), ArtifactErrorKind::ManifestUnknown);
    blobs.delete(&place.ctx, &repository, &layer).await.expect("nothing uses it any more");
}

async fn referrers(place: Place) {
    let (repository, body) = stocked(&place, "ns/app").await;
    let subject = Digest::sha256(body.as_bytes());
    let empty = place.put(&repository, b"{}").await;
    let mut expected = Vec::new();
    for n in 0..3 {
        let extra = format!(
            r#""artifactType":"application/x-{n}","annotations":{{"n":"{n}"}},"subject":{{"mediaType":"{}","digest":"{subject}","size":{}}},"#,
            media_type::OCI_MANIFEST,
            body.len(),
        );
        let referrer = image_with(&extra, &empty, 2, &[]);
        let digest = Digest::sha256(referrer.as_bytes());
        let pushed = place.push(&repository, digest.as_str(), &referrer).await;
        let pushed = pushed.expect("the subject may come later");
        assert_eq!(pushed.subject.as_ref(), Some(&subject));
        expected.push((digest, format!("application/x-{n}"), referrer.len() as u64));
    }
    place.push(&repository, "v1", &body).await.expect("subject");
    expected.sort();
    let manifests = place.artifacts.manifests();
    let id = repository.repo_id.as_str();
    let ask = |filter| manifests.referrers(id, &subject, filter);
    let all = ask(ReferrerFilter::default()).await.expect("referrers");
    assert!(!all.more);
    let seen: Vec<_> = all
        .referrers
        .iter()
        .map(|one| {
            let artifact_type = one.artifact_type.clone().unwrap_or_default();
            assert!(artifact_type.ends_with(one.annotations.get("n").map_or("?", String::as_str)));
            (one.digest.clone(), artifact_type, one.size)
        })
        .collect();
    assert_eq!(seen, expected);
    let after = &expected.first().expect("first").0;
    let one = ReferrerFilter { after: Some(after), limit: 1, ..ReferrerFilter::default() };
    let one = ask(one).await.expect("the second");
    assert_eq!((one.referrers.as_slice(), one.more), (&all.referrers[1..2], true));
    let rest = ReferrerFilter { after: Some(after), ..ReferrerFilter::default() };
    assert_eq!(ask(rest).await.expect("rest").referrers.len(), 2);
    let (digest, kind, _) = expected.last().expect("last");
    let typed = ReferrerFilter { artifact_type: Some(kind.as_str()), ..ReferrerFilter::default() };
    let typed = ask(typed).await.expect("of one type");
    assert_eq!(typed.referrers.iter().map(|one| &one.digest).collect::<Vec<_>>(), [digest]);
    let none = manifests.referrers(id, after, ReferrerFilter::default()).await.expect("none");
    assert_eq!(none, ReferrerPage::default());
}
